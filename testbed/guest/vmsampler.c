// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The sampler that may block: reading these files can allocate, or wait for a lock that somebody
 * without memory holds. That it has stopped is evidence too; `beat_ns` shows since when.
 */
#include <string.h>
#include <time.h>

#include "agent.h"

#define TEXT_BYTES (16 * 1024)

enum file { VMSTAT, MEMINFO, NETSTAT, SNMP, SOCKSTAT, MOUNTSTATS, BUDDYINFO, FILES };

#define ORDERS (VMSAMPLER_FREE_BLOCKS_10 - VMSAMPLER_FREE_BLOCKS_0 + 1)

static const char *const paths[FILES] = {
	[VMSTAT] = "/proc/vmstat",	  [MEMINFO] = "/proc/meminfo",
	[NETSTAT] = "/proc/net/netstat",  [SNMP] = "/proc/net/snmp",
	[SOCKSTAT] = "/proc/net/sockstat", [MOUNTSTATS] = "/proc/self/mountstats",
	[BUDDYINFO] = "/proc/buddyinfo",
};

static struct source sources[FILES];

/* `group` names the pair of lines in netstat and snmp; without it the name begins its line. */
static const struct counter {
	unsigned int field;
	enum file file;
	const char *group;
	const char *name;
} counters[] = {
	{ VMSAMPLER_PSWPIN, VMSTAT, NULL, "pswpin" },
	{ VMSAMPLER_PSWPOUT, VMSTAT, NULL, "pswpout" },
	{ VMSAMPLER_PGSCAN_KSWAPD, VMSTAT, NULL, "pgscan_kswapd" },
	{ VMSAMPLER_PGSCAN_DIRECT, VMSTAT, NULL, "pgscan_direct" },
	{ VMSAMPLER_PGSTEAL_KSWAPD, VMSTAT, NULL, "pgsteal_kswapd" },
	{ VMSAMPLER_PGSTEAL_DIRECT, VMSTAT, NULL, "pgsteal_direct" },
	{ VMSAMPLER_OOM_KILL, VMSTAT, NULL, "oom_kill" },
	{ VMSAMPLER_PGMAJFAULT, VMSTAT, NULL, "pgmajfault" },
	{ VMSAMPLER_DIRECT_THROTTLE, VMSTAT, NULL, "pgscan_direct_throttle" },
	{ VMSAMPLER_DIRTY_LIMIT_PAGES, VMSTAT, NULL, "nr_dirty_threshold" },
	{ VMSAMPLER_SWAP_TOTAL_KIB, MEMINFO, NULL, "SwapTotal" },
	{ VMSAMPLER_SWAP_FREE_KIB, MEMINFO, NULL, "SwapFree" },
	{ VMSAMPLER_MEM_AVAILABLE_KIB, MEMINFO, NULL, "MemAvailable" },
	{ VMSAMPLER_DIRTY_KIB, MEMINFO, NULL, "Dirty" },
	{ VMSAMPLER_WRITEBACK_KIB, MEMINFO, NULL, "Writeback" },
	{ VMSAMPLER_PFMEMALLOC_DROP, NETSTAT, "TcpExt", "PFMemallocDrop" },
	{ VMSAMPLER_TCP_RETRANS, SNMP, "Tcp", "RetransSegs" },
	{ VMSAMPLER_TCP_TIMEOUTS, NETSTAT, "TcpExt", "TCPTimeouts" },
	{ VMSAMPLER_UDP_IN_DATAGRAMS, SNMP, "Udp", "InDatagrams" },
	{ VMSAMPLER_UDP_RCVBUF_ERRORS, SNMP, "Udp", "RcvbufErrors" },
	{ VMSAMPLER_UDP_MEM_ERRORS, SNMP, "Udp", "MemErrors" },
	{ VMSAMPLER_IP_REASM_FAILS, SNMP, "Ip", "ReasmFails" },
};

static uint64_t value_of(const struct counter *counter)
{
	const char *text = sources[counter->file].text;

	return counter->group ? number_under(text, counter->group, counter->name) :
				number_after(text, counter->name);
}

/* "TCP: inuse 5 orphan 0 tw 0 alloc 7 mem 3": the number after `word` in that line. */
static uint64_t sockstat(const char *protocol, const char *word)
{
	const char *at = strstr(sources[SOCKSTAT].text, protocol);
	const char *end = at ? strchr(at, '\n') : NULL;

	at = at ? strstr(at, word) : NULL;
	if (!at || (end && at > end))
		return 0;
	at += strlen(word);
	return take_number(&at);
}

/*
 * The part of mountstats that is about the NFS mounted at `point`, cut out in place; "" without such a mount.
 * fs/proc_namespace.c (6.1), show_vfsstat(): "device C:/srv/swap mounted on /run/swap with fstype nfs4 ..." begins
 * each. What other mounts do, as a root over NFS, is neither swap in flight nor its progress.
 */
static const char *statistics_of(const char *point)
{
	static const char before[] = " mounted on ", after[] = " with fstype nfs";
	size_t length = strlen(point);

	for (char *at = sources[MOUNTSTATS].text; (at = strstr(at, before));) {
		at += strlen(before);
		if (strncmp(at, point, length) == 0 && strncmp(at + length, after, strlen(after)) == 0) {
			char *next = strstr(at, before);

			if (next)
				*next = '\0';
			return at;
		}
	}
	return "";
}

