// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The load: memory that is meant to be swapped, worked on in some order, and swept when the host asks.
 *
 * A wrong page never ends it: what it does with one is in proof.c.
 */
#include <string.h>

#include "agent.h"

static struct {
	uint64_t bytes, mapped, seed, pause_us;
	const char *order, *file;
	struct ring ring;
} config = { .seed = 1, .order = "random" };

static struct slot slot;
static uint64_t pages;
static bool exchanges;

static void count(unsigned int field)
{
	slot_store(slot, field, slot_read(slot, field) + 1);
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
		proof_fill(index);
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
		if (!proof_visit(index, false))
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
	bool linear = strcmp(config.order, "linear") == 0;
	static uint64_t state, next, index;
	static bool unsent; /* the step with this page was left before its end */

	if (state == 0)
		state = mix(config.seed) | 1;
	while (goes_on(control)) {
		if (!unsent) {
			index = linear ? next++ % pages : next_random(&state) % pages;
			proof_visit(index, true);
		}
		unsent = exchanges && !exchange_step(proof_page(index), control);
		if (unsent)
			return;
		count(ANONYMOUS_WORK_UNITS);
		pause_between_units(control);
	}
}

static void set_up(void)
{
	struct proof proof = { .seed = config.seed, .file = config.file };

	pages = config.bytes / PROOF_PAGE_BYTES;
	proof.pages = pages;
	proof.anonymous = pages - config.mapped / PROOF_PAGE_BYTES;
	proof_begin(slot, &proof);
	if (exchanges)
		exchange_begin(slot, &config.ring);
}

static void check_settings(void)
{
	if (config.bytes < PROOF_PAGE_BYTES)
		usage_error("--bytes: at least one page (%d)", PROOF_PAGE_BYTES);
	if (config.mapped > config.bytes || (config.mapped > 0 && !config.file))
		usage_error("--mapped: of --bytes, and with --file");
	exchanges = strcmp(config.order, "exchange") == 0;
	if (!exchanges && strcmp(config.order, "random") != 0 && strcmp(config.order, "linear") != 0)
		usage_error("--order: random, linear or exchange, not '%s'", config.order);
	if (exchanges && (!config.ring.port || !config.ring.next_port))
		usage_error("--order exchange: with --port and --next-port");
}

int anonymous_main(int argc, char **argv)
{
	const struct setting settings[] = {
		{ "bytes", SETTING_NUMBER, &config.bytes },
		{ "mapped", SETTING_NUMBER, &config.mapped },
		{ "file", SETTING_TEXT, &config.file },
		{ "seed", SETTING_NUMBER, &config.seed },
		{ "order", SETTING_TEXT, &config.order },
		{ "pause-us", SETTING_NUMBER, &config.pause_us },
		{ "port", SETTING_NUMBER, &config.ring.port },
		{ "next-port", SETTING_NUMBER, &config.ring.next_port },
		{ "last-seed", SETTING_NUMBER, &config.ring.last_seed },
	};
	enum witness_control control;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	check_settings();
	slot = slot_begin(KIND_ANONYMOUS);
	be_fair_game();
	set_up();
	slot_state(slot, STATE_READY);
	control = slot_wait(slot, CONTROL_NONE);
	slot_state(slot, STATE_RUNNING);
	if (exchanges)
		exchange_connect(control);
	fill();
	while ((control = slot_control(slot)) != CONTROL_STOP && control != CONTROL_QUIT) {
		if (control == CONTROL_SWEEP)
			sweep();
		work(control);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
