// SPDX-License-Identifier: GPL-2.0
/* Leaks: what kmemleak is to find before its silence is believed. */
#include <linux/module.h>
#include <linux/slab.h>

/*
 * Not in the init section, whose symbols are gone when kmemleak shows them. Many,
 * as what comes from SLUB's sheaves leaves its address there for some time.
 */
static noinline int leak_memory(void)
{
	int i;

	for (i = 0; i < 1000; i++) {
		char *p = kzalloc(300, GFP_KERNEL);

		if (!p)
			return -ENOMEM;
		OPTIMIZER_HIDE_VAR(p);
	}
	return i;
}

static int __init leak_init(void)
{
	return leak_memory() < 0 ? -ENOMEM : 0;
}
module_init(leak_init);

MODULE_DESCRIPTION("Leaks, for kmemleak to find");
MODULE_LICENSE("GPL");
