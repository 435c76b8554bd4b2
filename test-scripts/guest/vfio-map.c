// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-map:type1|iommufd   maps user memory of several kinds for QEMU's edu device
 *                          and has that read all of it, so that what it gets by
 *                          DMA can be compared with the memory; then compares the
 *                          numbers of pins taken and released.
 * vfio-map:bench-type1|bench-iommufd  instructions to map and to unmap 1 GiB of THPs
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#else
#define __rdtsc() 0ULL
#endif
#include "pins.h"

#define MIB	(1024UL * 1024)
#define HUGE	(2 * MIB)

/* linux/vfio.h and linux/iommufd.h, which Debian's are too old for */
struct bind_iommufd { uint32_t argsz, flags; int32_t iommufd; uint32_t out_devid; };
struct attach { uint32_t argsz, flags, pt_id; };
struct ioas_alloc { uint32_t size, flags, out_ioas_id; };
struct ioas_map { uint32_t size, flags, ioas_id, reserved; uint64_t user_va, length, iova; };
struct ioas_unmap { uint32_t size, ioas_id; uint64_t iova, length; };
#define BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)
#define ATTACH_PT	_IO(VFIO_TYPE, VFIO_BASE + 19)
#define IOAS_ALLOC	_IO(';', 0x81)
#define IOAS_MAP	_IO(';', 0x85)
#define IOAS_UNMAP	_IO(';', 0x86)
#define MAP_FIXED_RW	7		/* fixed IOVA, writeable, readable */

static int container = -1, group, iommufd = -1, device;
static uint32_t ioas;
static volatile uint8_t *bar;

static int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, text, strlen(text));
	close(fd);
	return ret < 0 ? -1 : 0;
}

static int find_edu(char *bdf, size_t size)
{
	glob_t devices;
	char line[16];

	if (glob("/sys/bus/pci/devices/*", 0, NULL, &devices))
		return -1;
	for (size_t i = 0; i < devices.gl_pathc; i++) {
		char path[512];
		FILE *f;
		bool edu;

		snprintf(path, sizeof(path), "%s/device", devices.gl_pathv[i]);
		f = fopen(path, "r");
		edu = f && fgets(line, sizeof(line), f) && !strncmp(line, "0x11e8", 6);
		if (f)
			fclose(f);
		if (edu) {
			snprintf(bdf, size, "%s", strrchr(devices.gl_pathv[i], '/') + 1);
			return 0;
		}
	}
	return -1;
}

static int open_type1(const char *bdf)
{
	char path[512], link[512];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -1;
	link[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(path, O_RDWR);
	if (container < 0 || group < 0 ||
	    ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -1;
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	return device < 0 ? -1 : 0;
}

static int open_iommufd(void)
{
	struct bind_iommufd bind = { .argsz = sizeof(bind) };
	struct attach attach = { .argsz = sizeof(attach) };
	struct ioas_alloc alloc = { .size = sizeof(alloc) };

	iommufd = open("/dev/iommu", O_RDWR);
	device = open("/dev/vfio/devices/vfio0", O_RDWR);
	if (iommufd < 0 || device < 0)
		return -1;
	bind.iommufd = iommufd;
	if (ioctl(device, BIND_IOMMUFD, &bind) || ioctl(iommufd, IOAS_ALLOC, &alloc))
		return -1;
	ioas = attach.pt_id = alloc.out_ioas_id;
	return ioctl(device, ATTACH_PT, &attach);
}

static int map(void *p, size_t len, uint64_t iova)
{
	if (iommufd >= 0) {
		struct ioas_map m = { .size = sizeof(m), .flags = MAP_FIXED_RW,
			.ioas_id = ioas, .user_va = (uintptr_t)p, .length = len, .iova = iova };

		return ioctl(iommufd, IOAS_MAP, &m);
	} else {
		struct vfio_iommu_type1_dma_map m = { .argsz = sizeof(m),
			.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
			.vaddr = (uintptr_t)p, .iova = iova, .size = len };

		return ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
	}
}

static int unmap(size_t len, uint64_t iova)
{
	if (iommufd >= 0) {
		struct ioas_unmap u = { .size = sizeof(u), .ioas_id = ioas, .iova = iova, .length = len };

		return ioctl(iommufd, IOAS_UNMAP, &u) || u.length != len;
	} else {
		struct vfio_iommu_type1_dma_unmap u = { .argsz = sizeof(u), .iova = iova, .size = len };

		return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u) || u.size != len;
	}
}

static void bind_driver(const char *bdf)
{
	char path[512];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", bdf);
	put(path, "vfio-pci");
	put("/sys/bus/pci/drivers/vfio-pci/bind", bdf);	/* fails the second time */
}

static int open_bar(void)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX };
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	uint16_t command = 6;	/* memory, bus master */

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) ||
	    ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    pwrite(device, &command, 2, config.offset + 4) != 2)
		return -1;
	bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, info.offset);
	return bar == MAP_FAILED ? -1 : 0;
}

