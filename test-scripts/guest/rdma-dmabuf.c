// SPDX-License-Identifier: GPL-2.0
/*
 * rdma-dmabuf  memory regions on dma-bufs, over rxe on a dummy interface: two
 *              connected queue pairs of this process WRITE, READ, SEND and do
 *              atomic operations with regions of udmabuf, of the system heap, and
 *              of what dmabuf_vmap.ko exports, of memory and of a BAR. Each byte
 *              of the buffer is compared by mmap(). Then what must be refused;
 *              buffers that move and are revoked, also under load; and a process
 *              that is killed while its region is written. Ordinary regions that are
 *              on demand, and that are not and so cannot be prefetched.
 *
 * Linked with libibverbs, and so compiled by boot/rdma.sh. Its provider for rxe
 * does not know ibv_reg_dmabuf_mr(): what that would do is done here.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <infiniband/verbs.h>
#include <linux/dma-heap.h>
#include <linux/udmabuf.h>
#include <pthread.h>
#include <rdma/ib_user_ioctl_cmds.h>
#include <rdma/ib_user_ioctl_verbs.h>
#include <rdma/ib_user_verbs.h>
#include <rdma/rdma_user_ioctl.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "../kmod/dmabuf_vmap.h"

#define PAGE	4096UL
#define ALL	(IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_WRITE | IBV_ACCESS_REMOTE_READ | \
		 IBV_ACCESS_REMOTE_ATOMIC)
#define IOVA	0x7000000000UL
#define BOUNCE	(512 << 10)	/* a region of ordinary memory, to compare with */

static struct ibv_context *ctx;
static struct ibv_pd *pd;
static struct ibv_cq *cq;
static struct ibv_qp *qp[2];
static struct ibv_mr *bounce_mr;
static uint8_t *bounce;
static int gid_index, bad;
static volatile bool stop;

#define check(cond, ...) do { if (!(cond)) {				\
	printf("line %d: ", __LINE__); printf(__VA_ARGS__); puts("");	\
	fflush(stdout); bad++; } } while (0)

struct region {
	uint32_t handle, lkey, rkey;
	uint64_t iova;
};

static void attr(struct ib_uverbs_attr *a, int id, int len, uint64_t data)
{
	*a = (struct ib_uverbs_attr){ .attr_id = id, .len = len,
				      .flags = UVERBS_ATTR_F_MANDATORY, .data = data };
}

static int method(int id, struct ib_uverbs_attr *attrs, int nr)
{
	struct {
		struct ib_uverbs_ioctl_hdr hdr;
		struct ib_uverbs_attr attrs[9];
	} cmd = { .hdr = { .length = sizeof(cmd.hdr) + nr * sizeof(*attrs), .object_id = UVERBS_OBJECT_MR,
			   .method_id = id, .num_attrs = nr, .driver_id = RDMA_DRIVER_RXE } };
	int ret;

	memcpy(cmd.attrs, attrs, nr * sizeof(*attrs));
	ret = ioctl(ctx->cmd_fd, RDMA_VERBS_IOCTL, &cmd) ? -errno : 0;
	memcpy(attrs, cmd.attrs, nr * sizeof(*attrs));
	return ret;
}

static int reg(struct region *r, int fd, uint64_t offset, uint64_t length, uint64_t iova, int access)
{
	struct ib_uverbs_attr a[9];
	int ret;

	attr(&a[0], UVERBS_ATTR_REG_DMABUF_MR_HANDLE, 0, 0);
	attr(&a[1], UVERBS_ATTR_REG_DMABUF_MR_PD_HANDLE, 0, pd->handle);
	attr(&a[2], UVERBS_ATTR_REG_DMABUF_MR_OFFSET, 8, offset);
	attr(&a[3], UVERBS_ATTR_REG_DMABUF_MR_LENGTH, 8, length);
	attr(&a[4], UVERBS_ATTR_REG_DMABUF_MR_IOVA, 8, iova);
	attr(&a[5], UVERBS_ATTR_REG_DMABUF_MR_FD, 4, (uint32_t)fd);
	attr(&a[6], UVERBS_ATTR_REG_DMABUF_MR_ACCESS_FLAGS, 4, access);
	attr(&a[7], UVERBS_ATTR_REG_DMABUF_MR_RESP_LKEY, 4, (uintptr_t)&r->lkey);
	attr(&a[8], UVERBS_ATTR_REG_DMABUF_MR_RESP_RKEY, 4, (uintptr_t)&r->rkey);
	ret = method(UVERBS_METHOD_REG_DMABUF_MR, a, 9);
	r->handle = a[0].data;
	r->iova = iova;
	return ret;
}

