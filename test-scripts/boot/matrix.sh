# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# One row of the matrix: a machine with a kernel does verified I/O on all its
# disks, raw and through ext4 and xfs, behind the IOMMU that it should have.
matrix() { # MACHINE SCENARIO [,FURTHER TEST...]
	qemu/run -t $((TIMEOUT - 20)) -o "$dir" "$1" "$2" "identity,iovec,verify:raw,verify:ext4,verify:xfs${3:-}" >"$dir/run.log"
	local rc=$?
	cat "$dir/run.log"
	cp "$dir/verdict.ktap" "$dir/ktap"
	awk -v m="$1" -v k="$2" -v s="$(cat "$dir/seconds")" -v v="$(cat "$dir/verdict")" '
		match($0, /verified_bytes=[0-9]+/) { n += substr($0, RSTART + 15, RLENGTH - 15) }
		match($0, /domain=[A-Za-z-]+/) { d = substr($0, RSTART + 7, RLENGTH - 7) }
		END { printf "%-16s %-13s %-7s %8.0f MiB %5d s  %s\n", m, k, d, n / 1048576, s, v }' "$dir/verdict.ktap" >"$dir/row"
	return $rc
}
