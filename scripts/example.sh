#!/usr/bin/env bash
# Sets everything up on a fresh machine and builds the example image.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
bash scripts/setup.sh
cp "$(PATH="$PATH:/usr/sbin:/sbin" command -v busybox)" examples/hello/busybox
say "building examples/hello"
if ./drydock unshare true; then
  ./drydock build -t hello:example examples/hello
elif command -v sudo >/dev/null; then
  say "building as root, since this user cannot"
  as_root ./drydock build -t hello:example examples/hello
else
  die "see the hint above; or run this as root"
fi
