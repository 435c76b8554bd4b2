// SPDX-License-Identifier: GPL-2.0
/*
 * The dma-buf that IOMMU_TEST_OP_DMABUF_GET makes has to come back as a file
 * descriptor.  Everything in the iommufd selftest that uses a dma-buf depends
 * on it.
 *
 * Run as root with /proc, /sys and /dev mounted.  Exit 0: passed, 1: failed,
 * 4: no CONFIG_IOMMUFD_TEST.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

/* drivers/iommu/iommufd/iommufd_test.h is not exported: what is needed of it */
struct test_cmd {
	uint32_t size;
	uint32_t op;
	uint32_t id;
	uint32_t reserved;
	uint32_t length, open_flags;
	uint64_t room[8];
};

#ifndef OP_DMABUF_GET
#define OP_DMABUF_GET	22
#endif
#define TEST_CMD	_IO(';', 0x80 + 32)

static int fd_count(void)
{
	int fd, n = 0;

	for (fd = 0; fd < 64; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

int main(void)
{
	struct test_cmd cmd = {
		.size = sizeof(cmd),
		.op = OP_DMABUF_GET,
		.length = 4096,
		.open_flags = O_CLOEXEC,
	};
	char path[32], target[64] = "";
	int iommufd, before, fd, bad = 0, i;

	iommufd = open("/dev/iommu", O_RDWR);
	if (iommufd < 0) {
		printf("skip: no /dev/iommu: %s\n", strerror(errno));
		return 4;
	}
	for (i = 0; i < 3; i++) {
		before = fd_count();
		fd = ioctl(iommufd, TEST_CMD, &cmd);
		if (fd < 0 && (errno == ENOTTY || errno == EOPNOTSUPP)) {
			printf("skip: no IOMMU_TEST_OP_DMABUF_GET: %s\n",
			       strerror(errno));
			return 4;
		}
		if (fd < 0) {
			printf("FAIL getting a dma-buf: %s\n", strerror(errno));
			return 1;
		}
		snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
		memset(target, 0, sizeof(target));
		if (readlink(path, target, sizeof(target) - 1) < 0)
			target[0] = 0;
		if (fd_count() != before + 1) {
			printf("FAIL no file descriptor was made\n");
			bad = 1;
		}
		if (!strstr(target, "dmabuf")) {
			printf("FAIL descriptor %d is %s, not a dma-buf\n", fd,
			       target);
			bad = 1;
		} else {
			printf("ok   descriptor %d is %s\n", fd, target);
		}
	}
	/* a bad length must not make one either */
	before = fd_count();
	cmd.length = 0;
	if (ioctl(iommufd, TEST_CMD, &cmd) >= 0 || errno != EINVAL ||
	    fd_count() != before) {
		printf("FAIL a length of 0 was taken\n");
		bad = 1;
	}
	return bad;
}
