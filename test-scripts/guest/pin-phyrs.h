/* SPDX-License-Identifier: GPL-2.0 */
/* Pinning by /sys/kernel/debug/gup_test, as in the tree's mm/gup_test.h */
#include <stdint.h>
#include <sys/ioctl.h>

#define FOLL_WRITE	0x1
#define FOLL_LONGTERM	0x100

struct pin_phyrs_test {
	uint64_t get_usec, put_usec, addr, size, pinned, max_len, split;
	uint64_t ranges, contents;
	uint32_t max_ranges, nr_ranges, gup_flags, flags;
};
#define PIN_PHYRS_TEST	_IOWR('g', 10, struct pin_phyrs_test)
#define PIN_PHYRS_STOP	_IO('g', 11)
/* flags */
#define FAST		1
#define REMOTE		2
#define SPLIT		8
#define KEEP		16
