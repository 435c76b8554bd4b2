// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/umem_test: memory regions of an RDMA device that is QEMU's edu, as its
 * driver would have them: ib_umem_get_va(), or ib_umem_dmabuf_get_pinned() and its
 * kin for buffers that are revoked or move, the best page size, and a table of the
 * blocks of that size.  The table is compared with the memory through the IOMMU's
 * page table, and edu writes where it says.
 *
 * The other half, a device of software, has no DMA addresses but pages.
 *
 * Each open file has one region.  Out of tree on purpose: the same source is
 * built against the base, to compare what it costs there.
 */
#include <linux/bitops.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/io.h>
#include <linux/iommu.h>
#include <linux/ktime.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/overflow.h>
#include <linux/slab.h>
#include <linux/uaccess.h>
#include <rdma/ib_umem.h>
#include <rdma/ib_verbs.h>
#include <rdma/iter.h>
#include "edu.h"
#include "umem_test.h"
#ifdef HAVE_UMEM_PHYRS
#include <linux/dma-buf-phyrs.h>
#endif

#define EDU_BUFFER	0x40000

struct region {
	struct mutex lock;
	struct ib_umem *umem;
	struct ib_umem_dmabuf *dmabuf;	/* whose umem it is, if any */
	u64 pgsz_bitmap, iova;
	unsigned long pgsz;
	u64 *blocks;		/* of a dma-buf: with its lock held */
	bool dynamic, revoked;
};

static struct ib_device *dma_dev, *virt_dev;
static void __iomem *bar;
static u8 *pattern;
static dma_addr_t pattern_dma;
static DEFINE_MUTEX(edu_lock);	/* below that of a dma-buf */
static DEFINE_MUTEX(mask_lock);	/* edu's mask; above mmap_lock */

static int edu_dma(u64 from, u64 to, u64 bytes, u64 direction)
{
	int i;

	writeq(from, bar + 0x80);
	writeq(to, bar + 0x88);
	writeq(bytes, bar + 0x90);
	writeq(1 | direction, bar + 0x98);
	for (i = 0; i < 2000; i++) {
		if (!(readq(bar + 0x98) & 1))
			return 0;
		usleep_range(500, 1000);
	}
	return -ETIMEDOUT;
}

static void buffer_lock(struct region *r)
{
	if (r->dmabuf)
		dma_resv_lock(r->dmabuf->attach->dmabuf->resv, NULL);
}

static void buffer_unlock(struct region *r)
{
	if (r->dmabuf)
		dma_resv_unlock(r->dmabuf->attach->dmabuf->resv);
}

static void release(struct region *r)
{
	buffer_lock(r);
	kvfree(r->blocks);
	r->blocks = NULL;
	buffer_unlock(r);
	ib_umem_release(r->umem);
	r->umem = NULL;
	r->dmabuf = NULL;
	r->pgsz = 0;
	r->dynamic = r->revoked = false;
}

/* The buffer moves: the device's table goes, until it is needed again. */
static void moved(struct dma_buf_attachment *attach)
{
	struct ib_umem_dmabuf *d = attach->importer_priv;
	struct region *r = d->private;

	if (r) {
		kvfree(r->blocks);
		r->blocks = NULL;
	}
	ib_umem_dmabuf_unmap_pages(d);
}

static const struct dma_buf_attach_ops dynamic_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = moved,
};

/* The table stays, for who wants to know what is left of it. */
static void revoked(void *priv)
{
	struct region *r = priv;

	r->revoked = true;
}

/* What is kept of the memory, other than struct ib_umem */
#ifdef HAVE_UMEM_PHYRS
static u64 bytes_of(const void *p, size_t size)
{
	return is_vmalloc_addr(p) ? PAGE_ALIGN(size) :
				    kmalloc_size_roundup(size);
}
#endif

static u64 bytes_kept(struct ib_umem *umem)
{
#ifdef HAVE_UMEM_PHYRS
	if (umem->is_dmabuf) {
		struct ib_umem_dmabuf *d = to_ib_umem_dmabuf(umem);

		return bytes_of(d->map.ranges, d->map.nr * sizeof(*d->map.ranges)) +
		       bytes_of(umem->ranges, umem->nr_ranges * sizeof(*umem->ranges));
	}
	return bytes_of(umem->phyrs, umem->nr_phyrs * sizeof(*umem->phyrs)) +
	       bytes_of(umem->ranges, umem->nr_ranges * sizeof(*umem->ranges));
#else
	if (umem->is_dmabuf)
		return to_ib_umem_dmabuf(umem)->sgt->orig_nents *
		       sizeof(struct scatterlist);
	/* whole chunks, each of which but the last has an entry for the link */
	return umem->sgt_append.total_nents * sizeof(struct scatterlist);
#endif
}

