// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of dma_map_sg() and dma_map_phyrs() on a real device: QEMU's edu,
 * behind whichever IOMMU the machine has.  That may be one of the IOMMU API with
 * dma-iommu, or the TCE tables of pseries, which have dma_map_ops of their own.
 *
 * Lists of ranges are random, but the same in every run.  All that mapping a
 * scatterlist results in goes into digests, in which addresses count relative
 * to where they start: they have to be the same on any kernel, and the base's
 * are on record.
 *
 * Out of tree on purpose: the same source is built against the base.
 */
#include <kunit/test.h>
#include <linux/blk-mq-dma.h>
#include <linux/dma-map-ops.h>
#include <linux/dma-mapping.h>
#include <linux/hash.h>
#include <linux/iommu.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/prandom.h>
#include <linux/scatterlist.h>
#include <linux/sizes.h>
#include "edu.h"

#define POOL_SIZE	((size_t)SZ_4M)
#define MAX_ENTRIES	160	/* more than a table without chaining has */

/* A debug kernel takes twenty times as long */
static unsigned int lists = IS_ENABLED(CONFIG_DMA_API_DEBUG) ? 1000 : 10000;
module_param(lists, uint, 0444);
MODULE_PARM_DESC(lists, "how many random lists each test maps");

static struct iommu_domain *domain;
static struct page *pool;
static phys_addr_t pool_phys;
static u8 *pool_virt;
/* As much in the BAR of another device, with struct pages, or NULL */
static void *peer_virt;
static phys_addr_t peer_phys;
static size_t granule;
/* Whether the device's addresses are other than the CPU's */
static bool translated;
/* Whether ranges that fit together become one */
static bool merges;

static void reset_device(void *unused)
{
	dma_set_mask(&edu->dev, DMA_BIT_MASK(64));
	dma_set_max_seg_size(&edu->dev, UINT_MAX);
	dma_set_seg_boundary(&edu->dev, DMA_BIT_MASK(32));
	dma_set_min_align_mask(&edu->dev, 0);
	edu->untrusted = false;
}

/* pseries: TCE tables, where the hypervisor keeps the entries */

#ifdef CONFIG_PPC64
#include <asm/iommu.h>
#include <asm/tce.h>

static struct iommu_table *tce;

static void find_tce_table(void)
{
	tce = get_dma_ops(&edu->dev) && !dev_dma_ops_bypass(&edu->dev) ?
		get_iommu_table_base(&edu->dev) : NULL;
}

static size_t tce_granule(void)
{
	return tce ? IOMMU_PAGE_SIZE(tce) : 0;
}

static u64 tce_entry(dma_addr_t addr)
{
	unsigned long nr = addr >> tce->it_page_shift;

	if (nr < tce->it_offset || nr - tce->it_offset >= tce->it_size)
		return 0;
	return tce->it_ops->get(tce, nr);
}

static phys_addr_t tce_to_phys(dma_addr_t addr)
{
	u64 entry = tce_entry(addr);

	if (!(entry & (TCE_PCI_READ | TCE_PCI_WRITE)))
		return 0;
	return (entry & IOMMU_PAGE_MASK(tce)) | (addr & ~IOMMU_PAGE_MASK(tce));
}

/* Allocated entries: to see that none is left behind */
static unsigned long tces_in_use(void)
{
	return tce ? bitmap_weight(tce->it_map, tce->it_size) : 0;
}
#else
static void find_tce_table(void) { }
static size_t tce_granule(void) { return 0; }
static phys_addr_t tce_to_phys(dma_addr_t addr) { return 0; }
static unsigned long __maybe_unused tces_in_use(void) { return 0; }
#endif

/* On the base, dma_map_phyrs() is not there to be tested with it. */
static phys_addr_t __maybe_unused translate(dma_addr_t addr)
{
	if (!translated)
		return addr;
	return domain ? iommu_iova_to_phys(domain, addr) : tce_to_phys(addr);
}

static void need(struct kunit *test, bool iommu)
{
	if (!edu || !pool)
		kunit_skip(test, "no edu device, or no memory");
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, reset_device, NULL));
	reset_device(NULL);
	domain = iommu_get_domain_for_dev(&edu->dev);
	if (domain && !iommu_is_dma_domain(domain))
		domain = NULL;
	find_tce_table();
	granule = domain ? 1UL << __ffs(domain->pgsize_bitmap) : tce_granule();
	translated = granule;
	if (!granule)
		granule = PAGE_SIZE;
	merges = dma_get_merge_boundary(&edu->dev);
	if (iommu && !domain)
		kunit_skip(test, "edu is not behind a translating IOMMU");
}

/* Random ranges in the pool */

struct piece {
	size_t start, len;
	bool peer;
};

static struct page *piece_page(const struct piece *p)
{
	return (p->peer ? virt_to_page(peer_virt) : pool) +
	       (p->start >> PAGE_SHIFT);
}

static phys_addr_t piece_phys(const struct piece *p)
{
	return (p->peer ? peer_phys : pool_phys) + p->start;
}

/* An address that does not depend on where memory was found */
static u64 relative(phys_addr_t phys)
{
	if (!phys)
		return BIT_ULL(62);
	/* Up to the end of the BAR, as padding may follow what is mapped */
	if (peer_virt && phys >= peer_phys && phys - peer_phys < SZ_16M)
		return (phys - peer_phys) | BIT_ULL(63);
	return phys - pool_phys;
}

static u32 below(struct rnd_state *rnd, u32 limit)
{
	return prandom_u32_state(rnd) % limit;
}

/*
 * @tidy: only the start of the first and the end of the last may be within a
 * granule.  A range may follow the one before it directly.
 */
