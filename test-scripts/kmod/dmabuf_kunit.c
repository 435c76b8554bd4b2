// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of dma-bufs as physical ranges, on real devices: QEMU's edu is the
 * importer's, and the second BAR of ivshmem, which has no struct page, is the
 * peer-to-peer memory.
 *
 * The exporter here mixes regular memory and the BAR, moves from one mixture to
 * another, is revoked, and breaks every rule when told to.  What edu writes is
 * compared by the CPU, and the other way round.
 *
 * With /dev/dmabuf_test a program gets such a buffer, by a file descriptor that
 * an ioctl returns, and can have it moved and revoked.
 */
#include <kunit/test.h>
#include <linux/completion.h>
#include <linux/delay.h>
#include <linux/dma-buf-phyrs.h>
#include <linux/dma-buf.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/kthread.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci-p2pdma.h>
#include <linux/pci.h>
#include <linux/phyr.h>
#include <linux/sizes.h>
#include <linux/slab.h>
#include "edu.h"

static bool failslab;
module_param(failslab, bool, 0444);
MODULE_PARM_DESC(failslab, "allocations that may sleep can be made to fail");

static void __iomem *edu_regs;
static u8 __iomem *bar_virt;
static phys_addr_t bar_phys;
static size_t bar_size;
static u8 *scratch;
static dma_addr_t scratch_dma;

/* What the tests need of the devices, which are bound by now */
static int __init dmabuf_devices(void)
{
	if (edu) {
		edu_regs = pcim_iomap(edu, 0, 0);
		scratch = dmam_alloc_coherent(&edu->dev, PAGE_SIZE,
					      &scratch_dma, GFP_KERNEL);
		if (!edu_regs || !scratch)
			return -ENOMEM;
	}
	if (shm) {
		bar_phys = pci_resource_start(shm, 2);
		bar_size = pci_resource_len(shm, 2);
		bar_virt = pcim_iomap(shm, 2, 0);
		if (!bar_virt)
			return -ENOMEM;
	}
	return 0;
}

/*
 * The device copies between its own buffer and memory, which takes 100 ms each
 * time.  Its buffer holds a piece of what each page is to have, or has.
 */
#define EDU_BUFFER	0x40000
#define PIECE		128

static int edu_dma(dma_addr_t addr, size_t at, size_t len, bool to_memory)
{
	u64 own = EDU_BUFFER + at;
	int i;

	writeq(to_memory ? own : addr, edu_regs + 0x80);
	writeq(to_memory ? addr : own, edu_regs + 0x88);
	writeq(len, edu_regs + 0x90);
	writeq(1 | (to_memory ? 2 : 0), edu_regs + 0x98);
	for (i = 0; i < 1000; i++) {
		usleep_range(2000, 5000);
		if (!(readq(edu_regs + 0x98) & 1))
			return 0;
	}
	return -ETIMEDOUT;
}

/* Between its buffer and scratch: not all of it, on which edu aborts */
static int edu_load(bool to_memory)
{
	return edu_dma(scratch_dma, 0, SZ_2K + SZ_1K, to_memory);
}

static int device_writes(dma_addr_t addr, u8 byte)
{
	int ret;

	memset(scratch, byte, PIECE);
	ret = edu_load(false);
	return ret ?: edu_dma(addr, 0, PIECE, true);
}

/* The exporter */

#define MAX_PHYRS	40
#define RAM_ORDER	6
#define RAM_SIZE	(PAGE_SIZE << RAM_ORDER)

struct mixture {
	struct phyr phyrs[MAX_PHYRS];
	struct dma_buf_phyr_seg segs[MAX_PHYRS];
	unsigned int nr_phyrs, nr_segs;
};

struct exporter {
	struct dma_buf *dmabuf;
	struct page *ram;
	struct mixture mix[2];
	int now;		/* which of them */
	int gets, puts, pins, unpins;
	int ret;		/* what get_phyrs is to return */
	bool released;
};

static int ex_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	return 0;
}

static int ex_pin(struct dma_buf_attachment *attach)
{
	struct exporter *ex = attach->dmabuf->priv;

	ex->pins++;
	return 0;
}

static void ex_unpin(struct dma_buf_attachment *attach)
{
	struct exporter *ex = attach->dmabuf->priv;

	ex->unpins++;
}

static int ex_get_phyrs(struct dma_buf_attachment *attach,
			struct dma_buf_phyrs *phyrs)
{
	struct exporter *ex = attach->dmabuf->priv;
	struct mixture *mix = &ex->mix[ex->now];

	dma_resv_assert_held(attach->dmabuf->resv);
	if (ex->ret)
		return ex->ret;
	phyrs->phyrs = mix->phyrs;
	phyrs->nr_phyrs = mix->nr_phyrs;
	phyrs->segs = mix->segs;
	phyrs->nr_segs = mix->nr_segs;
	phyrs->priv = mix;
	ex->gets++;
	return 0;
}

static void ex_put_phyrs(struct dma_buf_attachment *attach,
			 struct dma_buf_phyrs *phyrs)
{
	struct exporter *ex = attach->dmabuf->priv;
	struct mixture *mix = phyrs->priv;

	dma_resv_assert_held(attach->dmabuf->resv);
	WARN_ON(phyrs->phyrs != mix->phyrs || phyrs->segs != mix->segs);
	ex->puts++;
}

static int ex_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct exporter *ex = dmabuf->priv;
	struct mixture *mix = &ex->mix[ex->now];
	unsigned long addr = vma->vm_start;
	unsigned int i;
	int ret;

	if (vma->vm_pgoff || vma->vm_end - addr != dmabuf->size)
		return -EINVAL;
	for (i = 0; i < mix->nr_phyrs; i++) {
		ret = remap_pfn_range(vma, addr, PHYS_PFN(mix->phyrs[i].addr),
				      mix->phyrs[i].len, vma->vm_page_prot);
		if (ret)
			return ret;
		addr += mix->phyrs[i].len;
	}
	return 0;
}

static void ex_free(struct exporter *ex)
{
	if (ex->ram)
		__free_pages(ex->ram, RAM_ORDER);
	kfree(ex);
}

static void ex_release(struct dma_buf *dmabuf)
{
	struct exporter *ex = dmabuf->priv;

	WARN_ON(ex->gets != ex->puts || ex->pins != ex->unpins);
	ex_free(ex);
}