static int get(struct region *r, struct umem_test *t, struct ib_umem **out)
{
	struct ib_device *dev = t->flags & UMEM_TEST_VIRT ? virt_dev : dma_dev;
	struct ib_umem *umem;

	if (t->flags & UMEM_TEST_DMABUF) {
		struct ib_umem_dmabuf *d;

		if (t->flags & UMEM_TEST_DYNAMIC)
			d = ib_umem_dmabuf_get(dev, t->addr, t->len, t->fd,
					       t->access, &dynamic_ops);
		else if (t->flags & UMEM_TEST_REVOCABLE)
			d = ib_umem_dmabuf_get_pinned_revocable_and_lock(dev,
					t->addr, t->len, t->fd, t->access);
		else
			d = ib_umem_dmabuf_get_pinned(dev, t->addr, t->len,
						      t->fd, t->access);
		if (IS_ERR(d))
			return PTR_ERR(d);
		if (t->flags & UMEM_TEST_REVOCABLE) {
			ib_umem_dmabuf_set_revoke_locked(d, revoked, r);
			dma_resv_unlock(d->attach->dmabuf->resv);
		}
		umem = &d->umem;
	} else {
		umem = ib_umem_get_va(dev, t->addr, t->len, t->access);
		if (IS_ERR(umem))
			return PTR_ERR(umem);
	}
	*out = umem;
	return 0;
}

/* Through the table, as the device would go; in steps of a page */
static dma_addr_t device_addr(struct region *r, u64 offset)
{
	u64 iova = r->umem->iova + offset;
	u64 first = ALIGN_DOWN(r->umem->iova, r->pgsz);

	return r->blocks[(iova - first) / r->pgsz] + (iova & (r->pgsz - 1));
}

#ifdef HAVE_UMEM_PHYRS
static phys_addr_t translate(dma_addr_t addr)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&edu->dev);

	if (!domain || domain->type == IOMMU_DOMAIN_IDENTITY)
		return addr;
	return iommu_iova_to_phys(domain, addr);
}

/* Where the exporter has the page that is @offset bytes into the region */
static phys_addr_t exported(struct region *r, struct dma_buf_phyrs *p, u64 offset)
{
	unsigned int i;

	offset += r->umem->address;
	for (i = 0; i < p->nr_phyrs; i++) {
		if (offset < p->phyrs[i].len)
			return p->phyrs[i].addr + offset;
		offset -= p->phyrs[i].len;
	}
	return PHYS_ADDR_MAX;
}

/* By the exporter itself: dma_buf_get_phyrs() is for iommufd only. */
static u64 check_dmabuf(struct region *r, u64 *pages)
{
	struct dma_buf_attachment *attach = r->dmabuf->attach;
	const struct dma_buf_ops *ops = attach->dmabuf->ops;
	struct dma_buf_phyrs p = {};
	u64 wrong = 0, offset;

	*pages = 0;
	if (!ops->get_phyrs || ops->get_phyrs(attach, &p))
		return 1;
	for (offset = 0; offset < r->umem->length;
	     offset += PAGE_SIZE - offset_in_page(r->umem->address + offset)) {
		if (translate(device_addr(r, offset)) != exported(r, &p, offset))
			wrong++;
		++*pages;
	}
	if (ops->put_phyrs)
		ops->put_phyrs(attach, &p);
	return wrong;
}

static u64 check(struct region *r, u64 *pages)
{
	struct ib_umem *umem = r->umem;
	struct ib_umem_page_iter iter;
	u64 wrong = 0, offset = 0;
	struct page *page;

	if (r->dmabuf)
		return check_dmabuf(r, pages);
	*pages = 0;
	ib_umem_for_each_page(umem, &iter, page) {
		u64 in_page = *pages ? 0 : ib_umem_offset(umem);

		if (r->blocks && translate(device_addr(r, offset)) !=
		    page_to_phys(page) + in_page)
			wrong++;
		offset += PAGE_SIZE - in_page;
		++*pages;
	}
	return wrong;
}

/* Pages of the region that the device can still reach, behind an IOMMU */
static u64 still_mapped(struct region *r)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(&edu->dev);
	u64 mapped = 0, offset;

	if (!r->blocks || !domain || domain->type == IOMMU_DOMAIN_IDENTITY)
		return 0;
	for (offset = 0; offset < r->umem->length; offset += PAGE_SIZE)
		if (iommu_iova_to_phys(domain, device_addr(r, offset)))
			mapped++;
	return mapped;
}
#else
static u64 check(struct region *r, u64 *pages)
{
	*pages = ib_umem_num_pages(r->umem);
	return 0;
}

