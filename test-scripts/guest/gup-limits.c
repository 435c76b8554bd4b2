// SPDX-License-Identifier: GPL-2.0
/*
 * gup-limits  pins that do not get to their end, or outlive their process: fatal
 *             and other signals, exit, munmap() and MADV_DONTNEED, the limits of
 *             a memory cgroup and of RLIMIT_MEMLOCK. By pin_user_phyrs(), direct
 *             I/O, libaio and io_uring. Each case runs in a process and a memory
 *             cgroup of its own; the errno has to be the right one, and as many
 *             pins released as taken; all memory that the cgroup was charged for
 *             has to come back.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/aio_abi.h>
#include <linux/io_uring.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "pin-phyrs.h"
#include "pins.h"

#define MIB		(1024UL * 1024)
#define HUGE		(2 * MIB)
#define SLACK		MIB	/* what a cgroup may be charged for besides */
#define IN_FLIGHT	500	/* ms that the slow disk takes */
#define NOBODY		65534
#define FOLL_INTERRUPTIBLE 0x800

/* not the kernel's: by a read() with O_DIRECT, by registering with io_uring */
#define DIRECT		0x100
#define REGISTER	0x200
/* how a test ends, or what is done while there are pins */
enum { EXIT, KILL, MUNMAP, DONTNEED };

struct test {
	const char *name;
	void (*child)(const struct test *t);
	void (*parent)(const struct test *t, pid_t pid);
	unsigned int flags, gup_flags;
	size_t size;
	int what;
	bool uring;
	int signal;		/* that ends the child, or 0 */
	const char *max;	/* of the cgroup */
};

/* What a child tells its parent */
static struct shared {
	volatile int entered, returned, in_time, unlimited, bad;
	volatile int skip;	/* the kernel cannot do it, or the machine is too slow */
	volatile long held;
	volatile uint64_t usec;
} *shared;

static unsigned long page;
static bool no_phyrs;
static int gup, fast_disk, slow_disk;
static char slow_dir[64], fast_dir[64];
static const char root[] = "/tmp/gup-limits", group[] = "/tmp/gup-limits/one";

#define check(cond, ...) do { if (!(cond)) {				\
	printf("# line %d: ", __LINE__); printf(__VA_ARGS__); puts("");	\
	fflush(stdout); shared->bad++; } } while (0)

static bool put(const char *dir, const char *name, const char *text)
{
	char path[128];
	bool ok;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	fd = open(path, O_WRONLY);
	if (fd < 0)
		return false;
	ok = write(fd, text, strlen(text)) == (ssize_t)strlen(text);
	close(fd);
	return ok;
}

/* The number after @key in a file, or its first one; -1 if there is none */
static long long number(const char *dir, const char *name, const char *key)
{
	char path[128], line[256];
	long long n = -1;
	FILE *f;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	f = fopen(path, "r");
	while (f && n < 0 && fgets(line, sizeof(line), f))
		if (!strncmp(line, key, strlen(key)))
			sscanf(line + strlen(key), "%lld", &n);
	if (f)
		fclose(f);
	return n;
}

static long long charged(void)
{
	return number(group, "memory.current", "");
}

static long long ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec * 1000LL + ts.tv_nsec / 1000000;
}

/* @advice or 0; not touched, aligned to a huge page */
static char *memory(size_t size, int advice)
{
	char *p = mmap(NULL, size + HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);

	if (p == MAP_FAILED) {
		check(false, "no memory");
		_exit(1);
	}
	p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	madvise(p, size, advice);
	return p;
}

/* Bytes pinned, or -errno */
static long pin_by(int fd, const struct test *t, void *p, size_t size, unsigned int flags)
{
	struct pin_phyrs_test args = {
		.addr = (uintptr_t)p,
		.size = size,
		.max_ranges = size / page + 1,
		.gup_flags = t->gup_flags | FOLL_WRITE,
		.flags = (t->flags & 0xff) | flags,
	};

	if (ioctl(fd, PIN_PHYRS_TEST, &args))
		return -errno;
	shared->usec = args.get_usec;
	return args.pinned;
}

static int ring_setup(struct io_uring_params *params)
{
	memset(params, 0, sizeof(*params));
	return syscall(__NR_io_uring_setup, 1, params);
}

static int reg(int ring, const struct iovec *iov, int nr)
{
	return syscall(__NR_io_uring_register, ring, IORING_REGISTER_BUFFERS, iov, nr) ? -errno : 0;
}

static int reg_one(int ring, char *p, size_t size)
{
	struct iovec iov = { p, size };

	return reg(ring, &iov, 1);
}

static int unreg(int ring)
{
	return syscall(__NR_io_uring_register, ring, IORING_UNREGISTER_BUFFERS, NULL, 0) ? -errno : 0;
}

