// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Deeds: what is done inside a machine once, when the host says `run`, and on purpose.
 *
 * All are locked in memory and hold open what they need: the machine may be out of memory by then.
 * `done` says that the deed was done, not that it had the effect somebody wished for.
 */
#define _GNU_SOURCE
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define NAME_BYTES 16 /* TASK_COMM_LEN: a longer name is cut */

extern uint64_t slot_number;

static void count(struct slot slot, unsigned int field)
{
	slot_store(slot, field, slot_read(slot, field) + 1);
}

/* From a slot that is set up to the moment of the deed; false: the host wants it no more. */
static bool await_the_moment(struct slot slot)
{
	if (!stay_in_memory())
		slot_fail(slot, "mlockall");
	slot_state(slot, STATE_READY);
	if (slot_wait(slot, CONTROL_NONE) != CONTROL_RUN)
		return false;
	slot_state(slot, STATE_RUNNING);
	return true;
}

/* Sleeps in short steps; false: the host wants it no more. */
static bool wait_ms(struct slot slot, uint64_t ms)
{
	uint64_t end_ns = clock_ns(CLOCK_MONOTONIC) + ms * NS_PER_MS;
	uint64_t now_ns;

	while ((now_ns = clock_ns(CLOCK_MONOTONIC)) < end_ns) {
		uint64_t left_ns = end_ns - now_ns;

		if (slot_control(slot) != CONTROL_RUN)
			return false;
		slot_beat(slot);
		sleep_ns(left_ns < LOOK_MS * NS_PER_MS ? left_ns : LOOK_MS * NS_PER_MS);
	}
	return true;
}

/* --- deed-kill: a signal to all processes of a name, or to a slot's ------------------------------ */

static bool is_called(const char *pid, const char *name)
{
	char path[64], found[NAME_BYTES + 1] = "";
	int fd;
	ssize_t length;

	snprintf(path, sizeof(path), "/proc/%.20s/comm", pid);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, found, NAME_BYTES);
	close(fd);
	if (length > 0)
		found[strcspn(found, "\n")] = '\0';
	return strncmp(found, name, NAME_BYTES - 1) == 0;
}

/* Sends `number` (0: only looks) to every process called `name`; returns how many there are. */
static uint64_t signal_all(const char *name, int number)
{
	DIR *processes = opendir("/proc");
	struct dirent *entry;
	uint64_t hit = 0;

	while (processes && (entry = readdir(processes)))
		if (isdigit((unsigned char)entry->d_name[0]) && is_called(entry->d_name, name) &&
		    kill(atoi(entry->d_name), number) == 0)
			hit++;
	if (processes)
		closedir(processes);
	return hit;
}

/* The process of another slot of this page, by what it said of itself: nothing is read or allocated. */
static uint64_t signal_slot(struct slot own, uint64_t victim, int number)
{
	struct slot theirs = { own.words + ((int64_t)victim - (int64_t)slot_number) * SLOT_WORDS };
	pid_t pid = slot_read(theirs, SLOT_PID);

	return pid > 0 && kill(pid, number) == 0;
}

static struct {
	const char *process;
	uint64_t slot, signal, resume_after_ms;
} victim = { .slot = PAGE_SLOTS, .signal = SIGKILL };

static uint64_t strike(struct slot slot, int number)
{
	if (victim.process)
		return signal_all(victim.process, number);
	return signal_slot(slot, victim.slot, number);
}

