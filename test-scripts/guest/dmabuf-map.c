// SPDX-License-Identifier: GPL-2.0
/*
 * dmabuf-map  maps dma-bufs by iommufd for QEMU's edu device, which writes to
 *             all of them: a BAR of ivshmem in several ranges, exported by
 *             vfio-pci; the system heap; the CMA heap, if there is one; udmabuf.
 *             What arrives is compared.  Each allocation fails once, where the
 *             kernel can.  Then the BAR is disabled, and nothing must arrive.
 * dmabuf-map:mixture  the same with the exporter of dmabuf_kunit.ko, which mixes
 *             memory and a BAR, and is revoked
 * dmabuf-map:import   what the device of dmabuf_kunit.ko, loaded before, writes
 *             to heaps and udmabuf is compared, also where it is bounced
 * dmabuf-map:import+cma  the same, and there has to be a CMA heap
 */
#define _GNU_SOURCE
#include <linux/dma-heap.h>
#include <linux/types.h>
#include <stdlib.h>
#include <sys/klog.h>
#include <sys/wait.h>
#include "pins.h"
#include "vfio-peer.h"

#define PAGE	((size_t)4096)
#define MIB	(1024UL * 1024)
#define IOVA	(16 * MIB)		/* edu has 28 address lines */
#define SOURCE	(8 * MIB)

/* Of headers that Debian has none, or too old ones of */
struct map_file { uint32_t size, flags, ioas_id; int32_t fd; uint64_t start, length, iova; };
#define IOAS_MAP_FILE	_IO(';', 0x8f)
struct udmabuf { uint32_t memfd, flags; uint64_t offset, size; };
#define UDMABUF_CREATE	_IOW('u', 0x42, struct udmabuf)

/* /dev/dmabuf_test of dmabuf_kunit.ko */
#define TEST_NEW	_IO('d', 0)
#define TEST_REVOKE	_IO('d', 1)
#define TEST_UNREVOKE	_IO('d', 2)
#define TEST_IMPORT	_IO('d', 3)

static uint8_t *source;
static int importer = -1;		/* /dev/dmabuf_test */
static int bad;

#define FAIL(...) do { printf("FAIL " __VA_ARGS__); putchar('\n'); bad = 1; } while (0)

static int map_file(int fd, uint64_t start, uint64_t length, uint64_t iova)
{
	struct map_file m = { .size = sizeof(m), .flags = MAP_FIXED_RW, .ioas_id = ioas,
		.fd = fd, .start = start, .length = length, .iova = iova };

	return ioctl(iommufd, IOAS_MAP_FILE, &m) ? -errno : 0;
}

/* The device writes a chunk to @iova. */
static int device_writes(uint64_t iova, uint8_t byte)
{
	memset(source, byte, CHUNK);
	return dma(SOURCE, false) || dma(iova, true);
}

/* @view gives what CPUs have at a page of the buffer. */
static void check(const char *what, int fd, size_t size, size_t start, size_t length,
		  volatile uint8_t *(*view)(size_t page, void *arg), void *arg)
{
	static uint8_t seed;
	int ret = map_file(fd, start, length, IOVA);
	size_t step = length > 32 * PAGE ? 29 * PAGE : PAGE, at;

	if (ret) {
		FAIL("%s: mapping %zu at %zu of %zu: %s", what, length, start, size, strerror(-ret));
		return;
	}
	seed += 31;
	for (at = 0; at < length; at += step)
		if (device_writes(IOVA + at, seed + at / PAGE))
			FAIL("%s: DMA does not end", what);
	for (at = 0; at < length; at += step) {
		volatile uint8_t *p = view((start + at) / PAGE, arg);

		for (size_t i = 0; i < CHUNK; i++)
			if (p[i] != (uint8_t)(seed + at / PAGE)) {
				FAIL("%s: page %zu has something else at %zu", what, (start + at) / PAGE, i);
				break;
			}
	}
	if (unmap(length, IOVA))
		FAIL("%s: unmapping: %s", what, strerror(errno));
	else
		printf("ok   %s: %zu pages from page %zu on, each %zu\n", what, length / PAGE,
		       start / PAGE, step / PAGE);
}

static volatile uint8_t *linear(size_t page, void *arg)
{
	return (uint8_t *)arg + page * PAGE;
}