static int dereg(struct region *r)
{
	struct ib_uverbs_attr a;

	attr(&a, UVERBS_ATTR_DESTROY_MR_HANDLE, 0, r->handle);
	return method(UVERBS_METHOD_MR_DESTROY, &a, 1);
}

static int advise(uint64_t addr, uint32_t lkey, uint32_t flags)
{
	struct ib_uverbs_sge sge = { .addr = addr, .length = 64, .lkey = lkey };
	struct ib_uverbs_attr a[4];

	attr(&a[0], UVERBS_ATTR_ADVISE_MR_PD_HANDLE, 0, pd->handle);
	attr(&a[1], UVERBS_ATTR_ADVISE_MR_ADVICE, 8, IB_UVERBS_ADVISE_MR_ADVICE_PREFETCH);
	attr(&a[2], UVERBS_ATTR_ADVISE_MR_FLAGS, 4, flags);
	attr(&a[3], UVERBS_ATTR_ADVISE_MR_SGE_LIST, sizeof(sge), (uintptr_t)&sge);
	return method(UVERBS_METHOD_ADVISE_MR, a, 4);
}

static void modify(struct ibv_qp *q, struct ibv_qp_attr a, int mask, const char *what)
{
	check(!ibv_modify_qp(q, &a, mask), "%s: %m", what);
}

/* An error is the end of a queue pair: a new one for each test */
static void connect_qps(void)
{
	struct ibv_qp_init_attr init = { .send_cq = cq, .recv_cq = cq, .qp_type = IBV_QPT_RC,
		.cap = { .max_send_wr = 16, .max_recv_wr = 16, .max_send_sge = 2, .max_recv_sge = 2 } };
	struct ibv_wc wc;
	union ibv_gid gid;

	for (int i = 0; i < 2; i++) {
		if (qp[i])
			ibv_destroy_qp(qp[i]);
		qp[i] = ibv_create_qp(pd, &init);
		check(qp[i], "no queue pair: %m");
	}
	while (ibv_poll_cq(cq, 1, &wc) > 0)
		;
	ibv_query_gid(ctx, 1, gid_index, &gid);
	for (int i = 0; i < 2; i++) {
		modify(qp[i], (struct ibv_qp_attr){ .qp_state = IBV_QPS_INIT, .port_num = 1, .qp_access_flags = ALL },
		       IBV_QP_STATE | IBV_QP_PKEY_INDEX | IBV_QP_PORT | IBV_QP_ACCESS_FLAGS, "INIT");
		modify(qp[i], (struct ibv_qp_attr){ .qp_state = IBV_QPS_RTR, .path_mtu = IBV_MTU_4096,
				.dest_qp_num = qp[!i]->qp_num, .max_dest_rd_atomic = 4, .min_rnr_timer = 1,
				.ah_attr = { .is_global = 1, .port_num = 1, .grh = { .dgid = gid, .hop_limit = 1,
					     .sgid_index = gid_index } } },
		       IBV_QP_STATE | IBV_QP_AV | IBV_QP_PATH_MTU | IBV_QP_DEST_QPN | IBV_QP_RQ_PSN |
		       IBV_QP_MAX_DEST_RD_ATOMIC | IBV_QP_MIN_RNR_TIMER, "RTR");
		modify(qp[i], (struct ibv_qp_attr){ .qp_state = IBV_QPS_RTS, .timeout = 18, .retry_cnt = 7,
				.rnr_retry = 7, .max_rd_atomic = 4 },
		       IBV_QP_STATE | IBV_QP_TIMEOUT | IBV_QP_RETRY_CNT | IBV_QP_RNR_RETRY | IBV_QP_SQ_PSN |
		       IBV_QP_MAX_QP_RD_ATOMIC, "RTS");
	}
}

/* The status of a completion of an operation, 1 is for receiving */
static int completion(int id)
{
	static int came[2] = { -1, -1 };
	time_t end = time(NULL) + 30;
	struct ibv_wc wc;
	int ret;

	while (came[id] < 0 && time(NULL) < end) {
		int n = ibv_poll_cq(cq, 1, &wc);

		if (n < 0)
			break;
		if (n)
			came[wc.wr_id] = wc.status;
		else
			usleep(50);
	}
	ret = came[id];
	came[id] = -1;
	if (!id && ret)		/* of an operation that failed, both end */
		came[1] = -1;
	return ret;
}

