// SPDX-License-Identifier: GPL-2.0
/*
 * uring-dmabuf      registers dma-bufs as buffers of an io_uring, and reads and
 *                   writes disks straight from and to them: the system heap and
 *                   udmabuf. What the CPU has in the buffer is compared with what
 *                   ordinary direct I/O has on the disk. Then everything that has
 *                   to be refused.
 * uring-dmabuf:bar  the same with a BAR of ivshmem, which vfio-pci exports, and
 *                   takes away while there is I/O
 * uring-dmabuf:none all disks refuse, as everything is bounced; with a scheduler,
 *                   if there is one; and a zone takes other writes after that
 */
#define _GNU_SOURCE
#include <linux/dma-heap.h>
#include <linux/io_uring.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include "vfio-peer.h"

#define KIB	1024UL
#define MIB	(1024 * KIB)
#define PAGE	4096UL
#define DEPTH	32
#define SLOTS	4
#define BASE	(64 * MIB)		/* on disks of 512 MiB */

/* Of headers that Debian has none, or too old ones of */
#define REGISTER_DMABUF		38
#define REGISTER_CLONE_BUFFERS	30
#define OP_READV_FIXED		60
#define OP_SEND_ZC		47
#define SEND_ZC_FIXED_BUF	(1 << 2)
struct reg_dmabuf {
	int32_t fd;
	uint32_t index;
	uint64_t offset, len;
	uint32_t flags, resv[5];
};
struct clone { uint32_t fd, flags, src, dst, nr, pad[3]; };
struct rsrc_register { uint32_t nr, flags; uint64_t resv, data, tags; };
struct rsrc_update2 { uint32_t offset, resv; uint64_t data, tags; uint32_t nr, resv2; };
#define SPARSE	1
struct udmabuf_list { uint32_t flags, count; };
#define UDMABUF_CREATE_LIST	_IOW('u', 0x43, struct udmabuf_list)
#define TEST_NEW	_IO('d', 0)	/* /dev/dmabuf_test of dmabuf_kunit.ko */

struct ring {
	int fd;
	struct io_uring_params p;
	unsigned char *sq, *cq;
	struct io_uring_sqe *sqes;
	unsigned int queued;
	bool more;			/* is to come, said what was reaped last */
};

/* Where the CPU has the parts of a dma-buf */
struct view { volatile uint8_t *p; size_t len; };

static int bad;
static struct ring ring;
static uint8_t *plain;			/* ordinary memory for comparison */
static uint64_t seed = 0x2545f4914f6cdd1d;

#define FAIL(...) do { printf("FAIL " __VA_ARGS__); putchar('\n'); bad = 1; } while (0)

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t rnd(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static unsigned int *field(unsigned char *base, unsigned int offset)
{
	return (unsigned int *)(base + offset);
}

static int reg(struct ring *r, unsigned int op, void *arg, unsigned int nr)
{
	return syscall(__NR_io_uring_register, r->fd, op, arg, nr) < 0 ? -errno : 0;
}

static void setup(struct ring *r, unsigned int flags, bool table)
{
	struct rsrc_register sparse = { .nr = SLOTS, .flags = SPARSE };

	memset(r, 0, sizeof(*r));
	r->p.flags = flags;
	r->fd = syscall(__NR_io_uring_setup, DEPTH, &r->p);
	if (r->fd < 0)
		die("io_uring_setup");
	r->sq = mmap(NULL, r->p.sq_off.array + r->p.sq_entries * 4, PROT_READ | PROT_WRITE,
		     MAP_SHARED, r->fd, IORING_OFF_SQ_RING);
	r->cq = mmap(NULL, r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe),
		     PROT_READ | PROT_WRITE, MAP_SHARED, r->fd, IORING_OFF_CQ_RING);
	r->sqes = mmap(NULL, r->p.sq_entries * sizeof(*r->sqes), PROT_READ | PROT_WRITE,
		       MAP_SHARED, r->fd, IORING_OFF_SQES);
	if (r->sq == MAP_FAILED || r->cq == MAP_FAILED || r->sqes == MAP_FAILED)
		die("mmap of the ring");
	if (table && reg(r, 15 /* IORING_REGISTER_BUFFERS2 */, &sparse, sizeof(sparse)))
		die("table of buffers");
}

