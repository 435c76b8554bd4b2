// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of the two-step DMA API and of dma_buf_phys_vec_to_sgt() that
 * need a real device: QEMU's edu, behind whichever IOMMU the machine has.
 * The second BAR of ivshmem, which has no struct page, is the peer-to-peer
 * memory.
 *
 * Failures of the IOMMU are made by replacing the operations of the domain of
 * edu with wrappers that count, and fail when told to.  No other device may
 * share the domain.
 *
 * Out of tree on purpose: the same source is built against the kernel with and
 * without the fixes that it is there for.
 */
#include <kunit/test.h>
#include <linux/delay.h>
#include <linux/dma-buf.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/generic_pt/iommu.h>
#include <linux/iommu.h>
#include <linux/kstrtox.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include <linux/vmalloc.h>
#include <net/tso.h>
#include "edu.h"

#if __has_include(<linux/dma-buf-mapping.h>)
#include <linux/dma-buf-mapping.h>
#define COPIED	0	/* the table that CONFIG_DMABUF_DEBUG makes */
#else
#include <linux/dma-buf-phyrs.h>
#define COPIED	1
#endif
#if __has_include(<linux/phyr.h>)
#include <linux/phyr.h>
typedef struct phyr test_range;
#define RANGE(a, l)	((test_range){ .addr = (a), .len = (l) })
#define range_addr(r)	((r)->addr)
#else
typedef struct phys_vec test_range;
#define RANGE(a, l)	((test_range){ .paddr = (a), .len = (l) })
#define range_addr(r)	((r)->paddr)
#endif

/* The wrappers around the operations of the domain */

static struct spy {
	struct iommu_domain *domain;
	struct pt_iommu *pt;
	const struct iommu_domain_ops *real;
	const struct pt_iommu_ops *real_pt;
	struct iommu_domain_ops ops;
	struct pt_iommu_ops pt_ops;

	int fail_map;		/* let this many calls succeed; -1: all */
	int fail_sync_map;
	u64 mapped, unmapped;	/* bytes */
	unsigned int maps, bad_unmaps;
	atomic_t syncs, flushes;
} spy;

static bool spy_fails(int *left)
{
	if (*left < 0)
		return false;
	if (!*left)
		return true;
	--*left;
	return false;
}

/* A map that fails at once is followed by an unmap of length 0. */
static void spy_unmapped(u64 iova, u64 want, u64 got)
{
	if (!iova || got != want)
		spy.bad_unmaps++;
	spy.unmapped += got;
}

#ifdef HAVE_MAP_PHYRS
#define spy_map		map_phyrs

/* Fails at one of the ranges, after those before it have been mapped */
static int spy_map_range(struct pt_iommu *pt, dma_addr_t iova, dma_addr_t len,
			 const struct phyr *phyrs, size_t nr, unsigned int prot,
			 gfp_t gfp, size_t *mapped)
{
	size_t i, bytes = 0, before = *mapped;
	int ret = 0;

	for (i = 0; i < nr; i++) {
		spy.maps++;
		if (spy_fails(&spy.fail_map))
			break;
		bytes += phyrs[i].len;
	}
	if (i)
		ret = spy.real_pt->map_phyrs(pt, iova, bytes, phyrs, i, prot,
					     gfp, mapped);
	spy.mapped += *mapped - before;
	return !ret && i < nr ? -ENOMEM : ret;
}
#else
#define spy_map		map_range

static int spy_map_range(struct pt_iommu *pt, dma_addr_t iova,
			 phys_addr_t paddr, dma_addr_t len, unsigned int prot,
			 gfp_t gfp, size_t *mapped)
{
	size_t before = *mapped;
	int ret;

	spy.maps++;
	if (spy_fails(&spy.fail_map))
		return -ENOMEM;
	ret = spy.real_pt->map_range(pt, iova, paddr, len, prot, gfp, mapped);
	spy.mapped += *mapped - before;
	return ret;
}
#endif

static size_t spy_unmap_range(struct pt_iommu *pt, dma_addr_t iova,
			      dma_addr_t len,
			      struct iommu_iotlb_gather *gather)
{
	size_t got = spy.real_pt->unmap_range(pt, iova, len, gather);

	spy_unmapped(iova, len, got);
	return got;
}

static int spy_map_pages(struct iommu_domain *domain, unsigned long iova,
			 phys_addr_t paddr, size_t pgsize, size_t pgcount,
			 int prot, gfp_t gfp, size_t *mapped)
{
	size_t before = *mapped;
	int ret;

	spy.maps++;
	if (spy_fails(&spy.fail_map))
		return -ENOMEM;
	ret = spy.real->map_pages(domain, iova, paddr, pgsize, pgcount, prot,
				  gfp, mapped);
	spy.mapped += *mapped - before;
	return ret;
}

static size_t spy_unmap_pages(struct iommu_domain *domain, unsigned long iova,
			      size_t pgsize, size_t pgcount,
			      struct iommu_iotlb_gather *gather)
{
	size_t got = spy.real->unmap_pages(domain, iova, pgsize, pgcount,
					   gather);

	spy_unmapped(iova, pgsize * pgcount, got);
	return got;
}

static int spy_sync_map(struct iommu_domain *domain, unsigned long iova,
			size_t size)
{
	if (spy_fails(&spy.fail_sync_map))
		return -EIO;
	if (!spy.real->iotlb_sync_map)
		return 0;
	return spy.real->iotlb_sync_map(domain, iova, size);
}

static void spy_sync(struct iommu_domain *domain,
		     struct iommu_iotlb_gather *gather)
{
	atomic_inc(&spy.syncs);
	if (spy.real->iotlb_sync)
		spy.real->iotlb_sync(domain, gather);
}

static void spy_flush_all(struct iommu_domain *domain)
{
	atomic_inc(&spy.flushes);
	if (spy.real->flush_iotlb_all)
		spy.real->flush_iotlb_all(domain);
}

