# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# dma-bufs as physical ranges: an exporter that mixes memory and the BAR of an
# ivshmem device, and QEMU's edu as the device of importers. edu takes 100 ms for
# a transfer: with icount, time passes at once while the guest waits for it. With
# $below_switch as words edu and ivshmem are below one switch, and only that is tested.
below_switch='pci=disable_acs_redir=pci:104c:8233 kunit.filter_glob=dmabuf_device.bus_addresses'
dmabuf() { # MACHINE SCENARIO [TESTS [WORDS]]
	local tests=${3:-module:dmabuf_kunit+dmabuf_device,dmabuf-map:import} rc=0 run
	local ports='' edu=edu,dma_mask=0xffffffffffffffff,addr=0x10 peer=ivshmem-plain,memdev=shm,addr=0x11
	[ "${4:-}" != "$below_switch" ] || { ports=$pcie_switch edu=${edu%addr*}bus=down1 peer=${peer%addr*}bus=down2; }
	run=$dir/$1-$(echo "$tests ${4:-}" | tr -c 'a-z0-9\n' - | cut -c1-60)
	scripts/kmod "$build/$2" "$tmp/extra" || return 1
	mkdir -p "$run"
	qemu/run -t $((TIMEOUT - 30)) -o "$run" -e "$tmp/extra" \
		-q "-icount shift=1,sleep=off $ports -device $edu
			-object memory-backend-ram,id=shm,size=16M,share=on -device $peer" \
		-a "kunit.enable=1 kunit.autorun=1 kunit.filter_glob=dmabuf_device ${4:-}" \
		"$1" "$2" "$tests" >"$run/log" || rc=1
	cat "$run/log"
	cat "$run/verdict.ktap" >>"$dir/ktap"
	return $rc
}
