// SPDX-License-Identifier: GPL-2.0
/*
 * umem        memory regions of user memory of several kinds and of dma-bufs, for a
 *             device with DMA (QEMU's edu, through test-scripts/kmod/umem_test.c)
 *             and for one without. The device's table of blocks is compared with
 *             the memory; the device writes where it says; what it wrote, and
 *             nothing else, is found. Then what must be refused; a dma-buf that
 *             mixes memory and a BAR, moves and is revoked (dmabuf_kunit.ko);
 *             owners that are killed; and, where the kernel can do that, each
 *             allocation fails once. Pins and VmPin are compared all along.
 * umem:cma    regions of a buffer of the CMA heap
 * umem:cycles  20,000 registrations and releases, of user memory, of the system
 *             heap and of udmabuf in turn
 * umem:bench  instructions to register and to release 1 GiB of memory, and of the
 *             system heap, and the bytes that are kept of it
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../kmod/umem_test.h"
#include "pins.h"

#define PAGE		4096UL
#define MIB		(1UL << 20)
#define GIB		(1UL << 30)
#define HUGE		(2 * MIB)
#define WRITABLE	1	/* IB_ACCESS_LOCAL_WRITE */
#define ALL_SIZES	(~0UL & ~(PAGE - 1))

/* /dev/dmabuf_test of dmabuf_kunit.ko */
#define TEST_NEW	_IO('d', 0)
#define TEST_REVOKE	_IO('d', 1)
#define TEST_UNREVOKE	_IO('d', 2)
#define TEST_MOVE	_IO('d', 4)
#define MIXTURE		(24 * PAGE)

static int dev, bad;
static bool unprivileged;	/* and so cannot count pins */

#define check(cond, ...) do { if (!(cond)) {				\
	printf("line %d: ", __LINE__); printf(__VA_ARGS__); puts("");	\
	fflush(stdout); bad++; } } while (0)

static long long held(void)
{
	return unprivileged ? 0 : pins();
}

static long vm_pin(void)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "VmPin: %ld", &kib);
	if (f)
		fclose(f);
	return kib;
}

static void *map(void *at, size_t len, int flags, int fd)
{
	void *p = mmap(at, len, PROT_READ | PROT_WRITE,
		       (fd < 0 ? MAP_PRIVATE | MAP_ANONYMOUS : MAP_SHARED) |
		       (at ? MAP_FIXED : 0) | flags, fd, 0);

	return p == MAP_FAILED ? NULL : p;
}

/* Aligned for huge pages, with the memory touched */
static char *small(void *at, size_t len)
{
	char *p = at ?: map(NULL, len + HUGE, MAP_NORESERVE, -1);

	if (!at)
		p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	p = map(p, len, 0, -1);
	madvise(p, len, MADV_NOHUGEPAGE);
	/* Out of order, so that neighbours seldom are neighbours */
	for (size_t i = 0; i < len / PAGE; i++)
		p[(i * 7919 % (len / PAGE)) * PAGE] = 1;
	memset(p, 0x11, len);
	return p;
}

static char *thp(void *at, size_t len)
{
	char *p = small(at, PAGE);

	p = map(p, len, 0, -1);
	madvise(p, len, MADV_HUGEPAGE);
	memset(p, 0x11, len);
	return p;
}

static char *hugetlb(void *at, size_t len, int shift)
{
	char *p = map(at, len, MAP_HUGETLB | shift << 26, -1);

	if (p)
		memset(p, 0x11, len);
	return p;
}

static char *shmem(size_t len)
{
	int fd = memfd_create("umem", 0);
	char *p;

	ftruncate(fd, len);
	p = map(NULL, len, 0, fd);
	close(fd);
	if (p)
		memset(p, 0x11, len);
	return p;
}

static uint64_t rnd_state = 7300;

static uint64_t rnd(uint64_t below)
{
	rnd_state = rnd_state * 6364136223846793005ULL + 1442695040888963407ULL;
	return (rnd_state >> 33) % below;
}

static bool is_pattern(const char *p)
{
	for (int i = 0; i < UMEM_TEST_PATTERN; i++)
		if ((unsigned char)p[i] != umem_test_byte(i))
			return false;
	return true;
}