/* Two pages are written by a device of the kernel, see dmabuf_kunit.c. */
static void check_import(const char *what, int fd, size_t size, volatile uint8_t *p)
{
	if (ioctl(importer, TEST_IMPORT, fd)) {
		FAIL("%s: importing: %s", what, strerror(errno));
		return;
	}
	for (size_t i = 0; i < 128; i++)
		if (p[i] != 0x5a || p[size - PAGE + i] != 0x5b) {
			FAIL("%s: what the device wrote is lost: %#x %#x", what, p[i], p[size - PAGE + i]);
			return;
		}
	printf("ok   %s: written by an importer\n", what);
}

/* All of it, and a slice */
static void check_mmap(const char *what, int fd, size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (p == MAP_FAILED) {
		FAIL("%s: mmap: %s", what, strerror(errno));
		return;
	}
	if (importer >= 0) {
		check_import(what, fd, size, p);
		munmap(p, size);
		return;
	}
	check(what, fd, size, 0, size, linear, p);
	check(what, fd, size, 5 * PAGE, size - 7 * PAGE, linear, p);
	if (map_file(fd, PAGE, size, IOVA) != -EINVAL)
		FAIL("%s: more than there is was mapped", what);
	munmap(p, size);
}

static int new_heap(const char *path, size_t size)
{
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = O_RDWR | O_CLOEXEC };
	int fd = open(path, O_RDWR), ret;

	if (fd < 0)
		return -1;
	ret = ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &data);
	close(fd);
	return ret ? -1 : (int)data.fd;
}

static void heap(const char *path, size_t size, bool wanted)
{
	int fd;

	if (access(path, F_OK)) {
		if (wanted)
			FAIL("no %s", path);
		else
			printf("     no %s\n", path);
		return;
	}
	fd = new_heap(path, size);
	if (fd < 0) {
		FAIL("%s: %s", path, strerror(errno));
	} else {
		check_mmap(path, fd, size);
		close(fd);
	}
}

static int new_udmabuf(const char *path, size_t size)
{
	static int memfd = -1;
	struct udmabuf create = { .size = size };
	int dev, fd;

	if (memfd < 0) {
		memfd = memfd_create("udmabuf", MFD_ALLOW_SEALING);
		if (ftruncate(memfd, 2 * MIB) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
			return -1;
	}
	create.memfd = memfd;
	dev = open(path, O_RDWR);
	if (dev < 0)
		return -1;
	fd = ioctl(dev, UDMABUF_CREATE, &create);
	close(dev);
	return fd;
}

static void udmabuf(size_t size)
{
	int fd = new_udmabuf("/dev/udmabuf", size);

	if (fd < 0) {
		FAIL("udmabuf: %s", strerror(errno));
	} else {
		check_mmap("udmabuf", fd, size);
		close(fd);
	}
}

/* Ranges of the BAR, out of order and with holes; one of them twice */
static const struct { unsigned int page, pages; } parts[] = {
	{ 16, 3 }, { 0, 1 }, { 100, 8 }, { 99, 1 }, { 16, 2 },
};

static volatile uint8_t *bar_page(size_t page, void *arg)
{
	for (size_t i = *(size_t *)arg; ; i++) {
		if (page < parts[i].pages)
			return peer_bar + (parts[i].page + page) * PAGE;
		page -= parts[i].pages;
	}
}

static int export_bar(size_t first, size_t nr, size_t *size)
{
	struct get_dma_buf get = { .argsz = 24 + nr * 16, .flags = GET_DMA_BUF,
		.region = 2, .open_flags = O_RDWR | O_CLOEXEC, .nr = nr };

	*size = 0;
	for (size_t i = 0; i < nr; i++) {
		get.ranges[i].offset = parts[first + i].page * PAGE;
		get.ranges[i].length = parts[first + i].pages * PAGE;
		*size += get.ranges[i].length;
	}
	return ioctl(peer, VFIO_DEVICE_FEATURE, &get);
}

static void bars(void)
{
	static const struct { size_t first, nr; } t[] = { { 0, 1 }, { 0, 2 }, { 1, 3 }, { 0, 5 } };
	size_t size, i;
	char what[64];
	int fd;

	for (i = 0; i < 4; i++) {
		size_t first = t[i].first;

		snprintf(what, sizeof(what), "BAR in %zu ranges", t[i].nr);
		fd = export_bar(t[i].first, t[i].nr, &size);
		if (fd < 0) {
			FAIL("%s: %s", what, strerror(errno));
			continue;
		}
		/* The last range is part of the first: only what was written last stays */
		if (t[i].nr < 5)
			check(what, fd, size, 0, size, bar_page, &first);
		if (t[i].nr > 1)
			check(what, fd, size, PAGE, size - 3 * PAGE, bar_page, &first);
		close(fd);
	}
}

static int new_bar(const char *path, size_t size)
{
	size_t is;
	int fd = export_bar(0, 5, &is);

	if (fd >= 0 && is != size)
		FAIL("%s has %zu bytes", path, is);
	return fd;
}

/* dma-bufs that there are */
static int buffers(void)
{
	FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "r");
	char line[256];
	int n = -1;

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "Total %d objects", &n);
	if (f)
		fclose(f);
	return n;
}

