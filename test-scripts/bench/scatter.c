// SPDX-License-Identifier: GPL-2.0
/*
 * Makes the kernel's next single pages come from all over: takes pages for two
 * sets of pipes in turn, gives back those of one set, touches the file that its
 * argument names and keeps the other set's. What maps lists of single pages
 * merges neighbours, so that its cost would depend on what ran before.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define PIPES	16
#define PAGES	256	/* in a pipe of 1 MiB */

int main(int argc, char **argv)
{
	static char page[4096];
	int fds[2][PIPES][2];

	for (int i = 0; i < PIPES; i++)
		for (int set = 0; set < 2; set++)
			if (pipe(fds[set][i]) ||
			    fcntl(fds[set][i][1], F_SETPIPE_SZ, PAGES * 4096) < 0) {
				perror("pipe");
				return 1;
			}
	for (int i = 0; i < PIPES * PAGES; i++)
		for (int set = 0; set < 2; set++)
			if (write(fds[set][i / PAGES][1], page, sizeof(page)) != sizeof(page)) {
				perror("write");
				return 1;
			}
	for (int i = 0; i < PIPES; i++) {
		close(fds[0][i][0]);
		close(fds[0][i][1]);
	}
	if (argc > 1)
		close(open(argv[1], O_WRONLY | O_CREAT, 0600));
	for (;;)
		pause();
}