/* Have the device write at @offset of the region, which is at @mem */
static void device_writes(struct umem_test *t, char *mem, uint64_t offset,
			  const char *name)
{
	char saved[UMEM_TEST_PATTERN];

	memcpy(saved, mem + offset, sizeof(saved));
	t->offset = offset;
	check(!ioctl(dev, UMEM_TEST_WRITE, t), "%s: the device cannot write at %#lx: %m",
	      name, (long)offset);
	check(!t->wrong, "%s: %lu pages are elsewhere", name, (long)t->wrong);
	check(is_pattern(mem + offset), "%s: no pattern at %#lx", name, (long)offset);
	memcpy(mem + offset, saved, sizeof(saved));
}

static void copies(struct umem_test *t, char *mem, const char *name)
{
	static char out[3 * PAGE];
	uint64_t addr = t->addr, len = t->len;

	for (int i = 0; i < 8; i++) {
		size_t n = 1 + rnd(len < sizeof(out) ? len : sizeof(out));

		t->offset = i ? rnd(len - n + 1) : len - n;
		t->len = n;
		t->addr = (uintptr_t)out;
		for (size_t j = 0; j < n; j++)
			mem[t->offset + j] = j * 13 + i;
		check(!ioctl(dev, UMEM_TEST_COPY, t), "%s: copy: %m", name);
		check(!memcmp(out, mem + t->offset, n), "%s: copied something else", name);
		memset(mem + t->offset, 0x11, n);
	}
	t->offset = len - 1;
	t->len = 2;
	check(ioctl(dev, UMEM_TEST_COPY, t) && errno == EINVAL, "%s: copied past the end", name);
	t->addr = addr;
	t->len = len;
}

/* A region of [mem + start, + len), with what is expected of it */
static void region(const char *name, char *mem, size_t start, size_t len,
		   uint64_t iova, uint64_t pgsz_bitmap, uint64_t want_pgsz)
{
	unsigned long pages = ((uintptr_t)(mem + start) % PAGE + len + PAGE - 1) / PAGE;
	long long pins_before = held();
	long vm_before = vm_pin();

	for (int virt = 0; virt < 2; virt++) {
		struct umem_test t = {
			.addr = (uintptr_t)(mem + start), .len = len,
			.iova = iova ?: (uintptr_t)(mem + start),
			.pgsz_bitmap = pgsz_bitmap, .access = WRITABLE,
			.flags = virt ? UMEM_TEST_VIRT : 0,
		};

		if (ioctl(dev, UMEM_TEST_REG, &t)) {
			check(false, "%s: %m", name);
			return;
		}
		check(!t.wrong, "%s: %lu pages are elsewhere", name, (long)t.wrong);
		check(t.nr_pages == pages, "%s: %lu pages, not %lu", name, (long)t.nr_pages, pages);
		check(vm_pin() - vm_before == (long)pages * 4, "%s: VmPin grew by %ld kB, not %ld",
		      name, vm_pin() - vm_before, pages * 4);
		check(held() - pins_before == (long)pages, "%s: %lld pins, not %ld", name,
		      held() - pins_before, pages);
		if (!virt) {
			printf("%s: %lu pages, %lu ranges, %lu for the device, %lu blocks of %lu KiB, %lu bytes\n",
			       name, pages, (long)t.nr_phyrs, (long)t.nr_ranges, (long)t.nr_blocks,
			       (long)t.pgsz >> 10, (long)t.bytes);
			check(t.nr_phyrs <= pages && t.nr_ranges <= t.nr_phyrs, "%s: too many ranges", name);
			check(!want_pgsz || t.pgsz >= want_pgsz, "%s: blocks of %#lx bytes", name, (long)t.pgsz);
			device_writes(&t, mem + start, 0, name);
			device_writes(&t, mem + start, len - UMEM_TEST_PATTERN, name);
			for (int i = 0; i < 3; i++)
				device_writes(&t, mem + start,
					      rnd(len / UMEM_TEST_PATTERN) * UMEM_TEST_PATTERN, name);
		} else {
			check(!t.nr_ranges, "%s: DMA ranges without a device", name);
		}
		copies(&t, mem + start, name);
		for (size_t i = 0; i < len; i++)
			if (mem[start + i] != 0x11) {
				check(false, "%s: byte %#lx was written", name, (long)i);
				break;
			}
		check(!ioctl(dev, UMEM_TEST_RELEASE, &t), "%s: release: %m", name);
		check(vm_pin() == vm_before, "%s: VmPin is left", name);
		check(held() == pins_before, "%s: %lld pins are left", name, held() - pins_before);
	}
}