static const struct dma_buf_ops ex_ops = {
	.attach = ex_attach,
	.pin = ex_pin,
	.unpin = ex_unpin,
	.get_phyrs = ex_get_phyrs,
	.put_phyrs = ex_put_phyrs,
	.mmap = ex_mmap,
	.release = ex_release,
};

/* An exporter of the old kind, of the same memory */
static struct sg_table *old_map(struct dma_buf_attachment *attach,
				enum dma_data_direction dir)
{
	struct exporter *ex = attach->dmabuf->priv;
	struct mixture *mix = &ex->mix[ex->now];
	struct sg_table *sgt = kzalloc_obj(*sgt);
	int ret;

	if (!sgt)
		return ERR_PTR(-ENOMEM);
	ret = sg_map_phyrs(sgt, mix->phyrs, mix->nr_phyrs, UINT_MAX, GFP_KERNEL);
	if (ret)
		goto err_free;
	ret = dma_map_sgtable(attach->dev, sgt, dir, 0);
	if (ret)
		goto err_table;
	ex->gets++;
	return sgt;

err_table:
	sg_free_table(sgt);
err_free:
	kfree(sgt);
	return ERR_PTR(ret);
}

static void old_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		      enum dma_data_direction dir)
{
	struct exporter *ex = attach->dmabuf->priv;

	dma_unmap_sgtable(attach->dev, sgt, dir, 0);
	sg_free_table(sgt);
	kfree(sgt);
	ex->puts++;
}

static const struct dma_buf_ops old_ops = {
	.map_dma_buf = old_map,
	.unmap_dma_buf = old_unmap,
	.release = ex_release,
};

/* A run of pages of the RAM, or of the BAR, is added to a mixture. */
static void add(struct exporter *ex, struct mixture *mix, bool bar,
		unsigned int page, unsigned int pages)
{
	struct dma_buf_phyr_seg *seg = &mix->segs[mix->nr_segs];
	phys_addr_t base = bar ? bar_phys : page_to_phys(ex->ram);

	if (!mix->nr_segs || (seg - 1)->provider != (bar ? shm_provider : NULL)) {
		seg->provider = bar ? shm_provider : NULL;
		seg->attrs = bar ? DMA_ATTR_MMIO : 0;
		seg->nr_phyrs = 0;
		mix->nr_segs++;
	} else {
		seg--;
	}
	seg->nr_phyrs++;
	mix->phyrs[mix->nr_phyrs].addr = base + page * PAGE_SIZE;
	mix->phyrs[mix->nr_phyrs++].len = pages * PAGE_SIZE;
}

#define NR_PAGES	24

enum kind { MIXED, RAM_ONLY, BAR_ONLY };

static struct exporter *ex_new(enum kind kind, const struct dma_buf_ops *ops)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct exporter *ex = kzalloc_obj(*ex);

	if (!ex)
		return NULL;
	ex->ram = alloc_pages(GFP_KERNEL | __GFP_ZERO, RAM_ORDER);
	if (!ex->ram)
		goto err;

	/* NR_PAGES each: forward, backward, long and short, with gaps */
	add(ex, &ex->mix[0], kind == BAR_ONLY, 2, 3);
	add(ex, &ex->mix[0], kind == BAR_ONLY, 40, 1);
	add(ex, &ex->mix[0], kind == BAR_ONLY, 30, 4);
	add(ex, &ex->mix[0], kind != RAM_ONLY, 25, 3);
	add(ex, &ex->mix[0], kind != RAM_ONLY, 7, 2);
	add(ex, &ex->mix[0], kind == BAR_ONLY, 50, 5);
	add(ex, &ex->mix[0], kind != RAM_ONLY, 0, 1);
	add(ex, &ex->mix[0], kind != RAM_ONLY, 60, 2);
	add(ex, &ex->mix[0], kind == BAR_ONLY, 10, 3);
	/* and what it is when it has moved */
	add(ex, &ex->mix[1], kind != RAM_ONLY, 40, 10);
	add(ex, &ex->mix[1], kind == BAR_ONLY, 20, 1);
	add(ex, &ex->mix[1], kind == BAR_ONLY, 18, 1);
	add(ex, &ex->mix[1], kind == BAR_ONLY, 0, 12);

	info.ops = ops;
	info.size = NR_PAGES * PAGE_SIZE;
	info.flags = O_RDWR;
	info.priv = ex;
	ex->dmabuf = dma_buf_export(&info);
	if (IS_ERR(ex->dmabuf))
		goto err;
	return ex;
err:
	ex_free(ex);
	return NULL;
}

/* The CPU's view of a page of the buffer, for comparing */
static void __iomem *cpu_view(struct exporter *ex, unsigned int page)
{
	struct mixture *mix = &ex->mix[ex->now];
	size_t at = page * PAGE_SIZE;
	unsigned int i;

	for (i = 0; i < mix->nr_phyrs; i++) {
		phys_addr_t phys = mix->phyrs[i].addr + at;

		if (at >= mix->phyrs[i].len) {
			at -= mix->phyrs[i].len;
			continue;
		}
		if (phys >= bar_phys && phys < bar_phys + bar_size)
			return bar_virt + (phys - bar_phys);
		return (void __iomem *)phys_to_virt(phys);
	}
	return NULL;
}

static bool cpu_sees(struct exporter *ex, unsigned int page, u8 byte)
{
	u8 buf[PIECE];

	memcpy_fromio(buf, cpu_view(ex, page), PIECE);
	return !memchr_inv(buf, byte, PIECE);
}

static void cpu_writes(struct exporter *ex, unsigned int page, u8 byte)
{
	memset_io(cpu_view(ex, page), byte, PIECE);
}

/* The importer */

struct importer {
	struct exporter *ex;
	struct dma_buf_attachment *attach;
	struct dma_buf_ranges r;
	struct sg_table *sgt;
	int told;		/* how often */
	bool unmap_when_told;
};

static void im_unmap(struct importer *im)
{
	if (im->sgt)
		dma_buf_unmap_attachment(im->attach, im->sgt,
					 DMA_BIDIRECTIONAL);
	else if (im->r.nr)
		dma_buf_unmap_ranges(im->attach, &im->r);
	im->sgt = NULL;
}

static void im_invalidate(struct dma_buf_attachment *attach)
{
	struct importer *im = attach->importer_priv;

	im->told++;
	if (im->unmap_when_told)
		im_unmap(im);
}

