// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The writer: writes a file over and over, through the page cache, and counts how often it was held up.
 *
 * It writes as fast as it is let. What is dirty grows until balance_dirty_pages() (6.1, mm/page-writeback.c)
 * makes the writer sleep, up to 200 ms at a time (MAX_PAUSE); who finds no page for the cache waits in
 * the allocator.
 */
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define BLOCK_BYTES (64 * 1024)
#define HELD_MS 10 /* far more than the copy of a block takes, far less than the longest sleep */

static void write_block(struct slot slot, const char *path, int fd, const void *block, uint64_t offset)
{
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC), took_ms;
	ssize_t done = pwrite(fd, block, BLOCK_BYTES, offset);

	if (done != BLOCK_BYTES) {
		if (done >= 0)
			errno = ENOSPC;
		slot_fail(slot, path);
	}
	took_ms = (clock_ns(CLOCK_MONOTONIC) - start_ns) / NS_PER_MS;
	slot_add(slot, WRITER_BYTES, BLOCK_BYTES);
	if (took_ms >= HELD_MS)
		slot_add(slot, WRITER_HELD, 1);
	if (took_ms > slot_read(slot, WRITER_LONGEST_MS))
		slot_store(slot, WRITER_LONGEST_MS, took_ms);
	slot_beat(slot);
}

int writer_main(int argc, char **argv)
{
	const char *path = NULL;
	uint64_t bytes = 0, offset = 0;
	const struct setting settings[] = {
		{ "file", SETTING_TEXT, &path },
		{ "bytes", SETTING_NUMBER, &bytes },
	};
	struct slot slot;
	void *block;
	int fd;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (!path || bytes < BLOCK_BYTES)
		usage_error("--file is needed, and --bytes of 65536 at least");
	slot = slot_begin(KIND_WRITER);
	block = take_memory(slot, BLOCK_BYTES);
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	if (fd < 0)
		slot_fail(slot, path);
	/* So that it stops for what it writes, and for nothing else. */
	if (!stay_in_memory())
		slot_fail(slot, "mlockall");
	slot_state(slot, STATE_READY);
	slot_wait(slot, CONTROL_NONE);
	slot_state(slot, STATE_RUNNING);
	while (slot_goes_on(slot)) {
		write_block(slot, path, fd, block, offset);
		offset += BLOCK_BYTES;
		if (offset + BLOCK_BYTES > bytes)
			offset = 0;
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
