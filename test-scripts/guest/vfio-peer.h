/* SPDX-License-Identifier: GPL-2.0 */
/*
 * QEMU's ivshmem device by way of vfio: the owner of a BAR that vfio-pci exports
 * as a dma-buf.
 */
#include "edu-vfio.h"

#define IVSHMEM	"0x1110"

/* Of linux/vfio.h, which Debian's is too old for */
#define GET_DMA_BUF	(11 | 1 << 16)
struct get_dma_buf {
	uint32_t argsz, flags;
	uint32_t region, open_flags, zero, nr;
	struct { uint64_t offset, length; } ranges[8];
};

static int peer = -1;
static uint64_t peer_config;
static volatile uint8_t *peer_bar;

/* Off, the BAR is not there, and vfio-pci takes dma-bufs of it away. */
static inline int memory_enable(bool on)
{
	uint16_t command = on ? 6 : 4;

	return pwrite(peer, &command, 2, peer_config + 4) == 2 ? 0 : -1;
}

/* Opened for an iommufd that is open */
static inline int open_peer(void)
{
	struct bind_iommufd bind = { .argsz = sizeof(bind), .iommufd = iommufd };
	struct vfio_region_info bar2 = { .argsz = sizeof(bar2), .index = 2 };
	struct vfio_region_info config = { .argsz = sizeof(config), .index = VFIO_PCI_CONFIG_REGION_INDEX };
	char bdf[64], path[512];
	glob_t g;

	if (find_pci(IVSHMEM, bdf, sizeof(bdf))) {
		printf("no ivshmem device\n");
		return -1;
	}
	bind_driver(bdf);
	snprintf(path, sizeof(path), "/sys/bus/pci/devices/%s/vfio-dev/vfio*", bdf);
	if (glob(path, 0, NULL, &g) || g.gl_pathc != 1)
		return -1;
	snprintf(path, sizeof(path), "/dev/vfio/devices/%s", strrchr(g.gl_pathv[0], '/') + 1);
	peer = open(path, O_RDWR);
	if (peer < 0 || ioctl(peer, BIND_IOMMUFD, &bind) ||
	    ioctl(peer, VFIO_DEVICE_GET_REGION_INFO, &bar2) ||
	    ioctl(peer, VFIO_DEVICE_GET_REGION_INFO, &config))
		return -1;
	peer_config = config.offset;
	if (memory_enable(true))
		return -1;
	peer_bar = mmap(NULL, bar2.size, PROT_READ | PROT_WRITE, MAP_SHARED, peer, bar2.offset);
	return peer_bar == MAP_FAILED ? -1 : 0;
}
