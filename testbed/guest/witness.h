/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * The witness page: counters that programs in the guest store and the host reads.
 *
 * One source of truth: the agent includes this file, testbed/witnesses/page.py parses it. So an
 * entry keeps to one line and to one form:
 *
 *	PREFIX_NAME = NUMBER, (comment) unit: meaning (end of comment)
 *
 * and a kind's fields stand in `enum KIND_field`, their names prefixed by the kind's.
 *
 * The page is an array of little-endian 64-bit words. Slot i begins at word i * SLOT_WORDS and
 * belongs to one process. Every word has one writer: the guest, but for `control`, the host's.
 * A word is stored whole; a slot is not: two words read together may be one step apart.
 */
#ifndef WITNESS_H
#define WITNESS_H

enum witness_size {
	SLOT_WORDS = 64,	/* words: one slot, 512 bytes */
	PAGE_SLOTS = 2048,	/* slots: the whole page, 1 MiB */
};

enum witness_kind {
	KIND_MACHINE = 1,	/* kind: the heartbeat; slot 0 */
	KIND_BLOCKSAMPLER = 2,	/* kind: free memory and block devices, never allocates; slot 1 */
	KIND_VMSAMPLER = 3,	/* kind: vm, network and RPC counters, may block; slot 2 */
	KIND_ANONYMOUS = 4,	/* kind: load of anonymous memory that proves its integrity */
	KIND_SERVICE = 5,	/* kind: the network service whose consumers need swapped memory */
	KIND_FLOOD = 6,		/* kind: the sender of packets */
	KIND_JOB = 7,		/* kind: any command, run once */
	KIND_DEED = 8,		/* kind: something done once, on purpose, at a moment of the timeline */
	KIND_READER = 9,	/* kind: reads a file again and again */
	KIND_CLIENT = 10,	/* kind: a second client of the swap's server */
	KIND_STORM = 11,	/* kind: system calls that are counted when they fail */
	KIND_BLOCKS = 12,	/* kind: asks for blocks of several pages */
	KIND_WRITER = 13,	/* kind: writes a file again and again */
};

enum witness_state {
	STATE_ABSENT = 0,	/* state: nobody has this slot */
	STATE_STARTING = 1,	/* state: setting up */
	STATE_READY = 2,	/* state: set up, waits for `run` */
	STATE_RUNNING = 3,	/* state: at work */
	STATE_DONE = 4,		/* state: ended as asked */
	STATE_FAILED = 5,	/* state: gave up, `error` says why */
};

enum witness_control {
	CONTROL_NONE = 0,	/* control: nothing asked yet */
	CONTROL_RUN = 1,	/* control: begin to work */
	CONTROL_SWEEP = 2,	/* control: verify every page once, then go on (anonymous) */
	CONTROL_STOP = 3,	/* control: end (flood: pause, and wait for `run` or `quit`) */
	CONTROL_QUIT = 4,	/* control: end, also where `stop` only pauses */
};

/* The words that every slot begins with. */
enum slot_field {
	SLOT_KIND = 0,		/* kind: which of enum witness_kind; decides the words from 8 on */
	SLOT_PID = 1,		/* pid: the process in the guest */
	SLOT_STATE = 2,		/* state: which of enum witness_state */
	SLOT_CONTROL = 3,	/* control: WRITTEN BY THE HOST, which of enum witness_control */
	SLOT_CONTROL_SEEN = 4,	/* control: the last one that the process has noticed */
	SLOT_BEAT_NS = 5,	/* ns: guest's CLOCK_MONOTONIC when the process last came by */
	SLOT_ERROR = 6,		/* errno: why the state is `failed`, else 0 */
	SLOT_ERROR_LINE = 7,	/* line: of the source, where it failed */
};