/* A mapping keeps a ring as an open file does. */
static void teardown(struct ring *r)
{
	munmap(r->sq, r->p.sq_off.array + r->p.sq_entries * 4);
	munmap(r->cq, r->p.cq_off.cqes + r->p.cq_entries * sizeof(struct io_uring_cqe));
	munmap(r->sqes, r->p.sq_entries * sizeof(*r->sqes));
	close(r->fd);
}

static int reg_dmabuf(struct ring *r, int fd, unsigned int index, uint64_t offset, uint64_t len)
{
	struct reg_dmabuf d = { .fd = fd, .index = index, .offset = offset, .len = len };

	return reg(r, REGISTER_DMABUF, &d, 1);
}

static int unreg(struct ring *r, unsigned int index)
{
	struct iovec none = { };
	struct rsrc_update2 u = { .offset = index, .data = (uintptr_t)&none, .nr = 1 };
	int ret = syscall(__NR_io_uring_register, r->fd, 16 /* BUFFERS_UPDATE */, &u, sizeof(u));

	return ret == 1 ? 0 : -1;
}

static struct io_uring_sqe *queue(struct ring *r, int op, int fd, uint64_t addr, unsigned int len,
				  off_t offset, unsigned int slot)
{
	unsigned int tail = *field(r->sq, r->p.sq_off.tail);
	unsigned int index = tail & *field(r->sq, r->p.sq_off.ring_mask);
	struct io_uring_sqe *sqe = &r->sqes[index];

	memset(sqe, 0, sizeof(*sqe));
	sqe->opcode = op;
	sqe->fd = fd;
	sqe->addr = addr;
	sqe->len = len;
	sqe->off = offset;
	sqe->buf_index = slot;
	field(r->sq, r->p.sq_off.array)[index] = index;
	__atomic_store_n(field(r->sq, r->p.sq_off.tail), tail + 1, __ATOMIC_RELEASE);
	r->queued++;
	return sqe;
}

static void submit(struct ring *r)
{
	if (syscall(__NR_io_uring_enter, r->fd, r->queued, 0, 0, NULL, 0) != (int)r->queued)
		die("io_uring_enter");
}

static int reap(struct ring *r)
{
	unsigned int head = *field(r->cq, r->p.cq_off.head);
	struct io_uring_cqe *cqe;
	int res;

	while (head == __atomic_load_n(field(r->cq, r->p.cq_off.tail), __ATOMIC_ACQUIRE))
		if (syscall(__NR_io_uring_enter, r->fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0) < 0)
			die("io_uring_enter");
	cqe = (struct io_uring_cqe *)(r->cq + r->p.cq_off.cqes) +
	      (head & *field(r->cq, r->p.cq_off.ring_mask));
	res = cqe->res;
	r->more = cqe->flags & IORING_CQE_F_MORE;
	__atomic_store_n(field(r->cq, r->p.cq_off.head), head + 1, __ATOMIC_RELEASE);
	r->queued--;
	return res;
}

static int one(struct ring *r, int op, int fd, uint64_t addr, unsigned int len, off_t offset)
{
	queue(r, op, fd, addr, len, offset, 0);
	submit(r);
	return reap(r);
}

static void copy(struct view *v, size_t at, uint8_t *buf, size_t len, bool to_view)
{
	for (; len; v++) {
		size_t n;

		if (at >= v->len) {
			at -= v->len;
			continue;
		}
		n = v->len - at < len ? v->len - at : len;
		/* BARs want accesses of one size; all of this is aligned */
		for (size_t i = 0; i < n; i += 8) {
			if (to_view)
				*(volatile uint64_t *)(v->p + at + i) = *(uint64_t *)(buf + i);
			else
				*(uint64_t *)(buf + i) = *(volatile uint64_t *)(v->p + at + i);
		}
		buf += n;
		len -= n;
		at = 0;
	}
}

