// SPDX-License-Identifier: GPL-2.0
/*
 * KUnit tests of I/O to memory without struct page: RAM that mem= keeps from
 * the kernel, and the BAR of QEMU's ivshmem-plain.  test-scripts/guest/phys-io
 * names the disks.
 *
 * What devices write and read is compared by the CPU through mappings of its
 * own, and with what ordinary memory gets from the disk.
 */
#include <kunit/test.h>
#include <linux/bio-phyr.h>
#include <linux/blkdev.h>
#include <linux/delay.h>
#include <linux/hash.h>
#include <linux/io.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/part_stat.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>
#include <linux/phyr.h>
#include <linux/prandom.h>
#include <linux/sizes.h>

#define MAX_DISKS	12
#define GUARD		64
#define GUARD_BYTE	0xa5
#define POOL_ORDER	10
#define POOL_SIZE	(PAGE_SIZE << POOL_ORDER)
#define DEPTH		64

static char *disks[MAX_DISKS];
static int nr_disks;
module_param_array(disks, charp, &nr_disks, 0444);
MODULE_PARM_DESC(disks, "disks that reach memory without pages");

static char *refuse[MAX_DISKS];
static int nr_refuse;
module_param_array(refuse, charp, &nr_refuse, 0444);
MODULE_PARM_DESC(refuse, "disks that do not");

static unsigned long ram = 0x30000000;
module_param(ram, ulong, 0444);
MODULE_PARM_DESC(ram, "physical address of RAM that the kernel does not have");

static unsigned long ram_size = SZ_128M + SZ_32M;
module_param(ram_size, ulong, 0444);
MODULE_PARM_DESC(ram_size, "number of bytes there");

static bool bar_refused;
module_param(bar_refused, bool, 0444);
MODULE_PARM_DESC(bar_refused, "the disks do not reach the BAR here");

static bool switched;
module_param(switched, bool, 0444);
MODULE_PARM_DESC(switched, "the first disk is behind the same switch as the BAR");

/* Opened by whoever loads the module: the tests' thread sees no /dev. */
static struct file *disk_files[MAX_DISKS], *refuse_files[MAX_DISKS];

struct region {
	struct phyr_owner owner;
	phys_addr_t base;
	size_t size;
	u8 *cpu;
};

static struct region carved, bar;
static struct pci_dev *ivshmem;
static struct page *pool;
static u8 *pool_virt;
static struct rnd_state rnd;

/* The BAR */

static int phys_io_probe(struct pci_dev *pdev, const struct pci_device_id *id)
{
	struct p2pdma_provider *p2p;
	int ret;

	ret = pcim_enable_device(pdev);
	if (ret)
		return ret;
	ret = pcim_p2pdma_init(pdev);
	if (ret)
		return ret;
	p2p = pcim_p2pdma_provider(pdev, 2);

	bar.base = pci_resource_start(pdev, 2);
	bar.size = pci_resource_len(pdev, 2);
	bar.cpu = devm_memremap(&pdev->dev, bar.base, bar.size, MEMREMAP_WC);
	if (IS_ERR(bar.cpu))
		return PTR_ERR(bar.cpu);
	ret = phyr_owner_init_p2p(&bar.owner, p2p);
	if (ret)
		return ret;
	ivshmem = pdev;
	return 0;
}

static void phys_io_remove(struct pci_dev *pdev)
{
	phyr_owner_exit(&bar.owner);
	ivshmem = NULL;
}

static const struct pci_device_id phys_io_ids[] = {
	{ PCI_DEVICE(0x1af4, 0x1110) },
	{ }
};

static struct pci_driver phys_io_driver = {
	.name = "phys_io_kunit",
	.id_table = phys_io_ids,
	.probe = phys_io_probe,
	.remove = phys_io_remove,
};

static struct pci_dev *disk_pci(struct block_device *bdev)
{
	struct device *dev = disk_to_dev(bdev->bd_disk);

	while (dev && !dev_is_pci(dev))
		dev = dev->parent;
	return dev ? to_pci_dev(dev) : NULL;
}

/* Ordinary memory, and patterns */

static void pattern(u8 *p, size_t len, u32 seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = hash_32(seed + i / 4, 32) >> (8 * (i % 4));
}

