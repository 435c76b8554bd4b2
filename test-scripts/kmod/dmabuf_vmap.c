// SPDX-License-Identifier: GPL-2.0
/*
 * /dev/dmabuf_vmap: dma-bufs for importers that access them by CPU.  What is
 * exported is memory or the BAR of an ivshmem device, and can be moved and
 * revoked.  The kernel's mapping is a new one each time, so that who uses an old
 * one does not get far; and a place that the buffer has left is filled, so that
 * who writes there is found out.
 */
#include <linux/dma-buf-phyrs.h>
#include <linux/dma-buf.h>
#include <linux/dma-resv.h>
#include <linux/fs.h>
#include <linux/io.h>
#include <linux/iosys-map.h>
#include <linux/miscdevice.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/phyr.h>
#include <linux/slab.h>
#include <linux/vmalloc.h>
#include "dmabuf_vmap.h"

#define ORDER	get_order(VMAP_SIZE)
#define LEFT	0xee

struct vbuf {
	struct page *mem[2];
	int now;			/* which of them */
	struct phyr phyr;
	struct dma_buf_phyr_seg seg;
	phys_addr_t bar;		/* 0 if it is memory */
	bool vmap_fails;
	bool vmapped;			/* under the dma_resv lock */
};

static phys_addr_t vbuf_phys(struct vbuf *b)
{
	return b->bar ?: page_to_phys(b->mem[b->now]);
}

static int vbuf_attach(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	return 0;
}

static int vbuf_get_phyrs(struct dma_buf_attachment *attach,
			  struct dma_buf_phyrs *phyrs)
{
	struct vbuf *b = attach->dmabuf->priv;

	/* Peers are for dmabuf_kunit.c */
	if (b->bar)
		return -EOPNOTSUPP;
	b->phyr.addr = vbuf_phys(b);
	b->phyr.len = VMAP_SIZE;
	b->seg.nr_phyrs = 1;
	phyrs->phyrs = &b->phyr;
	phyrs->nr_phyrs = 1;
	phyrs->segs = &b->seg;
	phyrs->nr_segs = 1;
	return 0;
}

static void vbuf_put_phyrs(struct dma_buf_attachment *attach,
			   struct dma_buf_phyrs *phyrs)
{
}

static int vbuf_vmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct page *pages[VMAP_SIZE / PAGE_SIZE];
	struct vbuf *b = dmabuf->priv;
	void __iomem *io;
	unsigned int i;
	void *p;

	dma_resv_assert_held(dmabuf->resv);
	if (b->vmap_fails)
		return -ENOMEM;
	if (b->bar) {
		io = ioremap(b->bar, VMAP_SIZE);
		if (!io)
			return -ENOMEM;
		iosys_map_set_vaddr_iomem(map, io);
	} else {
		for (i = 0; i < ARRAY_SIZE(pages); i++)
			pages[i] = b->mem[b->now] + i;
		p = vmap(pages, ARRAY_SIZE(pages), VM_MAP, PAGE_KERNEL);
		if (!p)
			return -ENOMEM;
		iosys_map_set_vaddr(map, p);
	}
	b->vmapped = true;
	return 0;
}

static void vbuf_vunmap(struct dma_buf *dmabuf, struct iosys_map *map)
{
	struct vbuf *b = dmabuf->priv;

	dma_resv_assert_held(dmabuf->resv);
	b->vmapped = false;
	if (map->is_iomem) {
		iounmap(map->vaddr_iomem);
	} else {
		vunmap(map->vaddr);
		/* Not some time later */
		vm_unmap_aliases();
	}
}

static int vbuf_mmap(struct dma_buf *dmabuf, struct vm_area_struct *vma)
{
	struct vbuf *b = dmabuf->priv;

	if (b->bar)
		vma->vm_page_prot = pgprot_noncached(vma->vm_page_prot);
	return remap_pfn_range(vma, vma->vm_start, PHYS_PFN(vbuf_phys(b)) +
			       vma->vm_pgoff, vma->vm_end - vma->vm_start,
			       vma->vm_page_prot);
}

static void vbuf_free(struct vbuf *b)
{
	int i;

	for (i = 0; i < 2; i++)
		if (b->mem[i])
			__free_pages(b->mem[i], ORDER);
	kfree(b);
}

static void vbuf_release(struct dma_buf *dmabuf)
{
	struct vbuf *b = dmabuf->priv;

	WARN_ON(b->vmapped);
	vbuf_free(b);
}

static const struct dma_buf_ops vbuf_ops = {
	.attach = vbuf_attach,
	.get_phyrs = vbuf_get_phyrs,
	.put_phyrs = vbuf_put_phyrs,
	.vmap = vbuf_vmap,
	.vunmap = vbuf_vunmap,
	.mmap = vbuf_mmap,
	.release = vbuf_release,
};

static const struct dma_buf_ops no_vmap_ops = {
	.get_phyrs = vbuf_get_phyrs,
	.put_phyrs = vbuf_put_phyrs,
	.mmap = vbuf_mmap,
	.release = vbuf_release,
};

/* As exporters were before there were physical ranges */
static struct sg_table *old_map(struct dma_buf_attachment *attach,
				enum dma_data_direction dir)
{
	return ERR_PTR(-EIO);
}

