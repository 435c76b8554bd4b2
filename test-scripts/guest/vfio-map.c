// SPDX-License-Identifier: GPL-2.0
/*
 * vfio-map:type1|iommufd   maps user memory of several kinds for QEMU's edu device
 *                          and has that read all of it, so that what it gets by
 *                          DMA can be compared with the memory; then compares the
 *                          numbers of pins taken and released; then the same for
 *                          a user who meets RLIMIT_MEMLOCK.
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
#include <sys/resource.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#else
#define __rdtsc() 0ULL
#endif
#include "edu-vfio.h"
#include "pins.h"

#define MIB	(1024UL * 1024)
#define HUGE	(2 * MIB)

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

/* Pages of one kind that /proc/self/status tells */
static long status(const char *key)
{
	char line[128];
	long kib = -1;
	FILE *f = fopen("/proc/self/status", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key), ": %ld", &kib);
	if (f)
		fclose(f);
	return kib / 4;
}

/* Maps @size at @p, which has to give @error; then that many pages are charged. */
static int charged(const char *what, char *p, size_t size, uint64_t iova, int error, long pages,
		   long long before)
{
	int ret = map(p, size, iova) ? errno : 0;
	long vm_lck = status("VmLck"), vm_pin = status("VmPin");
	long long held;

	seteuid(0);	/* for stat_refresh */
	held = pins() - before;
	seteuid(65534);
	/* type1 charges the one, iommufd the user and the other */
	if (ret == error && held == pages && vm_lck + vm_pin == pages)
		return 0;
	printf("%s: error %d, not %d; of %ld pages %lld are pinned, VmLck %ld, VmPin %ld\n",
	       what, ret, error, pages, held, vm_lck, vm_pin);
	return 1;
}

/* A user who may lock 4 MiB, which nothing that fails may take from */
static int limited(void)
{
	const struct rlimit limit = { 4 * MIB, 4 * MIB };
	const uint64_t iova = 64 * MIB, other = 128 * MIB;
	const long all = 1024;
	long long before = pins();
	char *small = memory(8 * MIB, MADV_NOHUGEPAGE), *huge = memory(8 * MIB, MADV_HUGEPAGE);
	int bad = 0;

	if (!small || !huge || setrlimit(RLIMIT_MEMLOCK, &limit) || setresuid(65534, 65534, 0))
		return 1;
	for (int i = 0; i < 2; i++) {
		bad |= charged("too many pages", small, 8 * MIB, iova, ENOMEM, 0, before);
		bad |= charged("one too many", small, 4 * MIB + 4096, iova, ENOMEM, 0, before);
		bad |= charged("too many huge pages", huge, 8 * MIB, iova, ENOMEM, 0, before);
		bad |= charged("huge pages", huge, 4 * MIB, iova, 0, all, before);
		bad |= charged("one more", small, 4096, other, ENOMEM, all, before);
		bad |= unmap(4 * MIB, iova) != 0;
		bad |= charged("2 MiB", small, 2 * MIB, iova, 0, all / 2, before);
		bad |= charged("too many more", huge, 2 * MIB + 4096, other, ENOMEM, all / 2, before);
		bad |= charged("2 MiB more", huge, 2 * MIB, other, 0, all, before);
		bad |= unmap(2 * MIB, iova) != 0;
		bad |= unmap(2 * MIB, other) != 0;
		/* and once again with a hole in what may be locked */
		if (!i) {
			munmap(small + 3 * MIB, 4096);
			bad |= charged("a hole", small, 4 * MIB, iova, EFAULT, 0, before);
			small = memory(8 * MIB, MADV_NOHUGEPAGE);
		}
	}
	return bad || charged("the end", small, 4 * MIB, iova, 0, all, before);
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

	if (find_pci(EDU, bdf, sizeof(bdf))) {
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
	return compare() || limited();
}