static int pool_io(struct block_device *bdev, blk_opf_t op, sector_t sector,
		   size_t len)
{
	struct bio *bio = bio_alloc(bdev, 1, op, GFP_KERNEL);
	int ret;

	__bio_add_page(bio, pool, len, 0);
	bio->bi_iter.bi_sector = sector;
	ret = submit_bio_wait(bio);
	bio_put(bio);
	return ret;
}

/* Memory without pages */

static struct bio *phys_bio(struct block_device *bdev, blk_opf_t op,
			    sector_t sector, struct phyr_owner *owner,
			    const struct phyr *r, unsigned int nr)
{
	struct bio *bio = bio_alloc(bdev, nr, op, GFP_KERNEL);
	int ret;

	bio->bi_iter.bi_sector = sector;
	for (unsigned int i = 0; i < nr; i++) {
		ret = bio_add_phyr(bio, owner, &r[i]);
		if (ret) {
			bio_put(bio);
			return ERR_PTR(ret);
		}
	}
	return bio;
}

static int phys_io(struct block_device *bdev, blk_opf_t op, sector_t sector,
		   struct phyr_owner *owner, const struct phyr *r,
		   unsigned int nr)
{
	struct bio *bio = phys_bio(bdev, op, sector, owner, r, nr);
	int ret;

	if (IS_ERR(bio))
		return PTR_ERR(bio);
	ret = submit_bio_wait(bio);
	bio_put(bio);
	return ret;
}

static void guards(u8 *p, size_t len)
{
	memset(p - GUARD, GUARD_BYTE, GUARD);
	memset(p + len, GUARD_BYTE, GUARD);
}

static bool guards_hold(const u8 *p, size_t len)
{
	return !memchr_inv(p - GUARD, GUARD_BYTE, GUARD) &&
	       !memchr_inv(p + len, GUARD_BYTE, GUARD);
}

/* One range there and back, of up to the size of the pool */
static void there_and_back(struct kunit *test, const char *name,
			   struct block_device *bdev, struct region *reg,
			   size_t off, size_t len, sector_t sector)
{
	struct phyr r = { .addr = reg->base + off, .len = len };
	u32 seed = prandom_u32_state(&rnd);

	/* from the memory to the disk */
	pattern(pool_virt, len, seed);
	memcpy(reg->cpu + off, pool_virt, len);
	guards(reg->cpu + off, len);
	KUNIT_ASSERT_EQ_MSG(test, 0, phys_io(bdev, REQ_OP_WRITE, sector,
					     &reg->owner, &r, 1),
			    "%s: write of %zu from %zx", name, len, off);
	memset(pool_virt, 0, len);
	KUNIT_ASSERT_EQ(test, 0, pool_io(bdev, REQ_OP_READ, sector, len));
	KUNIT_ASSERT_TRUE_MSG(test, !memcmp(reg->cpu + off, pool_virt, len),
			      "%s: %zu bytes from %zx are others on disk", name,
			      len, off);

	/* from the disk to the memory */
	pattern(pool_virt, len, ~seed);
	KUNIT_ASSERT_EQ(test, 0, pool_io(bdev, REQ_OP_WRITE, sector, len));
	memset(reg->cpu + off, 0, len);
	KUNIT_ASSERT_EQ(test, 0, phys_io(bdev, REQ_OP_READ, sector,
					 &reg->owner, &r, 1));
	KUNIT_ASSERT_TRUE_MSG(test, !memcmp(reg->cpu + off, pool_virt, len),
			      "%s: %zu bytes to %zx are others", name, len, off);
	KUNIT_ASSERT_TRUE(test, guards_hold(reg->cpu + off, len));
}

static void sizes(struct kunit *test, const char *name,
		  struct block_device *bdev, struct region *reg)
{
	unsigned int lbs = bdev_logical_block_size(bdev);
	unsigned int align = bdev_dma_alignment(bdev) + 1;
	size_t lens[] = { lbs, 3 * lbs, SZ_4K, SZ_64K, SZ_128K + lbs, SZ_1M,
			  SZ_1M + 5 * lbs, SZ_4M };

