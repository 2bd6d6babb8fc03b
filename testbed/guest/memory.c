// SPDX-License-Identifier: GPL-2.0-or-later
/* Owns what keeps a program in memory, and the small pure things that all of them use. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define STACK_BYTES (64 * 1024)

/* A witness must not need a page at the moment when there is none, not even for its stack. */
static void __attribute__((noinline)) prefault_stack(void)
{
	volatile char stack[STACK_BYTES];

	for (size_t i = 0; i < sizeof(stack); i += 512)
		stack[i] = 1;
}

/* Best effort: on a host, for tests, an ordinary user may not lower it. */
static void set_oom_score(const char *score)
{
	int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	if (write(fd, score, strlen(score)) < 0)
		fprintf(stderr, "agent: oom_score_adj stays as it is: %s\n", strerror(errno));
	close(fd);
}

bool stay_in_memory(void)
{
	if (mlockall(MCL_CURRENT | MCL_FUTURE) < 0)
		return false;
	prefault_stack();
	set_oom_score("-1000");
	return true;
}

void be_fair_game(void)
{
	set_oom_score("0");
}

void *take_memory(struct slot slot, size_t bytes)
{
	void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE,
			    MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (memory == MAP_FAILED)
		slot_fail(slot, "mmap");
	return memory;
}

uint64_t clock_ns(int clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return now.tv_sec * NS_PER_S + now.tv_nsec;
}

void sleep_ns(uint64_t ns)
{
	struct timespec left = { .tv_sec = ns / NS_PER_S, .tv_nsec = ns % NS_PER_S };

	nanosleep(&left, NULL);
}

uint64_t mix(uint64_t value)
{
	value += 0x9e3779b97f4a7c15ull;
	value = (value ^ (value >> 30)) * 0xbf58476d1ce4e5b9ull;
	value = (value ^ (value >> 27)) * 0x94d049bb133111ebull;
	return value ^ (value >> 31);
}

uint64_t next_random(uint64_t *state)
{
	*state ^= *state >> 12;
	*state ^= *state << 25;
	*state ^= *state >> 27;
	return *state * 0x2545f4914f6cdd1dull;
}
