// SPDX-License-Identifier: GPL-2.0
/*
 * Do direct I/O that the block layer has to cut back to the logical block
 * size, and count page pins before and after.
 *
 * bio_iov_iter_get_pages() pins what it can and then gives up the bytes that
 * do not fill a logical block.  There are two ways to get there: the bio is
 * full, or a later vector cannot be pinned.  In both, the pins of the bytes
 * that were given up have to go, and only those.
 *
 * Run as root with /proc, /sys and /dev mounted.  Takes the block devices of
 * its command line, or all whose logical blocks are at least a page.
 * WRITES TO THEM.  Exit 0: passed, 1: failed, 4: nothing to test on.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

#define PAGE		4096UL
#define HUGE		(2UL << 20)
#define BUF_SIZE	(4 * HUGE)
#define MAX_VECS	1024
#define SPAN		(8UL << 20)	/* bytes of the device in use */

enum backing { SMALL, THP, HUGETLB, NR_BACKINGS };
static const char * const backing_name[] = { "4K pages", "THP", "hugetlb" };

static unsigned int failed, passed, skipped;
static unsigned char *buf[NR_BACKINGS];
static unsigned char *hole;		/* mapped, but not accessible */
static unsigned char *check;

static void result(bool ok, const char *fmt, ...)
{
	va_list ap;

	if (ok) {
		passed++;
		return;
	}
	failed++;
	printf("FAIL ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

static void skip(const char *fmt, ...)
{
	va_list ap;

	skipped++;
	printf("skip ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	printf("\n");
	fflush(stdout);
}

static long read_long(const char *fmt, ...)
{
	char path[PATH_MAX], text[64];
	va_list ap;
	ssize_t n;
	int fd;

	va_start(ap, fmt);
	vsnprintf(path, sizeof(path), fmt, ap);
	va_end(ap);
	fd = open(path, O_RDONLY);
	if (fd < 0)
		return -1;
	n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = 0;
	return strtol(text, NULL, 0);
}

static bool write_text(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY);
	bool ok;

	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

/* Pins held now.  The counters are per CPU: have them folded first. */
static long pins(void)
{
	long long acquired = -1, released = -1, value;
	char name[64];
	FILE *f;

	read_long("/proc/sys/vm/stat_refresh");
	f = fopen("/proc/vmstat", "r");
	if (!f) {
		perror("/proc/vmstat");
		exit(1);
	}
	while (fscanf(f, "%63s %lld", name, &value) == 2) {
		if (!strcmp(name, "nr_foll_pin_acquired"))
			acquired = value;
		else if (!strcmp(name, "nr_foll_pin_released"))
			released = value;
	}
	fclose(f);
	if (acquired < 0 || released < 0) {
		printf("skip: /proc/vmstat does not count pins\n");
		exit(4);
	}
	return acquired - released;
}

/* Is the page table entry of @addr a huge one? */
static bool is_huge(const void *addr)
{
	unsigned long long from, to, kb = 0;
	char line[512];
	bool here = false;
	FILE *f = fopen("/proc/self/smaps", "r");

	if (!f)
		return true;	/* cannot tell */
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx ", &from, &to) == 2)
			here = (uintptr_t)addr >= from && (uintptr_t)addr < to;
		else if (here && sscanf(line, "AnonHugePages: %llu kB", &kb) == 1)
			break;
	}
	fclose(f);
	return kb >= BUF_SIZE / 1024;
}

static void make_buffers(void)
{
	int prot = PROT_READ | PROT_WRITE;
	int flags = MAP_PRIVATE | MAP_ANONYMOUS;
	unsigned char *p;

	write_text("/sys/kernel/mm/transparent_hugepage/enabled", "madvise");

	p = mmap(NULL, BUF_SIZE, prot, flags, -1, 0);
	if (p != MAP_FAILED) {
		madvise(p, BUF_SIZE, MADV_NOHUGEPAGE);
		memset(p, 1, BUF_SIZE);
		buf[SMALL] = p;
	}

	p = mmap(NULL, BUF_SIZE + HUGE, prot, flags, -1, 0);
	if (p != MAP_FAILED) {
		p = (void *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
		madvise(p, BUF_SIZE, MADV_HUGEPAGE);
		memset(p, 1, BUF_SIZE);
		if (is_huge(p))
			buf[THP] = p;
	}

	write_text("/proc/sys/vm/nr_hugepages", "8");
	p = mmap(NULL, BUF_SIZE, prot, flags | MAP_HUGETLB, -1, 0);
	if (p != MAP_FAILED) {
		memset(p, 1, BUF_SIZE);
		buf[HUGETLB] = p;
	}

	hole = mmap(NULL, HUGE, PROT_NONE, flags, -1, 0);
	check = aligned_alloc(HUGE, SPAN);
	if (hole == MAP_FAILED || !check) {
		perror("mmap");
		exit(1);
	}
}

static uint64_t seed = 88172645463325252ULL;

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void fill(unsigned char *p, size_t len)
{
	size_t i;

	for (i = 0; i + 8 <= len; i += 8)
		*(uint64_t *)(p + i) = rnd();
	for (; i < len; i++)
		p[i] = rnd();
}

static size_t iov_total(const struct iovec *iov, int nr)
{
	size_t total = 0;

	while (nr--)
		total += iov++->iov_len;
	return total;
}

/* Compare @len bytes of the vectors with @flat. */
static bool iov_same(const struct iovec *iov, const unsigned char *flat,
		     size_t len)
{
	while (len) {
		size_t n = iov->iov_len < len ? iov->iov_len : len;

		if (memcmp(iov->iov_base, flat, n))
			return false;
		flat += n;
		len -= n;
		iov++;
	}
	return true;
}

struct device {
	char name[64];
	int direct;		/* O_DIRECT */
	int cached;		/* for the other side of the comparison */
	size_t block;
	size_t fine;		/* what a vector has to be aligned to */
	size_t align;		/* that, or 512 */
};

/* What a call may return */
struct want {
	ssize_t min, max;	/* bytes */
	bool error;		/* or any error */
};

#define BYTES(n)	((struct want){ (n), (n), false })
#define AN_ERROR	((struct want){ 1, 0, true })

/*
 * What is left of a call that meets the hole after @total bytes.  Only whole
 * blocks go to the device directly, but the bytes after them may follow through
 * the page cache.
 */
static struct want cut(struct device *d, size_t total)
{
	size_t whole = total - total % d->block;

	return whole ? (struct want){ whole, total, false } : AN_ERROR;
}

/* Read into the vectors, then write them.  They must not overlap. */
static void run(struct device *d, enum backing b, const char *what,
		const struct iovec *iov, int nr, struct want want)
{
	long before, after;
	ssize_t ret;
	int rw;

	for (rw = 0; rw < 2; rw++) {
		const char *op = rw ? "write" : "read";
		bool same = true, expected;

		if (rw) {
			fill(buf[b], BUF_SIZE);
		} else {
			fill(check, SPAN);
			if (pwrite(d->cached, check, SPAN, 0) != (ssize_t)SPAN ||
			    fsync(d->cached)) {
				result(false, "%s: cannot prepare: %m", d->name);
				return;
			}
		}

		before = pins();
		ret = rw ? pwritev(d->direct, iov, nr, 0) :
			   preadv(d->direct, iov, nr, 0);
		if (ret < 0)
			ret = -errno;
		after = pins();
		expected = ret < 0 ? want.error :
				     ret >= want.min && ret <= want.max;

		if (rw && ret > 0) {
			fsync(d->cached);
			posix_fadvise(d->cached, 0, 0, POSIX_FADV_DONTNEED);
			if (pread(d->cached, check, SPAN, 0) != (ssize_t)SPAN)
				same = false;
		}
		if (ret > 0)
			same = same && iov_same(iov, check, ret);

		result(expected && after == before && same,
		       "%s, %s, %s: %s returned %zd%s, left %ld pins%s",
		       d->name, backing_name[b], what, op, ret,
		       expected ? "" : " (UNEXPECTED)", after - before,
		       same ? "" : ", DATA DIFFERS");
	}
}

/* One vector, then one that cannot be pinned: the first is cut back. */
static void cut_tail(struct device *d, enum backing b, const char *what,
		     size_t offset, size_t len)
{
	size_t rest = d->block - len % d->block;
	struct iovec iov[2] = {
		{ buf[b] + offset, len },
		{ hole, rest },
	};

	run(d, b, what, iov, 2, cut(d, len));
}

/* Blocks, then vectors of less than a block each, then one that fails. */
static void cut_vectors(struct device *d, enum backing b, const char *what,
			size_t offset, size_t whole, size_t step, size_t len,
			int nr_small)
{
	struct iovec iov[MAX_VECS];
	size_t total, at;
	int nr = 0, i;

	if (whole) {
		iov[nr].iov_base = buf[b];
		iov[nr++].iov_len = whole;
	}
	at = whole + offset;
	for (i = 0; i < nr_small; i++, at += step) {
		iov[nr].iov_base = buf[b] + at;
		iov[nr++].iov_len = len;
	}
	total = iov_total(iov, nr);
	iov[nr].iov_base = hole;
	iov[nr++].iov_len = d->block - total % d->block;
	run(d, b, what, iov, nr, cut(d, total));
}

/* A block and a quarter, and a bit: the bit goes, and an end of the rest. */
static void cut_both(struct device *d, enum backing b, size_t offset)
{
	struct iovec iov[3] = {
		{ buf[b] + offset, d->block + d->block / 4 },
		{ buf[b] + 2 * d->block + offset, d->align },
		{ hole, d->block - d->block / 4 - d->align },
	};

	run(d, b, "one vector removed and a tail cut", iov, 3,
	    cut(d, iov[0].iov_len + iov[1].iov_len));
}

/*
 * Nothing fails here: the bio gets full in the middle of a block, and the rest
 * goes into the next one.  @len, @offset, @step: the vectors.
 */
static void full_bio(struct device *d, enum backing b, const char *what,
		     size_t offset, size_t step, size_t len, int nr)
{
	struct iovec iov[MAX_VECS];
	size_t total = 0;
	int i;

	for (i = 0; i < nr; i++) {
		iov[i].iov_base = buf[b] + offset + i * step;
		iov[i].iov_len = len;
		total += len;
	}
	/* the sum must be whole blocks, the last vector makes up for it */
	if (total % d->block) {
		iov[nr].iov_base = buf[b] + offset + nr * step;
		iov[nr].iov_len = d->block - total % d->block;
		total += iov[nr++].iov_len;
	}
	run(d, b, what, iov, nr, BYTES(total));
}

/* A full bio that is less than a block: that cannot be submitted. */
static void full_of_nothing(struct device *d, enum backing b)
{
	size_t len = 2 * d->fine, total = 0;
	struct iovec iov[601];
	int i;

	if (256 * len >= d->block)
		return;
	for (i = 0; i < 600; i++, total += len) {
		iov[i].iov_base = buf[b] + (i + 1) * PAGE - d->fine;
		iov[i].iov_len = len;
	}
	iov[i].iov_base = buf[b] + (i + 1) * PAGE;
	iov[i].iov_len = d->block - total % d->block;
	run(d, b, "full bio of less than a block", iov, 601, AN_ERROR);
}

/* Vectors of any length and offset; every third run meets a hole. */
static void any(struct device *d, enum backing b, int runs)
{
	struct iovec iov[64];
	char what[32];
	int i;

	for (i = 0; i < runs; i++) {
		bool fail = i % 3 == 0;
		struct want want;
		size_t at = 0, total = 0, len;
		int nr = 0, max = 1 + rnd() % 60;

		while (nr < max) {
			at += rnd() % (2 * PAGE) & ~(d->fine - 1);
			len = 1 + rnd() % (rnd() % 4 ? 3 * PAGE : 40 * PAGE);
			len = (len + d->fine - 1) & ~(d->fine - 1);
			if (at + len + d->block > BUF_SIZE ||
			    total + len + d->block > SPAN)
				break;
			iov[nr].iov_base = buf[b] + at;
			iov[nr++].iov_len = len;
			at += len;
			total += len;
		}
		len = d->block - total % d->block;
		iov[nr].iov_base = fail ? hole : buf[b] + at;
		iov[nr++].iov_len = len;
		want = fail ? cut(d, total) : BYTES(total + len);
		/* more than one bio: an error in the last one is all one sees */
		want.error = fail;
		snprintf(what, sizeof(what), "random %d", i);
		run(d, b, what, iov, nr, want);
	}
}

static void test_device(struct device *d)
{
	size_t block = d->block, a = d->align;
	enum backing b;
	int i;

	printf("%s: %zu-byte blocks, vectors aligned to %zu\n", d->name, block,
	       a);
	for (b = 0; b < NR_BACKINGS; b++) {
		if (!buf[b]) {
			skip("%s, %s: none to be had", d->name, backing_name[b]);
			continue;
		}

		/* nothing to cut: the harness itself must not see a leak */
		{
			struct iovec iov = { buf[b], 16 * block };

			run(d, b, "aligned", &iov, 1, BYTES(16 * block));
			iov.iov_base = buf[b] + PAGE - a;
			run(d, b, "aligned length, odd start", &iov, 1,
			    BYTES(16 * block));
		}

		cut_tail(d, b, "tail within its page", 0, 4 * block + a);
		cut_tail(d, b, "tail to the end of its page", 0,
			 5 * block - a);
		cut_tail(d, b, "tail over a page boundary", PAGE - a,
			 4 * block + 2 * a);
		cut_tail(d, b, "tail over a page boundary, ends on one",
			 PAGE - a, 4 * block + PAGE / 2 + a);
		cut_tail(d, b, "tail starts on a page boundary", PAGE - a,
			 4 * block + block - a);
		cut_tail(d, b, "all of one vector in one page", a, block - 2 * a);
		cut_tail(d, b, "all of one vector over a page boundary",
			 PAGE - a, block - a);

		cut_vectors(d, b, "one vector removed", 0, 4 * block, PAGE, a, 1);
		cut_vectors(d, b, "one vector over a page boundary removed",
			    PAGE - a, 4 * block, PAGE, 2 * a, 1);
		cut_vectors(d, b, "three vectors over page boundaries removed",
			    PAGE - a, 4 * block, PAGE, 2 * a, 3);
		cut_both(d, b, 0);
		cut_both(d, b, PAGE - a);
		cut_vectors(d, b, "all vectors removed", a, 0, PAGE, a, 3);
		cut_vectors(d, b, "all vectors over page boundaries removed",
			    PAGE - a, 0, PAGE, 2 * a, 3);

		/* more pages than a bio has vectors (256) */
		full_bio(d, b, "full bio", PAGE - a, 64 * PAGE,
			 a + 255 * PAGE / 4, 20);
		full_bio(d, b, "full bio of short vectors", PAGE - a, PAGE,
			 3 * a, 700);
		full_of_nothing(d, b);

		any(d, b, 24);

		/* a leak must not be made up for by an error elsewhere */
		for (i = 0; i < 3; i++)
			cut_tail(d, b, "again", PAGE - a,
				 7 * block + PAGE / 2 + a * i);
	}
}

static bool open_device(struct device *d, const char *name)
{
	char path[128];
	long align;
	int block;

	snprintf(d->name, sizeof(d->name), "%s", name);
	snprintf(path, sizeof(path), "/dev/%s", name);
	d->direct = open(path, O_RDWR | O_DIRECT);
	if (d->direct < 0)
		return false;
	d->cached = open(path, O_RDWR);
	if (d->cached < 0 || ioctl(d->direct, BLKSSZGET, &block)) {
		close(d->direct);
		return false;
	}
	align = read_long("/sys/block/%s/queue/dma_alignment", name) + 1;
	d->block = block;
	d->fine = align > 0 ? align : 512;
	d->align = d->fine < 512 ? 512 : d->fine;
	return true;
}

int main(int argc, char **argv)
{
	struct device d;
	struct dirent *de;
	unsigned int devices = 0;
	DIR *dir;
	int i;

	if (sysconf(_SC_PAGESIZE) != (long)PAGE) {
		printf("skip: pages are not %lu bytes\n", PAGE);
		return 4;
	}
	make_buffers();

	for (i = 1; i < argc; i++) {
		const char *name = strrchr(argv[i], '/');

		if (!open_device(&d, name ? name + 1 : argv[i])) {
			printf("FAIL cannot open %s\n", argv[i]);
			return 1;
		}
		devices++;
		test_device(&d);
	}
	dir = argc > 1 ? NULL : opendir("/sys/block");
	while (dir && (de = readdir(dir))) {
		/* null_blk loses data that comes in parts of a block */
		if (de->d_name[0] == '.' ||
		    !strncmp(de->d_name, "nullb", 5) ||
		    read_long("/sys/block/%s/queue/logical_block_size",
			      de->d_name) < (long)PAGE ||
		    read_long("/sys/block/%s/queue/dma_alignment",
			      de->d_name) >= (long)PAGE / 2 ||
		    read_long("/sys/block/%s/size", de->d_name) <
						(long)(SPAN >> 9) ||
		    read_long("/sys/block/%s/ro", de->d_name) != 0 ||
		    !open_device(&d, de->d_name))
			continue;
		devices++;
		test_device(&d);
	}
	if (!devices) {
		printf("skip: no writable block device with logical blocks of %lu bytes or more and room for %lu\n",
		       PAGE, SPAN);
		return 4;
	}
	printf("pin-leak: %u passed, %u failed, %u skipped\n", passed, failed,
	       skipped);
	return failed ? 1 : 0;
}
