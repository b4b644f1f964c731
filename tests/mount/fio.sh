#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# fio.sh - fio writes in every way it knows, and every block it reads back is the one it wrote

cases=(sequential_4k sequential_1m random_4k random_mixed mapped direct asynchronous many_jobs rewrite)
# shellcheck source-path=SCRIPTDIR
. "$(dirname "$0")/scratch.sh"

# fio_verify NAME OPTION... - runs the job on the mount; then verifies it again after a remount
fio_verify() {
	local output size name=$1
	shift
	size=$(rounds 64m 8m)
	set -- --name="$name" --size="$size" --directory="$mnt" "$@" --verify=crc32c --verify_fatal=1 --verify_dump=0 \
		--output-format=normal --group_reporting
	output=$(fio "$@" --do_verify=1 2>&1) || fail "fio: $(grep -m 1 -E 'verify:|err=|error' <<<"$output")"
	store_remount
	output=$(fio "$@" --verify_only 2>&1) ||
		fail "fio after a remount: $(grep -m 1 -E 'verify:|err=|error' <<<"$output")"
}

prepare() {
	store_make
	store_mount
}

case_sequential_4k() {
	prepare
	fio_verify job --rw=write --bs=4k --ioengine=psync --end_fsync=1
}

case_sequential_1m() {
	prepare
	fio_verify job --rw=write --bs=1m --ioengine=psync
}

case_random_4k() {
	prepare
	fio_verify job --rw=randwrite --bs=4k --ioengine=psync --fsync=64
}

case_random_mixed() {
	prepare
	fio_verify job --rw=randwrite --bsrange=512-128k --bs_unaligned=1 --ioengine=psync --randseed=7
}

case_mapped() {
	prepare
	fio_verify job --rw=randwrite --bs=4k --ioengine=mmap
}

case_direct() {
	prepare
	fio_verify job --rw=randwrite --bs=4k --ioengine=psync --direct=1
	fio_verify big --rw=write --bs=1m --ioengine=psync --direct=1
}

case_asynchronous() {
	prepare
	fio_verify job --rw=randwrite --bs=16k --ioengine=libaio --iodepth=16 --direct=1
	# where it may be used at all
	! fio --name=probe --size=4k --directory="$SCRATCH" --ioengine=io_uring --rw=write >probe.log 2>&1 ||
		fio_verify ring --rw=randwrite --bs=4k --ioengine=io_uring --iodepth=16
}

case_many_jobs() {
	prepare
	fio_verify job --rw=randwrite --bs=8k --ioengine=psync --numjobs=4 --fdatasync=32
}

# The same blocks over and over, then what the last pass wrote.
case_rewrite() {
	prepare
	fio_verify job --rw=randwrite --bs=4k --ioengine=psync --io_size="$(rounds 256m 32m)" \
		--norandommap=0 --overwrite=1 --file_service_type=random
}

scratch_main "$@"