enum machine_field {
	MACHINE_BEATS = 8,			/* count: heartbeats */
	MACHINE_REALTIME_NS = 9,		/* ns: guest's CLOCK_REALTIME at the last beat */
	MACHINE_LATEST_NS = 10,			/* ns: the most that a beat came too late */
	MACHINE_BOOT_ID = 11,			/* id: first 64 bits of the kernel's boot_id */
	MACHINE_READY_NS = 12,			/* ns: CLOCK_MONOTONIC when init had set everything up */
	MACHINE_MEM_TOTAL_KIB = 13,		/* KiB: MemTotal when ready */
	MACHINE_MEM_FREE_KIB = 14,		/* KiB: MemFree when ready */
	MACHINE_MEM_AVAILABLE_KIB = 15,		/* KiB: MemAvailable when ready */
	MACHINE_FAILED_LINES = 16,		/* count: lines of machine.conf that could not be obeyed */
	MACHINE_NO_CARRIER = 17,		/* count: NICs whose link was still down when ready */
};

/* Zones are summed. Devices in the order of --block; sectors are of 512 bytes. */
enum blocksampler_field {
	BLOCKSAMPLER_SAMPLES = 8,		/* count: samples taken */
	BLOCKSAMPLER_FREE_PAGES = 9,		/* pages: free, without those on per-cpu lists */
	BLOCKSAMPLER_MIN_PAGES = 10,		/* pages: the min watermark, without its boost */
	BLOCKSAMPLER_LOW_PAGES = 11,		/* pages: the low watermark, without its boost */
	BLOCKSAMPLER_HIGH_PAGES = 12,		/* pages: the high watermark, without its boost */
	BLOCKSAMPLER_CACHED_CPU_PAGES = 13,	/* pages: free, on per-cpu lists */
	BLOCKSAMPLER_DEVICES = 14,		/* count: devices watched */
	BLOCKSAMPLER_BOOST_PAGES = 15,		/* pages: what reclaim adds to all three for a while */
	BLOCKSAMPLER_READS_COMPLETED_0 = 16,	/* count: first device */
	BLOCKSAMPLER_WRITES_COMPLETED_0 = 17,	/* count: first device */
	BLOCKSAMPLER_IN_FLIGHT_0 = 18,		/* requests: first device, submitted but not completed */
	BLOCKSAMPLER_SECTORS_READ_0 = 19,	/* sectors: first device */
	BLOCKSAMPLER_SECTORS_WRITTEN_0 = 20,	/* sectors: first device */
	BLOCKSAMPLER_READS_COMPLETED_1 = 21,	/* count: second device */
	BLOCKSAMPLER_WRITES_COMPLETED_1 = 22,	/* count: second device */
	BLOCKSAMPLER_IN_FLIGHT_1 = 23,		/* requests: second device, submitted but not completed */
	BLOCKSAMPLER_SECTORS_READ_1 = 24,	/* sectors: second device */
	BLOCKSAMPLER_SECTORS_WRITTEN_1 = 25,	/* sectors: second device */
	BLOCKSAMPLER_READS_COMPLETED_2 = 26,	/* count: third device */
	BLOCKSAMPLER_WRITES_COMPLETED_2 = 27,	/* count: third device */
	BLOCKSAMPLER_IN_FLIGHT_2 = 28,		/* requests: third device, submitted but not completed */
	BLOCKSAMPLER_SECTORS_READ_2 = 29,	/* sectors: third device */
	BLOCKSAMPLER_SECTORS_WRITTEN_2 = 30,	/* sectors: third device */
	BLOCKSAMPLER_READS_COMPLETED_3 = 31,	/* count: fourth device */
	BLOCKSAMPLER_WRITES_COMPLETED_3 = 32,	/* count: fourth device */
	BLOCKSAMPLER_IN_FLIGHT_3 = 33,		/* requests: fourth device, submitted but not completed */
	BLOCKSAMPLER_SECTORS_READ_3 = 34,	/* sectors: fourth device */
	BLOCKSAMPLER_SECTORS_WRITTEN_3 = 35,	/* sectors: fourth device */
};