static const struct dma_buf_attach_ops peer_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = im_invalidate,
};

static const struct dma_buf_attach_ops no_peer_ops = {
	.invalidate_mappings = im_invalidate,
};

static int im_map_locked(struct importer *im, bool sgt, unsigned long attrs)
{
	struct sg_table *table;

	if (!sgt)
		return dma_buf_map_ranges(im->attach, DMA_BIDIRECTIONAL, attrs,
					  &im->r);
	table = dma_buf_map_attachment(im->attach, DMA_BIDIRECTIONAL);
	if (IS_ERR(table))
		return PTR_ERR(table);
	im->sgt = table;
	return 0;
}

static int im_map(struct importer *im, bool sgt)
{
	int ret;

	dma_resv_lock(im->ex->dmabuf->resv, NULL);
	ret = im_map_locked(im, sgt, 0);
	dma_resv_unlock(im->ex->dmabuf->resv);
	return ret;
}

static void im_unmap_unlocked(struct importer *im)
{
	dma_resv_lock(im->ex->dmabuf->resv, NULL);
	im_unmap(im);
	dma_resv_unlock(im->ex->dmabuf->resv);
}

/* DMA address of a page of the buffer, 0 if there is none */
static dma_addr_t im_addr(struct importer *im, unsigned int page)
{
	size_t at = page * PAGE_SIZE;
	struct scatterlist *sg;
	unsigned int i;

	if (im->sgt) {
		for_each_sgtable_dma_sg(im->sgt, sg, i) {
			if (at < sg_dma_len(sg))
				return sg_dma_address(sg) + at;
			at -= sg_dma_len(sg);
		}
		return 0;
	}
	for (i = 0; i < im->r.nr; i++) {
		if (at < im->r.ranges[i].len)
			return im->r.ranges[i].addr + at;
		at -= im->r.ranges[i].len;
	}
	return 0;
}

static size_t im_total(struct importer *im)
{
	struct scatterlist *sg;
	size_t total = 0;
	unsigned int i;

	if (im->sgt) {
		for_each_sgtable_dma_sg(im->sgt, sg, i)
			total += sg_dma_len(sg);
		return total;
	}
	for (i = 0; i < im->r.nr; i++)
		total += im->r.ranges[i].len;
	return total;
}

static void destroy(void *arg)
{
	struct importer *im = arg;
	struct dma_buf *dmabuf = im->ex->dmabuf;

	if (im->attach) {
		dma_resv_lock(dmabuf->resv, NULL);
		im_unmap(im);
		dma_resv_unlock(dmabuf->resv);
		dma_buf_detach(dmabuf, im->attach);
	}
	dma_buf_put(dmabuf);
	/* The release of a file is left to the task's work, or to a worker */
	flush_delayed_fput();
}

static bool behind_iommu(void)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&edu->dev);

	return domain && iommu_is_dma_domain(domain);
}

/* With swiotlb=force there is no peer-to-peer memory for this device. */
static bool bounces_all(void)
{
	dma_addr_t addr;

	if (behind_iommu())
		return false;
	addr = dma_map_single(&edu->dev, page_address(ZERO_PAGE(0)), PAGE_SIZE,
			      DMA_TO_DEVICE);
	if (dma_mapping_error(&edu->dev, addr))
		return true;
	dma_unmap_single(&edu->dev, addr, PAGE_SIZE, DMA_TO_DEVICE);
	return addr != page_to_phys(ZERO_PAGE(0));
}

static struct importer *need_as(struct kunit *test, enum kind kind,
				const struct dma_buf_ops *ops,
				const struct dma_buf_attach_ops *importer_ops)
{
	struct importer *im = kunit_kzalloc(test, sizeof(*im), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, im);
	if (!edu || !shm)
		kunit_skip(test, "no edu or no ivshmem device");
	if (kind != RAM_ONLY &&
	    pci_p2pdma_map_type(shm_provider, &edu->dev) ==
	    PCI_P2PDMA_MAP_NOT_SUPPORTED)
		kunit_skip(test, "no P2PDMA through this host bridge: try -cpu EPYC");
	if (kind != RAM_ONLY && bounces_all())
		kunit_skip(test, "all DMA is bounced, which a BAR cannot be");
	im->ex = ex_new(kind, ops);
	KUNIT_ASSERT_NOT_NULL(test, im->ex);
	KUNIT_ASSERT_EQ(test, 0, kunit_add_action_or_reset(test, destroy, im));
	im->attach = dma_buf_dynamic_attach(im->ex->dmabuf, &edu->dev,
					    importer_ops, im);
	if (IS_ERR(im->attach)) {
		int ret = PTR_ERR(im->attach);

		im->attach = NULL;
		KUNIT_ASSERT_EQ(test, ret, 0);
	}
	return im;
}

static struct importer *need(struct kunit *test, enum kind kind)
{
	return need_as(test, kind, &ex_ops, &peer_ops);
}

static void expect_idle(struct kunit *test, struct importer *im)
{
	struct dma_buf *dmabuf = im->ex->dmabuf;

	KUNIT_EXPECT_EQ(test, im->ex->gets, im->ex->puts);
	KUNIT_EXPECT_EQ(test, im->ex->pins, im->ex->unpins);
	KUNIT_EXPECT_EQ(test, atomic_read(&dmabuf->phyrs_users), 0);
	KUNIT_EXPECT_TRUE(test, list_empty(&dmabuf->mappings));
}

/* Does memory come to the device through a bounce buffer? */
static bool bounced(struct importer *im)
{
	return !behind_iommu() &&
		im_addr(im, 0) != im->ex->mix[im->ex->now].phyrs[0].addr;
}

