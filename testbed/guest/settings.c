// SPDX-License-Identifier: GPL-2.0-or-later
/* Owns the command line: `--name VALUE` and flags, from a table of settings. */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "agent.h"

bool detach_wanted;
uint64_t slot_number;
const char *page_file;

static const struct setting common[] = {
	{ "slot", SETTING_NUMBER, &slot_number },
	{ "detach", SETTING_FLAG, &detach_wanted },
	{ "page", SETTING_TEXT, &page_file },
};

void usage_error(const char *format, ...)
{
	va_list arguments;

	va_start(arguments, format);
	fputs("agent: ", stderr);
	vfprintf(stderr, format, arguments);
	fputs("\n", stderr);
	va_end(arguments);
	exit(2);
}

static const struct setting *setting_named(const char *name, const struct setting *settings, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (strcmp(settings[i].name, name) == 0)
			return &settings[i];
	return NULL;
}

static uint64_t parse_number(const char *name, const char *text)
{
	char *end;
	uint64_t number;

	errno = 0;
	number = strtoull(text, &end, 0);
	if (errno || end == text || *end || *text == '-')
		usage_error("--%s: '%s' is not a number", name, text);
	return number;
}

static void add_text(const struct setting *setting, const char *text)
{
	struct texts *texts = setting->value;

	if (texts->count == TEXTS_MAX)
		usage_error("--%s: at most %d of them", setting->name, TEXTS_MAX);
	texts->text[texts->count++] = text;
}

static void apply(const struct setting *setting, const char *text)
{
	switch (setting->type) {
	case SETTING_FLAG:
		*(bool *)setting->value = true;
		break;
	case SETTING_NUMBER:
		*(uint64_t *)setting->value = parse_number(setting->name, text);
		break;
	case SETTING_TEXT:
		*(const char **)setting->value = text;
		break;
	case SETTING_TEXTS:
		add_text(setting, text);
		break;
	}
}

char **read_settings(int argc, char **argv, const struct setting *settings, size_t count)
{
	for (int i = 1; i < argc; i++) {
		const struct setting *setting;

		if (strcmp(argv[i], "--") == 0)
			return &argv[i + 1];
		if (strncmp(argv[i], "--", 2) != 0)
			usage_error("'%s' is not an option", argv[i]);
		setting = setting_named(argv[i] + 2, common, ARRAY_LENGTH(common));
		if (!setting)
			setting = setting_named(argv[i] + 2, settings, count);
		if (!setting)
			usage_error("no option '%s'", argv[i]);
		if (setting->type != SETTING_FLAG && i + 1 == argc)
			usage_error("%s needs a value", argv[i]);
		apply(setting, setting->type == SETTING_FLAG ? NULL : argv[++i]);
	}
	return &argv[argc];
}
