// SPDX-License-Identifier: GPL-2.0
/*
 * umem        memory regions of user memory of several kinds and of dma-bufs, for a
 *             device with DMA (QEMU's edu, through test-scripts/kmod/umem_test.c)
 *             and for one without. The device's table of blocks is compared with
 *             the memory; the device writes where it says; what it wrote, and
 *             nothing else, is found. Then what must be refused; and, where the
 *             kernel can do that, each allocation fails once. Pins and VmPin are
 *             compared all along.
 * umem:cycles  20,000 registrations and releases, of user memory, of the system
 *             heap and of udmabuf in turn
 * umem:bench  instructions to register and to release 1 GiB, and the bytes that
 *             are kept of it
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
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
#include <unistd.h>
#include "../kmod/umem_test.h"
#include "pins.h"

#define PAGE		4096UL
#define MIB		(1UL << 20)
#define GIB		(1UL << 30)
#define HUGE		(2 * MIB)
#define WRITABLE	1	/* IB_ACCESS_LOCAL_WRITE */
#define ALL_SIZES	(~0UL & ~(PAGE - 1))

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
	close(fd);
}

static void dmabufs(void)
{
	struct dma_heap_allocation_data heap = { .len = 3 * MIB + 5 * PAGE, .fd_flags = O_RDWR | O_CLOEXEC };
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + 3 * sizeof(list->list[0]));
	int fd = open("/dev/dma_heap/system", O_RDWR), memfd;

	if (fd >= 0 && !ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &heap))
		dmabuf("system heap", heap.fd, heap.len);
	else
		printf("no system heap\n");
	fd = open("/dev/udmabuf", O_RDWR);
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
		printf("no udmabuf\n");
}

/* Every allocation fails once, until none is left to fail */
static void allocations_fail(void)
{
	char *p = small(NULL, 4 * MIB), text[16];
	struct umem_test t = { .addr = (uintptr_t)p, .len = 4 * MIB, .pgsz_bitmap = ALL_SIZES,
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
	for (int dma = 0; dma < 2; dma++) {
		int failed = 0;

		t.flags = dma ? 0 : UMEM_TEST_VIRT;
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
		printf("%d registrations failed for want of memory\n", failed);
		/* at least the region and its ranges */
		check(failed >= 2, "only %d registrations failed", failed);
	}
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
		uint64_t least[2] = { -1, -1 }, sum[2] = { 0 };
		struct umem_test t;

		if (!p) {
			printf("no memory for %s\n", loads[i].name);
			return 1;
		}
		for (int run = 0; run < 5; run++) {
			t = (struct umem_test){ .addr = (uintptr_t)p, .len = loads[i].len, .access = WRITABLE };
			if (ioctl(dev, UMEM_TEST_BENCH, &t)) {
				printf("%s: %m\n", loads[i].name);
				return 1;
			}
			sum[0] += t.reg_ns;
			sum[1] += t.release_ns;
			least[0] = t.reg_ns < least[0] ? t.reg_ns : least[0];
			least[1] = t.release_ns < least[1] ? t.release_ns : least[1];
		}
		printf("bench\tumem %s: register\t%llu\t%.0f\tinstructions\n", loads[i].name,
		       (unsigned long long)least[0], sum[0] / 5.0);
		printf("bench\tumem %s: release\t%llu\t%.0f\tinstructions\n", loads[i].name,
		       (unsigned long long)least[1], sum[1] / 5.0);
		printf("bench\tumem %s: kept\t%llu\t%llu\tbytes\n", loads[i].name,
		       (unsigned long long)t.bytes, (unsigned long long)t.bytes);
		munmap(p, loads[i].len);
	}
	return 0;
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

	if (system("insmod /tests/umem_test.ko"))
		return 1;
	dev = open("/dev/umem_test", O_RDWR);
	if (dev < 0) {
		printf("/dev/umem_test: %m\n");
		return 1;
	}
	system(argc > 1 ? "echo 0 >/proc/sys/vm/nr_hugepages" : "echo 4 >/proc/sys/vm/nr_hugepages");
	if (argc > 1)
		return strcmp(argv[1], "cycles") ? bench() : cycles();
	before = pins();
	kinds();
	bad_input();
	dmabufs();
	allocations_fail();
	check(pins() == before, "%lld pins are left", pins() - before);
	return bad != 0;
}