static void spy_remove(void *unused)
{
	spy.domain->ops = spy.real;
	if (spy.pt)
		spy.pt->ops = spy.real_pt;
	/* the flush queue's timer may be in the middle of a wrapper */
	msleep(50);
}

static void reset_mask(void *unused)
{
	dma_set_mask(&edu->dev, DMA_BIT_MASK(64));
}

static void spy_reset(void)
{
	spy.fail_map = -1;
	spy.fail_sync_map = -1;
	spy.mapped = 0;
	spy.unmapped = 0;
	spy.maps = 0;
	spy.bad_unmaps = 0;
	atomic_set(&spy.syncs, 0);
	atomic_set(&spy.flushes, 0);
}

/* Skip without edu, or, if @iommu, without a translating IOMMU before it. */
static void need(struct kunit *test, bool iommu)
{
	struct iommu_domain *domain;

	if (!edu)
		kunit_skip(test, "no edu device");
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, reset_mask, NULL));
	if (!iommu)
		return;
	domain = iommu_get_domain_for_dev(&edu->dev);
	if (!domain || !iommu_is_dma_domain(domain))
		kunit_skip(test, "edu is not behind a translating IOMMU");

	memset(&spy, 0, sizeof(spy));
	spy_reset();
	spy.domain = domain;
	spy.real = domain->ops;
	spy.ops = *domain->ops;
	if (spy.ops.map_pages) {
		spy.ops.map_pages = spy_map_pages;
		spy.ops.unmap_pages = spy_unmap_pages;
	}
	spy.ops.iotlb_sync_map = spy_sync_map;
	spy.ops.iotlb_sync = spy_sync;
	if (spy.ops.flush_iotlb_all)
		spy.ops.flush_iotlb_all = spy_flush_all;
	spy.pt = iommupt_from_domain(domain);
	if (spy.pt) {
		spy.real_pt = spy.pt->ops;
		spy.pt_ops = *spy.pt->ops;
		spy.pt_ops.spy_map = spy_map_range;
		spy.pt_ops.unmap_range = spy_unmap_range;
		spy.pt->ops = &spy.pt_ops;
	}
	domain->ops = &spy.ops;
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, spy_remove, NULL));
}

static bool lazy(void)
{
	return spy.domain->type == IOMMU_DOMAIN_DMA_FQ;
}

/*
 * Files are opened by whoever loads the module: the root directory of a kernel
 * thread, as the tests are, is empty.
 */
static struct file *warn_count;

static bool failslab;
module_param(failslab, bool, 0444);
MODULE_PARM_DESC(failslab, "failslab lets allocations that may sleep fail, too");

/* Number of warnings since boot, or -1 */
static int warnings(void)
{
	char text[16] = "";
	loff_t pos = 0;
	int count = -1;

	if (!warn_count ||
	    kernel_read(warn_count, text, sizeof(text) - 1, &pos) <= 0 ||
	    kstrtoint(strim(text), 10, &count))
		return -1;
	return count;
}

/*
 * What 24 bits reach: 16 MiB, less the first page.  IOVAs are aligned to their
 * size rounded up to a power of two, so anything above 8 MiB does not fit.
 */
#define SMALL_MASK	DMA_BIT_MASK(24)
#define SMALL_SPACE	SZ_16M

/* IOVAs that wait in the flush queue come back within 10 ms. */
static bool try_alloc(struct dma_iova_state *state, phys_addr_t phys,
		      size_t size)
{
	int i;

	for (i = 0; i < 20; i++) {
		if (dma_iova_try_alloc(&edu->dev, state, phys, size))
			return true;
		msleep(20);
	}
	return false;
}

/* Can all of the small space but the megabyte of the first page be had? */
static void expect_no_iova_lost(struct kunit *test)
{
	struct dma_iova_state state[15];
	int i, n;

	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, SMALL_MASK));
	for (n = 0; n < ARRAY_SIZE(state); n++)
		if (!try_alloc(&state[n], 0, SZ_1M))
			break;
	KUNIT_EXPECT_EQ_MSG(test, n, ARRAY_SIZE(state),
			    "only %d of %zu MiB of IOVA space are left", n,
			    ARRAY_SIZE(state));
	for (i = 0; i < n; i++)
		dma_iova_free(&edu->dev, &state[i]);
}

static phys_addr_t get_pages(struct kunit *test, unsigned int order)
{
	unsigned long virt = (unsigned long)kunit_kmalloc(test,
						PAGE_SIZE << order, GFP_KERNEL);

	KUNIT_ASSERT_NE(test, virt, 0);
	KUNIT_ASSERT_TRUE(test, PAGE_ALIGNED(virt));
	return virt_to_phys((void *)virt);
}

/* dma_iova_*() */

/* Link one range and say what is wrong with the outcome, or NULL. */
static const char *link_one(phys_addr_t iova_phys, size_t offset,
			    phys_addr_t phys, size_t size)
{
	size_t granule = 1UL << __ffs(spy.domain->pgsize_bitmap);
	size_t pad = phys & (granule - 1);
	struct dma_iova_state state;
	const char *wrong = NULL;
	bool fits;
	int ret;

	if (!try_alloc(&state, iova_phys, SZ_16K))
		return "IOVA space is used up";
	fits = ((state.addr + offset) & (granule - 1)) == pad &&
	       !(pad && offset);
	spy_reset();
	ret = dma_iova_link(&edu->dev, &state, phys, offset, size,
			    DMA_TO_DEVICE, 0);
	if (fits && ret)
		wrong = "refused";
	else if (!fits && !ret)
		wrong = "linked";
	else if (!fits && spy.maps)
		wrong = "taken to the page table";
	else if (!fits && ret != -EINVAL)
		wrong = "refused, but not with -EINVAL";
	if (!ret) {
		if (dma_iova_sync(&edu->dev, &state, offset, size))
			wrong = "not synced";
		if (iommu_iova_to_phys(spy.domain, state.addr + offset) != phys)
			wrong = "linked to another address";
		dma_iova_unlink(&edu->dev, &state, offset, size, DMA_TO_DEVICE,
				0);
	}
	dma_iova_free(&edu->dev, &state);
	if (spy.mapped != spy.unmapped || spy.bad_unmaps)
		wrong = "not unmapped";
	return wrong;
}

