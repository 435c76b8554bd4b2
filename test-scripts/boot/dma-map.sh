# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# Random lists of ranges, mapped for QEMU's edu device. What dma_map_sg() makes of
# them is digested by the guest, and has to be what the base makes of them
# (dma-map.digests, which boot/dma-map-on-base compares with the base itself). Where
# redirection by ACS is disabled, edu and its peer are below one switch.
dma_map() { # MACHINE SCENARIO WORDS [OBJECTS SOURCE [GUEST'S TEST BEFORE]]
	local objects=${4:-$build/$2} suites=+dma_map_phyrs_device run=$dir/$1${3:+-$(echo "$3" | tr -c 'a-z0-9\n' -)}${6:+-$6} rc=0
	local ports='' edu=edu,dma_mask=0xffffffffffffffff peer=ivshmem-plain,memdev=shm without=bus
	[ "$2" != arm64 ] || without='\(bus\|p2p\)' # its host bridge is not known to let that pass
	[ -z "${5:-}" ] || suites= # on the base there is no such thing
	case $3 in *disable_acs_redir*) ports=$pcie_switch edu=$edu,bus=down1 peer=$peer,bus=down2 without=p2p ;; esac
	scripts/kmod -s "${5:-$linux}" "$objects" "$tmp/extra" || return 1
	mkdir -p "$run"
	qemu/run -t $((TIMEOUT - 30)) -o "$run" -k "$objects" -e "$tmp/extra" -q "$ports -device $edu
			-object memory-backend-ram,id=shm,size=16M,share=on -device $peer" \
		-a "kunit.enable=1 kunit.autorun=1 kunit.filter_glob=dma_map_*_device swiotlb=force $3" "$1" "$2" \
		"${6:+$6,}module:dma_map_kunit+dma_map_sg_device$suites" >"$run/log" || rc=1
	cat "$run/log"
	cat "$run/verdict.ktap" >>"$dir/ktap"
	[ $rc = 0 ] || return 1
	case $2 in *-debug | ppc64le) return 0 ;; esac # other lists, or not dma-iommu: without a digest
	sed -n '/^digest /p' "$run/console" >"$run/digests"
	grep -v "^digest $without " "$top/test-scripts/boot/dma-map.digests" | diff - "$run/digests" >"$run/diff" ||
		{ fail "$1 $3 ${6:-}: dma_map_sg() does not give what the base gives" "see $run/diff"; return 1; }
	note "$1 $3 ${6:-}: $(tail -n 1 "$run/digests") as on the base"
}
