// SPDX-License-Identifier: GPL-2.0
/*
 * gup  instructions to pin and release user memory, through the kernel's own
 *      gup_test: as an array of pages, and, where the kernel has
 *      pin_user_phyrs(), as ranges. A workload without "pages" in its name takes
 *      what the kernel has to offer.
 *
 * The guest has a huge page of 1 GiB (hugepagesz=1G hugepages=1).
 *
 * Runs under QEMU's -icount shift=0, where a nanosecond is an instruction.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include <x86intrin.h>

#define MIB		(1UL << 20)
#define GIB		(1UL << 30)
#define FOLL_WRITE	1
#define RUNS		5

/* mm/gup_test.h */
struct gup_test {
	uint64_t get_usec, put_usec, addr, size;
	uint32_t nr_pages_per_call, gup_flags, test_flags, which_pages[8];
};

struct pin_phyrs_test {
	uint64_t get_usec, put_usec, addr, size, pinned, max_len, split;
	uint64_t ranges, contents;
	uint32_t max_ranges, nr_ranges, gup_flags, flags;
};

#define PIN_FAST_BENCHMARK	_IOWR('g', 2, struct gup_test)
#define PIN_BASIC_TEST		_IOWR('g', 5, struct gup_test)
#define PIN_PHYRS_TEST		_IOWR('g', 10, struct pin_phyrs_test)
#define PIN_PHYRS_FAST		1

static int fd;
static bool have_phyrs;

static const struct workload {
	const char *name;
	size_t size;
	bool pages, slow;
	unsigned int most;		/* ranges */
} workloads[] = {
	/* name			size	   pages  slow	 most */
	{ "small pages: pages",	64 * MIB,  true,  false, 0 },
	{ "small pages",	64 * MIB,  false, false, 16384 },
	{ "small pages, slow",	64 * MIB,  false, true,	 16384 },
	{ "1 small page: pages", 4096,	   true,  false, 0 },
	{ "1 small page",	4096,	   false, false, 1 },
	{ "thp: pages",		GIB,	   true,  false, 0 },
	{ "thp",		GIB,	   false, false, 512 },
	{ "thp, slow",		GIB,	   false, true,	 512 },
	{ "thp by ptes: pages",	64 * MIB,  true,  false, 0 },
	{ "thp by ptes",	64 * MIB,  false, false, 64 },
	{ "hugetlb 1g: pages",	GIB,	   true,  false, 0 },
	{ "hugetlb 1g",		GIB,	   false, false, 1 },
	{ "hugetlb 1g, slow",	GIB,	   false, true,	 1 },
};

/*
 * Instructions of one pin and release. The kernel's clock is in microseconds:
 * what takes less than a hundred of them is taken with the ioctl around it.
 */
static int64_t one(const struct workload *w, char *area)
{
	uint64_t start;
	int64_t n;

	if (w->pages || !have_phyrs) {
		struct gup_test t = {
			.addr = (uintptr_t)area,
			.size = w->size,
			.nr_pages_per_call = w->size / 4096,
			.gup_flags = FOLL_WRITE,
		};

		start = __rdtsc();
		if (ioctl(fd, w->slow ? PIN_BASIC_TEST : PIN_FAST_BENCHMARK, &t) ||
		    t.size != w->size)
			return -1;
		n = __rdtsc() - start;
		return n < 100000 ? n : (int64_t)(t.get_usec + t.put_usec) * 1000;
	} else {
		struct pin_phyrs_test t = {
			.addr = (uintptr_t)area,
			.size = w->size,
			.max_ranges = w->most,
			.gup_flags = FOLL_WRITE,
			.flags = w->slow ? 0 : PIN_PHYRS_FAST,
		};

		start = __rdtsc();
		if (ioctl(fd, PIN_PHYRS_TEST, &t) || t.pinned != w->size)
			return -1;
		n = __rdtsc() - start;
		return n < 100000 ? n : (int64_t)(t.get_usec + t.put_usec) * 1000;
	}
}

static int measure(const struct workload *w, char *area)
{
	int64_t least = INT64_MAX, sum = 0, n;

	for (int i = 0; i < RUNS; i++) {
		n = one(w, area);
		if (n < 0) {
			printf("%s: %s\n", w->name, strerror(errno));
			return 1;
		}
		if (n < least)
			least = n;
		sum += n;
	}
	printf("bench\tpin %s\t%lld\t%lld\tinstructions\n", w->name,
	       (long long)least, (long long)(sum / RUNS));
	return 0;
}

/* Even pages are touched before odd ones, so that none follows the one before. */
static char *small(size_t size)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	madvise(p, size, MADV_NOHUGEPAGE);
	for (size_t step = 0; step < 2; step++)
		for (size_t i = step * 4096; i < size; i += 8192)
			p[i] = 1;
	return p;
}

static char *huge(size_t size)
{
	char *p = mmap(NULL, size + 2 * MIB, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	p = (char *)(((uintptr_t)p + 2 * MIB - 1) & ~(2 * MIB - 1));
	madvise(p, size, MADV_HUGEPAGE);
	for (size_t i = 0; i < size; i += 2 * MIB)
		p[i] = 1;
	return p;
}

/* The last page of each is another one, so that page tables map them */
static char *by_ptes(size_t size)
{
	char *p = huge(size);

	for (size_t i = 2 * MIB - 4096; p && i < size; i += 2 * MIB) {
		madvise(p + i, 4096, MADV_DONTNEED);
		p[i] = 1;
	}
	return p;
}

static char *gigabyte(void)
{
	char *p = mmap(NULL, GIB, PROT_READ | PROT_WRITE, MAP_PRIVATE |
		       MAP_ANONYMOUS | MAP_HUGETLB | 30 << 26, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	p[0] = 1;
	return p;
}

int main(void)
{
	struct pin_phyrs_test none = {};
	char *area = NULL;
	int failed = 0;

	fd = open("/sys/kernel/debug/gup_test", O_RDWR);
	if (fd < 0) {
		perror("/sys/kernel/debug/gup_test");
		return 1;
	}
	/* EINVAL for no room at all, or for no such command: ask with room. */
	none.max_ranges = 1;
	have_phyrs = !ioctl(fd, PIN_PHYRS_TEST, &none);
	printf("pin_user_phyrs: %s\n", have_phyrs ? "yes" : "no");

	for (size_t i = 0; i < sizeof(workloads) / sizeof(*workloads); i++) {
		const struct workload *w = &workloads[i];

		if (strstr(w->name, ": pages")) {
			if (area)
				munmap(area, workloads[i - 1].size);
			area = strstr(w->name, "small") ? small(w->size) :
			       strstr(w->name, "ptes") ? by_ptes(w->size) :
			       strstr(w->name, "thp") ? huge(w->size) : gigabyte();
		}
		if (!area) {
			printf("%s: no memory\n", w->name);
			failed = 1;
			continue;
		}
		failed |= measure(w, area);
	}
	return failed;
}
