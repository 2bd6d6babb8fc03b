// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Pages that prove their integrity: of anonymous memory, and clean ones that are mapped from a file.
 *
 * Every page holds its index, its generation, and a pattern made of both and of the seed. Which
 * generation it must hold stands in an array of 16-bit numbers, locked in memory, so that a page
 * whose last write was lost (an older generation, whole in itself) is told from a right one. A wrong
 * page is counted, written anew and so counted once; one of the file is not looked at any more.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include "agent.h"

#define PAGE_WORDS (PROOF_PAGE_BYTES / sizeof(uint64_t))
#define PATTERN_STEP 0x9e3779b97f4a7c15ull /* odd, so that all words of a page differ */
#define FIRST_PATTERN_WORD 2
#define FULL_GENERATION (UINT16_MAX + 1u)
#define GIVEN_UP 0 /* in place of a generation */

enum finding { PAGE_GOOD, PAGE_WRONG, PAGE_STALE, PAGE_LOST };

static struct slot slot;
static struct proof proof;
static uint64_t *area, *mapping;
static uint16_t *generations;

/*
 * A page that the kernel can not read back raises SIGBUS wherever it is touched, to be read or to be
 * written: whoever touches one has called sigsetjmp(unreadable) in the same function or above it.
 */
static sigjmp_buf unreadable;

static void on_bus_error(int signal)
{
	siglongjmp(unreadable, signal);
}

static bool is_mapped(uint64_t index)
{
	return index >= proof.anonymous;
}

static uint64_t *page_at(uint64_t index)
{
	return is_mapped(index) ? mapping + (index - proof.anonymous) * PAGE_WORDS : area + index * PAGE_WORDS;
}

static uint64_t pattern_base(uint64_t seed, uint64_t index, uint16_t generation)
{
	return mix(seed ^ mix(index * FULL_GENERATION + generation));
}

static void write_pattern(uint64_t *page, uint64_t index, uint16_t generation)
{
	uint64_t word = pattern_base(proof.seed, index, generation);

	page[0] = index;
	page[1] = generation;
	for (unsigned int i = FIRST_PATTERN_WORD; i < PAGE_WORDS; i++, word += PATTERN_STEP)
		page[i] = word;
}

/* All words are compared, whatever the first ones say: no early way out. */
static bool holds(const uint64_t *page, uint64_t seed, uint64_t index, uint16_t generation)
{
	uint64_t word = pattern_base(seed, index, generation);
	uint64_t difference = (page[0] ^ index) | (page[1] ^ generation);

	for (unsigned int i = FIRST_PATTERN_WORD; i < PAGE_WORDS; i++, word += PATTERN_STEP)
		difference |= page[i] ^ word;
	return difference == 0;
}

bool proof_is_whole(const void *page, uint64_t seed)
{
	const uint64_t *words = page;

	return holds(words, seed, words[0], words[1]);
}

static enum finding verify_page(uint64_t index)
{
	const uint64_t *page = page_at(index);

	if (holds(page, proof.seed, index, generations[index]))
		return PAGE_GOOD;
	return holds(page, proof.seed, index, page[1]) ? PAGE_STALE : PAGE_WRONG;
}

static void write_page(uint64_t index, uint16_t generation)
{
	generations[index] = generation ? generation : 1;
	write_pattern(page_at(index), index, generations[index]);
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
	if (is_mapped(index))
		generations[index] = GIVEN_UP;
	else
		madvise(page_at(index), PROOF_PAGE_BYTES, MADV_DONTNEED);
}

/* A page of the file was written when it was made: here it is only read in. */
void proof_fill(uint64_t index)
{
	if (is_mapped(index)) {
		proof_visit(index, false);
		return;
	}
	if (sigsetjmp(unreadable, 0))
		lose_page(index);
	write_page(index, 1);
}

bool proof_visit(uint64_t index, bool renew)
{
	enum finding finding;

	if (generations[index] == GIVEN_UP)
		return true;
	if (sigsetjmp(unreadable, 0)) {
		lose_page(index);
		if (!is_mapped(index))
			write_page(index, generations[index] + 1);
		return false;
	}
	finding = verify_page(index);
	if (finding != PAGE_GOOD)
		report_bad_page(index, finding);
	if (is_mapped(index)) {
		if (finding != PAGE_GOOD)
			generations[index] = GIVEN_UP;
	} else if (finding != PAGE_GOOD || renew) {
		write_page(index, generations[index] + 1);
	}
	return finding == PAGE_GOOD;
}

const void *proof_page(uint64_t index)
{
	return page_at(index);
}

/* The file is on its disk and none of it in memory, before it is mapped: clean pages, all of them. */
static void map_file(uint64_t mapped)
{
	uint64_t *page = take_memory(slot, PROOF_PAGE_BYTES);
	int fd = open(proof.file, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

	if (fd < 0)
		slot_fail(slot, proof.file);
	for (uint64_t i = 0; i < mapped; i++) {
		write_pattern(page, proof.anonymous + i, 1);
		generations[proof.anonymous + i] = 1;
		if (write(fd, page, PROOF_PAGE_BYTES) != PROOF_PAGE_BYTES)
			slot_fail(slot, proof.file);
	}
	if (fsync(fd) < 0 || posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED) != 0)
		slot_fail(slot, "the file's way to its disk");
	mapping = mmap(NULL, mapped * PROOF_PAGE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
	if (mapping == MAP_FAILED)
		slot_fail(slot, "mmap of the file");
	/* Each page is read in for itself: what is in memory is what was asked for. */
	madvise(mapping, mapped * PROOF_PAGE_BYTES, MADV_RANDOM);
	munmap(page, PROOF_PAGE_BYTES);
	close(fd);
}

void proof_begin(struct slot own, const struct proof *wanted)
{
	struct sigaction action = { .sa_handler = on_bus_error, .sa_flags = SA_NODEFER };

	slot = own;
	proof = *wanted;
	if (proof.anonymous > 0)
		area = take_memory(slot, proof.anonymous * PROOF_PAGE_BYTES);
	generations = take_memory(slot, proof.pages * sizeof(*generations));
	if (mlock(generations, proof.pages * sizeof(*generations)) < 0)
		slot_fail(slot, "mlock of the generations");
	for (uint64_t index = 0; index < proof.anonymous; index++)
		generations[index] = 1;
	sigaction(SIGBUS, &action, NULL);
	if (proof.pages > proof.anonymous)
		map_file(proof.pages - proof.anonymous);
	slot_store(slot, ANONYMOUS_PAGES_TOTAL, proof.pages);
	slot_store(slot, ANONYMOUS_MAPPED_PAGES, proof.pages - proof.anonymous);
}