static u64 still_mapped(struct region *r)
{
	return 0;
}
#endif

/* What the device is to know: the blocks of the best size */
static int make_table(struct region *r)
{
	struct ib_block_iter biter;
	size_t n = 0, nr;

	r->pgsz = ib_umem_find_best_pgsz(r->umem, r->pgsz_bitmap, r->iova);
	if (!r->pgsz)
		return -EOPNOTSUPP;
	nr = ib_umem_num_dma_blocks(r->umem, r->pgsz);
	r->blocks = kvmalloc_array(nr, sizeof(*r->blocks), GFP_KERNEL);
	if (!r->blocks)
		return -ENOMEM;
	rdma_umem_for_each_dma_block(r->umem, &biter, r->pgsz) {
		if (n < nr)
			r->blocks[n] = rdma_block_iter_dma_address(&biter);
		n++;
	}
	if (n == nr)
		return 0;
	kvfree(r->blocks);
	r->blocks = NULL;
	return -EPROTO;
}

/* With the lock of the buffer: what moved is mapped again, where it is now. */
static int fault(struct region *r)
{
	int ret;

	if (r->revoked)
		return -ENODEV;
	if (!r->dynamic)
		return 0;
	ret = ib_umem_dmabuf_map_pages(r->dmabuf);
	if (!ret && !r->blocks)
		ret = make_table(r);
	return ret;
}

static int reg(struct region *r, struct umem_test *t)
{
	struct ib_umem *umem;
	int ret;

	if (r->umem)
		return -EBUSY;
	if (t->flags & UMEM_TEST_NARROW) {
		mutex_lock(&mask_lock);
		ret = dma_set_mask(&edu->dev, DMA_BIT_MASK(24));
		if (!ret)
			ret = get(r, t, &umem);
		dma_set_mask(&edu->dev, DMA_BIT_MASK(64));
		mutex_unlock(&mask_lock);
	} else {
		ret = get(r, t, &umem);
	}
	if (ret)
		return ret;
	r->umem = umem;
	r->pgsz_bitmap = t->pgsz_bitmap;
	r->iova = t->iova;
	if (t->flags & UMEM_TEST_DMABUF)
		r->dmabuf = to_ib_umem_dmabuf(umem);
	buffer_lock(r);
	if (t->flags & UMEM_TEST_DYNAMIC) {
		r->dynamic = true;
		r->dmabuf->private = r;
		ret = fault(r);
	} else if (!(t->flags & UMEM_TEST_VIRT)) {
		ret = make_table(r);
	}
	if (!ret) {
		t->bytes = bytes_kept(umem);
#ifdef HAVE_UMEM_PHYRS
		t->nr_phyrs = umem->nr_phyrs;
		t->nr_ranges = umem->nr_ranges;
#endif
		t->pgsz = r->pgsz;
		t->nr_blocks = r->blocks ? ib_umem_num_dma_blocks(umem, r->pgsz) : 0;
		t->wrong = check(r, &t->nr_pages);
	}
	buffer_unlock(r);
	if (ret)
		release(r);
	return ret;
}

/* Where in the region edu is to write its pattern, in pieces at page boundaries */
static int dma_write(struct region *r, struct umem_test *t)
{
	u64 offset = t->offset, done, len;
	int ret;

	if (offset > r->umem->length ||
	    r->umem->length - offset < UMEM_TEST_PATTERN)
		return -EINVAL;
	buffer_lock(r);
	ret = fault(r);
	if (!ret && !r->blocks)
		ret = -EINVAL;
	if (ret)
		goto out;
	t->wrong = check(r, &t->nr_pages);
	mutex_lock(&edu_lock);
	for (done = 0; done < UMEM_TEST_PATTERN && !ret; done += len) {
		len = min(UMEM_TEST_PATTERN - done, PAGE_SIZE -
			  offset_in_page(r->umem->address + offset + done));
		ret = edu_dma(EDU_BUFFER + done, device_addr(r, offset + done),
			      len, 2);
	}
	mutex_unlock(&edu_lock);
out:
	buffer_unlock(r);
	return ret;
}

static int copy_from(struct region *r, struct umem_test *t)
{
	void *data;
	int ret;

	if (t->len > SZ_1M)
		return -EINVAL;
	data = kvmalloc(t->len, GFP_KERNEL);
	if (!data)
		return -ENOMEM;
	ret = ib_umem_copy_from(data, r->umem, t->offset, t->len);
	if (!ret && copy_to_user(u64_to_user_ptr(t->addr), data, t->len))
		ret = -EFAULT;
	kvfree(data);
	return ret;
}

