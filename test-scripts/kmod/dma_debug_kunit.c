// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of what DMA-debug says of the steps of the DMA API that work on
 * IOVA space: something of each mistake, and nothing of right use.  The device
 * is QEMU's edu, behind whichever IOMMU the machine has.
 *
 * What is printed is read by a probe of the trace event for the console.  Boot
 * with loglevel=4, so that the console itself has only what is an error; all
 * other warnings fail these tests.
 *
 * Out of tree on purpose: the same source is built against the base.
 */
#include <kunit/test.h>
#include <linux/debug_locks.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/prandom.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>
#include <trace/events/printk.h>
#include "edu.h"

#define POOL_ORDER	6
#define PAGES		64

static phys_addr_t pool;
static unsigned int reports, warnings;
static char report[512];

/* What is printed */

static void console(void *unused, const char *text, size_t len)
{
	if (strnstr(text, "WARNING: ", len))
		warnings++;
	if (!strnstr(text, "DMA-API: dma_debug_kunit ", len) &&
	    !strnstr(text, "DMA-API: pci ", len))
		return;
	reports++;
	scnprintf(report, sizeof(report), "%.*s", (int)len, text);
}

static void forget(void)
{
	reports = 0;
	warnings = 0;
	report[0] = 0;
}

/* Nothing was reported so far, and @what once by what follows */
#define EXPECT_REPORT(test, what, call) do {				\
	KUNIT_EXPECT_EQ_MSG(test, reports + warnings, 0, "%s", report);	\
	forget();							\
	call;								\
	KUNIT_EXPECT_EQ_MSG(test, reports, 1, "%s", what);		\
	KUNIT_EXPECT_EQ_MSG(test, warnings, 1, "%s", what);		\
	KUNIT_EXPECT_TRUE_MSG(test, strstr(report, what), "%s\nis not: %s", \
			      report, what);				\
	forget();							\
} while (0)

#define EXPECT_QUIET(test) \
	KUNIT_EXPECT_EQ_MSG(test, reports + warnings, 0, "%s", report)

static struct device *need(struct kunit *test, struct dma_iova_state *state)
{
	if (!edu || !pool)
		kunit_skip(test, "no edu device, or no memory");
	forget();
	if (!dma_iova_try_alloc(&edu->dev, state, 0, PAGES * PAGE_SIZE))
		kunit_skip(test, "edu is not behind a translating IOMMU");
	return &edu->dev;
}

static int link(struct dma_iova_state *state, int page, int nr)
{
	return dma_iova_link(&edu->dev, state, pool + page * PAGE_SIZE,
			     page * PAGE_SIZE, nr * PAGE_SIZE,
			     DMA_BIDIRECTIONAL, 0);
}

static void unlink(struct dma_iova_state *state, int page, int nr)
{
	dma_iova_unlink(&edu->dev, state, page * PAGE_SIZE, nr * PAGE_SIZE,
			DMA_BIDIRECTIONAL, 0);
}

/*
 * Most mistakes must not reach the page table: what is wrong is about to be
 * put right, or the state is a copy whose counterpart is not touched.
 */

