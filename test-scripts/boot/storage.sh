# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# All of test-scripts/guest/storage on one kernel; a second NVMe disk has metadata.
storage() { # MACHINE SCENARIO
	local cases=(null_blk brd zram loop stable_writes dm_linear dm_crypt dm_integrity dm_thin dm_ebs dm_log_writes
		raid1 raid10 raid5 bcache btrfs erofs nbd nfs nvme_fc) ksft
	mkdir -p "$tmp/extra/ksft"
	# ublk's server is the tree's own, and compiled for this architecture only.
	if [[ $2 == x86_64* ]]; then
		ksft=$(scripts/kselftest) || return 1
		cp "$ksft/tests/kublk" "$tmp/extra/ksft"
		cases+=(ublk)
	fi
	truncate -s 64M "$tmp/metadata"
	qemu/run -t $((TIMEOUT - 20)) -o "$dir" -e "$tmp/extra" \
		-q "-drive file=$tmp/metadata,if=none,id=metadata,format=raw,cache=unsafe
			-device nvme,id=nvme1,serial=metadata -device nvme-ns,drive=metadata,bus=nvme1,ms=8" \
		"$1" "$2" "uring-fixed,kcm,nvme-metadata$(printf ",storage:%s" "${cases[@]}")"
	local rc=$?
	cp "$dir/verdict.ktap" "$dir/ktap"
	return $rc
}