static void kinds(void)
{
	char *p = small(NULL, 4 * MIB), *mixed;

	region("1 page", p, 0, PAGE, 0, ALL_SIZES, 0);
	region("a few bytes", p, PAGE - 100, 200, 0, ALL_SIZES, 0);
	region("small pages", p, 0, 4 * MIB, 0, ALL_SIZES, 0);
	region("small pages, unaligned", p, 1234, 4 * MIB - 2345, 0, ALL_SIZES, 0);
	region("small pages, blocks of 4K", p, 1000, 16 * PAGE, 0, PAGE, PAGE);
	region("small pages, other iova", p, 64, 3 * MIB, 0x7000000040UL, ALL_SIZES, 0);
	p = thp(NULL, 4 * HUGE);
	region("thp", p, 0, 4 * HUGE, 0, ALL_SIZES, HUGE);
	region("thp, unaligned", p, 12345, 3 * HUGE, 0, ALL_SIZES, 0);
	p = hugetlb(NULL, 2 * HUGE, 21);
	if (p) {
		region("hugetlb", p, 0, 2 * HUGE, 0, ALL_SIZES, HUGE);
		region("hugetlb, unaligned", p, HUGE - 5000, 10000, 0, ALL_SIZES, 0);
	} else {
		printf("no hugetlb pages\n");
	}
	p = shmem(MIB);
	region("shmem", p, PAGE, MIB - PAGE, 0, ALL_SIZES, 0);
	/* Small pages, a THP, and a page of hugetlb in a row */
	mixed = map(NULL, 8 * HUGE, MAP_NORESERVE, -1);
	mixed = (char *)(((uintptr_t)mixed + HUGE - 1) & ~(HUGE - 1));
	small(mixed, HUGE);
	map(mixed + HUGE, HUGE, 0, -1);
	madvise(mixed + HUGE, HUGE, MADV_HUGEPAGE);
	memset(mixed + HUGE, 0x11, HUGE);
	if (hugetlb(mixed + 2 * HUGE, HUGE, 21))
		region("a mixture", mixed, 4096 + 5, 3 * HUGE - 8192, 0, ALL_SIZES, 0);
}

static void refused(const char *name, struct umem_test t, int want)
{
	long long pins_before = held();
	long vm_before = vm_pin();
	int ret = ioctl(dev, UMEM_TEST_REG, &t);

	check(ret && errno == want, "%s: %s, not %s", name, ret ? strerror(errno) : "accepted", strerror(want));
	check(vm_pin() == vm_before, "%s: VmPin is left", name);
	check(held() == pins_before, "%s: %lld pins are left", name, held() - pins_before);
}

