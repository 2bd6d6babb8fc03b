/* SPDX-License-Identifier: GPL-2.0-or-later */
/* What the programs of the guest share: settings, the witness slot, and staying in memory. */
#ifndef AGENT_H
#define AGENT_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "witness.h"

#define NS_PER_S 1000000000ull
#define NS_PER_MS 1000000ull
/* A control word is noticed within 50 ms: nobody sleeps longer between two looks. */
#define LOOK_MS 40
#define TEXTS_MAX 8
#define ARRAY_LENGTH(array) (sizeof(array) / sizeof((array)[0]))

/* --- settings.c: the command line ------------------------------------------------------------- */

enum setting_type { SETTING_FLAG, SETTING_NUMBER, SETTING_TEXT, SETTING_TEXTS };

struct texts {
	const char *text[TEXTS_MAX];
	unsigned int count;
};

/* `--name VALUE` stored at `value`: bool, uint64_t, const char * or struct texts, by type. */
struct setting {
	const char *name;
	enum setting_type type;
	void *value;
};

/* Reads all options (the common ones too); returns what follows `--`, NULL-terminated. */
char **read_settings(int argc, char **argv, const struct setting *settings, size_t count);
/* Ends the program with a message on standard error: the user wrote something wrong. */
void usage_error(const char *format, ...) __attribute__((noreturn, format(printf, 1, 2)));

/* --- page.c: the witness page and one's slot in it -------------------------------------------- */

struct slot {
	volatile uint64_t *words;
};

extern bool detach_wanted; /* --detach: return to the caller once the slot is ready */

/* Maps the page, clears the slot (all but `control`), and says: starting. Detaches if asked to. */
struct slot slot_begin(enum witness_kind kind);
/* The slot as it is: for those who report on behalf of another process. */
struct slot slot_open(void);

uint64_t slot_read(struct slot slot, unsigned int field);
void slot_store(struct slot slot, unsigned int field, uint64_t value);
/* For the fields that several threads of one process count in. */
void slot_add(struct slot slot, unsigned int field, int64_t change);
/* Stamps `beat_ns`, by the coarse clock: costs no system call and no trip to the clock's device. */
void slot_beat(struct slot slot);
/* Stores the state; `ready` also lets go of the caller that --detach keeps waiting. */
void slot_state(struct slot slot, enum witness_state state);
/* Looks at the control word and acknowledges it. */
enum witness_control slot_control(struct slot slot);
/* Looks at it as well: whether the work is to go on. */
bool slot_goes_on(struct slot slot);
/* Sleeps in short steps until the control word is another than `seen`; returns it. */
enum witness_control slot_wait(struct slot slot, enum witness_control seen);
/* Between two pieces of work: sleeps, while it beats, and ends early with what is told then. */
enum witness_control slot_rest(struct slot slot, uint64_t ms);

/* Failure of what the program can not do without: into the slot, then the program ends. */
#define slot_fail(slot, what) slot_fail_at(slot, what, __LINE__)
void slot_fail_at(struct slot slot, const char *what, int line) __attribute__((noreturn));

/* --- memory.c: staying in memory, time, numbers ----------------------------------------------- */

/*
 * Locks all memory, now and later, prefaults the stack, and asks the OOM killer to look elsewhere.
 * False, with errno: it may not be locked.
 */
bool stay_in_memory(void);
/* Loads must be fair game for the OOM killer, whoever started them. */
void be_fair_game(void);
/*
 * Anonymous memory, all zero, for as long as the program lives. Buffers are taken like this by who
 * needs them: a static one would be locked into the memory of every witness, in the same binary.
 */
void *take_memory(struct slot slot, size_t bytes);
uint64_t clock_ns(int clock);
void sleep_ns(uint64_t ns);
/* One step of splitmix64: a cheap, well mixed function of its input. */
uint64_t mix(uint64_t value);
/* xorshift64*: a random sequence; the state is not 0. */
uint64_t next_random(uint64_t *state);

/* --- proof.c: pages that prove their integrity ------------------------------------------------- */

#define PROOF_PAGE_BYTES 4096

/* `pages`: how many; the first `anonymous` of them are of anonymous memory, the rest is mapped from `file`. */
struct proof {
	uint64_t pages, anonymous, seed;
	const char *file;
};

/* Takes the memory and makes the file; counts in the slot, whose kind is `anonymous`. */
void proof_begin(struct slot slot, const struct proof *proof);
/* Touches the page for the first time. */
void proof_fill(uint64_t index);
/*
 * Verifies a page; writes its next generation if `renew` asks for that, or if it was bad, so that a
 * bad page counts once. A page of the file is never written. Returns whether it was good.
 */