/* Every @step-th page of the buffer is written by one side and read by the other. */
static void verify_pages(struct kunit *test, struct importer *im, u8 seed,
			 unsigned int step)
{
	struct exporter *ex = im->ex;
	unsigned int i;
	int ret;

	KUNIT_ASSERT_EQ(test, im_total(im), ex->dmabuf->size);
	for (i = 0; i < NR_PAGES; i++) {
		KUNIT_ASSERT_TRUE(test, PAGE_ALIGNED(im_addr(im, i)));
		memset(scratch + i * PIECE, seed + i, PIECE);
	}
	KUNIT_ASSERT_EQ(test, edu_load(false), 0);
	for (i = 0; i < NR_PAGES; i += step) {
		ret = edu_dma(im_addr(im, i), i * PIECE, PIECE, true);
		KUNIT_ASSERT_EQ(test, ret, 0);
	}
	KUNIT_ASSERT_EQ(test, 0, dma_buf_begin_cpu_access(ex->dmabuf,
							  DMA_BIDIRECTIONAL));
	for (i = 0; i < NR_PAGES; i += step)
		KUNIT_EXPECT_TRUE_MSG(test, cpu_sees(ex, i, seed + i),
				      "page %u: the CPU sees something else", i);
	for (i = 0; i < NR_PAGES; i++)
		cpu_writes(ex, i, seed + 100 + i);
	KUNIT_ASSERT_EQ(test, 0, dma_buf_end_cpu_access(ex->dmabuf,
							DMA_BIDIRECTIONAL));
	for (i = 0; i < NR_PAGES; i += step) {
		ret = edu_dma(im_addr(im, i), i * PIECE, PIECE, false);
		KUNIT_ASSERT_EQ(test, ret, 0);
	}
	memset(scratch, 0xee, PAGE_SIZE);
	KUNIT_ASSERT_EQ(test, edu_load(true), 0);
	for (i = 0; i < NR_PAGES; i += step)
		KUNIT_EXPECT_NULL_MSG(test,
				      memchr_inv(scratch + i * PIECE,
						 (u8)(seed + 100 + i), PIECE),
				      "page %u: the device reads something else", i);
}

static void verify(struct kunit *test, struct importer *im, u8 seed)
{
	verify_pages(test, im, seed, 7);
}

static void maps(struct kunit *test, enum kind kind, bool sgt)
{
	struct importer *im = need(test, kind);
	struct mixture *mix = &im->ex->mix[0];
	int turn, ret;

	for (turn = 0; turn < 2; turn++) {
		ret = im_map(im, sgt);
		KUNIT_ASSERT_EQ(test, ret, 0);
		verify_pages(test, im, 10 * turn + kind,
			     turn || kind != MIXED ? 5 : 1);
		if (!sgt && behind_iommu())
			KUNIT_EXPECT_EQ(test, im->r.nr, mix->nr_segs);
		else if (!sgt)
			KUNIT_EXPECT_EQ(test, im->r.nr, mix->nr_phyrs);
		im_unmap_unlocked(im);
		expect_idle(test, im);
	}
}

static void ranges_mixed(struct kunit *test) { maps(test, MIXED, false); }
static void ranges_ram(struct kunit *test) { maps(test, RAM_ONLY, false); }
static void ranges_bar(struct kunit *test) { maps(test, BAR_ONLY, false); }
static void table_mixed(struct kunit *test) { maps(test, MIXED, true); }
static void table_ram(struct kunit *test) { maps(test, RAM_ONLY, true); }
static void table_bar(struct kunit *test) { maps(test, BAR_ONLY, true); }

/* Importers that look at the pages of regular memory find them. */
static void table_has_pages(struct kunit *test)
{
	struct importer *im = need(test, RAM_ONLY);
	struct mixture *mix = &im->ex->mix[0];
	struct sg_page_iter piter;
	unsigned int i = 0;
	size_t at = 0;

	if (IS_ENABLED(CONFIG_DMABUF_DEBUG))
		kunit_skip(test, "CONFIG_DMABUF_DEBUG hides the pages");
	KUNIT_ASSERT_EQ(test, im_map(im, true), 0);
	for_each_sgtable_page(im->sgt, &piter, 0) {
		KUNIT_ASSERT_LT(test, i, mix->nr_phyrs);
		KUNIT_EXPECT_EQ(test, page_to_phys(sg_page_iter_page(&piter)),
				mix->phyrs[i].addr + at);
		at += PAGE_SIZE;
		if (at == mix->phyrs[i].len) {
			at = 0;
			i++;
		}
	}
	KUNIT_EXPECT_EQ(test, i, mix->nr_phyrs);
	im_unmap_unlocked(im);
	expect_idle(test, im);
}

/* An exporter that maps by itself */
static void ranges_of_old_exporter(struct kunit *test)
{
	struct importer *im = need_as(test, RAM_ONLY, &old_ops, &peer_ops);

	KUNIT_ASSERT_EQ(test, im_map(im, false), 0);
	if (bounced(im))
		kunit_info(test, "not compared: it does not sync\n");
	else
		verify(test, im, 77);
	im_unmap_unlocked(im);
	expect_idle(test, im);

	dma_resv_lock(im->ex->dmabuf->resv, NULL);
	KUNIT_EXPECT_EQ(test, -EOPNOTSUPP,
			im_map_locked(im, false, DMA_ATTR_REQUIRE_COHERENT));
	dma_resv_unlock(im->ex->dmabuf->resv);
	expect_idle(test, im);
}

/* Rules broken by an exporter: an error, and all is given back. */
static void bad_lists(struct kunit *test)
{
	enum { PHYR_ADDR, PHYR_LEN, EMPTY, WRAPS, SHORT, LONG, NO_PHYRS, NO_SEGS,
	       SEG_EMPTY, SEG_LONG, SEG_SHORT, SEG_HUGE, MMIO_RAM, NO_MMIO,
	       OTHER_ATTR, GET_FAILS, NR_BAD };
	struct importer *im = need(test, MIXED);
	struct mixture *mix = &im->ex->mix[0], good = *mix;
	int i, ret;

	for (i = 0; i < NR_BAD * 2; i++) {
		int want = -EINVAL;

		*mix = good;
		switch (i / 2) {
		case PHYR_ADDR:	mix->phyrs[1].addr += 512; break;
		case PHYR_LEN:
			mix->phyrs[1].len -= 512;
			mix->phyrs[2].len += 512;
			break;
		case EMPTY:
			mix->phyrs[2].len += mix->phyrs[1].len;
			mix->phyrs[1].len = 0;
			break;
		case WRAPS:	mix->phyrs[1].addr = -PAGE_SIZE;
				mix->phyrs[1].len = 2 * PAGE_SIZE; break;
		case SHORT:	mix->phyrs[0].len -= PAGE_SIZE; break;
		case LONG:	mix->phyrs[0].len = -(size_t)PAGE_SIZE; break;
		case NO_PHYRS:	mix->nr_phyrs = 0; mix->nr_segs = 0; break;
		case NO_SEGS:	mix->nr_segs = 0; break;
		case SEG_EMPTY:
			mix->segs[1].nr_phyrs += mix->segs[0].nr_phyrs;
			mix->segs[0].nr_phyrs = 0;
			break;
		case SEG_LONG:	mix->segs[1].nr_phyrs++; break;
		case SEG_SHORT:	mix->segs[1].nr_phyrs--; break;
		case SEG_HUGE:	mix->segs[1].nr_phyrs = -2U; break;
		case MMIO_RAM:	mix->segs[0].attrs = DMA_ATTR_MMIO; break;
		case NO_MMIO:	mix->segs[1].attrs = 0; break;
		case OTHER_ATTR: mix->segs[0].attrs = DMA_ATTR_SKIP_CPU_SYNC; break;
		case GET_FAILS:	im->ex->ret = want = -EXDEV; break;
		}
		ret = im_map(im, i & 1);
		KUNIT_EXPECT_EQ_MSG(test, ret, want, "case %d", i / 2);
		if (!ret)
			im_unmap_unlocked(im);
		expect_idle(test, im);
	}
	im->ex->ret = 0;
	*mix = good;
	KUNIT_EXPECT_EQ(test, im_map(im, false), 0);
	verify(test, im, 1);

	dma_resv_lock(im->ex->dmabuf->resv, NULL);
	im_unmap(im);
	KUNIT_EXPECT_EQ(test, -EINVAL,
			im_map_locked(im, false, DMA_ATTR_SKIP_CPU_SYNC));
	dma_resv_unlock(im->ex->dmabuf->resv);
	expect_idle(test, im);
}