/* What this kernel does not count stays 0. */
enum vmsampler_field {
	VMSAMPLER_SAMPLES = 8,			/* count: samples taken */
	VMSAMPLER_PSWPIN = 9,			/* pages: swapped in (counted before submission) */
	VMSAMPLER_PSWPOUT = 10,			/* pages: swapped out (counted before submission) */
	VMSAMPLER_PGSCAN_KSWAPD = 11,		/* pages: scanned by kswapd */
	VMSAMPLER_PGSCAN_DIRECT = 12,		/* pages: scanned by direct reclaim */
	VMSAMPLER_PGSTEAL_KSWAPD = 13,		/* pages: reclaimed by kswapd */
	VMSAMPLER_PGSTEAL_DIRECT = 14,		/* pages: reclaimed by direct reclaim */
	VMSAMPLER_ALLOCSTALL = 15,		/* count: entries into direct reclaim, all zones */
	VMSAMPLER_OOM_KILL = 16,		/* count: processes killed for lack of memory */
	VMSAMPLER_PGMAJFAULT = 17,		/* count: major faults */
	VMSAMPLER_DIRECT_THROTTLE = 18,		/* count: pgscan_direct_throttle, waits in throttle_direct_reclaim */
	VMSAMPLER_SWAP_TOTAL_KIB = 19,		/* KiB: SwapTotal */
	VMSAMPLER_SWAP_FREE_KIB = 20,		/* KiB: SwapFree */
	VMSAMPLER_MEM_AVAILABLE_KIB = 21,	/* KiB: MemAvailable */
	VMSAMPLER_DIRTY_KIB = 22,		/* KiB: Dirty */
	VMSAMPLER_WRITEBACK_KIB = 23,		/* KiB: Writeback */
	VMSAMPLER_PFMEMALLOC_DROP = 24,		/* packets: TcpExt PFMemallocDrop, tossed by sk_filter */
	VMSAMPLER_TCP_RETRANS = 25,		/* segments: Tcp RetransSegs */
	VMSAMPLER_TCP_TIMEOUTS = 26,		/* count: TcpExt TCPTimeouts */
	VMSAMPLER_TCP_RCV_PRUNED = 27,		/* count: TcpExt RcvPruned plus TCPRcvQDrop */
	VMSAMPLER_UDP_IN_DATAGRAMS = 28,	/* packets: Udp InDatagrams */
	VMSAMPLER_UDP_RCVBUF_ERRORS = 29,	/* packets: Udp RcvbufErrors */
	VMSAMPLER_UDP_MEM_ERRORS = 30,		/* packets: Udp MemErrors */
	VMSAMPLER_IP_REASM_FAILS = 31,		/* count: Ip ReasmFails */
	VMSAMPLER_TCP_MEM_PAGES = 32,		/* pages: held by TCP sockets */
	VMSAMPLER_UDP_MEM_PAGES = 33,		/* pages: held by UDP sockets */
	VMSAMPLER_FRAG_MEMORY_BYTES = 34,	/* bytes: fragments waiting for the rest */
	VMSAMPLER_RPC_SENDS = 35,		/* requests: sent by the transports of the swap's NFS */
	VMSAMPLER_RPC_RECEIVES = 36,		/* replies: received by the transports of the swap's NFS */
	VMSAMPLER_RPC_BACKLOG = 37,		/* requests: cumulative length of the backlog queues */
	VMSAMPLER_RPC_IN_FLIGHT = 38,		/* requests: sent by the transports of the swap's NFS, not yet answered */
	VMSAMPLER_RPC_DATA_DONE = 39,		/* requests: READs and WRITEs of the swap's NFS that ended */
	VMSAMPLER_FREE_BLOCKS_0 = 40,		/* blocks: free, of one page, all zones (without per-cpu lists) */
	VMSAMPLER_FREE_BLOCKS_1 = 41,		/* blocks: free, of 2 pages, all zones */
	VMSAMPLER_FREE_BLOCKS_2 = 42,		/* blocks: free, of 4 pages, all zones */
	VMSAMPLER_FREE_BLOCKS_3 = 43,		/* blocks: free, of 8 pages, all zones */
	VMSAMPLER_FREE_BLOCKS_4 = 44,		/* blocks: free, of 16 pages, all zones */
	VMSAMPLER_FREE_BLOCKS_5 = 45,		/* blocks: free, of 32 pages, all zones */
	VMSAMPLER_FREE_BLOCKS_6 = 46,		/* blocks: free, of 64 pages, all zones */
	VMSAMPLER_FREE_BLOCKS_7 = 47,		/* blocks: free, of 128 pages, all zones */
	VMSAMPLER_FREE_BLOCKS_8 = 48,		/* blocks: free, of 256 pages, all zones */
	VMSAMPLER_FREE_BLOCKS_9 = 49,		/* blocks: free, of 512 pages, all zones */
	VMSAMPLER_FREE_BLOCKS_10 = 50,		/* blocks: free, of 1024 pages, all zones */
	VMSAMPLER_DIRTY_LIMIT_PAGES = 51,	/* pages: nr_dirty_threshold, where balance_dirty_pages holds writers up */
};