static void random_ranges(struct rnd_state *rnd, struct piece *r, int nr,
			  bool tidy)
{
	int i;

	for (i = 0; i < nr; i++) {
		size_t len = SZ_4K * (1 + below(rnd, below(rnd, 8) ? 4 : 32));
		size_t start = ALIGN_DOWN(below(rnd, POOL_SIZE - len), SZ_4K);

		if (i && below(rnd, 3) == 0 &&
		    r[i - 1].start + r[i - 1].len + len <= POOL_SIZE)
			start = r[i - 1].start + r[i - 1].len;
		r[i] = (struct piece) { .start = start, .len = len };
		if ((i == 0 || !tidy) && below(rnd, 4) == 0) {
			size_t cut = 16 * (1 + below(rnd, 255));

			if (IS_ALIGNED(r[i].start, SZ_4K)) {
				r[i].start += cut;
				r[i].len -= cut;
			}
		}
		if ((i == nr - 1 || !tidy) && below(rnd, 4) == 0)
			r[i].len -= min(r[i].len - 16,
					(size_t)16 * (1 + below(rnd, 250)));
	}
}

static void hash(u64 *digest, u64 value)
{
	int i;

	for (i = 0; i < 8; i++, value >>= 8)
		*digest = (*digest ^ (value & 0xff)) * 0x100000001b3ULL;
}

/* dma_map_sg() */

static void sg_lists(struct kunit *test, bool peer)
{
	static const u64 boundaries[] = {
		SZ_8K - 1, SZ_64K - 1, SZ_1M - 1, DMA_BIT_MASK(32),
	};
	static const unsigned int sizes[] = { SZ_4K, SZ_64K, SZ_1M, UINT_MAX };
	struct piece *r = kunit_kcalloc(test, MAX_ENTRIES, sizeof(*r),
					GFP_KERNEL);
	const bool debug = IS_ENABLED(CONFIG_DMA_API_DEBUG);
	u64 digest = 0xcbf29ce484222325ULL;
	struct rnd_state rnd;
	unsigned int list;
	bool bus = false;
	int wrong = 0;

	need(test, true);
	if (peer && !peer_virt)
		kunit_skip(test, "no ivshmem device that edu reaches");
	KUNIT_ASSERT_NOT_NULL(test, r);
	prandom_seed_state(&rnd, 7300);

	for (list = 0; list < lists && !wrong; list++) {
		int nr = 1 + below(&rnd, below(&rnd, 10) ? 12 : MAX_ENTRIES);
		struct scatterlist *sg, *out;
		size_t at, total = 0, seen = 0;
		dma_addr_t first = 0, end = 0, a;
		struct sg_table sgt;
		int i, n, entry;

		/* DMA_API_DEBUG warns of entries that are too long themselves */
		dma_set_seg_boundary(&edu->dev,
				     boundaries[debug ? 3 : below(&rnd, 4)]);
		dma_set_max_seg_size(&edu->dev,
				     sizes[debug ? 3 : below(&rnd, 4)]);
		random_ranges(&rnd, r, nr, below(&rnd, 2));
		for (i = 0; peer && i < nr; i++)
			r[i].peer = below(&rnd, 2);
		KUNIT_ASSERT_EQ(test, 0, sg_alloc_table(&sgt, nr, GFP_KERNEL));
		for_each_sgtable_sg(&sgt, sg, i) {
			sg_set_page(sg, piece_page(&r[i]), r[i].len,
				    offset_in_page(r[i].start));
			total += r[i].len;
		}

		n = dma_map_sg(&edu->dev, sgt.sgl, nr, DMA_BIDIRECTIONAL);
		hash(&digest, n);
		KUNIT_ASSERT_GT(test, n, 0);

		/*
		 * Every byte, in order, through the page table, or where the
		 * peer is on the bus
		 */
		entry = 0;
		at = 0;
		for_each_sg(sgt.sgl, out, n, i) {
			size_t pos = 0;

			if (sg_dma_is_bus_address(out)) {
				hash(&digest, relative(sg_dma_address(out)));
				hash(&digest, sg_dma_len(out));
				if (sg_dma_address(out) != piece_phys(&r[entry]) ||
				    sg_dma_len(out) != r[entry].len || at)
					wrong++;
				seen += r[entry++].len;
				bus = true;
				continue;
			}
			if (!end)
				first = sg_dma_address(out) &
					~(dma_addr_t)(granule - 1);
			hash(&digest, sg_dma_address(out) - first);
			hash(&digest, sg_dma_len(out));
			end = sg_dma_address(out) + sg_dma_len(out);
			while (pos < sg_dma_len(out)) {
				size_t step = min3(sg_dma_len(out) - pos,
						   r[entry].len - at,
						   granule - (size_t)
						   ((sg_dma_address(out) + pos)
						    & (granule - 1)));

				if (iommu_iova_to_phys(domain,
						       sg_dma_address(out) +
						       pos) !=
				    piece_phys(&r[entry]) + at)
					wrong++;
				pos += step;
				at += step;
				seen += step;
				if (at == r[entry].len) {
					entry++;
					at = 0;
				}
			}
		}
		KUNIT_EXPECT_EQ(test, seen, total);

		/* What is between the segments counts as well */
		for (a = first; a < end; a += granule)
			hash(&digest, relative(iommu_iova_to_phys(domain, a)));
		/* The CPU's side of the list is as it was */
		for_each_sgtable_sg(&sgt, sg, i)
			if (sg_phys(sg) != piece_phys(&r[i]) ||
			    sg->length != r[i].len)
				wrong++;

		dma_unmap_sg(&edu->dev, sgt.sgl, nr, DMA_BIDIRECTIONAL);
		for (a = first; a < end; a += granule)
			if (iommu_iova_to_phys(domain, a))
				wrong++;
		KUNIT_EXPECT_EQ_MSG(test, wrong, 0, "list %u", list);
		sg_free_table(&sgt);
		if (list % 1000 == 999 && !debug)
			pr_info("digest %s%u %016llx\n",
				bus ? "bus " : peer ? "p2p " : "", list + 1,
				digest);
	}
}

