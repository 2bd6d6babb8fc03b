// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Blocks of several pages: asks the kernel for one again and again, and counts whether it came, and when.
 *
 * The block is the ring of a pipe: fs/pipe.c (6.1), pipe_resize_ring(), takes an array of 40 bytes a slot
 * with GFP_KERNEL, and mm/slab_common.c, kmalloc_large(), takes what is beyond 8 KiB from the page
 * allocator as one block. Up to order 3 that waits rather than fails (PAGE_ALLOC_COSTLY_ORDER).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define PAGE_BYTES 4096
#define SLOTS_OF_A_PAGE 64 /* 2560 bytes: with any order more than half of the block, and no more than it */
#define SMALL_BYTES (16 * PAGE_BYTES)
#define LATE_MS 100

static struct {
	uint64_t order, every_ms;
} config = { .order = 3, .every_ms = 100 };

static void ask(struct slot slot, int pipe_end)
{
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC), took_ms;
	int got;

	slot_add(slot, BLOCKS_TRIED, 1);
	got = fcntl(pipe_end, F_SETPIPE_SZ, (int)(SLOTS_OF_A_PAGE << config.order) * PAGE_BYTES);
	took_ms = (clock_ns(CLOCK_MONOTONIC) - start_ns) / NS_PER_MS;
	slot_add(slot, got < 0 ? BLOCKS_REFUSED : BLOCKS_GOT, 1);
	if (took_ms >= LATE_MS)
		slot_add(slot, BLOCKS_LATE, 1);
	if (took_ms > slot_read(slot, BLOCKS_LONGEST_MS))
		slot_store(slot, BLOCKS_LONGEST_MS, took_ms);
	/* A small ring again, which gives the block back. */
	fcntl(pipe_end, F_SETPIPE_SZ, SMALL_BYTES);
}

int blocks_main(int argc, char **argv)
{
	const struct setting settings[] = {
		{ "order", SETTING_NUMBER, &config.order },
		{ "every-ms", SETTING_NUMBER, &config.every_ms },
	};
	enum witness_control control;
	struct slot slot;
	int ends[2];

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (config.order < 2 || config.order > 8)
		usage_error("--order: 2 to 8");
	slot = slot_begin(KIND_BLOCKS);
	if (pipe2(ends, O_CLOEXEC) < 0)
		slot_fail(slot, "pipe2");
	if (!stay_in_memory())
		slot_fail(slot, "mlockall");
	slot_store(slot, BLOCKS_ORDER, config.order);
	slot_state(slot, STATE_READY);
	control = slot_wait(slot, CONTROL_NONE);
	if (control == CONTROL_RUN)
		slot_state(slot, STATE_RUNNING);
	while (control == CONTROL_RUN) {
		ask(slot, ends[0]);
		control = slot_rest(slot, config.every_ms);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
