/* SPDX-License-Identifier: GPL-2.0 */
/* /dev/umem_test, for the module and for who uses it. */
#include <linux/ioctl.h>
#include <linux/types.h>

struct umem_test {
	__u64 addr, len;	/* user memory, or where in the dma-buf */
	__u64 iova, pgsz_bitmap;
	__u64 offset;		/* in the region */
	__s32 fd;
	__u32 access, flags, pad;
	/* results */
	__u64 pgsz, nr_blocks, nr_pages, nr_phyrs, nr_ranges;
	__u64 wrong;		/* pages that the device would not find */
	__u64 bytes;		/* kept of the memory */
	__u64 reg_ns, release_ns;
};

#define UMEM_TEST_DMABUF	1	/* flags */
#define UMEM_TEST_VIRT		2	/* for a device without DMA */
#define UMEM_TEST_NARROW	4	/* as if the device reached 16 MiB only */
#define UMEM_TEST_DYNAMIC	8	/* dma-buf may move: mapped for each write */
#define UMEM_TEST_REVOCABLE	16	/* dma-buf may be revoked, for good */

#define UMEM_TEST_REG		_IOWR('u', 1, struct umem_test)
#define UMEM_TEST_RELEASE	_IOWR('u', 2, struct umem_test)
#define UMEM_TEST_WRITE		_IOWR('u', 3, struct umem_test)
#define UMEM_TEST_COPY		_IOWR('u', 4, struct umem_test)
#define UMEM_TEST_BENCH		_IOWR('u', 5, struct umem_test)
#define UMEM_TEST_MAPPED	_IOWR('u', 6, struct umem_test)	/* nr_pages still are */

/* What the device writes */
#define UMEM_TEST_PATTERN	64
#define umem_test_byte(i)	(0xa5 ^ ((i) * 7 & 0xff))