static int op(int opcode, uint64_t local, uint32_t lkey, uint32_t len, uint64_t remote, uint32_t rkey,
	      uint64_t compare_add, uint64_t swap)
{
	struct ibv_sge sge = { .addr = local, .length = len, .lkey = lkey };
	struct ibv_send_wr wr = { .wr_id = 0, .sg_list = &sge, .num_sge = 1, .opcode = opcode,
				  .send_flags = IBV_SEND_SIGNALED }, *failed;

	if (opcode == IBV_WR_ATOMIC_CMP_AND_SWP || opcode == IBV_WR_ATOMIC_FETCH_AND_ADD) {
		wr.wr.atomic.remote_addr = remote;
		wr.wr.atomic.rkey = rkey;
		wr.wr.atomic.compare_add = compare_add;
		wr.wr.atomic.swap = swap;
	} else {
		wr.wr.rdma.remote_addr = remote;
		wr.wr.rdma.rkey = rkey;
	}
	if (ibv_post_send(qp[0], &wr, &failed))
		return -1;
	return completion(0);
}

/* Between the bounce buffer and a region at @at of it, from which side it is */
static int to_remote(struct region *r, uint64_t at, uint32_t len)
{
	return op(IBV_WR_RDMA_WRITE, (uintptr_t)bounce, bounce_mr->lkey, len, r->iova + at, r->rkey, 0, 0);
}

static int from_remote(struct region *r, uint64_t at, uint32_t len)
{
	return op(IBV_WR_RDMA_READ, (uintptr_t)bounce, bounce_mr->lkey, len, r->iova + at, r->rkey, 0, 0);
}

static int from_local(struct region *r, uint64_t at, uint32_t len)
{
	return op(IBV_WR_RDMA_WRITE, r->iova + at, r->lkey, len, (uintptr_t)bounce, bounce_mr->rkey, 0, 0);
}

static int to_local(struct region *r, uint64_t at, uint32_t len)
{
	return op(IBV_WR_RDMA_READ, r->iova + at, r->lkey, len, (uintptr_t)bounce, bounce_mr->rkey, 0, 0);
}

static int send_recv(struct region *r, uint64_t from, uint64_t to, uint32_t len)
{
	struct ibv_sge sge = { .addr = r->iova + to, .length = len, .lkey = r->lkey };
	struct ibv_recv_wr wr = { .wr_id = 1, .sg_list = &sge, .num_sge = 1 }, *failed;
	int ret;

	if (ibv_post_recv(qp[1], &wr, &failed))
		return -1;
	ret = op(IBV_WR_SEND, r->iova + from, r->lkey, len, 0, 0, 0, 0);
	return ret ?: completion(1);
}

static uint8_t pattern(size_t i, int seed)
{
	return i * 7 + (i >> 8) * 13 + seed;
}

static void fill(volatile uint8_t *p, size_t len, int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = pattern(i, seed);
}

static bool is(volatile uint8_t *p, size_t len, int seed)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != pattern(i, seed))
			return false;
	return true;
}

static bool is_all(volatile uint8_t *p, size_t len, uint8_t byte)
{
	for (size_t i = 0; i < len; i++)
		if (p[i] != byte)
			return false;
	return true;
}

static void expect(const char *what, const char *name, int status, int want)
{
	check(status == want, "%s: %s: %s, not %s", name, what, status < 0 ? "nothing" :
	      ibv_wc_status_str(status), ibv_wc_status_str(want));
}