static void fill(uint8_t *buf, size_t len)
{
	for (size_t i = 0; i < len; i += 8)
		*(uint64_t *)(buf + i) = rnd();
}

/* In one request or in 32, which come in any order */
static int transfer(int op, int fd, size_t at, size_t len, off_t offset, int depth)
{
	size_t piece = len / depth;
	int first = rnd() % depth, bad_res = 0;

	for (int i = 0; i < depth; i++) {
		size_t o = (first + i * 7) % depth * piece;

		queue(&ring, op, fd, at + o, piece, offset + o, 0);
	}
	submit(&ring);
	for (int i = 0; i < depth; i++) {
		int res = reap(&ring);

		if (res != (int)piece)
			bad_res = res ? res : -EIO;
	}
	return bad_res;
}

static void check(const char *what, int fd, size_t at, size_t len, struct view *v, int depth)
{
	uint8_t *disk = plain, *mem = plain + 4 * MIB;
	off_t offset = BASE / 2 + rnd() % 64 * PAGE;
	int ret;

	/* from the buffer to the disk */
	fill(mem, len);
	copy(v, at, mem, len, true);
	ret = transfer(IORING_OP_WRITE_FIXED, fd, at, len, offset, depth);
	if (ret) {
		FAIL("%s: writing %zu at %zu by %d: %s", what, len, at, depth, strerror(-ret));
		return;
	}
	if (pread(fd, disk, len, offset) != (ssize_t)len)
		die("pread");
	if (memcmp(mem, disk, len))
		FAIL("%s: %zu at %zu by %d: the disk has something else", what, len, at, depth);

	/* and back, with something else; 512 bytes before and after stay */
	fill(disk, len);
	if (pwrite(fd, disk, len, offset) != (ssize_t)len)
		die("pwrite");
	if (at >= 512)
		copy(v, at - 512, mem, 512, true);
	copy(v, at + len, mem + 512, 512, true);
	ret = transfer(IORING_OP_READ_FIXED, fd, at, len, offset, depth);
	if (ret) {
		FAIL("%s: reading %zu at %zu by %d: %s", what, len, at, depth, strerror(-ret));
		return;
	}
	copy(v, at, mem + 1024, len, false);
	if (memcmp(disk, mem + 1024, len))
		FAIL("%s: %zu at %zu by %d: the buffer has something else", what, len, at, depth);
	copy(v, at + len, disk, 512, false);
	if (memcmp(disk, mem + 512, 512))
		FAIL("%s: %zu at %zu by %d: written beyond", what, len, at, depth);
	if (at >= 512) {
		copy(v, at - 512, disk, 512, false);
		if (memcmp(disk, mem, 512))
			FAIL("%s: %zu at %zu by %d: written before", what, len, at, depth);
	}
}

/* The buffer in slot 0, with each disk */
static void disks(const char *what, struct view *v)
{
	static const struct { const char *path; size_t sector; } disk[] = {
		{ "/dev/nvme0n1", 512 }, { "/dev/vda", 512 }, { "/dev/vdb", 4096 },
	};

	for (size_t d = 0; d < sizeof(disk) / sizeof(*disk); d++) {
		const size_t s = disk[d].sector;
		int fd = open(disk[d].path, O_RDWR | O_DIRECT), before = bad;

		if (fd < 0)
			die(disk[d].path);
		check(what, fd, 0, s, v, 1);
		check(what, fd, 3 * s, s, v, 1);
		check(what, fd, 0, 4 * KIB, v, 1);
		check(what, fd, PAGE - s + s % PAGE, 8 * KIB, v, 1);
		check(what, fd, 5 * s, 64 * KIB + s, v, 1);
		check(what, fd, MIB - s, MIB, v, 1);
		check(what, fd, s, 3 * MIB, v, 1);
		check(what, fd, 0, DEPTH * s, v, DEPTH);
		check(what, fd, 7 * s, DEPTH * 16 * s, v, DEPTH);
		check(what, fd, s, DEPTH * 64 * KIB, v, DEPTH);
		printf("%s %s: %s\n", bad == before ? "ok  " : "FAIL", what, disk[d].path);
		close(fd);
	}
}