static void old_unmap(struct dma_buf_attachment *attach, struct sg_table *sgt,
		      enum dma_data_direction dir)
{
}

static const struct dma_buf_ops no_phyrs_ops = {
	.map_dma_buf = old_map,
	.unmap_dma_buf = old_unmap,
	.vmap = vbuf_vmap,
	.vunmap = vbuf_vunmap,
	.mmap = vbuf_mmap,
	.release = vbuf_release,
};

static phys_addr_t find_bar(void)
{
	struct pci_dev *pdev = pci_get_device(0x1af4, 0x1110, NULL);
	phys_addr_t bar = 0;

	if (pdev && pci_resource_len(pdev, 2) >= VMAP_SIZE &&
	    !pci_enable_device_mem(pdev))
		bar = pci_resource_start(pdev, 2);
	pci_dev_put(pdev);
	return bar;
}

static int vbuf_new(unsigned long kind)
{
	DEFINE_DMA_BUF_EXPORT_INFO(info);
	struct dma_buf *dmabuf;
	struct vbuf *b;
	int i, fd;

	if (kind > VMAP_NO_PHYRS)
		return -EINVAL;
	b = kzalloc_obj(*b);
	if (!b)
		return -ENOMEM;
	for (i = 0; i < 2; i++) {
		b->mem[i] = alloc_pages(GFP_KERNEL, ORDER);
		if (!b->mem[i]) {
			vbuf_free(b);
			return -ENOMEM;
		}
		memset(page_address(b->mem[i]), LEFT, VMAP_SIZE);
	}
	if (kind == VMAP_BAR) {
		b->bar = find_bar();
		if (!b->bar) {
			vbuf_free(b);
			return -ENODEV;
		}
	}
	b->vmap_fails = kind == VMAP_FAILS;
	info.ops = kind == VMAP_NONE ? &no_vmap_ops :
		   kind == VMAP_NO_PHYRS ? &no_phyrs_ops : &vbuf_ops;
	info.size = VMAP_SIZE;
	info.flags = O_RDWR;
	info.priv = b;
	dmabuf = dma_buf_export(&info);
	if (IS_ERR(dmabuf)) {
		vbuf_free(b);
		return PTR_ERR(dmabuf);
	}
	fd = dma_buf_fd(dmabuf, O_CLOEXEC);
	if (fd < 0)
		dma_buf_put(dmabuf);
	return fd;
}

static int vbuf_move(struct dma_buf *dmabuf)
{
	struct vbuf *b = dmabuf->priv;
	int ret = 0;

	if (b->bar)
		return -EINVAL;
	dma_resv_lock(dmabuf->resv, NULL);
	dma_buf_invalidate_mappings(dmabuf);
	dma_resv_wait_timeout(dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP, false,
			      MAX_SCHEDULE_TIMEOUT);
	if (b->vmapped) {
		ret = -EBUSY;
	} else if (memchr_inv(page_address(b->mem[!b->now]), LEFT, VMAP_SIZE)) {
		ret = -EIO;
	} else {
		memcpy(page_address(b->mem[!b->now]),
		       page_address(b->mem[b->now]), VMAP_SIZE);
		memset(page_address(b->mem[b->now]), LEFT, VMAP_SIZE);
		b->now = !b->now;
	}
	dma_resv_unlock(dmabuf->resv);
	return ret;
}

static int vbuf_idle(struct dma_buf *dmabuf)
{
	struct vbuf *b = dmabuf->priv;
	int ret;

	dma_resv_lock(dmabuf->resv, NULL);
	ret = b->vmapped || atomic_read(&dmabuf->phyrs_users) ||
	      !list_empty(&dmabuf->attachments) ? -EBUSY : 0;
	dma_resv_unlock(dmabuf->resv);
	return ret;
}

static long vmap_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct dma_buf *dmabuf;
	struct vbuf *b;
	int ret = 0;

	if (cmd == VMAP_NEW)
		return vbuf_new(arg);
	dmabuf = dma_buf_get(arg);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	b = dmabuf->priv;
	if (dmabuf->ops != &vbuf_ops) {
		ret = -EINVAL;
	} else if (cmd == VMAP_MOVE) {
		ret = vbuf_move(dmabuf);
	} else if (cmd == VMAP_REVOKE) {
		dma_buf_revoke(dmabuf);
		ret = b->vmapped ? -EBUSY : 0;
	} else if (cmd == VMAP_UNREVOKE) {
		dma_buf_unrevoke(dmabuf);
	} else if (cmd == VMAP_IDLE) {
		ret = vbuf_idle(dmabuf);
	} else {
		ret = -ENOTTY;
	}
	dma_buf_put(dmabuf);
	return ret;
}

static const struct file_operations vmap_fops = {
	.owner = THIS_MODULE,
	.unlocked_ioctl = vmap_ioctl,
};

static struct miscdevice vmap_misc = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "dmabuf_vmap",
	.fops = &vmap_fops,
};
module_misc_device(vmap_misc);

MODULE_IMPORT_NS("DMA_BUF");
MODULE_DESCRIPTION("dma-bufs that CPUs access, and that are moved and revoked");
MODULE_LICENSE("GPL");