/* Each allocation of exporting and mapping a buffer fails once, until none is left to. */
static void allocations_fail(const char *path, int (*new)(const char *path, size_t size), size_t size)
{
	int nth = open("/proc/thread-self/fail-nth", O_RDWR), exports = 0, maps = 0, n, left;
	char text[16];

	if (nth < 0) {
		printf("     allocations do not fail in this kernel\n");
		return;
	}
	for (n = 1; n < 2000; n++) {
		int before = buffers(), fd, ret = 0, error;
		long long pinned = pins();

		snprintf(text, sizeof(text), "%d", n);
		pwrite(nth, text, strlen(text), 0);
		fd = new(path, size);
		error = fd < 0 ? errno : 0;
		if (fd >= 0)
			ret = map_file(fd, 0, size, IOVA);
		memset(text, 0, sizeof(text));
		pread(nth, text, sizeof(text) - 1, 0);
		left = atoi(text);
		pwrite(nth, "0", 1, 0);

		exports += fd < 0;
		maps += !!ret;
		/* iommufd lets its objects be missed, too. */
		if ((error && error != ENOMEM) || (ret && ret != -ENOMEM && ret != -ENOENT))
			FAIL("%s: allocation %d failed: %s", path, n, strerror(error ?: -ret));
		if (fd >= 0 && !ret && (device_writes(IOVA, n) || unmap(size, IOVA)))
			FAIL("%s: allocation %d failed, and the buffer is of no use", path, n);
		if (ret && !unmap(size, IOVA))
			FAIL("%s: allocation %d failed, and something is mapped", path, n);
		if (fd >= 0)
			close(fd);
		if (buffers() != before || before < 0)
			FAIL("%s: allocation %d failed: there are %d buffers, not %d", path, n, buffers(), before);
		if (pins() != pinned)
			FAIL("%s: allocation %d failed: %lld pins are left", path, n, pins() - pinned);
		if (left) /* it was not reached */
			break;
	}
	close(nth);
	if (!exports || !maps || n == 2000)
		FAIL("%s: of %d allocations %d and %d matter", path, n - 1, exports, maps);
	else
		printf("ok   %s: of %d allocations, %d take the buffer with them, and %d the mapping\n",
		       path, n - 1, exports, maps);
}

/*
 * A buffer is taken away, and given back, while it is mapped: what the device writes
 * from then on is lost, even when there is a buffer again.
 */
static void taken_away(const char *what, int fd, size_t size, int (*is_there)(bool yes),
		       volatile uint8_t *(*view)(size_t page, void *arg), void *arg)
{
	size_t at;
	int ret = map_file(fd, 0, size, IOVA);

	if (ret) {
		FAIL("%s to take away: %s", what, strerror(-ret));
		return;
	}
	for (at = 0; at < size; at += PAGE)
		if (device_writes(IOVA + at, 0x11))
			FAIL("%s: DMA does not end", what);
	if (is_there(false)) {
		FAIL("%s cannot be taken away: %s", what, strerror(errno));
		return;
	}
	if (map_file(fd, 0, size, 2 * IOVA) != -ENODEV)
		FAIL("%s: mapped though it was taken away", what);
	/* Faults of the IOMMU are wanted here, and not on the console */
	klogctl(8, NULL, 1);
	for (at = 0; at < size; at += PAGE)
		device_writes(IOVA + at, 0x22);
	if (is_there(true))
		FAIL("%s cannot be given back: %s", what, strerror(errno));
	for (at = 0; at < size; at += PAGE)
		device_writes(IOVA + at, 0x33);
	usleep(100000);
	klogctl(8, NULL, 7);
	for (at = 0; at < size; at += PAGE)
		if (*view(at / PAGE, arg) != 0x11)
			FAIL("%s: page %zu was written while it was not mapped: %#x", what,
			     at / PAGE, *view(at / PAGE, arg));
	if (unmap(size, IOVA))
		FAIL("%s: unmapping what was revoked: %s", what, strerror(errno));
	printf("ok   %s: taken away and given back\n", what);
}

