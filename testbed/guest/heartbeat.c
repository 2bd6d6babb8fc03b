// SPDX-License-Identifier: GPL-2.0-or-later
/* The heartbeat of a machine: ticks as long as the kernel schedules and its timers fire. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define CARRIER_LIMIT_NS (6 * NS_PER_S)

static uint64_t boot_id(void)
{
	char text[64] = "", digits[17] = "";
	int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);

	if (fd < 0 || read(fd, text, sizeof(text) - 1) < 0)
		return 0;
	close(fd);
	for (size_t from = 0, to = 0; text[from] && to < 16; from++)
		if (text[from] != '-')
			digits[to++] = text[from];
	return strtoull(digits, NULL, 16);
}

static void beat(struct slot slot, uint64_t due_ns)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
	uint64_t late_ns = now_ns > due_ns ? now_ns - due_ns : 0;

	if (late_ns > slot_read(slot, MACHINE_LATEST_NS))
		slot_store(slot, MACHINE_LATEST_NS, late_ns);
	slot_store(slot, MACHINE_REALTIME_NS, clock_ns(CLOCK_REALTIME));
	slot_store(slot, SLOT_BEAT_NS, now_ns);
	slot_store(slot, MACHINE_BEATS, slot_read(slot, MACHINE_BEATS) + 1);
}

int heartbeat_main(int argc, char **argv)
{
	uint64_t period_ms = LOOK_MS, due_ns;
	const struct setting settings[] = { { "period-ms", SETTING_NUMBER, &period_ms } };
	struct slot slot;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (detach_wanted)
		usage_error("the heartbeat is not detached: its slot is ready when `ready` says so");
	slot = slot_begin(KIND_MACHINE);
	slot_store(slot, MACHINE_BOOT_ID, boot_id());
	if (!stay_in_memory())
		slot_fail(slot, "mlockall");
	due_ns = clock_ns(CLOCK_MONOTONIC);
	while (slot_control(slot) != CONTROL_STOP) {
		struct timespec due;

		beat(slot, due_ns);
		due_ns += period_ms * NS_PER_MS;
		/* After a pause of the machine: go on from now, do not make up for it. */
		if (due_ns < clock_ns(CLOCK_MONOTONIC))
			due_ns = clock_ns(CLOCK_MONOTONIC) + period_ms * NS_PER_MS;
		due = (struct timespec){ due_ns / NS_PER_S, due_ns % NS_PER_S };
		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &due, NULL);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}

static bool has_carrier(const char *nic)
{
	char path[256], text[8] = "";
	int fd;

	snprintf(path, sizeof(path), "/sys/class/net/%s/carrier", nic);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return text[0] == '1';
}

/* e1000e tells of its link some 2 s after it was set up. Returns how many have none in the end. */
static uint64_t wait_for_carriers(const struct texts *nics)
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + CARRIER_LIMIT_NS, without = 0;

	for (unsigned int i = 0; i < nics->count; i++) {
		while (!has_carrier(nics->text[i]) && clock_ns(CLOCK_MONOTONIC) < end_ns)
			sleep_ns(10 * NS_PER_MS);
		if (!has_carrier(nics->text[i]))
			without++;
	}
	return without;
}

static void report_memory(struct slot slot)
{
	static char text[4096];
	struct source meminfo;

	if (!source_open(&meminfo, "/proc/meminfo", text, sizeof(text)) || !source_read(&meminfo))
		return;
	slot_store(slot, MACHINE_MEM_TOTAL_KIB, number_after(text, "MemTotal"));
	slot_store(slot, MACHINE_MEM_FREE_KIB, number_after(text, "MemFree"));
	slot_store(slot, MACHINE_MEM_AVAILABLE_KIB, number_after(text, "MemAvailable"));
}

/* Init's last word: everything is set up, the links are there, and this much memory is left. */
int ready_main(int argc, char **argv)
{
	uint64_t failed_lines = 0;
	struct texts nics = { .count = 0 };
	const struct setting settings[] = {
		{ "failed-lines", SETTING_NUMBER, &failed_lines },
		{ "nic", SETTING_TEXTS, &nics },
	};
	struct slot slot;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	slot = slot_open();
	while (slot_read(slot, MACHINE_BEATS) == 0)
		sleep_ns(5 * NS_PER_MS);
	slot_store(slot, MACHINE_NO_CARRIER, wait_for_carriers(&nics));
	slot_store(slot, MACHINE_FAILED_LINES, failed_lines);
	report_memory(slot);
	slot_store(slot, MACHINE_READY_NS, clock_ns(CLOCK_MONOTONIC));
	slot_store(slot, SLOT_STATE, STATE_READY);
	return 0;
}
