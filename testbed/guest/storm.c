// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The storm: system calls that need a little of the kernel's memory, made again and again, and counted
 * when they fail. It proves nothing by going on, and nobody waits for it.
 *
 * Each kind of call has a thread of its own, since one that waits inside the kernel for memory makes no
 * other. The threads are locked in memory: what they wait for is the call's need, not theirs.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

#define STACK_BYTES (64 * 1024)
#define MAPPED_BYTES (4 * 4096)
#define LONG_NS NS_PER_S

static struct {
	uint64_t pause_ms;
	const char *program, *file;
} config = { .pause_ms = 20, .program = "/usr/lib/testbed/busybox", .file = "/proc/version" };

static struct slot slot;
static bool at_work;

/* 0, or the errno of what failed: ECANCELED for a child that somebody killed. */
static int status_of(pid_t child)
{
	int status;

	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return errno;
	return WIFSIGNALED(status) ? ECANCELED : WEXITSTATUS(status);
}

static int try_fork(void)
{
	pid_t child = fork();

	if (child < 0)
		return errno;
	if (child == 0)
		_exit(0);
	return status_of(child);
}

/* vfork(), which copies no page tables: what fails here is exec. */
static int try_exec(void)
{
	char *argv[] = { "true", NULL }, *environment[] = { NULL };
	pid_t child = vfork();

	if (child < 0)
		return errno;
	if (child == 0) {
		execve(config.program, argv, environment);
		_exit(errno);
	}
	return status_of(child);
}

static int try_mmap(void)
{
	void *memory = mmap(NULL, MAPPED_BYTES, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);

	if (memory == MAP_FAILED)
		return errno;
	munmap(memory, MAPPED_BYTES);
	return 0;
}

static int closed(int fd)
{
	if (fd < 0)
		return errno;
	close(fd);
	return 0;
}

static int try_socket(void)
{
	return closed(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
}

static int try_open(void)
{
	return closed(open(config.file, O_RDONLY | O_CLOEXEC));
}

static struct caller {
	int (*call)(void);
	pthread_t thread;
	unsigned int tried; /* the first of its words in the slot */
	uint64_t since_ns;  /* of the call under way, 0 between two */
} callers[] = {
	{ .call = try_fork, .tried = STORM_FORK_TRIED },
	{ .call = try_exec, .tried = STORM_EXEC_TRIED },
	{ .call = try_mmap, .tried = STORM_MMAP_TRIED },
	{ .call = try_socket, .tried = STORM_SOCKET_TRIED },
	{ .call = try_open, .tried = STORM_OPEN_TRIED },
};

/* Which of a call's words counts this errno. */
static unsigned int word_of(const struct caller *caller, int error)
{
	unsigned int after = STORM_FORK_OTHER;

	if (error == ENOMEM || error == ENOBUFS)
		after = STORM_FORK_NO_MEMORY;
	else if (error == EAGAIN)
		after = STORM_FORK_AGAIN;
	return caller->tried + (after - STORM_FORK_TRIED);
}

static void *make_calls(void *argument)
{
	struct caller *own = argument;
	unsigned int longest = own->tried + (STORM_FORK_LONGEST_MS - STORM_FORK_TRIED);

	for (;;) {
		uint64_t start_ns = clock_ns(CLOCK_MONOTONIC), took_ms;
		int error;

		if (__atomic_load_n(&at_work, __ATOMIC_ACQUIRE)) {
			__atomic_store_n(&own->since_ns, start_ns, __ATOMIC_RELEASE);
			slot_add(slot, own->tried, 1);
			error = own->call();
			__atomic_store_n(&own->since_ns, 0, __ATOMIC_RELEASE);
			took_ms = (clock_ns(CLOCK_MONOTONIC) - start_ns) / NS_PER_MS;
			if (error)
				slot_add(slot, word_of(own, error), 1);
			if (took_ms > slot_read(slot, longest))
				slot_store(slot, longest, took_ms);
		}
		sleep_ns(config.pause_ms * NS_PER_MS);
	}
	return NULL;
}

static void start_callers(void)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	for (size_t i = 0; i < ARRAY_LENGTH(callers); i++) {
		errno = pthread_create(&callers[i].thread, &attributes, make_calls, &callers[i]);
		if (errno)
			slot_fail(slot, "pthread_create");
	}
}

/* How many calls have been under way for over a second. */
static uint64_t waiting(void)
{
	uint64_t now_ns = clock_ns(CLOCK_MONOTONIC), number = 0;

	for (size_t i = 0; i < ARRAY_LENGTH(callers); i++) {
		uint64_t since_ns = __atomic_load_n(&callers[i].since_ns, __ATOMIC_ACQUIRE);

		number += since_ns != 0 && now_ns > since_ns + LONG_NS;
	}
	return number;
}

int storm_main(int argc, char **argv)
{
	const struct setting settings[] = {
		{ "pause-ms", SETTING_NUMBER, &config.pause_ms },
		{ "program", SETTING_TEXT, &config.program },
		{ "file", SETTING_TEXT, &config.file },
	};
	enum witness_control control;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	slot = slot_begin(KIND_STORM);
	start_callers();
	/* The second call takes back that what is mapped later is locked: mmap is one of the calls. */
	if (!stay_in_memory() || mlockall(MCL_CURRENT) < 0)
		slot_fail(slot, "mlockall");
	be_fair_game();
	slot_state(slot, STATE_READY);
	while ((control = slot_control(slot)) != CONTROL_STOP && control != CONTROL_QUIT) {
		if (control == CONTROL_RUN && !at_work) {
			slot_store(slot, SLOT_STATE, STATE_RUNNING);
			__atomic_store_n(&at_work, true, __ATOMIC_RELEASE);
		}
		slot_store(slot, STORM_WAITING, waiting());
		slot_beat(slot);
		sleep_ns(LOOK_MS * NS_PER_MS);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