static void sg_random(struct kunit *test)
{
	sg_lists(test, false);
}

/*
 * Half of the entries are memory of another device, through the host bridge or
 * the switch.
 */
static void sg_random_p2p(struct kunit *test)
{
	sg_lists(test, true);
}

static struct kunit_case dma_map_sg_cases[] = {
	KUNIT_CASE_SLOW(sg_random),
	KUNIT_CASE_SLOW(sg_random_p2p),
	{ }
};

static struct kunit_suite dma_map_sg_suite = {
	.name = "dma_map_sg_device",
	.test_cases = dma_map_sg_cases,
};

#ifdef HAVE_DMA_MAP_PHYRS
#include <linux/phyr.h>

/* A cursor whose windows have any size */

struct windows {
	const struct phyr *vec;
	size_t left;
	struct rnd_state rnd;
	bool whole;
};

static bool refill(struct phyr_cursor *cur)
{
	struct windows *w = cur->priv;
	size_t nr;

	if (!w->left)
		return false;
	nr = w->whole ? w->left : min(w->left, (size_t)below(&w->rnd, 6));
	phyr_cursor_set_window(cur, w->vec, nr, 0, SIZE_MAX);
	w->vec += nr;
	w->left -= nr;
	return true;
}

/*
 * The gaps are those between ranges that are not contiguous, as in the block
 * layer, where a granule may come in pieces.
 */
static void cursor(struct phyr_cursor *cur, struct windows *w,
		   const struct phyr *vec, size_t nr, bool whole)
{
	unsigned long gaps = 0;
	size_t total = 0, i;

	for (i = 1; i < nr; i++)
		if (!phyr_contiguous(&vec[i - 1], &vec[i]))
			gaps |= phyr_end(&vec[i - 1]) | vec[i].addr;
	w->vec = vec;
	w->left = nr;
	w->whole = whole;
	prandom_seed_state(&w->rnd, nr);
	phyrs_total(vec, nr, &total);
	phyr_cursor_init_refill(cur, refill, w, total, gaps);
}

/* The byte of memory that the device reaches at a DMA address */
static u8 *seen_by_device(dma_addr_t addr)
{
	phys_addr_t phys = translate(addr);

	return phys ? phys_to_virt(phys) : NULL;
}

/*
 * Compare the memory behind the DMA ranges with that of the physical ranges,
 * @step bytes apart, or write through them.
 */
static int compare(const struct phyr *vec, size_t nr,
		   const struct dma_range *out, int n, bool fill)
{
	size_t in_at = 0, out_at = 0;
	int i = 0, o = 0, wrong = 0;
	u8 value = 1;

	while (i < nr && o < n) {
		size_t step = min3(vec[i].len - in_at, out[o].len - out_at,
				   (size_t)1000);
		u8 *dma = seen_by_device(out[o].addr + out_at);
		u8 *cpu = phys_to_virt(vec[i].addr + in_at);

		if (!dma)
			return -1;
		if (fill)
			*dma = value++;
		else if (*dma != *cpu)
			wrong++;
		in_at += step;
		out_at += step;
		if (in_at == vec[i].len) {
			in_at = 0;
			i++;
		}
		if (out_at == out[o].len) {
			out_at = 0;
			o++;
		}
	}
	return i == nr && o == n ? wrong : -1;
}

static struct phyr vec[MAX_ENTRIES];
static struct dma_range out[MAX_ENTRIES];

static int random_phyrs(struct rnd_state *rnd, bool tidy)
{
	static struct piece r[MAX_ENTRIES];
	int i, n, nr = 1 + below(rnd, below(rnd, 10) ? 12 : MAX_ENTRIES);

	random_ranges(rnd, r, nr, tidy);
	for (i = 0, n = 0; i < nr; i++) {
		struct phyr rest = { pool_phys + r[i].start, r[i].len };

		/* in pieces, if there is room for them */
		while (n + nr - i < MAX_ENTRIES && below(rnd, 4) == 0 &&
		       rest.len > SZ_4K)
			vec[n++] = phyr_split(&rest, 16 * (1 + below(rnd, 255)));
		vec[n++] = rest;
	}
	return n;
}

/* Everything that was mapped is gone */
static int still_mapped(int n)
{
	int i, wrong = 0;

	for (i = 0; translated && i < n; i++)
		if (translate(out[i].addr) ||
		    translate(out[i].addr + out[i].len - 1))
			wrong++;
	return wrong;
}

static void phyrs_random_lists(struct kunit *test, unsigned int count)
{
	static const unsigned int sizes[] = { SZ_4K, SZ_64K, SZ_1M, UINT_MAX };
	unsigned long in_use = tces_in_use();
	struct rnd_state rnd;
	unsigned int list;
	size_t i;

	for (i = 0; i < POOL_SIZE; i++)
		pool_virt[i] = hash_32(i, 8);
	prandom_seed_state(&rnd, 7301);

	for (list = 0; list < count; list++) {
		bool tidy = below(&rnd, 4), whole = below(&rnd, 2);
		int nr = random_phyrs(&rnd, tidy);
		unsigned int max_seg = sizes[below(&rnd, 4)];
		struct dma_iova_state state;
		struct phyr_cursor cur;
		struct windows w;
		bool one;
		int n;

		dma_set_max_seg_size(&edu->dev, max_seg);
		cursor(&cur, &w, vec, nr, whole);
		one = merges && !(cur.gaps & (granule - 1)) &&
		      !(edu->untrusted && vec[0].addr & (granule - 1) &
			~dma_get_min_align_mask(&edu->dev));
		n = dma_map_phyrs(&edu->dev, &cur, &state, out, MAX_ENTRIES,
				  DMA_TO_DEVICE, 0);
		KUNIT_ASSERT_GT_MSG(test, n, 0, "list %u", list);
		if (nr > 1 && one && max_seg == UINT_MAX)
			KUNIT_EXPECT_EQ_MSG(test, n, 1, "list %u", list);
		else if (!one)
			KUNIT_EXPECT_EQ_MSG(test, n, nr, "list %u", list);
		KUNIT_EXPECT_EQ_MSG(test, compare(vec, nr, out, n, false), 0,
				    "list %u", list);
		cursor(&cur, &w, vec, nr, whole);
		dma_unmap_phyrs(&edu->dev, below(&rnd, 2) ? &cur : NULL, &state,
				out, n, DMA_TO_DEVICE, 0);
		KUNIT_EXPECT_EQ_MSG(test, still_mapped(n), 0, "list %u", list);
	}
	KUNIT_EXPECT_EQ(test, tces_in_use(), in_use);
}