	for (int i = 0; i < ARRAY_SIZE(lens); i++) {
		size_t len = round_up(lens[i], lbs);
		size_t off;

		if (len > POOL_SIZE)
			continue;
		/* page aligned, then as far off as the device can do */
		off = SZ_1M + (prandom_u32_state(&rnd) % 256) * PAGE_SIZE;
		there_and_back(test, name, bdev, reg, off, len, 2048 * i);
		off += align * (1 + prandom_u32_state(&rnd) % 64);
		there_and_back(test, name, bdev, reg, off, len, 2048 * i);
	}
}

/* One entry of many megabytes */
static void large(struct kunit *test, const char *name,
		  struct block_device *bdev, struct region *reg)
{
	size_t disk = round_down(bdev_nr_bytes(bdev), (loff_t)SZ_4M);
	size_t len = min3((size_t)SZ_64M, reg->size / 2, disk);
	struct phyr r = { .addr = reg->base, .len = len };
	size_t off;

	for (off = 0; off < len; off += POOL_SIZE)
		pattern(reg->cpu + off, min(POOL_SIZE, len - off), len + off);
	KUNIT_ASSERT_EQ_MSG(test, 0, phys_io(bdev, REQ_OP_WRITE, 0, &reg->owner,
					     &r, 1), "%s: %zu", name, len);
	for (off = 0; off < len; off += POOL_SIZE) {
		KUNIT_ASSERT_EQ(test, 0, pool_io(bdev, REQ_OP_READ, off / 512,
						 POOL_SIZE));
		KUNIT_ASSERT_TRUE(test, !memcmp(reg->cpu + off, pool_virt,
						POOL_SIZE));
	}

	r.addr += reg->size / 2;
	memset(reg->cpu + reg->size / 2, 0, len);
	KUNIT_ASSERT_EQ(test, 0, phys_io(bdev, REQ_OP_READ, 0, &reg->owner,
					 &r, 1));
	KUNIT_ASSERT_TRUE_MSG(test, !memcmp(reg->cpu, reg->cpu + reg->size / 2,
					    len), "%s: %zu", name, len);
}

/* Many entries, in no order */
static void scattered(struct kunit *test, const char *name,
		      struct block_device *bdev, struct region *reg)
{
	struct phyr r[DEPTH];
	size_t total = 0;

	for (int i = 0; i < DEPTH; i++) {
		/* every slot once, as 37 is prime to their number */
		r[i].addr = reg->base + (i * 37 % DEPTH) * SZ_64K;
		r[i].len = SZ_4K * (1 + prandom_u32_state(&rnd) % 12);
		pattern(reg->cpu + (r[i].addr - reg->base), r[i].len, i);
		total += r[i].len;
	}
	KUNIT_ASSERT_LE(test, total, POOL_SIZE);
	KUNIT_ASSERT_EQ(test, 0, phys_io(bdev, REQ_OP_WRITE, 0, &reg->owner, r,
					 DEPTH));
	KUNIT_ASSERT_EQ(test, 0, pool_io(bdev, REQ_OP_READ, 0, total));
	for (size_t i = 0, off = 0; i < DEPTH; off += r[i++].len)
		KUNIT_ASSERT_TRUE_MSG(test,
			!memcmp(reg->cpu + (r[i].addr - reg->base),
				pool_virt + off, r[i].len), "%s: %zu", name, i);
}

struct inflight {
	atomic_t left;
	struct completion done;
	blk_status_t status;
};

static void inflight_end_io(struct bio *bio)
{
	struct inflight *inf = bio->bi_private;

	if (bio->bi_status)
		inf->status = bio->bi_status;
	bio_put(bio);
	if (atomic_dec_and_test(&inf->left))
		complete(&inf->done);
}

/* Many bios at a time */
static void deep(struct kunit *test, const char *name,
		 struct block_device *bdev, struct region *reg)
{
	for (int read = 0; read < 2; read++) {
		struct inflight inf = {
			.left = ATOMIC_INIT(DEPTH),
			.done = COMPLETION_INITIALIZER_ONSTACK(inf.done),
		};

		for (int i = 0; i < DEPTH; i++) {
			/* read to where nothing was written from */
			size_t off = (i + read * DEPTH) * SZ_64K;
			struct phyr r = { .addr = reg->base + off, .len = SZ_64K };
			struct bio *bio;

			if (!read)
				pattern(reg->cpu + off, SZ_64K, i + 7);
			bio = phys_bio(bdev, read ? REQ_OP_READ : REQ_OP_WRITE,
				       i * (SZ_64K / 512), &reg->owner, &r, 1);
			KUNIT_ASSERT_FALSE(test, IS_ERR(bio));
			bio->bi_private = &inf;
			bio->bi_end_io = inflight_end_io;
			submit_bio(bio);
		}
		wait_for_completion(&inf.done);
		KUNIT_ASSERT_EQ_MSG(test, 0, blk_status_to_errno(inf.status),
				    "%s", name);
	}
	KUNIT_ASSERT_TRUE_MSG(test, !memcmp(reg->cpu, reg->cpu + DEPTH * SZ_64K,
					    DEPTH * SZ_64K), "%s", name);
}