/* Every start of a range against every place in the IOVA space */
static void iova_link_congruence(struct kunit *test)
{
	static const size_t offsets[] = {
		0, 1, 0x200, 0xfff, 0x1000, 0x1001, 0x1200, 0x1fff, 0x2000,
	};
	static const size_t pads[] = { 0, 1, 0x200, 0x800, 0xfff };
	int a, o, p, before, wrong = 0;
	phys_addr_t base;

	need(test, true);
	base = get_pages(test, 3);
	before = warnings();

	for (a = 0; a < ARRAY_SIZE(pads); a++) {
		for (o = 0; o < ARRAY_SIZE(offsets); o++) {
			for (p = 0; p < ARRAY_SIZE(pads); p++) {
				const char *what;

				what = link_one(base + pads[a], offsets[o],
						base + 0x3000 + pads[p], 0x400);
				if (what && wrong++ < 5)
					kunit_info(test, "IOVA at %#zx, offset %#zx, phys at %#zx: %s\n",
						   pads[a], offsets[o],
						   pads[p], what);
			}
		}
	}
	KUNIT_EXPECT_EQ(test, wrong, 0);
	KUNIT_EXPECT_EQ_MSG(test, warnings(), before,
			    "a range that does not fit warned");
}

/* A refused range must leave the others and the state usable. */
static void iova_link_after_refusal(struct kunit *test)
{
	struct dma_iova_state state;
	phys_addr_t base;

	need(test, true);
	base = get_pages(test, 2);
	KUNIT_ASSERT_TRUE(test, try_alloc(&state, base, SZ_8K));
	KUNIT_EXPECT_EQ(test, 0, dma_iova_link(&edu->dev, &state, base, 0,
					       SZ_4K, DMA_BIDIRECTIONAL, 0));
	KUNIT_EXPECT_NE(test, 0, dma_iova_link(&edu->dev, &state,
					       base + SZ_4K + 64, SZ_4K,
					       SZ_4K, DMA_BIDIRECTIONAL, 0));
	KUNIT_EXPECT_NE(test, 0, dma_iova_link(&edu->dev, &state, base + SZ_8K,
					       SZ_4K + SZ_2K, SZ_2K,
					       DMA_BIDIRECTIONAL, 0));
	KUNIT_EXPECT_EQ(test, 0, dma_iova_link(&edu->dev, &state, base + SZ_8K,
					       SZ_4K, SZ_4K,
					       DMA_BIDIRECTIONAL, 0));
	KUNIT_EXPECT_EQ(test, 0, dma_iova_sync(&edu->dev, &state, 0, SZ_8K));
	KUNIT_EXPECT_EQ(test, base + 123,
			iommu_iova_to_phys(spy.domain, state.addr + 123));
	KUNIT_EXPECT_EQ(test, base + SZ_8K + 123,
			iommu_iova_to_phys(spy.domain,
					   state.addr + SZ_4K + 123));
	dma_iova_destroy(&edu->dev, &state, SZ_8K, DMA_BIDIRECTIONAL, 0);
	KUNIT_EXPECT_EQ(test, spy.mapped, SZ_8K);
	KUNIT_EXPECT_EQ(test, spy.unmapped, SZ_8K);
}

static void link_and_destroy(struct kunit *test, phys_addr_t base,
			     size_t alloc, size_t linked)
{
	struct dma_iova_state state;

	KUNIT_ASSERT_TRUE_MSG(test, try_alloc(&state, base, alloc),
			      "IOVA space is used up");
	if (linked) {
		KUNIT_ASSERT_EQ(test, 0,
				dma_iova_link(&edu->dev, &state, base, 0,
					      linked, DMA_BIDIRECTIONAL, 0));
		KUNIT_ASSERT_EQ(test, 0, dma_iova_sync(&edu->dev, &state, 0,
						       linked));
	}
	dma_iova_destroy(&edu->dev, &state, linked, DMA_BIDIRECTIONAL, 0);
}

/* Lazy mode: no flush of its own for any of 64 */
static void iova_destroy_defers(struct kunit *test)
{
	phys_addr_t base;
	int i;

	need(test, true);
	if (!lazy())
		kunit_skip(test, "the domain is strict: boot with iommu.strict=0");
	base = get_pages(test, 1);
	for (i = 0; i < 64; i++)
		link_and_destroy(test, base, SZ_8K, SZ_8K);
	KUNIT_EXPECT_EQ_MSG(test, atomic_read(&spy.syncs), 0,
			    "64 x dma_iova_destroy() flushed %d times itself",
			    atomic_read(&spy.syncs));
	msleep(100);
	KUNIT_EXPECT_GE_MSG(test, atomic_read(&spy.flushes), 1,
			    "the queue was never flushed");
	KUNIT_EXPECT_LE(test, atomic_read(&spy.flushes), 64);
	KUNIT_EXPECT_EQ(test, spy.mapped, 64 * SZ_8K);
	KUNIT_EXPECT_EQ(test, spy.unmapped, 64 * SZ_8K);
}

/* More than the queue holds (256) before the timer can have come */
static void iova_destroy_full_queue(struct kunit *test)
{
	phys_addr_t base;
	int i;

	need(test, true);
	if (!lazy())
		kunit_skip(test, "the domain is strict: boot with iommu.strict=0");
	base = get_pages(test, 1);
	for (i = 0; i < 1024; i++)
		link_and_destroy(test, base, SZ_8K, SZ_4K);
	KUNIT_EXPECT_EQ(test, atomic_read(&spy.syncs), 0);
	KUNIT_EXPECT_GE(test, atomic_read(&spy.flushes), 3);
	expect_no_iova_lost(test);
}