static void link_overlap(struct kunit *test)
{
	struct dma_iova_state state;
	struct device *dev = need(test, &state);

	KUNIT_ASSERT_EQ(test, link(&state, 4, 4), 0);
	EXPECT_REPORT(test, "links memory where memory is linked already",
		      KUNIT_EXPECT_NE(test, link(&state, 4, 4), 0));
	EXPECT_REPORT(test, "linked already",
		      KUNIT_EXPECT_NE(test, link(&state, 7, 1), 0));
	EXPECT_REPORT(test, "linked already",
		      KUNIT_EXPECT_NE(test, link(&state, 0, 5), 0));
	/* on either side there is room */
	KUNIT_EXPECT_EQ(test, link(&state, 3, 1), 0);
	KUNIT_EXPECT_EQ(test, link(&state, 8, 1), 0);
	KUNIT_EXPECT_EQ(test, link(&state, 0, 3), 0);
	dma_iova_destroy(dev, &state, 9 * PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
	EXPECT_QUIET(test);
}

static void out_of_range(struct kunit *test)
{
	struct dma_iova_state state;
	struct device *dev = need(test, &state);

	/* There is nothing behind it, so these do not hurt anybody */
	dma_iova_free(dev, &state);
	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(dev, &state, 0, 8 * PAGE_SIZE));
	EXPECT_REPORT(test, "links memory outside of its IOVA space",
		      link(&state, 8, 1));
	EXPECT_REPORT(test, "unlinks memory outside of its IOVA space",
		      unlink(&state, 8, 1));
	EXPECT_REPORT(test, "links memory outside of its IOVA space",
		      link(&state, 7, 2));
	EXPECT_REPORT(test, "syncs IOVA space it has not allocated",
		      dma_iova_sync(dev, &state, 4 * PAGE_SIZE, 5 * PAGE_SIZE));
	EXPECT_REPORT(test, "unlinks memory outside of its IOVA space",
		      unlink(&state, 7, 2));
	KUNIT_ASSERT_EQ(test, link(&state, 0, 8), 0);
	KUNIT_ASSERT_EQ(test, dma_iova_sync(dev, &state, 0, 8 * PAGE_SIZE), 0);
	dma_iova_destroy(dev, &state, 8 * PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
	EXPECT_QUIET(test);
}

static void not_allocated(struct kunit *test)
{
	struct dma_iova_state state, wrong;
	struct device *dev = need(test, &state);

	wrong = state;
	wrong.addr += PAGE_SIZE;
	KUNIT_ASSERT_EQ(test, link(&state, 0, 2), 0);
	EXPECT_REPORT(test, "links memory to IOVA space it has not allocated",
		      link(&wrong, 3, 1));
	EXPECT_REPORT(test, "unlinks memory from IOVA space it has not allocated",
		      unlink(&wrong, 3, 1));
	EXPECT_REPORT(test, "syncs IOVA space it has not allocated",
		      dma_iova_sync(dev, &wrong, 0, PAGE_SIZE));
	unlink(&state, 0, 2);
	dma_iova_free(dev, &state);
	EXPECT_QUIET(test);
}

static void unlink_wrong(struct kunit *test)
{
	struct dma_iova_state state;
	struct device *dev = need(test, &state);
	int i;

	for (i = 0; i < 8; i++)
		KUNIT_ASSERT_EQ(test, link(&state, i, 1), 0);
	/* laid out so that no page table has a large page across the cut */
	KUNIT_ASSERT_EQ(test, link(&state, 9, 3), 0);

	EXPECT_REPORT(test, "different direction",
		      dma_iova_unlink(dev, &state, 0, PAGE_SIZE, DMA_TO_DEVICE,
				      0));
	EXPECT_REPORT(test, "different attributes",
		      dma_iova_unlink(dev, &state, PAGE_SIZE, PAGE_SIZE,
				      DMA_BIDIRECTIONAL, DMA_ATTR_MMIO));
	/* pages of one length, in the middle, which is right; the rest goes */
	unlink(&state, 4, 2);
	unlink(&state, 2, 1);
	EXPECT_QUIET(test);
	EXPECT_REPORT(test, "a part of what it linked in one go",
		      unlink(&state, 9, 1));
	unlink(&state, 10, 2);
	unlink(&state, 6, 2);
	unlink(&state, 3, 1);
	EXPECT_QUIET(test);

	/* nothing there at all, which the IOMMU warns of as well */
	forget();
	unlink(&state, 20, 1);
	KUNIT_EXPECT_EQ(test, reports, 1);
	KUNIT_EXPECT_NOT_NULL(test, strstr(report, "nothing linked to it"));
	forget();
	dma_iova_free(dev, &state);
	EXPECT_QUIET(test);
}

static void destroy_wrong(struct kunit *test)
{
	struct dma_iova_state state;
	struct device *dev = need(test, &state);

	/* too short: what is left stays in the page table, so put it right */
	KUNIT_ASSERT_EQ(test, link(&state, 0, 2), 0);
	KUNIT_ASSERT_EQ(test, link(&state, 2, 2), 0);
	EXPECT_REPORT(test, "destroys IOVA space with different size linked",
		      dma_iova_destroy(dev, &state, 2 * PAGE_SIZE,
				       DMA_BIDIRECTIONAL, 0));
	iommu_unmap(iommu_get_domain_for_dev(dev), state.addr + 2 * PAGE_SIZE,
		    2 * PAGE_SIZE);

	/* too long: the IOMMU warns of it as well */
	need(test, &state);
	KUNIT_ASSERT_EQ(test, link(&state, 0, 2), 0);
	forget();
	dma_iova_destroy(dev, &state, 4 * PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
	KUNIT_EXPECT_EQ(test, reports, 1);
	KUNIT_EXPECT_NOT_NULL(test, strstr(report, "different size linked"));
	forget();

	/* nothing was linked */
	need(test, &state);
	dma_iova_destroy(dev, &state, 0, DMA_BIDIRECTIONAL, 0);
	EXPECT_QUIET(test);
}

static void free_wrong(struct kunit *test)
{
	struct dma_iova_state state, wrong;
	struct device *dev = need(test, &state);

	KUNIT_ASSERT_EQ(test, link(&state, 3, 1), 0);
	EXPECT_REPORT(test, "frees IOVA space with memory linked to it",
		      dma_iova_free(dev, &state));
	iommu_unmap(iommu_get_domain_for_dev(dev), state.addr + 3 * PAGE_SIZE,
		    PAGE_SIZE);

	/* What was not allocated: nothing may come of it, so at an odd place */
	need(test, &state);
	wrong = state;
	wrong.addr += SZ_1G;
	EXPECT_REPORT(test, "tries to free IOVA space it has not allocated",
		      dma_iova_free(dev, &wrong));
	EXPECT_REPORT(test, "tries to destroy IOVA space it has not allocated",
		      dma_iova_destroy(dev, &wrong, 0, DMA_BIDIRECTIONAL, 0));
	dma_iova_free(dev, &state);
	EXPECT_QUIET(test);
}

static void other_functions(struct kunit *test)
{
	struct dma_iova_state state;
	struct device *dev = need(test, &state);

	KUNIT_ASSERT_EQ(test, link(&state, 0, 2), 0);
	KUNIT_ASSERT_EQ(test, link(&state, 2, 1), 0);
	/* It was not an error of mapping, and there is nothing to check */
	KUNIT_EXPECT_EQ(test, dma_mapping_error(dev, state.addr), 0);
	dma_sync_single_for_cpu(dev, state.addr, 3 * PAGE_SIZE,
				DMA_BIDIRECTIONAL);
	dma_sync_single_for_device(dev, state.addr + PAGE_SIZE, 100,
				   DMA_BIDIRECTIONAL);
	EXPECT_QUIET(test);
	EXPECT_REPORT(test, "syncs IOVA space with nothing linked to it",
		      dma_sync_single_for_cpu(dev, state.addr + 2 * PAGE_SIZE,
					      2 * PAGE_SIZE,
					      DMA_BIDIRECTIONAL));
	dma_iova_destroy(dev, &state, 3 * PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
	EXPECT_QUIET(test);
}

/*
 * The last one: the memory is not mapped any more, and the IOVA space is free,
 * but DMA-debug goes on to say that it is in use, as it should.
 */
static void wrong_function(struct kunit *test)
{
	struct dma_iova_state state;
	struct device *dev = need(test, &state);

	dma_iova_free(dev, &state);
	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(dev, &state, 0,
						   2 * PAGE_SIZE));
	KUNIT_ASSERT_EQ(test, link(&state, 0, 2), 0);
	EXPECT_REPORT(test, "unmaps IOVA space",
		      dma_unmap_page_attrs(dev, state.addr, 2 * PAGE_SIZE,
					   DMA_BIDIRECTIONAL, 0));
	EXPECT_REPORT(test, "pending DMA allocations while released from device [count=1]",
		      device_release_driver(dev));
	KUNIT_ASSERT_EQ(test, device_attach(dev), 1);
	EXPECT_QUIET(test);
}

static void bad_memory(struct kunit *test)
{
	struct dma_iova_state state;
	struct device *dev = need(test, &state);
	u8 on_stack[16];
	phys_addr_t phys;

	phys = is_vmalloc_addr(on_stack) ?
	       page_to_phys(vmalloc_to_page(on_stack)) :
	       ALIGN_DOWN(virt_to_phys(on_stack), PAGE_SIZE);
	EXPECT_REPORT(test, "maps memory from stack",
		      KUNIT_EXPECT_EQ(test, dma_iova_link(dev, &state, phys, 0,
							  PAGE_SIZE,
							  DMA_TO_DEVICE, 0), 0));
	EXPECT_REPORT(test, "called for RAM address",
		      KUNIT_EXPECT_EQ(test, dma_iova_link(dev, &state, pool,
							  PAGE_SIZE, PAGE_SIZE,
							  DMA_TO_DEVICE,
							  DMA_ATTR_MMIO), 0));
	dma_iova_unlink(dev, &state, 0, PAGE_SIZE, DMA_TO_DEVICE, 0);
	dma_iova_unlink(dev, &state, PAGE_SIZE, PAGE_SIZE, DMA_TO_DEVICE,
			DMA_ATTR_MMIO);
	dma_iova_free(dev, &state);
	EXPECT_QUIET(test);
}

static void leak(struct kunit *test)
{
	struct dma_iova_state state;
	struct device *dev = need(test, &state);

	KUNIT_ASSERT_EQ(test, link(&state, 0, 1), 0);
	EXPECT_REPORT(test, "pending DMA allocations while released from device [count=1]",
		      device_release_driver(dev));
	KUNIT_ASSERT_EQ(test, device_attach(dev), 1);
	dma_iova_destroy(dev, &state, PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
	/* and then there is none */
	device_release_driver(dev);
	KUNIT_ASSERT_EQ(test, device_attach(dev), 1);
	EXPECT_QUIET(test);
}

/*
 * As HMM does it: page by page, in any order, some of them again and again.
 * Nothing is reported, and not one of what is wrong in between is missed.
 */
static void right_use(struct kunit *test)
{
	struct dma_iova_state state;
	struct device *dev = need(test, &state);
	bool linked[PAGES] = {};
	struct rnd_state rnd;
	int i, page, nr;

	prandom_seed_state(&rnd, 7304);
	for (i = 0; i < 3000; i++) {
		page = prandom_u32_state(&rnd) % PAGES;
		if (!linked[page]) {
			KUNIT_ASSERT_EQ(test, link(&state, page, 1), 0);
			KUNIT_ASSERT_EQ(test, 0,
					dma_iova_sync(dev, &state,
						      page * PAGE_SIZE,
						      PAGE_SIZE));
			linked[page] = true;
			continue;
		}
		if (i % 50 == 0) {
			EXPECT_REPORT(test, "linked already",
				      KUNIT_EXPECT_NE(test,
						      link(&state, page, 1), 0));
			continue;
		}
		/* up to three pages at once, if they are there */
		for (nr = 1; nr < 3 && page + nr < PAGES && linked[page + nr];)
			nr++;
		unlink(&state, page, nr);
		while (nr--)
			linked[page + nr] = false;
	}
	for (page = 0; page < PAGES; page++)
		if (!linked[page])
			KUNIT_ASSERT_EQ(test, link(&state, page, 1), 0);
	dma_iova_destroy(dev, &state, PAGES * PAGE_SIZE, DMA_BIDIRECTIONAL, 0);
	EXPECT_QUIET(test);

	/* unaligned at both ends; unlinked as a whole */
	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(dev, &state, pool + 0x200,
						   3 * PAGE_SIZE - 0x300));
	KUNIT_ASSERT_EQ(test, 0,
			dma_iova_link(dev, &state, pool + 0x200, 0,
				      PAGE_SIZE - 0x200, DMA_FROM_DEVICE, 0));
	KUNIT_ASSERT_EQ(test, 0,
			dma_iova_link(dev, &state, pool + 5 * PAGE_SIZE,
				      PAGE_SIZE - 0x200, 2 * PAGE_SIZE - 0x100,
				      DMA_FROM_DEVICE, 0));
	dma_iova_unlink(dev, &state, 0, 3 * PAGE_SIZE - 0x300, DMA_FROM_DEVICE,
			DMA_ATTR_SKIP_CPU_SYNC);
	dma_iova_free(dev, &state);
	EXPECT_QUIET(test);

	/* nothing ever linked */
	need(test, &state);
	dma_iova_free(dev, &state);
	need(test, &state);
	dma_iova_destroy(dev, &state, 0, DMA_BIDIRECTIONAL, 0);
	EXPECT_QUIET(test);
}

#ifdef HAVE_DMA_MAP_PHYRS
#include <linux/phyr.h>

static bool refill(struct phyr_cursor *cur)
{
	const struct phyr **next = cur->priv;

	if (!(*next)->len)
		return false;
	phyr_cursor_set_window(cur, (*next)++, 1, 0, SIZE_MAX);
	return true;
}

static void phyrs(struct kunit *test)
{
	const struct phyr vec[] = {
		{ pool + 0x100, 2 * PAGE_SIZE - 0x100 },
		{ pool + 8 * PAGE_SIZE, 3 * PAGE_SIZE },
		{ pool + 4 * PAGE_SIZE, PAGE_SIZE - 0x100 },
		{ }
	};
	const size_t size = 6 * PAGE_SIZE - 0x200;
	struct dma_iova_state state;
	struct device *dev = need(test, &state);
	const struct phyr *next;
	struct phyr_cursor cur;
	struct dma_range out[3];
	struct phyr bad;
	u8 on_stack[16];

	/* one window, many windows */
	dma_iova_free(dev, &state);
	KUNIT_ASSERT_EQ(test, phyr_cursor_init_array(&cur, vec, 3), 0);
	KUNIT_ASSERT_EQ(test, 1, dma_map_phyrs(dev, &cur, &state, out, 3,
					       DMA_TO_DEVICE, 0));
	KUNIT_EXPECT_EQ(test, phyr_cursor_left(&cur), 0);
	dma_unmap_phyrs(dev, NULL, &state, out, 1, DMA_TO_DEVICE, 0);
	EXPECT_QUIET(test);

	next = vec;
	phyr_cursor_init_refill(&cur, refill, &next, size, 0);
	KUNIT_ASSERT_EQ(test, 1, dma_map_phyrs(dev, &cur, &state, out, 3,
					       DMA_TO_DEVICE, 0));
	KUNIT_EXPECT_EQ(test, phyr_cursor_left(&cur), 0);
	EXPECT_QUIET(test);
	EXPECT_REPORT(test, "different direction",
		      dma_unmap_phyrs(dev, NULL, &state, out, 1,
				      DMA_FROM_DEVICE, 0));

	/* all of it is there, and is one link */
	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(dev, &state, vec[0].addr,
						   PAGES * PAGE_SIZE));
	next = vec;
	phyr_cursor_init_refill(&cur, refill, &next, size, 0);
	KUNIT_ASSERT_EQ(test, 0, dma_iova_link_phyrs(dev, &state, 0, &cur,
						     DMA_TO_DEVICE, 0));
	EXPECT_REPORT(test, "linked already",
		      KUNIT_EXPECT_NE(test, 0, dma_iova_link(dev, &state, pool,
				      PAGES / 16 * PAGE_SIZE - 0x100, PAGE_SIZE,
				      DMA_TO_DEVICE, 0)));
	phyr_cursor_init(&cur, vec + 1, 1, vec[1].len, 0);
	EXPECT_REPORT(test, "outside of its IOVA space",
		      KUNIT_EXPECT_NE(test, 0, dma_iova_link_phyrs(dev, &state,
				      (PAGES - 2) * PAGE_SIZE, &cur,
				      DMA_TO_DEVICE, 0)));
	EXPECT_REPORT(test, "different size linked",
		      dma_iova_destroy(dev, &state, 2 * PAGE_SIZE - 0x100,
				       DMA_TO_DEVICE, 0));
	iommu_unmap(iommu_get_domain_for_dev(dev),
		    ALIGN(state.addr, PAGE_SIZE) + PAGE_SIZE, 4 * PAGE_SIZE);

	/* what fails leaves nothing that is said to be linked */
	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(dev, &state, 0,
						   PAGES * PAGE_SIZE));
	phyr_cursor_init(&cur, vec, 3, size, 0);
	KUNIT_ASSERT_EQ(test, -EINVAL,
			dma_iova_link_phyrs(dev, &state, 0, &cur,
					    DMA_TO_DEVICE, 0));
	dma_iova_free(dev, &state);
	EXPECT_QUIET(test);

	bad.addr = is_vmalloc_addr(on_stack) ?
		   page_to_phys(vmalloc_to_page(on_stack)) :
		   ALIGN_DOWN(virt_to_phys(on_stack), PAGE_SIZE);
	bad.len = PAGE_SIZE;
	need(test, &state);
	phyr_cursor_init(&cur, &bad, 1, bad.len, 0);
	EXPECT_REPORT(test, "maps memory from stack",
		      KUNIT_EXPECT_EQ(test, 0,
				      dma_iova_link_phyrs(dev, &state, 0, &cur,
							  DMA_TO_DEVICE, 0)));
	dma_iova_destroy(dev, &state, PAGE_SIZE, DMA_TO_DEVICE, 0);
	EXPECT_QUIET(test);
}
#endif