enum anonymous_field {
	ANONYMOUS_WORK_UNITS = 8,		/* count: pages verified and written anew */
	ANONYMOUS_PAGES_TOTAL = 9,		/* pages: size of the area */
	ANONYMOUS_PAGES_FILLED = 10,		/* pages: written for the first time */
	ANONYMOUS_BAD_PAGES = 11,		/* pages: found wrong, whenever and however */
	ANONYMOUS_STALE_PAGES = 12,		/* pages: of the bad, those that held an older generation whole */
	ANONYMOUS_LOST_PAGES = 13,		/* pages: of the bad, those that could not be read (SIGBUS) */
	ANONYMOUS_FIRST_BAD_PAGE = 14,		/* index: of the first bad page, plus 1; 0 is none */
	ANONYMOUS_SWEEPS_DONE = 15,		/* count: sweeps over all pages, finished */
	ANONYMOUS_SWEEP_PAGES = 16,		/* pages: verified in the sweep under way, or the last one */
	ANONYMOUS_SWEEP_BAD_PAGES = 17,		/* pages: found wrong in that sweep */
	ANONYMOUS_MAPPED_PAGES = 18,		/* pages: of the area, those that are mapped from a file */
	ANONYMOUS_EXCHANGED_PAGES = 19,		/* pages: that came from the neighbour in the ring */
};

enum service_field {
	SERVICE_PACKETS = 8,			/* packets: UDP datagrams read, all consumers */
	SERVICE_BYTES = 9,			/* bytes: read, UDP and TCP */
	SERVICE_CONSUMERS = 10,			/* count: threads that read */
	SERVICE_CONSUMERS_WAITING = 11,		/* count: threads inside the touch of their own memory */
	SERVICE_SOCKETS = 12,			/* count: UDP sockets bound */
	SERVICE_RCVBUF_BYTES = 13,		/* bytes: receive buffers of the UDP sockets, sum as granted */
	SERVICE_TOUCHES = 14,			/* count: touches of memory finished, one before each batch */
	SERVICE_MEMORY_PAGES = 15,		/* pages: the consumers' own memory */
	SERVICE_TCP_CONNECTIONS = 16,		/* count: TCP connections open */
	SERVICE_TCP_ACCEPTED = 17,		/* count: TCP connections accepted so far */
	SERVICE_TCP_READS = 18,			/* count: reads from TCP connections that brought bytes */
	SERVICE_TCP_RCVBUF_BYTES = 19,		/* bytes: receive buffer of a TCP listener as granted, which each connection inherits */
};

enum flood_field {
	FLOOD_PACKETS_SENT = 8,			/* packets: UDP datagrams that the kernel took */
	FLOOD_BYTES_SENT = 9,			/* bytes: payload of those, and of the TCP connections */
	FLOOD_SEND_ERRORS = 10,			/* count: sends refused, not those that would have blocked */
	FLOOD_RATE_PPS = 11,			/* packets/s: sent in the last full second */
	FLOOD_RUNS = 12,			/* count: times that `run` was obeyed */
	FLOOD_TCP_CONNECTIONS = 13,		/* count: TCP connections open */
	FLOOD_WOULD_BLOCK = 14,			/* count: sends put off, the own queue being full */
	FLOOD_TCP_MESSAGES = 15,		/* count: messages that TCP took whole, all connections */
};