/*
 * IOVA space is cut by the limits of the device into more DMA ranges than there
 * are ranges; those of the next segments need their room all the same.
 */
static struct importer *map_cut(struct kunit *test)
{
	struct importer *im = need(test, MIXED);
	unsigned int was = dma_get_max_seg_size(&edu->dev), i;
	struct mixture *mix = &im->ex->mix[0];
	int ret;

	memset(mix, 0, sizeof(*mix));
	add(im->ex, mix, false, 0, 5);
	add(im->ex, mix, false, 10, 5);
	for (i = 0; i < NR_PAGES - 10; i++)
		add(im->ex, mix, true, 2 * i, 1);
	dma_set_max_seg_size(&edu->dev, PAGE_SIZE);
	ret = im_map(im, false);
	dma_set_max_seg_size(&edu->dev, was);
	KUNIT_ASSERT_EQ(test, ret, 0);
	/* which is what there is room for */
	KUNIT_EXPECT_LE(test, im->r.nr, mix->nr_phyrs);
	return im;
}

static void segments_keep_apart(struct kunit *test)
{
	verify(test, map_cut(test), 5);
}

/* Below one switch.  QEMU's takes no bus addresses past an IOMMU. */
static void bus_addresses(struct kunit *test)
{
	struct importer *im;
	unsigned int i;

	if (!edu || !shm || pci_p2pdma_map_type(shm_provider, &edu->dev) !=
			    PCI_P2PDMA_MAP_BUS_ADDR)
		kunit_skip(test, "edu and ivshmem are not below one switch");
	im = map_cut(test);
	KUNIT_EXPECT_EQ(test, im_total(im), NR_PAGES * PAGE_SIZE);
	for (i = 0; i < NR_PAGES - 10; i++)
		KUNIT_EXPECT_EQ(test, im_addr(im, 10 + i),
				pci_p2pdma_bus_addr_map(shm_provider, bar_phys) +
				2 * i * PAGE_SIZE);
	im_unmap_unlocked(im);
	expect_idle(test, im);
}

/* Entries are joined as far as the device takes them; a range stays whole. */
static void table_joins_as_far(struct kunit *test)
{
	struct importer *im = need(test, RAM_ONLY);
	unsigned int was = dma_get_max_seg_size(&edu->dev), i;
	struct mixture *mix = &im->ex->mix[0];
	struct scatterlist *sg;
	int ret;

	memset(mix, 0, sizeof(*mix));
	for (i = 0; i < 16; i++)
		add(im->ex, mix, false, i, 1);
	add(im->ex, mix, false, 20, NR_PAGES - 16);
	/*
	 * The last range is not cut, as exporters never did for a device.  DMA
	 * debugging warns of that, on any kernel.
	 */
	dma_set_max_seg_size(&edu->dev, (IS_ENABLED(CONFIG_DMA_API_DEBUG) ? 8 : 4) * PAGE_SIZE);
	ret = im_map(im, true);
	dma_set_max_seg_size(&edu->dev, was);
	KUNIT_ASSERT_EQ(test, ret, 0);
	KUNIT_EXPECT_LT(test, im->sgt->orig_nents, 16 + 1);
	for_each_sgtable_sg(im->sgt, sg, i)
		KUNIT_EXPECT_LE(test, sg->length, (NR_PAGES - 16) * PAGE_SIZE);
	verify(test, im, 6);
}

static void no_peer2peer(struct kunit *test)
{
	struct importer *im = need_as(test, MIXED, &ex_ops, &no_peer_ops);

	KUNIT_EXPECT_EQ(test, im_map(im, false), -EOPNOTSUPP);
	KUNIT_EXPECT_EQ(test, im_map(im, true), -EOPNOTSUPP);
	expect_idle(test, im);

	im = need_as(test, RAM_ONLY, &ex_ops, &no_peer_ops);
	KUNIT_ASSERT_EQ(test, im_map(im, false), 0);
	verify(test, im, 2);
}

/* A device that cannot reach the peer, as there is no host bridge it is below */
static void peer_out_of_reach(struct kunit *test)
{
	struct importer *im = need(test, MIXED);
	struct device *dev = &shm->dev;
	int i, ret;

	/* A device that is not on PCI */
	dev = kunit_kzalloc(test, sizeof(*dev), GFP_KERNEL);
	KUNIT_ASSERT_NOT_NULL(test, dev);
	im->attach->dev = dev;
	KUNIT_EXPECT_EQ(test, im_map(im, false), -EOPNOTSUPP); /* no mask */
	KUNIT_EXPECT_EQ(test, im_map(im, true), -EOPNOTSUPP);
	dev->dma_mask = &dev->coherent_dma_mask;
	dev->coherent_dma_mask = DMA_BIT_MASK(64);
	/* regular memory comes first, and has to be unmapped again */
	for (i = 0; i < 2; i++) {
		ret = im_map(im, i);
		KUNIT_EXPECT_EQ(test, ret, -EREMOTEIO);
	}
	im->attach->dev = &edu->dev;
	expect_idle(test, im);
}