/* [start, + len) of a buffer of @size bytes, of which @mem is the view of the CPU */
static void region(const char *name, int fd, volatile uint8_t *mem, size_t size, size_t start, size_t len,
		   bool atomics)
{
	/* Inside pages, and across their borders */
	const size_t at[] = { 0, 1, PAGE - 3, len / 2 + 5 };
	const size_t lens[] = { 1, 7, PAGE, 3 * PAGE + 11, len };
	volatile uint8_t *p = mem + start;
	uint64_t old = 0x123456789abcdefULL;
	struct region r;
	int ret, seed = 1;
	size_t word;

	ret = reg(&r, fd, start, len, IOVA + start % PAGE, ALL);
	if (ret) {
		check(false, "%s: register: %s", name, strerror(-ret));
		return;
	}
	for (unsigned int i = 0; i < 4; i++)
		for (unsigned int j = 0; j < 5; j++) {
			size_t a = at[i], n = lens[j];

			if (a + n > len)
				n = len - a;
			if (n > BOUNCE)
				n = BOUNCE;
			memset((void *)mem, 0x11, size);
			fill(bounce, n, ++seed);
			expect("WRITE", name, to_remote(&r, a, n), IBV_WC_SUCCESS);
			check(is(p + a, n, seed), "%s: WRITE of %zu at %zu", name, n, a);
			check(is_all(mem, start + a, 0x11) && is_all(p + a + n, size - start - a - n, 0x11),
			      "%s: WRITE of %zu at %zu wrote more", name, n, a);
			memset(bounce, 0, n);
			expect("READ", name, from_remote(&r, a, n), IBV_WC_SUCCESS);
			check(is(bounce, n, seed), "%s: READ of %zu at %zu", name, n, a);
			fill(p + a, n, ++seed);
			expect("WRITE from", name, from_local(&r, a, n), IBV_WC_SUCCESS);
			check(is(bounce, n, seed), "%s: WRITE from it, %zu at %zu", name, n, a);
			fill(bounce, n, ++seed);
			memset((void *)mem, 0x11, size);
			expect("READ to", name, to_local(&r, a, n), IBV_WC_SUCCESS);
			check(is(p + a, n, seed), "%s: READ to it, %zu at %zu", name, n, a);
			check(is_all(mem, start + a, 0x11) && is_all(p + a + n, size - start - a - n, 0x11),
			      "%s: READ to %zu at %zu wrote more", name, n, a);
		}
	fill(p, len / 3, ++seed);
	expect("SEND", name, send_recv(&r, 0, len / 2 + 3, len / 3), IBV_WC_SUCCESS);
	check(is(p + len / 2 + 3, len / 3, seed), "%s: SEND", name);

	word = (8 - start % 8) % 8 + 16;
	memcpy((void *)(p + word), &old, 8);
	ret = op(IBV_WR_ATOMIC_FETCH_AND_ADD, (uintptr_t)bounce, bounce_mr->lkey, 8, r.iova + word, r.rkey, 5, 0);
	if (atomics) {
		expect("FETCH_ADD", name, ret, IBV_WC_SUCCESS);
		check(*(uint64_t *)bounce == old && *(volatile uint64_t *)(p + word) == old + 5, "%s: FETCH_ADD", name);
		expect("CMP_SWP", name, op(IBV_WR_ATOMIC_CMP_AND_SWP, (uintptr_t)bounce, bounce_mr->lkey, 8,
		       r.iova + word, r.rkey, old + 5, 77), IBV_WC_SUCCESS);
		check(*(volatile uint64_t *)(p + word) == 77, "%s: CMP_SWP", name);
		expect("CMP_SWP", name, op(IBV_WR_ATOMIC_CMP_AND_SWP, (uintptr_t)bounce, bounce_mr->lkey, 8,
		       r.iova + word, r.rkey, old, 78), IBV_WC_SUCCESS);
		check(*(volatile uint64_t *)(p + word) == 77 && *(uint64_t *)bounce == 77, "%s: CMP_SWP that differs", name);
	} else {
		expect("FETCH_ADD", name, ret, IBV_WC_REM_INV_REQ_ERR);
		check(!memcmp((void *)(p + word), &old, 8), "%s: FETCH_ADD", name);
	}

	/* What is out of range, on either side, writes nothing */
	memset((void *)mem, 0x11, size);
	connect_qps();
	expect("WRITE past the end", name, to_remote(&r, len - 10, 11), IBV_WC_REM_ACCESS_ERR);
	connect_qps();
	expect("READ before the start", name, from_remote(&r, -1, 4), IBV_WC_REM_ACCESS_ERR);
	connect_qps();
	expect("READ to past the end", name, to_local(&r, len - 10, 11), IBV_WC_LOC_PROT_ERR);
	connect_qps();
	check(is_all(mem, size, 0x11), "%s: out of range, and written", name);
	ret = advise(r.iova, r.lkey, 0);
	check(ret == -EINVAL, "%s: prefetched: %s", name, strerror(-ret));
	check(!dereg(&r), "%s: deregister", name);
	expect("WRITE after the end", name, to_remote(&r, 0, 8), IBV_WC_REM_ACCESS_ERR);
	connect_qps();

	ret = reg(&r, fd, start, len, IOVA + start % PAGE, IBV_ACCESS_LOCAL_WRITE | IBV_ACCESS_REMOTE_READ);
	check(!ret, "%s: register for READ: %s", name, strerror(-ret));
	expect("READ", name, from_remote(&r, 0, 8), IBV_WC_SUCCESS);
	expect("WRITE to what is for READ", name, to_remote(&r, 0, 8), IBV_WC_REM_ACCESS_ERR);
	connect_qps();
	check(!dereg(&r), "%s: deregister", name);
	check(is_all(mem, size, 0x11), "%s: not for WRITE, and written", name);
}

static void time_writes(const char *name, uint64_t iova, uint32_t rkey, size_t n)
{
	struct timespec t[2];

	clock_gettime(CLOCK_MONOTONIC, &t[0]);
	for (int i = 0; i < 32; i++)
		op(IBV_WR_RDMA_WRITE, (uintptr_t)bounce, bounce_mr->lkey, n, iova, rkey, 0, 0);
	clock_gettime(CLOCK_MONOTONIC, &t[1]);
	printf("%s: 32 WRITEs of %zu KiB: %ld us\n", name, n >> 10,
	       (t[1].tv_sec - t[0].tv_sec) * 1000000 + (t[1].tv_nsec - t[0].tv_nsec) / 1000);
}

