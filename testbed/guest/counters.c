// SPDX-License-Identifier: GPL-2.0-or-later
/* Owns the reading of numbers from the kernel's text files, without allocating. */
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "agent.h"

bool source_open(struct source *source, const char *path, char *buffer, size_t size)
{
	*source = (struct source){ .fd = open(path, O_RDONLY | O_CLOEXEC), .text = buffer, .size = size };
	return source->fd >= 0;
}

/* A seq_file hands out at most one buffer at a time, so that one read does not get it all. */
bool source_read(struct source *source)
{
	size_t length = 0;
	ssize_t part;

	if (source->fd < 0)
		return false;
	while ((part = pread(source->fd, source->text + length, source->size - 1 - length, length)) > 0)
		length += part;
	source->text[length] = '\0';
	return part == 0 && length > 0;
}

uint64_t take_number(const char **cursor)
{
	const char *c = *cursor;
	uint64_t number = 0;

	while (*c == ' ' || *c == '\t' || *c == ':')
		c++;
	while (*c >= '0' && *c <= '9')
		number = number * 10 + (*c++ - '0');
	*cursor = c;
	return number;
}

static const char *next_line(const char *line)
{
	const char *end = strchr(line, '\n');

	return end ? end + 1 : line + strlen(line);
}

uint64_t number_after(const char *text, const char *key)
{
	size_t length = strlen(key);

	for (const char *line = text; *line; line = next_line(line)) {
		const char *rest = line + length;

		if (strncmp(line, key, length) == 0 && (*rest == ' ' || *rest == ':'))
			return take_number(&rest);
	}
	return 0;
}

uint64_t sum_after(const char *text, const char *prefix)
{
	uint64_t sum = 0;

	for (const char *line = text; *line; line = next_line(line)) {
		if (strncmp(line, prefix, strlen(prefix)) == 0) {
			const char *rest = line + strcspn(line, " \n");

			sum += take_number(&rest);
		}
	}
	return sum;
}

/* How many words stand before `name` in the line, -1 if it is not there. */
static int word_index(const char *line, const char *name)
{
	size_t length = strlen(name);
	int index = 0;

	for (const char *c = line; *c && *c != '\n'; index++) {
		size_t word = strcspn(c, " \n");

		if (word == length && strncmp(c, name, length) == 0)
			return index;
		c += word;
		c += strspn(c, " ");
	}
	return -1;
}

uint64_t number_under(const char *text, const char *group, const char *name)
{
	size_t length = strlen(group);
	int index;

	while (*text && (strncmp(text, group, length) != 0 || text[length] != ':'))
		text = next_line(text);
	index = word_index(text, name);
	if (index < 0)
		return 0;
	text = next_line(text);
	for (; index > 0 && *text; index--) {
		text += strcspn(text, " \n");
		text += strspn(text, " ");
	}
	return take_number(&text);
}
