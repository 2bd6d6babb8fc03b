// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * For a daemon that serves the machine on which it runs: what it may need not to wait for itself, set
 * before its first line, by environment:
 *
 *   TESTBED_CGROUP=PATH    joins that control group, and so is charged there from its first page on
 *   TESTBED_IO_FLUSHER=1   prctl(PR_SET_IO_FLUSHER): GFP_NOIO, and a dirty limit of its own
 *   TESTBED_LESS_THROTTLE=1, TESTBED_MEMALLOC=1
 *                          what the patch sets less-throttle and memalloc-daemon add, for children as well
 *   TESTBED_MLOCKALL=on-fault, =filled
 *                          mlockall(2), after each fork again: a child inherits no locks (6.1, kernel/fork.c,
 *                          dup_mmap clears VM_LOCKED), and nbd-server forks for each client. With
 *                          MCL_ONFAULT each page is locked as it is first touched, for which memory is needed
 *                          then; filled, all of them are there at once, of each thread's stack 8 MiB
 *
 * A daemon whose setting fails ends: without it the cell would be about something else.
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

/* By number: the headers may be older than the one (5.6), and are not the patch sets' own. */
static const struct {
	const char *name;
	int set, get;
	unsigned long how;
} calls[] = {
	{ "TESTBED_IO_FLUSHER", 57, 58, 1 },
	{ "TESTBED_LESS_THROTTLE", 0x4c545431, 0x4c545432, 1 },
	{ "TESTBED_MEMALLOC", 0x4d444d31, 0x4d444d32, 2 },
};

#define FAILED 71 /* EX_OSERR of sysexits.h */

static void fail(const char *what)
{
	dprintf(STDERR_FILENO, "testbed: %s: %s\n", what, strerror(errno));
	_exit(FAILED);
}

static int is(const char *name, const char *value)
{
	const char *text = getenv(name);

	return text && strcmp(text, value) == 0;
}

static void lock(void)
{
	int when = is("TESTBED_MLOCKALL", "on-fault") ? MCL_ONFAULT : 0;

	if (mlockall(MCL_CURRENT | MCL_FUTURE | when) != 0)
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
	for (unsigned int i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		if (is(calls[i].name, "1") &&
		    (prctl(calls[i].set, calls[i].how, 0, 0, 0) != 0 ||
		     prctl(calls[i].get, 0, 0, 0, 0) != (int)calls[i].how))
			fail(calls[i].name);
	if (!getenv("TESTBED_MLOCKALL"))
		return;
	lock();
	errno = pthread_atfork(NULL, NULL, lock);
	if (errno)
		fail("pthread_atfork");
}
