# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Physical ranges of user memory: what pin_user_phyrs() returns, direct I/O at
# random, and both against everything that moves memory; pins that a signal or a limit
# cuts short; what a direct read leaves dirty; movablecore= so that pins for long have to migrate it first. gup_phyr
# comes last, as the guest's kselftest keeps the disk.
. test-scripts/boot/kselftest.sh
gup() { # SCENARIO SECONDS [ARGUMENTS of QEMU]
	kselftest x86_64-none "$1" \
		"dio-fuzz:vda:3,dio-fuzz:nvme0n1:3,dio-fuzz:sda:3,gup-race:vda:$2,gup-limits,dio-dirty,kselftest:gup_phyr" \
		-a 'hugepagesz=1G hugepages=1 movablecore=1G' -q "-m 4G ${3:-}"
}
