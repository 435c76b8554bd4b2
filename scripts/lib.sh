# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced by every script here: where things are, how progress and failures are
# told, and how missing tools are installed.

set -euo pipefail
export LC_ALL=C TZ=UTC
umask 022

top=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
cache=${PHYR_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/phyr}
linux=$top/linux
# shellcheck disable=SC2034 # used by those who source this
build=$top/build results=$top/results out=$top/out

# The user's git configuration must not reach a commit or a patch.
export GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_NOSYSTEM=1
# shellcheck disable=SC2046
unset $(git rev-parse --local-env-vars 2>/dev/null) GIT_EDITOR GIT_PAGER GIT_DIFF_OPTS GIT_EXTERNAL_DIFF 2>/dev/null || true
phyr_name='phyr developers' phyr_email=phyr@localhost

export CCACHE_DIR=$cache/ccache CCACHE_MAXSIZE=${CCACHE_MAXSIZE:-10G}
# Two clones of this repository share their compilations. The list of headers is the
# compiler's: to preprocess first makes what is new take half as long again.
export CCACHE_BASEDIR=$top CCACHE_NOHASHDIR=1 CCACHE_DEPEND=1

jobs=${JOBS:-$(nproc)}

say() { printf 'phyr: %s\n' "$*" >&2; }

# step WHAT: names what is being done, for progress and for die().
doing=starting
step() {
	doing=$*
	say "$(date +%H:%M:%S) $*"
}

# die WRONG MEND: what was being done, what went wrong, the command that mends it.
die() {
	printf 'phyr: while %s: %s\n  mend: %s\n' "$doing" "$1" "$2" >&2
	exit 1
}

# logged LOG COMMAND...: the command's output goes to LOG; a line of progress
# goes to the terminal every 30 seconds, the log's end if the command fails.
logged() {
	local log=$1 start=$SECONDS pid rc=0 next=$((SECONDS + 30))
	shift
	mkdir -p "$(dirname "$log")"
	# A process group of its own, so that stopping leaves nothing running.
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	pid=$!
	set +m
	# shellcheck disable=SC2064
	trap "kill -TERM -- -$pid 2>/dev/null; wait $pid 2>/dev/null; exit 130" INT TERM
	while kill -0 $pid 2>/dev/null; do
		sleep 0.3
		if [ $SECONDS -ge $next ]; then
			next=$((SECONDS + 30))
			say "  $((SECONDS - start)) s, $(wc -l <"$log") lines: $(tail -n 1 "$log" | cut -c1-60)"
		fi
	done
	wait $pid || rc=$?
	trap - INT TERM
	[ $rc = 0 ] || tail -n 25 "$log" >&2
	return $rc
}

as_root() {
	if [ "$(id -u)" = 0 ]; then
		"$@"
	elif sudo -n true 2>/dev/null; then
		sudo -n "$@"
	else
		return 126
	fi
}

# need PACKAGE...: installs what is missing of Debian's packages. Tests that run
# side by side take turns, and so do we with another apt of the machine.
need() {
	local was=$doing lock absent
	mapfile -t absent < <(missing "$@")
	[ ${#absent[@]} -gt 0 ] || return 0
	step "installing ${absent[*]}"
	as_root true || die "neither root nor sudo without a password" \
		"sudo apt-get install ${absent[*]}"
	mkdir -p "$cache"
	exec {lock}>"$cache/install.lock"
	flock "$lock"
	mapfile -t absent < <(missing "$@") # another test may have had its turn
	if [ ${#absent[@]} -gt 0 ]; then
		install_packages || { logged "$cache/log/apt" as_root apt-get update || true; install_packages; } ||
			die "apt could not install them (no network?)" "apt-get update && apt-get install ${absent[*]}"
	fi
	exec {lock}>&-
	doing=$was
}

# missing PACKAGE...: those that are not installed, a line each; false if none
missing() {
	local p
	for p; do
		dpkg-query -W -f '${db:Status-Status}' "$p" 2>/dev/null | grep -qx installed || echo "$p"
	done | grep .
}

install_packages() {
	logged "$cache/log/apt" as_root env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=600 \
		install -y --no-install-recommends "${absent[@]}"
}

# arch_is ARCH: for a scenario's architecture, what make calls the kernel's image,
# the prefix of the compiler ('' for the machine's own), what Debian calls the
# architecture and the package with its emulator
arch_is() {
	# shellcheck disable=SC2034 # used by those who source this
	case $1 in
	x86_64) image=bzImage cross='' deb=amd64 emulator=qemu-system-x86 ;;
	i386) image=bzImage cross='' deb=i386 emulator=qemu-system-x86 ;;
	arm64) image=Image cross=aarch64-linux-gnu- deb=arm64 emulator=qemu-system-arm ;;
	powerpc) image=vmlinux cross=powerpc64le-linux-gnu- deb=ppc64el emulator=qemu-system-ppc ;;
	*) die "nothing is known of the architecture '$1'" "say how it is built, in scripts/lib.sh" ;;
	esac
}

