// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The load: anonymous memory that is meant to be swapped, and that proves its integrity.
 *
 * Every page holds its index, its generation, and a pattern made of both and of the seed. Which
 * generation it must hold stands in an array of 16-bit numbers, locked in memory, so that a page
 * whose last write was lost (an older generation, whole in itself) is told from a right one. A wrong
 * page is counted, written anew and so counted once; the load itself never gives up.
 */
#define _GNU_SOURCE
#include <setjmp.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>

#include "agent.h"

#define PAGE_BYTES 4096
#define PAGE_WORDS (PAGE_BYTES / sizeof(uint64_t))
#define PATTERN_STEP 0x9e3779b97f4a7c15ull /* odd, so that all words of a page differ */
#define FIRST_PATTERN_WORD 2
#define FULL_GENERATION (UINT16_MAX + 1u)

enum finding { PAGE_GOOD, PAGE_WRONG, PAGE_STALE, PAGE_LOST };

static struct {
	uint64_t bytes, seed, pause_us;
	const char *order;
} config = { .seed = 1, .order = "random" };

static struct slot slot;
static uint64_t *area;
static uint16_t *generations;
static uint64_t pages;

/*
 * A page that the kernel can not read back raises SIGBUS wherever it is touched, to be read or to be
 * written: whoever touches one has called sigsetjmp(unreadable) in the same function or above it.
 */
static sigjmp_buf unreadable;

static void on_bus_error(int signal)
{
	siglongjmp(unreadable, signal);
}

static uint64_t *page_at(uint64_t index)
{
	return area + index * PAGE_WORDS;
}

static uint64_t pattern_base(uint64_t index, uint16_t generation)
{
	return mix(config.seed ^ mix(index * FULL_GENERATION + generation));
}

static void write_page(uint64_t index, uint16_t generation)
{
	uint64_t *page = page_at(index);
	uint64_t word = pattern_base(index, generation);

	generations[index] = generation;
	page[0] = index;
	page[1] = generation;
	for (unsigned int i = FIRST_PATTERN_WORD; i < PAGE_WORDS; i++, word += PATTERN_STEP)
		page[i] = word;
}

/* All words are compared, whatever the first ones say: no early way out. */
static bool holds(uint64_t index, uint16_t generation)
{
	const uint64_t *page = page_at(index);
	uint64_t word = pattern_base(index, generation);
	uint64_t difference = (page[0] ^ index) | (page[1] ^ generation);

	for (unsigned int i = FIRST_PATTERN_WORD; i < PAGE_WORDS; i++, word += PATTERN_STEP)
		difference |= page[i] ^ word;
	return difference == 0;
}

static enum finding verify_page(uint64_t index)
{
	if (holds(index, generations[index]))
		return PAGE_GOOD;
	return holds(index, page_at(index)[1]) ? PAGE_STALE : PAGE_WRONG;
}

static void count(unsigned int field)
{
	slot_store(slot, field, slot_read(slot, field) + 1);
}

static void report_bad_page(uint64_t index, enum finding finding)
{
	if (slot_read(slot, ANONYMOUS_FIRST_BAD_PAGE) == 0)
		slot_store(slot, ANONYMOUS_FIRST_BAD_PAGE, index + 1);
	if (finding == PAGE_STALE)
		count(ANONYMOUS_STALE_PAGES);
	if (finding == PAGE_LOST)
		count(ANONYMOUS_LOST_PAGES);
	count(ANONYMOUS_BAD_PAGES);
}

/* Gives up what can not be read, else every touch of the page would raise SIGBUS again. */
static void lose_page(uint64_t index)
{
	report_bad_page(index, PAGE_LOST);
	madvise(page_at(index), PAGE_BYTES, MADV_DONTNEED);
}

static void fill_page(uint64_t index)
{
	if (sigsetjmp(unreadable, 0))
		lose_page(index);
	write_page(index, 1);
}

/*
 * Verifies a page; writes its next generation if `renew` asks for that, or if it was bad, so that a
 * bad page counts once. Returns whether it was good.
 */
