// SPDX-License-Identifier: GPL-2.0-or-later
/* PID 1 once everything is set up: reaps orphans, and powers off when it is told to. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/wait.h>
#include <unistd.h>

#include "agent.h"

/* What busybox' poweroff, halt and reboot send to PID 1, and what a person would. */
static const int endings[] = { SIGTERM, SIGINT, SIGUSR1, SIGUSR2, SIGPWR };

int reaper_main(int argc, char **argv)
{
	sigset_t awaited;
	int signal = 0;

	(void)argc, (void)argv;
	/* A page of ours lost with the swap server would be a SIGBUS to PID 1, and so a kernel panic. */
	if (!stay_in_memory())
		perror("reaper: mlockall");
	sigemptyset(&awaited);
	sigaddset(&awaited, SIGCHLD);
	for (size_t i = 0; i < ARRAY_LENGTH(endings); i++)
		sigaddset(&awaited, endings[i]);
	sigprocmask(SIG_BLOCK, &awaited, NULL);
	do {
		while (waitpid(-1, NULL, WNOHANG) > 0)
			;
		sigwait(&awaited, &signal);
	} while (signal == SIGCHLD);
	/* No sync: nothing here outlives the guest, and it would wait on a dead swap server's device. */
	reboot(RB_POWER_OFF);
	fprintf(stderr, "reaper: %s\n", strerror(errno));
	return 1;
}
