# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# RDMA memory regions: for a device with DMA, which is edu, and by verbs on the
# devices of software. Part of the memory may not be pinned for long
# (movablecore=), so that pages have to be migrated first.
rdma() { # MACHINE SCENARIO TESTS
	local run=$dir/$1 rc=0
	scripts/kmod "$build/$2" "$tmp/extra" || return 1
	case $3 in
	*rdma-dmabuf*)
		need libibverbs-dev || return 1
		gcc -std=gnu11 -O2 -Wall -Wextra -Werror -Wno-unused-result -pthread -o "$tmp/extra/rdma-dmabuf" \
			test-scripts/guest/rdma-dmabuf.c -libverbs || return 1
		;;
	esac
	mkdir -p "$run"
	qemu/run -t $((TIMEOUT - 30)) -o "$run" -e "$tmp/extra" -q '-m 2G -device edu,dma_mask=0xffffffffffffffff
			-object memory-backend-ram,id=shm,size=16M,share=on -device ivshmem-plain,memdev=shm' \
		-a 'movablecore=512M' "$1" "$2" "$3" >"$run/log" || rc=1
	cat "$run/log"
	cat "$run/verdict.ktap" >>"$dir/ktap"
	return $rc
}
