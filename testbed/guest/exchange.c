// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The exchange: processes in a ring, each of which sends a page of its memory to the next.
 *
 * A step is over when the own page is sent and the neighbour's has come, so that each waits for
 * the memory of the one before it, and thus all for all, as the ranks of an MPI job do. A step may
 * be left at any time, when the host wants something else, and is gone on with later.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"

static struct slot slot;
static struct sockaddr_in peer;
static int listener = -1, to_next = -1, from_last = -1;
static uint64_t last_seed, sent, received;
static char *came;

static struct sockaddr_in loopback(uint64_t port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET,
				     .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
}

void exchange_begin(struct slot own, const struct ring *ring)
{
	struct sockaddr_in address = loopback(ring->port);
	int yes = 1;

	slot = own;
	peer = loopback(ring->next_port);
	last_seed = ring->last_seed;
	came = take_memory(slot, PROOF_PAGE_BYTES);
	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (listener < 0)
		slot_fail(slot, "socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bind(listener, (struct sockaddr *)&address, sizeof(address)) < 0 || listen(listener, 1) < 0)
		slot_fail(slot, "bind");
}

/* The next one listens since it was ready, so that to connect waits for nobody. */
static void connect_next(void)
{
	int yes = 1;

	to_next = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (to_next < 0 || connect(to_next, (struct sockaddr *)&peer, sizeof(peer)) < 0)
		slot_fail(slot, "connect");
	setsockopt(to_next, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
}

bool exchange_connect(enum witness_control wanted)
{
	connect_next();
	while ((from_last = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK)) < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
			slot_fail(slot, "accept4");
		if (slot_control(slot) != wanted)
			return false;
		slot_beat(slot);
		sleep_ns(NS_PER_MS);
	}
	return true;
}

/* Who is told to end first closes its sockets: to the others that is no failure, but the end of all steps. */
static void rest(void)
{
	sleep_ns(LOOK_MS * NS_PER_MS);
}

static void push(const char *page)
{
	ssize_t done = send(to_next, page + sent, PROOF_PAGE_BYTES - sent, MSG_DONTWAIT | MSG_NOSIGNAL);

	if (done > 0)
		sent += done;
	else if (done < 0 && errno != EAGAIN && errno != EINTR)
		rest();
}

static void pull(void)
{
	ssize_t done = recv(from_last, came + received, PROOF_PAGE_BYTES - received, MSG_DONTWAIT);

	if (done > 0)
		received += done;
	else if (done == 0 || (errno != EAGAIN && errno != EINTR))
		rest();
}

bool exchange_step(const void *page, enum witness_control wanted)
{
	while (sent < PROOF_PAGE_BYTES || received < PROOF_PAGE_BYTES) {
		struct pollfd ends[] = {
			{ .fd = sent < PROOF_PAGE_BYTES ? to_next : -1, .events = POLLOUT },
			{ .fd = received < PROOF_PAGE_BYTES ? from_last : -1, .events = POLLIN },
		};

		slot_beat(slot);
		if (slot_control(slot) != wanted)
			return false;
		if (poll(ends, ARRAY_LENGTH(ends), LOOK_MS) <= 0)
			continue;
		if (ends[0].revents)
			push(page);
		if (ends[1].revents)
			pull();
	}
	sent = received = 0;
	slot_add(slot, ANONYMOUS_EXCHANGED_PAGES, 1);
	if (!proof_is_whole(came, last_seed))
		slot_add(slot, ANONYMOUS_BAD_PAGES, 1);
	return true;
}