static void bad_input(void)
{
	char *p = small(NULL, 4 * MIB), *ro;
	struct umem_test t = { .addr = (uintptr_t)p, .len = 4 * MIB, .pgsz_bitmap = ALL_SIZES,
			       .access = WRITABLE };
	int status;

	munmap(p + 3 * MIB, PAGE);
	refused("a hole in the middle", t, EFAULT);
	t.len = 0;
	refused("no bytes", t, EINVAL);
	t.len = -t.addr;
	refused("up to the end of addresses", t, EINVAL);
	t.len = 1ULL << 46;
	refused("more pages than can be counted", t, EINVAL);
	t.addr = (1ULL << 47) - 2 * PAGE;
	t.len = 4 * PAGE;
	refused("past user space", t, EFAULT);
	ro = mmap(NULL, MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	t.addr = (uintptr_t)ro;
	t.len = MIB;
	refused("memory that is read-only", t, EFAULT);
	t.addr = (uintptr_t)p;
	t.pgsz_bitmap = 1 << 10;
	t.iova = 512;
	refused("no block size that fits", t, EOPNOTSUPP);
	t.iova = 0;
	t.pgsz_bitmap = ALL_SIZES;
	/* Fails in the middle of mapping, where there is IOVA space for some of it */
	p = small(NULL, 32 * MIB);
	t.addr = (uintptr_t)p;
	t.len = 32 * MIB;
	t.flags = UMEM_TEST_NARROW;
	if (ioctl(dev, UMEM_TEST_REG, &t) && errno == EIO)
		printf("without an IOMMU, edu cannot be told that it reaches less\n");
	else
		refused("memory out of the device's reach", t, ENOMEM);
	t.flags = 0;
	t.len = MIB;
	fflush(stdout);
	if (!fork()) {
		struct rlimit limit = { 512 << 10, 512 << 10 };

		bad = 0;
		unprivileged = true;
		setrlimit(RLIMIT_MEMLOCK, &limit);
		setresuid(65534, 65534, 65534);
		p = small(NULL, MIB);
		t.addr = (uintptr_t)p;
		t.len = 512 << 10;
		check(!ioctl(dev, UMEM_TEST_REG, &t), "within the limit: %m");
		check(!ioctl(dev, UMEM_TEST_RELEASE, &t), "release: %m");
		t.len++;
		refused("past RLIMIT_MEMLOCK", t, ENOMEM);
		t.len--;
		check(!ioctl(dev, UMEM_TEST_REG, &t), "within the limit again: %m");
		check(!ioctl(dev, UMEM_TEST_RELEASE, &t), "release: %m");
		limit.rlim_cur = 0;
		setrlimit(RLIMIT_MEMLOCK, &limit);
		refused("no RLIMIT_MEMLOCK", t, EPERM);
		fflush(stdout);
		_exit(bad);
	}
	wait(&status);
	check(!status, "the child failed");
}

static void dmabuf(const char *name, int fd, size_t size)
{
	char *mem = map(NULL, size, 0, fd);
	struct umem_test t = { .fd = fd, .flags = UMEM_TEST_DMABUF, .access = WRITABLE,
			       .pgsz_bitmap = ALL_SIZES };
	static const size_t starts[] = { 0, PAGE, 5 * PAGE + 100 };

	if (!mem) {
		check(false, "%s: mmap: %m", name);
		return;
	}
	/* Twice: the exporter's table has to be as it was */
	for (int i = 0; i < 6; i++) {
		t.addr = starts[i % 3];
		t.len = size - 2 * t.addr;
		t.iova = t.addr;
		memset(mem, 0x11, size);
		if (ioctl(dev, UMEM_TEST_REG, &t)) {
			check(false, "%s: %m", name);
			return;
		}
		check(!t.wrong && t.nr_pages == (t.addr % PAGE + t.len + PAGE - 1) / PAGE,
		      "%s: %lu of %lu pages are elsewhere", name, (long)t.wrong, (long)t.nr_pages);
		if (i < 3)
			printf("%s: %lu ranges for the device, %lu blocks of %lu KiB\n", name, (long)t.nr_ranges,
			       (long)t.nr_blocks, (long)t.pgsz >> 10);
		device_writes(&t, mem + t.addr, 0, name);
		device_writes(&t, mem + t.addr, t.len - UMEM_TEST_PATTERN, name);
		device_writes(&t, mem + t.addr, rnd(t.len / 128) * 64, name);
		for (size_t j = 0; j < size; j++)
			if (mem[j] != 0x11) {
				check(false, "%s: byte %#lx was written", name, (long)j);
				break;
			}
		t.offset = 0;
		t.len = 64;
		check(ioctl(dev, UMEM_TEST_COPY, &t) && errno == EOPNOTSUPP, "%s: copied from it", name);
		ioctl(dev, UMEM_TEST_RELEASE, &t);
	}
	t.addr = PAGE;
	t.len = size;
	refused("past the end of a dma-buf", t, EINVAL);
	munmap(mem, size);
}

static void heap(const char *name)
{
	struct dma_heap_allocation_data heap = { .len = 3 * MIB + 5 * PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	char path[64];
	int fd;

	snprintf(path, sizeof(path), "/dev/dma_heap/%s", name);
	fd = open(path, O_RDWR);
	if (fd < 0 || ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &heap)) {
		check(false, "%s: %m", path);
		return;
	}
	dmabuf(name, heap.fd, heap.len);
	close(heap.fd);
	close(fd);
}

static void dmabufs(void)
{
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + 3 * sizeof(list->list[0]));
	int fd = open("/dev/udmabuf", O_RDWR), memfd;

	heap("system");
	memfd = memfd_create("udmabuf", MFD_ALLOW_SEALING);
	ftruncate(memfd, 4 * MIB);
	fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK);
	list->count = 3;
	for (int i = 0; i < 3; i++) {
		list->list[i].memfd = memfd;
		list->list[i].offset = (3 - i) * MIB;
		list->list[i].size = MIB / 4;
	}
	fd = fd < 0 ? fd : ioctl(fd, UDMABUF_CREATE_LIST, list);
	if (fd >= 0)
		dmabuf("udmabuf", fd, 3 * MIB / 4);
	else
		check(false, "no udmabuf: %m");
	close(fd);
}

