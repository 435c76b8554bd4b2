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

objects_test() { # PATTERN
	local objs o bad=0 n
	need_series && need_check_src || return
	src_checkout "${commits[-1]}" && check_objects all || return
	for o in $check_wanted; do
		grep -qx "$o" "$objects/.config" || { fail "allmodconfig for $check_arch has no $o"; return; }
	done
	mapfile -t objs < <(objects_of_series "$1")
	step "compiling ${#objs[@]} objects for $check_arch"
	compile "$dir/after.log" "${objs[@]}"
	n=$(built "${objs[@]}" | wc -l)
	said "$dir/after.log" | uniq >"$dir/after" || true
	: >"$dir/before"
	if [ -s "$dir/after" ]; then
		src_checkout "$base"
		step "compiling them on the base"
		compile "$dir/before.log" "${objs[@]}"
		said "$dir/before.log" | uniq >"$dir/before" || true
		src_checkout "${commits[-1]}"
	fi
	comm -13 "$dir/before" "$dir/after" >"$dir/new"
	[ ! -s "$dir/new" ] || { cat "$dir/new"; bad=1; }
	note "$check_arch: $n of ${#objs[@]} objects compiled, the others are not in its allmodconfig; $(wc -l <"$dir/new") new warnings, $(wc -l <"$dir/before") old ones"
	[ "$n" -gt 0 ] || { fail "nothing was compiled"; return; }
	[ $bad = 0 ] || fail "new warnings: $(head -n 1 "$dir/new" | cut -c1-160)"
}