static void refused(const char *what, int fd, uint64_t offset, uint64_t length, uint64_t iova, int access, int want)
{
	struct region r;
	int ret = reg(&r, fd, offset, length, iova, access);

	check(ret == -want, "%s: %s, not %s", what, ret ? strerror(-ret) : "accepted", strerror(want));
	if (!ret)
		dereg(&r);
}

static void buffer(const char *name, int fd, size_t size, bool atomics)
{
	volatile uint8_t *mem = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	struct region r;

	if (mem == MAP_FAILED) {
		check(false, "%s: mmap: %m", name);
		return;
	}
	printf("%s: %zu bytes\n", name, size);
	region(name, fd, mem, size, 0, size, atomics);
	region(name, fd, mem, size, PAGE + 123, size - 3 * PAGE, atomics);
	refused("no bytes", fd, 0, 0, IOVA, ALL, EINVAL);
	refused("one byte too many", fd, 0, size + 1, IOVA, ALL, EINVAL);
	refused("past the end", fd, PAGE, size, IOVA, ALL, EINVAL);
	refused("from past the end", fd, size + PAGE, PAGE, IOVA, ALL, EINVAL);
	refused("an end that overflows", fd, PAGE, -PAGE, IOVA, ALL, EINVAL);
	refused("an end that overflows", fd, -PAGE, 2 * PAGE, IOVA, ALL, EINVAL);
	refused("addresses that overflow", fd, 0, 2 * PAGE, -PAGE, ALL, EINVAL);
	refused("another offset in the page", fd, 5, PAGE, IOVA, ALL, EINVAL);
	refused("remote but not local writing", fd, 0, PAGE, IOVA, IBV_ACCESS_REMOTE_WRITE, EINVAL);
	refused("on demand", fd, 0, PAGE, IOVA, ALL | IBV_ACCESS_ON_DEMAND, EINVAL);
	if (!reg(&r, fd, 0, size, IOVA, ALL)) {
		time_writes(name, IOVA, r.rkey, size < 64 << 10 ? size : 64 << 10);
		dereg(&r);
	}
	munmap((void *)mem, size);
}

static int heap(size_t size, int flags)
{
	struct dma_heap_allocation_data data = { .len = size, .fd_flags = flags | O_CLOEXEC };
	int fd = open("/dev/dma_heap/system", O_RDWR), ret;

	ret = ioctl(fd, DMA_HEAP_IOCTL_ALLOC, &data);
	check(!ret, "system heap: %m");
	close(fd);
	return ret ? -1 : (int)data.fd;
}

static int udmabuf(void)
{
	struct udmabuf_create_list *list = calloc(1, sizeof(*list) + 3 * sizeof(list->list[0]));
	int fd = open("/dev/udmabuf", O_RDWR), memfd = memfd_create("udmabuf", MFD_ALLOW_SEALING);

	ftruncate(memfd, 4 << 20);
	fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK);
	list->count = 3;
	for (int i = 0; i < 3; i++) {
		list->list[i].memfd = memfd;
		list->list[i].offset = (3 - i) << 20;
		list->list[i].size = 128 << 10;
	}
	fd = ioctl(fd, UDMABUF_CREATE_LIST, list);
	check(fd >= 0, "udmabuf: %m");
	return fd;
}

static int vmap_dev;

static void idle(int fd, const char *when)
{
	check(!ioctl(vmap_dev, VMAP_IDLE, fd), "%s: %m", when);
}

static void *mover(void *arg)
{
	long moves = 0;

	while (!stop) {
		int ret = ioctl(vmap_dev, VMAP_MOVE, (long)arg);

		check(!ret, "move %ld: %m", moves);
		if (ret)
			break;
		moves++;
		usleep(500);
	}
	printf("moved %ld times\n", moves);
	return NULL;
}