/*
 * Bios that are adjacent on disk, and come in one plug, so that they would be
 * merged: every second one has pages, the others two owners.
 */
static void plugged(struct kunit *test, const char *name,
		    struct block_device *bdev)
{
	const size_t len = SZ_4K;
	struct inflight inf = {
		.left = ATOMIC_INIT(DEPTH),
		.done = COMPLETION_INITIALIZER_ONSTACK(inf.done),
	};
	struct blk_plug plug;
	unsigned long merges;

	pattern(pool_virt, DEPTH * len, 5);
	for (int i = 0; i < DEPTH; i++) {
		pattern(carved.cpu + i * len, len, i);
		pattern(bar.cpu + i * len, len, i);
	}

	merges = part_stat_read(bdev, merges[STAT_WRITE]);
	blk_start_plug(&plug);
	for (int i = 0; i < DEPTH; i++) {
		struct region *reg = i % 4 == 1 ? &carved : &bar;
		struct phyr r = { .addr = reg->base + i * len, .len = len };
		struct bio *bio;

		if (i % 2) {
			bio = phys_bio(bdev, REQ_OP_WRITE, i * len / 512,
				       &reg->owner, &r, 1);
			KUNIT_ASSERT_FALSE(test, IS_ERR(bio));
		} else {
			bio = bio_alloc(bdev, 1, REQ_OP_WRITE, GFP_KERNEL);
			bio->bi_iter.bi_sector = i * len / 512;
			__bio_add_page(bio, pool + i * len / PAGE_SIZE, len, 0);
		}
		bio->bi_private = &inf;
		bio->bi_end_io = inflight_end_io;
		submit_bio(bio);
	}
	blk_finish_plug(&plug);
	wait_for_completion(&inf.done);
	KUNIT_ASSERT_EQ_MSG(test, 0, blk_status_to_errno(inf.status), "%s", name);
	/* data that is right says little: some machines map all memory alike */
	merges = part_stat_read(bdev, merges[STAT_WRITE]) - merges;
	KUNIT_EXPECT_EQ_MSG(test, 0, merges, "%s", name);

	for (int i = 0; i < DEPTH; i += 2)
		memcpy(carved.cpu + i * len, pool_virt + i * len, len);
	KUNIT_ASSERT_EQ(test, 0, pool_io(bdev, REQ_OP_READ, 0, DEPTH * len));
	KUNIT_ASSERT_TRUE_MSG(test, !memcmp(carved.cpu, pool_virt, DEPTH * len),
			      "%s", name);
}

static void phys_io_plugged(struct kunit *test)
{
	if (!nr_disks || bar_refused)
		kunit_skip(test, "no disk of this machine reaches the BAR");
	for (int i = 0; i < nr_disks; i++)
		plugged(test, disks[i], file_bdev(disk_files[i]));
}

/* Refused, and the disk still works */
static void refused(struct kunit *test, const char *name,
		    struct block_device *bdev, struct region *reg)
{
	struct phyr r = { .addr = reg->base, .len = SZ_64K };

	KUNIT_EXPECT_EQ_MSG(test, -EOPNOTSUPP,
			    phys_io(bdev, REQ_OP_READ, 0, &reg->owner, &r, 1),
			    "%s, %s", name, reg == &bar ? "BAR" : "RAM");
	KUNIT_EXPECT_EQ_MSG(test, -EOPNOTSUPP,
			    phys_io(bdev, REQ_OP_WRITE, 0, &reg->owner, &r, 1),
			    "%s, %s", name, reg == &bar ? "BAR" : "RAM");

