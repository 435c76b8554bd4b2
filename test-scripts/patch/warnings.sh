# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced after series.sh: compiles what a patch touches before and after it,
# with W=1 and sparse, and compares what the two have to say.
#
# Files go into the configuration of a scenario; what that does not build, into
# one with everything on (allmodconfig without the instrumentation that only
# costs time). Warnings are compared without their line numbers.

# check_cross: the prefix of a cross compiler; check_wanted: lines of .config that
# an architecture wants on top; check_unwanted: symbols that must be off for them.
check_arch=x86_64 check_cross='' check_wanted='' check_unwanted=''
# How many users of a header are compiled for each patch that changes it. The
# tests patch/objects* compile all that the series touches, at its end.
check_users=2
# sparse 0.6.4 does not know the word, and the kernel's makefile then quietly
# goes without sparse.
sparse='sparse -D__typeof_unqual__=__typeof__'

check_make() { # FOLDER ARGUMENTS...
	local objects=$1
	shift
	make -s -C "$check_src" O="$objects" ARCH="$check_arch" CROSS_COMPILE="$check_cross" CC="ccache ${check_cross}gcc" HOSTCC='ccache gcc' \
		KBUILD_BUILD_TIMESTAMP=@0 KBUILD_BUILD_USER=phyr KBUILD_BUILD_HOST=phyr W=1 CHECK="$sparse" "$@"
}

# check_objects KIND: sets $objects, configured and ready for single objects
check_objects() {
	local f fragments=()
	objects=$build/check-$check_arch-$1
	mkdir -p "$objects"
	case $1 in
	scenario)
		# shellcheck disable=SC1090
		FRAGMENTS=$(. "$top/config/scenarios/$check_arch" && echo "$FRAGMENTS")
		for f in $FRAGMENTS; do fragments+=("$top/config/$f.config"); done
		for f in $(cd "$check_src" && part_fragments "$check_arch"); do fragments+=("$f"); done
		cat "${fragments[@]}" >"$objects/wanted"
		set -- allnoconfig
		;;
	all)
		printf '# CONFIG_%s is not set\n' WERROR DRM_WERROR KASAN KCSAN KMSAN UBSAN KCOV GCC_PLUGINS GCOV_KERNEL \
			MODULE_SIG DEBUG_INFO_BTF FTRACE RUST $check_unwanted >"$objects/wanted"
		printf '%s\n' CONFIG_DEBUG_INFO_NONE=y $check_wanted >>"$objects/wanted"
		set -- allmodconfig
		;;
	esac
	if ! cmp -s "$objects/wanted" "$objects/configured" || [ ! -e "$objects/ready" ]; then
		rm -f "$objects/ready"
		step "preparing ${objects#"$top"/} (a few minutes, once)"
		logged "$objects/prepare.log" check_make "$objects" KCONFIG_ALLCONFIG="$objects/wanted" "$1" &&
			logged "$objects/prepare.log" check_make "$objects" -j"$jobs" prepare modules_prepare ||
			{ fail "make prepare fails, see ${objects#"$top"/}/prepare.log"; return; }
		cp "$objects/wanted" "$objects/configured"
		cp "$objects/.config" "$objects/ready"
	fi
}

# compile LOG OBJECT...: in $objects; what can be built is built
compile() {
	local log=$1 o
	shift
	: >"$log"
	[ $# -gt 0 ] || return 0
	# Another patch's Kconfig may have dropped a symbol.
	cmp -s "$objects/.config" "$objects/ready" || cp "$objects/ready" "$objects/.config"
	for o; do rm -f "$objects/$o"; done
	logged "$log" check_make "$objects" -k -j"$jobs" C=1 "$@" >/dev/null 2>&1 || true
}

# said LOG...: the warnings, without what moves. sparse 0.6.4 takes every
# MODULE_LICENSE() for a bad constant expression; gcc refuses real ones.
said() {
	cat "$@" | grep -E '(warning|error): |warning: |objtool: ' |
		grep -v -e 'No rule to make target' -e 'error: bad constant expression$' | sed -E 's#^(\.\./)*##; s#:[0-9]+(:[0-9]+)?:#:#g; s#\+0x[0-9a-f]+##g; s#^(.*/)?check-src/##' | sort
}

built() { local o; for o; do [ ! -e "$objects/$o" ] || echo "$o"; done; }
unbuilt() { local o; for o; do [ -e "$objects/$o" ] || echo "$o"; done; }

# touched FROM TO: the objects to look at: of the C files that change, and of
# some users of the headers that change, those first that the series or a KUnit
# test touches.
touched() {
	local f h users includes=$tmp/includes
	{
		src_git diff --name-only --diff-filter=d "$1" "$2" -- '*.c'
		src_git diff --name-only --diff-filter=d "$1" "$2" -- '*.h' >"$tmp/headers"
		# one look at the whole tree, which takes seconds
		[ ! -s "$tmp/headers" ] || src_git grep '^#include ["<]' "$2" -- '*.c' | cut -d: -f2- >"$includes"
		while read -r h; do
			case $h in
			include/uapi/*) f="<${h#include/uapi/}>" ;;
			include/*) f="<${h#include/}>" ;;
			arch/*/include/*) f="<${h#arch/*/include/}>" ;;
			*) f="\"${h##*/}\"" ;;
			esac
			users=$(grep -F ":#include $f" "$includes" | cut -d: -f1)
			case $f in '"'*) users=$(grep "^${h%/*}/" <<<"$users") ;; esac
			grep -Fx "$(src_git diff --name-only "$base" "$(linux_git rev-parse HEAD)" -- '*.c')" <<<"$users" | head -n $check_users
			grep kunit <<<"$users" | head -n 1
			grep -E '^(block|mm|lib|kernel|drivers/(iommu|dma-buf|base|nvme))/' <<<"$users" | head -n 1
		done <"$tmp/headers"
	} | grep -vE '^(tools|scripts|samples|Documentation)/' | sed 's/\.c$/.o/' | sort -u
}

