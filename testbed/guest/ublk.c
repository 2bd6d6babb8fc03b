// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A server of ublk: the device /dev/ublkb0, whose requests a process of this machine answers out of a file or disk.
 *
 * It has one queue, and answers one request at a time. By number and struct of linux/ublk_cmd.h (since 6.0), over
 * io_uring without a library. It takes no slot, since it is no load: who starts it returns when the device is
 * there, and the server lives on until that is deleted.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <linux/ublk_cmd.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "agent.h"
/* What other daemons have set for them by a library, which a program that is linked statically does not load. */
#include "preload/daemon.c"

#define CONTROL "/dev/ublk-control"
#define SERVED "/dev/ublkc0"
#define DEVICE 0
#define DEPTH 16
#define BUFFER_BYTES (64 * 1024)
#define BLOCK_SHIFT 12
#define SECTOR_SHIFT 9
/* IORING_SETUP_SQE128: for the control device's commands an ordinary entry has no room. */
#define ENTRY_BYTES 128

struct rings {
	int fd;
	char *entries;
	unsigned int *put_from, *put_to, put_mask; /* submissions: the kernel moves the first, we the second */
	unsigned int *take_from, *take_to, take_mask; /* completions: the other way round */
	struct io_uring_cqe *answers;
};

static void *map(int fd, size_t bytes, int protection, int flags, off_t offset)
{
	void *at = mmap(NULL, bytes, protection, flags, fd, offset);

	if (at == MAP_FAILED)
		fail("mmap");
	return at;
}

static struct rings rings_open(unsigned int entries)
{
	struct io_uring_params with = { .flags = IORING_SETUP_SQE128 };
	int fd = syscall(SYS_io_uring_setup, entries, &with);
	size_t put_bytes, take_bytes;
	unsigned int *order;
	char *both;

	if (fd < 0)
		fail("io_uring_setup");
	put_bytes = with.sq_off.array + with.sq_entries * sizeof(*order);
	take_bytes = with.cq_off.cqes + with.cq_entries * sizeof(struct io_uring_cqe);
	/* Both are in one piece (IORING_FEAT_SINGLE_MMAP, since 5.4). */
	both = map(fd, put_bytes > take_bytes ? put_bytes : take_bytes, PROT_READ | PROT_WRITE,
		   MAP_SHARED | MAP_POPULATE, IORING_OFF_SQ_RING);
	order = (unsigned int *)(both + with.sq_off.array);
	for (unsigned int i = 0; i < with.sq_entries; i++)
		order[i] = i;
	return (struct rings){
		.fd = fd,
		.entries = map(fd, with.sq_entries * ENTRY_BYTES, PROT_READ | PROT_WRITE,
			       MAP_SHARED | MAP_POPULATE, IORING_OFF_SQES),
		.put_from = (unsigned int *)(both + with.sq_off.head),
		.put_to = (unsigned int *)(both + with.sq_off.tail),
		.put_mask = with.sq_entries - 1,
		.take_from = (unsigned int *)(both + with.cq_off.head),
		.take_to = (unsigned int *)(both + with.cq_off.tail),
		.take_mask = with.cq_entries - 1,
		.answers = (struct io_uring_cqe *)(both + with.cq_off.cqes),
	};
}

/* Puts a command of the driver's own; its answer will have this number. */
static void rings_put(struct rings *rings, int fd, uint32_t operation, uint64_t number, const void *command,
		     size_t bytes)
{
	unsigned int at = *rings->put_to;
	char *entry = rings->entries + (size_t)(at & rings->put_mask) * ENTRY_BYTES;
	struct io_uring_sqe *head = (struct io_uring_sqe *)entry;

	memset(entry, 0, ENTRY_BYTES);
	head->opcode = IORING_OP_URING_CMD;
	head->fd = fd;
	head->cmd_op = operation;
	head->user_data = number;
	memcpy(entry + offsetof(struct io_uring_sqe, cmd), command, bytes);
	__atomic_store_n(rings->put_to, at + 1, __ATOMIC_RELEASE);
}

static unsigned int rings_left(const struct rings *rings)
{
	return *rings->put_to - __atomic_load_n(rings->put_from, __ATOMIC_ACQUIRE);
}