	pattern(pool_virt, SZ_64K, prandom_u32_state(&rnd));
	KUNIT_EXPECT_EQ(test, 0, pool_io(bdev, REQ_OP_WRITE, 0, SZ_64K));
	memcpy(pool_virt + SZ_64K, pool_virt, SZ_64K);
	memset(pool_virt, 0, SZ_64K);
	KUNIT_EXPECT_EQ(test, 0, pool_io(bdev, REQ_OP_READ, 0, SZ_64K));
	KUNIT_EXPECT_TRUE_MSG(test, !memcmp(pool_virt, pool_virt + SZ_64K,
					    SZ_64K), "%s", name);
}

static void transfers(struct kunit *test, struct region *reg)
{
	for (int i = 0; i < nr_disks; i++) {
		struct block_device *bdev = file_bdev(disk_files[i]);

		sizes(test, disks[i], bdev, reg);
		large(test, disks[i], bdev, reg);
		scattered(test, disks[i], bdev, reg);
		deep(test, disks[i], bdev, reg);
	}
}

static void phys_io_ram(struct kunit *test)
{
	if (!nr_disks)
		kunit_skip(test, "all disks of this machine refuse");
	transfers(test, &carved);
}

static void phys_io_bar(struct kunit *test)
{
	if (!nr_disks)
		kunit_skip(test, "all disks of this machine refuse");
	if (bar_refused) {
		for (int i = 0; i < nr_disks; i++)
			refused(test, disks[i], file_bdev(disk_files[i]), &bar);
		return;
	}
	if (switched)
		KUNIT_ASSERT_EQ(test, PCI_P2PDMA_MAP_BUS_ADDR,
			pci_p2pdma_map_type(bar.owner.p2p,
				&disk_pci(file_bdev(disk_files[0]))->dev));
	transfers(test, &bar);
}

static void phys_io_refused(struct kunit *test)
{
	for (int i = 0; i < nr_refuse; i++) {
		struct block_device *bdev = file_bdev(refuse_files[i]);

		refused(test, refuse[i], bdev, &carved);
		refused(test, refuse[i], bdev, &bar);
	}
}

static void phys_io_bad_input(struct kunit *test)
{
	struct phyr good = { .addr = carved.base, .len = SZ_4K }, r;
	struct phyr far = { .addr = carved.base + SZ_1M, .len = SZ_4K };
	struct phyr_owner *owner = &carved.owner;
	struct block_device *bdev = file_bdev(nr_disks ? disk_files[0] :
							 refuse_files[0]);
	struct bio *bio = bio_alloc(bdev, 1, REQ_OP_READ, GFP_KERNEL);
	struct bio *clone;

	r = (struct phyr) { .addr = carved.base };
	KUNIT_EXPECT_EQ(test, -EINVAL, bio_add_phyr(bio, owner, &r));
	r = (struct phyr) { .addr = -SZ_4K, .len = SZ_8K };
	KUNIT_EXPECT_EQ(test, -EINVAL, bio_add_phyr(bio, owner, &r));
	r = (struct phyr) { .addr = 0, .len = SZ_4G };
	KUNIT_EXPECT_EQ(test, -ENOSPC, bio_add_phyr(bio, owner, &r));
	KUNIT_EXPECT_EQ(test, 0, bio->bi_vcnt);
	KUNIT_EXPECT_FALSE(test, bio_is_phys(bio));

	KUNIT_EXPECT_EQ(test, 0, bio_add_phyr(bio, owner, &good));
	KUNIT_EXPECT_TRUE(test, bio_is_phys(bio));
	KUNIT_EXPECT_EQ(test, -EINVAL, bio_add_phyr(bio, &bar.owner, &far));
	KUNIT_EXPECT_EQ(test, -ENOSPC, bio_add_phyr(bio, owner, &far));
	/* what continues the range before takes no entry */
	r = (struct phyr) { .addr = phyr_end(&good), .len = SZ_4K };
	KUNIT_EXPECT_EQ(test, 0, bio_add_phyr(bio, owner, &r));
	KUNIT_EXPECT_EQ(test, 1, bio->bi_vcnt);
	KUNIT_EXPECT_EQ(test, SZ_8K, bio->bi_iter.bi_size);

	clone = bio_alloc_clone(bdev, bio, GFP_KERNEL, &fs_bio_set);
	KUNIT_EXPECT_EQ(test, -EINVAL, bio_add_phyr(clone, owner, &far));
	KUNIT_EXPECT_PTR_EQ(test, owner, bio_phyr_owner(clone));
	bio_put(clone);

	/* other memory, and operations without data */
	bio_reset(bio, bdev, REQ_OP_READ);
	KUNIT_EXPECT_PTR_EQ(test, NULL, bio_phyr_owner(bio));
	__bio_add_page(bio, pool, SZ_4K, 0);
	KUNIT_EXPECT_EQ(test, -EINVAL, bio_add_phyr(bio, owner, &good));
	bio_reset(bio, bdev, REQ_OP_DISCARD);
	KUNIT_EXPECT_EQ(test, -EINVAL, bio_add_phyr(bio, owner, &good));

	bio_put(bio);
}

