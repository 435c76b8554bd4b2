// SPDX-License-Identifier: GPL-2.0
/*
 * nvme-metadata  hands reads and writes with metadata of their own through to an
 *                NVMe disk that keeps 8 bytes for each block: from anywhere in a
 *                page and over several, data and metadata have to come back, also
 *                where the metadata is refused; and no pin is left.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/nvme_ioctl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>
#include "pins.h"

#define PAGE	4096
#define BLOCK	512
#define MAX	512			/* blocks */
#define META	(8 * MAX)

static int disk = -1, bad;

#define FAIL(...) do { printf(__VA_ARGS__); putchar('\n'); bad = 1; } while (0)

static int submit(bool write, void *data, void *meta, unsigned int blocks, uint64_t at)
{
	struct nvme_user_io io = {
		.opcode = write ? 1 : 2, .nblocks = blocks - 1, .slba = at,
		.addr = (uintptr_t)data, .metadata = (uintptr_t)meta,
	};
	int ret = ioctl(disk, NVME_IOCTL_SUBMIT_IO, &io);

	return ret < 0 ? -errno : ret;
}

static void fill(uint8_t *p, size_t len, unsigned int seed)
{
	for (size_t i = 0; i < len; i++)
		p[i] = rand_r(&seed) >> 8;
}

static void *map(size_t len, int flags)
{
	void *p = mmap(NULL, len, PROT_READ | PROT_WRITE, MAP_ANONYMOUS | flags, -1, 0);

	if (p == MAP_FAILED)
		exit(1);
	return p;
}

/* The disk whose blocks have 8 bytes of metadata */
static int find(void)
{
	char path[96], size[16] = "";
	int fd, ret = -1;

	for (int i = 0; i < 8 && ret < 0; i++) {
		snprintf(path, sizeof(path), "/sys/block/nvme%dn1/metadata_bytes", i);
		fd = open(path, O_RDONLY);
		if (fd < 0)
			continue;
		if (read(fd, size, sizeof(size) - 1) > 0 && atoi(size) == 8) {
			snprintf(path, sizeof(path), "/dev/nvme%dn1", i);
			ret = open(path, O_RDWR);
		}
		close(fd);
	}
	return ret;
}

int main(void)
{
	/* Above 512 bytes of metadata QEMU 7.2 loses what is no multiple of that. */
	static const unsigned int counts[] = { 1, 2, 7, 64, 128, 320, MAX };
	static const size_t offsets[] = { 0, 4, 512, PAGE - 8, PAGE - 4, PAGE - 2000 };
	uint8_t *data = map(MAX * BLOCK, MAP_PRIVATE), *data2 = map(MAX * BLOCK, MAP_PRIVATE);
	uint8_t *meta2 = map(META, MAP_PRIVATE), *meta[2], *hole;
	unsigned int i, j, k, n = 0;
	long long before = pins();

	disk = find();
	if (disk < 0) {
		printf("no NVMe disk with metadata\n");
		return 1;
	}
	meta[0] = map(META + 2 * PAGE, MAP_PRIVATE);
	meta[1] = map(META + 2 * PAGE, MAP_SHARED);
	/* From the last page to the first, so that they seldom are contiguous */
	for (k = 0; k < 2; k++)
		for (i = (META + 2 * PAGE) / PAGE; i--; )
			meta[k][i * PAGE] = 1;
	for (i = 0; i < sizeof(counts) / sizeof(*counts); i++) {
		for (j = 0; j < sizeof(offsets) / sizeof(*offsets); j++) {
			for (k = 0; k < 2; k++, n++) {
				unsigned int blocks = counts[i], at = 1000 * n;
				uint8_t *m = meta[k] + offsets[j];
				int ret;

				fill(data, blocks * BLOCK, n);
				fill(m, blocks * 8, ~n);
				memcpy(data2, data, blocks * BLOCK);
				memcpy(meta2, m, blocks * 8);
				ret = submit(true, data, m, blocks, at);
				if (ret)
					FAIL("%u blocks, metadata at %zu: write: %d", blocks, offsets[j], ret);
				memset(data, 0, blocks * BLOCK);
				memset(meta[k], 0x77, META + 2 * PAGE);
				ret = submit(false, data, m, blocks, at);
				if (ret)
					FAIL("%u blocks, metadata at %zu: read: %d", blocks, offsets[j], ret);
				if (memcmp(data, data2, blocks * BLOCK))
					FAIL("%u blocks: other data", blocks);
				if (memcmp(m, meta2, blocks * 8))
					FAIL("%u blocks, metadata at %zu: other metadata", blocks, offsets[j]);
				for (size_t b = 0; b < META + 2 * PAGE; b++)
					if ((meta[k] + b < m || meta[k] + b >= m + blocks * 8) && meta[k][b] != 0x77) {
						FAIL("%u blocks, metadata at %zu: byte %zu was written", blocks,
						     offsets[j], b);
						break;
					}
			}
		}
	}
	printf("%u writes and reads with metadata\n", n);

	hole = map(3 * PAGE, MAP_PRIVATE);
	munmap(hole + PAGE, PAGE);
	mprotect(hole + 2 * PAGE, PAGE, PROT_READ);
	if (submit(false, data, hole + PAGE, 8, 0) != -EFAULT)
		FAIL("metadata to nowhere");
	if (submit(true, data, hole + PAGE - 64, 64, 0) != -EFAULT)
		FAIL("metadata from a page and a hole");
	if (submit(false, data, hole + 2 * PAGE, 8, 0) != -EFAULT)
		FAIL("metadata to memory that is read-only");
	if (submit(false, hole + PAGE, meta[0], 8, 0) != -EFAULT)
		FAIL("data to nowhere");
	if (submit(false, data, meta[0] + 2, 8, 0) != -EINVAL)
		FAIL("metadata that is not aligned");
	if (pins() != before)
		FAIL("%lld pins are left", pins() - before);
	return bad;
}