/* Strict mode: each has flushed by the time it returns. */
static void iova_destroy_strict(struct kunit *test)
{
	phys_addr_t base;
	int i;

	need(test, true);
	if (lazy())
		kunit_skip(test, "the domain is lazy: boot with iommu.strict=1");
	base = get_pages(test, 1);
	for (i = 0; i < 64; i++)
		link_and_destroy(test, base, SZ_8K, SZ_8K);
	KUNIT_EXPECT_GE(test, atomic_read(&spy.syncs), 64);
}

/* Unlinking has to flush at once in both: the IOVA may be linked again. */
static void iova_unlink_flushes(struct kunit *test)
{
	struct dma_iova_state state;
	phys_addr_t base;
	int i;

	need(test, true);
	base = get_pages(test, 1);
	KUNIT_ASSERT_TRUE(test, try_alloc(&state, base, SZ_4K));
	for (i = 0; i < 8; i++) {
		KUNIT_EXPECT_EQ(test, 0,
				dma_iova_link(&edu->dev, &state,
					      base + i % 2 * SZ_4K, 0, SZ_4K,
					      DMA_BIDIRECTIONAL, 0));
		KUNIT_EXPECT_EQ(test, 0, dma_iova_sync(&edu->dev, &state, 0,
						       SZ_4K));
		dma_iova_unlink(&edu->dev, &state, 0, SZ_4K,
				DMA_BIDIRECTIONAL, 0);
		KUNIT_EXPECT_EQ(test, i + 1, atomic_read(&spy.syncs));
	}
	dma_iova_free(&edu->dev, &state);
	KUNIT_EXPECT_EQ(test, atomic_read(&spy.flushes), 0);
}

/* All of the IOVA space comes back, whatever part of it was linked. */
static void iova_destroy_frees_all(struct kunit *test)
{
	static const size_t linked[] = { 0, SZ_4K, SZ_8K, 0x1234 };
	phys_addr_t base;
	int i;

	need(test, true);
	base = get_pages(test, 1);
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, SMALL_MASK));
	for (i = 0; i < 100; i++)
		link_and_destroy(test, base, SZ_1M,
				 linked[i % ARRAY_SIZE(linked)]);
	/* a size for which IOVAs are cached */
	for (i = 0; i < 600; i++)
		link_and_destroy(test, base, SZ_64K,
				 linked[i % ARRAY_SIZE(linked)]);
	/* an IOVA that does not start at the start of a granule */
	for (i = 0; i < 100; i++)
		link_and_destroy(test, base + 0x200, SZ_1M - SZ_4K,
				 i % 2 ? 0x1000 : 0);
	KUNIT_EXPECT_EQ(test, spy.mapped, spy.unmapped);
	expect_no_iova_lost(test);
}

/* A user of the API that does not know how its ranges are laid out */
static void iova_tso_fragments(struct kunit *test)
{
#if IS_ENABLED(CONFIG_NET)
	static const struct { unsigned int offset, len; } frags[][3] = {
		{ { 0, 4096 }, { 0, 4096 }, { 0, 4096 } },
		{ { 0, 1000 }, { 0, 4096 }, { 0, 1448 } },
		{ { 100, 1448 }, { 200, 1448 }, { 300, 1448 } },
		{ { 0, 4096 }, { 64, 1448 }, { 0, 1448 } },
	};
	int i, j, before;

	need(test, true);
	before = warnings();
	for (i = 0; i < ARRAY_SIZE(frags); i++) {
		unsigned int total = 0, seen = 0;
		struct tso_dma_map *map;
		struct sk_buff *skb;

		map = kunit_kzalloc(test, sizeof(*map), GFP_KERNEL);
		skb = alloc_skb(256, GFP_KERNEL);
		KUNIT_ASSERT_TRUE(test, map && skb);
		skb_put_zero(skb, 64);
		for (j = 0; j < 3; j++) {
			struct page *page = alloc_page(GFP_KERNEL);

			KUNIT_ASSERT_NOT_NULL(test, page);
			skb_add_rx_frag(skb, j, page, frags[i][j].offset,
					frags[i][j].len, PAGE_SIZE);
			total += frags[i][j].len;
		}
		KUNIT_EXPECT_EQ(test, 0,
				tso_dma_map_init(map, &edu->dev, skb, 64));
		while (seen < total) {
			unsigned int chunk, mapping, frag = 0, at = seen;
			struct page *page;
			dma_addr_t addr;

			if (!tso_dma_map_next(map, &addr, &chunk, &mapping,
					      min(700, total - seen)))
				break;
			while (at >= frags[i][frag].len)
				at -= frags[i][frag++].len;
			page = skb_frag_page(&skb_shinfo(skb)->frags[frag]);
			KUNIT_EXPECT_EQ_MSG(test, page_to_phys(page) +
						frags[i][frag].offset + at,
					    iommu_iova_to_phys(spy.domain,
							       addr),
					    "packet %d, byte %u", i, seen);
			seen += chunk;
		}
		KUNIT_EXPECT_EQ(test, seen, total);
		tso_dma_map_cleanup(map);
		kfree_skb(skb);
		KUNIT_EXPECT_EQ(test, spy.mapped, spy.unmapped);
		KUNIT_EXPECT_EQ(test, spy.bad_unmaps, 0);
	}
	KUNIT_EXPECT_EQ_MSG(test, warnings(), before, "a fragment warned");
	expect_no_iova_lost(test);
#else
	kunit_skip(test, "no CONFIG_NET");
#endif
}

static struct kunit_case dma_iova_cases[] = {
	/* first: the warning that it is there for comes once */
	KUNIT_CASE(iova_tso_fragments),
	KUNIT_CASE(iova_link_congruence),
	KUNIT_CASE(iova_link_after_refusal),
	KUNIT_CASE(iova_destroy_defers),
	KUNIT_CASE(iova_destroy_full_queue),
	KUNIT_CASE(iova_destroy_strict),
	KUNIT_CASE(iova_unlink_flushes),
	KUNIT_CASE(iova_destroy_frees_all),
	{ }
};