/* Importers that cannot be told are kept from moves by pinning. */
static void static_importer(struct kunit *test)
{
	struct importer *im = need_as(test, RAM_ONLY, &ex_ops, NULL);
	int i;

	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, im_map(im, i), 0);
		KUNIT_EXPECT_EQ(test, im->ex->pins, im->ex->unpins + 1);
		verify(test, im, i);
		im_unmap_unlocked(im);
		expect_idle(test, im);
		im->ex->ret = -EXDEV;
		KUNIT_EXPECT_EQ(test, im_map(im, i), -EXDEV);
		im->ex->ret = 0;
		expect_idle(test, im);
	}
}

/* Nothing is mapped where the buffer was. */
static void expect_unmapped(struct kunit *test, const dma_addr_t *addrs)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&edu->dev);
	int i;

	if (!behind_iommu())
		return;
	for (i = 0; i < NR_PAGES; i++)
		KUNIT_EXPECT_EQ_MSG(test, iommu_iova_to_phys(domain, addrs[i]),
				    0, "page %d", i);
}

static void revoke(struct kunit *test)
{
	struct importer *im = need(test, MIXED);
	struct dma_buf *dmabuf = im->ex->dmabuf;
	dma_addr_t addrs[NR_PAGES];
	int i, turn;

	im->unmap_when_told = true;
	for (turn = 0; turn < 4; turn++) {
		KUNIT_ASSERT_EQ(test, im_map(im, turn & 1), 0);
		verify(test, im, turn);
		for (i = 0; i < NR_PAGES; i++)
			addrs[i] = im_addr(im, i);
		/* on x86 the addresses below may be in a pool of addresses */
		dma_buf_revoke(dmabuf);
		KUNIT_EXPECT_EQ(test, im->told, turn + 1);
		expect_idle(test, im);
		expect_unmapped(test, addrs);
		KUNIT_EXPECT_EQ(test, im_map(im, false), -ENODEV);
		KUNIT_EXPECT_EQ(test, im_map(im, true), -ENODEV);
		expect_idle(test, im);
		/* once more is no harm */
		dma_buf_revoke(dmabuf);
		KUNIT_EXPECT_EQ(test, im->told, turn + 1);
		dma_buf_unrevoke(dmabuf);
	}
	KUNIT_ASSERT_EQ(test, im_map(im, false), 0);
	verify(test, im, turn);
}

/* A buffer that nobody is attached to */
static void revoke_unattached(struct kunit *test)
{
	struct importer *im = need(test, RAM_ONLY);

	dma_buf_detach(im->ex->dmabuf, im->attach);
	im->attach = NULL;
	dma_buf_revoke(im->ex->dmabuf);
	dma_buf_unrevoke(im->ex->dmabuf);
	expect_idle(test, im);
}

struct late {
	struct importer *im;
	struct completion done;
	bool unmapped;
};

static int unmap_late(void *arg)
{
	struct late *late = arg;

	while (!READ_ONCE(late->im->told))
		msleep(1);
	msleep(100);
	dma_resv_lock(late->im->ex->dmabuf->resv, NULL);
	WRITE_ONCE(late->unmapped, true);
	im_unmap(late->im);
	dma_resv_unlock(late->im->ex->dmabuf->resv);
	complete(&late->done);
	return 0;
}

/* An importer that needs time: revoking waits for it. */
static void revoke_waits(struct kunit *test)
{
	struct late late = { .im = need(test, MIXED) };
	struct task_struct *task;
	int i;

	for (i = 0; i < 2; i++) {
		init_completion(&late.done);
		late.unmapped = false;
		late.im->told = 0;
		KUNIT_ASSERT_EQ(test, im_map(late.im, i), 0);
		task = kthread_run(unmap_late, &late, "unmap_late");
		KUNIT_ASSERT_FALSE(test, IS_ERR(task));
		dma_buf_revoke(late.im->ex->dmabuf);
		KUNIT_EXPECT_TRUE(test, READ_ONCE(late.unmapped));
		expect_idle(test, late.im);
		wait_for_completion(&late.done);
		dma_buf_unrevoke(late.im->ex->dmabuf);
	}
}

static void move(struct exporter *ex)
{
	dma_resv_lock(ex->dmabuf->resv, NULL);
	dma_buf_invalidate_mappings(ex->dmabuf);
	ex->now ^= 1;
	dma_resv_unlock(ex->dmabuf->resv);
}

struct mover {
	struct exporter *ex;
	struct completion done;
	bool stop;
	int moves, revokes;
};

static int moving(void *arg)
{
	struct mover *m = arg;
	struct dma_buf *dmabuf = m->ex->dmabuf;

	while (!READ_ONCE(m->stop)) {
		if (m->moves % 3 == 2) {
			dma_buf_revoke(dmabuf);
			m->revokes++;
			usleep_range(100, 1000);
			dma_buf_unrevoke(dmabuf);
		}
		move(m->ex);
		m->moves++;
		msleep(50);
	}
	complete(&m->done);
	return 0;
}

/*
 * A mixture moves to another one, and is revoked, while a device works on it.
 * DMA takes place under the lock, as edu has no fences.
 */
static void move_under_load(struct kunit *test)
{
	struct importer *im = need(test, MIXED);
	struct dma_resv *resv = im->ex->dmabuf->resv;
	struct mover m = { .ex = im->ex };
	struct task_struct *task;
	unsigned long end = jiffies + 20 * HZ;
	int maps = 0, refused = 0, writes = 0, i;

	im->unmap_when_told = true;
	init_completion(&m.done);
	task = kthread_run(moving, &m, "moving");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	while (time_before(jiffies, end)) {
		int ret = 0;

		dma_resv_lock(resv, NULL);
		if (!im->r.nr && !im->sgt) {
			ret = im_map_locked(im, maps & 1, 0);
			if (ret == -ENODEV)
				refused++;
			else
				maps++;
		}
		for (i = 0; !ret && i < 1; i++, writes++) {
			unsigned int page = writes * 5 % NR_PAGES;
			u8 byte = writes;

			ret = device_writes(im_addr(im, page), byte);
			if (!ret && !bounced(im) && !cpu_sees(im->ex, page, byte))
				ret = -EIO;
		}
		dma_resv_unlock(resv);
		if (ret && ret != -ENODEV) {
			KUNIT_FAIL(test, "%d after %d maps", ret, maps);
			break;
		}
		cond_resched();
	}
	WRITE_ONCE(m.stop, true);
	wait_for_completion(&m.done);
	im_unmap_unlocked(im);
	expect_idle(test, im);
	kunit_info(test, "%d moves, %d revokes, %d maps, %d refused, %d writes\n",
		   m.moves, m.revokes, maps, refused, writes);
	KUNIT_EXPECT_GT(test, m.revokes, 10);
	KUNIT_EXPECT_GT(test, maps, 20);
}