static bool rings_answered(const struct rings *rings)
{
	return *rings->take_from != __atomic_load_n(rings->take_to, __ATOMIC_ACQUIRE);
}

/* Hands over what was put; waits for an answer if that is wanted. Where there is no memory it tries again. */
static void rings_enter(struct rings *rings, bool wait)
{
	unsigned int flags = wait ? IORING_ENTER_GETEVENTS : 0;

	while (rings_left(rings) || (wait && !rings_answered(rings))) {
		if (syscall(SYS_io_uring_enter, rings->fd, rings_left(rings), wait ? 1 : 0, flags, NULL, 0) >= 0 ||
		    errno == EINTR)
			continue;
		if (errno != EAGAIN && errno != EBUSY && errno != ENOMEM)
			fail("io_uring_enter");
		sleep_ns(NS_PER_MS);
	}
}

static bool rings_take(struct rings *rings, uint64_t *number, int32_t *result)
{
	const struct io_uring_cqe *answer = &rings->answers[*rings->take_from & rings->take_mask];

	if (!rings_answered(rings))
		return false;
	*number = answer->user_data;
	*result = answer->res;
	__atomic_store_n(rings->take_from, *rings->take_from + 1, __ATOMIC_RELEASE);
	return true;
}

/* --- the device ------------------------------------------------------------------------------- */

static struct {
	int fd;
	struct rings rings;
} control;

/* False, with errno: the driver refuses it. */
static bool tell(uint32_t operation, void *argument, size_t bytes, uint64_t word)
{
	struct ublksrv_ctrl_cmd command = {
		.dev_id = DEVICE,
		.queue_id = UINT16_MAX,
		.len = bytes,
		.addr = (uintptr_t)argument,
		.data = { word },
	};
	uint64_t number;
	int32_t result;

	rings_put(&control.rings, control.fd, operation, 0, &command, sizeof(command));
	rings_enter(&control.rings, true);
	rings_take(&control.rings, &number, &result);
	if (result < 0)
		errno = -result;
	return result >= 0;
}

static void add_device(uint64_t bytes)
{
	struct ublksrv_ctrl_dev_info device = {
		.nr_hw_queues = 1,
		.queue_depth = DEPTH,
		.max_io_buf_bytes = BUFFER_BYTES,
		.dev_id = DEVICE,
	};
	struct ublk_params params = {
		.len = sizeof(params),
		.types = UBLK_PARAM_TYPE_BASIC,
		.basic = {
			.attrs = UBLK_ATTR_VOLATILE_CACHE,
			.logical_bs_shift = BLOCK_SHIFT,
			.physical_bs_shift = BLOCK_SHIFT,
			.io_opt_shift = BLOCK_SHIFT,
			.io_min_shift = BLOCK_SHIFT,
			.max_sectors = BUFFER_BYTES >> SECTOR_SHIFT,
			.dev_sectors = bytes >> BLOCK_SHIFT << (BLOCK_SHIFT - SECTOR_SHIFT),
		},
	};

	if (!tell(UBLK_CMD_ADD_DEV, &device, sizeof(device), 0))
		fail("ADD_DEV");
	if (!tell(UBLK_CMD_SET_PARAMS, &params, sizeof(params), 0))
		fail("SET_PARAMS");
}

/* --- the server ------------------------------------------------------------------------------- */

static int32_t transfer(int backing, const struct ublksrv_io_desc *request, bool writes)
{
	size_t bytes = (size_t)request->nr_sectors << SECTOR_SHIFT, done = 0;
	off_t at = (off_t)request->start_sector << SECTOR_SHIFT;
	char *buffer = (char *)(uintptr_t)request->addr;

	while (done < bytes) {
		ssize_t part = writes ? pwrite(backing, buffer + done, bytes - done, at + done)
				      : pread(backing, buffer + done, bytes - done, at + done);

		if (part < 0 && errno == EINTR)
			continue;
		if (part <= 0)
			return part < 0 ? -errno : -EIO;
		done += part;
	}
	return done;
}

static int32_t answer(int backing, const struct ublksrv_io_desc *request)
{
	switch (ublksrv_get_op(request)) {
	case UBLK_IO_OP_READ:
		return transfer(backing, request, false);
	case UBLK_IO_OP_WRITE:
		return transfer(backing, request, true);
	case UBLK_IO_OP_FLUSH:
		return fdatasync(backing) < 0 ? -errno : 0;
	default:
		return -EOPNOTSUPP;
	}
}