static struct kunit_suite dma_iova_suite = {
	.name = "dma_iova_device",
	.test_cases = dma_iova_cases,
};

/* dma_buf_phys_vec_to_sgt() */

static struct dma_resv resv;
static struct dma_buf buf;
static struct dma_buf_attachment attach;
static phys_addr_t bar;
static size_t bar_size;

static void buf_release(void *unused)
{
	dma_resv_fini(&resv);
}

#if __has_include(<linux/dma-buf-mapping.h>)
static struct sg_table *map_locked(struct p2pdma_provider *provider,
				   test_range *r, size_t nr, size_t size)
{
	return dma_buf_phys_vec_to_sgt(&attach, provider, r, nr, size,
				       DMA_BIDIRECTIONAL);
}

static void unmap_locked(struct sg_table *sgt)
{
	dma_buf_free_sgt(&attach, sgt, DMA_BIDIRECTIONAL);
}
#else
/* What has taken the place of dma_buf_phys_vec_to_sgt(): the core */
static struct dma_buf_phyr_seg seg;
static struct phyr *phyrs;

static int buf_get_phyrs(struct dma_buf_attachment *attach,
			 struct dma_buf_phyrs *list)
{
	list->phyrs = phyrs;
	list->nr_phyrs = seg.nr_phyrs;
	list->segs = &seg;
	list->nr_segs = 1;
	return 0;
}

static void buf_put_phyrs(struct dma_buf_attachment *attach,
			  struct dma_buf_phyrs *list)
{
}

static const struct dma_buf_ops buf_ops = {
	.get_phyrs = buf_get_phyrs,
	.put_phyrs = buf_put_phyrs,
};

static const struct dma_buf_attach_ops attach_ops;

static struct sg_table *map_locked(struct p2pdma_provider *provider,
				   test_range *r, size_t nr, size_t size)
{
	struct sg_table *sgt;

	buf.ops = &buf_ops;
	buf.size = size;
	INIT_LIST_HEAD(&buf.mappings);
	attach.peer2peer = true;
	attach.importer_ops = &attach_ops;
	phyrs = r;
	seg.provider = provider;
	seg.attrs = DMA_ATTR_MMIO;
	seg.nr_phyrs = nr;
	sgt = dma_buf_map_attachment(&attach, DMA_BIDIRECTIONAL);
	return sgt == ERR_PTR(-EREMOTEIO) ? ERR_PTR(-EINVAL) : sgt;
}

static void unmap_locked(struct sg_table *sgt)
{
	dma_buf_unmap_attachment(&attach, sgt, DMA_BIDIRECTIONAL);
}
#endif

static struct sg_table *map_as(struct p2pdma_provider *provider,
			       test_range *r, size_t nr)
{
	struct sg_table *sgt;
	size_t size = 0, i;

	for (i = 0; i < nr; i++)
		size += r[i].len;
	dma_resv_lock(&resv, NULL);
	sgt = map_locked(provider, r, nr, size);
	dma_resv_unlock(&resv);
	return sgt;
}

static struct sg_table *map(test_range *r, size_t nr)
{
	return map_as(shm_provider, r, nr);
}

static void unmap(struct sg_table *sgt)
{
	dma_resv_lock(&resv, NULL);
	unmap_locked(sgt);
	dma_resv_unlock(&resv);
}

/* The function asks for no more of an attachment than its device and lock. */
static void need_buf(struct kunit *test, bool iommu)
{
	struct sg_table *sgt;
	test_range one;

	need(test, iommu);
	if (!shm_provider)
		kunit_skip(test, "no ivshmem device");
	dma_resv_init(&resv);
	buf.resv = &resv;
	attach.dmabuf = &buf;
	attach.dev = &edu->dev;
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, buf_release, NULL));
	bar = pci_resource_start(shm, 2);
	bar_size = pci_resource_len(shm, 2);
	KUNIT_ASSERT_GE(test, bar_size, (size_t)SZ_1M);

	one = RANGE(bar, PAGE_SIZE);
	sgt = map(&one, 1);
	if (sgt == ERR_PTR(-EINVAL))
		kunit_skip(test, "no P2PDMA through this host bridge: try -cpu EPYC");
	KUNIT_ASSERT_FALSE(test, IS_ERR(sgt));
	unmap(sgt);
	spy_reset();
}

static phys_addr_t to_phys(dma_addr_t addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&edu->dev);

	return domain && iommu_is_dma_domain(domain) ?
		iommu_iova_to_phys(domain, addr) : addr;
}

/* Walk the table and compare each page with the ranges. */
static void expect_ranges(struct kunit *test, struct sg_table *sgt,
			  test_range *r, size_t nr, s64 bus_offset)
{
	struct scatterlist *sg;
	size_t at = 0, off, n = 0;
	int i;

	/* The copy that importers get has to have entries to be freed by */
	if (!IS_ENABLED(CONFIG_DMABUF_DEBUG) || !COPIED)
		KUNIT_EXPECT_EQ(test, sgt->orig_nents, 0);
	for_each_sgtable_dma_sg(sgt, sg, i) {
		KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(sg_dma_address(sg)));
		KUNIT_EXPECT_TRUE(test, PAGE_ALIGNED(sg_dma_len(sg)));
		for (off = 0; off < sg_dma_len(sg); off += PAGE_SIZE) {
			phys_addr_t is;

			KUNIT_ASSERT_LT(test, n, nr);
			is = sg_dma_address(sg) + off;
			if (bus_offset == S64_MAX)
				is = to_phys(is);
			else
				is -= bus_offset;
			KUNIT_EXPECT_EQ_MSG(test, is, range_addr(&r[n]) + at,
					    "range %zu, byte %#zx", n, at);
			at += PAGE_SIZE;
			if (at == r[n].len) {
				n++;
				at = 0;
			}
		}
	}
	KUNIT_EXPECT_EQ(test, n, nr);
}