static bool visit_page(uint64_t index, bool renew)
{
	enum finding finding;

	if (sigsetjmp(unreadable, 0)) {
		lose_page(index);
		write_page(index, generations[index] + 1);
		return false;
	}
	finding = verify_page(index);
	if (finding != PAGE_GOOD)
		report_bad_page(index, finding);
	if (finding != PAGE_GOOD || renew)
		write_page(index, generations[index] + 1);
	return finding == PAGE_GOOD;
}

/* False: the host wants something other than `wanted`. */
static bool goes_on(enum witness_control wanted)
{
	slot_beat(slot);
	return slot_control(slot) == wanted;
}

static void fill(void)
{
	for (uint64_t index = 0; index < pages; index++) {
		enum witness_control control = slot_control(slot);

		if (control == CONTROL_STOP || control == CONTROL_QUIT)
			return;
		fill_page(index);
		slot_store(slot, ANONYMOUS_PAGES_FILLED, index + 1);
		slot_beat(slot);
	}
}

static void sweep(void)
{
	slot_store(slot, ANONYMOUS_SWEEP_PAGES, 0);
	slot_store(slot, ANONYMOUS_SWEEP_BAD_PAGES, 0);
	for (uint64_t index = 0; index < pages; index++) {
		if (!goes_on(CONTROL_SWEEP))
			return;
		if (!visit_page(index, false))
			count(ANONYMOUS_SWEEP_BAD_PAGES);
		slot_store(slot, ANONYMOUS_SWEEP_PAGES, index + 1);
	}
	count(ANONYMOUS_SWEEPS_DONE);
}

static void pause_between_units(enum witness_control control)
{
	uint64_t left_ns = config.pause_us * 1000;

	while (left_ns > 0 && goes_on(control)) {
		uint64_t step_ns = left_ns < LOOK_MS * NS_PER_MS ? left_ns : LOOK_MS * NS_PER_MS;

		sleep_ns(step_ns);
		left_ns -= step_ns;
	}
}

/* Works until the control word is another than `control`. */
static void work(enum witness_control control)
{
	bool random = strcmp(config.order, "random") == 0;
	static uint64_t state, next;

	if (state == 0)
		state = mix(config.seed) | 1;
	while (goes_on(control)) {
		uint64_t index = random ? next_random(&state) % pages : next++ % pages;

		visit_page(index, true);
		count(ANONYMOUS_WORK_UNITS);
		pause_between_units(control);
	}
}

static void set_up(void)
{
	struct sigaction action = { .sa_handler = on_bus_error, .sa_flags = SA_NODEFER };

	pages = config.bytes / PAGE_BYTES;
	area = take_memory(slot, pages * PAGE_BYTES);
	generations = take_memory(slot, pages * sizeof(*generations));
	if (mlock(generations, pages * sizeof(*generations)) < 0)
		slot_fail(slot, "mlock of the generations");
	sigaction(SIGBUS, &action, NULL);
	slot_store(slot, ANONYMOUS_PAGES_TOTAL, pages);
}

int anonymous_main(int argc, char **argv)
{
	const struct setting settings[] = {
		{ "bytes", SETTING_NUMBER, &config.bytes },
		{ "seed", SETTING_NUMBER, &config.seed },
		{ "order", SETTING_TEXT, &config.order },
		{ "pause-us", SETTING_NUMBER, &config.pause_us },
	};
	enum witness_control control;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (config.bytes < PAGE_BYTES)
		usage_error("--bytes: at least one page (%d)", PAGE_BYTES);
	if (strcmp(config.order, "random") != 0 && strcmp(config.order, "linear") != 0)
		usage_error("--order: random or linear, not '%s'", config.order);
	slot = slot_begin(KIND_ANONYMOUS);
	be_fair_game();
	set_up();
	slot_state(slot, STATE_READY);
	control = slot_wait(slot, CONTROL_NONE);
	slot_state(slot, STATE_RUNNING);
	fill();
	while ((control = slot_control(slot)) != CONTROL_STOP && control != CONTROL_QUIT) {
		if (control == CONTROL_SWEEP)
			sweep();
		work(control);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
