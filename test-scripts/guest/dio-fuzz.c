// SPDX-License-Identifier: GPL-2.0
/*
 * dio-fuzz:DISK[:SECONDS]  direct I/O at random on the disk, then on ext4 and on
 *                          xfs on it: vectors of any number, length and
 *                          alignment that the disk takes, from small, huge,
 *                          shared and never touched memory. The files are
 *                          written, sparse and allocated only; they get holes,
 *                          and are cut and written beyond their end. A copy in
 *                          memory tells what has to be read. In the end as many
 *                          pins were released as taken.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>
#include "pins.h"

#define MIB		(1024UL * 1024)
#define SPAN		(16 * MIB)	/* of the file */
#define AREA		(4 * MIB)	/* of each kind of memory */
#define MAX_VECS	24

struct target {
	int fd;
	char *shadow;		/* what has to be in it */
	bool file;		/* and not a disk */
};

static char *areas[5];
static unsigned int block, memory_align;

static char *map(size_t size, int flags)
{
	char *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, -1, 0);

	return p == MAP_FAILED ? NULL : p;
}

static int make_areas(void)
{
	char *p = map(3 * AREA, MAP_PRIVATE | MAP_ANONYMOUS);
	FILE *f;

	if (!p)
		return 1;
	p = (char *)(((uintptr_t)p + AREA - 1) & ~(AREA - 1));
	madvise(p, AREA, MADV_HUGEPAGE);
	areas[1] = p;
	areas[0] = map(AREA, MAP_PRIVATE | MAP_ANONYMOUS);
	areas[2] = p + AREA;		/* see mix() */
	areas[3] = map(AREA, MAP_SHARED | MAP_ANONYMOUS);
	f = fopen("/proc/sys/vm/nr_hugepages", "w");
	if (f) {
		fprintf(f, "4\n");
		fclose(f);
	}
	areas[4] = map(AREA, MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB);
	if (!areas[4])
		printf("no huge pages\n");
	madvise(areas[0], AREA, MADV_NOHUGEPAGE);
	return !areas[0] || !areas[3];
}

/* Parts of the mixed area become huge, small or untouched. */
static void mix(void)
{
	char *p = areas[2] + random() % 2 * 2 * MIB;

	switch (random() % 3) {
	case 0:
		madvise(p, 2 * MIB, MADV_DONTNEED);
		madvise(p, 2 * MIB, MADV_HUGEPAGE);
		p[0] = 1;
		break;
	case 1:
		madvise(p + random() % 256 * 4096, random() % 256 * 4096, MADV_DONTNEED);
		break;
	case 2:
		madvise(p, 2 * MIB, MADV_NOHUGEPAGE);
		madvise(p, 2 * MIB, MADV_DONTNEED);
		break;
	}
}

/* Fills @v with vectors that do not overlap; returns their total. */
static size_t vectors(struct iovec *v, int *n)
{
	size_t total = 0, at[5] = {}, len;

	*n = 1 + random() % MAX_VECS;
	for (int i = 0; i < *n; i++) {
		int a = random() % 5;
		size_t room;

		if (!areas[a])
			a = 0;
		at[a] += random() % 8 * memory_align + random() % 4 * 4096;
		room = at[a] < AREA ? AREA - at[a] : 0;
		len = random() % (random() % 3 ? 65536 : 262144);
		len -= len % memory_align;
		if (len > room)
			len = room - room % memory_align;
		v[i].iov_base = areas[a] + at[a];
		v[i].iov_len = len;
		at[a] += len;
		total += len;
	}
	/* The sum has to be whole blocks: the last ones get shorter. */
	for (int i = *n - 1; i >= 0 && total % block; i--) {
		len = total % block < v[i].iov_len ? total % block : v[i].iov_len;
		v[i].iov_len -= len;
		total -= len;
	}
	return total;
}

/* Makes a hole somewhere, or zeroes that are allocated only. */
static int unwrite(struct target *t)
{
	int mode = random() % 2 ? FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE : FALLOC_FL_ZERO_RANGE;
	size_t from = random() % SPAN, len = 1 + random() % (SPAN - from);

	if (random() % 2 && len > 65536)
		len = 1 + random() % 65536;
	memset(t->shadow + from, 0, len);
	return fallocate(t->fd, mode, from, len);
}

static int resize(struct target *t, size_t size)
{
	memset(t->shadow + size, 0, SPAN - size);
	return ftruncate(t->fd, size);
}

