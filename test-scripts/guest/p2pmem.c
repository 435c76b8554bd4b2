// SPDX-License-Identifier: GPL-2.0
/*
 * p2pmem:DISK:OTHER  peer-to-peer memory of user space (p2pmem.ko) beside ordinary
 *             memory: pinned as ranges only by who allows it, the two kinds never
 *             by one call; direct I/O by DISK, which can reach it, with vectors of
 *             both, compared; OTHER, which cannot, refuses it. No pin is left.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>
#include "pin-phyrs.h"
#include "pins.h"

#define PAGE		4096UL
#define HALF		(16 * PAGE)
#define FOLL_PCI_P2PDMA	(1 << 10)

static struct { uint64_t addr, len; } ranges[64];
static int gup, bad;

#define check(cond, ...) do { if (!(cond)) {				\
	printf("line %d: ", __LINE__); printf(__VA_ARGS__); puts("");	\
	fflush(stdout); bad++; } } while (0)

static long pin(char *p, size_t len, unsigned int flags, unsigned int gup_flags, void *contents)
{
	struct pin_phyrs_test t = {
		.addr = (uintptr_t)p, .size = len, .flags = flags, .gup_flags = gup_flags,
		.max_ranges = 64, .ranges = (uintptr_t)ranges, .contents = (uintptr_t)contents,
	};

	return ioctl(gup, PIN_PHYRS_TEST, &t) ? -errno : (long)t.pinned;
}

static void fill(char *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = rand_r(&seed) >> 8;
}

/* @ram, and behind it the memory of the peer */
static void pinning(char *ram, char *copy)
{
	static const unsigned int variants[] = { 0, FAST, REMOTE };

	fill(ram, 2 * HALF, 1);
	for (int v = 0; v < 3; v++) {
		unsigned int f = variants[v];

		check(pin(ram + HALF, HALF, f, 0, NULL) == -EREMOTEIO, "%d: pinned unasked", v);
		check(pin(ram, 2 * HALF, f, 0, NULL) == (long)HALF, "%d: more than the memory before it", v);
		check(pin(ram + HALF, HALF, f, FOLL_PCI_P2PDMA | FOLL_WRITE, copy) == (long)HALF, "%d: not pinned", v);
		check(!memcmp(copy, ram + HALF, HALF), "%d: other contents", v);
		check(ranges[0].len == HALF, "%d: one BAR is more than one range", v);
		check(pin(ram + 5, 2 * HALF - 10, f, FOLL_PCI_P2PDMA, copy) == (long)HALF - 5,
		      "%d: both kinds by one call", v);
		check(!memcmp(copy, ram + 5, HALF - 5), "%d: other contents of the memory before it", v);
	}
}

/* Vectors that go from one kind of memory to the other and back */
static void direct_io(int disk, char *ram, char *copy)
{
	for (unsigned int i = 0; i < 40; i++) {
		size_t at = 512 * (i % 9), len = 512 * (1 + i * 5 % 40);
		struct iovec v[4] = {
			{ ram + at, len }, { ram + HALF + at, len },
			{ ram + HALF - 1024, 2048 },	/* across where they meet */
			{ ram + 2 * HALF - len, len },
		};
		off_t pos = i * 2 * HALF;
		struct iovec all = { copy, 3 * len + 2048 };
		size_t done = 0;

		fill(ram, 2 * HALF, i);
		check(pwritev(disk, v, 4, pos) == (ssize_t)all.iov_len, "write %u: %m", i);
		check(pread(disk, copy, all.iov_len, pos) == (ssize_t)all.iov_len, "read %u: %m", i);
		for (int j = 0; j < 4; j++) {
			check(!memcmp(copy + done, v[j].iov_base, v[j].iov_len), "%u: vector %d was written otherwise", i, j);
			done += v[j].iov_len;
		}
		/* Places that do not overlap, to be read into */
		fill(copy, all.iov_len, ~i);
		check(pwrite(disk, copy, len + 2048, pos) == (ssize_t)len + 2048, "write: %m");
		v[1].iov_base = ram + HALF + PAGE;
		check(preadv(disk, v + 1, 2, pos) == (ssize_t)len + 2048, "read %u into it: %m", i);
		check(!memcmp(v[1].iov_base, copy, len) && !memcmp(v[2].iov_base, copy + len, 2048),
		      "%u: something else was read into it", i);
	}
}

int main(int argc, char **argv)
{
	char path[64], *other, *ram, *copy;
	long long before;
	int disk, out, fd;
	glob_t g;

	if (argc < 2 || !(other = strchr(argv[1], ':')))
		return 2;
	*other++ = 0;
	snprintf(path, sizeof(path), "/dev/%s", argv[1]);
	disk = open(path, O_RDWR | O_DIRECT);
	snprintf(path, sizeof(path), "/dev/%s", other);
	out = open(path, O_RDWR | O_DIRECT);
	gup = open("/sys/kernel/debug/gup_test", O_RDWR);
	if (system("insmod /tests/p2pmem.ko") || glob("/sys/bus/pci/devices/*/p2pmem/allocate", 0, NULL, &g) ||
	    (fd = open(g.gl_pathv[0], O_RDWR)) < 0 || disk < 0 || out < 0 || gup < 0) {
		printf("no disks, no gup_test, or no peer-to-peer memory: %m\n");
		return 1;
	}
	ram = mmap(NULL, 2 * HALF, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	copy = mmap(NULL, 4 * HALF, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (mmap(ram + HALF, HALF, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
		printf("%s: %m\n", g.gl_pathv[0]);
		return 1;
	}
	before = pins();
	pinning(ram, copy);
	check(pins() == before, "%lld pins are left", pins() - before);
	direct_io(disk, ram, copy);
	check(pins() == before, "%lld pins are left after I/O", pins() - before);
	check(pwrite(out, ram + HALF, PAGE, 0) < 0 && errno == EREMOTEIO, "a disk that cannot reach it: %m");
	check(pread(out, ram + HALF, PAGE, 0) < 0 && errno == EREMOTEIO, "a disk that cannot reach it: %m");
	check(pins() == before, "%lld pins are left after what was refused", pins() - before);
	if (!bad)
		printf("pinned in each way, 40 writes and reads, 2 refused\n");
	munmap(ram, 2 * HALF);
	close(fd);
	check(!system("rmmod p2pmem"), "p2pmem.ko cannot be unloaded");
	return bad != 0;
}
