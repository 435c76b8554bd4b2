/* SPDX-License-Identifier: GPL-2.0 */
/* Fault injection: /proc/thread-self/fail-nth lets one allocation fail. */
#include <stdio.h>

static inline void put_text(const char *path, const char *text)
{
	FILE *f = fopen(path, "w");

	if (f) {
		fputs(text, f);
		fclose(f);
	}
}

/* Those that may sleep, and single pages; without a stack trace each */
static inline void fail_all_allocations(void)
{
	put_text("/sys/kernel/debug/failslab/ignore-gfp-wait", "N");
	put_text("/sys/kernel/debug/failslab/verbose", "0");
	put_text("/sys/kernel/debug/fail_page_alloc/ignore-gfp-wait", "N");
	put_text("/sys/kernel/debug/fail_page_alloc/min-order", "0");
	put_text("/sys/kernel/debug/fail_page_alloc/verbose", "0");
}