# spatch looks for the Python of its report rules where only -dev puts it.
need_coccinelle() {
	need coccinelle python3-dev
}

need_kernel_tools() { # [PREFIX OF THE COMPILER]
	need ${1:+"gcc-${1%-}"} build-essential bc bison flex ccache kmod libelf-dev libssl-dev python3 xz-utils
}

# need_space GIGABYTES WHERE
need_space() {
	local free
	mkdir -p "$2"
	free=$(($(df --output=avail -k "$2" | tail -n 1) / 1048576))
	[ "$free" -ge "$1" ] || die "$free GB free at $2, $1 GB needed" \
		"free some space, or set PHYR_CACHE to a folder on a larger disk"
}

# one_at_a_time: two verbs at once in one clone would build into each other.
one_at_a_time() {
	[ -z "${PHYR_LOCKED:-}" ] || return 0
	exec 9>"$top/.lock"
	flock -n 9 || die "another verb is at work in this clone" "wait for it, or stop it"
	export PHYR_LOCKED=1
}

# Fields of the series file's head: series_field base-tree
series_field() { sed -n "s/^# $1: //p" "$top/series"; }
series_patches() { sed 's/#.*//; s/[[:space:]]*$//; /^$/d' "$top/series"; }
series_parts() { series_patches | cut -d/ -f1 | uniq; }
# What linux/ must hold to be the series as it stands in this clone.
series_digest() {
	(cd "$top" && { series_patches | sed 's#^#patches/#' | xargs -r sha256sum; cat series; } | sha256sum | cut -c1-64)
}

linux_git() { git -C "$linux" "$@"; }
linux_state() { cat "$(linux_git rev-parse --absolute-git-dir)/phyr-$1" 2>/dev/null; }
linux_record() { printf '%s\n' "$2" >"$(linux_git rev-parse --absolute-git-dir)/phyr-$1"; }

# base_source: the base without the series, checked out; prints where.
base_source() {
	local base source=$build/base-src
	base=$(linux_state base)
	if [ "$(git -C "$source" rev-parse HEAD 2>/dev/null)" != "$base" ]; then
		rm -rf "$source"
		linux_git worktree prune
		need_space 8 "$build"
		logged "$build/log/base-src" git -C "$linux" worktree add --detach "$source" "$base" ||
			die "the base cannot be checked out" "see $build/log/base-src"
	fi
	echo "$source"
}

# bench_kernel base|patched|FOLDER: prints where that kernel is built.
bench_kernel() {
	case $1 in
	base)
		scripts/tree
		scripts/build -s "$(base_source)" -o base-x86_64 x86_64
		;;
	patched)
		scripts/tree
		scripts/build x86_64
		;;
	*)
		[ -d "$1" ] || die "there is no folder '$1'" "name a folder with a built kernel, 'base' or 'patched'"
		echo "$1"
		;;
	esac
}

# Of the guests that are measured: null_blk completes in the caller, disks store
# nothing, in QEMU's own thread, so that they complete an I/O without the host doing
# any. Calibrating the APIC's timer would take most of the boot, so another one ticks.
bench_words='noapictimer null_blk.irqmode=0 null_blk.gb=1 null_blk.submit_queues=1'
bench_disks() { # arguments for QEMU, on the machine whose fields are set
	local null=driver=null-co,size=1073741824,read-zeroes=off
	echo "-blockdev $null,node-name=null1 -device nvme,drive=null1,serial=nvme-null,mdts=9" \
		"-blockdev $null,node-name=null2 -device virtio-blk-pci,drive=null2,serial=virtio-null${M_VIRTIO:+,$M_VIRTIO}"
}

# part_fragments ARCH: the fragments of config/parts/ that apply to the kernel
# tree in the current folder: see scripts/build
part_fragments() {
	local f needs only
	for f in "${PHYR_CONFIG:-$top/config}"/parts/*.config; do
		[ -e "$f" ] || continue
		needs=$(sed -n 's/^# Needs: //p' "$f")
		[ -n "$needs" ] || die "${f#"$top"/} has no '# Needs: FILE' line" "say from which file on it applies"
		only=$(sed -n 's/^# Arch: //p' "$f")
		[ -e "$needs" ] || continue
		case " ${only:-$1} " in *" $1 "*) echo "$f" ;; esac
	done
}
