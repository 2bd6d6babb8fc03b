// SPDX-License-Identifier: GPL-2.0-or-later
/* One static binary, several programs: chosen by the name it is called by, else by its first word. */
#include <string.h>

#include "agent.h"

static const struct program {
	const char *name;
	int (*main)(int argc, char **argv);
} programs[] = {
	{ "heartbeat", heartbeat_main },
	{ "ready", ready_main },
	{ "blocksampler", blocksampler_main },
	{ "vmsampler", vmsampler_main },
	{ "anonymous", anonymous_main },
	{ "service", service_main },
	{ "flood", flood_main },
	{ "job", job_main },
	{ "client", client_main },
	{ "deed-kill", deed_kill_main },
	{ "deed-write", deed_write_main },
	{ "deed-clock", deed_clock_main },
	{ "deed-shatter", deed_shatter_main },
	{ "reader", reader_main },
	{ "reaper", reaper_main },
	{ "storm", storm_main },
	{ "blocks", blocks_main },
	{ "writer", writer_main },
	{ "ublk", ublk_main },
};

static const struct program *program_named(const char *name)
{
	const char *slash = strrchr(name, '/');

	if (slash)
		name = slash + 1;
	for (size_t i = 0; i < ARRAY_LENGTH(programs); i++)
		if (strcmp(programs[i].name, name) == 0)
			return &programs[i];
	return NULL;
}

int main(int argc, char **argv)
{
	const struct program *program = argc > 0 ? program_named(argv[0]) : NULL;

	if (!program && argc > 1) {
		program = program_named(argv[1]);
		argc--;
		argv++;
	}
	if (!program) {
		fputs("usage: agent PROGRAM --slot N [--detach] [--page FILE] ...\nprograms:", stderr);
		for (size_t i = 0; i < ARRAY_LENGTH(programs); i++)
			fprintf(stderr, " %s", programs[i].name);
		fputs("\n", stderr);
		return 2;
	}
	return program->main(argc, argv);
}
