// SPDX-License-Identifier: GPL-2.0
/*
 * dio-dirty  a direct read into a page of a mapped file, from a disk that is
 *            suspended. Meanwhile the page is written back, and then written to
 *            elsewhere: it is dirty when the read ends, but of its blocks only
 *            the other one. What was read has to reach the file.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define BLOCK	1024
#define AT	(3 * BLOCK)	/* where in the page is read to */
#define DMSETUP(what)	system("/sbin/dmsetup --noudevsync " what)

static int disk;
static char *page;
static bool done;

static bool check(bool ok, const char *what)
{
	if (!ok)
		perror(what);
	return ok;
}

static void *reader(void *unused)
{
	(void)unused;
	check(pread(disk, page + AT, BLOCK, 0) == BLOCK, "read");
	__atomic_store_n(&done, true, __ATOMIC_RELEASE);
	return NULL;
}

/* On a file system of small blocks, on /dev/vda */
static int run(const char *type, const char *mkfs)
{
	char buf[BLOCK], was[4096];
	pthread_t thread;
	bool early;
	int file;

	if (system(mkfs) || mount("/dev/vda", "/mnt", type, 0, NULL)) {
		printf("%s: cannot be made\n", type);
		return 1;
	}
	file = open("/mnt/file", O_RDWR | O_CREAT, 0600);
	memset(was, 'w', sizeof(was));
	if (!check(file >= 0 && write(file, was, sizeof(was)) == sizeof(was) && !fsync(file), type))
		return 1;
	page = mmap(NULL, sizeof(was), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
	if (!check(page != MAP_FAILED, "mmap"))
		return 1;

	done = false;
	if (DMSETUP("suspend slow"))
		return 1;
	pthread_create(&thread, NULL, reader, NULL);
	usleep(300000);
	memset(buf, 'o', sizeof(buf));
	if (!check(!fsync(file) && pwrite(file, buf, BLOCK, 0) == BLOCK, "write"))
		return 1;
	early = __atomic_load_n(&done, __ATOMIC_ACQUIRE);
	if (DMSETUP("resume slow"))
		return 1;
	pthread_join(thread, NULL);
	if (early) {
		printf("%s: the disk was not suspended\n", type);
		return 1;
	}

	/* What is on the disk, and not in the page cache */
	munmap(page, sizeof(was));
	fsync(file);
	close(file);
	if (!check(!umount("/mnt") && !mount("/dev/vda", "/mnt", type, 0, NULL), "mount"))
		return 1;
	file = open("/mnt/file", O_RDONLY);
	if (!check(read(file, was, sizeof(was)) == sizeof(was), "read"))
		return 1;
	close(file);
	umount("/mnt");
	if (was[0] != 'o' || was[BLOCK] != 'w' || was[AT] != 'r' || was[AT + BLOCK - 1] != 'r') {
		printf("%s: lost: %c %c %c\n", type, was[0], was[BLOCK], was[AT]);
		return 1;
	}
	printf("%s: what was read is in the file\n", type);
	return 0;
}

int main(void)
{
	char buf[4096] __attribute__((aligned(4096)));
	int ret;

	mkdir("/mnt", 0755);
	if (DMSETUP("create slow --table '0 8 linear /dev/ram0 0'"))
		return 1;
	usleep(200000);
	disk = open("/dev/dm-0", O_RDWR | O_DIRECT);
	memset(buf, 'r', sizeof(buf));
	if (!check(disk >= 0 && pwrite(disk, buf, sizeof(buf), 0) == sizeof(buf), "the disk"))
		return 1;
	ret = run("ext4", "/sbin/mke2fs -q -F -t ext4 -b 1024 /dev/vda");
	ret |= run("xfs", "/sbin/mkfs.xfs -q -f -b size=1024 /dev/vda");
	close(disk);
	DMSETUP("remove slow");
	return ret;
}
