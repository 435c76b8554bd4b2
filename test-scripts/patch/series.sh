# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by the tests of this folder: the series as commits, and a kernel tree
# of their own to put them into.

check_src=$build/check-src

# need_series: linux/ is the series; $base, $commits[] and $patches[] say how.
need_series() {
	scripts/tree || return
	base=$(linux_state base)
	mapfile -t commits < <(linux_git rev-list --reverse "$base..HEAD")
	mapfile -t patches < <(series_patches)
	[ ${#patches[@]} -gt 0 ] || { fail "series names no patch"; return; }
	[ ${#patches[@]} = ${#commits[@]} ] ||
		{ fail "series has ${#patches[@]} patches, linux/ ${#commits[@]} commits; mend: make tree"; return; }
}

src_git() { git -C "$check_src" -c advice.detachedHead=false "$@"; }

# need_check_src: a clone with files, so that linux/ stays as it is. It borrows
# linux/'s objects and is thrown away when those are gone.
need_check_src() {
	local common
	common=$(linux_git rev-parse --path-format=absolute --git-common-dir)
	if [ "$(cat "$check_src/.git/objects/info/alternates" 2>/dev/null)" != "$common/objects" ] ||
		! src_git rev-parse -q --verify HEAD >/dev/null 2>&1; then
		step "making a kernel tree for the checks (about 20 s)"
		need_space 6 "$build"
		rm -rf "$check_src"
		mkdir -p "$build"
		git clone -q --shared --no-checkout "$linux" "$check_src" || return
		src_git config core.fsync none
	fi
	rm -f "$check_src/.git/index.lock"
	src_git fetch -q "$linux" HEAD || return
	src_checkout "$base"
}

# src_checkout COMMIT: only the files that differ are written, so that make
# builds only what depends on them.
src_checkout() {
	src_git reset -q --hard 2>/dev/null
	src_git clean -q -fdx || return
	src_git checkout -q -f --detach "$1"
}