static int bench(struct region *r, struct umem_test *t)
{
	struct ib_umem *umem;
	u64 start;
	int ret;

	start = ktime_get_ns();
	ret = get(r, t, &umem);
	t->reg_ns = ktime_get_ns() - start;
	if (ret)
		return ret;
	t->bytes = bytes_kept(umem);
	start = ktime_get_ns();
	ib_umem_release(umem);
	t->release_ns = ktime_get_ns() - start;
	return 0;
}

static long umem_test_ioctl(struct file *file, unsigned int cmd,
			    unsigned long arg)
{
	struct region *r = file->private_data;
	struct umem_test t;
	int ret;

	if (copy_from_user(&t, (void __user *)arg, sizeof(t)))
		return -EFAULT;
	mutex_lock(&r->lock);
	if (!r->umem && cmd != UMEM_TEST_REG && cmd != UMEM_TEST_BENCH) {
		ret = -ENXIO;
		goto out;
	}
	switch (cmd) {
	case UMEM_TEST_REG:
		ret = reg(r, &t);
		break;
	case UMEM_TEST_RELEASE:
		release(r);
		ret = 0;
		break;
	case UMEM_TEST_WRITE:
		ret = dma_write(r, &t);
		break;
	case UMEM_TEST_COPY:
		ret = copy_from(r, &t);
		break;
	case UMEM_TEST_BENCH:
		ret = bench(r, &t);
		break;
	case UMEM_TEST_MAPPED:
		buffer_lock(r);
		t.nr_pages = still_mapped(r);
		buffer_unlock(r);
		ret = 0;
		break;
	default:
		ret = -ENOTTY;
	}
out:
	mutex_unlock(&r->lock);
	if (copy_to_user((void __user *)arg, &t, sizeof(t)))
		return -EFAULT;
	return ret;
}

static int umem_test_open(struct inode *inode, struct file *file)
{
	struct region *r = kzalloc(sizeof(*r), GFP_KERNEL);

	if (!r)
		return -ENOMEM;
	mutex_init(&r->lock);
	file->private_data = r;
	return 0;
}

static int umem_test_release(struct inode *inode, struct file *file)
{
	struct region *r = file->private_data;

	if (r->umem)
		release(r);
	kfree(r);
	return 0;
}

static const struct file_operations umem_test_fops = {
	.owner = THIS_MODULE,
	.open = umem_test_open,
	.release = umem_test_release,
	.unlocked_ioctl = umem_test_ioctl,
};

static struct miscdevice umem_test_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "umem_test",
	.fops = &umem_test_fops,
};

static int __init umem_test_init(void)
{
	int ret, i;

	ret = pci_register_driver(&edu_driver);
	if (ret)
		return ret;
	ret = -ENODEV;
	if (!edu)
		goto err_driver;
	ret = -ENOMEM;
	bar = pci_iomap(edu, 0, 0);
	if (!bar)
		goto err_driver;
	pattern = dma_alloc_coherent(&edu->dev, PAGE_SIZE, &pattern_dma,
				     GFP_KERNEL);
	if (!pattern)
		goto err_bar;
	for (i = 0; i < UMEM_TEST_PATTERN; i++)
		pattern[i] = umem_test_byte(i);
	dma_dev = _ib_alloc_device(sizeof(*dma_dev), &init_net);
	if (!dma_dev)
		goto err_pattern;
	virt_dev = _ib_alloc_device(sizeof(*virt_dev), &init_net);
	if (!virt_dev)
		goto err_dma_dev;
	dma_dev->dma_device = &edu->dev;
	ret = edu_dma(pattern_dma, EDU_BUFFER, UMEM_TEST_PATTERN, 0);
	if (ret)
		goto err_virt_dev;
	ret = misc_register(&umem_test_dev);
	if (ret)
		goto err_virt_dev;
	return 0;

err_virt_dev:
	ib_dealloc_device(virt_dev);
err_dma_dev:
	ib_dealloc_device(dma_dev);
err_pattern:
	dma_free_coherent(&edu->dev, PAGE_SIZE, pattern, pattern_dma);
err_bar:
	pci_iounmap(edu, bar);
err_driver:
	pci_unregister_driver(&edu_driver);
	return ret;
}
module_init(umem_test_init);

static void __exit umem_test_exit(void)
{
	misc_deregister(&umem_test_dev);
	ib_dealloc_device(virt_dev);
	ib_dealloc_device(dma_dev);
	dma_free_coherent(&edu->dev, PAGE_SIZE, pattern, pattern_dma);
	pci_iounmap(edu, bar);
	pci_unregister_driver(&edu_driver);
}
module_exit(umem_test_exit);

MODULE_DESCRIPTION("Memory regions of an RDMA device that is QEMU's edu");
MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
