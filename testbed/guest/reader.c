// SPDX-License-Identifier: GPL-2.0-or-later
/* The reader: reads a file again and again; work that hangs on nothing but what the file hangs on. */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "agent.h"

int reader_main(int argc, char **argv)
{
	const char *path = NULL;
	uint64_t pause_ms = 20;
	const struct setting settings[] = {
		{ "file", SETTING_TEXT, &path },
		{ "pause-ms", SETTING_NUMBER, &pause_ms },
	};
	struct slot slot;
	char text[64];
	int fd;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (!path)
		usage_error("--file is needed");
	slot = slot_begin(KIND_READER);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		slot_fail(slot, path);
	/* So that it stops for what it reads, and for nothing else. */
	if (!stay_in_memory())
		slot_fail(slot, "mlockall");
	slot_state(slot, STATE_READY);
	slot_wait(slot, CONTROL_NONE);
	slot_state(slot, STATE_RUNNING);
	while (slot_goes_on(slot)) {
		if (pread(fd, text, sizeof(text), 0) < 0)
			slot_fail(slot, path);
		slot_store(slot, READER_READS, slot_read(slot, READER_READS) + 1);
		slot_beat(slot);
		sleep_ns(pause_ms * NS_PER_MS);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
