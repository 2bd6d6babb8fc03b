// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A second client of the server: reads a block now and then, past its own page cache.
 *
 * While it is served, server and network live, whatever the machine under test says.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define BLOCK_BYTES 4096

static struct {
	const char *path;
	uint64_t every_ms, bytes;
} config = { .every_ms = 500, .bytes = 1 << 20 };

static void read_block(struct slot slot, int fd, void *buffer, uint64_t count)
{
	off_t offset = count * BLOCK_BYTES % (config.bytes / BLOCK_BYTES * BLOCK_BYTES);
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);

	if (pread(fd, buffer, BLOCK_BYTES, offset) == BLOCK_BYTES)
		slot_add(slot, CLIENT_READS, 1);
	else
		slot_add(slot, CLIENT_FAILED, 1);
	slot_store(slot, CLIENT_LAST_MS, (clock_ns(CLOCK_MONOTONIC) - start_ns) / NS_PER_MS);
}

int client_main(int argc, char **argv)
{
	const struct setting settings[] = {
		{ "path", SETTING_TEXT, &config.path },
		{ "every-ms", SETTING_NUMBER, &config.every_ms },
		{ "bytes", SETTING_NUMBER, &config.bytes },
	};
	enum witness_control control;
	struct slot slot;
	void *buffer;
	int fd;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (!config.path || config.bytes < BLOCK_BYTES)
		usage_error("client: --path FILE and --bytes of at least %d", BLOCK_BYTES);
	slot = slot_begin(KIND_CLIENT);
	buffer = take_memory(slot, BLOCK_BYTES);
	fd = open(config.path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	if (fd < 0)
		slot_fail(slot, config.path);
	slot_state(slot, STATE_READY);
	control = slot_wait(slot, CONTROL_NONE);
	if (control == CONTROL_RUN)
		slot_state(slot, STATE_RUNNING);
	for (uint64_t count = 0; control == CONTROL_RUN; count++) {
		read_block(slot, fd, buffer, count);
		control = slot_rest(slot, config.every_ms);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