static void leave_caller(int ready)
{
	int fd = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int standard = 0; fd >= 0 && standard < 3; standard++)
		dup2(fd, standard);
	if (write(ready, "", 1) != 1)
		_exit(FAILED);
	close(ready);
}

/*
 * All requests are fetched by the one thread that answers them: the driver takes nobody else's word (6.1,
 * drivers/block/ublk_drv.c, __ublk_ch_uring_cmd). Its pages of the requests are mapped whole.
 */
static void __attribute__((noreturn)) serve(int backing, int ready)
{
	size_t described = (DEPTH * sizeof(struct ublksrv_io_desc) + PROOF_PAGE_BYTES - 1) / PROOF_PAGE_BYTES *
			   PROOF_PAGE_BYTES;
	int device = open(SERVED, O_RDWR | O_CLOEXEC);
	const struct ublksrv_io_desc *requests;
	struct rings rings;
	unsigned int gone = 0;
	uint64_t tag;
	int32_t result;
	char *buffers;

	if (device < 0)
		fail(SERVED);
	rings = rings_open(DEPTH);
	requests = map(device, described, PROT_READ, MAP_SHARED, UBLKSRV_CMD_BUF_OFFSET);
	buffers = map(-1, DEPTH * BUFFER_BYTES, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, 0);
	for (tag = 0; tag < DEPTH; tag++) {
		struct ublksrv_io_cmd fetch = { .tag = tag, .addr = (uintptr_t)(buffers + tag * BUFFER_BYTES) };

		rings_put(&rings, device, UBLK_IO_FETCH_REQ, tag, &fetch, sizeof(fetch));
	}
	rings_enter(&rings, false);
	if (rings_take(&rings, &tag, &result)) {
		errno = -result; /* nobody has the device yet who could ask for anything */
		fail("FETCH_REQ");
	}
	leave_caller(ready);
	while (gone < DEPTH) {
		rings_enter(&rings, true);
		while (rings_take(&rings, &tag, &result)) {
			struct ublksrv_io_cmd commit = {
				.tag = tag,
				.addr = (uintptr_t)(buffers + tag * BUFFER_BYTES),
			};

			if (result != UBLK_IO_RES_OK) {
				gone++; /* with the device */
				continue;
			}
			commit.result = answer(backing, &requests[tag]);
			rings_put(&rings, device, UBLK_IO_COMMIT_AND_FETCH_REQ, tag, &commit, sizeof(commit));
		}
	}
	_exit(0);
}

/* The driver starts the device only while its requests are fetched: it is read for a table of partitions. */
static int start_device(pid_t server, int ready)
{
	char byte;
	int error;

	if (read(ready, &byte, 1) != 1) {
		tell(UBLK_CMD_DEL_DEV, NULL, 0, 0);
		return FAILED;
	}
	if (tell(UBLK_CMD_START_DEV, NULL, 0, server))
		return 0;
	error = errno;
	kill(server, SIGKILL);
	tell(UBLK_CMD_DEL_DEV, NULL, 0, 0);
	errno = error;
	fail("START_DEV");
	return FAILED;
}

int ublk_main(int argc, char **argv)
{
	const char *file = NULL;
	bool direct = false;
	const struct setting settings[] = {
		{ "file", SETTING_TEXT, &file },
		{ "direct", SETTING_FLAG, &direct },
	};
	int backing, ready[2];
	pid_t server;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (!file)
		usage_error("--file is needed");
	backing = open(file, O_RDWR | O_CLOEXEC | (direct ? O_DIRECT : 0));
	if (backing < 0)
		fail(file);
	control.fd = open(CONTROL, O_RDWR | O_CLOEXEC);
	if (control.fd < 0)
		fail(CONTROL);
	control.rings = rings_open(1);
	add_device(lseek(backing, 0, SEEK_END));
	if (pipe2(ready, O_CLOEXEC) < 0)
		fail("pipe2");
	server = fork();
	if (server < 0)
		fail("fork");
	if (server == 0) {
		setsid();
		close(ready[0]);
		close(control.rings.fd);
		close(control.fd);
		serve(backing, ready[1]);
	}
	close(ready[1]);
	return start_device(server, ready[0]);
}