/* Load, while something goes away */

struct load {
	struct block_device *bdev;
	struct region *reg;
	unsigned int nr;
	unsigned long done;
};

static int load_thread(void *data)
{
	struct load *load = data;
	int ret = 0;

	while (!ret) {
		size_t off = ((load->nr * 64 + load->done) % 256) * SZ_16K;
		struct phyr r = { .addr = load->reg->base + off, .len = SZ_16K };

		ret = phys_io(load->bdev,
			      load->done & 1 ? REQ_OP_WRITE : REQ_OP_READ,
			      off / 512, &load->reg->owner, &r, 1);
		load->done += !ret;
	}

	/* the error is for whoever stops the thread */
	while (!kthread_should_stop())
		schedule_timeout_interruptible(1);
	return ret;
}

static void run_load(struct kunit *test, int disk, struct region *reg,
		     void (*end)(struct kunit *test, struct block_device *bdev),
		     bool disk_goes)
{
	struct block_device *bdev = file_bdev(disk_files[disk]);
	struct task_struct *tasks[4];
	struct load load[ARRAY_SIZE(tasks)];
	unsigned long done = 0;

	for (int i = 0; i < ARRAY_SIZE(tasks); i++) {
		load[i] = (struct load) {
			.bdev = bdev, .reg = reg, .nr = i,
		};
		tasks[i] = kthread_run(load_thread, &load[i], "load%d", i);
		KUNIT_ASSERT_FALSE(test, IS_ERR(tasks[i]));
		get_task_struct(tasks[i]);
	}
	msleep(300);

	end(test, bdev);

	for (int i = 0; i < ARRAY_SIZE(tasks); i++) {
		int ret = kthread_stop(tasks[i]);

		put_task_struct(tasks[i]);
		if (disk_goes)
			KUNIT_EXPECT_NE(test, 0, ret);
		else
			KUNIT_EXPECT_EQ_MSG(test, -ENODEV, ret, "%s",
					    disks[disk]);
		done += load[i].done;
	}
	KUNIT_EXPECT_GT(test, done, 0);
}

static void end_revoke(struct kunit *test, struct block_device *bdev)
{
	phyr_owner_revoke(&carved.owner);

	/* From here on the memory is ours. */
	memset(carved.cpu, 0x5a, SZ_4M);
	msleep(50);
	KUNIT_EXPECT_NULL(test, memchr_inv(carved.cpu, 0x5a, SZ_4M));
}

static void phys_io_revoke(struct kunit *test)
{
	struct phyr r = { .addr = carved.base, .len = SZ_4K };
	struct bio *bio;

	for (int i = 0; i < nr_disks; i++) {
		run_load(test, i, &carved, end_revoke, false);

		bio = bio_alloc(NULL, 1, REQ_OP_READ, GFP_KERNEL);
		KUNIT_EXPECT_EQ(test, -ENODEV,
				bio_add_phyr(bio, &carved.owner, &r));
		bio_put(bio);

		/* again and once more is fine */
		phyr_owner_revoke(&carved.owner);
		phyr_owner_exit(&carved.owner);
		KUNIT_ASSERT_EQ(test, 0, phyr_owner_init_ram(&carved.owner));
	}
}

static void end_unplug_owner(struct kunit *test, struct block_device *bdev)
{
	struct pci_dev *pdev = ivshmem;

	device_release_driver(&pdev->dev);
	KUNIT_EXPECT_NULL(test, ivshmem);
}

