// SPDX-License-Identifier: GPL-2.0-or-later
/* The flood: UDP datagrams, or first fragments without a rest, at a stated rate and mix of sizes, and TCP
 * connections that never pause. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define BATCH 64
#define SIZES_MAX 256
#define PORTS_MAX 1024
#define CONNECTIONS_MAX 256
#define PAYLOAD_BYTES 65536

static struct {
	uint64_t port, ports, rate, tcp_port, tcp_connections, lone;
	const char *to, *sizes;
} config = { .ports = 64, .sizes = "1400:1", .tcp_connections = 0 };

static struct slot slot;
static char *payload;
static struct sockaddr_in targets[PORTS_MAX];
static uint16_t sizes[SIZES_MAX]; /* one turn of the mix, each size as often as its weight says */
static unsigned int sizes_count;
static int datagrams = -1;
static int connections[CONNECTIONS_MAX];
static uint64_t sequence; /* of the next datagram: chooses its size and port */

/* "1400:9,64:1": the sizes of one turn, spread evenly by a fixed shuffle. */
static void parse_sizes(const char *text)
{
	uint64_t random = 1;

	while (*text) {
		char *end;
		unsigned long size = strtoul(text, &end, 10);
		unsigned long weight = *end == ':' ? strtoul(end + 1, &end, 10) : 1;

		if (end == text || (*end && *end != ',') || size == 0 || size > 65507 || weight == 0 ||
		    sizes_count + weight > SIZES_MAX)
			usage_error("--sizes: SIZE:WEIGHT,... with sizes up to 65507 and weights that sum "
				    "up to %d at most, not '%s'", SIZES_MAX, text);
		while (weight-- > 0)
			sizes[sizes_count++] = size;
		text = *end ? end + 1 : end;
	}
	for (unsigned int i = sizes_count; i > 1; i--) {
		unsigned int other = next_random(&random) % i;
		uint16_t size = sizes[i - 1];

		sizes[i - 1] = sizes[other];
		sizes[other] = size;
	}
}

static struct sockaddr_in target(uint64_t port)
{
	struct sockaddr_in address = { .sin_family = AF_INET, .sin_port = htons(port) };

	if (!config.to || inet_pton(AF_INET, config.to, &address.sin_addr) != 1)
		usage_error("--to: '%s' is not an IPv4 address", config.to ? config.to : "");
	return address;
}

static void count(unsigned int field, uint64_t more)
{
	slot_store(slot, field, slot_read(slot, field) + more);
}

/* Nobody to send to, or no buffer just now: both pass, only the second is worth a short rest. */
static void note_send_error(void)
{
	struct pollfd writable = { .fd = datagrams, .events = POLLOUT };

	if (errno == EAGAIN || errno == ENOBUFS) {
		count(FLOOD_WOULD_BLOCK, 1);
		poll(&writable, 1, 5);
		return;
	}
	count(FLOOD_SEND_ERRORS, 1);
	sleep_ns(NS_PER_MS);
}

/* The header of a first fragment whose rest never comes. The kernel fills in source, length and checksum; the
 * receiver takes fragments for parts of one datagram by this number. */
static struct iphdr first_fragment(const struct sockaddr_in *to, uint64_t number)
{
	return (struct iphdr){
		.version = 4,
		.ihl = sizeof(struct iphdr) / 4,
		.ttl = 64,
		.protocol = IPPROTO_UDP,
		.id = htons(number),
		.frag_off = htons(IP_MF),
		.daddr = to->sin_addr.s_addr,
	};
}

/* Sends at most `wanted` datagrams in one call; returns how many the kernel took. */
static uint64_t send_datagrams(uint64_t wanted)
{
	struct mmsghdr messages[BATCH] = { 0 };
	struct iphdr headers[BATCH];
	struct iovec pieces[BATCH][2];
	uint64_t bytes = 0;
	int sent;

	if (wanted > BATCH)
		wanted = BATCH;
	for (uint64_t i = 0; i < wanted; i++) {
		struct sockaddr_in *to = &targets[(sequence + i) % config.ports];

		headers[i] = first_fragment(to, sequence + i);
		pieces[i][0] = (struct iovec){ &headers[i], config.lone ? sizeof(headers[i]) : 0 };
		pieces[i][1] = (struct iovec){ payload, sizes[(sequence + i) % sizes_count] };
		messages[i].msg_hdr.msg_iov = pieces[i];
		messages[i].msg_hdr.msg_iovlen = 2;
		messages[i].msg_hdr.msg_name = to;
		messages[i].msg_hdr.msg_namelen = sizeof(targets[0]);
	}
	sent = sendmmsg(datagrams, messages, wanted, MSG_DONTWAIT);
	if (sent <= 0) {
		note_send_error();
		return 0;
	}
	for (int i = 0; i < sent; i++)
		bytes += pieces[i][1].iov_len;
	sequence += sent;
	count(FLOOD_PACKETS_SENT, sent);
	count(FLOOD_BYTES_SENT, bytes);
	return sent;
}

static int open_connection(void)
{
	struct sockaddr_in address = target(config.tcp_port);
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0 &&
	    errno != EINPROGRESS) {
		close(fd);
		return -1;
	}
	return fd;
}

