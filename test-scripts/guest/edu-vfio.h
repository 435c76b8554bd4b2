/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's edu device by way of vfio: memory is mapped for it by type1 or iommufd,
 * and it copies between that and a buffer of its own.
 */
#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <linux/vfio.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#define EDU	"0x11e8"

/* linux/vfio.h and linux/iommufd.h, which Debian's are too old for */
struct bind_iommufd { uint32_t argsz, flags; int32_t iommufd; uint32_t out_devid; };
struct attach { uint32_t argsz, flags, pt_id; };
struct ioas_alloc { uint32_t size, flags, out_ioas_id; };
struct ioas_map { uint32_t size, flags, ioas_id, reserved; uint64_t user_va, length, iova; };
struct ioas_unmap { uint32_t size, ioas_id; uint64_t iova, length; };
#define BIND_IOMMUFD	_IO(VFIO_TYPE, VFIO_BASE + 18)
#define ATTACH_PT	_IO(VFIO_TYPE, VFIO_BASE + 19)
#define IOAS_ALLOC	_IO(';', 0x81)
#define IOAS_MAP	_IO(';', 0x85)
#define IOAS_UNMAP	_IO(';', 0x86)
#define MAP_FIXED_RW	7		/* fixed IOVA, writeable, readable */

static int container = -1, group, iommufd = -1, device;
static uint32_t ioas;
static volatile uint8_t *bar;

static inline int put(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY), ret;

	if (fd < 0)
		return -1;
	ret = write(fd, text, strlen(text));
	close(fd);
	return ret < 0 ? -1 : 0;
}

/* The PCI device with this device ID */
static inline int find_pci(const char *id, char *bdf, size_t size)
{
	glob_t devices;
	char line[16];

	if (glob("/sys/bus/pci/devices/*", 0, NULL, &devices))
		return -1;
	for (size_t i = 0; i < devices.gl_pathc; i++) {
		char path[512];
		FILE *f;
		bool found;

		snprintf(path, sizeof(path), "%s/device", devices.gl_pathv[i]);
		f = fopen(path, "r");
		found = f && fgets(line, sizeof(line), f) && !strncmp(line, id, 6);
		if (f)
			fclose(f);
		if (found) {
			snprintf(bdf, size, "%s", strrchr(devices.gl_pathv[i], '/') + 1);
			return 0;
		}
	}
	return -1;
}

static inline int open_type1(const char *bdf)
{
	char path[512], link[512];
	ssize_t n;

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/iommu_group", bdf);
	n = readlink(path, link, sizeof(link) - 1);
	if (n < 0)
		return -1;
	link[n] = 0;
	snprintf(path, sizeof(path), "/dev/vfio/%s", strrchr(link, '/') + 1);
	container = open("/dev/vfio/vfio", O_RDWR);
	group = open(path, O_RDWR);
	if (container < 0 || group < 0 ||
	    ioctl(group, VFIO_GROUP_SET_CONTAINER, &container) ||
	    ioctl(container, VFIO_SET_IOMMU, VFIO_TYPE1v2_IOMMU))
		return -1;
	device = ioctl(group, VFIO_GROUP_GET_DEVICE_FD, bdf);
	return device < 0 ? -1 : 0;
}

static inline int open_iommufd(void)
{
	struct bind_iommufd bind = { .argsz = sizeof(bind) };
	struct attach attach = { .argsz = sizeof(attach) };
	struct ioas_alloc alloc = { .size = sizeof(alloc) };

	iommufd = open("/dev/iommu", O_RDWR);
	device = open("/dev/vfio/devices/vfio0", O_RDWR);
	if (iommufd < 0 || device < 0)
		return -1;
	bind.iommufd = iommufd;
	if (ioctl(device, BIND_IOMMUFD, &bind) || ioctl(iommufd, IOAS_ALLOC, &alloc))
		return -1;
	ioas = attach.pt_id = alloc.out_ioas_id;
	return ioctl(device, ATTACH_PT, &attach);
}

static inline int map(void *p, size_t len, uint64_t iova)
{
	if (iommufd >= 0) {
		struct ioas_map m = { .size = sizeof(m), .flags = MAP_FIXED_RW,
			.ioas_id = ioas, .user_va = (uintptr_t)p, .length = len, .iova = iova };

		return ioctl(iommufd, IOAS_MAP, &m);
	} else {
		struct vfio_iommu_type1_dma_map m = { .argsz = sizeof(m),
			.flags = VFIO_DMA_MAP_FLAG_READ | VFIO_DMA_MAP_FLAG_WRITE,
			.vaddr = (uintptr_t)p, .iova = iova, .size = len };

		return ioctl(container, VFIO_IOMMU_MAP_DMA, &m);
	}
}

static inline int unmap(size_t len, uint64_t iova)
{
	if (iommufd >= 0) {
		struct ioas_unmap u = { .size = sizeof(u), .ioas_id = ioas, .iova = iova, .length = len };

		return ioctl(iommufd, IOAS_UNMAP, &u) || u.length != len;
	} else {
		struct vfio_iommu_type1_dma_unmap u = { .argsz = sizeof(u), .iova = iova, .size = len };

		return ioctl(container, VFIO_IOMMU_UNMAP_DMA, &u) || u.size != len;
	}
}

static inline void bind_driver(const char *bdf)
{
	char path[512];

	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/driver_override", bdf);
	put(path, "vfio-pci");
	put("/sys/bus/pci/drivers/vfio-pci/bind", bdf);	/* fails the second time */
}

static inline int open_bar(void)
{
	struct vfio_region_info info = { .argsz = sizeof(info), .index = VFIO_PCI_BAR0_REGION_INDEX };
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	uint16_t command = 6;	/* memory, bus master */

	if (ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &info) ||
	    ioctl(device, VFIO_DEVICE_GET_REGION_INFO, &config) ||
	    pwrite(device, &command, 2, config.offset + 4) != 2)
		return -1;
	bar = mmap(NULL, info.size, PROT_READ | PROT_WRITE, MAP_SHARED, device, info.offset);
	return bar == MAP_FAILED ? -1 : 0;
}

#define CHUNK	2048	/* edu aborts on all of its 4096 bytes at once */

/* Has the device copy a chunk between its buffer and @iova. */
static inline int dma(uint64_t iova, bool to_memory)
{
	*(volatile uint64_t *)(bar + 0x80) = to_memory ? 0x40000 : iova;
	*(volatile uint64_t *)(bar + 0x88) = to_memory ? iova : 0x40000;
	*(volatile uint64_t *)(bar + 0x90) = CHUNK;
	*(volatile uint64_t *)(bar + 0x98) = 1 | (to_memory ? 2 : 0);
	for (int i = 0; i < 2000; i++) {
		if (!(*(volatile uint64_t *)(bar + 0x98) & 1))
			return 0;
		usleep(1000);
	}
	return -1;
}
