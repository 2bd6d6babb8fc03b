// SPDX-License-Identifier: GPL-2.0-or-later
/* A job: any command, run once when the host says `run`; `stop` ends its process group. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define NOT_STARTED 127

static const char *log_file = "/dev/null";

static void become(char **argv)
{
	int fd = open(log_file, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);

	setpgid(0, 0);
	if (fd >= 0) {
		dup2(fd, 1);
		dup2(fd, 2);
	}
	execvp(argv[0], argv);
	perror(argv[0]);
	_exit(NOT_STARTED);
}

static uint64_t milliseconds(struct timeval time)
{
	return time.tv_sec * 1000ull + time.tv_usec / 1000;
}

static void report_end(struct slot slot, int status, const struct rusage *usage)
{
	int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);

	slot_store(slot, JOB_CPU_MS, milliseconds(usage->ru_utime) + milliseconds(usage->ru_stime));
	slot_store(slot, JOB_EXIT_STATUS_PLUS_1, code + 1);
}

/* Waits for the end in short steps, so that `stop` is heard. */
static void attend(struct slot slot, pid_t child)
{
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC);
	struct rusage usage;
	bool told = false;
	int status;

	while (wait4(child, &status, WNOHANG, &usage) == 0) {
		enum witness_control control = slot_control(slot);

		if (!told && (control == CONTROL_STOP || control == CONTROL_QUIT))
			told = kill(-child, SIGTERM) == 0;
		slot_store(slot, JOB_RUN_MS, (clock_ns(CLOCK_MONOTONIC) - start_ns) / NS_PER_MS);
		slot_beat(slot);
		sleep_ns(20 * NS_PER_MS);
	}
	slot_store(slot, JOB_RUN_MS, (clock_ns(CLOCK_MONOTONIC) - start_ns) / NS_PER_MS);
	report_end(slot, status, &usage);
}

int job_main(int argc, char **argv)
{
	const struct setting settings[] = { { "log", SETTING_TEXT, &log_file } };
	char **command = read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	struct slot slot;
	pid_t child;

	if (!command[0])
		usage_error("job: the command comes after '--'");
	slot = slot_begin(KIND_JOB);
	be_fair_game();
	slot_state(slot, STATE_READY);
	if (slot_wait(slot, CONTROL_NONE) == CONTROL_RUN) {
		slot_state(slot, STATE_RUNNING);
		child = fork();
		if (child < 0)
			slot_fail(slot, "fork");
		if (child == 0)
			become(command);
		attend(slot, child);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