/*
 * net/sunrpc/stats.c, _print_rpc_iostats(): a line for each procedure, indented, "        READ: 12 12 0 ...",
 * whose first number is how many calls have ended. Renewals of a lease and the like are not among these two.
 */
static uint64_t data_calls(const char *statistics, const char *name)
{
	const char *at = strstr(statistics, name);

	if (!at)
		return 0;
	at += strlen(name);
	return take_number(&at);
}

/*
 * Mounts of one server share its transports where address, port, protocol and version are the same
 * (fs/nfs/client.c 6.1, nfs_match_client), and so these numbers: a root has another port (guest/nfs-serve).
 * net/sunrpc/xprtsock.c, xs_tcp_print_stats() and xs_udp_print_stats():
 * "xprt: tcp port bind_count connect_count connect_time idle_time sends recvs bad_xids req_u bklog_u",
 * "xprt: udp port bind_count sends recvs bad_xids req_u bklog_u".
 */
static void sample_rpc(struct slot slot, const char *statistics)
{
	uint64_t sends = 0, receives = 0, backlog = 0;

	for (const char *at = statistics; (at = strstr(at, "xprt:\t"));) {
		unsigned int first = strncmp(at, "xprt:\ttcp", 9) == 0 ? 5 : 2;
		uint64_t number[10];

		at += strlen("xprt:\ttcp");
		for (unsigned int i = 0; i < first + 5; i++)
			number[i] = take_number(&at);
		sends += number[first];
		receives += number[first + 1];
		backlog += number[first + 4];
	}
	slot_store(slot, VMSAMPLER_RPC_SENDS, sends);
	slot_store(slot, VMSAMPLER_RPC_RECEIVES, receives);
	slot_store(slot, VMSAMPLER_RPC_BACKLOG, backlog);
	slot_store(slot, VMSAMPLER_RPC_IN_FLIGHT, sends > receives ? sends - receives : 0);
	slot_store(slot, VMSAMPLER_RPC_DATA_DONE,
		   data_calls(statistics, " READ:") + data_calls(statistics, " WRITE:"));
}

/* mm/vmstat.c, frag_show_print(): "Node 0, zone    DMA32    5    3 ...", free blocks from order 0 up. */
static void sample_blocks(struct slot slot)
{
	uint64_t blocks[ORDERS] = { 0 };

	for (const char *at = sources[BUDDYINFO].text; (at = strstr(at, "zone "));) {
		at += strlen("zone ");
		at += strspn(at, " ");
		at += strcspn(at, " \n");
		for (unsigned int order = 0; order < ORDERS; order++)
			blocks[order] += take_number(&at);
	}
	for (unsigned int order = 0; order < ORDERS; order++)
		slot_store(slot, VMSAMPLER_FREE_BLOCKS_0 + order, blocks[order]);
}

static void sample(struct slot slot, const char *nfs)
{
	for (unsigned int file = 0; file < FILES; file++)
		source_read(&sources[file]);
	for (unsigned int i = 0; i < ARRAY_LENGTH(counters); i++)
		slot_store(slot, counters[i].field, value_of(&counters[i]));
	slot_store(slot, VMSAMPLER_ALLOCSTALL, sum_after(sources[VMSTAT].text, "allocstall"));
	slot_store(slot, VMSAMPLER_TCP_RCV_PRUNED, number_under(sources[NETSTAT].text, "TcpExt", "RcvPruned") +
						   number_under(sources[NETSTAT].text, "TcpExt", "TCPRcvQDrop"));
	slot_store(slot, VMSAMPLER_TCP_MEM_PAGES, sockstat("TCP:", " mem "));
	slot_store(slot, VMSAMPLER_UDP_MEM_PAGES, sockstat("UDP:", " mem "));
	slot_store(slot, VMSAMPLER_FRAG_MEMORY_BYTES, sockstat("FRAG:", " memory "));
	if (nfs)
		sample_rpc(slot, statistics_of(nfs));
	sample_blocks(slot);
	slot_store(slot, SLOT_BEAT_NS, clock_ns(CLOCK_MONOTONIC));
	slot_store(slot, VMSAMPLER_SAMPLES, slot_read(slot, VMSAMPLER_SAMPLES) + 1);
}

int vmsampler_main(int argc, char **argv)
{
	const char *nfs = NULL; /* where the swap's NFS is mounted */
	uint64_t period_ms = 200;
	const struct setting settings[] = {
		{ "nfs", SETTING_TEXT, &nfs },
		{ "period-ms", SETTING_NUMBER, &period_ms },
	};
	struct slot slot;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	slot = slot_begin(KIND_VMSAMPLER);
	for (unsigned int file = 0; file < FILES; file++)
		source_open(&sources[file], paths[file], take_memory(slot, TEXT_BYTES), TEXT_BYTES);
	if (sources[VMSTAT].fd < 0)
		slot_fail(slot, paths[VMSTAT]);
	if (!stay_in_memory())
		slot_fail(slot, "mlockall");
	sample(slot, nfs);
	slot_state(slot, STATE_READY);
	slot_store(slot, SLOT_STATE, STATE_RUNNING);
	while (slot_control(slot) != CONTROL_STOP) {
		uint64_t due_ns = clock_ns(CLOCK_MONOTONIC) + period_ms * NS_PER_MS;

		sample(slot, nfs);
		while (clock_ns(CLOCK_MONOTONIC) < due_ns && slot_control(slot) != CONTROL_STOP)
			sleep_ns(LOOK_MS * NS_PER_MS);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
