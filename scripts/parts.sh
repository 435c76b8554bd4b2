# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Sourced after lib.sh: the parts' titles, and cover-letter.txt. Its first block
# is about the whole; each part has a section that starts with a line
#
#	== 01-phyr: title ==
#
# whose title is that of the series file, and that runs up to the next such line.

cover_letter=$top/cover-letter.txt

# part_title PART: as the series file has it; nothing if it has none.
part_title() { sed -n "s/^# $1: //p" "$top/series"; }
cover_titles() { sed -n 's/^== \(.*\) ==$/\1/p' "$cover_letter"; }
# cover_section PART: its text without the headline and blank lines around it.
cover_section() {
	sed -n "/^== $1: .* ==\$/,/^== /{/^== /!p}" "$cover_letter" | sed -e '/./,$!d' | sed -e ':a' -e '/^\n*$/{$d;N;ba' -e '}'
}

# slim_clone FOLDER COMMIT: a clone of linux/ with few files checked out: those
# that checkpatch and get_maintainer read and know a kernel tree by. git am,
# cherry-pick and format-patch need no more.
slim_clone() {
	git clone -q --shared --no-checkout "$linux" "$1" &&
		git -C "$1" sparse-checkout set --cone scripts Documentation/process arch/x86/include/asm drivers/base/test \
			fs/proc include/asm-generic init ipc kernel/dma lib/tests &&
		git -C "$1" -c advice.detachedHead=false checkout -q -f --detach "$2"
}