/* The buffer moves and is revoked all the time; the device writes to it. */
static void moves(int test, int fd)
{
	struct umem_test t = { .fd = fd, .flags = UMEM_TEST_DMABUF | UMEM_TEST_DYNAMIC, .access = WRITABLE,
			       .pgsz_bitmap = ALL_SIZES, .len = MIXTURE };
	volatile bool *stop = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	int writes = 0, refusals = 0;
	time_t end = time(NULL) + 8;
	pid_t mover;
	char *mem;

	if (ioctl(dev, UMEM_TEST_REG, &t)) {
		check(false, "a buffer that moves: %m");
		return;
	}
	check(!t.wrong, "%lu pages are elsewhere", (long)t.wrong);
	fflush(stdout);
	mover = fork();
	if (!mover) {
		for (int i = 0; !*stop; i++) {
			ioctl(test, TEST_MOVE, fd);
			if (i % 3 == 2) {
				ioctl(test, TEST_REVOKE, fd);
				usleep(rnd(20000));
				ioctl(test, TEST_UNREVOKE, fd);
			}
			usleep(rnd(30000));
		}
		_exit(0);
	}
	while (time(NULL) < end) {
		t.offset = rnd(MIXTURE / UMEM_TEST_PATTERN) * UMEM_TEST_PATTERN;
		if (!ioctl(dev, UMEM_TEST_WRITE, &t)) {
			check(!t.wrong && t.nr_pages == MIXTURE / PAGE, "after %d writes %lu pages are elsewhere",
			      writes, (long)t.wrong);
			writes++;
		} else {
			check(errno == ENODEV, "after %d writes: %m", writes);
			refusals++;
			usleep(5000);
		}
	}
	*stop = true;
	waitpid(mover, NULL, 0);
	printf("a buffer that moves: %d writes, %d refused while it was revoked\n", writes, refusals);
	check(writes >= 20 && refusals, "%d writes, %d refused", writes, refusals);
	/* and what is written gets there, wherever that is by now */
	for (int i = 0; i < 2; i++) {
		mem = map(NULL, MIXTURE, 0, fd);
		for (size_t at = 0; at < MIXTURE; at += i ? 5 * PAGE : PAGE)
			device_writes(&t, mem, at, "a buffer that has moved");
		munmap(mem, MIXTURE);
		ioctl(test, TEST_MOVE, fd);
	}
	ioctl(dev, UMEM_TEST_RELEASE, &t);
}

/* A region that survives no revocation: nothing is mapped afterwards, for good. */
static void revocations(int test, int fd)
{
	for (int i = 0; i < 2; i++) {
		struct umem_test t = { .fd = fd, .flags = UMEM_TEST_DMABUF | UMEM_TEST_REVOCABLE,
				       .access = WRITABLE, .pgsz_bitmap = ALL_SIZES, .len = MIXTURE };
		char *mem = map(NULL, MIXTURE, 0, fd);

		check(!ioctl(dev, UMEM_TEST_REG, &t), "a region to revoke: %m");
		device_writes(&t, mem, 7 * PAGE, "a region to revoke");
		check(!ioctl(dev, UMEM_TEST_MAPPED, &t), "%m");
		printf("a region to revoke: %lu pages are mapped by an IOMMU\n", (long)t.nr_pages);
		if (i) {
			/* released without having been revoked */
			ioctl(dev, UMEM_TEST_RELEASE, &t);
			munmap(mem, MIXTURE);
			break;
		}
		check(!ioctl(test, TEST_REVOKE, fd), "%m");
		check(!ioctl(dev, UMEM_TEST_MAPPED, &t) && !t.nr_pages, "%lu pages are mapped though revoked",
		      (long)t.nr_pages);
		check(ioctl(dev, UMEM_TEST_WRITE, &t) && errno == ENODEV, "written though revoked");
		check(!ioctl(test, TEST_UNREVOKE, fd), "%m");
		check(ioctl(dev, UMEM_TEST_WRITE, &t) && errno == ENODEV, "the region came back");
		ioctl(dev, UMEM_TEST_RELEASE, &t);
		check(!ioctl(test, TEST_REVOKE, fd), "%m");
		for (int flags = 0; flags < 3; flags++)
			refused("a buffer that is revoked", (struct umem_test){ .fd = fd, .len = MIXTURE,
				.flags = UMEM_TEST_DMABUF | (flags == 1 ? UMEM_TEST_DYNAMIC :
							     flags == 2 ? UMEM_TEST_REVOCABLE : 0),
				.pgsz_bitmap = ALL_SIZES }, ENODEV);
		check(!ioctl(test, TEST_UNREVOKE, fd), "%m");
		munmap(mem, MIXTURE);
	}
}

