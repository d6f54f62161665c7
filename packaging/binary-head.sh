#!/bin/sh
# Drydock in one file: this text, and after it a packed tar of the program with its Node. The first start unpacks it into
# a folder of its own, @HASH@, below DRYDOCK_BINARY_DIR, /var/cache/drydock/program (root) or ~/.cache/drydock/program;
# each later start is a look for that folder.
if [ -n "${DRYDOCK_BINARY_DIR:-}" ]; then base=$DRYDOCK_BINARY_DIR
elif [ -O / ]; then base=/var/cache/drydock/program
else base=${XDG_CACHE_HOME:-${HOME:?is not set, and DRYDOCK_BINARY_DIR neither}/.cache}/drydock/program
fi
at=$base/@HASH@
if ! [ -x "$at/bin/drydock" ]; then
  umask 022
  stop() {
    echo "ERROR: $1
  hint: ${2:-Name a folder with 200 MB of room, from which programs may be run, in DRYDOCK_BINARY_DIR.}" >&2
    [ -z "${part:-}" ] || rm -rf "$part"
    exit 1
  }
  for program in tar gzip tail mkdir mv rm; do
    command -v "$program" >/dev/null || stop "unpacking needs the program $program" "Install tar, gzip and coreutils, or a busybox with their names."
  done
  part=$base/.@HASH@.$$
  trap 'rm -rf "$part"; exit 130' INT TERM HUP
  mkdir -p "$part" || stop "$base cannot be made"
  # Nobody else may have put a program there.
  [ -O "$base" ] || stop "$base belongs to somebody else"
  tail -n +@LINES@ "$0" | gzip -dc | tar -xf - -C "$part" || stop "the program cannot be unpacked into $base"
  # Where the machine has not the libraries of C++, those that are packed are taken.
  node=$(echo "$part"/node_modules/node-linux-*/bin/node)
  if ! "$node" --version >/dev/null 2>&1; then
    if LD_LIBRARY_PATH=$part/lib "$node" --version >/dev/null; then : >"$part/lib/wanted"
    else stop "Node does not run here" "Drydock needs glibc 2.28 or later; on Alpine and its like, use the image."
    fi
  fi
  # Another start may have been first.
  mv -T "$part" "$at" 2>/dev/null || [ -x "$at/bin/drydock" ] || mv "$part" "$at" || stop "$at cannot be made"
  [ ! -d "$part" ] || rm -rf "$part"
  trap - INT TERM HUP
fi
if [ -e "$at/lib/wanted" ]; then
  export DRYDOCK_LIBRARY_PATH="${LD_LIBRARY_PATH:-}" LD_LIBRARY_PATH="$at/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
fi
exec "$at/bin/drydock" "$@"
exit 1
