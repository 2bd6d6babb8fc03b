// SPDX-License-Identifier: GPL-2.0-or-later
/* Owns the mapping of the witness page, and the life of one slot in it. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define PCI_DEVICES "/sys/bus/pci/devices"
#define SLOT_BYTES (SLOT_WORDS * sizeof(uint64_t))

extern uint64_t slot_number;
extern const char *page_file;

static bool detached; /* the caller still waits for `ready`, and we have its standard error */

static void fatal(const char *what)
{
	fprintf(stderr, "agent: %s: %s\n", what, strerror(errno));
	exit(1);
}

static bool file_holds(const char *folder, const char *name, const char *expected)
{
	char path[512], content[16] = "";
	int fd;
	ssize_t length;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	length = read(fd, content, sizeof(content) - 1);
	close(fd);
	return length > 0 && strncmp(content, expected, strlen(expected)) == 0;
}

/* The ivshmem device has no driver, so nobody has switched on its memory decoding yet. */
static void enable_device(const char *folder)
{
	char path[512];
	int fd;

	snprintf(path, sizeof(path), "%s/enable", folder);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	if (fd < 0 || write(fd, "1", 1) != 1)
		fatal(path);
	close(fd);
}

/* Writes the path of the device's shared memory (BAR 2) to `path`; false: there is no such device. */
static bool find_device(char *path, size_t size)
{
	DIR *devices = opendir(PCI_DEVICES);
	struct dirent *entry;
	bool found = false;

	while (devices && !found && (entry = readdir(devices))) {
		char folder[300];

		snprintf(folder, sizeof(folder), PCI_DEVICES "/%s", entry->d_name);
		if (!file_holds(folder, "vendor", "0x1af4") || !file_holds(folder, "device", "0x1110"))
			continue;
		enable_device(folder);
		snprintf(path, size, "%s/resource2", folder);
		found = true;
	}
	if (devices)
		closedir(devices);
	return found;
}

static volatile uint64_t *map_page(size_t *size)
{
	char path[512];
	struct stat file;
	void *page;
	int fd;

	if (page_file)
		snprintf(path, sizeof(path), "%s", page_file);
	else if (!find_device(path, sizeof(path))) {
		errno = ENODEV;
		fatal("no witness device (PCI 1af4:1110)");
	}
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &file) < 0)
		fatal(path);
	*size = file.st_size;
	page = mmap(NULL, *size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd, 0);
	if (page == MAP_FAILED)
		fatal(path);
	close(fd);
	return page;
}

struct slot slot_open(void)
{
	size_t size;
	volatile uint64_t *page = map_page(&size);

	if ((slot_number + 1) * SLOT_BYTES > size)
		usage_error("--slot %llu: the page has %zu slots", (unsigned long long)slot_number,
			    size / SLOT_BYTES);
	return (struct slot){ page + slot_number * SLOT_WORDS };
}

static void slot_clear(struct slot slot)
{
	for (unsigned int field = 0; field < SLOT_WORDS; field++)
		if (field != SLOT_CONTROL)
			slot_store(slot, field, 0);
}

/* The caller's half of --detach: leaves with 0 only when the slot's new owner says `ready`. */
static void wait_until_ready(struct slot slot, pid_t child)
{
	int status;

	for (;;) {
		uint64_t state = slot_read(slot, SLOT_STATE);

		if (state >= STATE_READY && state <= STATE_DONE)
			_exit(0);
		if (waitpid(child, &status, WNOHANG) == child) {
			fprintf(stderr, "agent: ended before it was ready, status %#x\n", status);
			_exit(1);
		}
		sleep_ns(5 * NS_PER_MS);
	}
}

static void detach(struct slot slot)
{
	pid_t child = fork();

	if (child < 0)
		slot_fail(slot, "fork");
	if (child > 0)
		wait_until_ready(slot, child);
	setsid();
	detached = true;
}

/* Only now: until here, what goes wrong is told to the caller. */
static void release_caller(void)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int standard = 0; fd >= 0 && standard < 3; standard++)
		dup2(fd, standard);
	if (fd > 2)
		close(fd);
	detached = false;
}

struct slot slot_begin(enum witness_kind kind)
{
	struct slot slot = slot_open();

	slot_clear(slot);
	slot_store(slot, SLOT_KIND, kind);
	slot_store(slot, SLOT_STATE, STATE_STARTING);
	if (detach_wanted)
		detach(slot);
	slot_store(slot, SLOT_PID, getpid());
	slot_beat(slot);
	return slot;
}

uint64_t slot_read(struct slot slot, unsigned int field)
{
	return __atomic_load_n(&slot.words[field], __ATOMIC_ACQUIRE);
}

void slot_store(struct slot slot, unsigned int field, uint64_t value)
{
	__atomic_store_n(&slot.words[field], value, __ATOMIC_RELEASE);
}

void slot_add(struct slot slot, unsigned int field, int64_t change)
{
	__atomic_fetch_add(&slot.words[field], change, __ATOMIC_ACQ_REL);
}

void slot_beat(struct slot slot)
{
	slot_store(slot, SLOT_BEAT_NS, clock_ns(CLOCK_MONOTONIC_COARSE));
}

void slot_state(struct slot slot, enum witness_state state)
{
	if (detached)
		release_caller();
	slot_store(slot, SLOT_STATE, state);
	slot_beat(slot);
}

enum witness_control slot_control(struct slot slot)
{
	uint64_t control = slot_read(slot, SLOT_CONTROL);

	if (control != slot_read(slot, SLOT_CONTROL_SEEN))
		slot_store(slot, SLOT_CONTROL_SEEN, control);
	return control;
}

bool slot_goes_on(struct slot slot)
{
	enum witness_control control = slot_control(slot);

	return control != CONTROL_STOP && control != CONTROL_QUIT;
}

enum witness_control slot_wait(struct slot slot, enum witness_control seen)
{
	enum witness_control control;

	while ((control = slot_control(slot)) == seen) {
		slot_beat(slot);
		sleep_ns(LOOK_MS * NS_PER_MS);
	}
	return control;
}

enum witness_control slot_rest(struct slot slot, uint64_t ms)
{
	enum witness_control control = CONTROL_RUN;

	for (uint64_t slept = 0; slept < ms && control == CONTROL_RUN; slept += LOOK_MS) {
		sleep_ns(LOOK_MS * NS_PER_MS);
		slot_beat(slot);
		control = slot_control(slot);
	}
	return control;
}

void slot_fail_at(struct slot slot, const char *what, int line)
{
	int error = errno;

	slot_store(slot, SLOT_ERROR, error);
	slot_store(slot, SLOT_ERROR_LINE, line);
	slot_store(slot, SLOT_STATE, STATE_FAILED);
	errno = error;
	fatal(what);
	__builtin_unreachable();
}