/* Whoever has regions is killed: nothing is left of them. */
static void killed(int fd)
{
	long long pins_before = held();
	int ready[2];
	pid_t owner;
	char c;

	pipe(ready);
	fflush(stdout);
	owner = fork();
	if (!owner) {
		struct umem_test t = { .len = 4 * MIB, .access = WRITABLE, .pgsz_bitmap = ALL_SIZES };
		bool ok;

		t.addr = t.iova = (uintptr_t)small(NULL, t.len);
		ok = !ioctl(open("/dev/umem_test", O_RDWR), UMEM_TEST_REG, &t);
		t = (struct umem_test){ .fd = fd, .flags = UMEM_TEST_DMABUF | UMEM_TEST_DYNAMIC, .len = MIXTURE,
					.access = WRITABLE, .pgsz_bitmap = ALL_SIZES };
		ok = !ioctl(open("/dev/umem_test", O_RDWR), UMEM_TEST_REG, &t) && ok;
		write(ready[1], ok ? "y" : "n", 1);
		pause();
	}
	check(read(ready[0], &c, 1) == 1 && c == 'y', "a child could not register");
	check(held() - pins_before == 4 * MIB / PAGE, "the child has %lld pins", held() - pins_before);
	kill(owner, SIGKILL);
	waitpid(owner, NULL, 0);
	check(held() == pins_before, "%lld pins outlive their owner", held() - pins_before);
	close(ready[0]);
	close(ready[1]);
}

/* ivshmem goes to dmabuf_kunit.ko, whose buffers have memory and its BAR. */
static void mixture(void)
{
	glob_t g;
	FILE *f;
	int test, fd;

	if (!glob("/sys/bus/pci/drivers/umem_test/0000:*", 0, NULL, &g))
		for (size_t i = 0; i < g.gl_pathc; i++) {
			char id[16] = "", path[512];

			snprintf(path, sizeof(path), "%s/device", g.gl_pathv[i]);
			f = fopen(path, "r");
			fgets(id, sizeof(id), f);
			fclose(f);
			if (strncmp(id, "0x1110", 6))
				continue;
			f = fopen("/sys/bus/pci/drivers/umem_test/unbind", "w");
			fputs(strrchr(g.gl_pathv[i], '/') + 1, f);
			fclose(f);
		}
	if (system("insmod /tests/dmabuf_kunit.ko")) {
		check(false, "no dmabuf_kunit.ko");
		return;
	}
	test = open("/dev/dmabuf_test", O_RDWR);
	fd = ioctl(test, TEST_NEW);
	check(fd >= 0, "no mixture: %m");
	if (fd >= 0) {
		dmabuf("mixture", fd, MIXTURE);
		moves(test, fd);
		revocations(test, fd);
		killed(fd);
		close(fd);
	}
	close(test);
	/* which it cannot be as long as anything of a buffer is left */
	check(!system("rmmod dmabuf_kunit"), "dmabuf_kunit.ko cannot be unloaded");
}

