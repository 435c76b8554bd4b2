/* SPDX-License-Identifier: GPL-2.0 */
/* /dev/dmabuf_vmap, for the module and for who uses it. */
#include <linux/ioctl.h>

#define VMAP_SIZE	65536

/* What is exported */
#define VMAP_RAM	0
#define VMAP_BAR	1	/* of ivshmem */
#define VMAP_NONE	2	/* without a mapping for the kernel */
#define VMAP_FAILS	3	/* the mapping fails, with ENOMEM */
#define VMAP_NO_PHYRS	4	/* without physical ranges */

#define VMAP_NEW	_IO('v', 0)	/* takes one of these, returns an fd */
/* These take the fd. EBUSY: it is mapped although nobody may have it mapped */
#define VMAP_MOVE	_IO('v', 1)	/* EIO: it was written where it has been */
#define VMAP_REVOKE	_IO('v', 2)
#define VMAP_UNREVOKE	_IO('v', 3)
#define VMAP_IDLE	_IO('v', 4)	/* is it, or is something attached? */