static void buf_ranges(struct kunit *test)
{
	static const struct { unsigned int nr, gap, len; bool back; } t[] = {
		{ 1, 0, 1, false }, { 1, 0, 16, false },
		{ 2, 0, 1, false }, { 2, 1, 1, false }, { 2, 1, 1, true },
		{ 3, 2, 5, false }, { 7, 1, 3, true }, { 64, 1, 2, false },
		{ 100, 0, 1, true },
	};
	test_range *r = kunit_kcalloc(test, 128, sizeof(*r), GFP_KERNEL);
	struct sg_table *sgt;
	int i, j;

	need_buf(test, false);
	KUNIT_ASSERT_NOT_NULL(test, r);
	for (i = 0; i < ARRAY_SIZE(t); i++) {
		for (j = 0; j < t[i].nr; j++) {
			int slot = t[i].back ? t[i].nr - 1 - j : j;

			r[j] = RANGE(bar + (phys_addr_t)slot *
					(t[i].len + t[i].gap) * PAGE_SIZE,
				     t[i].len * PAGE_SIZE);
		}
		sgt = map(r, t[i].nr);
		KUNIT_EXPECT_EQ_MSG(test, PTR_ERR_OR_ZERO(sgt), 0,
				    "%u ranges of %u pages", t[i].nr,
				    t[i].len);
		if (IS_ERR(sgt))
			continue;
		expect_ranges(test, sgt, r, t[i].nr, S64_MAX);
		unmap(sgt);
	}
}

/* The same memory more than once, and ranges of unlike sizes */
static void buf_ranges_unlike(struct kunit *test)
{
	struct sg_table *sgt;
	test_range r[5];

	need_buf(test, false);
	r[0] = RANGE(bar + SZ_64K, PAGE_SIZE);
	r[1] = RANGE(bar, SZ_64K);
	r[2] = RANGE(bar + SZ_64K, PAGE_SIZE);
	r[3] = RANGE(bar + SZ_256K + PAGE_SIZE, 3 * PAGE_SIZE);
	r[4] = RANGE(bar, SZ_64K);
	sgt = map(r, ARRAY_SIZE(r));
	KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(sgt), 0);
	expect_ranges(test, sgt, r, ARRAY_SIZE(r), S64_MAX);
	unmap(sgt);
}

/* Behind an IOMMU all ranges are one. */
static void buf_ranges_coalesce(struct kunit *test)
{
	struct sg_table *sgt;
	test_range r[3];

	need_buf(test, true);
	r[0] = RANGE(bar + SZ_64K, PAGE_SIZE);
	r[1] = RANGE(bar, PAGE_SIZE);
	r[2] = RANGE(bar + SZ_128K, PAGE_SIZE);
	sgt = map(r, ARRAY_SIZE(r));
	KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(sgt), 0);
	KUNIT_EXPECT_EQ(test, sgt->nents, 1);
	unmap(sgt);
	KUNIT_EXPECT_EQ(test, spy.mapped, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, spy.unmapped, 3 * PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, spy.bad_unmaps, 0);
}

/* Below one switch the bus address goes into the table, unmapped. */
static void buf_ranges_bus(struct kunit *test)
{
	struct p2pdma_provider *own;
	struct sg_table *sgt;
	test_range r[2];

	need_buf(test, false);
	own = pcim_p2pdma_provider(edu, 0);
	if (!own)
		kunit_skip(test, "edu is no P2PDMA provider");
	r[0] = RANGE(pci_resource_start(edu, 0) + PAGE_SIZE, PAGE_SIZE);
	r[1] = RANGE(pci_resource_start(edu, 0), PAGE_SIZE);
	sgt = map_as(own, r, ARRAY_SIZE(r));
	if (IS_ERR(sgt))
		kunit_skip(test, "edu cannot be its own peer: %pe", sgt);
	KUNIT_EXPECT_EQ(test, sgt->nents, 2);
	expect_ranges(test, sgt, r, ARRAY_SIZE(r), own->bus_offset);
	unmap(sgt);
}

/* Link fails at each of the ranges in turn. */
static void buf_link_fails(struct kunit *test)
{
	struct sg_table *sgt;
	test_range r[4];
	int i, k;

	need_buf(test, true);
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, SMALL_MASK));
	for (i = 0; i < ARRAY_SIZE(r); i++)
		r[i] = RANGE(bar + 2 * i * SZ_128K, SZ_128K);
	for (k = 0; k < ARRAY_SIZE(r); k++) {
		for (i = 0; i < 50; i++) {
			spy_reset();
			spy.fail_map = k;
			sgt = map(r, ARRAY_SIZE(r));
			KUNIT_ASSERT_TRUE(test, IS_ERR(sgt));
			KUNIT_ASSERT_EQ_MSG(test, PTR_ERR(sgt), -ENOMEM,
					    "range %d, turn %d", k, i);
			KUNIT_ASSERT_EQ_MSG(test, spy.maps, k + 1,
					    "range %d, turn %d", k, i);
			KUNIT_ASSERT_EQ_MSG(test, spy.mapped, k * SZ_128K,
					    "range %d, turn %d", k, i);
			KUNIT_ASSERT_EQ(test, spy.mapped, spy.unmapped);
			KUNIT_ASSERT_EQ(test, spy.bad_unmaps, 0);
			if (lazy())
				msleep(20);
		}
	}
	spy_reset();
	expect_no_iova_lost(test);
	sgt = map(r, ARRAY_SIZE(r));
	KUNIT_ASSERT_FALSE(test, IS_ERR(sgt));
	expect_ranges(test, sgt, r, ARRAY_SIZE(r), S64_MAX);
	unmap(sgt);
}

