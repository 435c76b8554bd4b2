// SPDX-License-Identifier: GPL-2.0
/*
 * Vectored O_DIRECT I/O that fio does not make: many segments a call, each
 * starting and ending inside a page, over 4K pages, transparent and explicit
 * huge pages, written with one set of vectors and read back with another.
 * Afterwards as many pins must have been released as were taken.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define AREA	(4UL << 20)
#define OFFSET	(64L << 20)	/* behind what the other tests use */
#define SECTOR	512UL
#define MAX_VEC	64
#define ROUNDS	24

static const char * const disks[] = { "/dev/vda", "/dev/sda", "/dev/nvme0n1" };
static uint64_t seed = 0x9e3779b97f4a7c15;

static unsigned long rnd(unsigned long below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static long counter(const char *name)
{
	char line[128];
	long value = -1, n;
	size_t len = strlen(name);
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fgets(line, sizeof(line), f))
		if (!strncmp(line, name, len) && sscanf(line + len, " %ld", &n) == 1)
			value = n;
	if (f)
		fclose(f);
	return value;
}

static long pins(void)
{
	return counter("nr_foll_pin_acquired") - counter("nr_foll_pin_released");
}

/* Cuts *total bytes of an area into segments of whole sectors, with holes. */
static int cut(char *area, struct iovec *vec, size_t *total)
{
	size_t pos = rnd(8) * SECTOR, sum = 0;
	int n = 0;

	while (n < MAX_VEC) {
		size_t len = (1 + rnd(rnd(4) ? 16 : 512)) * SECTOR;

		if (*total && sum + len > *total)
			len = *total - sum;
		if (pos + len > AREA)
			break;
		vec[n].iov_base = area + pos;
		vec[n++].iov_len = len;
		sum += len;
		pos += len + rnd(3) * SECTOR;
		if (*total && sum == *total)
			break;
	}
	if (*total && sum != *total)
		return -1;
	*total = sum;
	return n;
}

static void fill(const struct iovec *vec, int n, char *copy)
{
	for (int i = 0; i < n; i++) {
		unsigned char *p = vec[i].iov_base;

		for (size_t j = 0; j < vec[i].iov_len; j++)
			p[j] = rnd(256);
		memcpy(copy, p, vec[i].iov_len);
		copy += vec[i].iov_len;
	}
}

static int same(const struct iovec *vec, int n, const char *copy)
{
	for (int i = 0; i < n; i++) {
		if (memcmp(copy, vec[i].iov_base, vec[i].iov_len))
			return 0;
		copy += vec[i].iov_len;
	}
	return 1;
}

static long try(int fd, char *out, char *in, char *copy)
{
	struct iovec w[MAX_VEC], r[MAX_VEC];
	size_t total = 0;
	int nw, nr, tries = 0;

	nw = cut(out, w, &total);
	fill(w, nw, copy);
	do
		nr = cut(in, r, &total);
	while (nr < 0 && tries++ < 1000);
	if (nr < 0) { /* no cut fits: read it into one piece */
		r[0].iov_base = in + SECTOR;
		r[0].iov_len = total;
		nr = 1;
	}
	memset(in, 0xee, AREA);
	if (pwritev(fd, w, nw, OFFSET) != (ssize_t)total ||
	    preadv(fd, r, nr, OFFSET) != (ssize_t)total) {
		printf("I/O of %zu bytes in %d and %d segments: %s\n", total, nw, nr, strerror(errno));
		return -1;
	}
	if (!same(r, nr, copy)) {
		printf("%zu bytes in %d segments read back differ from %d written\n", total, nr, nw);
		return -1;
	}
	return total;
}

/* Of a huge page, transparent or not: 16 MiB with POWER's hashed page tables */
static size_t huge_size(void)
{
	size_t kib = 2048;
	char line[128];
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		sscanf(line, "Hugepagesize: %zu", &kib);
	if (f)
		fclose(f);
	return kib << 10;
}

static char *map(int kind, size_t huge, size_t size)
{
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	char *p;

	if (kind == 2)
		return mmap(NULL, size, PROT_READ | PROT_WRITE, flags | MAP_HUGETLB, -1, 0);
	p = mmap(NULL, size + huge, PROT_READ | PROT_WRITE, flags, -1, 0);
	if (p == MAP_FAILED)
		return p;
	p = (char *)(((uintptr_t)p + huge - 1) & ~(huge - 1));
	madvise(p, size, kind ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	return p;
}

int main(void)
{
	static const char * const kinds[] = { "4K pages", "THP", "hugetlb" };
	char *copy = malloc(AREA);
	size_t huge = huge_size();
	size_t size = (AREA + huge - 1) & ~(huge - 1);
	int bad = 0;

	FILE *f = fopen("/proc/sys/vm/nr_hugepages", "w");
	if (f) {
		fputs("8", f);
		fclose(f);
	}
	for (unsigned int d = 0; d < sizeof(disks) / sizeof(disks[0]); d++) {
		int fd = open(disks[d], O_RDWR | O_DIRECT);

		if (fd < 0) {
			printf("%s: %s\n", disks[d], strerror(errno));
			return 1;
		}
		for (int kind = 0; kind < 3; kind++) {
			char *out = map(kind, huge, size), *in = map((kind + 1) % 3, huge, size);
			long bytes = 0, n, before;

			if (out == MAP_FAILED || in == MAP_FAILED) {
				printf("no memory in %s\n", kinds[kind]);
				return 1;
			}
			before = pins();
			for (int i = 0; i < ROUNDS; i++) {
				n = try(fd, out, in, copy);
				if (n < 0) {
					bad = 1;
					break;
				}
				bytes += n;
			}
			/* A bio drops its pins after it has woken the reader. */
			for (int i = 0; i < 200 && pins() != before; i++)
				usleep(10000);
			if (pins() != before) {
				printf("%ld pins were not released\n", pins() - before);
				bad = 1;
			}
			printf("%s from %s: verified_bytes=%ld\n", disks[d], kinds[kind], bytes);
			munmap(out, size);
			munmap(in, size);
		}
		close(fd);
	}
	return bad;
}