/* Every allocation fails once, until none is left to fail */
static void allocations_fail(void)
{
	static const char *const names[] = { "user memory, without DMA", "user memory", "system heap" };
	struct dma_heap_allocation_data heap = { .len = 64 * PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	char *p = small(NULL, 64 * PAGE), text[16];
	struct umem_test t = { .addr = (uintptr_t)p, .len = 64 * PAGE, .pgsz_bitmap = ALL_SIZES,
			       .iova = (uintptr_t)p, .access = WRITABLE };
	int fd = open("/proc/thread-self/fail-nth", O_RDWR), n;

	if (fd < 0) {
		printf("allocations do not fail in this kernel\n");
		return;
	}
	system("/tests/fail-allocations");
	/* Once without: the memory is then where it can stay */
	check(!ioctl(dev, UMEM_TEST_REG, &t), "%m");
	check(!ioctl(dev, UMEM_TEST_RELEASE, &t), "%m");
	check(!ioctl(open("/dev/dma_heap/system", O_RDWR), DMA_HEAP_IOCTL_ALLOC, &heap), "system heap: %m");
	for (int i = 0; i < 3; i++) {
		int failed = 0;

		t.flags = i == 0 ? UMEM_TEST_VIRT : i == 1 ? 0 : UMEM_TEST_DMABUF;
		if (i == 2) {
			t.fd = heap.fd;
			t.addr = t.iova = 0;
			t.len = heap.len;
		}
		for (n = 1; n < 1000; n++) {
			long long pins_before = held();
			long vm_before = vm_pin();
			int ret, error, left;

			snprintf(text, sizeof(text), "%d", n);
			pwrite(fd, text, strlen(text), 0);
			ret = ioctl(dev, UMEM_TEST_REG, &t);
			error = errno;
			memset(text, 0, sizeof(text));
			pread(fd, text, sizeof(text) - 1, 0);
			left = atoi(text);
			pwrite(fd, "0", 1, 0);
			if (ret) {
				check(error == ENOMEM, "allocation %d failed: %s", n, strerror(error));
				failed++;
			} else {
				check(!t.wrong, "after allocation %d failed, %ld pages are elsewhere", n, (long)t.wrong);
				ioctl(dev, UMEM_TEST_RELEASE, &t);
			}
			check(vm_pin() == vm_before, "allocation %d failed: VmPin is left", n);
			check(held() == pins_before, "allocation %d failed: %lld pins are left", n,
			      held() - pins_before);
			if (left) /* it was not reached */
				break;
		}
		check(n < 1000, "there is no end of allocations");
		printf("%s: of %d allocations, %d take the registration with them\n", names[i], n - 1, failed);
		/* The region, and its ranges, for which there is a second try by vmalloc() */
		check(failed && n > 2, "of %d allocations %d mattered", n - 1, failed);
	}
}

struct cost {
	uint64_t least[2], sum[2], bytes;
	unsigned int runs;
};

static int bench_more(const char *name, struct umem_test *how, struct cost *cost)
{
	struct umem_test t;

	for (int run = 0; run < 5; run++) {
		t = *how;
		if (ioctl(dev, UMEM_TEST_BENCH, &t)) {
			printf("%s: %m\n", name);
			return 1;
		}
		cost->sum[0] += t.reg_ns;
		cost->sum[1] += t.release_ns;
		if (!cost->runs++ || t.reg_ns < cost->least[0])
			cost->least[0] = t.reg_ns;
		if (cost->runs == 1 || t.release_ns < cost->least[1])
			cost->least[1] = t.release_ns;
	}
	cost->bytes = t.bytes;
	return 0;
}

static void bench_tell(const char *name, struct cost *cost)
{
	printf("bench\tumem %s: register\t%llu\t%.0f\tinstructions\n", name,
	       (unsigned long long)cost->least[0], (double)cost->sum[0] / cost->runs);
	printf("bench\tumem %s: release\t%llu\t%.0f\tinstructions\n", name,
	       (unsigned long long)cost->least[1], (double)cost->sum[1] / cost->runs);
	printf("bench\tumem %s: kept\t%llu\t%llu\tbytes\n", name,
	       (unsigned long long)cost->bytes, (unsigned long long)cost->bytes);
}

static int bench_one(const char *name, struct umem_test *how)
{
	struct cost cost = {};

	if (bench_more(name, how, &cost))
		return 1;
	bench_tell(name, &cost);
	return 0;
}

static int heap_fd(size_t len)
{
	struct dma_heap_allocation_data heap = { .len = len, .fd_flags = O_RDWR | O_CLOEXEC };
	int fd = open("/dev/dma_heap/system", O_RDWR);

	if (ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &heap)) {
		printf("system heap: %m\n");
		return -1;
	}
	close(fd);
	return heap.fd;
}

/* Free blocks of 1 MiB and of 2 MiB, of those that the heap allocates from first; -1: not known */
static int loose_blocks(void)
{
	FILE *f = fopen("/proc/pagetypeinfo", "r");
	int mib, two, blocks = -1;
	char line[512];

	while (f && blocks < 0 && fgets(line, sizeof(line), f))
		if (sscanf(line, "Node 0, zone Normal, type Unmovable %*d %*d %*d %*d %*d %*d %*d %*d %d %d",
			   &mib, &two) == 2)
			blocks = mib + two;
	if (f)
		fclose(f);
	return blocks;
}

