// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/umem_test: memory regions of an RDMA device that is QEMU's edu, as its
 * driver would have them: ib_umem_get_va() or ib_umem_dmabuf_get_pinned(), the
 * best page size, and a table of the blocks of that size.  The table is compared
 * with the memory through the IOMMU's page table, and edu writes where it says.
 *
 * The other half, a device of software, has no DMA addresses but pages.
 *
 * Each open file has one region.  Out of tree on purpose: the same source is
 * built against the base, to compare what it costs there.
 */
#include <linux/bitops.h>
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

#define EDU_BUFFER	0x40000

struct region {
	struct mutex lock;
	struct ib_umem *umem;
	unsigned long pgsz;
	u64 *blocks;
};

static struct ib_device *dma_dev, *virt_dev;
static void __iomem *bar;
static u8 *pattern;
static dma_addr_t pattern_dma;
static DEFINE_MUTEX(edu_lock);

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

static void release(struct region *r)
{
	kvfree(r->blocks);
	r->blocks = NULL;
	ib_umem_release(r->umem);
	r->umem = NULL;
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
	return bytes_of(umem->phyrs, umem->nr_phyrs * sizeof(*umem->phyrs)) +
	       bytes_of(umem->ranges, umem->nr_ranges * sizeof(*umem->ranges));
#else
	/* whole chunks, each of which but the last has an entry for the link */
	return umem->sgt_append.total_nents * sizeof(struct scatterlist);
#endif
}

static int get(struct umem_test *t, struct ib_umem **out)
{
	struct ib_device *dev = t->flags & UMEM_TEST_VIRT ? virt_dev : dma_dev;
	struct ib_umem *umem;

	if (t->flags & UMEM_TEST_DMABUF) {
		struct ib_umem_dmabuf *d;

		d = ib_umem_dmabuf_get_pinned(dev, t->addr, t->len, t->fd,
					      t->access);
		if (IS_ERR(d))
			return PTR_ERR(d);
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

static u64 check(struct region *r, u64 *pages)
{
	struct ib_umem *umem = r->umem;
	struct ib_umem_page_iter iter;
	u64 wrong = 0, offset = 0;
	struct page *page;

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
#else
static u64 check(struct region *r, u64 *pages)
{
	*pages = ib_umem_num_pages(r->umem);
	return 0;
}
#endif

static int reg(struct region *r, struct umem_test *t)
{
	struct ib_block_iter biter;
	struct ib_umem *umem;
	size_t n = 0, nr;
	int ret;

	if (r->umem)
		return -EBUSY;
	if (t->flags & UMEM_TEST_NARROW) {
		mutex_lock(&edu_lock);
		ret = dma_set_mask(&edu->dev, DMA_BIT_MASK(24));
		if (!ret)
			ret = get(t, &umem);
		dma_set_mask(&edu->dev, DMA_BIT_MASK(64));
		mutex_unlock(&edu_lock);
	} else {
		ret = get(t, &umem);
	}
	if (ret)
		return ret;
	r->umem = umem;
	t->bytes = bytes_kept(umem);
#ifdef HAVE_UMEM_PHYRS
	t->nr_phyrs = umem->nr_phyrs;
	t->nr_ranges = umem->nr_ranges;
#endif
	if (!(t->flags & UMEM_TEST_VIRT)) {
		r->pgsz = ib_umem_find_best_pgsz(umem, t->pgsz_bitmap, t->iova);
		if (!r->pgsz) {
			release(r);
			return -EOPNOTSUPP;
		}
		nr = ib_umem_num_dma_blocks(umem, r->pgsz);
		r->blocks = kvmalloc_array(nr, sizeof(*r->blocks), GFP_KERNEL);
		if (!r->blocks) {
			release(r);
			return -ENOMEM;
		}
		rdma_umem_for_each_dma_block(umem, &biter, r->pgsz) {
			if (n < nr)
				r->blocks[n] = rdma_block_iter_dma_address(&biter);
			n++;
		}
		if (n != nr) {
			release(r);
			return -EPROTO;
		}
		t->pgsz = r->pgsz;
		t->nr_blocks = nr;
	}
	t->wrong = check(r, &t->nr_pages);
	return 0;
}

/* Where in the region edu is to write its pattern, in pieces at page boundaries */
static int dma_write(struct region *r, u64 offset)
{
	u64 done, len;
	int ret = 0;

	if (!r->blocks || offset > r->umem->length ||
	    r->umem->length - offset < UMEM_TEST_PATTERN)
		return -EINVAL;
	mutex_lock(&edu_lock);
	for (done = 0; done < UMEM_TEST_PATTERN && !ret; done += len) {
		len = min(UMEM_TEST_PATTERN - done, PAGE_SIZE -
			  offset_in_page(r->umem->address + offset + done));
		ret = edu_dma(EDU_BUFFER + done, device_addr(r, offset + done),
			      len, 2);
	}
	mutex_unlock(&edu_lock);
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
	ret = get(t, &umem);
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
		ret = dma_write(r, t.offset);
		break;
	case UMEM_TEST_COPY:
		ret = copy_from(r, &t);
		break;
	case UMEM_TEST_BENCH:
		ret = bench(r, &t);
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
