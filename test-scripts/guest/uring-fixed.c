// SPDX-License-Identifier: GPL-2.0
/*
 * Registered io_uring buffers in huge pages, at every offset in them: written
 * from with WRITE_FIXED and WRITEV_FIXED, read into with READ_FIXED and
 * READV_FIXED, and compared with what pread() says is on the disk. A buffer that
 * starts in the middle of a huge page and spans several is where the place in
 * the page has to be computed.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#ifndef MAP_HUGE_2MB
#define MAP_HUGE_2MB	(21 << 26)
#endif
/* newer than the headers of some distributions */
#define OP_READV_FIXED	60
#define OP_WRITEV_FIXED	61

#define HUGE	(2UL << 20)
#define AREA	(4 * HUGE)
#define OFFSET	(200L << 20)	/* behind what the other tests use */
#define SECTOR	512UL
#define ROUNDS	60

static uint64_t seed = 0x2545f4914f6cdd1d;
static int ring;
static unsigned char *sq, *cq;
static struct io_uring_params params;
static struct io_uring_sqe *sqes;

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static unsigned long rnd(unsigned long below)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed % below;
}

static unsigned int *field(unsigned char *base, unsigned int offset)
{
	return (unsigned int *)(base + offset);
}

static void setup(void)
{
	ring = syscall(__NR_io_uring_setup, 4, &params);
	if (ring < 0)
		die("io_uring_setup");
	sq = mmap(NULL, params.sq_off.array + params.sq_entries * 4, PROT_READ | PROT_WRITE,
		  MAP_SHARED, ring, IORING_OFF_SQ_RING);
	cq = mmap(NULL, params.cq_off.cqes + params.cq_entries * sizeof(struct io_uring_cqe),
		  PROT_READ | PROT_WRITE, MAP_SHARED, ring, IORING_OFF_CQ_RING);
	sqes = mmap(NULL, params.sq_entries * sizeof(*sqes), PROT_READ | PROT_WRITE,
		    MAP_SHARED, ring, IORING_OFF_SQES);
	if (sq == MAP_FAILED || cq == MAP_FAILED || sqes == MAP_FAILED)
		die("mmap of the ring");
}

