// SPDX-License-Identifier: GPL-2.0
/*
 * io:DISK           instructions per direct I/O of the disk with that serial number,
 *                   or of /dev/DISK. One I/O at a time, through libaio's system calls.
 * io:DISK+WORKLOAD  only that one, without an end, for scripts/bench-functions
 *
 * Runs under QEMU's -icount shift=0, where the time stamp counter counts
 * instructions. A task that sleeps until its I/O ends would leave the CPU idle
 * for a time that the host decides. This one does not sleep: it looks at the
 * completion ring in its own memory, in a loop whose passes are counted and
 * cost a known number of instructions, which are taken off. What remains is
 * submission, interrupt and completion.
 *
 * Prints "bench NAME LEAST MEAN UNIT", separated by tabs, for each workload.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#define KIB		1024UL
#define MIB		(1024 * KIB)
#define AREA		(2 * MIB)	/* the buffer, 2 MiB aligned */
#define SPAN		(256 * MIB)	/* of the disk */
#define GROUP		64		/* I/Os that a mean is taken of; the median */
#define GROUPS		16		/* of this many means is the result */
#define SPIN_COST	4		/* instructions of one pass of wait_for() */
#define PATIENCE	1000000000UL	/* passes: four seconds of the guest's time */

static const struct workload {
	const char *name;
	size_t size;
	bool write, random, huge;
} workloads[] = {
	/* name			size	   write  random huge pages */
	{ "randread-4k",	4 * KIB,   false, true,  false },
	{ "randwrite-4k",	4 * KIB,   true,  true,  false },
	{ "read-128k",		128 * KIB, false, false, false },
	{ "write-128k",		128 * KIB, true,  false, false },
	{ "read-1m",		1 * MIB,   false, false, false },
	{ "write-1m",		1 * MIB,   true,  false, false },
	{ "read-1m-huge",	1 * MIB,   false, false, true },
	{ "write-1m-huge",	1 * MIB,   true,  false, true },
};

/* What io_setup() maps, see fs/aio.c */
struct ring {
	unsigned int id, nr, head, tail;
	unsigned int magic, compat_features, incompat_features, header_length;
	struct io_event events[];
};

static aio_context_t aio;

/*
 * Waits until *word is not old; returns the number of passes, PATIENCE if that
 * was in vain. No pause in the loop: for QEMU it is a reason to leave the
 * guest's code, and a thousand times as slow as another instruction.
 */
static inline uint64_t wait_for(volatile unsigned int *word, unsigned int old)
{
	uint64_t left = PATIENCE;

	asm volatile("1:	cmpl %2, %1\n\t"
		     "jne 2f\n\t"
		     "decq %0\n\t"
		     "jnz 1b\n"
		     "2:" : "+r"(left) : "m"(*word), "r"(old) : "cc", "memory");
	return PATIENCE - left;
}

/* The instructions of one I/O */
static int64_t one(int fd, const struct workload *w, void *buf, off_t pos)
{
	struct ring *ring = (struct ring *)aio;
	struct iocb cb = {
		.aio_lio_opcode = w->write ? IOCB_CMD_PWRITE : IOCB_CMD_PREAD,
		.aio_fildes = fd,
		.aio_buf = (uintptr_t)buf,
		.aio_nbytes = w->size,
		.aio_offset = pos,
	}, *cbs = &cb;
	unsigned int tail = ring->tail;
	uint64_t start, end, passes;

	start = __rdtsc();
	if (syscall(SYS_io_submit, aio, 1L, &cbs) != 1) {
		printf("%s: io_submit: %s\n", w->name, strerror(errno));
		return -1;
	}
	passes = wait_for(&ring->tail, tail);
	end = __rdtsc();

	if (passes == PATIENCE) {
		printf("%s: no completion at %lld\n", w->name, (long long)pos);
		return -1;
	}
	if (ring->events[tail].res != (int64_t)w->size) {
		printf("%s: %lld of %zu bytes at %lld\n", w->name,
		       (long long)ring->events[tail].res, w->size, (long long)pos);
		return -1;
	}
	ring->head = ring->tail;
	return end - start - passes * SPIN_COST;
}

static int ascending(const void *a, const void *b)
{
	int64_t x = *(int64_t *)a, y = *(int64_t *)b;

	return (x > y) - (x < y);
}

/*
 * A buffer of small pages none of which follows the one before in memory, or of
 * one huge page. Small pages come from the allocator mostly in order: even ones
 * are touched before odd ones.
 */
