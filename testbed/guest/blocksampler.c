// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The sampler that lives on with no free memory.
 *
 * It reads only files whose read allocates nothing once they have been read for the first time:
 * a seq_file (/proc/zoneinfo, and sysfs attributes, fs/kernfs/file.c) gets its buffer at its first
 * read and keeps it until it is closed. So the first sample is taken before `ready`.
 */
#include <string.h>
#include <time.h>

#include "agent.h"

#define DEVICES_MAX 4
#define ZONE_BYTES (32 * 1024)
#define DEVICE_BYTES 512
#define DEVICE_FIELDS (BLOCKSAMPLER_READS_COMPLETED_1 - BLOCKSAMPLER_READS_COMPLETED_0)

static struct source zones, devices[DEVICES_MAX];

/* One number of a zone: "  pages free     1234" or "        min      1234", summed over the zones. */
static uint64_t zone_sum(const char *name)
{
	size_t length = strlen(name);
	uint64_t sum = 0;

	for (const char *at = zones.text; (at = strstr(at, name)); at += length) {
		const char *number = at + length;

		/* "high" is also the middle of "nr_free_highatomic", and "high:" belongs to a cpu. */
		if (at == zones.text || at[-1] != ' ' || *number != ' ')
			continue;
		sum += take_number(&number);
	}
	return sum;
}

/* Pages on the per-cpu lists: the lines "              count: 12". */
static uint64_t cached_pages(void)
{
	uint64_t sum = 0;

	for (const char *at = zones.text; (at = strstr(at, "count:"));) {
		at += strlen("count:");
		sum += take_number(&at);
	}
	return sum;
}

/*
 * The file adds the boost to each mark; order-0 GFP_ATOMIC does not heed it (6.1, mm/page_alloc.c,
 * zone_watermark_fast), so the floor that matters is the mark without.
 */
static void sample_zones(struct slot slot)
{
	uint64_t boost;

	if (!source_read(&zones))
		return;
	boost = zone_sum("boost");
	slot_store(slot, BLOCKSAMPLER_BOOST_PAGES, boost);
	slot_store(slot, BLOCKSAMPLER_FREE_PAGES, zone_sum("pages free"));
	slot_store(slot, BLOCKSAMPLER_MIN_PAGES, zone_sum("min") - boost);
	slot_store(slot, BLOCKSAMPLER_LOW_PAGES, zone_sum("low") - boost);
	slot_store(slot, BLOCKSAMPLER_HIGH_PAGES, zone_sum("high") - boost);
	slot_store(slot, BLOCKSAMPLER_CACHED_CPU_PAGES, cached_pages());
}

/* Documentation/block/stat.rst: reads, merges, sectors, ms, then the same of writes, in flight. */
static void sample_device(struct slot slot, unsigned int index)
{
	const char *cursor = devices[index].text;
	unsigned int base = BLOCKSAMPLER_READS_COMPLETED_0 + index * DEVICE_FIELDS;
	uint64_t stat[9];

	if (!source_read(&devices[index]))
		return;
	for (unsigned int i = 0; i < ARRAY_LENGTH(stat); i++)
		stat[i] = take_number(&cursor);
	slot_store(slot, base + 0, stat[0]);
	slot_store(slot, base + 1, stat[4]);
	slot_store(slot, base + 2, stat[8]);
	slot_store(slot, base + 3, stat[2]);
	slot_store(slot, base + 4, stat[6]);
}

static void sample(struct slot slot, unsigned int device_count)
{
	sample_zones(slot);
	for (unsigned int i = 0; i < device_count; i++)
		sample_device(slot, i);
	slot_store(slot, SLOT_BEAT_NS, clock_ns(CLOCK_MONOTONIC));
	slot_store(slot, BLOCKSAMPLER_SAMPLES, slot_read(slot, BLOCKSAMPLER_SAMPLES) + 1);
}

static void open_sources(struct slot slot, const struct texts *names)
{
	char *device_text;

	if (!source_open(&zones, "/proc/zoneinfo", take_memory(slot, ZONE_BYTES), ZONE_BYTES))
		slot_fail(slot, "/proc/zoneinfo");
	device_text = take_memory(slot, names->count * DEVICE_BYTES + 1);
	for (unsigned int i = 0; i < names->count; i++) {
		char path[256];

		snprintf(path, sizeof(path), "/sys/class/block/%s/stat", names->text[i]);
		if (!source_open(&devices[i], path, device_text + i * DEVICE_BYTES, DEVICE_BYTES))
			slot_fail(slot, path);
	}
	slot_store(slot, BLOCKSAMPLER_DEVICES, names->count);
}

int blocksampler_main(int argc, char **argv)
{
	struct texts names = { .count = 0 };
	uint64_t period_ms = LOOK_MS;
	const struct setting settings[] = {
		{ "block", SETTING_TEXTS, &names },
		{ "period-ms", SETTING_NUMBER, &period_ms },
	};
	struct slot slot;

	read_settings(argc, argv, settings, ARRAY_LENGTH(settings));
	if (names.count > DEVICES_MAX)
		usage_error("--block: at most %d of them", DEVICES_MAX);
	slot = slot_begin(KIND_BLOCKSAMPLER);
	open_sources(slot, &names);
	if (!stay_in_memory())
		slot_fail(slot, "mlockall");
	sample(slot, names.count);
	slot_state(slot, STATE_READY);
	slot_store(slot, SLOT_STATE, STATE_RUNNING);
	while (slot_control(slot) != CONTROL_STOP) {
		sample(slot, names.count);
		sleep_ns(period_ms * NS_PER_MS);
	}
	slot_state(slot, STATE_DONE);
	return 0;
}
