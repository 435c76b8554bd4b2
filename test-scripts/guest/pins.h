/* SPDX-License-Identifier: GPL-2.0 */
/* Pins of user memory that are held now. */
#include <stdio.h>

static long long pins(void)
{
	long long acquired = 0, released = 0;
	char line[128];
	FILE *f;

	/* The counts of each CPU go into the sums. */
	f = fopen("/proc/sys/vm/stat_refresh", "w");
	if (f) {
		fputs("1\n", f);
		fclose(f);
	}
	f = fopen("/proc/vmstat", "r");
	while (f && fgets(line, sizeof(line), f)) {
		sscanf(line, "nr_foll_pin_acquired %lld", &acquired);
		sscanf(line, "nr_foll_pin_released %lld", &released);
	}
	if (f)
		fclose(f);
	return acquired - released;
}
