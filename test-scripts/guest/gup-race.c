// SPDX-License-Identifier: GPL-2.0
/*
 * gup-race:DISK[:SECONDS]  pins of physical ranges and direct I/O, while the same
 *                          memory is forked, written to, split, collapsed,
 *                          migrated and unmapped. Direct I/O has to transfer the
 *                          right data; in the end as many pins were released as
 *                          taken, and huge pages were split and pages migrated.
 *                          What else goes wrong, the kernel has to tell.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "pin-phyrs.h"
#include "pins.h"

#define MIB		(1024UL * 1024)
#define HUGE		(2 * MIB)
#define AREA		(8 * MIB)
#define IO		(1 * MIB)	/* of the disk, for each thread */

static char *area[2];		/* [0]: its contents matter; [1]: anything goes */
static int gup, disk, splitter;
static atomic_bool stop;
static atomic_ulong pinned, refused, ios, wild_ios, forks, disturbed;
static atomic_int failed;

static unsigned long rnd(unsigned int *seed)
{
	return ((unsigned long)rand_r(seed) << 20) ^ rand_r(seed);
}

static char *map_at(char *where)
{
	char *p = mmap(where, where ? AREA : AREA + HUGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS | (where ? MAP_FIXED : 0), -1, 0);

	if (p == MAP_FAILED)
		return NULL;
	if (!where)
		p = (char *)(((uintptr_t)p + HUGE - 1) & ~(HUGE - 1));
	madvise(p, AREA, MADV_HUGEPAGE);
	return p;
}

/* Any range of any area, for reading or writing, by any variant */
static void *pin(void *arg)
{
	unsigned int seed = (uintptr_t)arg;

	while (!stop) {
		struct pin_phyrs_test t = {
			.max_ranges = 1 + rnd(&seed) % 512,
			.max_len = rnd(&seed) % 2 ? 0 : 4096 + rnd(&seed) % HUGE,
			.split = 1 + rnd(&seed) % 20000,
			.flags = (rnd(&seed) % 2 ? SPLIT : 0) | rnd(&seed) % 3,
			.gup_flags = rnd(&seed) % 2 ? FOLL_WRITE : 0,
		};
		size_t at = rnd(&seed) % AREA;

		t.addr = (uintptr_t)area[rnd(&seed) % 2] + at;
		t.size = 1 + rnd(&seed) % (AREA - at);
		if (rnd(&seed) % 4 == 0)
			t.gup_flags |= FOLL_LONGTERM;
		if (!ioctl(gup, PIN_PHYRS_TEST, &t)) {
			pinned++;
		} else if (errno == EFAULT || errno == ENOMEM || errno == EAGAIN || errno == EBUSY) {
			refused++;
		} else {
			perror("pin_user_phyrs");
			failed = 1;
		}
	}
	return NULL;
}

/* A part of the first area, and of the disk, that only this thread uses */
static void *io(void *arg)
{
	size_t n = (uintptr_t)arg;
	unsigned int seed = n + 77;
	char *buf = area[0] + n * IO;
	char *copy = malloc(IO);

	while (!stop && copy) {
		size_t at = rnd(&seed) % (IO / 512) * 512;
		size_t len = 512 + rnd(&seed) % ((IO - at) / 512) * 512;
		off_t pos = n * IO + at;

		if (at + len > IO)
			len = IO - at;
		for (size_t i = 0; i < len; i += 8)
			*(uint64_t *)(buf + at + i) = rnd(&seed) * 0x9e3779b97f4a7c15;
		memcpy(copy, buf + at, len);
		if (pwrite(disk, buf + at, len, pos) != (ssize_t)len) {
			perror("write");
			failed = 1;
			break;
		}
		memset(buf + at, 0x5a, len);
		if (pread(disk, buf + at, len, pos) != (ssize_t)len) {
			perror("read");
			failed = 1;
			break;
		}
		if (memcmp(buf + at, copy, len)) {
			printf("thread %zu: %zu bytes at %zu are wrong\n", n, len, at);
			failed = 1;
			break;
		}
		ios++;
	}
	free(copy);
	return NULL;
}

/* Direct I/O with memory that is unmapped at any time, and what comes of it */
static void *wild(void *arg)
{
	unsigned int seed = (uintptr_t)arg;

	while (!stop) {
		size_t at = rnd(&seed) % (AREA / 512) * 512;
		size_t len = 512 + rnd(&seed) % ((AREA - at) / 512) * 512;
		bool write = rnd(&seed) % 2;
		ssize_t n;

		if (len > IO)
			len = IO;
		if (at + len > AREA)
			len = AREA - at;
		n = write ? pwrite(disk, area[1] + at, len, 8 * IO) : pread(disk, area[1] + at, len, 8 * IO);
		if (n < 0 && errno != EFAULT && errno != ENOMEM) {
			perror(write ? "wild write" : "wild read");
			failed = 1;
		}
		wild_ios += n > 0;
	}
	return NULL;
}