static void open_connections(void)
{
	for (uint64_t i = 0; i < config.tcp_connections; i++)
		connections[i] = open_connection();
}

static void close_connections(void)
{
	for (uint64_t i = 0; i < config.tcp_connections; i++)
		if (connections[i] >= 0)
			close(connections[i]);
	slot_store(slot, FLOOD_TCP_CONNECTIONS, 0);
}

/* As much as the connections take without waiting. One that broke is counted and not made again. */
static void push_streams(void)
{
	uint64_t open = 0;

	for (uint64_t i = 0; i < config.tcp_connections; i++) {
		ssize_t sent;

		if (connections[i] < 0)
			continue;
		sent = send(connections[i], payload, 16384, MSG_DONTWAIT | MSG_NOSIGNAL);
		if (sent > 0) {
			count(FLOOD_BYTES_SENT, sent);
		} else if (errno != EAGAIN && errno != EINTR && errno != ENOTCONN) {
			count(FLOOD_SEND_ERRORS, 1);
			close(connections[i]);
			connections[i] = -1;
			continue;
		}
		open++;
	}
	slot_store(slot, FLOOD_TCP_CONNECTIONS, open);
}

/* The rate of the last full second; `since_ns` and `sent_before` move on with it. */
static void update_rate(uint64_t now_ns, uint64_t *since_ns, uint64_t *sent_before)
{
	uint64_t sent = slot_read(slot, FLOOD_PACKETS_SENT);

	if (now_ns - *since_ns < NS_PER_S)
		return;
	slot_store(slot, FLOOD_RATE_PPS, (sent - *sent_before) * NS_PER_S / (now_ns - *since_ns));
	*since_ns = now_ns;
	*sent_before = sent;
}

/* How many datagrams the rate owes us. After a pause the oldest debt is forgotten: no burst. */
static uint64_t due(uint64_t now_ns, uint64_t *paid_until_ns)
{
	uint64_t longest_ns;

	if (config.rate == 0)
		return BATCH;
	longest_ns = 2 * NS_PER_S / config.rate + 10 * NS_PER_MS;
	if (now_ns - *paid_until_ns > longest_ns)
		*paid_until_ns = now_ns - longest_ns;
	return (now_ns - *paid_until_ns) * config.rate / NS_PER_S;
}

static void flood(void)
{
	uint64_t start_ns = clock_ns(CLOCK_MONOTONIC), paid_until_ns = start_ns, since_ns = start_ns;
	uint64_t sent_before = slot_read(slot, FLOOD_PACKETS_SENT);

	open_connections();
	while (slot_control(slot) == CONTROL_RUN) {
		uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
		uint64_t wanted = config.ports ? due(now_ns, &paid_until_ns) : 0;
		uint64_t sent = wanted ? send_datagrams(wanted) : 0;

		if (config.rate)
			paid_until_ns += sent * NS_PER_S / config.rate;
		push_streams();
		slot_beat(slot);
		update_rate(now_ns, &since_ns, &sent_before);
		if (!wanted)
			sleep_ns(NS_PER_MS);
	}
	close_connections();
	slot_store(slot, FLOOD_RATE_PPS, 0);
}

static void set_up(void)
{
	parse_sizes(config.sizes);
	if (config.ports > PORTS_MAX || config.tcp_connections > CONNECTIONS_MAX || sizes_count == 0)
		usage_error("--ports up to %d, --tcp-connections up to %d, --sizes not empty", PORTS_MAX,
			    CONNECTIONS_MAX);
	for (uint64_t i = 0; i < config.ports; i++)
		targets[i] = target(config.port + i);
	slot = slot_begin(KIND_FLOOD);
	be_fair_game();
	payload = take_memory(slot, PAYLOAD_BYTES);
	for (size_t i = 0; i < PAYLOAD_BYTES; i++)
		payload[i] = (char)mix(i);
	datagrams = config.lone ? socket(AF_INET, SOCK_RAW | SOCK_CLOEXEC, IPPROTO_RAW)
				: socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (datagrams < 0)
		slot_fail(slot, "socket");
}

int flood_main(int argc, char **argv)
{
	const struct setting settings[] = {
		{ "to", SETTING_TEXT, &config.to },
		{ "port", SETTING_NUMBER, &config.port },
		{ "ports", SETTING_NUMBER, &config.ports },
		{ "rate", SETTING_NUMBER, &config.rate },
		{ "sizes", SETTING_TEXT, &config.sizes },
		{ "tcp-port", SETTING_NUMBER, &config.tcp_port },
		{ "tcp-connections", SETTING_NUMBER, &config.tcp_connections },
		{ "lone", SETTING_NUMBER, &config.lone },
	};
	enum witness_control control;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	set_up();
	slot_state(slot, STATE_READY);
	for (control = slot_control(slot); control != CONTROL_QUIT; control = slot_control(slot)) {
		if (control != CONTROL_RUN) {
			slot_wait(slot, control);
			continue;
		}
		slot_state(slot, STATE_RUNNING);
		count(FLOOD_RUNS, 1);
		flood();
		slot_state(slot, STATE_READY);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
