# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
# Verified I/O on disks whose drivers go over DMA ranges. Behind VT-d megasas reads what
# is not mapped, with the base, too, and lsi53c810 does DMA to its own BAR.
sg() { # MACHINE SCENARIO DISK...
	local run=$dir/$1 machine=$1 scenario=$2 rc=0 args=() tests='' d
	shift 2
	mkdir -p "$run" "$tmp/extra"
	for d; do
		truncate -s 64M "$tmp/$d"
		args+=(-drive "file=$tmp/$d,if=none,id=$d,format=raw,cache=unsafe")
		case $d in
		sd)
			# An SD card's I/O is done by the vCPU's thread, which may then take the
			# event that tells QEMU's main loop of a new timer: the guest sleeps for
			# ever. What looks for a peer each second wakes the main loop.
			args+=(-device sdhci-pci -device 'sd-card,drive=sd' -chardev "socket,id=wake,path=$tmp/none,reconnect=1")
			tests+=,verify:raw@mmcblk,mmc-test,module:mmc_kunit+mmc_data_dma
			;;
		ahci) args+=(-device 'ich9-ahci,id=b0' -device 'ide-hd,drive=ahci,bus=b0.0') tests+=,verify:raw@ahci ;;
		piix) args+=(-device 'piix3-ide,id=b1' -device 'ide-hd,drive=piix,bus=b1.0') tests+=,verify:raw@ata_piix ;;
		lsi53c810)
			seq 1 500000 | head -c 3M >"$tmp/cd"
			args+=(-device 'lsi53c810,id=b2' -device 'scsi-hd,drive=lsi53c810,bus=b2.0'
				-drive "file=$tmp/cd,if=none,id=cd,format=raw,readonly=on" -device 'scsi-cd,drive=cd,bus=b2.0')
			tests+=,verify:raw@sym53c8xx,cd
			[ "$scenario" != x86_64-debug ] || tests+=,fail-atomic:verify:raw@sym53c8xx
			;;
		megasas) args+=(-device 'megasas,id=b3' -device 'scsi-hd,drive=megasas,bus=b3.0') tests+=,verify:raw@megaraid_sas ;;
		megasas-gen2) args+=(-device 'megasas-gen2,id=b4' -device 'scsi-hd,drive=megasas-gen2,bus=b4.0') ;;
		spapr) args+=(-device 'spapr-vscsi,id=b5' -device 'scsi-hd,drive=spapr,bus=b5.0') tests+=,verify:raw@ibmvscsi ;;
		esac
	done
	scripts/kmod -s "$linux" "$build/$scenario" "$tmp/extra" || return 1
	qemu/run -t $((TIMEOUT - 30)) -o "$run" -e "$tmp/extra" -q "${args[*]}" \
		-a 'kunit.enable=1 kunit.autorun=1 kunit.filter_glob=mmc_*' "$machine" "$scenario" "${tests#,}" >"$run/log" || rc=1
	cat "$run/log"
	cat "$run/verdict.ktap" >>"$dir/ktap"
	return $rc
}