static void expect(const char *what, int got, int want)
{
	if (got != want)
		FAIL("%s: %d, not %d", what, got, want);
	else
		printf("ok   %s: %s\n", what, want < 0 ? strerror(-want) : "done");
}

static int heap_fd(size_t size, int flags)
{
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = flags | O_CLOEXEC };
	int fd = open("/dev/dma_heap/system", O_RDWR);

	if (fd < 0 || ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &data))
		die("/dev/dma_heap/system");
	close(fd);
	return data.fd;
}

/* Pages in no order: as many ranges, more than a bio has room for */
static int udmabuf_fd(size_t size)
{
	int dev = open("/dev/udmabuf", O_RDWR), memfd = memfd_create("udmabuf", MFD_ALLOW_SEALING), fd;
	static struct {
		struct udmabuf_list head;
		struct { uint32_t memfd, pad; uint64_t offset, size; } item[1024];
	} list;

	list.head.count = size / PAGE;
	for (size_t i = 0; i < list.head.count; i++) {
		list.item[i].memfd = memfd;
		list.item[i].offset = i * 389 % list.head.count * PAGE;
		list.item[i].size = PAGE;
	}
	if (dev < 0 || memfd < 0 || ftruncate(memfd, size) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		die("udmabuf");
	fd = ioctl(dev, UDMABUF_CREATE_LIST, &list);
	if (fd < 0)
		die("udmabuf");
	close(memfd);
	close(dev);
	return fd;
}

/* How many dma-bufs there are; closed files may take a moment */
static int objects(int want)
{
	char line[256];
	int n = -1;

	for (int i = 0; i < 40; i++) {
		FILE *f = fopen("/sys/kernel/debug/dma_buf/bufinfo", "r");

		if (!f)
			return want;
		while (fgets(line, sizeof(line), f))
			sscanf(line, "Total %d objects", &n);
		fclose(f);
		if (n == want)
			break;
		usleep(50000);
	}
	return n;
}

/* All of it, and a slice that starts and ends in a page */
static void memory(const char *what, int fd, size_t size)
{
	struct view v[2] = { { .len = size } };
	char slice[64];

	v[0].p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (v[0].p == MAP_FAILED)
		die(what);
	expect(what, reg_dmabuf(&ring, fd, 0, 0, size), 0);
	disks(what, v);
	if (unreg(&ring, 0))
		FAIL("%s: unregistering", what);

	snprintf(slice, sizeof(slice), "%s, a slice", what);
	v[0].p += 5 * PAGE + 1024;
	v[0].len -= 9 * PAGE;
	expect(slice, reg_dmabuf(&ring, fd, 0, 5 * PAGE + 1024, v[0].len), 0);
	disks(slice, v);
	if (unreg(&ring, 0))
		FAIL("%s: unregistering", slice);
	munmap((void *)(v[0].p - 5 * PAGE - 1024), size);
}

static void refused(void)
{
	int fd = heap_fd(MIB, O_RDWR), ro = heap_fd(MIB, O_RDONLY), wo = heap_fd(MIB, O_WRONLY);
	int nvme = open("/dev/nvme0n1", O_RDWR | O_DIRECT), sda = open("/dev/sda", O_RDWR | O_DIRECT);
	int buffered = open("/dev/nvme0n1", O_RDWR), null = open("/dev/null", O_RDWR);
	struct iovec iov = { .iov_base = NULL, .iov_len = PAGE };
	struct sockaddr_in to = { .sin_family = AF_INET, .sin_port = htons(9) };
	struct reg_dmabuf d = { .fd = fd, .len = MIB };
	struct ring poll, other;
	struct clone clone = { .fd = ring.fd };
	int p[2], sock, file, child, status;

	/* registering */
	d.flags = 1;
	expect("unknown flag", reg(&ring, REGISTER_DMABUF, &d, 1), -EINVAL);
	d.flags = 0;
	d.resv[4] = 1;
	expect("reserved field", reg(&ring, REGISTER_DMABUF, &d, 1), -EINVAL);
	d.resv[4] = 0;
	expect("two at once", reg(&ring, REGISTER_DMABUF, &d, 2), -EINVAL);
	expect("no length", reg_dmabuf(&ring, fd, 0, 0, 0), -EINVAL);
	expect("longer than the dma-buf", reg_dmabuf(&ring, fd, 0, PAGE, MIB), -EINVAL);
	expect("offset that wraps", reg_dmabuf(&ring, fd, 0, -PAGE, 2 * PAGE), -EINVAL);
	expect("no slot of the table", reg_dmabuf(&ring, fd, SLOTS, 0, MIB), -EINVAL);
	expect("no dma-buf", reg_dmabuf(&ring, null, 0, 0, MIB), -EINVAL);
	expect("no file", reg_dmabuf(&ring, 1000, 0, 0, MIB), -EBADF);
	expect("a heap", reg_dmabuf(&ring, fd, 0, 0, MIB), 0);
	expect("a slot that is taken", reg_dmabuf(&ring, fd, 0, 0, MIB), -EBUSY);
	if (!system("insmod /tests/dmabuf_kunit.ko >/dev/null 2>&1")) {
		int dev = open("/dev/dmabuf_test", O_RDWR), mix = ioctl(dev, TEST_NEW);

		if (mix >= 0)
			expect("memory and a BAR at once", reg_dmabuf(&ring, mix, 1, 0, PAGE), -EOPNOTSUPP);
		close(mix);
		close(dev);
		if (system("rmmod dmabuf_kunit"))
			FAIL("the module cannot be unloaded");
	}

	/* requests */
	expect("outside of the buffer", one(&ring, IORING_OP_READ_FIXED, nvme, MIB - PAGE, 2 * PAGE, BASE), -EFAULT);
	expect("length of no sector", one(&ring, IORING_OP_READ_FIXED, nvme, 0, 100, BASE), -EINVAL);
	expect("unaligned address", one(&ring, IORING_OP_READ_FIXED, nvme, 1, 512, BASE), -EINVAL);
	expect("SCSI disk", one(&ring, IORING_OP_READ_FIXED, sda, 0, PAGE, BASE), -EOPNOTSUPP);
	expect("SCSI disk, write", one(&ring, IORING_OP_WRITE_FIXED, sda, 0, PAGE, BASE), -EOPNOTSUPP);
	expect("buffered", one(&ring, IORING_OP_READ_FIXED, buffered, 0, PAGE, BASE), -EOPNOTSUPP);
	expect("buffered, write", one(&ring, IORING_OP_WRITE_FIXED, buffered, 0, PAGE, BASE), -EOPNOTSUPP);
	expect("/dev/null", one(&ring, IORING_OP_WRITE_FIXED, null, 0, PAGE, 0), -EOPNOTSUPP);
	pipe(p);
	expect("pipe", one(&ring, IORING_OP_WRITE_FIXED, p[1], 0, PAGE, 0), -EOPNOTSUPP);
	expect("vectored", one(&ring, OP_READV_FIXED, nvme, (uintptr_t)&iov, 1, BASE), -EOPNOTSUPP);
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sock = socket(AF_INET, SOCK_DGRAM, 0);
	connect(sock, (struct sockaddr *)&to, sizeof(to));
	queue(&ring, OP_SEND_ZC, sock, 0, 512, 0, 0)->ioprio = SEND_ZC_FIXED_BUF;
	submit(&ring);
	expect("zero-copy send", reap(&ring), -EOPNOTSUPP);
	if (ring.more) {	/* the notification */
		ring.queued++;
		reap(&ring);
	}
	if (system("mkfs.ext4 -q -F /dev/vdb && mkdir -p /tmp/ext4") ||
	    mount("/dev/vdb", "/tmp/ext4", "ext4", 0, NULL))
		die("ext4");
	file = open("/tmp/ext4/file", O_RDWR | O_CREAT | O_DIRECT, 0600);
	expect("file on ext4", one(&ring, IORING_OP_WRITE_FIXED, file, 0, PAGE, 0), -EOPNOTSUPP);
	expect("file on ext4, read", one(&ring, IORING_OP_READ_FIXED, file, 0, PAGE, 0), -EOPNOTSUPP);
	if (pwrite(file, plain, PAGE, 0) != (ssize_t)PAGE)
		FAIL("ordinary I/O to ext4");
	close(file);
	umount("/tmp/ext4");
	setup(&poll, IORING_SETUP_IOPOLL, true);
	expect("for polling", reg_dmabuf(&poll, fd, 0, 0, MIB), 0);
	expect("polled", one(&poll, IORING_OP_READ_FIXED, nvme, 0, PAGE, BASE), -EOPNOTSUPP);
	teardown(&poll);

	/* what the file allows */
	expect("read-only dma-buf", reg_dmabuf(&ring, ro, 1, 0, MIB), 0);
	queue(&ring, IORING_OP_READ_FIXED, nvme, 0, PAGE, BASE, 1);
	submit(&ring);
	expect("disk to a read-only dma-buf", reap(&ring), -EFAULT);
	queue(&ring, IORING_OP_WRITE_FIXED, nvme, 0, PAGE, BASE, 1);
	submit(&ring);
	expect("read-only dma-buf to disk", reap(&ring), PAGE);
	expect("write-only dma-buf", reg_dmabuf(&ring, wo, 2, 0, MIB), 0);
	queue(&ring, IORING_OP_WRITE_FIXED, nvme, 0, PAGE, BASE, 2);
	submit(&ring);
	expect("write-only dma-buf to disk", reap(&ring), -EFAULT);

	/* the table of another ring, which stays when this one has let go */
	setup(&other, 0, false);
	expect("clone", reg(&other, REGISTER_CLONE_BUFFERS, &clone, 1), 0);
	for (int i = 0; i < 3; i++)
		if (unreg(&ring, i))
			FAIL("unregistering %d", i);
	close(fd);
	close(ro);
	close(wo);
	expect("empty slot", one(&ring, IORING_OP_READ_FIXED, nvme, 0, PAGE, BASE), -EFAULT);
	expect("the clone, with all else closed", one(&other, IORING_OP_READ_FIXED, nvme, 0, MIB, BASE), MIB);
	if (objects(3) != 3)
		FAIL("there are %d dma-bufs, not 3", objects(3));
	teardown(&other);

	/* a user who may lock 4 MiB, and gives them back */
	child = fork();
	if (!child) {
		struct rlimit limit = { 4 * MIB, 4 * MIB };
		int big = heap_fd(3 * MIB, O_RDWR);

		bad = 0;
		setrlimit(RLIMIT_MEMLOCK, &limit);
		if (setuid(65534))
			die("setuid");
		setup(&other, 0, true);
		expect("3 of 4 MiB", reg_dmabuf(&other, big, 0, 0, PAGE), 0);
		expect("6 of 4 MiB", reg_dmabuf(&other, big, 1, 0, PAGE), -ENOMEM);
		if (unreg(&other, 0))
			FAIL("unregistering");
		expect("3 of 4 MiB again", reg_dmabuf(&other, big, 1, 0, PAGE), 0);
		_exit(bad);
	}
	if (waitpid(child, &status, 0) != child || status)
		FAIL("the user who may lock 4 MiB: %d", status);

	/* a process that dies with I/O in flight */
	child = fork();
	if (!child) {
		int big = heap_fd(4 * MIB, O_RDWR);

		setup(&other, 0, true);
		if (reg_dmabuf(&other, big, 0, 0, 4 * MIB))
			_exit(1);
		for (int i = 0; i < DEPTH; i++)
			queue(&other, IORING_OP_READ_FIXED, nvme, 0, 4 * MIB, BASE, 0);
		submit(&other);
		_exit(0);
	}
	if (waitpid(child, &status, 0) != child || status)
		FAIL("the process that dies: %d", status);
	expect("dma-bufs that are left", objects(0), 0);
	close(nvme);
	close(sda);
	close(buffered);
	close(null);
	close(sock);
	close(p[0]);
	close(p[1]);
}

/* 4 MiB in three ranges, of which two cannot be one */
static int export_bar(struct view *v)
{
	static const struct { size_t at, len; } part[] = {
		{ 8 * MIB, MIB }, { 2 * MIB, 12 * PAGE }, { 10 * MIB, 3 * MIB - 12 * PAGE },
	};
	struct get_dma_buf get = { .argsz = 24 + 3 * 16, .flags = GET_DMA_BUF,
		.region = 2, .open_flags = O_RDWR | O_CLOEXEC, .nr = 3 };

	for (int i = 0; i < 3; i++) {
		get.ranges[i].offset = part[i].at;
		get.ranges[i].length = part[i].len;
		v[i].p = peer_bar + part[i].at;
		v[i].len = part[i].len;
	}
	return ioctl(peer, VFIO_DEVICE_FEATURE, &get);
}

static volatile bool gone;

/* Reads into all of the buffer until it is gone, and once more */
static void *reads(void *arg)
{
	static int done[2];

	done[0] = done[1] = 0;
	for (bool last = false; !last;) {
		last = gone;
		for (int i = 0; i < DEPTH; i++)
			queue(&ring, IORING_OP_READ_FIXED, *(int *)arg, i % 4 * MIB, MIB, BASE, 0);
		submit(&ring);
		for (int i = 0; i < DEPTH; i++) {
			int res = reap(&ring);

			if (res == (int)MIB)
				done[0]++;
			else if (res == -ENODEV)
				done[1]++;
			else
				FAIL("read while it is revoked: %d", res);
		}
	}
	return done;
}

static void revoked(const char *what, int disk, int (*revoke)(void))
{
	pthread_t reader;
	int *done;

	gone = false;
	if (pthread_create(&reader, NULL, reads, &disk))
		die("pthread_create");
	usleep(10000 + rnd() % 50000);
	if (revoke())
		FAIL("%s: %s", what, strerror(errno));
	gone = true;
	pthread_join(reader, (void **)&done);
	printf("ok   %s: %d reads done, %d too late\n", what, done[0], done[1]);
	expect("read into what is revoked", one(&ring, IORING_OP_READ_FIXED, disk, 0, PAGE, BASE), -ENODEV);
	expect("write of what is revoked", one(&ring, IORING_OP_WRITE_FIXED, disk, 0, PAGE, BASE), -ENODEV);
}

static int disable(void) { return memory_enable(false); }
static int close_peer(void) { munmap((void *)peer_bar, 16 * MIB); return close(peer); }

static void bars(void)
{
	static const char *const disk[] = { "/dev/nvme0n1", "/dev/vda" };
	struct view v[4] = { };
	int fd = export_bar(v), again, d;

	if (fd < 0)
		die("export of the BAR");
	expect("BAR", reg_dmabuf(&ring, fd, 0, 0, 4 * MIB), 0);
	disks("BAR", v);
	for (int i = 0; i < 6; i++) {
		d = open(disk[i % 2], O_RDWR | O_DIRECT);
		revoked("memory enable cleared", d, disable);
		expect("registering what is revoked", reg_dmabuf(&ring, fd, 1, 0, PAGE), -ENODEV);
		if (memory_enable(true))
			FAIL("memory enable cannot be set");
		/* The slot stays dead, and nothing reaches the BAR */
		fill(plain, MIB);
		copy(v, 0, plain, MIB, true);
		expect("read into what was revoked", one(&ring, IORING_OP_READ_FIXED, d, 0, MIB, BASE), -ENODEV);
		copy(v, 0, plain + MIB, MIB, false);
		if (memcmp(plain, plain + MIB, MIB))
			FAIL("the BAR was written after it was revoked");
		if (unreg(&ring, 0))
			FAIL("unregistering what is revoked");
		expect("BAR that was revoked", reg_dmabuf(&ring, fd, 0, 0, 4 * MIB), 0);
		close(d);
	}
	disks("BAR that was revoked", v);
	again = export_bar(v);
	expect("the BAR once more", reg_dmabuf(&ring, again, 1, PAGE, MIB), 0);
	close(again);
	close(fd);
	d = open(disk[0], O_RDWR | O_DIRECT);
	revoked("device closed", d, close_peer);
	close(d);
	teardown(&ring);
	expect("dma-bufs that are left", objects(0), 0);
}

/* What a file of the disk's queue says; "" if there is none */
static const char *queue_says(const char *disk, const char *file)
{
	static char line[128];
	char path[64];
	FILE *f;

	snprintf(path, sizeof(path), "/sys/block/%s/queue/%s", disk, file);
	line[0] = 0;
	f = fopen(path, "r");
	if (f) {
		fgets(line, sizeof(line), f);
		fclose(f);
	}
	line[strcspn(line, "\n")] = 0;
	return line;
}

static bool has_zones(const char *disk)
{
	return !strcmp(queue_says(disk, "zoned"), "host-managed");
}

static void none(void)
{
	/* NVMe disks have their numbers by chance */
	bool second = has_zones("nvme0n1");
	const char *const disk[] = { second ? "nvme1n1" : "nvme0n1", "vda", "vdb" };
	const char *zoned = second ? "nvme0n1" : "nvme1n1";
	int heap = heap_fd(MIB, O_RDWR), d;
	char path[32];

	expect("heap", reg_dmabuf(&ring, heap, 0, 0, MIB), 0);
	for (int i = 0; i < 3; i++) {
		/* With one queue mq-deadline is in use, if it is built in */
		printf("# %s: schedulers: %s\n", disk[i], queue_says(disk[i], "scheduler"));
		snprintf(path, sizeof(path), "/dev/%s", disk[i]);
		d = open(path, O_RDWR | O_DIRECT);
		expect(path, one(&ring, IORING_OP_READ_FIXED, d, 0, MIB, BASE / 2), -EOPNOTSUPP);
		expect(path, one(&ring, IORING_OP_WRITE_FIXED, d, 0, PAGE, BASE / 2), -EOPNOTSUPP);
		if (pread(d, plain, MIB, BASE / 2) != (ssize_t)MIB)
			FAIL("ordinary I/O to %s: %s", path, strerror(errno));
		close(d);
	}

	if (!has_zones(zoned)) {
		printf("# there is no disk with zones\n");
		return;
	}
	snprintf(path, sizeof(path), "/dev/%s", zoned);
	d = open(path, O_RDWR | O_DIRECT);
	for (int i = 0; i < 2; i++) {
		expect("zone, write", one(&ring, IORING_OP_WRITE_FIXED, d, 0, PAGE, i * PAGE), -EOPNOTSUPP);
		if (pwrite(d, plain, PAGE, i * PAGE) != (ssize_t)PAGE)
			FAIL("ordinary write to the zone: %s", strerror(errno));
		expect("zone, read", one(&ring, IORING_OP_READ_FIXED, d, 0, PAGE, 0), -EOPNOTSUPP);
	}
	close(d);
}

int main(int argc, char **argv)
{
	setlinebuf(stdout);
	mount("none", "/sys/kernel/debug", "debugfs", 0, NULL);
	setup(&ring, 0, true);
	plain = mmap(NULL, 16 * MIB, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (plain == MAP_FAILED)
		die("mmap");
	if (argc > 1 && !strcmp(argv[1], "bar")) {
		iommufd = open("/dev/iommu", O_RDWR);
		if (iommufd < 0 || open_peer())
			die("ivshmem");
		bars();
	} else if (argc > 1 && !strcmp(argv[1], "none")) {
		none();
	} else {
		int fd = heap_fd(4 * MIB, O_RDWR);

		memory("heap", fd, 4 * MIB);
		close(fd);
		fd = udmabuf_fd(4 * MIB);
		memory("udmabuf", fd, 4 * MIB);
		close(fd);
		refused();
	}
	return bad;
}