static void phyrs_random(struct kunit *test)
{
	need(test, false);
	phyrs_random_lists(test, lists);
}

/* A device that is not trusted gets a copy of what shares granules. */
static void phyrs_bounce(struct kunit *test)
{
	struct rnd_state rnd;
	unsigned int list;

	need(test, true);
	edu->untrusted = true;
	phyrs_random_lists(test, lists / 10);

	/* NVMe, for one, wants to have the low bits of an address kept. */
	dma_set_min_align_mask(&edu->dev, granule - 1);
	phyrs_random_lists(test, lists / 10);

	dma_set_max_seg_size(&edu->dev, UINT_MAX);
	prandom_seed_state(&rnd, 7302);
	for (list = 0; list < lists / 10; list++) {
		int nr = 1 + below(&rnd, 8), n, i;
		struct dma_iova_state state;
		struct phyr_cursor cur;
		struct windows w;
		u8 value = 1;

		/* no overlap, as all are written */
		for (i = 0; i < nr; i++) {
			vec[i].addr = pool_phys + i * SZ_256K;
			vec[i].len = SZ_4K * (1 + below(&rnd, 60));
		}
		vec[0].addr += 16 * below(&rnd, 200);
		vec[0].len -= vec[0].addr - pool_phys;
		vec[nr - 1].len -= 16 * below(&rnd, 20);
		cursor(&cur, &w, vec, nr, true);
		n = dma_map_phyrs(&edu->dev, &cur, &state, out, MAX_ENTRIES,
				  DMA_FROM_DEVICE, 0);
		KUNIT_ASSERT_EQ_MSG(test, n, 1, "list %u", list);
		KUNIT_EXPECT_EQ(test, compare(vec, nr, out, n, true), 0);
		cursor(&cur, &w, vec, nr, true);
		dma_unmap_phyrs(&edu->dev, &cur, &state, out, n,
				DMA_FROM_DEVICE, 0);
		for (i = 0; i < nr; i++) {
			size_t at;

			for (at = 0; at < vec[i].len; at += 1000) {
				u8 *cpu = phys_to_virt(vec[i].addr + at);

				KUNIT_ASSERT_EQ_MSG(test, *cpu, value++,
						    "list %u, range %d, %zu",
						    list, i, at);
			}
		}
		KUNIT_EXPECT_EQ(test, still_mapped(n), 0);
	}
}

static int map_vec(size_t nr, unsigned int max, unsigned long attrs,
		   struct dma_iova_state *state)
{
	struct phyr_cursor cur;
	struct windows w;

	cursor(&cur, &w, vec, nr, true);
	return dma_map_phyrs(&edu->dev, &cur, state, out, max, DMA_TO_DEVICE,
			     attrs);
}

static void set_vec(size_t nr)
{
	size_t i;

	for (i = 0; i < nr; i++)
		vec[i] = (struct phyr) { pool_phys + 2 * i * SZ_4K, SZ_4K };
}

