#!/usr/bin/env bash
# Packs Drydock, its Node and its libraries into one file that runs by itself: docs/install.md.
#   scripts/binary.sh [--arch amd64|arm64] [FILE]     (default dist/drydock-ARCH)
# PACK_LEVEL: gzip's, 9 by default.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/tree.sh
pack_arguments "$@"
npm=$(npm_arch "$arch")
file=${file:-dist/drydock-$arch}
mkdir -p .cache
work=$(mktemp -d .cache/binary.XXXXXX)
trap 'rm -rf "$work"' EXIT
program_tree "$work/tree"
module_tree "$work/tree" "$npm"
chmod -R u=rwX,go=rX "$work/tree"
mkdir "$work/tree/lib"
# Other architectures' libraries are not here: such a machine must have its own.
if [ "$arch" = "$(own_arch)" ]; then
  for name in libstdc++.so.6 libgcc_s.so.1 libatomic.so.1; do
    library=$(ldd "$work/tree/node_modules/node-linux-$npm/bin/node" | awk -v name="$name" '$1 == name { print $3 }')
    [ -z "$library" ] || cp -L "$library" "$work/tree/lib/"
  done
fi
# The same tree makes the same bytes.
tar -cf "$work/tar" -C "$work/tree" --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner .
hash=$(sha256sum "$work/tar" | cut -c1-16)
lines=$(($(wc -l <packaging/binary-head.sh) + 1))
sed "s/@HASH@/$hash/g; s/@LINES@/$lines/" packaging/binary-head.sh >"$work/file"
gzip "-${PACK_LEVEL:-9}nc" "$work/tar" >>"$work/file"
chmod 755 "$work/file"
mv "$work/file" "$file"
say "$file: $(($(stat -c %s "$file") / 1000000)) MB"
