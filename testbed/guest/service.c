// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The network service: consumers that need their own, swappable memory before they read.
 *
 * With swap gone they stop inside that memory while their sockets go on filling: the packets pin
 * what the way out of the deadlock would need. Each consumer is a thread with its share of the
 * sockets and of the memory.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"

#define PAGE_BYTES 4096
#define CONSUMERS_MAX 64
#define BATCH 32
#define PEEK_BYTES 64		/* of a datagram; the kernel tells its length all the same */
#define STREAM_BYTES 16384
#define STACK_BYTES (128 * 1024)
#define EVENTS 16

/* What an epoll event belongs to, packed beside its descriptor. */
enum channel { CHANNEL_DATAGRAMS, CHANNEL_LISTENER, CHANNEL_STREAM };

struct consumer {
	pthread_t thread;
	int epoll;
	volatile char *memory;
	uint64_t pages;
	uint64_t random;
	char buffer[STREAM_BYTES];
};

static struct {
	uint64_t port, sockets, rcvbuf, memory, consumers, touch_pages, unread;
	struct texts tcp_ports;
} config = { .sockets = 64, .consumers = 8, .touch_pages = 8 };

static struct slot slot;
static struct consumer *consumers;

static void watch(int epoll, int fd, enum channel channel)
{
	struct epoll_event event = {
		/* One consumer is enough for a new connection. */
		.events = channel == CHANNEL_LISTENER ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN,
		.data.u64 = (uint64_t)channel << 32 | (uint32_t)fd,
	};

	if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
		slot_fail(slot, "epoll_ctl");
}

/*
 * The kernel doubles what it is given, and says what it then holds (6.1, net/core/sock.c, __sock_set_rcvbuf):
 * hence the half. The size is beyond net.core.rmem_max, hence FORCE. Returns what the kernel granted.
 */
static uint64_t set_receive_buffer(int fd)
{
	int bytes = (config.rcvbuf + 1) / 2;
	socklen_t length = sizeof(bytes);

	if (bytes && setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, length) < 0 &&
	    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, length) < 0)
		slot_fail(slot, "SO_RCVBUFFORCE");
	if (getsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, &length) < 0)
		slot_fail(slot, "SO_RCVBUF");
	return bytes;
}

static int bound_socket(int type, uint64_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };
	int fd = socket(AF_INET, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int yes = 1;

	if (fd < 0)
		slot_fail(slot, "socket");
	if (type == SOCK_STREAM)
		setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
		slot_fail(slot, "bind");
	return fd;
}

static void open_datagram_sockets(void)
{
	uint64_t granted = 0;

	for (uint64_t i = 0; i < config.sockets; i++) {
		int fd = bound_socket(SOCK_DGRAM, config.port + i);

		granted += set_receive_buffer(fd);
		if (!config.unread)
			watch(consumers[i % config.consumers].epoll, fd, CHANNEL_DATAGRAMS);
	}
	slot_store(slot, SERVICE_SOCKETS, config.sockets);
	slot_store(slot, SERVICE_RCVBUF_BYTES, granted);
}

static uint64_t port_number(const char *text)
{
	uint64_t port = 0;

	for (const char *c = text; *c; c++)
		port = *c >= '0' && *c <= '9' ? port * 10 + (*c - '0') : UINT16_MAX + 1;
	if (port == 0 || port > UINT16_MAX)
		usage_error("--tcp-port: '%s' is not a port", text);
	return port;
}

/* Accepted connections inherit the listener's receive buffer. */
static void open_listeners(void)
{
	for (unsigned int i = 0; i < config.tcp_ports.count; i++) {
		int fd = bound_socket(SOCK_STREAM, port_number(config.tcp_ports.text[i]));

		slot_store(slot, SERVICE_TCP_RCVBUF_BYTES, set_receive_buffer(fd));
		if (listen(fd, 128) < 0)
			slot_fail(slot, "listen");
		for (uint64_t c = 0; c < config.consumers; c++)
			watch(consumers[c].epoll, fd, CHANNEL_LISTENER);
	}
}

/* A random run of pages, written to, so that they are dirty and get swapped out again. */
static void touch_memory(struct consumer *own)
{
	uint64_t first = next_random(&own->random);

	slot_add(slot, SERVICE_CONSUMERS_WAITING, 1);
	for (uint64_t i = 0; own->pages && i < config.touch_pages; i++)
		own->memory[(first + i) % own->pages * PAGE_BYTES]++;
	slot_add(slot, SERVICE_CONSUMERS_WAITING, -1);
	slot_add(slot, SERVICE_TOUCHES, 1);
}