static void phyrs_bad_input(struct kunit *test)
{
	struct dma_iova_state state;
	struct phyr_cursor cur;
	unsigned long in_use;

	need(test, false);
	in_use = tces_in_use();

	/* nothing at all, and less than was promised */
	KUNIT_EXPECT_EQ(test, map_vec(0, 1, 0, &state), -EINVAL);
	set_vec(4);
	phyr_cursor_init(&cur, vec, 4, 5 * SZ_4K, 0);
	KUNIT_EXPECT_EQ(test, dma_map_phyrs(&edu->dev, &cur, &state, out, 8,
					    DMA_TO_DEVICE, 0), -EINVAL);

	/* empty ranges do not count */
	set_vec(4);
	vec[1].len = 0;
	vec[3].len = 0;
	KUNIT_EXPECT_EQ(test, map_vec(4, 4, 0, &state), merges ? 1 : 2);
	dma_unmap_phyrs(&edu->dev, NULL, &state, out, merges ? 1 : 2,
			DMA_TO_DEVICE, 0);

	/* too little room for the result */
	set_vec(4);
	vec[1].addr += 16;
	vec[1].len -= 16;
	KUNIT_EXPECT_EQ(test, map_vec(4, 3, 0, &state), -ENOSPC);
	KUNIT_EXPECT_EQ(test, map_vec(4, 0, 0, &state), -ENOSPC);
	KUNIT_EXPECT_EQ(test, map_vec(4, 4, 0, &state), 4);
	dma_unmap_phyrs(&edu->dev, NULL, &state, out, 4, DMA_TO_DEVICE, 0);
	set_vec(1);
	KUNIT_EXPECT_EQ(test, map_vec(1, 0, 0, &state), -ENOSPC);

	/* a cursor that hides the gaps */
	if (merges) {
		set_vec(4);
		vec[1].addr += 16;
		vec[1].len -= 16;
		phyr_cursor_init(&cur, vec, 4, 4 * SZ_4K - 16, 0);
		KUNIT_EXPECT_EQ(test, dma_map_phyrs(&edu->dev, &cur, &state,
						    out, 4, DMA_TO_DEVICE, 0),
				-EINVAL);
	}

	/* what must not be bounced, but shares a granule: as dma_map_phys() */
	if (domain) {
		phys_addr_t bar = pci_resource_start(edu, 0);

		edu->untrusted = true;
		vec[0] = (struct phyr) { bar, SZ_4K };
		vec[1] = (struct phyr) { bar + SZ_8K, 100 };
		KUNIT_EXPECT_EQ(test, map_vec(2, 2, DMA_ATTR_MMIO, &state), 2);
		dma_unmap_phyrs(&edu->dev, NULL, &state, out, 2, DMA_TO_DEVICE,
				DMA_ATTR_MMIO);
		vec[1].len = SZ_4K;
		KUNIT_EXPECT_EQ(test, map_vec(2, 2, DMA_ATTR_MMIO, &state), 1);
		dma_unmap_phyrs(&edu->dev, NULL, &state, out, 1, DMA_TO_DEVICE,
				DMA_ATTR_MMIO);
		set_vec(2);
		vec[1].len = 100;
		KUNIT_EXPECT_EQ(test,
				map_vec(2, 2, DMA_ATTR_REQUIRE_COHERENT,
					&state), -ENOMEM);
	}

	/* a TCE can lead to memory only */
	if (translated && !domain) {
		vec[0].addr = pci_resource_start(edu, 0);
		vec[0].len = SZ_4K;
		vec[1] = (struct phyr) { vec[0].addr + SZ_8K, SZ_4K };
		KUNIT_EXPECT_LT(test, map_vec(2, 2, DMA_ATTR_MMIO, &state), 0);
		KUNIT_EXPECT_LT(test, map_vec(1, 1, DMA_ATTR_MMIO, &state), 0);
	}

	/* more than the device can address: IOVA space runs out */
	if (!translated)
		return;
	KUNIT_ASSERT_EQ(test, 0, dma_set_mask(&edu->dev, DMA_BIT_MASK(24)));
	vec[0] = (struct phyr) { pool_phys, SZ_4M };
	vec[1] = vec[0];
	vec[2] = vec[0];
	vec[3] = vec[0];
	KUNIT_EXPECT_EQ(test, map_vec(4, 4, 0, &state), -ENOMEM);
	KUNIT_EXPECT_EQ(test, tces_in_use(), in_use);
}

/* The steps one by one, in an order that no user would have */
static void iova_steps(struct kunit *test)
{
	struct dma_iova_state state;
	unsigned long in_use;
	dma_addr_t addr;
	size_t i;

	need(test, false);
	if (!translated)
		kunit_skip(test, "edu is not behind a translating IOMMU");
	in_use = tces_in_use();
	KUNIT_ASSERT_EQ(test, dma_get_merge_boundary(&edu->dev), granule - 1);

	/* What is to go to a device in whole pages starts at one */
	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(&edu->dev, &state, 0,
						   4 * PAGE_SIZE));
	addr = state.addr;
	KUNIT_EXPECT_TRUE(test, IS_ALIGNED(addr, PAGE_SIZE));
	for (i = 0; i < 4 * PAGE_SIZE; i += granule)
		KUNIT_EXPECT_EQ(test, translate(addr + i), 0);

	/* every other granule, backwards; then what is between */
	for (i = 4 * PAGE_SIZE / granule; i--;)
		if (i & 1)
			KUNIT_ASSERT_EQ(test, 0,
				dma_iova_link(&edu->dev, &state,
					      pool_phys + 3 * i * granule,
					      i * granule, granule,
					      DMA_TO_DEVICE, 0));
	for (i = 0; i < 4 * PAGE_SIZE / granule; i++)
		KUNIT_EXPECT_EQ(test, translate(addr + i * granule),
				i & 1 ? pool_phys + 3 * i * granule : 0);
	for (i = 0; i < 4 * PAGE_SIZE / granule; i += 2)
		KUNIT_ASSERT_EQ(test, 0,
			dma_iova_link(&edu->dev, &state,
				      pool_phys + 3 * i * granule, i * granule,
				      granule, DMA_TO_DEVICE, 0));
	KUNIT_EXPECT_EQ(test, 0, dma_iova_sync(&edu->dev, &state, 0,
					       4 * PAGE_SIZE));
#ifdef CONFIG_PPC64
	KUNIT_EXPECT_FALSE(test, tce_entry(addr) & TCE_PCI_WRITE);
