# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Disk I/O to dma-bufs by io_uring: heaps and udmabuf, and with an IOMMU, without
# which there is no vfio, the BAR of an ivshmem device. What QEMU's other IOMMUs
# leave to be wished for interrupts does not matter here.
phys_dmabuf() { # MACHINE SCENARIO TESTS [QEMU ARGUMENTS]
	local run=$dir/$1 rc=0
	scripts/kmod "$build/$2" "$tmp/extra" || return 1
	mkdir -p "$run"
	qemu/run -t $((TIMEOUT - 30)) -o "$run" -e "$tmp/extra" \
		-q '-object memory-backend-ram,id=shm,size=16M,share=on -device ivshmem-plain,memdev=shm,addr=0x11'" ${4:-}" \
		-a 'iommufd.allow_unsafe_interrupts=1 kunit.enable=1 kunit.autorun=1 kunit.filter_glob=none' \
		"$1" "$2" "$3" >"$run/log" || rc=1
	cat "$run/log"
	cat "$run/verdict.ktap" >>"$dir/ktap"
	return $rc
}
