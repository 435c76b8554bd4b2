# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# All of test-scripts/guest/storage on one kernel.
storage() { # MACHINE SCENARIO
	local cases=(null_blk brd zram loop dm_linear dm_crypt dm_integrity dm_thin dm_ebs dm_log_writes
		raid1 raid10 raid5 bcache btrfs erofs nbd nfs)
	qemu/run -t $((TIMEOUT - 20)) -o "$dir" "$1" "$2" "uring-fixed,kcm$(printf ",storage:%s" "${cases[@]}")"
	local rc=$?
	cp "$dir/verdict.ktap" "$dir/ktap"
	return $rc
}