#endif

	/* Two in the middle */
	dma_iova_unlink(&edu->dev, &state, granule, 2 * granule, DMA_TO_DEVICE,
			0);
	for (i = 0; i < 4 * PAGE_SIZE / granule; i++)
		KUNIT_EXPECT_EQ(test, translate(addr + i * granule),
				i == 1 || i == 2 ? 0 :
				pool_phys + 3 * i * granule);

	/* What does not fit, or is too much, of which DMA-debug has a warning */
	KUNIT_EXPECT_EQ(test, -EINVAL,
			dma_iova_link(&edu->dev, &state, pool_phys + 16,
				      granule, granule, DMA_TO_DEVICE, 0));
	vec[0] = (struct phyr) { pool_phys, 2 * granule };
	for (i = IS_ENABLED(CONFIG_DMA_API_DEBUG) ? 2 : 0; i < 2; i++) {
		struct phyr_cursor cur;

		KUNIT_ASSERT_EQ(test, 0, phyr_cursor_init_array(&cur, vec, 1));
		KUNIT_EXPECT_EQ(test, -EINVAL,
				dma_iova_link_phyrs(&edu->dev, &state,
						    4 * PAGE_SIZE -
						    (1 - i) * granule, &cur,
						    DMA_TO_DEVICE, 0));
	}

	/* Two in one go, for another direction for as long as that lasts */
	for (i = 0; i < 2; i++) {
		enum dma_data_direction dir = i ? DMA_TO_DEVICE :
						  DMA_BIDIRECTIONAL;

		KUNIT_ASSERT_EQ(test, 0,
				dma_iova_link(&edu->dev, &state, pool_phys,
					      granule, 2 * granule, dir, 0));
		KUNIT_EXPECT_EQ(test, translate(addr + 3 * granule - 1),
				pool_phys + 2 * granule - 1);
#ifdef CONFIG_PPC64
		KUNIT_EXPECT_EQ(test, !(tce_entry(addr + granule) &
					TCE_PCI_WRITE), i);
#endif
		if (!i)
			dma_iova_unlink(&edu->dev, &state, granule, 2 * granule,
					dir, 0);
	}
	dma_iova_destroy(&edu->dev, &state, 4 * PAGE_SIZE, DMA_TO_DEVICE, 0);
	for (i = 0; i < 4 * PAGE_SIZE; i += granule)
		KUNIT_EXPECT_EQ(test, translate(addr + i), 0);
	KUNIT_EXPECT_EQ(test, tces_in_use(), in_use);

	/* Free without anything linked, and with nothing but a few bytes */
	KUNIT_ASSERT_TRUE(test, dma_iova_try_alloc(&edu->dev, &state,
						   pool_phys + 16, granule));
	KUNIT_EXPECT_EQ(test, state.addr & (granule - 1), 16);
	KUNIT_EXPECT_EQ(test, 0,
			dma_iova_link(&edu->dev, &state, pool_phys + 16, 0,
				      granule, DMA_TO_DEVICE, 0));
	KUNIT_EXPECT_EQ(test, translate(state.addr + granule - 1),
			pool_phys + 16 + granule - 1);
	dma_iova_unlink(&edu->dev, &state, 0, granule, DMA_TO_DEVICE, 0);
	KUNIT_EXPECT_EQ(test, translate(state.addr), 0);
	KUNIT_EXPECT_EQ(test, translate(state.addr + granule - 1), 0);
	dma_iova_free(&edu->dev, &state);
	KUNIT_EXPECT_EQ(test, tces_in_use(), in_use);
}

/* Every allocation of a mapping fails once. */
static void phyrs_alloc_fails(struct kunit *test)
{
#ifdef CONFIG_FAULT_INJECTION
	unsigned int list, failed = 0;
	struct rnd_state rnd;

	need(test, true);
	prandom_seed_state(&rnd, 7303);
	for (list = 0; list < 100; list++) {
		int nr = random_phyrs(&rnd, below(&rnd, 4)), n, nth, left;
		struct dma_iova_state state;

		edu->untrusted = list % 4 == 3;
		for (nth = 1;; nth++) {
			current->fail_nth = nth;
			n = map_vec(nr, MAX_ENTRIES, 0, &state);
			left = current->fail_nth;
			current->fail_nth = 0;
			if (n > 0) {
				KUNIT_EXPECT_EQ(test, compare(vec, nr, out, n,
							      false), 0);
				dma_unmap_phyrs(&edu->dev, NULL, &state, out, n,
						DMA_TO_DEVICE, 0);
			} else {
				KUNIT_ASSERT_EQ(test, n, -ENOMEM);
			}
			KUNIT_EXPECT_EQ(test, still_mapped(max(n, 0)), 0);
			if (left)
				break;
			failed++;
		}
	}
	kunit_info(test, "%u allocations failed\n", failed);
	KUNIT_EXPECT_GT(test, failed, 20);
#else
	kunit_skip(test, "no CONFIG_FAULT_INJECTION");
#endif
}

/* Each time that the hypervisor is asked for entries, it refuses once. */
#ifdef CONFIG_PPC64
static struct iommu_table_ops failing_ops;
static struct iommu_table_ops *working_ops;
static struct task_struct *failing_task;
static int fail_nth, sets;

static int failing_set(struct iommu_table *tbl, long index, long npages,
		       unsigned long uaddr, enum dma_data_direction dir,
		       unsigned long attrs)
{
	/* The table is not the device's alone */
	if (current == failing_task) {
		sets++;
		if (fail_nth && !--fail_nth) {
			/* as if it had come half of the way */
			if (npages > 1)
				working_ops->set(tbl, index, npages / 2, uaddr,
						 dir, attrs);
			return -ENOMEM;
		}
	}
	return working_ops->set(tbl, index, npages, uaddr, dir, attrs);
}

static void restore_ops(void *unused)
{
	tce->it_ops = working_ops;
}