struct racer {
	struct exporter *ex;
	struct completion done;
	bool stop;
	int maps, refused, ret;
};

/* Comes, maps, and goes; what it has mapped the mover may have unmapped by then. */
static int racing(void *arg)
{
	struct racer *r = arg;
	int turn;

	for (turn = 0; !READ_ONCE(r->stop) && !r->ret; turn++) {
		struct importer im = { .ex = r->ex, .unmap_when_told = true };
		int ret;

		im.attach = dma_buf_dynamic_attach(r->ex->dmabuf, &edu->dev,
						   &peer_ops, &im);
		if (IS_ERR(im.attach)) {
			r->ret = PTR_ERR(im.attach);
			break;
		}
		ret = im_map(&im, turn & 1);
		if (!ret)
			r->maps++;
		else if (ret == -ENODEV)
			r->refused++;
		else
			r->ret = ret;
		usleep_range(0, 1000 * (turn % 4));
		im_unmap_unlocked(&im);
		dma_buf_detach(r->ex->dmabuf, im.attach);
	}
	complete(&r->done);
	return 0;
}

/* Importers attach and detach while the buffer moves and is revoked. */
static void attach_races(struct kunit *test)
{
	struct importer *im = need(test, MIXED);
	struct racer racers[2] = { { .ex = im->ex }, { .ex = im->ex } };
	struct mover m = { .ex = im->ex };
	struct task_struct *task;
	int i;

	init_completion(&m.done);
	for (i = 0; i < 2; i++)
		init_completion(&racers[i].done);
	task = kthread_run(moving, &m, "moving");
	KUNIT_ASSERT_FALSE(test, IS_ERR(task));
	for (i = 0; i < 2; i++) {
		task = kthread_run(racing, &racers[i], "racing");
		if (IS_ERR(task)) {
			racers[i].ret = PTR_ERR(task);
			complete(&racers[i].done);
		}
	}
	msleep(1500);
	for (i = 0; i < 2; i++) {
		WRITE_ONCE(racers[i].stop, true);
		wait_for_completion(&racers[i].done);
	}
	WRITE_ONCE(m.stop, true);
	wait_for_completion(&m.done);
	for (i = 0; i < 2; i++) {
		kunit_info(test, "%d moves, %d revokes, %d maps, %d refused\n",
			   m.moves, m.revokes, racers[i].maps,
			   racers[i].refused);
		KUNIT_EXPECT_EQ(test, racers[i].ret, 0);
		KUNIT_EXPECT_GT(test, racers[i].maps, 20);
	}
	KUNIT_EXPECT_GT(test, racers[0].refused + racers[1].refused, 0);
	expect_idle(test, im);
	KUNIT_EXPECT_TRUE(test, list_is_singular(&im->ex->dmabuf->attachments));
	KUNIT_ASSERT_EQ(test, im_map(im, false), 0);
	verify(test, im, 9);
}

/* What a bounce buffer has, CPUs see after dma_buf_begin_cpu_access() only. */
static void cpu_access_bounced(struct kunit *test)
{
	struct importer *im = need(test, RAM_ONLY);
	int i;

	for (i = 0; i < 2; i++) {
		KUNIT_ASSERT_EQ(test, im_map(im, i), 0);
		if (!bounced(im))
			kunit_skip(test, "memory is not bounced here");
		KUNIT_ASSERT_EQ(test, 0, device_writes(im_addr(im, 5), 0x55));
		KUNIT_EXPECT_FALSE(test, cpu_sees(im->ex, 5, 0x55));
		KUNIT_ASSERT_EQ(test, 0,
				dma_buf_begin_cpu_access(im->ex->dmabuf,
							 DMA_FROM_DEVICE));
		KUNIT_EXPECT_TRUE(test, cpu_sees(im->ex, 5, 0x55));
		/* the CPU only reads: what the device writes now stays */
		KUNIT_ASSERT_EQ(test, 0, device_writes(im_addr(im, 6), 0x66));
		KUNIT_ASSERT_EQ(test, 0,
				dma_buf_end_cpu_access(im->ex->dmabuf,
						       DMA_FROM_DEVICE));
		/* and unmapping brings it */
		im_unmap_unlocked(im);
		KUNIT_EXPECT_TRUE(test, cpu_sees(im->ex, 6, 0x66));
		cpu_writes(im->ex, 5, 0);
	}
	/* Where memory has to be coherent, it is refused. */
	dma_resv_lock(im->ex->dmabuf->resv, NULL);
	KUNIT_EXPECT_NE(test, 0,
			im_map_locked(im, false, DMA_ATTR_REQUIRE_COHERENT));
	dma_resv_unlock(im->ex->dmabuf->resv);
	expect_idle(test, im);
}

static void coherent(struct kunit *test)
{
	struct importer *im = need(test, MIXED);
	int ret;

	dma_resv_lock(im->ex->dmabuf->resv, NULL);
	ret = im_map_locked(im, false, DMA_ATTR_REQUIRE_COHERENT);
	dma_resv_unlock(im->ex->dmabuf->resv);
	if (ret && !behind_iommu())
		kunit_skip(test, "not without bouncing: %d", ret);
	KUNIT_ASSERT_EQ(test, ret, 0);
	verify(test, im, 5);
	KUNIT_EXPECT_TRUE(test, list_empty(&im->ex->dmabuf->mappings));
}