static int run(const char *what, struct target *targets, int nr_targets, int seconds)
{
	struct timespec start, now;
	unsigned long n = 0, bytes = 0, changes = 0;

	clock_gettime(CLOCK_MONOTONIC, &start);
	do {
		struct target *t = &targets[random() % nr_targets];
		struct iovec v[MAX_VECS];
		off_t pos;
		size_t total, done = 0;
		bool write = random() % 2, cut = false;
		ssize_t ret;
		int nr;

		if (random() % 8 == 0)
			mix();
		total = vectors(v, &nr);
		pos = random() % (SPAN / 2 / block) * block;
		if (!total)
			continue;
		if (total > SPAN / 2) {
			printf("%s: %zu bytes are too many\n", what, total);
			return 1;
		}
		if (t->file && random() % 8 == 0) {
			cut = write && random() % 2;
			if (cut ? resize(t, random() % (pos + 1)) : unwrite(t)) {
				printf("%s: a file cannot be changed: %s\n", what, strerror(errno));
				return 1;
			}
			changes++;
		}
		if (write)
			for (int i = 0; i < nr; i++)
				for (size_t k = 0; k + 8 <= v[i].iov_len; k += 8)
					*(uint64_t *)((char *)v[i].iov_base + k) = random() * n + k;
		ret = write ? pwritev(t->fd, v, nr, pos) : preadv(t->fd, v, nr, pos);
		if (ret < 0) {
			printf("%s: %s of %d vectors, %zu bytes: %s\n", what,
			       write ? "write" : "read", nr, total, strerror(errno));
			return 1;
		}
		for (int i = 0; i < nr && done < (size_t)ret; i++) {
			size_t len = v[i].iov_len < ret - done ? v[i].iov_len : ret - done;

			if (write) {
				memcpy(t->shadow + pos + done, v[i].iov_base, len);
			} else if (memcmp(t->shadow + pos + done, v[i].iov_base, len)) {
				printf("%s: read wrong data into vector %d of %d, %zu bytes at %p, file %td at %lld\n",
				       what, i, nr, len, v[i].iov_base, t - targets,
				       (long long)(pos + done));
				return 1;
			}
			done += len;
		}
		if (cut && ftruncate(t->fd, SPAN)) {
			perror(what);
			return 1;
		}
		n++;
		bytes += ret;
		clock_gettime(CLOCK_MONOTONIC, &now);
	} while (now.tv_sec - start.tv_sec < seconds);

	/* What all the writes left, through one buffer. */
	for (int k = 0; k < nr_targets; k++) {
		for (size_t i = 0; i < SPAN; i += AREA) {
			if (pread(targets[k].fd, areas[1], AREA, i) != (ssize_t)AREA ||
			    memcmp(areas[1], targets[k].shadow + i, AREA)) {
				printf("%s: wrong data in the end of file %d\n", what, k);
				return 1;
			}
		}
	}
	printf("%s: %lu vectored I/Os, %lu MiB verified", what, n, bytes >> 20);
	if (targets[0].file)
		printf(", %lu holes and cuts", changes);
	printf("\n");
	return targets[0].file && !changes;
}

static int fill(struct target *t)
{
	for (size_t i = 0; i < SPAN; i++)
		t->shadow[i] = i * 31 >> 7;
	return pwrite(t->fd, t->shadow, SPAN, 0) != (ssize_t)SPAN;
}

static int on_file_system(const char *type, const char *mkfs, const char *disk,
			  struct target *targets, int seconds)
{
	static const char *const names[] = { "/mnt/written", "/mnt/sparse", "/mnt/allocated" };
	char command[256];
	int ret = 0;

	snprintf(command, sizeof(command), "%s %s >/tmp/mkfs 2>&1 || { cat /tmp/mkfs; false; }", mkfs, disk);
	mkdir("/mnt", 0755);
	if (system(command) || mount(disk, "/mnt", type, 0, NULL)) {
		printf("%s: cannot be made\n", type);
		return 1;
	}
	for (int i = 0; i < 3; i++) {
		struct target *t = &targets[i];

		t->file = true;
		t->fd = open(names[i], O_RDWR | O_CREAT | O_DIRECT, 0600);
		if (t->fd < 0 || resize(t, 0) || ftruncate(t->fd, SPAN) ||
		    (i == 0 && fill(t)) || (i == 2 && fallocate(t->fd, 0, 0, SPAN))) {
			perror(names[i]);
			return 1;
		}
	}
	ret = run(type, targets, 3, seconds);
	for (int i = 0; i < 3; i++)
		close(targets[i].fd);
	return ret | (umount("/mnt") ? 1 : 0);
}

int main(int argc, char **argv)
{
	long long before = pins();
	struct target targets[3] = {};
	char disk[64], *arg, path[128];
	int seconds = 5, failed;
	unsigned int seed = time(NULL);
	FILE *f;

	if (argc < 2)
		return 2;
	arg = strchr(argv[1], ':');
	if (arg) {
		*arg = 0;
		seconds = atoi(arg + 1);
	}
	srandom(seed);
	printf("seed %u\n", seed);
	snprintf(disk, sizeof(disk), "/dev/%s", argv[1]);
	targets[0].fd = open(disk, O_RDWR | O_DIRECT);
	if (targets[0].fd < 0 || ioctl(targets[0].fd, BLKSSZGET, &block)) {
		perror(disk);
		return 1;
	}
	memory_align = 512;
	snprintf(path, sizeof(path), "/sys/block/%s/queue/dma_alignment", argv[1]);
	f = fopen(path, "r");
	if (f) {
		if (fscanf(f, "%u", &memory_align) == 1)
			memory_align++;
		fclose(f);
	}
	if (memory_align < 8)
		memory_align = 8;	/* the pattern's words */
	printf("%s: blocks of %u bytes, memory aligned to %u\n", disk, block, memory_align);

	for (int i = 0; i < 3; i++) {
		targets[i].shadow = map(SPAN, MAP_PRIVATE | MAP_ANONYMOUS);
		if (!targets[i].shadow) {
			printf("no memory\n");
			return 1;
		}
	}
	if (make_areas() || fill(&targets[0])) {
		printf("no memory, or no disk\n");
		return 1;
	}
	failed = run(disk, targets, 1, seconds);
	close(targets[0].fd);
	failed |= on_file_system("ext4", "/sbin/mke2fs -q -F -t ext4", disk, targets, seconds);
	failed |= on_file_system("xfs", "/sbin/mkfs.xfs -q -f", disk, targets, seconds);

	usleep(200000);
	if (pins() != before) {
		printf("%lld pins were not released\n", pins() - before);
		failed = 1;
	}
	return failed;
}