static void buf_first_link_fails(struct kunit *test)
{
	struct sg_table *sgt;
	test_range r;
	int i;

	need_buf(test, true);
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, SMALL_MASK));
	r = RANGE(bar, SZ_1M);
	for (i = 0; i < 100; i++) {
		spy.fail_map = 0;
		sgt = map(&r, 1);
		KUNIT_ASSERT_TRUE(test, IS_ERR(sgt));
	}
	spy_reset();
	expect_no_iova_lost(test);
}

static void buf_sync_fails(struct kunit *test)
{
	struct sg_table *sgt;
	test_range r[2];
	int i;

	need_buf(test, true);
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, SMALL_MASK));
	for (i = 0; i < 100; i++) {
		spy_reset();
		spy.fail_sync_map = 0;
		/* one range alone may get by without IOVA space of its own */
		if (i & 1) {
			r[0] = RANGE(bar, SZ_1M);
			sgt = map(r, 1);
			KUNIT_ASSERT_TRUE(test, IS_ERR(sgt));
		} else {
			r[0] = RANGE(bar, SZ_512K);
			r[1] = RANGE(bar + SZ_1M, SZ_512K);
			sgt = map(r, 2);
			KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(sgt), -EIO);
		}
		KUNIT_ASSERT_EQ(test, spy.mapped, SZ_1M);
		KUNIT_ASSERT_EQ(test, spy.unmapped, SZ_1M);
		if (lazy())
			msleep(20);
	}
	spy_reset();
	expect_no_iova_lost(test);
}

/*
 * No IOVA space for all of it: the ranges are mapped one by one, and only
 * those that were are unmapped when one of them fails.
 */
static void buf_unwinds_one_by_one(struct kunit *test)
{
	struct dma_iova_state state;
	struct sg_table *sgt;
	int i, k, before;
	test_range r[5];

	need_buf(test, true);
	if (bar_size < 9 * SZ_1M + 4 * PAGE_SIZE)
		kunit_skip(test, "the BAR of ivshmem is too small: size=16M");
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, SMALL_MASK));
	before = warnings();

	for (k = 0; k < ARRAY_SIZE(r); k++) {
		spy_reset();
		for (i = 0; i < ARRAY_SIZE(r); i++)
			r[i] = RANGE(bar + i * PAGE_SIZE, i == k ?
				     9 * SZ_1M : PAGE_SIZE);
		sgt = map(r, ARRAY_SIZE(r));
		KUNIT_ASSERT_TRUE(test, IS_ERR(sgt));
		KUNIT_EXPECT_EQ_MSG(test, spy.mapped, k * PAGE_SIZE,
				    "failed at %d", k);
		KUNIT_EXPECT_EQ_MSG(test, spy.unmapped, k * PAGE_SIZE,
				    "failed at %d", k);
		KUNIT_EXPECT_EQ_MSG(test, spy.bad_unmaps, 0,
				    "failed at %d: %u unmaps of what was not mapped",
				    k, spy.bad_unmaps);
	}

	/* and where mapping, not the IOVA space, is what fails */
	for (i = 0; i < ARRAY_SIZE(r); i++)
		r[i] = RANGE(bar + i * SZ_2M, SZ_2M);
	for (k = 0; k < ARRAY_SIZE(r); k++) {
		spy_reset();
		spy.fail_map = k;
		sgt = map(r, ARRAY_SIZE(r));
		KUNIT_ASSERT_TRUE(test, IS_ERR(sgt));
		KUNIT_EXPECT_EQ(test, spy.mapped, k * SZ_2M);
		KUNIT_EXPECT_EQ(test, spy.unmapped, k * SZ_2M);
		KUNIT_EXPECT_EQ(test, spy.bad_unmaps, 0);
		if (lazy())
			msleep(20);
	}
	spy_reset();

	/*
	 * An IOVA that was freed, but never allocated, shows when the caches
	 * are emptied, which is what a failing allocation does.
	 */
	msleep(50);
	KUNIT_EXPECT_FALSE(test, dma_iova_try_alloc(&edu->dev, &state, 0,
						    9 * SZ_1M));
	KUNIT_EXPECT_EQ_MSG(test, warnings(), before,
			    "an IOVA was freed that was not allocated");
	expect_no_iova_lost(test);
}

/* One by one, and well */
static void buf_maps_one_by_one(struct kunit *test)
{
	struct sg_table *sgt;
	test_range r[5];
	int i, turn;

	need_buf(test, true);
	if (bar_size < 10 * SZ_1M)
		kunit_skip(test, "the BAR of ivshmem is too small: size=16M");
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, SMALL_MASK));
	for (i = 0; i < ARRAY_SIZE(r); i++)
		r[i] = RANGE(bar + (4 - i) * SZ_2M, SZ_2M);
	for (turn = 0; turn < 8; turn++) {
		spy_reset();
		sgt = map(r, ARRAY_SIZE(r));
		KUNIT_ASSERT_EQ(test, PTR_ERR_OR_ZERO(sgt), 0);
		KUNIT_EXPECT_EQ(test, sgt->nents, ARRAY_SIZE(r));
		expect_ranges(test, sgt, r, ARRAY_SIZE(r), S64_MAX);
		unmap(sgt);
		KUNIT_EXPECT_EQ(test, spy.mapped, 5 * SZ_2M);
		KUNIT_EXPECT_EQ(test, spy.unmapped, 5 * SZ_2M);
		if (lazy())
			msleep(20);
	}
	expect_no_iova_lost(test);
}

/* 100 tables of 2176 entries are 6.6 MiB. */
#define LEAK_RANGES	2176
#define LEAK_TURNS	100

/*
 * What the CPUs keep free for themselves does not count as free, and may be
 * many MiB after boot: a leak would go unnoticed until it has used that up.
 */
static long free_kib(void)
{
	struct zone *zone = NODE_DATA(0)->node_zones;
	unsigned long pages = 0;
	int i, cpu;

	for (i = 0; i < MAX_NR_ZONES; i++) {
		if (!populated_zone(&zone[i]))
			continue;
		pages += zone_page_state(&zone[i], NR_FREE_PAGES);
		for_each_online_cpu(cpu)
			pages += per_cpu_ptr(zone[i].per_cpu_pageset, cpu)->count;
	}
	return pages * (PAGE_SIZE / 1024);
}

