# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# The reproducers of part 00a-fixes: an out-of-tree KUnit module for what needs
# a device behind an IOMMU, and guest programs.
#   edu       QEMU's DMA engine, the device that maps
#   ivshmem   a BAR without struct page, the peer-to-peer memory
fixes_devices='-device edu,dma_mask=0xffffffffffffffff,addr=0x10
	-object memory-backend-ram,id=shm,size=16M,share=on -device ivshmem-plain,memdev=shm,addr=0x11'
fixes_module=module:dma_kunit+dma_iova_device+dma_buf_mapping_device
fixes_words='kunit.enable=1 kunit.autorun=1 kunit.filter_glob=dma_*_device'

fixes() { # MACHINE SCENARIO WORDS TESTS [OBJECTS SOURCE]
	local objects=${5:-$build/$2} rc
	scripts/kmod -s "${6:-$linux}" "$objects" "$tmp/extra" || return 1
	qemu/run -t $((TIMEOUT - 30)) -o "$dir" -k "$objects" -e "$tmp/extra" -q "$fixes_devices" \
		-a "$fixes_words $3" "$1" "$2" "$4" >"$dir/run.log"
	rc=$?
	cat "$dir/run.log"
	cp "$dir/verdict.ktap" "$dir/ktap"
	return $rc
}