static void disable(void)
{
	size_t size, first = 0;
	int fd = export_bar(0, 4, &size), fd2;

	taken_away("BAR", fd, size, memory_enable, bar_page, &first);
	/* the same buffer, and another one, can be mapped again */
	check("BAR that was disabled", fd, size, 0, size, bar_page, &first);
	fd2 = export_bar(0, 2, &size);
	check("another buffer", fd2, size, 0, size, bar_page, &first);
	close(fd2);
	close(fd);
}

static int exporter = -1, mixed = -1;

static int unrevoke(bool yes)
{
	return ioctl(exporter, yes ? TEST_UNREVOKE : TEST_REVOKE, mixed);
}

/* An exporter that mixes memory and a BAR, and is revoked under the device */
static void mixture(void)
{
	size_t size = 24 * PAGE;
	void *p;

	exporter = open("/dev/dmabuf_test", O_RDWR);
	mixed = ioctl(exporter, TEST_NEW);
	if (mixed < 0) {
		FAIL("/dev/dmabuf_test: %s", strerror(errno));
		return;
	}
	check_mmap("mixture", mixed, size);
	p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, mixed, 0);
	taken_away("mixture", mixed, size, unrevoke, linear, p);
	munmap(p, size);
	check_mmap("mixture that was revoked", mixed, size);
	/* closed while it is mapped, and revoked by nobody */
	if (map_file(mixed, 0, size, IOVA))
		FAIL("mixture: %s", strerror(errno));
	close(mixed);
	if (device_writes(IOVA, 1) || unmap(size, IOVA))
		FAIL("mixture that was closed");
	close(exporter);
}

int main(int argc, char **argv)
{
	bool only_mixture = argc > 1 && !strcmp(argv[1], "mixture");
	char bdf[64];

	if (argc > 1 && !strncmp(argv[1], "import", 6)) {
		importer = open("/dev/dmabuf_test", O_RDWR);
		if (importer < 0) {
			perror("/dev/dmabuf_test");
			return 1;
		}
		heap("/dev/dma_heap/system", 3 * MIB + 12 * PAGE, true);
		heap("/dev/dma_heap/default_cma_region", 1 * MIB, !strcmp(argv[1], "import+cma"));
		udmabuf(2 * MIB);
		return bad;
	}
	if (find_pci(EDU, bdf, sizeof(bdf))) {
		printf("no edu device\n");
		return 1;
	}
	bind_driver(bdf);
	if (only_mixture && system("insmod /tests/dmabuf_kunit.ko")) {
		printf("no dmabuf_kunit.ko\n");
		return 1;
	}
	if (open_iommufd() || open_bar()) {
		perror("edu");
		return 1;
	}
	source = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (source == MAP_FAILED || map(source, PAGE, SOURCE)) {
		perror("source");
		return 1;
	}
	if (only_mixture) {
		mixture();
		/* which has ivshmem; and nothing may hold it any more */
		if (system("rmmod dmabuf_kunit"))
			FAIL("the module cannot be unloaded");
		return bad;
	}
	heap("/dev/dma_heap/system", 3 * MIB + 12 * PAGE, true);
	heap("/dev/dma_heap/default_cma_region", 1 * MIB, false);
	udmabuf(2 * MIB);
	if (open_peer()) {
		perror("ivshmem");
		return 1;
	}
	bars();
	system("/tests/fail-allocations");
	allocations_fail("/dev/dma_heap/system", new_heap, MIB + 12 * PAGE);
	allocations_fail("/dev/udmabuf", new_udmabuf, 4 * PAGE);
	allocations_fail("BAR", new_bar, 15 * PAGE);
	disable();
	return bad;
}