static void buf_frees_table(struct kunit *test)
{
	struct iommu_domain *domain;
	struct sg_table *sgt;
	test_range *r;
	long before, lost;
	int i;

	if (IS_ENABLED(CONFIG_KASAN))
		kunit_skip(test, "KASAN holds back what is freed");
	need_buf(test, false);
	r = kunit_kcalloc(test, LEAK_RANGES, sizeof(*r), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, r);
	for (i = 0; i < LEAK_RANGES; i++)
		r[i] = RANGE(bar + i * PAGE_SIZE, PAGE_SIZE);
	/* Behind an IOMMU, make IOVA space short to have as many entries. */
	domain = iommu_get_domain_for_dev(&edu->dev);
	if (domain && iommu_is_dma_domain(domain))
		KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, SMALL_MASK));

	for (i = -2; i < LEAK_TURNS; i++) {
		if (!i)
			before = free_kib();
		sgt = map(r, LEAK_RANGES);
		/* the flush queue may hold all IOVAs */
		if (IS_ERR(sgt) && domain &&
		    domain->type == IOMMU_DOMAIN_DMA_FQ) {
			msleep(30);
			sgt = map(r, LEAK_RANGES);
		}
		KUNIT_ASSERT_EQ_MSG(test, PTR_ERR_OR_ZERO(sgt), 0, "turn %d",
				    i);
		KUNIT_ASSERT_EQ(test, sgt->nents, LEAK_RANGES);
		unmap(sgt);
	}
	lost = before - free_kib();
	KUNIT_EXPECT_LT_MSG(test, lost, 3000,
			    "%ld KiB lost in %d mappings of %d ranges", lost,
			    LEAK_TURNS, LEAK_RANGES);
}

#if IS_ENABLED(CONFIG_FAILSLAB)
/* Each allocation on the way fails in turn, until none is left to fail. */
static void buf_alloc_fails(struct kunit *test)
{
	struct sg_table *sgt;
	test_range r[2];
	int n, turn;

	need_buf(test, true);
	if (!failslab)
		kunit_skip(test, "failslab spares allocations that may sleep");
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, SMALL_MASK));
	r[0] = RANGE(bar + SZ_1M, SZ_512K);
	r[1] = RANGE(bar, SZ_512K);
	for (n = 1; n < 100; n++) {
		for (turn = 0; turn < 16; turn++) {
			int left;

			spy_reset();
			current->fail_nth = n;
			sgt = map(r, ARRAY_SIZE(r));
			left = current->fail_nth;
			current->fail_nth = 0;
			if (IS_ERR(sgt)) {
				KUNIT_ASSERT_EQ(test, left, 0);
				KUNIT_ASSERT_EQ(test, PTR_ERR(sgt), -ENOMEM);
			} else {
				expect_ranges(test, sgt, r, ARRAY_SIZE(r),
					      S64_MAX);
				unmap(sgt);
			}
			KUNIT_ASSERT_EQ_MSG(test, spy.mapped, spy.unmapped,
					    "allocation %d", n);
			KUNIT_ASSERT_EQ_MSG(test, spy.bad_unmaps, 0,
					    "allocation %d", n);
			if (left)
				goto out;
			if (lazy())
				msleep(20);
		}
	}
out:
	kunit_info(test, "%d allocations failed, one at a time\n", n - 1);
	KUNIT_EXPECT_GT(test, n, 3);
	spy_reset();
	expect_no_iova_lost(test);
}
#else
static void buf_alloc_fails(struct kunit *test)
{
	kunit_skip(test, "no CONFIG_FAILSLAB");
}
#endif

static struct kunit_case dma_buf_cases[] = {
	KUNIT_CASE(buf_ranges),
	KUNIT_CASE(buf_ranges_unlike),
	KUNIT_CASE(buf_ranges_coalesce),
	KUNIT_CASE(buf_ranges_bus),
	KUNIT_CASE(buf_maps_one_by_one),
	KUNIT_CASE(buf_unwinds_one_by_one),
	KUNIT_CASE_SLOW(buf_frees_table),
	KUNIT_CASE_SLOW(buf_link_fails),
	KUNIT_CASE_SLOW(buf_sync_fails),
	KUNIT_CASE_SLOW(buf_alloc_fails),
	KUNIT_CASE(buf_first_link_fails),
	{ }
};

static struct kunit_suite dma_buf_suite = {
	.name = "dma_buf_mapping_device",
	.test_cases = dma_buf_cases,
};

kunit_test_suites(&dma_iova_suite, &dma_buf_suite);

static struct file *open_file(const char *name, int flags)
{
	struct file *file = filp_open(name, flags, 0);

	return IS_ERR(file) ? NULL : file;
}

static void close_files(void)
{
	if (warn_count)
		filp_close(warn_count, NULL);
}

/*
 * The suites run when the module has become live, that is after this.  The
 * devices stay bound for as long as the module is there.
 */
static int __init dma_kunit_init(void)
{
	int ret;

	warn_count = open_file("/sys/kernel/warn_count", O_RDONLY);
	ret = pci_register_driver(&edu_driver);
	if (ret)
		close_files();
	/* Its registers serve as memory of its own */
	else if (edu && pcim_p2pdma_init(edu))
		dev_info(&edu->dev, "no P2PDMA\n");
	return ret;
}
module_init(dma_kunit_init);

static void __exit dma_kunit_exit(void)
{
	pci_unregister_driver(&edu_driver);
	close_files();
}
module_exit(dma_kunit_exit);

MODULE_IMPORT_NS("DMA_BUF");
MODULE_DESCRIPTION("KUnit tests of DMA mapping on QEMU's edu device");
MODULE_LICENSE("GPL");
