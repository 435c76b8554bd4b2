# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# The tree's own selftests, in a guest.
kselftest() { # MACHINE SCENARIO TEST,... [ARGUMENTS of qemu/run]...
	local ksft
	ksft=$(scripts/kselftest) || return 1
	mkdir -p "$tmp/extra"
	cp -r "$ksft/tests" "$tmp/extra/ksft"
	qemu/run -t $((TIMEOUT - 20)) -o "$dir" -e "$tmp/extra" -q '-m 4G' "${@:4}" "$1" "$2" "$3" >"$dir/run.log"
	local rc=$?
	cat "$dir/run.log"
	cp "$dir/verdict.ktap" "$dir/ktap"
	return $rc
}