/* The device whose BAR it is goes away. */
static void phys_io_unplug_owner(struct kunit *test)
{
	if (!nr_disks || bar_refused)
		kunit_skip(test, "no disk of this machine reaches the BAR");
	for (int i = 0; i < nr_disks; i++) {
		struct pci_dev *pdev = ivshmem;

		run_load(test, i, &bar, end_unplug_owner, false);
		KUNIT_ASSERT_EQ(test, 1, device_attach(&pdev->dev));
		KUNIT_ASSERT_NOT_NULL(test, ivshmem);
	}
}

static void end_unplug_disk(struct kunit *test, struct block_device *bdev)
{
	struct pci_dev *pdev = disk_pci(bdev);

	KUNIT_ASSERT_NOT_NULL(test, pdev);
	pci_stop_and_remove_bus_device_locked(pdev);
}

/* The disk goes away, for good: this comes last. */
static void phys_io_unplug_disk(struct kunit *test)
{
	if (!nr_disks)
		kunit_skip(test, "all disks of this machine refuse");
	run_load(test, 0, bar_refused ? &carved : &bar, end_unplug_disk, true);
	run_load(test, 1, &carved, end_unplug_disk, true);
	phyr_owner_revoke(&carved.owner);
}

static int phys_io_suite_init(struct kunit_suite *suite)
{
	prandom_seed_state(&rnd, 6);
	if (page_is_ram(PHYS_PFN(ram)) || !ivshmem || nr_disks + nr_refuse == 0)
		return -ENODEV;
	carved.base = ram;
	carved.size = ram_size;
	carved.cpu = memremap(ram, ram_size, MEMREMAP_WB);
	pool = alloc_pages(GFP_KERNEL, POOL_ORDER);
	if (!carved.cpu || !pool)
		return -ENOMEM;
	pool_virt = page_address(pool);
	return phyr_owner_init_ram(&carved.owner);
}

static void phys_io_suite_exit(struct kunit_suite *suite)
{
	if (suite->suite_init_err)
		return;
	phyr_owner_exit(&carved.owner);
	memunmap(carved.cpu);
	__free_pages(pool, POOL_ORDER);
}

static struct kunit_case phys_io_cases[] = {
	KUNIT_CASE_SLOW(phys_io_ram),
	KUNIT_CASE_SLOW(phys_io_bar),
	KUNIT_CASE(phys_io_plugged),
	KUNIT_CASE(phys_io_refused),
	KUNIT_CASE(phys_io_bad_input),
	KUNIT_CASE_SLOW(phys_io_revoke),
	KUNIT_CASE_SLOW(phys_io_unplug_owner),
	KUNIT_CASE_SLOW(phys_io_unplug_disk),
	{ }
};

static struct kunit_suite phys_io_suite = {
	.name = "phys_io",
	.suite_init = phys_io_suite_init,
	.suite_exit = phys_io_suite_exit,
	.test_cases = phys_io_cases,
};

kunit_test_suites(&phys_io_suite);

static void close_disks(struct file **files)
{
	for (int i = 0; i < MAX_DISKS; i++)
		if (!IS_ERR_OR_NULL(files[i]))
			bdev_fput(files[i]);
}

static int open_disks(char **paths, int nr, struct file **files)
{
	for (int i = 0; i < nr; i++) {
		files[i] = bdev_file_open_by_path(paths[i],
				BLK_OPEN_READ | BLK_OPEN_WRITE, NULL, NULL);
		if (IS_ERR(files[i])) {
			pr_err("%s: %pe\n", paths[i], files[i]);
			return PTR_ERR(files[i]);
		}
	}
	return 0;
}

static int __init phys_io_init(void)
{
	int ret;

	ret = open_disks(disks, nr_disks, disk_files);
	if (!ret)
		ret = open_disks(refuse, nr_refuse, refuse_files);
	if (!ret)
		ret = pci_register_driver(&phys_io_driver);
	if (ret) {
		close_disks(disk_files);
		close_disks(refuse_files);
	}
	return ret;
}
module_init(phys_io_init);

static void __exit phys_io_exit(void)
{
	pci_unregister_driver(&phys_io_driver);
	close_disks(disk_files);
	close_disks(refuse_files);
}
module_exit(phys_io_exit);

MODULE_IMPORT_NS("EXPORTED_FOR_KUNIT_TESTING");
MODULE_DESCRIPTION("KUnit tests of I/O to memory without struct page");
MODULE_LICENSE("GPL");