# What else than the scenario's configuration there is; empty: nothing, and what
# the scenario does not build is counted in $uncompiled.
check_rest=all

compiled=0 last_commit='' last_objects='' last_log=''
# warnings_delta COMMIT NAME [FROM]: fails, and says which, if the commit adds
# warnings, or the commits after FROM up to it
warnings_delta() {
	local bad=0 objs new='' old='' later rest o log=$dir/$2 from=${3:-$1^}
	mkdir -p "$log"
	mapfile -t objs < <(touched "$from" "$1")
	for o in "${objs[@]}"; do
		if src_git cat-file -e "$from:${o%.o}.c" 2>/dev/null; then old="$old $o"; else new="$new $o"; fi
	done
	# shellcheck disable=SC2086,SC2046 # lists of words from here on
	{
		src_checkout "$from" && check_objects scenario || return
		# The state after one patch is that before the next.
		if [ "$(src_git rev-parse "$from")" = "$last_commit" ] && [ "$old" = "$last_objects" ]; then
			cp "$last_log" "$log/scenario.before"
		else
			compile "$log/scenario.before" $old
		fi
		later=$(unbuilt $old)
		old=$(built $old)
		if [ -n "$later" ]; then
			rest=$later
			if [ -n "$check_rest" ]; then
				check_objects all || return
				compile "$log/all.before" $later
				rest=$(unbuilt $later)
				later=$(built $later)
			else
				later=
			fi
			for o in $rest; do
				uncompiled="$uncompiled ${o%.o}.c"
			done
		fi
		src_checkout "$1" && check_objects scenario || return
		compile "$log/scenario.after" $old $new
		last_commit=$(src_git rev-parse "$1") last_log=$log/scenario.after
		last_objects=$(printf ' %s' $(printf '%s\n' $old $new | sort))
		for o in $(unbuilt $old); do
			note "$2 breaks $o: $(grep -m1 -E 'error: ' "$log/scenario.after" || tail -n 1 "$log/scenario.after")"
			bad=1
		done
		rest=$(unbuilt $new)
		[ -n "$check_rest" ] || { uncompiled="$uncompiled $rest"; rest=; }
		compiled=$((compiled + $(built $old $new | wc -l)))
		if [ -n "$later$rest" ]; then
			check_objects all || return
			compile "$log/all.after" $later $rest
			for o in $(unbuilt $later $rest); do
				note "$2 breaks $o: $(grep -m1 -E 'error: ' "$log/all.after" || tail -n 1 "$log/all.after")"
				bad=1
			done
			compiled=$((compiled + $(built $later $rest | wc -l)))
			# A new file that the scenario could not build has been judged by the other.
			for o in $rest; do
				sed -i "\#${o%.o}\.c:#d" "$log/scenario.after"
				last_commit=''
			done
		fi
	}
	if grep -h -m1 'but sparse.* is not available' "$log"/*; then
		fail "the kernel's makefile refuses this sparse"
		return
	fi
	for o in scenario all; do
		[ -e "$log/$o.after" ] || continue
		said "$log/$o.before" >"$log/$o.said.before" 2>/dev/null || true
		said "$log/$o.after" >"$log/$o.said.after" || true
		comm -13 "$log/$o.said.before" "$log/$o.said.after" >"$log/$o.new"
		[ -s "$log/$o.new" ] || continue
		cat "$log/$o.new"
		note "$2 adds $(wc -l <"$log/$o.new") warnings: $(head -n 1 "$log/$o.new" | cut -c1-160)"
		bad=1
	done
	[ $bad = 0 ] || note "  mend: correct it, then make export; the logs are in ${log#"$top"/}"
	return $bad
}