bool proof_visit(uint64_t index, bool renew);
const void *proof_page(uint64_t index);
/* Whether `page` is one whole page of whoever has this seed, whichever page it is. */
bool proof_is_whole(const void *page, uint64_t seed);

/* --- exchange.c: a ring of processes that need each other's pages ------------------------------ */

/* The ports on the loopback of oneself and of the next; the seed of the one before. */
struct ring {
	uint64_t port, next_port, last_seed;
};

/* Listens, so that the others may connect as soon as all are ready. */
void exchange_begin(struct slot slot, const struct ring *ring);
/* Joins the ring; false: the host wants something other than `wanted`. */
bool exchange_connect(enum witness_control wanted);
/* Sends `page` and waits for the neighbour's; false: left undone, the host wants something else. */
bool exchange_step(const void *page, enum witness_control wanted);

/* --- pace.c: what a flood owes ----------------------------------------------------------------- */

#define SIZES_MAX 256
#define SIZE_MOST 65507 /* bytes: what one datagram can hold */

/* One turn of a mix: each size, in bytes, as often as its weight says. */
struct sizes {
	uint16_t each[SIZES_MAX];
	unsigned int count;
};

/* Adds the sizes of `text`, "1400:9,64:1"; ends the program where --`option` can not be that. */
void sizes_parse(struct sizes *sizes, const char *option, const char *text);
/* The size that comes as number so and so. */
uint16_t sizes_at(const struct sizes *sizes, uint64_t number);

/* `rate`: sends a second; 0 is as fast as it goes. */
struct pace {
	uint64_t rate, paid_until_ns;
};

void pace_begin(struct pace *pace, uint64_t now_ns);
/* How many sends are owed now, no more than `most`. After a pause the oldest debt is forgotten: no burst. */
uint64_t pace_due(struct pace *pace, uint64_t now_ns, uint64_t most);
void pace_paid(struct pace *pace, uint64_t sent);

/* --- streams.c: the flood's TCP connections ---------------------------------------------------- */

#define CONNECTIONS_MAX 256

/* `rate`: messages a second over all of them, 0: they never pause; `sizes`: of messages, NULL: no matter. */
struct streams {
	struct sockaddr_in to;
	uint64_t count, rate;
	const char *sizes;
};

/* Ends the program if these can not be. */
void streams_check(const struct streams *wanted);
/* `bytes`: what is sent, SIZE_MOST of them at least. */
void streams_begin(struct slot slot, const struct streams *wanted, const char *bytes);
void streams_open(uint64_t now_ns);
/* Gives the connections what is due, without waiting; true: more is due than one call gives. */
bool streams_push(uint64_t now_ns);
void streams_close(void);

/* --- counters.c: numbers out of the kernel's text files --------------------------------------- */

/* A file kept open, and its last content. */
struct source {
	int fd;
	char *text;
	size_t size;
};

/* Opens `path`; `buffer` is where its content will be read to. False if there is no such file. */
bool source_open(struct source *source, const char *path, char *buffer, size_t size);
/* Reads the file anew from its beginning, into the same buffer; false: it could not be read. */
bool source_read(struct source *source);
/* The number after the `key` that begins a line ("pswpin 12", "SwapFree:  12 kB"), else 0. */
uint64_t number_after(const char *text, const char *key);
/* Sum of the numbers of all lines that begin with `prefix`. */
uint64_t sum_after(const char *text, const char *prefix);
/* /proc/net/snmp and netstat: a line of names, then a line of numbers, both beginning with `group`. */
uint64_t number_under(const char *text, const char *group, const char *name);
/* The unsigned number at *cursor, which moves behind it. */
uint64_t take_number(const char **cursor);

/* --- the programs ----------------------------------------------------------------------------- */

int heartbeat_main(int argc, char **argv);
int ready_main(int argc, char **argv);
int blocksampler_main(int argc, char **argv);
int vmsampler_main(int argc, char **argv);
int anonymous_main(int argc, char **argv);
int service_main(int argc, char **argv);
int flood_main(int argc, char **argv);
int job_main(int argc, char **argv);
int client_main(int argc, char **argv);
int deed_kill_main(int argc, char **argv);
int deed_write_main(int argc, char **argv);
int deed_clock_main(int argc, char **argv);
int deed_shatter_main(int argc, char **argv);
int reader_main(int argc, char **argv);
int reaper_main(int argc, char **argv);
int storm_main(int argc, char **argv);
int blocks_main(int argc, char **argv);
int writer_main(int argc, char **argv);
int ublk_main(int argc, char **argv);

#endif
