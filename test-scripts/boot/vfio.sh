# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# QEMU's edu and the BAR of an ivshmem device by way of vfio. edu takes 100 ms for a
# transfer: with icount, time passes at once while the guest waits for it. Only VT-d
# remaps interrupts here, which vfio wants if it is not told otherwise.
vfio() { # MACHINE SCENARIO TESTS
	local run=$dir/$1 rc=0
	scripts/kmod "$build/$2" "$tmp/extra" || return 1
	mkdir -p "$run"
	qemu/run -t $((TIMEOUT - 30)) -o "$run" -e "$tmp/extra" \
		-q '-icount shift=1,sleep=off -device edu
			-object memory-backend-ram,id=shm,size=16M,share=on -device ivshmem-plain,memdev=shm' \
		-a 'iommufd.allow_unsafe_interrupts=1 vfio_iommu_type1.allow_unsafe_interrupts=1' \
		"$1" "$2" "$3" >"$run/log" || rc=1
	cat "$run/log"
	cat "$run/verdict.ktap" >>"$dir/ktap"
	return $rc
}
