#!/usr/bin/env bash
# Makes dist/: the bundle and its type declarations.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
npm_packages
# Nothing else is packed.
rm -rf dist
bundle --only
PATH="$(dirname "$(node_bin)"):$PWD/node_modules/.bin:$PATH"
tsc -p tsconfig.types.json
# What is generated has declarations of its own, which the compiler does not copy.
(cd src && find pb -name '*.d.ts' -exec cp --parents {} ../dist/types \;)
