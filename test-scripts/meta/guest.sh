# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# What a guest can do wrong, each of which qemu/run must report. The folder
# $tmp/tests goes to /tests in the guest.
SCENARIO=x86_64 TIMEOUT=120 machine=x86_64-none

guest_script() { # NAME: a program for the guest, from stdin
	mkdir -p "$tmp/tests"
	{ echo '#!/bin/sh'; cat; } >"$tmp/tests/$1"
	chmod 755 "$tmp/tests/$1"
}

guest_fails() { # MESSAGE SECONDS WORDS TESTS [QEMU ARGUMENTS]
	mkdir -p "$tmp/tests"
	expect_failure "$1" qemu/run -t "$2" -o "$dir" -e "$tmp/tests" -a "$3" -q "${5:-}" "$machine" x86_64 "$4"
}