static void phyrs_tce_fails(struct kunit *test)
{
	unsigned int list, failed = 0;
	unsigned long in_use;
	struct rnd_state rnd;
	dma_addr_t a;

	need(test, false);
	if (!tce)
		kunit_skip(test, "edu is not behind a TCE table");
	in_use = tces_in_use();
	working_ops = tce->it_ops;
	failing_ops = *working_ops;
	failing_ops.set = failing_set;
	failing_task = current;
	KUNIT_ASSERT_EQ(test, 0,
			kunit_add_action_or_reset(test, restore_ops, NULL));
	tce->it_ops = &failing_ops;
	prandom_seed_state(&rnd, 7303);

	for (list = 0; list < 200; list++) {
		int nr = random_phyrs(&rnd, below(&rnd, 4)), n, nth, left;
		struct dma_iova_state state;
		bool one;

		for (nth = 1;; nth++) {
			fail_nth = nth;
			sets = 0;
			n = map_vec(nr, MAX_ENTRIES, 0, &state);
			left = fail_nth;
			fail_nth = 0;
			one = n == 1;
			if (n > 0) {
				KUNIT_EXPECT_EQ(test, compare(vec, nr, out, n,
							      false), 0);
				dma_unmap_phyrs(&edu->dev, NULL, &state, out, n,
						DMA_TO_DEVICE, 0);
			} else {
				KUNIT_ASSERT_EQ(test, n, -ENOMEM);
				KUNIT_EXPECT_FALSE(test, dma_use_iova(&state));
			}
			KUNIT_EXPECT_EQ(test, still_mapped(max(n, 0)), 0);
			KUNIT_ASSERT_EQ(test, tces_in_use(), in_use);
			if (left)
				break;
			failed++;
		}
		/* nothing in between either, which a look at all would show */
		for (a = out[0].addr & ~(dma_addr_t)(granule - 1);
		     one && a < out[0].addr + out[0].len; a += granule)
			KUNIT_ASSERT_EQ(test, translate(a), 0);
	}
	kunit_info(test, "%u calls for entries failed\n", failed);
	KUNIT_EXPECT_GT(test, failed, 100);
}
/* The same for a scatterlist */
static void sg_tce_fails(struct kunit *test)
{
	unsigned long in_use;
	struct scatterlist *sg;
	struct sg_table sgt;
	int i, nth, n;

	need(test, false);
	if (!tce)
		kunit_skip(test, "edu is not behind a TCE table");
	KUNIT_ASSERT_EQ(test, 0, sg_alloc_table(&sgt, 12, GFP_KERNEL));
	for_each_sgtable_sg(&sgt, sg, i)
		sg_set_page(sg, pool + (i % 3), SZ_4K, (i % 5) * 16);
	in_use = tces_in_use();
	working_ops = tce->it_ops;
	failing_ops = *working_ops;
	failing_ops.set = failing_set;
	failing_task = current;
	tce->it_ops = &failing_ops;
	for (nth = 1; nth <= 13; nth++) {
		fail_nth = nth;
		n = dma_map_sg(&edu->dev, sgt.sgl, 12, DMA_TO_DEVICE);
		if (nth <= 12)
			KUNIT_EXPECT_EQ(test, n, 0);
		else
			KUNIT_EXPECT_GT(test, n, 0);
		if (n)
			dma_unmap_sg(&edu->dev, sgt.sgl, 12, DMA_TO_DEVICE);
		KUNIT_EXPECT_EQ_MSG(test, tces_in_use(), in_use, "%d", nth);
		in_use = tces_in_use();
	}
	fail_nth = 0;
	tce->it_ops = working_ops;
	sg_free_table(&sgt);
}
#else
static void phyrs_tce_fails(struct kunit *test)
{
	kunit_skip(test, "no TCE tables here");
}

static void sg_tce_fails(struct kunit *test)
{
	kunit_skip(test, "no TCE tables here");
}
#endif

/* Entries that only have a DMA address, as tables of dma-bufs may have */
static void sg_without_page(struct kunit *test)
{
	struct scatterlist *sg;
	struct sg_table sgt;
	int i, round;

	need(test, false);
	KUNIT_ASSERT_EQ(test, 0, sg_alloc_table(&sgt, 5, GFP_KERNEL));
	/* More often than bounce buffers or IOVA space would let us if it leaked */
	for (round = 0; round < 2500; round++) {
		edu->untrusted = domain && round % 2;	/* bounced there */
		for_each_sgtable_sg(&sgt, sg, i)
			sg_set_page(sg, pool + 16 * i, SZ_64K, 0);
		sg = sgt.sgl;
		for (i = 0; i < round % 5; i++)
			sg = sg_next(sg);
		sg_assign_page(sg, NULL);
		KUNIT_ASSERT_EQ(test, -EINVAL,
				dma_map_sgtable(&edu->dev, &sgt, DMA_BIDIRECTIONAL, 0));
	}
	sg_assign_page(sg, pool);
	KUNIT_EXPECT_EQ(test, 0,
			dma_map_sgtable(&edu->dev, &sgt, DMA_BIDIRECTIONAL, 0));
	dma_unmap_sgtable(&edu->dev, &sgt, DMA_BIDIRECTIONAL, 0);
	sg_free_table(&sgt);
}

#ifdef HAVE_RQ_RANGES
/* A disk whose writes are mapped for edu, looked at through that, and done */

#define RQ_SEGMENTS	128

static struct {
	struct kunit *test;
	unsigned int joined, apart;
	struct dma_iova_state state;
	struct dma_range ranges[RQ_SEGMENTS];
} rq_test;

static void rq_check(struct request *rq, int nr)
{
	struct dma_range *r = rq_test.ranges;
	struct kunit *test = rq_test.test;
	size_t pos = 0, left, len;
	struct req_iterator iter;
	struct bio_vec bv;
	u8 *from;

	rq_for_each_bvec(bv, rq, iter) {
		from = phys_to_virt(bvec_phys(&bv));
		for (left = bv.bv_len; left; left -= len, from += len) {
			dma_addr_t addr = r->addr + pos;

			len = min3(left, r->len - pos,
				   granule - (size_t)(addr & (granule - 1)));
			KUNIT_EXPECT_TRUE(test, !memcmp(from, phys_to_virt(translate(addr)), len));
			pos += len;
			if (pos < r->len)
				continue;
			KUNIT_EXPECT_LE(test, r->len, (size_t)dma_get_max_seg_size(&edu->dev));
			pos = 0;
			r++;
		}
	}
	KUNIT_EXPECT_PTR_EQ(test, r, rq_test.ranges + nr);
}