static void *forker(void *arg)
{
	unsigned int seed = (uintptr_t)arg;

	while (!stop) {
		pid_t child = fork();

		if (!child) {
			/* Writes to what it shares; never to the parent's. */
			for (int i = 0; i < 64; i++) {
				volatile char *p = area[0] + rnd(&seed) % AREA;

				*p = i;
			}
			_exit(0);
		}
		if (child > 0) {
			waitpid(child, NULL, 0);
			forks++;
		}
		usleep(rnd(&seed) % 3000);
	}
	return NULL;
}

/* To the first area only what leaves its contents as they are */
static void *disturb(void *arg)
{
	unsigned int seed = (uintptr_t)arg;
	char command[96];
	FILE *f;

	while (!stop) {
		char *p = area[rnd(&seed) % 2] + rnd(&seed) % (AREA / HUGE) * HUGE;
		char *q = area[1] + rnd(&seed) % (AREA / 4096) * 4096;
		size_t room = area[1] + AREA - q, len;

		switch (rnd(&seed) % 8) {
		case 0:
			snprintf(command, sizeof(command), "%d,0x%lx,0x%lx", getpid(),
				 (unsigned long)p, (unsigned long)p + HUGE);
			if (splitter >= 0 && write(splitter, command, strlen(command)) < 0)
				break;
			break;
		case 1:
			madvise(p, HUGE, 25 /* MADV_COLLAPSE */);
			break;
		case 2:
			f = fopen("/proc/sys/vm/compact_memory", "w");
			if (f) {
				fputs("1\n", f);
				fclose(f);
			}
			break;
		case 3:
			mprotect(p, HUGE, PROT_READ | PROT_WRITE | PROT_EXEC);
			mprotect(p, HUGE, PROT_READ | PROT_WRITE);
			break;
		case 4:
			len = 4096 * (1 + rnd(&seed) % 512);
			madvise(q, len < room ? len : room, MADV_DONTNEED);
			break;
		case 5:
			map_at(area[1]);
			break;
		case 6:
			len = 4096 * (1 + rnd(&seed) % 64);
			munmap(q, len < room ? len : room);
			break;
		case 7:
			len = 4096 * (1 + rnd(&seed) % 64);
			mprotect(q, len < room ? len : room, PROT_READ);
			break;
		}
		disturbed++;
	}
	return NULL;
}

static unsigned long event(const char *name)
{
	unsigned long n = 0, value;
	char line[128], key[64];
	FILE *f = fopen("/proc/vmstat", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "%63s %lu", key, &value) == 2 && !strcmp(key, name))
			n = value;
	if (f)
		fclose(f);
	return n;
}

int main(int argc, char **argv)
{
	void *(*const threads[])(void *) = { io, io, io, io, wild, pin, pin, forker, disturb };
	unsigned long splits = event("thp_split_page"), migrations = event("pgmigrate_success");
	pthread_t id[sizeof(threads) / sizeof(*threads)];
	long long before = pins();
	int seconds = 10;
	char path[64], *arg;

	if (argc < 2)
		return 2;
	arg = strchr(argv[1], ':');
	if (arg) {
		*arg = 0;
		seconds = atoi(arg + 1);
	}
	snprintf(path, sizeof(path), "/dev/%s", argv[1]);
	disk = open(path, O_RDWR | O_DIRECT);
	gup = open("/sys/kernel/debug/gup_test", O_RDWR);
	if (disk < 0 || gup < 0) {
		perror(disk < 0 ? path : "/sys/kernel/debug/gup_test");
		return 1;
	}
	splitter = open("/sys/kernel/debug/split_huge_pages", O_WRONLY);
	if (splitter < 0)
		printf("no split_huge_pages\n");

	for (int i = 0; i < 2; i++) {
		area[i] = map_at(NULL);
		if (!area[i])
			return 1;
	}
	for (size_t i = 0; i < sizeof(threads) / sizeof(*threads); i++)
		if (pthread_create(&id[i], NULL, threads[i], (void *)i))
			return 1;
	/* By the clock: so many sleeps of a second take longer on a busy machine */
	for (time_t end = time(NULL) + seconds; time(NULL) < end && !failed; )
		sleep(1);
	stop = true;
	for (size_t i = 0; i < sizeof(threads) / sizeof(*threads); i++)
		pthread_join(id[i], NULL);

	splits = event("thp_split_page") - splits;
	migrations = event("pgmigrate_success") - migrations;
	printf("%lu pinned, %lu refused, %lu I/Os verified, %lu wild ones, %lu forks, %lu times disturbed, "
	       "%lu huge pages split, %lu pages migrated\n",
	       pinned, refused, ios, wild_ios, forks, disturbed, splits, migrations);
	for (int i = 0; i < 2; i++)
		munmap(area[i], AREA);
	usleep(200000);
	if (pins() != before) {
		printf("%lld pins were not released\n", pins() - before);
		failed = 1;
	}
	return failed || !pinned || !ios || !wild_ios || !forks || !splits || !migrations;
}
