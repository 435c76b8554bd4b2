# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by patch/objects*: compiles, with everything on, all that the series as
# a whole touches, for one architecture, and says what warns that did not before.
. "$top/test-scripts/patch/series.sh"
. "$top/test-scripts/patch/warnings.sh"
TIMEOUT=3600

# objects_of_series [PATTERN]: what it touches, and the C files with PATTERN
objects_of_series() {
	{
		src_git diff --name-only --diff-filter=d "$base" "${commits[-1]}" -- '*.c'
		[ -z "${1:-}" ] || src_git grep -lwE "$1" "${commits[-1]}" -- '*.c' | cut -d: -f2-
	} | grep -vE '^(tools|scripts|samples|Documentation|rust)/' | sed 's/\.c$/.o/' | sort -u
}

# in_config OBJECT: not if its makefile names a symbol that is off, for it or for all it has
in_config() {
	local makefile=$check_src/${1%/*}/Makefile all symbol
	all=$(grep -oE '^obj-\$\(CONFIG_[A-Z0-9_]+' "$makefile" | sort -u)
	[ "$(wc -w <<<"$all")" = 1 ] || all=
	for symbol in ${all#*(} $(grep -E "[[:space:]]${1##*/}([[:space:]]|\$)" "$makefile" | grep -oE 'CONFIG_[A-Z0-9_]+'); do
		grep -qE "^$symbol=[ym]" "$objects/.config" || return
	done
}

objects_test() { # PATTERN
	local objs old=() new=() o bad=0 n
	need_series && need_check_src || return
	src_checkout "${commits[-1]}" && check_objects all || return
	for o in $check_wanted; do
		grep -qx "$o" "$objects/.config" || { fail "allmodconfig for $check_arch has no $o"; return; }
	done
	mapfile -t objs < <(objects_of_series "$1")
	for o in "${objs[@]}"; do
		if src_git cat-file -e "$base:${o%.o}.c" 2>/dev/null; then
			old+=("$o")
		elif in_config "$o"; then
			new+=("$o")
		fi
	done
	# What the base cannot build is of another architecture, or needs what this one has not
	src_checkout "$base"
	step "compiling ${#old[@]} objects of the base for $check_arch"
	compile "$dir/before.log" "${old[@]}"
	said "$dir/before.log" | uniq >"$dir/before" || true
	mapfile -t objs < <(built "${old[@]}")
	objs+=("${new[@]}")
	src_checkout "${commits[-1]}"
	step "compiling ${#objs[@]} objects of the series"
	compile "$dir/after.log" "${objs[@]}"
	said "$dir/after.log" | uniq >"$dir/after" || true
	comm -13 "$dir/before" "$dir/after" >"$dir/new"
	for o in $(unbuilt "${objs[@]}"); do
		echo "$o does not compile" >>"$dir/new"
	done
	[ ! -s "$dir/new" ] || { cat "$dir/new"; bad=1; }
	n=$(built "${objs[@]}" | wc -l)
	note "$check_arch: $n objects compiled, the others are not in its allmodconfig; $(wc -l <"$dir/new") new warnings, $(wc -l <"$dir/before") old ones"
	[ "$n" -gt 0 ] || { fail "nothing was compiled"; return; }
	[ $bad = 0 ] || fail "new warnings: $(head -n 1 "$dir/new" | cut -c1-160)"
}
