#!/usr/bin/env bash
# Generates src/pb from proto/. The result is committed: a clone builds without the generator.
set -euo pipefail
cd "$(dirname "$0")/.."
PATH="$PWD/node_modules/.bin:$PATH"
rm -rf src/pb && mkdir -p src/pb
buf generate proto --template '{"version":"v2","plugins":[{"local":"protoc-gen-es","out":"src/pb","opt":["target=js+dts","import_extension=js"]}]}'
node scripts/ops-table.mjs
