// SPDX-License-Identifier: GPL-2.0-or-later
/* The flood's TCP connections: bytes without a pause, or messages at a stated rate and mix of sizes. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "agent.h"

#define MESSAGES_MAX 64		/* in one turn */
#define UNMEASURED_BYTES 16384	/* a message's, where nobody said how large */

/* One that broke has fd -1 and is not made again. `left`: what the message that it is in has still to go. */
struct stream {
	int fd;
	uint32_t left;
};

static struct streams config;
static struct slot slot;
static struct stream *streams;
static struct pace pace;
static struct sizes sizes;
static const char *payload;
static uint64_t turn;	  /* whose turn it is */
static uint64_t sequence; /* of the next message: chooses its size */

void streams_begin(struct slot own, const struct streams *wanted, const char *bytes)
{
	slot = own;
	config = *wanted;
	payload = bytes;
	pace.rate = config.rate;
	if (config.count)
		streams = take_memory(slot, config.count * sizeof(*streams));
}

void streams_check(const struct streams *wanted)
{
	if (wanted->count > CONNECTIONS_MAX)
		usage_error("--tcp-connections: up to %d", CONNECTIONS_MAX);
	if (!wanted->count && (wanted->rate || wanted->sizes))
		usage_error("--tcp-rate and --tcp-sizes are of --tcp-connections");
	if (wanted->sizes)
		sizes_parse(&sizes, "tcp-sizes", wanted->sizes);
}

static int open_stream(void)
{
	struct sockaddr_in address = config.to;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	int yes = 1;

	/* A message of a stated size leaves when it is given, and does not wait to be filled up. */
	if (fd >= 0 && sizes.count)
		setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
	    errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

void streams_open(uint64_t now_ns)
{
	for (uint64_t i = 0; i < config.count; i++)
		streams[i] = (struct stream){ .fd = open_stream() };
	pace_begin(&pace, now_ns);
}

void streams_close(void)
{
	for (uint64_t i = 0; i < config.count; i++)
		if (streams[i].fd >= 0)
			close(streams[i].fd);
	slot_store(slot, FLOOD_TCP_CONNECTIONS, 0);
}

static void give_up(struct stream *stream)
{
	slot_add(slot, FLOOD_SEND_ERRORS, 1);
	close(stream->fd);
	stream->fd = -1;
}

/*
 * As much of a message as the connection takes without waiting; true: it has all of it.
 *
 * The end of a message of a stated size is the end of a record. To what ends a record nothing is added, not
 * when it waits for the window either, nor when it is sent again: so small ones stay segments of their own
 * (6.1, include/net/tcp.h, tcp_skb_can_collapse_to() and tcp_skb_can_collapse()).
 */
static bool push(struct stream *stream)
{
	ssize_t sent;

	if (!stream->left)
		stream->left = sizes.count ? sizes_at(&sizes, sequence) : UNMEASURED_BYTES;
	sent = send(stream->fd, payload, stream->left,
		    MSG_DONTWAIT | MSG_NOSIGNAL | (sizes.count ? MSG_EOR : 0));
	if (sent < 0) {
		if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN)
			give_up(stream);
		return false;
	}
	slot_add(slot, FLOOD_BYTES_SENT, sent);
	stream->left -= sent;
	if (stream->left)
		return false;
	sequence++;
	slot_add(slot, FLOOD_TCP_MESSAGES, 1);
	return true;
}

/* To the connections in turn; one that takes nothing now is passed over. */
bool streams_push(uint64_t now_ns)
{
	bool counted = config.rate || sizes.count; /* else each gets what it takes, once */
	uint64_t due = counted ? pace_due(&pace, now_ns, MESSAGES_MAX) : config.count;
	uint64_t tries = counted ? due + config.count : config.count;
	uint64_t given = 0, open = 0;

	if (!config.count)
		return false;
	while (given < due && tries-- > 0) {
		struct stream *stream = &streams[turn++ % config.count];

		if (stream->fd >= 0 && push(stream))
			given++;
	}
	for (uint64_t i = 0; i < config.count; i++)
		open += streams[i].fd >= 0;
	slot_store(slot, FLOOD_TCP_CONNECTIONS, open);
	pace_paid(&pace, given);
	return counted && given == MESSAGES_MAX;
}