static void read_datagrams(struct consumer *own, int fd)
{
	struct mmsghdr messages[BATCH] = { 0 };
	struct iovec pieces[BATCH];
	int64_t bytes = 0;
	int got;

	for (unsigned int i = 0; i < BATCH; i++) {
		pieces[i] = (struct iovec){ own->buffer + i * PEEK_BYTES, PEEK_BYTES };
		messages[i].msg_hdr.msg_iov = &pieces[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	got = recvmmsg(fd, messages, BATCH, MSG_DONTWAIT | MSG_TRUNC, NULL);
	for (int i = 0; i < got; i++)
		bytes += messages[i].msg_len;
	if (got > 0) {
		slot_add(slot, SERVICE_PACKETS, got);
		slot_add(slot, SERVICE_BYTES, bytes);
	}
}

static void read_stream(struct consumer *own, int fd)
{
	ssize_t got = recv(fd, own->buffer, sizeof(own->buffer), MSG_DONTWAIT);

	if (got > 0) {
		slot_add(slot, SERVICE_BYTES, got);
		slot_add(slot, SERVICE_TCP_READS, 1);
	} else if (got == 0 || (errno != EAGAIN && errno != EINTR)) {
		close(fd);
		slot_add(slot, SERVICE_TCP_CONNECTIONS, -1);
	}
}

static void accept_stream(struct consumer *own, int listener)
{
	int fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);

	if (fd < 0)
		return;
	if (!config.unread)
		watch(own->epoll, fd, CHANNEL_STREAM);
	slot_add(slot, SERVICE_TCP_CONNECTIONS, 1);
	slot_add(slot, SERVICE_TCP_ACCEPTED, 1);
}

static void handle(struct consumer *own, uint64_t channel_and_fd)
{
	int fd = (int)(uint32_t)channel_and_fd;

	switch ((enum channel)(channel_and_fd >> 32)) {
	case CHANNEL_LISTENER:
		accept_stream(own, fd);
		break;
	case CHANNEL_DATAGRAMS:
		touch_memory(own);
		read_datagrams(own, fd);
		break;
	case CHANNEL_STREAM:
		touch_memory(own);
		read_stream(own, fd);
		break;
	}
}

static void *consume(void *argument)
{
	struct consumer *own = argument;
	struct epoll_event events[EVENTS];

	for (;;) {
		int ready = epoll_wait(own->epoll, events, EVENTS, -1);

		for (int i = 0; i < ready; i++)
			handle(own, events[i].data.u64);
	}
	return NULL;
}

static void give_memory(struct consumer *own, uint64_t index)
{
	own->pages = config.memory / config.consumers / PAGE_BYTES;
	own->random = mix(index) | 1;
	own->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (own->epoll < 0)
		slot_fail(slot, "epoll_create1");
	if (own->pages == 0)
		return;
	own->memory = take_memory(slot, own->pages * PAGE_BYTES);
	/* Never all zero: a page of zeros may be dropped without being written to swap. */
	for (uint64_t page = 0; page < own->pages; page++) {
		*(volatile uint64_t *)(own->memory + page * PAGE_BYTES + 8) = mix(index << 32 | page) | 1;
		slot_add(slot, SERVICE_MEMORY_PAGES, 1);
	}
}

static void start_consumers(void)
{
	pthread_attr_t attributes;

	pthread_attr_init(&attributes);
	pthread_attr_setstacksize(&attributes, STACK_BYTES);
	for (uint64_t i = 0; i < config.consumers; i++) {
		errno = pthread_create(&consumers[i].thread, &attributes, consume, &consumers[i]);
		if (errno)
			slot_fail(slot, "pthread_create");
	}
	slot_store(slot, SERVICE_CONSUMERS, config.consumers);
}

/*
 * Who looks into this machine's memory shall see that only consumers can read: this thread, which
 * sleeps and wakes by the clock, gives up its share of the table of open files.
 */
static void leave_sockets_to_consumers(void)
{
	if (unshare(CLONE_FILES) < 0 || close_range(3, ~0U, 0) < 0)
		slot_fail(slot, "unshare");
}

static void check_settings(void)
{
	if (config.consumers == 0 || config.consumers > CONSUMERS_MAX)
		usage_error("--consumers: 1 to %d", CONSUMERS_MAX);
	if (config.port == 0 || config.port + config.sockets > UINT16_MAX + 1)
		usage_error("--port and --sockets: the last port is beyond %d", UINT16_MAX);
	if (config.rcvbuf > INT32_MAX)
		usage_error("--rcvbuf: at most %d", INT32_MAX);
}

int service_main(int argc, char **argv)
{
	const struct setting settings[] = {
		{ "port", SETTING_NUMBER, &config.port },
		{ "sockets", SETTING_NUMBER, &config.sockets },
		{ "rcvbuf", SETTING_NUMBER, &config.rcvbuf },
		{ "memory", SETTING_NUMBER, &config.memory },
		{ "consumers", SETTING_NUMBER, &config.consumers },
		{ "touch-pages", SETTING_NUMBER, &config.touch_pages },
		{ "tcp-port", SETTING_TEXTS, &config.tcp_ports },
		{ "unread", SETTING_NUMBER, &config.unread },
	};
	enum witness_control control;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	check_settings();
	slot = slot_begin(KIND_SERVICE);
	be_fair_game();
	consumers = take_memory(slot, config.consumers * sizeof(*consumers));
	for (uint64_t i = 0; i < config.consumers; i++)
		give_memory(&consumers[i], i);
	open_datagram_sockets();
	open_listeners();
	start_consumers();
	leave_sockets_to_consumers();
	slot_state(slot, STATE_READY);
	/* It serves from now on; `run` only shows in the state. */
	control = slot_control(slot);
	while (control != CONTROL_STOP && control != CONTROL_QUIT) {
		if (control == CONTROL_RUN)
			slot_store(slot, SLOT_STATE, STATE_RUNNING);
		control = slot_wait(slot, control);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
