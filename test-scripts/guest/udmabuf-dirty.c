// SPDX-License-Identifier: GPL-2.0
/*
 * udmabuf-dirty   what was written through a udmabuf stays in its memfd when the
 *                 udmabuf is gone: nothing else has made the pages dirty, and clean
 *                 ones may be dropped, which is what is asked for here
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/udmabuf.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define SIZE	(1UL << 20)

static uint8_t got[SIZE];

static void die(const char *what)
{
	printf("%s: %s\n", what, strerror(errno));
	exit(1);
}

int main(void)
{
	int memfd = memfd_create("udmabuf-dirty", MFD_ALLOW_SEALING);
	int dev = open("/dev/udmabuf", O_RDWR), drop = open("/proc/sys/vm/drop_caches", O_WRONLY);
	struct udmabuf_create create = { .memfd = memfd, .size = SIZE };
	unsigned long lost = 0;
	uint8_t *p;
	int buf;

	if (memfd < 0 || dev < 0 || drop < 0)
		die("memfd, /dev/udmabuf, drop_caches");
	if (ftruncate(memfd, SIZE) || fcntl(memfd, F_ADD_SEALS, F_SEAL_SHRINK))
		die("memfd");
	buf = ioctl(dev, UDMABUF_CREATE, &create);
	if (buf < 0)
		die("UDMABUF_CREATE");
	p = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED, buf, 0);
	if (p == MAP_FAILED)
		die("mmap");
	memset(p, 0xa5, SIZE);
	munmap(p, SIZE);
	close(buf);

	if (write(drop, "1", 1) != 1)
		die("drop_caches");
	if (pread(memfd, got, SIZE, 0) != SIZE)
		die("pread");
	for (size_t i = 0; i < SIZE; i += 4096)
		lost += got[i] != 0xa5;
	printf("%lu of %lu pages lost\n", lost, SIZE / 4096);
	return lost != 0;
}