#define CHUNK	2048	/* edu aborts on all of its 4096 bytes at once */

/* Has the device copy a chunk between its buffer and @iova. */
static int dma(uint64_t iova, bool to_memory)
{
	*(volatile uint64_t *)(bar + 0x80) = to_memory ? 0x40000 : iova;
	*(volatile uint64_t *)(bar + 0x88) = to_memory ? iova : 0x40000;
	*(volatile uint64_t *)(bar + 0x90) = CHUNK;
	*(volatile uint64_t *)(bar + 0x98) = 1 | (to_memory ? 2 : 0);
	for (int i = 0; i < 2000; i++) {
		if (!(*(volatile uint64_t *)(bar + 0x98) & 1))
			return 0;
		usleep(1000);
	}
	return -1;
}

static char *memory(size_t size, int advice)
{
	char *p = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	madvise(p, size, advice);
	return p;
}

static int compare(void)
{
	const uint64_t iova = 16 * MIB;		/* edu has 28 address lines */
	const size_t size = 4 * HUGE;
	long long before = pins();
	char *p = memory(size, MADV_HUGEPAGE), *target = memory(4096, MADV_NOHUGEPAGE);
	size_t pages = 0;

	if (!p || !target)
		return 1;
	/* Two THPs, small pages from the back to the front, and untouched ones */
	madvise(p + 2 * HUGE, 2 * HUGE, MADV_NOHUGEPAGE);
	for (size_t i = 0; i < 2 * HUGE; i += 8)
		*(uint64_t *)(p + i) = i * 0x9e3779b97f4a7c15;
	for (size_t i = 3 * HUGE; i > 2 * HUGE; i -= 4096)
		memset(p + i - 4096, i >> 12, 4096);
	memset(target, 0xaa, 4096);
	if (map(p, size, iova) || map(target, 4096, 8 * MIB)) {
		perror("mapping");
		return 1;
	}
	if (!map(p, size, iova)) {
		printf("the same twice was mapped\n");
		return 1;
	}
	for (size_t i = 0; i < size; i += i % (64 * 4096) ? 4096 : 7 * 4096) {
		size_t at = i + i / 4096 % 2 * CHUNK;

		if (dma(iova + at, false) || dma(8 * MIB, true)) {
			printf("DMA does not end\n");
			return 1;
		}
		if (memcmp(p + at, target, CHUNK)) {
			printf("the device read something else at %zu\n", at);
			return 1;
		}
		pages++;
		if (i > 8 * 4096 && i < size - 64 * 4096)
			i += 61 * 4096;
	}
	/* A hole: nothing is mapped, and nothing stays pinned. */
	munmap(p + 2 * HUGE + 5 * 4096, 4096);
	if (unmap(size, iova) || !map(p, size, iova)) {
		printf("unmapping, or mapping with a hole: %s\n", strerror(errno));
		return 1;
	}
	if (unmap(4096, 8 * MIB)) {
		perror("unmapping");
		return 1;
	}
	printf("%zu pages compared\n", pages);
	if (pins() != before) {
		printf("%lld pins were not released\n", pins() - before);
		return 1;
	}
	return 0;
}

static int bench(const char *name)
{
	const size_t size = 1024 * MIB;
	const uint64_t iova = 4 * size;
	char *p = memory(size, MADV_HUGEPAGE);
	uint64_t least[2] = { -1ULL, -1ULL }, sum[2] = {};

	if (!p)
		return 1;
	for (size_t i = 0; i < size; i += HUGE)
		p[i] = 1;
	for (int i = 0; i < 3; i++) {
		uint64_t t[3];

		t[0] = __rdtsc();
		if (map(p, size, iova)) {
			perror("mapping");
			return 1;
		}
		t[1] = __rdtsc();
		if (unmap(size, iova)) {
			perror("unmapping");
			return 1;
		}
		t[2] = __rdtsc();
		for (int k = 0; k < 2; k++) {
			if (t[k + 1] - t[k] < least[k])
				least[k] = t[k + 1] - t[k];
			sum[k] += t[k + 1] - t[k];
		}
	}
	for (int k = 0; k < 2; k++)
		printf("bench\t%s 1 GiB of thp, %s\t%llu\t%llu\tinstructions\n", name, k ? "unmap" : "map",
		       (unsigned long long)least[k], (unsigned long long)sum[k] / 3);
	munmap(p, size);
	return 0;
}

int main(int argc, char **argv)
{
	bool measure = argc > 1 && !strncmp(argv[1], "bench", 5);
	bool type1 = argc > 1 && strstr(argv[1], "type1");
	char bdf[64];

	if (find_edu(bdf, sizeof(bdf))) {
		printf("no edu device\n");
		return 1;
	}
	bind_driver(bdf);
	if (type1 ? open_type1(bdf) : open_iommufd()) {
		perror(type1 ? "type1" : "iommufd");
		return 1;
	}
	if (measure)
		return bench(type1 ? "vfio" : "iommufd");
	if (open_bar()) {
		perror("BAR");
		return 1;
	}
	return compare();
}
