// SPDX-License-Identifier: GPL-2.0-or-later
/* What a flood owes: sends at a rate, and sizes in a mix. */
#include <stdlib.h>

#include "agent.h"

/* "1400:9,64:1": the sizes of one turn, spread evenly by a fixed shuffle. */
void sizes_parse(struct sizes *sizes, const char *option, const char *text)
{
	uint64_t random = 1;

	if (!*text)
		usage_error("--%s: not empty", option);
	while (*text) {
		char *end;
		unsigned long size = strtoul(text, &end, 10);
		unsigned long weight = *end == ':' ? strtoul(end + 1, &end, 10) : 1;

		if (end == text || (*end && *end != ',') || size == 0 || size > SIZE_MOST || weight == 0 ||
		    weight > SIZES_MAX - sizes->count)
			usage_error("--%s: SIZE:WEIGHT,... with sizes up to %d and weights that sum "
				    "up to %d at most, not '%s'", option, SIZE_MOST, SIZES_MAX, text);
		while (weight-- > 0)
			sizes->each[sizes->count++] = size;
		text = *end ? end + 1 : end;
	}
	for (unsigned int i = sizes->count; i > 1; i--) {
		unsigned int other = next_random(&random) % i;
		uint16_t size = sizes->each[i - 1];

		sizes->each[i - 1] = sizes->each[other];
		sizes->each[other] = size;
	}
}

uint16_t sizes_at(const struct sizes *sizes, uint64_t number)
{
	return sizes->each[number % sizes->count];
}

void pace_begin(struct pace *pace, uint64_t now_ns)
{
	pace->paid_until_ns = now_ns;
}

uint64_t pace_due(struct pace *pace, uint64_t now_ns, uint64_t most)
{
	uint64_t longest_ns, due;

	if (pace->rate == 0)
		return most;
	longest_ns = 2 * NS_PER_S / pace->rate + 10 * NS_PER_MS;
	if (now_ns - pace->paid_until_ns > longest_ns)
		pace->paid_until_ns = now_ns - longest_ns;
	due = (now_ns - pace->paid_until_ns) * pace->rate / NS_PER_S;
	return due < most ? due : most;
}

void pace_paid(struct pace *pace, uint64_t sent)
{
	if (pace->rate)
		pace->paid_until_ns += sent * NS_PER_S / pace->rate;
}