static blk_status_t rq_queue(struct blk_mq_hw_ctx *hctx,
			     const struct blk_mq_queue_data *bd)
{
	struct request *rq = bd->rq;
	int nr;

	blk_mq_start_request(rq);
	nr = blk_rq_dma_map_ranges(rq, &edu->dev, &rq_test.state,
				   rq_test.ranges, blk_rq_nr_phys_segments(rq));
	KUNIT_EXPECT_GT(rq_test.test, nr, 0);
	if (nr > 0) {
		rq_check(rq, nr);
		if (dma_use_iova(&rq_test.state))
			rq_test.joined++;
		else
			rq_test.apart++;
		dma_unmap_phyrs(&edu->dev, NULL, &rq_test.state, rq_test.ranges,
				nr, rq_dma_dir(rq), 0);
	}
	blk_mq_end_request(rq, nr > 0 ? BLK_STS_OK : BLK_STS_IOERR);
	return BLK_STS_OK;
}

static const struct blk_mq_ops rq_ops = { .queue_rq = rq_queue };

static void request_ranges(struct kunit *test)
{
	/* Of the queue and of the device */
	static const unsigned int max_size[][2] = {
		{ UINT_MAX, UINT_MAX }, { SZ_64K, SZ_64K }, { 6144, SZ_64K },
	};
	struct blk_mq_tag_set set = {
		.ops = &rq_ops,
		.nr_hw_queues = 1,
		.queue_depth = 1,
		.numa_node = NUMA_NO_NODE,
	};
	struct rnd_state rnd;
	int i, n, nr, c;

	need(test, false);
	prandom_seed_state(&rnd, 5);
	prandom_bytes_state(&rnd, pool_virt, POOL_SIZE);
	KUNIT_ASSERT_EQ(test, 0, blk_mq_alloc_tag_set(&set));
	for (c = 0; c < ARRAY_SIZE(max_size); c++) {
		struct queue_limits lim = {
			.max_segments = RQ_SEGMENTS,
			.max_segment_size = max_size[c][0],
			.max_hw_sectors = POOL_SIZE / SECTOR_SIZE,
		};
		struct gendisk *disk = blk_mq_alloc_disk(&set, &lim, NULL);

		if (IS_ERR(disk)) {
			KUNIT_FAIL(test, "no disk: %pe", disk);
			break;
		}
		strscpy(disk->disk_name, "rqranges");
		set_capacity(disk, POOL_SIZE / SECTOR_SIZE);
		dma_set_max_seg_size(&edu->dev, max_size[c][1]);
		memset(&rq_test, 0, sizeof(rq_test));
		rq_test.test = test;
		for (n = 0; n < 500; n++) {
			bool whole = n & 1;
			struct bio *bio;

			nr = 1 + prandom_u32_state(&rnd) % 24;
			bio = bio_alloc(disk->part0, nr, REQ_OP_WRITE, GFP_KERNEL);
			for (i = 0; i < nr; i++) {
				u32 unit = whole ? PAGE_SIZE : SECTOR_SIZE;
				u32 len = unit * (1 + prandom_u32_state(&rnd) % (SZ_32K / unit));
				u32 at = unit * (prandom_u32_state(&rnd) % ((POOL_SIZE - len) / unit));

				__bio_add_page(bio, pool + at / PAGE_SIZE, len, at % PAGE_SIZE);
			}
			KUNIT_EXPECT_EQ(test, 0, submit_bio_wait(bio));
			bio_put(bio);
		}
		kunit_info(test, "segments up to %u: %u joined, %u apart\n",
			   max_size[c][0], rq_test.joined, rq_test.apart);
		KUNIT_EXPECT_GT(test, rq_test.apart, 100);
		KUNIT_EXPECT_EQ(test, !!rq_test.joined, merges);
		put_disk(disk);
	}
	blk_mq_free_tag_set(&set);
}
#else
static void request_ranges(struct kunit *test)
{
	kunit_skip(test, "this kernel has no blk_rq_dma_map_ranges()");
}
#endif

static struct kunit_case dma_map_phyrs_cases[] = {
	KUNIT_CASE_SLOW(phyrs_random),
	KUNIT_CASE_SLOW(phyrs_bounce),
	KUNIT_CASE(phyrs_bad_input),
	KUNIT_CASE(phyrs_alloc_fails),
	KUNIT_CASE(iova_steps),
	KUNIT_CASE(phyrs_tce_fails),
	KUNIT_CASE(sg_tce_fails),
	KUNIT_CASE(sg_without_page),
	KUNIT_CASE(request_ranges),
	{ }
};

static struct kunit_suite dma_map_phyrs_suite = {
	.name = "dma_map_phyrs_device",
	.test_cases = dma_map_phyrs_cases,
};

kunit_test_suites(&dma_map_sg_suite, &dma_map_phyrs_suite);
#else
kunit_test_suites(&dma_map_sg_suite);
#endif

static void __init get_peer(void)
{
	if (!shm || pci_p2pdma_add_resource(shm, 2, 0, 0))
		return;
	/* not where the host bridge is not known to let it pass */
	if (!edu || pci_p2pdma_distance(shm, &edu->dev, false) < 0)
		return;
	peer_virt = pci_alloc_p2pmem(shm, POOL_SIZE);
	if (peer_virt)
		peer_phys = page_to_phys(virt_to_page(peer_virt));
}

static int __init dma_map_kunit_init(void)
{
	int ret;

	pool = alloc_pages(GFP_KERNEL, get_order(POOL_SIZE));
	if (pool) {
		pool_phys = page_to_phys(pool);
		pool_virt = page_address(pool);
	}
	ret = pci_register_driver(&edu_driver);
	if (!ret)
		get_peer();
	return ret;
}
module_init(dma_map_kunit_init);

static void __exit dma_map_kunit_exit(void)
{
	if (peer_virt)
		pci_free_p2pmem(shm, peer_virt, POOL_SIZE);
	pci_unregister_driver(&edu_driver);
	if (pool)
		__free_pages(pool, get_order(POOL_SIZE));
}
module_exit(dma_map_kunit_exit);

MODULE_DESCRIPTION("KUnit tests of mapping lists of ranges on QEMU's edu device");
MODULE_LICENSE("GPL");