static int io(int op, int fd, void *addr, unsigned int len, off_t offset)
{
	unsigned int tail = *field(sq, params.sq_off.tail);
	unsigned int index = tail & *field(sq, params.sq_off.ring_mask);
	unsigned int head = *field(cq, params.cq_off.head);
	struct io_uring_cqe *cqe;

	memset(&sqes[index], 0, sizeof(*sqes));
	sqes[index].opcode = op;
	sqes[index].fd = fd;
	sqes[index].addr = (uintptr_t)addr;
	sqes[index].len = len;
	sqes[index].off = offset;
	field(sq, params.sq_off.array)[index] = index;
	__atomic_store_n(field(sq, params.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	if (syscall(__NR_io_uring_enter, ring, 1, 1, IORING_ENTER_GETEVENTS, NULL, 0) != 1)
		die("io_uring_enter");
	if (head == __atomic_load_n(field(cq, params.cq_off.tail), __ATOMIC_ACQUIRE))
		die("no completion");
	cqe = (struct io_uring_cqe *)(cq + params.cq_off.cqes) +
	      (head & *field(cq, params.cq_off.ring_mask));
	index = cqe->res;
	__atomic_store_n(field(cq, params.cq_off.head), head + 1, __ATOMIC_RELEASE);
	return index;
}

/* A few pieces of the buffer, each of whole sectors, in any order */
static size_t pieces(struct iovec *iov, int *nr, unsigned char *base, size_t len)
{
	size_t total = 0;
	int i;

	*nr = 1 + rnd(6);
	for (i = 0; i < *nr; i++) {
		/* half of them across the border of a huge page */
		size_t n = SECTOR * (1 + rnd(256));
		size_t at = SECTOR * rnd((len - n) / SECTOR);

		if (rnd(2) && len > HUGE) {
			at = HUGE - (uintptr_t)base % HUGE;
			at = at >= len ? 0 : at > n / 2 / SECTOR * SECTOR ?
			     at - n / 2 / SECTOR * SECTOR : at;
			if (at + n > len)
				at = 0;
		}
		iov[i].iov_base = base + at;
		iov[i].iov_len = n;
		total += n;
	}
	return total;
}

int main(void)
{
	unsigned char *area, *model, *disk;
	unsigned long verified = 0;
	int fd, round;

	fd = open("/proc/sys/vm/nr_hugepages", O_WRONLY);
	if (fd < 0 || write(fd, "8", 1) != 1)
		die("nr_hugepages");
	close(fd);
	fd = open("/dev/vda", O_RDWR | O_DIRECT);
	if (fd < 0)
		die("/dev/vda");
	area = mmap(NULL, AREA, PROT_READ | PROT_WRITE,
		    MAP_PRIVATE | MAP_ANONYMOUS | MAP_HUGETLB | MAP_HUGE_2MB, -1, 0);
	if (area == MAP_FAILED)
		die("huge pages");
	model = malloc(AREA);
	disk = aligned_alloc(4096, AREA);
	if (!model || !disk)
		die("memory");
	setup();

	for (round = 0; round < ROUNDS; round++) {
		size_t start = SECTOR * rnd(HUGE / SECTOR), len, n, i, done = 0;
		struct iovec buffer, iov[8];
		int nr, k, vectored = round & 1;

		len = SECTOR * (600 + rnd((AREA - start) / SECTOR - 600));
		buffer = (struct iovec) { area + start, len };
		if (syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, &buffer, 1))
			die("registering a buffer");

		for (i = 0; i < AREA; i += 8)
			*(uint64_t *)(area + i) = seed * 0x9e3779b97f4a7c15 + i;
		n = pieces(iov, &nr, area + start, len);
		if (!vectored)
			n = iov[0].iov_len, nr = 1;
		k = vectored ? io(OP_WRITEV_FIXED, fd, iov, nr, OFFSET) :
			       io(IORING_OP_WRITE_FIXED, fd, iov[0].iov_base, n, OFFSET);
		if (k == -EINVAL && vectored && !round)
			die("no WRITEV_FIXED");
		if (k != (int)n) {
			printf("round %d: wrote %d of %zu\n", round, k, n);
			return 1;
		}
		if (pread(fd, disk, n, OFFSET) != (ssize_t)n)
			die("pread");
		for (i = 0; i < (size_t)nr; i++) {
			if (memcmp(disk + done, iov[i].iov_base, iov[i].iov_len)) {
				printf("round %d: piece %zu at %#zx of a buffer at %#zx was written from elsewhere\n",
				       round, i, (size_t)((unsigned char *)iov[i].iov_base - area), start);
				return 1;
			}
			done += iov[i].iov_len;
		}
		verified += n;

		/* and back, to pieces that may overlap: the last one wins */
		memset(area, 0xaa, AREA);
		n = pieces(iov, &nr, area + start, len);
		if (!vectored)
			n = iov[0].iov_len, nr = 1;
		if (pread(fd, disk, n, OFFSET) != (ssize_t)n)
			die("pread");
		if (nr > 1) { /* the device may fill them in any order: take one out */
			for (i = 1; i < (size_t)nr; i++)
				if ((unsigned char *)iov[i].iov_base < (unsigned char *)iov[0].iov_base + iov[0].iov_len &&
				    (unsigned char *)iov[0].iov_base < (unsigned char *)iov[i].iov_base + iov[i].iov_len)
					break;
			if (i < (size_t)nr)
				nr = 1, n = iov[0].iov_len;
		}
		memcpy(model, area, AREA);
		k = nr > 1 ? io(OP_READV_FIXED, fd, iov, nr, OFFSET) :
			     io(IORING_OP_READ_FIXED, fd, iov[0].iov_base, n, OFFSET);
		if (k != (int)n) {
			printf("round %d: read %d of %zu\n", round, k, n);
			return 1;
		}
		if (memcmp(disk, iov[0].iov_base, iov[0].iov_len)) {
			printf("round %d: read to elsewhere\n", round);
			return 1;
		}
		/* nothing outside of the pieces was touched */
		for (i = 0; i < (size_t)nr; i++)
			memcpy(model + ((unsigned char *)iov[i].iov_base - area), iov[i].iov_base, iov[i].iov_len);
		if (memcmp(model, area, AREA)) {
			printf("round %d: the read touched memory outside of its pieces\n", round);
			return 1;
		}
		verified += n;
		if (syscall(__NR_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0))
			die("unregistering the buffer");
	}
	printf("%d rounds, verified_bytes=%lu\n", ROUNDS, verified);
	return 0;
}