#if IS_ENABLED(CONFIG_FAILSLAB)
/* Each allocation on the way fails in turn, until none is left to fail. */
static void alloc_fails(struct kunit *test)
{
	struct importer *im;
	int n, kind, sgt;

	if (!failslab)
		kunit_skip(test, "failslab spares allocations that may sleep");
	for (kind = MIXED; kind <= BAR_ONLY; kind++) {
		im = need(test, kind);
		for (sgt = 0; sgt < 2; sgt++) {
			for (n = 1; n < 200; n++) {
				int left, ret;

				dma_resv_lock(im->ex->dmabuf->resv, NULL);
				current->fail_nth = n;
				ret = im_map_locked(im, sgt, 0);
				left = current->fail_nth;
				current->fail_nth = 0;
				dma_resv_unlock(im->ex->dmabuf->resv);
				if (!ret) {
					verify(test, im, n);
					im_unmap_unlocked(im);
				} else {
					KUNIT_EXPECT_EQ(test, ret, -ENOMEM);
				}
				expect_idle(test, im);
				if (left)
					break;
			}
			kunit_info(test, "kind %d, %s: %d allocations failed\n",
				   kind, sgt ? "table" : "ranges", n - 1);
			KUNIT_EXPECT_GT(test, n, 2);
		}
	}
}
#else
static void alloc_fails(struct kunit *test)
{
	kunit_skip(test, "no CONFIG_FAILSLAB");
}
#endif

/* For kmemleak, and for whoever counts IOVA space */
static void cycles(struct kunit *test)
{
	struct importer *im = need(test, MIXED);
	int i, ret;

	for (i = 0; i < (IS_ENABLED(CONFIG_KASAN) ? 2000 : 20000); i++) {
		ret = im_map(im, i & 1);
		KUNIT_ASSERT_EQ(test, ret, 0);
		im_unmap_unlocked(im);
	}
	expect_idle(test, im);
}

static struct kunit_case dmabuf_cases[] = {
	KUNIT_CASE(ranges_mixed),
	KUNIT_CASE(ranges_ram),
	KUNIT_CASE(ranges_bar),
	KUNIT_CASE(table_mixed),
	KUNIT_CASE(table_ram),
	KUNIT_CASE(table_bar),
	KUNIT_CASE(table_has_pages),
	KUNIT_CASE(ranges_of_old_exporter),
	KUNIT_CASE(bad_lists),
	KUNIT_CASE(segments_keep_apart),
	KUNIT_CASE(bus_addresses),
	KUNIT_CASE(table_joins_as_far),
	KUNIT_CASE(no_peer2peer),
	KUNIT_CASE(peer_out_of_reach),
	KUNIT_CASE(static_importer),
	KUNIT_CASE(revoke),
	KUNIT_CASE(revoke_unattached),
	KUNIT_CASE(revoke_waits),
	KUNIT_CASE_SLOW(move_under_load),
	KUNIT_CASE_SLOW(attach_races),
	KUNIT_CASE(cpu_access_bounced),
	KUNIT_CASE(coherent),
	KUNIT_CASE_SLOW(alloc_fails),
	KUNIT_CASE_SLOW(cycles),
	{ }
};

static struct kunit_suite dmabuf_suite = {
	.name = "dmabuf_device",
	.test_cases = dmabuf_cases,
};

kunit_test_suites(&dmabuf_suite);

/* A mixture for programs */

#define TEST_NEW	_IO('d', 0)
#define TEST_REVOKE	_IO('d', 1)
#define TEST_UNREVOKE	_IO('d', 2)
#define TEST_IMPORT	_IO('d', 3)
#define TEST_MOVE	_IO('d', 4)

/*
 * The device writes to the first and the last page of any dma-buf, mapped as a
 * table and as ranges.
 */
static int test_import(struct dma_buf *dmabuf)
{
	unsigned int last = dmabuf->size / PAGE_SIZE - 1;
	struct importer im = {};
	int ret, i;

	if (!edu)
		return -ENODEV;
	im.attach = dma_buf_attach(dmabuf, &edu->dev);
	if (IS_ERR(im.attach))
		return PTR_ERR(im.attach);
	for (i = 0; i < 2; i++) {
		dma_resv_lock(dmabuf->resv, NULL);
		ret = im_map_locked(&im, !i, 0);
		if (!ret)
			ret = device_writes(im_addr(&im, i ? last : 0), 0x5a + i);
		im_unmap(&im);
		dma_resv_unlock(dmabuf->resv);
		if (ret)
			break;
	}
	dma_buf_detach(dmabuf, im.attach);
	return ret;
}

static long test_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dma_buf *dmabuf;
	struct exporter *ex;
	int ret = 0;

	if (cmd == TEST_NEW) {
		if (!shm)
			return -ENODEV;
		ex = ex_new(MIXED, &ex_ops);
		if (!ex)
			return -ENOMEM;
		ret = dma_buf_fd(ex->dmabuf, O_RDWR | O_CLOEXEC);
		if (ret < 0)
			dma_buf_put(ex->dmabuf);
		return ret;
	}
	dmabuf = dma_buf_get(arg);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	if (cmd == TEST_IMPORT)
		ret = test_import(dmabuf);
	else if (dmabuf->ops != &ex_ops)
		ret = -EINVAL;
	else if (cmd == TEST_REVOKE)
		dma_buf_revoke(dmabuf);
	else if (cmd == TEST_UNREVOKE)
		dma_buf_unrevoke(dmabuf);
	else if (cmd == TEST_MOVE)
		move(dmabuf->priv);
	else
		ret = -ENOTTY;
	dma_buf_put(dmabuf);
	return ret;
}

static const struct file_operations test_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = test_ioctl,
};

static struct miscdevice test_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmabuf_test",
	.fops = &test_fops,
};

static int __init dmabuf_kunit_init(void)
{
	int ret;

	ret = misc_register(&test_misc);
	if (ret)
		return ret;
	ret = pci_register_driver(&edu_driver);
	if (ret)
		goto err_misc;
	ret = dmabuf_devices();
	if (ret)
		goto err_driver;
	return 0;

err_driver:
	pci_unregister_driver(&edu_driver);
err_misc:
	misc_deregister(&test_misc);
	return ret;
}
module_init(dmabuf_kunit_init);

static void __exit dmabuf_kunit_exit(void)
{
	pci_unregister_driver(&edu_driver);
	misc_deregister(&test_misc);
}
module_exit(dmabuf_kunit_exit);

MODULE_IMPORT_NS("DMA_BUF");
MODULE_DESCRIPTION("KUnit tests of dma-bufs as physical ranges on QEMU's edu device");
MODULE_LICENSE("GPL");
