# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# I/O to memory without struct page: RAM that mem= leaves over, and the BAR of an
# ivshmem device. A second NVMe disk has integrity metadata, and has to refuse it;
# in mode "switch" it has none, and is below the same switch as the BAR.
phys_io() { # MACHINE SCENARIO [MODE] [QEMU ARGUMENTS]
	local run=$dir/$1${3:+-$3}${4:+-$(echo "$4" | tr -c 'a-z0-9\n' -)} bar=ivshmem-plain nvme=nvme ns=,ms=8,pi=1 ports='' rc=0
	[ "${3:-}" != switch ] || { ports=$pcie_switch bar=$bar,bus=down1 nvme=$nvme,bus=down2 ns=''; }
	scripts/kmod "$build/$2" "$tmp/extra" || return 1
	mkdir -p "$run"
	truncate -s 64M "$tmp/integrity"
	qemu/run -t $((TIMEOUT - 30)) -o "$run" -e "$tmp/extra" -a 'mem=768M kunit.enable=1 kunit.autorun=1 kunit.filter_glob=phys_io' \
		-q "$ports -object memory-backend-ram,id=bar,size=64M,share=on -device $bar,memdev=bar
			-drive file=$tmp/integrity,if=none,id=integrity,format=raw,cache=unsafe
			-device $nvme,id=pi,serial=pi -device nvme-ns,drive=integrity,bus=pi$ns ${4:-}" \
		"$1" "$2" "phys-io${3:+:$3}" >"$run/log" || rc=1
	cat "$run/log"
	cat "$run/verdict.ktap" >>"$dir/ktap"
	return $rc
}
