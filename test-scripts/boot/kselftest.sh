# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
# The tree's own selftests, in a guest.

# gup_test as mm/run_vmtests.sh calls it
kselftest_mm=kselftest:gup_test+-u+-n+1,kselftest:gup_test+-a+-n+1,kselftest:gup_test+-ct+-F+0x1+0+19+0x1000
kselftest_mm+=,kselftest:gup_longterm,kselftest:cow,kselftest:udmabuf,kselftest:dmabuf-heap
# the longer ones, of which migration and rmap want two nodes
kselftest_mm_more=kselftest:hugetlb-mmap,kselftest:hugetlb-shm,kselftest:hugetlb-mremap,kselftest:hugetlb-madvise
kselftest_mm_more+=,kselftest:hugetlb_dio,kselftest:hugetlb_fault_after_madv,kselftest:hugetlb_madv_vs_map
kselftest_mm_more+=,kselftest:pfnmap+--+/sys/bus/pci/devices/0000:00:01.0/resource4,kselftest:memfd_secret
kselftest_mm_more+=,kselftest:split_huge_page_test,kselftest:folio_split_race_test,kselftest:rmap,kselftest:migration
two_nodes='-m 4G -smp 4,sockets=2,cores=2,maxcpus=4 -object memory-backend-ram,id=m0,size=2G
	-object memory-backend-ram,id=m1,size=2G -numa node,memdev=m0,cpus=0-1 -numa node,memdev=m1,cpus=2-3'

kselftest() { # MACHINE SCENARIO TEST,... [ARGUMENTS of qemu/run]...
	local ksft
	ksft=$(scripts/kselftest) || return 1
	mkdir -p "$tmp/extra"
	cp -r "$ksft/tests" "$tmp/extra/ksft"
	qemu/run -t $((TIMEOUT - 20)) -o "$dir" -e "$tmp/extra" -q '-m 4G' "${@:4}" "$1" "$2" "$3" >"$dir/run.log"
	local rc=$?
	cat "$dir/run.log"
	cp "$dir/verdict.ktap" "$dir/ktap"
	return $rc
}