static char *buffer(bool huge)
{
	char *p = mmap(NULL, 2 * AREA, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	p = (char *)(((uintptr_t)p + AREA - 1) & ~(AREA - 1));
	madvise(p, AREA, huge ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	for (size_t step = 0; step < 2; step++)
		for (size_t i = step * 4096; i < AREA; i += 8192)
			p[i] = 1;
	return p;
}

/* The pieces of physically contiguous memory that an area has */
static unsigned int pieces(char *p, size_t len)
{
	int fd = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry, last = 0;
	unsigned int n = 0;

	for (size_t i = 0; i < len / 4096; i++, last = entry & ((1UL << 55) - 1)) {
		if (pread(fd, &entry, 8, ((uintptr_t)p / 4096 + i) * 8) != 8)
			entry = 0;
		n += !i || (entry & ((1UL << 55) - 1)) != last + 1;
	}
	close(fd);
	return n;
}

static int find(const char *name)
{
	DIR *d = opendir("/sys/block");
	struct dirent *e;
	char path[512], serial[64];

	while (d && (e = readdir(d))) {
		for (int i = 0; i < 2; i++) {
			FILE *f;

			snprintf(path, sizeof(path), "/sys/block/%s/%sserial", e->d_name, i ? "device/" : "");
			f = fopen(path, "r");
			if (!f)
				continue;
			if (fscanf(f, "%63s", serial) == 1 && !strcmp(serial, name)) {
				snprintf(path, sizeof(path), "/dev/%s", e->d_name);
				printf("%s is %s\n", name, path);
				return open(path, O_RDWR | O_DIRECT);
			}
			fclose(f);
		}
	}
	snprintf(path, sizeof(path), "/dev/%s", name);
	return open(path, O_RDWR | O_DIRECT);
}

static int measure(int fd, const char *disk, const struct workload *w, char *area)
{
	static uint64_t seed = 0x9e3779b97f4a7c15;
	int64_t mean[GROUPS], least = INT64_MAX;
	off_t pos = 0;

	/* The first group only warms up. */
	for (int g = -1; g < GROUPS; g++) {
		int64_t sum = 0, n;

		for (int i = 0; i < GROUP; i++) {
			if (w->random) {
				seed ^= seed << 13;
				seed ^= seed >> 7;
				seed ^= seed << 17;
				pos = seed % (SPAN / w->size) * w->size;
			} else {
				pos = (pos + w->size) % SPAN;
			}
			n = one(fd, w, area, pos);
			if (n < 0)
				return 1;
			if (g >= 0 && n < least)
				least = n;
			sum += n;
		}
		if (g >= 0)
			mean[g] = sum / GROUP;
	}
	qsort(mean, GROUPS, sizeof(*mean), ascending);
	printf("%s %s: %u pieces of memory an I/O\n", disk, w->name, pieces(area, w->size));
	printf("bench\t%s %s\t%lld\t%lld\tinstructions\n", disk, w->name,
	       (long long)least, (long long)mean[GROUPS / 2]);
	return 0;
}

/* Does the clock count instructions? Two a pass; interrupts may come between. */
static int check_clock(void)
{
	uint64_t least = UINT64_MAX;

	for (int i = 0; i < 8; i++) {
		uint64_t n = 50000, start = __rdtsc();

		asm volatile("1: decq %0\n\tjnz 1b" : "+r"(n) : : "cc");
		start = __rdtsc() - start;
		if (start < least)
			least = start;
	}
	printf("100000 instructions took %llu by the clock\n", (unsigned long long)least);
	return least < 100000 || least > 100100;
}

int main(int argc, char **argv)
{
	char *disk = argc > 1 ? argv[1] : "", *only = strchr(disk, '+');
	char *area[2] = { buffer(false), buffer(true) };
	uint64_t size = 0;
	int fd;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (only)
		*only++ = '\0';
	fd = find(disk);

	if (fd < 0 || ioctl(fd, BLKGETSIZE64, &size) || size < SPAN) {
		printf("%s: %s, %llu bytes\n", disk, strerror(errno), (unsigned long long)size);
		return 1;
	}
	if (check_clock()) {
		printf("the time stamp counter does not count instructions: no -icount shift=0?\n");
		return 1;
	}
	if (!area[0] || !area[1] || mlockall(MCL_CURRENT) || syscall(SYS_io_setup, 1L, &aio)) {
		perror(disk);
		return 1;
	}
	for (unsigned int n = 0; n < sizeof(workloads) / sizeof(*workloads); n++) {
		if (only && strcmp(only, workloads[n].name))
			continue;
		do {
			if (measure(fd, disk, &workloads[n], area[workloads[n].huge]))
				return 1;
		} while (only);
	}
	return 0;
}