int deed_kill_main(int argc, char **argv)
{
	const struct setting settings[] = {
		{ "process", SETTING_TEXT, &victim.process },
		{ "victim", SETTING_NUMBER, &victim.slot },
		{ "signal", SETTING_NUMBER, &victim.signal },
		{ "resume-after-ms", SETTING_NUMBER, &victim.resume_after_ms },
	};
	struct slot slot;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (!victim.process == (victim.slot >= PAGE_SLOTS))
		usage_error("one of --process NAME and --victim SLOT, with a slot below %d", PAGE_SLOTS);
	slot = slot_begin(KIND_DEED);
	if (strike(slot, 0) == 0) {
		errno = ESRCH; /* not that of whoever ended while all were looked at */
		slot_fail(slot, "nobody there to be killed");
	}
	if (await_the_moment(slot)) {
		slot_store(slot, DEED_HIT, strike(slot, victim.signal));
		count(slot, DEED_DONE);
		if (victim.resume_after_ms > 0) {
			wait_ms(slot, victim.resume_after_ms);
			strike(slot, SIGCONT);
			count(slot, DEED_UNDONE);
		}
	}
	slot_state(slot, STATE_DONE);
	return 0;
}

/* --- deed-write: one word into one of the kernel's files ----------------------------------------- */

int deed_write_main(int argc, char **argv)
{
	const char *path = NULL, *text = NULL;
	const struct setting settings[] = {
		{ "file", SETTING_TEXT, &path },
		{ "text", SETTING_TEXT, &text },
	};
	struct slot slot;
	int fd;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (!path || !text)
		usage_error("--file and --text are needed");
	slot = slot_begin(KIND_DEED);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		slot_fail(slot, path);
	if (await_the_moment(slot)) {
		if (write(fd, text, strlen(text)) < 0)
			slot_fail(slot, path);
		count(slot, DEED_HIT);
		count(slot, DEED_DONE);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}

/* --- deed-clock: the wall clock jumps ahead and back again --------------------------------------- */

static bool step_clock(int64_t seconds)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	now.tv_sec += seconds;
	return clock_settime(CLOCK_REALTIME, &now) == 0;
}

int deed_clock_main(int argc, char **argv)
{
	uint64_t step_s = 3600, every_ms = 1000;
	const struct setting settings[] = {
		{ "step-s", SETTING_NUMBER, &step_s },
		{ "every-ms", SETTING_NUMBER, &every_ms },
	};
	struct slot slot;
	int64_t step;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	slot = slot_begin(KIND_DEED);
	if (!step_clock(0))
		slot_fail(slot, "clock_settime");
	step = step_s;
	if (await_the_moment(slot)) {
		do {
			if (!step_clock(step))
				slot_fail(slot, "clock_settime");
			count(slot, DEED_HIT);
			count(slot, step > 0 ? DEED_DONE : DEED_UNDONE);
			step = -step;
		} while (wait_ms(slot, every_ms));
		if (step < 0 && step_clock(step))
			count(slot, DEED_UNDONE);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}

/* --- deed-shatter: free memory in pieces of a few pages ------------------------------------------ */

#define PAGE_BYTES 4096

/*
 * Takes memory, which is locked and so comes at once, and gives back all but every `keep`th page of it.
 * mm/page_alloc.c hands out the pages of a large block one after the other, so that what comes back lies
 * between those that stay.
 */
int deed_shatter_main(int argc, char **argv)
{
	uint64_t bytes = 0, keep = 4, pages;
	const struct setting settings[] = {
		{ "bytes", SETTING_NUMBER, &bytes },
		{ "keep", SETTING_NUMBER, &keep },
	};
	struct slot slot;
	char *memory;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	pages = bytes / PAGE_BYTES;
	if (pages == 0 || keep < 2)
		usage_error("--bytes of at least %d, and --keep of at least 2", PAGE_BYTES);
	slot = slot_begin(KIND_DEED);
	if (await_the_moment(slot)) {
		memory = take_memory(slot, pages * PAGE_BYTES);
		for (uint64_t page = 0; page < pages; page += keep) {
			uint64_t given = pages - page - 1 < keep - 1 ? pages - page - 1 : keep - 1;

			if (given > 0 && munmap(memory + (page + 1) * PAGE_BYTES, given * PAGE_BYTES) < 0)
				slot_fail(slot, "munmap");
			count(slot, DEED_HIT);
		}
		count(slot, DEED_DONE);
		/* What stays is held until the end. */
		while (wait_ms(slot, LOOK_MS))
			;
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
