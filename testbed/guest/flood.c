// SPDX-License-Identifier: GPL-2.0-or-later
/* The flood: UDP datagrams, or first fragments without a rest, at a stated rate and mix of sizes, and beside
 * them what its TCP connections carry. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "agent.h"

#define BATCH 64
#define PORTS_MAX 1024
#define PAYLOAD_BYTES 65536

static struct {
	uint64_t port, ports, tcp_port, lone;
	const char *to, *sizes;
	struct streams streams;
} config = { .ports = 64, .sizes = "1400:1" };

static struct slot slot;
static char *payload;
static struct sockaddr_in targets[PORTS_MAX];
static struct sizes sizes;
static struct pace pace;
static int datagrams = -1;
static uint64_t sequence; /* of the next datagram: chooses its size and port */

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
		pieces[i][1] = (struct iovec){ payload, sizes_at(&sizes, sequence + i) };
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

static void flood(void)
{
	uint64_t since_ns = clock_ns(CLOCK_MONOTONIC), sent_before = slot_read(slot, FLOOD_PACKETS_SENT);

	pace_begin(&pace, since_ns);
	streams_open(since_ns);
	while (slot_control(slot) == CONTROL_RUN) {
		uint64_t now_ns = clock_ns(CLOCK_MONOTONIC);
		uint64_t wanted = config.ports ? pace_due(&pace, now_ns, BATCH) : 0;
		bool more;

		pace_paid(&pace, wanted ? send_datagrams(wanted) : 0);
		more = streams_push(now_ns);
		slot_beat(slot);
		update_rate(now_ns, &since_ns, &sent_before);
		if (!wanted && !more)
			sleep_ns(NS_PER_MS);
	}
	streams_close();
	slot_store(slot, FLOOD_RATE_PPS, 0);
}

static void set_up(void)
{
	if (config.ports > PORTS_MAX)
		usage_error("--ports: up to %d", PORTS_MAX);
	sizes_parse(&sizes, "sizes", config.sizes);
	streams_check(&config.streams);
	config.streams.to = target(config.tcp_port);
	for (uint64_t i = 0; i < config.ports; i++)
		targets[i] = target(config.port + i);
	slot = slot_begin(KIND_FLOOD);
	be_fair_game();
	payload = take_memory(slot, PAYLOAD_BYTES);
	for (size_t i = 0; i < PAYLOAD_BYTES; i++)
		payload[i] = (char)mix(i);
	streams_begin(slot, &config.streams, payload);
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
		{ "rate", SETTING_NUMBER, &pace.rate },
		{ "sizes", SETTING_TEXT, &config.sizes },
		{ "tcp-port", SETTING_NUMBER, &config.tcp_port },
		{ "tcp-connections", SETTING_NUMBER, &config.streams.count },
		{ "tcp-rate", SETTING_NUMBER, &config.streams.rate },
		{ "tcp-sizes", SETTING_TEXT, &config.streams.sizes },
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
