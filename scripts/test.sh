#!/usr/bin/env bash
# The whole check: packages, format and lint (with one-way dependencies), types, then all tests with real runc,
# overlayfs and docker-registry. Arguments go to the test runner: `npm test -- test/store`.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
bash scripts/setup.sh test

# in_memory FOLDER: mounts memory there, where the machine has plenty: a gigabyte and a half is used at most. Tests write
# and remove files by the hundred thousand, which some disks are slow at, such as ext4 without a journal.
in_memory() {
  local free
  free=$(awk '/^MemAvailable:/ { print int($2 / 1024) }' /proc/meminfo)
  [ "$free" -ge 6000 ] || return 0
  as_root mount -t tmpfs -o size=4g,nr_inodes=2m,mode=1777 drydock-test "$1" || return 0
  # What layers are made of: Linux before 6.6 keeps no attribute of users there.
  as_root setfattr -n user.drydock -v 1 "$1" 2>/dev/null || as_root umount "$1"
}

PATH="$(dirname "$(node_bin)"):$PWD/node_modules/.bin:$PATH:/usr/sbin:/sbin"
export PATH
say "lint"
npm run --silent lint
say "types"
npm run --silent types
say "tests"
report=$(mktemp -d)
# Short, as sockets are in it.
files=$(mktemp -d /tmp/tXXX)
trap 'as_root rm -rf "$report"; { as_root umount -R -l "$files"; as_root rmdir "$files"; } 2>/dev/null || true' EXIT
chmod 1777 "$files"
in_memory "$files"
# tests REPORT ARGUMENTS…: runs the tests, and writes a report as JSON.
tests() {
  local report=$1
  shift
  as_root env PATH="$PATH" TMPDIR="$files" node node_modules/vitest/vitest.mjs run --reporter=default --reporter=json \
    --outputFile.json="$report" "$@"
}
status=0
tests "$report/all.json" "$@" || status=$?
# A test that waits for other processes can fail on a busy machine only. Up to three files that failed are run once more,
# by themselves. The end of the run names each test that passed then, with what it said at first: such a test, or the
# code that it tests, has a race, which is to be mended.
if [ "$status" != 0 ] && node scripts/test-report.mjs failed "$report/all.json" >"$report/failed"; then
  mapfile -t again <"$report/failed"
  say "once more: ${again[*]}"
  status=0
  tests "$report/again.json" --maxWorkers=1 "${again[@]}" || status=$?
fi
node scripts/test-report.mjs sum "$report"/all.json "$report"/again.json
exit "$status"