enum job_field {
	JOB_EXIT_STATUS_PLUS_1 = 8,		/* status: 0 while not ended; killed by signal n: 128 + n + 1 */
	JOB_RUN_MS = 9,				/* ms: since its start, or from start to end */
	JOB_CPU_MS = 10,			/* ms: user and system time, known at its end */
};

enum client_field {
	CLIENT_READS = 8,			/* count: blocks read */
	CLIENT_FAILED = 9,			/* count: reads that failed or came short */
	CLIENT_LAST_MS = 10,			/* ms: what the last read took */
};

enum deed_field {
	DEED_DONE = 8,				/* count: times that it was done */
	DEED_HIT = 9,				/* count: processes, files, clocks or pages that it was done to */
	DEED_UNDONE = 10,			/* count: times that it was undone again */
};

enum reader_field {
	READER_READS = 8,			/* count: reads finished */
};

enum storm_field {
	STORM_FORK_TRIED = 8,		/* count: forks */
	STORM_FORK_NO_MEMORY = 9,	/* count: of those, failed with ENOMEM or ENOBUFS */
	STORM_FORK_AGAIN = 10,		/* count: of those, failed with EAGAIN */
	STORM_FORK_OTHER = 11,		/* count: of those, failed otherwise; a child that was killed */
	STORM_FORK_LONGEST_MS = 12,	/* ms: the longest that one took */
	STORM_EXEC_TRIED = 13,		/* count: programs started (vfork and execve) */
	STORM_EXEC_NO_MEMORY = 14,	/* count: of those, failed with ENOMEM or ENOBUFS */
	STORM_EXEC_AGAIN = 15,		/* count: of those, failed with EAGAIN */
	STORM_EXEC_OTHER = 16,		/* count: of those, failed otherwise; a child that was killed */
	STORM_EXEC_LONGEST_MS = 17,	/* ms: the longest that one took */
	STORM_MMAP_TRIED = 18,		/* count: mappings of four pages, filled */
	STORM_MMAP_NO_MEMORY = 19,	/* count: of those, failed with ENOMEM or ENOBUFS */
	STORM_MMAP_AGAIN = 20,		/* count: of those, failed with EAGAIN */
	STORM_MMAP_OTHER = 21,		/* count: of those, failed otherwise */
	STORM_MMAP_LONGEST_MS = 22,	/* ms: the longest that one took */
	STORM_SOCKET_TRIED = 23,	/* count: TCP sockets opened */
	STORM_SOCKET_NO_MEMORY = 24,	/* count: of those, failed with ENOMEM or ENOBUFS */
	STORM_SOCKET_AGAIN = 25,	/* count: of those, failed with EAGAIN */
	STORM_SOCKET_OTHER = 26,	/* count: of those, failed otherwise */
	STORM_SOCKET_LONGEST_MS = 27,	/* ms: the longest that one took */
	STORM_OPEN_TRIED = 28,		/* count: files opened */
	STORM_OPEN_NO_MEMORY = 29,	/* count: of those, failed with ENOMEM or ENOBUFS */
	STORM_OPEN_AGAIN = 30,		/* count: of those, failed with EAGAIN */
	STORM_OPEN_OTHER = 31,		/* count: of those, failed otherwise */
	STORM_OPEN_LONGEST_MS = 32,	/* ms: the longest that one took */
	STORM_WAITING = 33,		/* count: calls that have been under way for over a second */
};

enum blocks_field {
	BLOCKS_TRIED = 8,			/* count: blocks asked for */
	BLOCKS_GOT = 9,				/* count: that came */
	BLOCKS_REFUSED = 10,			/* count: that did not */
	BLOCKS_LATE = 11,			/* count: answers that took 100 ms or more */
	BLOCKS_LONGEST_MS = 12,			/* ms: the longest that one took */
	BLOCKS_ORDER = 13,			/* order: 2 to the power of so many pages in one block */
};

enum writer_field {
	WRITER_BYTES = 8,			/* bytes: taken by the kernel, whether they are on the disk or not */
	WRITER_HELD = 9,			/* count: blocks whose writing took 10 ms or more */
	WRITER_LONGEST_MS = 10,			/* ms: the longest that one took */
};

#endif