/* Warnings do not get to the console, and lockdep's do not taint */
static void locks(struct kunit *test)
{
#ifdef CONFIG_LOCKDEP
	KUNIT_EXPECT_EQ(test, debug_locks, 1);
#endif
	EXPECT_QUIET(test);
}

static struct kunit_case dma_debug_cases[] = {
	KUNIT_CASE(right_use),
	KUNIT_CASE(link_overlap),
	KUNIT_CASE(out_of_range),
	KUNIT_CASE(not_allocated),
	KUNIT_CASE(unlink_wrong),
	KUNIT_CASE(destroy_wrong),
	KUNIT_CASE(free_wrong),
	KUNIT_CASE(other_functions),
	KUNIT_CASE(bad_memory),
#ifdef HAVE_DMA_MAP_PHYRS
	KUNIT_CASE(phyrs),
#endif
	KUNIT_CASE(leak),
	KUNIT_CASE(wrong_function),
	KUNIT_CASE(locks),
	{ }
};

static struct kunit_suite dma_debug_suite = {
	.name = "dma_debug_device",
	.test_cases = dma_debug_cases,
};

kunit_test_suite(dma_debug_suite);

static int __init dma_debug_kunit_init(void)
{
	struct page *pages = alloc_pages(GFP_KERNEL, POOL_ORDER + 1);
	int ret;

	if (!pages)
		return -ENOMEM;
	pool = page_to_phys(pages);
	ret = register_trace_console(console, NULL);
	if (!ret)
		ret = pci_register_driver(&edu_driver);
	return ret;
}
module_init(dma_debug_kunit_init);

static void __exit dma_debug_kunit_exit(void)
{
	pci_unregister_driver(&edu_driver);
	unregister_trace_console(console, NULL);
	tracepoint_synchronize_unregister();
	__free_pages(phys_to_page(pool), POOL_ORDER + 1);
}
module_exit(dma_debug_kunit_exit);

MODULE_DESCRIPTION("KUnit tests of DMA-debug and IOVA space on QEMU's edu device");
MODULE_LICENSE("GPL");
