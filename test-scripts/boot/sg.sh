# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Verified I/O on disks whose drivers go over DMA ranges: an SD card, which mmc_test
# tests too, AHCI and PIIX IDE; and without an IOMMU megasas, which behind VT-d reads
# what is not mapped, with the base, too.
sg() { # MACHINE SCENARIO [MORE TESTS]
	local run=$dir/$1 rc=0 args=() d
	mkdir -p "$run"
	for d in sd ahci ide megasas megasas-gen2; do
		truncate -s 64M "$tmp/$d"
		args+=(-drive "file=$tmp/$d,if=none,id=$d,format=raw,cache=unsafe")
	done
	args+=(-device 'sdhci-pci' -device 'sd-card,drive=sd'
		-device 'ich9-ahci,id=ahci' -device 'ide-hd,drive=ahci,bus=ahci.0'
		-device 'piix3-ide,id=piix' -device 'ide-hd,drive=ide,bus=piix.0')
	case ${3:-} in
	*megaraid*) args+=(-device 'megasas,id=mega' -device 'scsi-hd,drive=megasas,bus=mega.0'
		-device 'megasas-gen2,id=gen2' -device 'scsi-hd,drive=megasas-gen2,bus=gen2.0') ;;
	esac
	qemu/run -t $((TIMEOUT - 30)) -o "$run" -q "${args[*]}" "$1" "$2" \
		verify:raw@mmcblk,mmc-test,verify:raw@ahci,verify:raw@ata_piix${3:-} >"$run/log" || rc=1
	cat "$run/log"
	cat "$run/verdict.ktap" >>"$dir/ktap"
	return $rc
}