static uint8_t *view(int fd)
{
	return mmap(NULL, VMAP_SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
}

static void moves(int fd)
{
	static uint8_t copy[VMAP_SIZE];
	uint64_t *word = (uint64_t *)copy;
	pthread_t thread;
	struct region r;
	uint8_t *mem;
	int ret, i;

	ret = reg(&r, fd, 0, VMAP_SIZE, IOVA, ALL);
	check(!ret, "register: %s", strerror(-ret));
	fill(copy, VMAP_SIZE, 99);
	memcpy(bounce, copy, VMAP_SIZE);
	expect("WRITE", "moves", to_remote(&r, 0, VMAP_SIZE), IBV_WC_SUCCESS);
	stop = false;
	pthread_create(&thread, NULL, mover, (void *)(long)fd);
	for (i = 0; i < 200 && !bad; i++) {
		size_t at = (i * 7919L) % (VMAP_SIZE - 9000), n = 1 + (i * 37L) % 9000;

		fill(bounce, n, i);
		memcpy(copy + at, bounce, n);
		expect("WRITE", "moves", to_remote(&r, at, n), IBV_WC_SUCCESS);
		expect("FETCH_ADD", "moves", op(IBV_WR_ATOMIC_FETCH_AND_ADD, (uintptr_t)bounce, bounce_mr->lkey, 8,
		       r.iova + 512, r.rkey, i, 0), IBV_WC_SUCCESS);
		word[64] += i;
		expect("READ", "moves", from_remote(&r, 0, VMAP_SIZE), IBV_WC_SUCCESS);
		check(!memcmp(bounce, copy, VMAP_SIZE), "move: differs after %d", i);
		expect("SEND", "moves", send_recv(&r, 0, VMAP_SIZE / 2, 5000), IBV_WC_SUCCESS);
		memcpy(copy + VMAP_SIZE / 2, copy, 5000);
	}
	stop = true;
	pthread_join(thread, NULL);
	mem = view(fd);
	check(!memcmp(mem, copy, VMAP_SIZE), "moves: differs at last");
	munmap(mem, VMAP_SIZE);
	check(!dereg(&r), "deregister");
	idle(fd, "after moves");
}

static void revokes(const char *name, int fd, bool atomics)
{
	volatile uint8_t *mem = view(fd);
	struct region r;
	int ret;

	ret = reg(&r, fd, 100, VMAP_SIZE - 200, IOVA + 100, ALL);
	check(!ret, "%s: register: %s", name, strerror(-ret));
	expect("WRITE", name, to_remote(&r, 0, 8), IBV_WC_SUCCESS);
	check(!ioctl(vmap_dev, VMAP_REVOKE, fd), "%s: revoke: %m", name);
	memset((void *)mem, 0x33, VMAP_SIZE);
	memset(bounce, 0x44, VMAP_SIZE);
	expect("WRITE to what was revoked", name, to_remote(&r, 0, 5000), IBV_WC_REM_ACCESS_ERR);
	connect_qps();
	expect("READ of it", name, from_remote(&r, 0, 5000), IBV_WC_REM_ACCESS_ERR);
	connect_qps();
	check(is_all(bounce, VMAP_SIZE, 0x44), "%s: READ what was revoked", name);
	expect("FETCH_ADD", name, op(IBV_WR_ATOMIC_FETCH_AND_ADD, (uintptr_t)bounce, bounce_mr->lkey, 8,
	       r.iova + 4, r.rkey, 1, 0), IBV_WC_REM_ACCESS_ERR);
	connect_qps();
	ret = from_local(&r, 0, 5000);
	check(ret > 0, "%s: WRITE from what was revoked: %d", name, ret);
	connect_qps();
	ret = to_local(&r, 0, 5000);
	check(ret > 0, "%s: READ to what was revoked: %d", name, ret);
	connect_qps();
	ret = send_recv(&r, 0, 20000, 5000);
	check(ret > 0, "%s: SEND from what was revoked: %d", name, ret);
	connect_qps();
	check(is_all(mem, VMAP_SIZE, 0x33), "%s: revoked, and written", name);
	refused("what was revoked", fd, 0, PAGE, IOVA, ALL, ENODEV);
	check(!ioctl(vmap_dev, VMAP_UNREVOKE, fd), "%s: unrevoke: %m", name);
	expect("WRITE to it again", name, to_remote(&r, 0, 5000), IBV_WC_SUCCESS);
	check(is_all(mem + 100, 5000, 0x44) && mem[99] == 0x33 && mem[5100] == 0x33, "%s: not written again", name);
	ret = op(IBV_WR_ATOMIC_FETCH_AND_ADD, (uintptr_t)bounce, bounce_mr->lkey, 8, r.iova + 4, r.rkey, 1, 0);
	expect("FETCH_ADD again", name, ret, atomics ? IBV_WC_SUCCESS : IBV_WC_REM_INV_REQ_ERR);
	connect_qps();
	check(!dereg(&r), "%s: deregister", name);
	idle(fd, name);

	/* Deregistered while it is revoked */
	check(!reg(&r, fd, 0, VMAP_SIZE, IOVA, ALL), "%s: register", name);
	check(!ioctl(vmap_dev, VMAP_REVOKE, fd), "%s: revoke: %m", name);
	check(!dereg(&r), "%s: deregister", name);
	check(!ioctl(vmap_dev, VMAP_UNREVOKE, fd), "%s: unrevoke: %m", name);
	idle(fd, name);
	munmap((void *)mem, VMAP_SIZE);
}

/* What the thread sets after revoking must stay as it is. */
static void *revoker(void *arg)
{
	volatile uint8_t *mem = view((long)arg);
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	usleep(2000 + t.tv_nsec % 8000);
	check(!ioctl(vmap_dev, VMAP_REVOKE, (long)arg), "revoke: %m");
	memset((void *)mem, 0x55, VMAP_SIZE);
	stop = true;
	usleep(20000);
	check(is_all(mem, VMAP_SIZE, 0x55), "revoked under load, and written");
	munmap((void *)mem, VMAP_SIZE);
	return NULL;
}

static void revoked_under_load(int fd)
{
	int ret = 0, writes = 0;
	pthread_t thread;
	struct region r;

	memset(bounce, 0x66, VMAP_SIZE);
	for (int i = 0; i < 12; i++) {
		ret = reg(&r, fd, 0, VMAP_SIZE, IOVA, ALL);
		check(!ret, "register: %s", strerror(-ret));
		stop = false;
		pthread_create(&thread, NULL, revoker, (void *)(long)fd);
		while (!ret) {
			ret = to_remote(&r, 0, VMAP_SIZE);
			writes += !ret;
		}
		expect("WRITE", "revoked under load", ret, IBV_WC_REM_ACCESS_ERR);
		pthread_join(thread, NULL);
		connect_qps();
		if (i & 1)
			check(!ioctl(vmap_dev, VMAP_UNREVOKE, fd), "unrevoke: %m");
		check(!dereg(&r), "deregister");
		check(!ioctl(vmap_dev, VMAP_UNREVOKE, fd), "unrevoke: %m");
		idle(fd, "revoked under load");
	}
	printf("revoked under load: %d WRITEs were not disturbed\n", writes);
}

/* What is fetched on demand, at an address inside a page */
static void on_demand(void)
{
	uint8_t *p = aligned_alloc(PAGE, 8 * PAGE);
	struct ibv_mr *mr = ibv_reg_mr(pd, p + 100, 7 * PAGE, ALL | IBV_ACCESS_ON_DEMAND);
	struct region r = { .iova = (uintptr_t)p + 100 };

	if (!mr) {
		printf("on demand: %m\n");
		return;
	}
	r.lkey = mr->lkey;
	r.rkey = mr->rkey;
	fill(bounce, 7 * PAGE, 5);
	expect("WRITE", "on demand", to_remote(&r, 0, 7 * PAGE), IBV_WC_SUCCESS);
	check(is(p + 100, 7 * PAGE, 5), "on demand: WRITE");
	fill(p + 100, 7 * PAGE, 6);
	expect("READ", "on demand", from_remote(&r, 0, 7 * PAGE), IBV_WC_SUCCESS);
	check(is(bounce, 7 * PAGE, 6), "on demand: READ");
	ibv_dereg_mr(mr);
	free(p);
}

static void setup(void)
{
	struct ibv_device **list = ibv_get_device_list(NULL);
	union ibv_gid gid;

	ctx = list && *list ? ibv_open_device(*list) : NULL;
	if (!ctx) {
		printf("no device\n");
		exit(1);
	}
	for (gid_index = 0; gid_index < 16; gid_index++)
		if (!ibv_query_gid(ctx, 1, gid_index, &gid) && gid.raw[10] == 0xff && gid.raw[12] == 10 && gid.raw[13] == 7)
			break;
	pd = ibv_alloc_pd(ctx);
	cq = ibv_create_cq(ctx, 64, NULL, NULL, 0);
	bounce = aligned_alloc(PAGE, BOUNCE);
	bounce_mr = ibv_reg_mr(pd, bounce, BOUNCE, ALL);
	qp[0] = qp[1] = NULL;
	connect_qps();
}

/* Killed while its regions are written, and while nothing is done with them */
static void killed(int fd)
{
	for (int i = 0; i < 3; i++) {
		pid_t pid;

		fflush(stdout);
		pid = fork();
		if (!pid) {
			struct region r;

			setup();
			if (reg(&r, fd, 0, VMAP_SIZE, IOVA, ALL))
				_exit(1);
			for (int j = 0; !i || j < i; j++)
				to_remote(&r, 0, VMAP_SIZE);
			if (i == 1)
				ioctl(vmap_dev, VMAP_REVOKE, fd);
			pause();
		}
		usleep(300000);
		kill(pid, SIGKILL);
		waitpid(pid, NULL, 0);
		ioctl(vmap_dev, VMAP_UNREVOKE, fd);
		idle(fd, "killed");
	}
}

/* Every allocation fails once, until none is left to fail */
static void allocations_fail(int buf)
{
	int fd = open("/proc/thread-self/fail-nth", O_RDWR), failed = 0, n, left;
	char text[16];

	if (fd < 0) {
		printf("allocations do not fail in this kernel\n");
		return;
	}
	system("/tests/fail-allocations");
	for (n = 1; n < 500; n++) {
		struct region r;
		int ret;

		snprintf(text, sizeof(text), "%d", n);
		pwrite(fd, text, strlen(text), 0);
		ret = reg(&r, buf, 0, VMAP_SIZE, IOVA, ALL);
		memset(text, 0, sizeof(text));
		pread(fd, text, sizeof(text) - 1, 0);
		left = atoi(text);
		pwrite(fd, "0", 1, 0);
		if (!ret)
			dereg(&r);
		else
			check(ret == -ENOMEM, "allocation %d failed: %s", n, strerror(-ret));
		failed += !!ret;
		idle(buf, "an allocation failed");
		if (left)
			break;
	}
	printf("%d registrations failed for want of memory\n", failed);
	check(failed > 3 && n < 500, "%d registrations failed", failed);
}

int main(void)
{
	struct region r;
	int fd, ret;

	if (access("/sys/class/infiniband_verbs", F_OK)) {
		printf("no InfiniBand in this kernel\n");
		return 4;
	}
	if (system("insmod /tests/dmabuf_vmap.ko && ip link set lo up && ip addr add 10.7.0.1/24 dev dummy0 &&"
		   "ip link set dummy0 up && rdma link add rxe0 type rxe netdev dummy0")) {
		printf("no rxe device\n");
		return 1;
	}
	vmap_dev = open("/dev/dmabuf_vmap", O_RDWR);
	setup();

	/* An ordinary region has nothing to prefetch */
	for (int i = 0; i < 2; i++) {
		ret = advise((uintptr_t)bounce, bounce_mr->lkey, i ? IB_UVERBS_ADVISE_MR_FLAG_FLUSH : 0);
		check(ret == -EINVAL, "prefetched: %s", strerror(-ret));
	}
	on_demand();
	time_writes("ordinary memory", (uintptr_t)bounce + BOUNCE / 2, bounce_mr->rkey, 64 << 10);
	fd = heap(400 << 10, O_RDWR);
	buffer("system heap", fd, 400 << 10, true);
	close(fd);
	fd = udmabuf();
	buffer("udmabuf", fd, 384 << 10, true);
	close(fd);

	fd = heap(PAGE, O_RDONLY);
	refused("writing what is for reading", fd, 0, PAGE, IOVA, ALL, EACCES);
	ret = reg(&r, fd, 0, PAGE, IOVA, IBV_ACCESS_REMOTE_READ);
	check(!ret, "reading what is for reading: %s", strerror(-ret));
	expect("READ", "for reading", from_remote(&r, 0, PAGE), IBV_WC_SUCCESS);
	check(is_all(bounce, PAGE, 0), "for reading: what is read");
	dereg(&r);
	refused("no fd", 999, 0, PAGE, IOVA, ALL, EBADF);
	refused("no dma-buf", vmap_dev, 0, PAGE, IOVA, ALL, EINVAL);

	fd = ioctl(vmap_dev, VMAP_NEW, VMAP_NONE);
	refused("no vmap", fd, 0, PAGE, IOVA, ALL, EOPNOTSUPP);
	close(fd);
	fd = ioctl(vmap_dev, VMAP_NEW, VMAP_FAILS);
	refused("vmap fails", fd, 0, PAGE, IOVA, ALL, ENOMEM);
	idle(fd, "after vmap failed");
	close(fd);
	fd = ioctl(vmap_dev, VMAP_NEW, VMAP_NO_PHYRS);
	refused("no physical ranges", fd, 0, PAGE, IOVA, ALL, EOPNOTSUPP);
	close(fd);

	fd = ioctl(vmap_dev, VMAP_NEW, VMAP_RAM);
	buffer("memory", fd, VMAP_SIZE, true);
	idle(fd, "after all is deregistered");
	moves(fd);
	revokes("memory", fd, true);
	revoked_under_load(fd);
	killed(fd);
	allocations_fail(fd);
	close(fd);

	fd = ioctl(vmap_dev, VMAP_NEW, VMAP_BAR);
	if (fd < 0) {
		printf("no BAR: %m\n");
	} else {
		buffer("BAR", fd, VMAP_SIZE, false);
		revokes("BAR", fd, false);
		revoked_under_load(fd);
		close(fd);
	}
	close(vmap_dev);
	for (int i = 0; i < 2; i++)
		check(!ibv_destroy_qp(qp[i]), "queue pair %d", i);
	check(!ibv_dereg_mr(bounce_mr) && !ibv_destroy_cq(cq) && !ibv_dealloc_pd(pd) && !ibv_close_device(ctx),
	      "something is left: %m");
	if (system("rdma link delete rxe0 && ip link set dummy0 down && ip addr del 10.7.0.1/24 dev dummy0 &&"
		   "rmmod dmabuf_vmap")) {
		printf("rxe0 does not go, or a dma-buf is left\n");
		return 1;
	}
	return bad != 0;
}