/* The same by one of the ways in: bytes, or -errno */
static long pin(const struct test *t, char *p, size_t size)
{
	struct io_uring_params params;
	ssize_t ret;

	if (t->flags & REGISTER) {
		ret = reg_one(ring_setup(&params), p, size);
		return ret ? ret : (long)size;
	}
	if (t->flags & DIRECT) {
		ret = pread(fast_disk, p, size, 0);
		return ret < 0 ? -errno : ret;
	}
	return pin_by(gup, t, p, size, 0);
}

static void handler(int sig)
{
	(void)sig;
	if (!shared->returned)
		shared->in_time++;
}

static void set_handler(void)
{
	struct sigaction sa = { .sa_handler = handler };	/* no SA_RESTART */

	sigaction(SIGUSR1, &sa, NULL);
}

/* Signals, while memory that was never touched gets pinned */

static void large(const struct test *t)
{
	char *p = memory(t->size, t->what == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	long ret;

	set_handler();
	shared->entered = 1;
	ret = pin(t, p, t->size);
	shared->returned = 1;
	check(ret == (long)t->size, "%ld instead of %zu bytes", ret, t->size);
	check(shared->in_time, "no signal while pinning");
}

static void signal_in_the_middle(const struct test *t, pid_t pid)
{
	int sig = t->signal ? t->signal : SIGUSR1, tries = 0;

	while (charged() < (long long)t->size / 4 && !shared->returned && tries++ < 20000)
		usleep(2000);
	for (tries = 0; tries < (t->signal ? 1 : 5); tries++) {
		kill(pid, sig);
		usleep(1000);
	}
	if (!t->signal)
		return;
	while (waitid(P_PID, pid, &(siginfo_t){}, WEXITED | WNOWAIT) && errno == EINTR)
		;
	check(!shared->returned, "the call returned");
	check(number(group, "memory.peak", "") < (long long)t->size,
	      "a fatal signal did not end it");
}

/*
 * The second half is a userfaultfd's: the call sleeps in the middle, until a
 * thread that was told so sends a signal, and then provides the memory.
 */
static struct {
	const struct test *test;
	pthread_t thread;
	char *p;
	int fd;
	long long before;	/* pins */
} uffd;

static bool next_event(void)
{
	struct uffd_msg msg;
	struct pollfd p = { .fd = uffd.fd, .events = POLLIN };

	return poll(&p, 1, 10000) == 1 && read(uffd.fd, &msg, sizeof(msg)) == sizeof(msg);
}

static void *provide(void *arg)
{
	const struct test *t = uffd.test;
	size_t half = t->size / 2;
	struct uffdio_copy copy = { .dst = (uintptr_t)uffd.p + half, .len = half };
	int rounds = t->gup_flags & FOLL_INTERRUPTIBLE ? 2 : 1;
	long long held;

	for (int i = 0; i < rounds; i++) {
		check(next_event(), "no event");
		held = pins() - uffd.before;
		/* Direct I/O may have done the first half, and let go of it. */
		check((t->flags & DIRECT) || held == (i ? 0 : (long long)(half / page)),
		      "%lld pins when the memory ends", held);
		if (t->signal)
			kill(getpid(), t->signal);
		pthread_kill(uffd.thread, SIGUSR1);
		usleep(20000);
	}
	if (rounds > 1)
		return NULL;
	check(!shared->returned, "a signal that is not fatal ended it");
	memset(arg, 0x5a, half);
	copy.src = (uintptr_t)arg;
	check(!ioctl(uffd.fd, UFFDIO_COPY, &copy), "UFFDIO_COPY: %s", strerror(errno));
	return NULL;
}

static void sleeping(const struct test *t)
{
	size_t half = t->size / 2;
	char *p = memory(t->size, MADV_NOHUGEPAGE), *source = memory(half, MADV_NOHUGEPAGE);
	struct uffdio_api api = { .api = UFFD_API };
	struct uffdio_register area = {
		.range = { (uintptr_t)p + half, half },
		.mode = UFFDIO_REGISTER_MODE_MISSING,
	};
	pthread_t id;
	long ret;

	uffd.test = t;
	uffd.p = p;
	uffd.thread = pthread_self();
	uffd.before = pins();
	uffd.fd = syscall(__NR_userfaultfd, O_CLOEXEC);
	if (uffd.fd < 0 || ioctl(uffd.fd, UFFDIO_API, &api) ||
	    ioctl(uffd.fd, UFFDIO_REGISTER, &area)) {
		shared->skip = 1;
		return;
	}
	set_handler();
	memset(p, 0x11, half);
	pthread_create(&id, NULL, provide, source);
	ret = pin(t, p, t->size);
	if (t->gup_flags & FOLL_INTERRUPTIBLE) {
		check(ret == (long)half, "%ld instead of %zu bytes", ret, half);
		ret = pin(t, p + half, half);
		check(ret == -EINTR, "%ld instead of EINTR", ret);
	} else {
		shared->returned = 1;
		check(ret == (long)t->size, "%ld instead of %zu bytes", ret, t->size);
		check((t->flags & DIRECT) || p[half] == 0x5a, "wrong contents");
	}
	pthread_join(id, NULL);
	check(shared->in_time, "no signal while pinning");
}

/* Killed at any time while a long-term pin has to migrate everything first */
static void migrating(const struct test *t)
{
	const int rounds = 6;
	long long before = number("/proc", "vmstat", "pgmigrate_success"), migrated;
	uint64_t usec = 0;
	int status, killed = 0;

	for (int i = 0; i <= rounds; i++) {
		pid_t pid;

		shared->entered = 0;
		pid = fork();
		if (!pid) {
			char *p = memory(t->size, MADV_NOHUGEPAGE);
			struct itimerval timer = {};
			long ret;

			memset(p, 1, t->size);
			shared->entered = 1;
			timer.it_value.tv_sec = usec * i / rounds / 1000000;
			timer.it_value.tv_usec = usec * i / rounds % 1000000;
			setitimer(ITIMER_REAL, &timer, NULL);	/* nobody handles SIGALRM */
			ret = pin(t, p, t->size);
			check(ret == (long)t->size, "%ld instead of %zu bytes", ret, t->size);
			_exit(0);
		}
		waitpid(pid, &status, 0);
		if (!i || (!status && shared->usec < usec))
			usec = shared->usec;
		check(!status || (i && WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM),
		      "round %d: status %#x", i, status);
		killed += status != 0;
	}
	migrated = number("/proc", "vmstat", "pgmigrate_success") - before;
	printf("# %d of %d killed, %lld pages migrated\n", killed, rounds, migrated);
	check(killed, "not killed");
	shared->skip = !migrated;
}

/* Pins that are there while something else happens */

static void kept(const struct test *t)
{
	long pages = t->size / page;
	long long before = pins(), base;
	char *p = memory(t->size, MADV_NOHUGEPAGE);
	long ret;

	base = charged();
	ret = pin_by(gup, t, p, t->size, KEEP);
	check(ret == (long)t->size, "%ld instead of %zu bytes", ret, t->size);
	check(pins() - before == pages, "%lld pins, not %ld", pins() - before, pages);
	p[0] = 0x11;
	switch (t->what) {
	case EXIT:
		_exit(shared->bad);
	case KILL:
		shared->entered = 1;
		for (;;)
			pause();
	case MUNMAP:
		munmap(p, t->size);
		break;
	case DONTNEED:
		madvise(p, t->size, MADV_DONTNEED);
		check(!p[0], "the old page was not taken away");
		memset(p, 1, t->size);
		check(charged() - base > 2 * (long long)(t->size - SLACK),
		      "pinned pages were freed: %lld KiB", (charged() - base) / 1024);
		break;
	}
	check(pins() - before == pages, "%lld pins, not %ld", pins() - before, pages);
	check(charged() - base > (long long)(t->size - SLACK),
	      "pinned pages were freed: %lld KiB", (charged() - base) / 1024);
	ioctl(gup, PIN_PHYRS_STOP);
	check(pins() == before, "%lld pins are left", pins() - before);
	check(charged() - base < (long long)(t->size * (t->what == DONTNEED) + SLACK),
	      "pages stay: %lld KiB", (charged() - base) / 1024);
}

static void killer(const struct test *t, pid_t pid)
{
	(void)t;
	while (!shared->entered && !shared->bad)
		usleep(1000);
	kill(pid, SIGKILL);
}

/* The file that keeps the pins is the parent's too: they outlive the mm. */
static void not_the_last(const struct test *t)
{
	char *p = memory(t->size, MADV_NOHUGEPAGE);
	long ret = pin_by(gup, t, p, t->size, KEEP);

	check(ret == (long)t->size, "%ld instead of %zu bytes", ret, t->size);
	shared->held = pins();
}

static void the_last(const struct test *t, pid_t pid)
{
	waitid(P_PID, pid, &(siginfo_t){}, WEXITED | WNOWAIT);
	check(pins() == shared->held, "%lld pins, not %ld", pins(), shared->held);
	check(charged() > (long long)(t->size - SLACK), "pinned pages were freed");
	ioctl(gup, PIN_PHYRS_STOP);
}

static long submit_aio(char *p, size_t size, aio_context_t *ctx)
{
	struct iocb cb = {
		.aio_lio_opcode = IOCB_CMD_PREAD,
		.aio_fildes = slow_disk,
		.aio_buf = (uintptr_t)p,
		.aio_nbytes = size,
	}, *cbs = &cb;

	if (syscall(__NR_io_setup, 1, ctx))
		return -errno;
	return syscall(__NR_io_submit, *ctx, 1, &cbs) == 1 ? 0 : -errno;
}

static long wait_aio(aio_context_t ctx)
{
	struct io_event event;

	return syscall(__NR_io_getevents, ctx, 1, 1, &event, NULL) == 1 ? (long)event.res : -errno;
}

static struct {
	int fd;
	unsigned char *sq, *cq;
	struct io_uring_params params;
} ring;

static long submit_uring(char *p, size_t size)
{
	struct io_uring_sqe *sqe;

	ring.fd = ring_setup(&ring.params);
	if (ring.fd < 0)
		return -errno;
	ring.sq = mmap(NULL, ring.params.sq_off.array + ring.params.sq_entries * 4,
		       PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQ_RING);
	ring.cq = mmap(NULL, ring.params.cq_off.cqes +
		       ring.params.cq_entries * sizeof(struct io_uring_cqe),
		       PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_CQ_RING);
	sqe = mmap(NULL, sizeof(*sqe), PROT_READ | PROT_WRITE, MAP_SHARED, ring.fd, IORING_OFF_SQES);
	if (ring.sq == MAP_FAILED || ring.cq == MAP_FAILED || (void *)sqe == MAP_FAILED)
		return -ENOMEM;
	sqe->opcode = IORING_OP_READ;
	sqe->fd = slow_disk;
	sqe->addr = (uintptr_t)p;
	sqe->len = size;
	*(unsigned int *)(ring.sq + ring.params.sq_off.array) = 0;
	__atomic_store_n((unsigned int *)(ring.sq + ring.params.sq_off.tail), 1, __ATOMIC_RELEASE);
	return syscall(__NR_io_uring_enter, ring.fd, 1, 0, 0, NULL, 0) == 1 ? 0 : -errno;
}

static long wait_uring(void)
{
	syscall(__NR_io_uring_enter, ring.fd, 0, 1, IORING_ENTER_GETEVENTS, NULL, 0);
	return ((struct io_uring_cqe *)(ring.cq + ring.params.cq_off.cqes))->res;
}

static void in_flight(const struct test *t)
{
	long long before = pins(), base = charged(), start, n, held;
	char *p = memory(t->size, MADV_NOHUGEPAGE);
	aio_context_t ctx = 0;
	long ret;

	memset(p, 1, t->size);
	start = ms();
	ret = t->uring ? submit_uring(p, t->size) : submit_aio(p, t->size, &ctx);
	check(!ret, "submitting: %ld", ret);
	/* io_uring may leave it to a thread */
	while (pins() - before != (long long)(t->size / page) && ms() - start < IN_FLIGHT / 2)
		usleep(1000);
	switch (t->what) {
	case MUNMAP:
		munmap(p, t->size);
		break;
	case DONTNEED:
		madvise(p, t->size, MADV_DONTNEED);
		memset(p, 2, t->size);
		break;
	}
	n = charged() - base;
	held = pins() - before;
	shared->skip = ms() - start >= IN_FLIGHT;
	if (!shared->skip) {
		check(n > (long long)(t->size * (t->what == DONTNEED ? 2 : 1) - SLACK),
		      "pinned pages were freed: %lld KiB", n / 1024);
		check(held == (long long)(t->size / page), "%lld pins in flight", held);
	}
	if (t->what == EXIT)
		_exit(shared->bad);
	shared->entered = 1;
	if (t->what == KILL)
		for (;;)
			pause();
	ret = t->uring ? wait_uring() : wait_aio(ctx);
	check(ret == (long)t->size, "%ld instead of %zu bytes", ret, t->size);
	for (unsigned long i = 0; t->what == DONTNEED && i < t->size; i += page)
		if (p[i] != 2) {
			check(false, "page %lu was written to", i / page);
			break;
		}
}

/* Limits of the memory cgroup */

static void over_the_limit(const struct test *t)
{
	char *p = memory(t->size, t->what == HUGE ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
	long ret;

	shared->entered = 1;
	ret = pin(t, p, t->size);
	check(false, "returned %ld", ret);
}

static void oom_killed(const struct test *t, pid_t pid)
{
	(void)t;
	waitid(P_PID, pid, &(siginfo_t){}, WEXITED | WNOWAIT);
	check(number(group, "memory.events", "oom_kill ") > 0, "no OOM kill");
}

static void with_another(const struct test *t)
{
	put(group, "memory.oom.group", "1");
	if (!fork())
		for (;;)
			pause();
	over_the_limit(t);
}

static void all_killed(const struct test *t, pid_t pid)
{
	int tries = 0;

	oom_killed(t, pid);
	while (number(group, "cgroup.events", "populated ") && tries++ < 2000)
		usleep(1000);
	check(!number(group, "cgroup.events", "populated "), "the other one lives");
}

/* At the limit not even a file can be opened. */
static void more_room(void)
{
	shared->entered = 1;
	while (!shared->unlimited)
		usleep(1000);
}

static void not_killed(const struct test *t)
{
	long long before = pins(), limit = atoi(t->max) * (long long)MIB;
	char *p = memory(t->size, MADV_NOHUGEPAGE);
	int other = open("/sys/kernel/debug/gup_test", O_RDWR);
	long ret;

	check(put("/proc/self", "oom_score_adj", "-1000"), "no oom_score_adj");
	if (t->flags & (DIRECT | REGISTER)) {
		/* io_uring knows only that not all of it could be pinned */
		ret = pin(t, p, t->size);
		more_room();
		check(ret == (t->flags & DIRECT ? -ENOMEM : -EFAULT), "%ld", ret);
		check(pins() == before, "%lld pins are left", pins() - before);
		return;
	}
	ret = pin_by(gup, t, p, t->size, KEEP);
	check(ret > limit / 2 && ret < limit, "pinned %ld bytes", ret);
	if (ret > 0) {
		long rest = pin_by(other, t, p + ret, t->size - ret, 0);

		check(rest == -ENOMEM, "%ld instead of ENOMEM", rest);
	}
	more_room();
	check(pins() - before == ret / (long)page, "%lld pins for %ld bytes", pins() - before, ret);
	ioctl(gup, PIN_PHYRS_STOP);
	check(pins() == before, "%lld pins are left", pins() - before);
}

static void make_room(const struct test *t, pid_t pid)
{
	siginfo_t gone = {};

	(void)t;
	while (!shared->entered && !gone.si_pid) {
		usleep(1000);
		waitid(P_PID, pid, &gone, WEXITED | WNOWAIT | WNOHANG);
	}
	put(group, "memory.max", "max");
	shared->unlimited = 1;
}

/* The limit of locked memory, which io_uring charges to the user */

static long long held_as_root(void)
{
	long long n;

	seteuid(0);	/* for stat_refresh */
	n = pins();
	seteuid(NOBODY);
	return n;
}

static long vm_pin(void)
{
	return number("/proc/self", "status", "VmPin:") * 1024 / (long)page;
}

/* The largest buffer that can be registered, in pages */
static long most(int ring, char *p, long max)
{
	long min = 0;

	while (min < max) {
		long n = (min + max + 1) / 2;

		if (reg_one(ring, p, n * page)) {
			max = n - 1;
		} else {
			unreg(ring);
			min = n;
		}
	}
	return min;
}

static void memlock(const struct test *t)
{
	struct rlimit limit = { t->size, t->size };
	long room = t->size / page, n, huge = HUGE / page;
	char *p = memory(t->size + HUGE, MADV_NOHUGEPAGE), *q = memory(2 * HUGE, MADV_HUGEPAGE);
	long long before = pins();
	struct io_uring_params params;
	int a, b, status, ret, tries = 0;
	struct iovec iov[3];
	pid_t pid;

	setrlimit(RLIMIT_MEMLOCK, &limit);
	if (setresuid(NOBODY, NOBODY, 0)) {
		check(false, "setresuid");
		return;
	}
	a = ring_setup(&params);
	b = ring_setup(&params);
	if (a < 0 || b < 0) {
		shared->skip = 1;
		return;
	}
	n = most(a, p, room + 1);
	check(n > room / 2 && n <= room, "%ld of %ld pages", n, room);

#define nothing_left(what) do {						\
	check(held_as_root() == before, what ": %lld pins are left", held_as_root() - before); \
	check(!vm_pin(), what ": VmPin is %ld pages", vm_pin());	\
	check(most(a, p, room + 1) == n, what ": locked_vm is left");	\
} while (0)
	check(!reg_one(a, p, n * page), "all there is");
	check(held_as_root() - before == n, "%lld pins, not %ld", held_as_root() - before, n);
	check(vm_pin() == n, "VmPin is %ld pages, not %ld", vm_pin(), n);
	ret = reg_one(b, q + HUGE, page);
	check(ret == -ENOMEM, "one more: %d", ret);
	check(held_as_root() - before == n, "%lld pins, not %ld", held_as_root() - before, n);
	unreg(a);
	nothing_left("unregistered");

	ret = reg_one(a, p, (n + 1) * page);
	check(ret == -ENOMEM, "too many: %d", ret);
	nothing_left("too many");

	iov[0] = (struct iovec){ p, n / 2 * page };
	iov[1] = (struct iovec){ p + 1, (n / 2 - 1) * page };
	iov[2] = (struct iovec){ p + n / 2 * page, 3 * page };
	ret = reg(a, iov, 3);
	check(ret == -ENOMEM, "the third of them: %d", ret);
	nothing_left("the third of them");

	/* One page of a huge page is all of it, once. */
	q[0] = q[HUGE] = 1;
	iov[0] = (struct iovec){ q, page };
	iov[1] = (struct iovec){ q + 7 * page, 3 * page };
	ret = reg(a, iov, 2);
	check(!ret, "in one huge page: %d", ret);
	if (vm_pin() == huge) {
		unreg(a);
		iov[1] = (struct iovec){ q + HUGE, page };
		iov[2] = (struct iovec){ p, (n - 2 * huge + 1) * page };
		ret = reg(a, iov, n < 2 * huge ? 2 : 3);
		check(ret == -ENOMEM, "two huge pages: %d", ret);
	} else {
		printf("# no huge pages: VmPin is %ld pages\n", vm_pin());
		unreg(a);
	}
	nothing_left("two huge pages");

	/* What cannot be pinned at all */
	munmap(p + 17 * page, page);
	ret = reg_one(a, p, 18 * page);
	check(ret == -EFAULT, "unmapped tail: %d", ret);
	mmap(p + 17 * page, page, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
	ret = reg_one(a, p + page, 17 * page);
	check(ret == -EFAULT, "read-only tail: %d", ret);
	mprotect(p + 17 * page, page, PROT_READ | PROT_WRITE);
	nothing_left("cannot be pinned");

	/* A child's memory, which outlives it; then a ring that goes with the child */
	pid = fork();
	if (!pid)
		_exit(reg_one(a, p, 100 * page) != 0);
	waitpid(pid, &status, 0);
	check(!status, "a child's memory: %#x", status);
	check(held_as_root() - before == 100, "%lld pins of the child that is gone", held_as_root() - before);
	unreg(a);
	nothing_left("a child's memory");
	pid = fork();
	if (!pid) {
		int c = ring_setup(&params);
		long m = most(c, p, room + 1);

		if (c < 0 || !m || reg_one(c, p, m * page))
			_exit(1);
		kill(getpid(), SIGKILL);
	}
	waitpid(pid, &status, 0);
	check(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL, "a child with a ring: %#x", status);
	while (most(a, p, room + 1) != n && tries++ < 200)
		usleep(10000);
	nothing_left("a child with a ring");
}

static const struct test tests[] = {
#define MIDDLE(n, f, g, w) \
	{ "killed: " n, large, signal_in_the_middle, .flags = f, .gup_flags = g, \
	  .size = 128 * MIB, .what = w, .signal = SIGKILL }, \
	{ "signal: " n, large, signal_in_the_middle, .flags = f, .gup_flags = g, \
	  .size = 32 * MIB, .what = w }
	MIDDLE("pin_user_phyrs", 0, 0, 0),
	MIDDLE("pin_user_phyrs_fast, kept, long", FAST | KEEP, FOLL_LONGTERM, 0),
	MIDDLE("pin_user_phyrs_remote, huge pages", REMOTE, 0, HUGE),
	MIDDLE("direct I/O", DIRECT, 0, 0),
	MIDDLE("registered buffer", REGISTER, 0, 0),
#define SLEEPING(n, f) \
	{ "killed, asleep: " n, sleeping, .flags = f, .size = 2 * MIB, .signal = SIGKILL }, \
	{ "signal, asleep: " n, sleeping, .flags = f, .size = 2 * MIB }
	SLEEPING("pin_user_phyrs_fast", FAST),
	SLEEPING("pin_user_phyrs_remote", REMOTE),
	SLEEPING("direct I/O", DIRECT),
	SLEEPING("registered buffer", REGISTER),
	{ "interruptible, asleep: pin_user_phyrs_remote", sleeping, .flags = REMOTE,
	  .gup_flags = FOLL_INTERRUPTIBLE, .size = 2 * MIB },
	{ "killed, migrating: pin_user_phyrs_fast", migrating, .flags = FAST,
	  .gup_flags = FOLL_LONGTERM, .size = 8 * MIB },

#define KEPT(n, w, f, g) \
	n ", pinned", kept, .flags = f, .gup_flags = g, .size = 8 * MIB, .what = w
	{ KEPT("exit", EXIT, FAST, FOLL_LONGTERM) },
	{ KEPT("killed", KILL, REMOTE, 0), .parent = killer, .signal = SIGKILL },
	{ KEPT("munmap", MUNMAP, 0, 0) },
	{ KEPT("MADV_DONTNEED", DONTNEED, FAST, FOLL_LONGTERM) },
	{ "exit, but the file is open", not_the_last, the_last, .flags = FAST, .size = 8 * MIB },
#define FLIGHT(n, w, u) \
	n, in_flight, .flags = DIRECT, .size = 4 * MIB, .what = w, .uring = u
	{ FLIGHT("exit, in flight: libaio", EXIT, false) },
	{ FLIGHT("killed, in flight: libaio", KILL, false), .parent = killer, .signal = SIGKILL },
	{ FLIGHT("munmap, in flight: libaio", MUNMAP, false) },
	{ FLIGHT("MADV_DONTNEED, in flight: libaio", DONTNEED, false) },
	{ FLIGHT("exit, in flight: io_uring", EXIT, true) },
	{ FLIGHT("killed, in flight: io_uring", KILL, true), .parent = killer, .signal = SIGKILL },
	{ FLIGHT("munmap, in flight: io_uring", MUNMAP, true) },
	{ FLIGHT("MADV_DONTNEED, in flight: io_uring", DONTNEED, true) },

#define OOM(n, c, p, f, g, w) \
	{ n, c, p, .flags = f, .gup_flags = g, .size = 64 * MIB, .what = w, \
	  .signal = SIGKILL, .max = "24M" }
	OOM("OOM kill: pin_user_phyrs", over_the_limit, oom_killed, 0, 0, 0),
	OOM("OOM kill: pin_user_phyrs_fast, long, huge pages", over_the_limit, oom_killed,
	    FAST, FOLL_LONGTERM, HUGE),
	OOM("OOM kill: pin_user_phyrs_remote", over_the_limit, oom_killed, REMOTE, 0, 0),
	OOM("OOM kill: direct I/O", over_the_limit, oom_killed, DIRECT, 0, 0),
	OOM("OOM kill: registered buffer", over_the_limit, oom_killed, REGISTER, 0, 0),
	OOM("OOM kill of the group: pin_user_phyrs_fast", with_another, all_killed, FAST, 0, 0),
#define FULL(n, f, g) \
	{ "cgroup full: " n, not_killed, make_room, .flags = f, .gup_flags = g, \
	  .size = 64 * MIB, .max = "24M" }
	FULL("pin_user_phyrs", 0, 0),
	FULL("pin_user_phyrs_fast, long", FAST, FOLL_LONGTERM),
	FULL("pin_user_phyrs_remote", REMOTE, 0),
	FULL("direct I/O", DIRECT, 0),
	FULL("registered buffer", REGISTER, 0),
	{ "RLIMIT_MEMLOCK: registered buffers", memlock, .flags = REGISTER, .size = 4 * MIB },
};

/*
 * That memory runs out comes with a stack on the console, which is no failure
 * here. Everything else that the kernel says meanwhile goes there as output.
 */
static int quiet(void)
{
	int kmsg = open("/dev/kmsg", O_RDONLY | O_NONBLOCK);

	if (kmsg >= 0) {
		lseek(kmsg, 0, SEEK_END);
		put("/proc/sys/kernel", "printk", "1");
	}
	return kmsg;
}

static void loud(int kmsg, const char *level)
{
	static const char *const part_of_it[] = {
		" ", "CPU: ", "Hardware name: ", "Call Trace:", "RIP: ", "Code: ", "RSP: ",
		"RAX: ", "RDX: ", "RBP: ", "R10: ", "R13: ", "memory: ", "swap: ", "Memory cgroup ",
	};
	char record[8192], *text, *end;
	bool ours = false;
	ssize_t n;

	put("/proc/sys/kernel", "printk", level);
	while ((n = read(kmsg, record, sizeof(record) - 1)) > 0 || (n < 0 && errno == EPIPE)) {
		record[n < 0 ? 0 : n] = 0;
		text = strchr(record, ';');
		if (!text)
			continue;
		end = strchr(++text, '\n');
		if (end)
			*end = 0;
		if (strstr(text, " invoked oom-killer: "))
			ours = true;
		else if (strstr(text, "Out of memory and no killable") || strstr(text, "oom-kill:"))
			ours = false;
		n = strspn(text, "abcdefghijklmnopqrstuvwxyz_");	/* the cgroup's statistics */
		if (ours && n && text[n] == ' ' && strspn(text + n + 1, "0123456789") == strlen(text + n + 1))
			continue;
		for (n = 0; ours && n < (ssize_t)(sizeof(part_of_it) / sizeof(*part_of_it)); n++)
			if (!strncmp(text, part_of_it[n], strlen(part_of_it[n])))
				break;
		if (!ours || n == (ssize_t)(sizeof(part_of_it) / sizeof(*part_of_it)))
			printf("# %s\n", text);
	}
	close(kmsg);
}

static void run(int nr, const struct test *t, const char *level)
{
	long long before = pins(), start = ms(), left;
	int status, kmsg = -1, tries = 0;
	pid_t pid;

	memset(shared, 0, sizeof(*shared));
	if (!(t->flags & (DIRECT | REGISTER)) && no_phyrs) {
		printf("ok %d %s # SKIP no PIN_PHYRS_TEST in this kernel\n", nr, t->name);
		return;
	}
	if (mkdir(group, 0755) || (t->max && !put(group, "memory.max", t->max))) {
		check(false, "%s: %s", group, strerror(errno));
		printf("not ok %d %s\n", nr, t->name);
		return;
	}
	if (t->max)
		kmsg = quiet();
	fflush(stdout);
	pid = fork();
	if (!pid) {
		if (!put(group, "cgroup.procs", "0"))
			check(false, "cgroup.procs: %s", strerror(errno));
		if (t->child != not_the_last) {	/* the file closes with the child */
			close(gup);
			gup = open("/sys/kernel/debug/gup_test", O_RDWR);
		}
		t->child(t);
		fflush(stdout);
		_exit(shared->bad ? 1 : 0);
	}
	if (t->parent)
		t->parent(t, pid);
	waitpid(pid, &status, 0);
	if (!shared->skip)
		check(t->signal ? WIFSIGNALED(status) && WTERMSIG(status) == t->signal :
				  WIFEXITED(status) && !WEXITSTATUS(status), "status %#x", status);
	/* I/O may go on for a while. */
	while ((pins() != before || charged() > (long long)SLACK) && tries++ < 300)
		usleep(10000);
	check(pins() == before, "%lld pins were not released", pins() - before);
	left = charged();
	check(left >= 0 && left < (long long)SLACK, "%lld KiB of memory are left", left / 1024);
	if (kmsg >= 0)
		loud(kmsg, level);
	put(group, "cgroup.kill", "1");	/* who was not killed by a failing test */
	tries = 0;
	while (rmdir(group) && errno == EBUSY && tries++ < 200)
		usleep(10000);
	printf("# %lld ms\n%s %d %s%s\n", ms() - start, shared->bad ? "not ok" : "ok", nr, t->name,
	       shared->skip && !shared->bad ? " # SKIP not in this kernel, or too slow" : "");
}

/* A null_blk device that takes @nsec for each request; -1 if there is none */
static int disk(char *dir, const char *name, const char *nsec)
{
	char path[32];

	snprintf(dir, 64, "/sys/kernel/config/nullb/%s", name);
	if (mkdir(dir, 0755) || !put(dir, "size", "1024") || !put(dir, "irqmode", "2") ||
	    !put(dir, "completion_nsec", nsec) || !put(dir, "power", "1"))
		return -1;
	snprintf(path, sizeof(path), "/dev/%s", name);
	return open(path, O_RDWR | O_DIRECT);
}

static int skip(const char *why)
{
	printf("%s\n", why);
	return 4;
}

int main(void)
{
	const int n = sizeof(tests) / sizeof(*tests);
	char nsec[32], level[64] = "7";
	int bad = 0;
	FILE *f;

	setvbuf(stdout, NULL, _IOLBF, 0);
	page = sysconf(_SC_PAGESIZE);
	shared = mmap(NULL, page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	gup = open("/sys/kernel/debug/gup_test", O_RDWR);
	if (gup < 0)
		return skip("no /sys/kernel/debug/gup_test: not root, or no CONFIG_GUP_TEST");
	mkdir(root, 0755);
	if (mount("none", root, "cgroup2", 0, NULL) || !put(root, "cgroup.subtree_control", "+memory"))
		return skip("no memory controller of cgroup2: CONFIG_MEMCG");
	if (mount("none", "/sys/kernel/config", "configfs", 0, NULL) && errno != EBUSY)
		return skip("no configfs");
	snprintf(nsec, sizeof(nsec), "%d000000", IN_FLIGHT);
	fast_disk = disk(fast_dir, "fast", "1000");
	slow_disk = disk(slow_dir, "slow", nsec);
	if (fast_disk < 0 || slow_disk < 0)
		return skip("no null_blk: CONFIG_BLK_DEV_NULL_BLK");
	f = fopen("/proc/sys/kernel/printk", "r");
	if (f) {
		fgets(level, sizeof(level), f);
		fclose(f);
	}
	put("/proc/sys/vm", "oom_dump_tasks", "0");
	no_phyrs = pin_by(gup, &(struct test){}, shared, page, 0) != (long)page;

	printf("KTAP version 1\n1..%d\n", n);
	for (int i = 0; i < n; i++) {
		run(i + 1, &tests[i], level);
		bad += shared->bad;
	}
	close(fast_disk);
	close(slow_disk);
	rmdir(fast_dir);
	rmdir(slow_dir);
	umount(root);
	return bad ? 1 : 0;
}