/*
 * The heap's chunks have 1 MiB. Whether two of them become a huge page of the
 * IOMMU is up to how many single ones were free, which differs from kernel to
 * kernel: so these are taken first, and the buffer is of blocks of 4 MiB.
 */
static int bench_heap(void)
{
	struct umem_test t = { .flags = UMEM_TEST_DMABUF, .len = GIB, .access = WRITABLE };
	int loose;

	while ((loose = loose_blocks()) > 0)
		if (heap_fd(MIB) < 0)
			return 1;
	if (loose < 0) {
		printf("/proc/pagetypeinfo: cannot be understood\n");
		return 1;
	}
	t.fd = heap_fd(GIB);
	return t.fd < 0 || bench_one("heap 1G", &t);
}

static int bench(void)
{
	static const struct {
		const char *name;
		size_t len;
	} loads[] = { { "small 64M", 64 * MIB }, { "thp 1G", GIB }, { "hugetlb 1G", GIB }, { "1 page", PAGE } };

	for (unsigned int i = 0; i < 4; i++) {
		char *p = i == 0 || i == 3 ? small(NULL, loads[i].len) : i == 1 ? thp(NULL, GIB) :
			  hugetlb(NULL, GIB, 30);
		struct umem_test t = { .addr = (uintptr_t)p, .len = loads[i].len, .access = WRITABLE };

		if (!p) {
			printf("no memory for %s\n", loads[i].name);
			return 1;
		}
		if (bench_one(loads[i].name, &t))
			return 1;
		munmap(p, loads[i].len);
	}
	return bench_heap();
}

/* For kmemleak, and for whoever counts pins */
static int cycles(void)
{
	struct dma_heap_allocation_data heap = { .len = 8 * PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	int fd = open("/dev/dma_heap/system", O_RDWR), memfd = memfd_create("udmabuf", MFD_ALLOW_SEALING);
	struct udmabuf_create buf = { .memfd = memfd, .size = 8 * PAGE };
	char *p = small(NULL, 8 * PAGE);
	int fds[3] = { -1 };
	long long before;

	ftruncate(memfd, 8 * PAGE);
	fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK);
	if (ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &heap)) {
		printf("system heap: %m\n");
		return 1;
	}
	fds[1] = heap.fd;
	fds[2] = ioctl(open("/dev/udmabuf", O_RDWR), UDMABUF_CREATE, &buf);
	if (fds[2] < 0) {
		printf("udmabuf: %m\n");
		return 1;
	}
	before = pins();	/* udmabuf has some of its own */
	for (int i = 0; i < 20000; i++) {
		struct umem_test t = { .len = 8 * PAGE, .access = WRITABLE, .pgsz_bitmap = ALL_SIZES,
				       .fd = fds[i % 3], .flags = i % 3 ? UMEM_TEST_DMABUF : 0,
				       .addr = i % 3 ? 0 : (uintptr_t)p };

		if (ioctl(dev, UMEM_TEST_REG, &t) || ioctl(dev, UMEM_TEST_RELEASE, &t)) {
			printf("cycle %d: %m\n", i);
			return 1;
		}
	}
	check(pins() == before, "%lld pins are left", pins() - before);
	printf("20000 cycles\n");
	return bad != 0;
}

int main(int argc, char **argv)
{
	long long before;

	if (access("/dev/umem_test", F_OK) && system("insmod /tests/umem_test.ko"))
		return 1;
	dev = open("/dev/umem_test", O_RDWR);
	if (dev < 0) {
		printf("/dev/umem_test: %m\n");
		return 1;
	}
	system(argc > 1 ? "echo 0 >/proc/sys/vm/nr_hugepages" : "echo 4 >/proc/sys/vm/nr_hugepages");
	before = pins();
	if (argc > 1 && !strcmp(argv[1], "cma")) {
		heap("default_cma_region");
		check(pins() == before, "%lld pins are left", pins() - before);
		return bad != 0;
	}
	if (argc > 1)
		return strcmp(argv[1], "cycles") ? bench() : cycles();
	kinds();
	bad_input();
	dmabufs();
	mixture();
	allocations_fail();
	check(pins() == before, "%lld pins are left", pins() - before);
	return bad != 0;
}
