// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For a daemon that serves the machine on which it runs: what it may need not to wait for itself, set
 * before its first line, by environment:
 *
 *   TESTBED_CGROUP=PATH    joins that control group, and so is charged there from its first page on
 *   TESTBED_IO_FLUSHER=1   prctl(PR_SET_IO_FLUSHER): GFP_NOIO, and a dirty limit of its own
 *   TESTBED_MLOCKALL=1     mlockall(2), after each fork again: a child inherits no locks (6.1, kernel/fork.c,
 *                          dup_mmap clears VM_LOCKED), and nbd-server forks for each client
 *
 * MCL_ONFAULT: else every thread's whole stack would be filled at once, 8 MiB each. A daemon whose setting
 * fails ends: without it the cell would be about something else.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <unistd.h>

#ifndef PR_SET_IO_FLUSHER
#define PR_SET_IO_FLUSHER 57
#define PR_GET_IO_FLUSHER 58
#endif

#define FAILED 71 /* EX_OSERR of sysexits.h */

static void fail(const char *what)
{
	dprintf(STDERR_FILENO, "testbed: %s: %s\n", what, strerror(errno));
	_exit(FAILED);
}

static int wanted(const char *name)
{
	const char *text = getenv(name);

	return text && strcmp(text, "1") == 0;
}

static void lock(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE | MCL_ONFAULT) != 0)
		fail("mlockall");
}

static void join(const char *group)
{
	char path[256];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", group);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "0", 1) != 1)
		fail(path);
	close(fd);
}

__attribute__((constructor)) static void settle(void)
{
	const char *group = getenv("TESTBED_CGROUP");

	if (group)
		join(group);
	if (wanted("TESTBED_IO_FLUSHER") &&
	    (prctl(PR_SET_IO_FLUSHER, 1, 0, 0, 0) != 0 || prctl(PR_GET_IO_FLUSHER, 0, 0, 0, 0) != 1))
		fail("PR_SET_IO_FLUSHER");
	if (!wanted("TESTBED_MLOCKALL"))
		return;
	lock();
	errno = pthread_atfork(NULL, NULL, lock);
	if (errno)
		fail("pthread_atfork");
}
