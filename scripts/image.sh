#!/usr/bin/env bash
# Builds the image of packaging/image by this clone's own Drydock: docs/image.md.
#   scripts/image.sh [flags of drydock build]      e.g. -t drydock --build-arg BASE=debian:trixie-slim --platform …
# `--context DIR` makes the context in DIR and builds nothing, for another builder.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/tree.sh
clone=$PWD

# Makes the context in a folder: the program, and for each architecture what npm has for it.
context() {
  local to=$1 arch
  mkdir -p "$to/bin"
  program_tree "$to/drydock"
  cp packaging/image/bin/* "$to/bin/"
  cp packaging/image/programs "$to/"
  for arch in $2; do
    mkdir -p "$to/$arch"
    module_tree "$to/$arch" "$(npm_arch "$arch")"
  done
}

own=$(own_arch)
archs= only= args=()
while [ $# -gt 0 ]; do
  case "$1" in
    --context) only=${2:?--context takes a folder}; shift ;;
    --platform | --platform=*)
      value=${1#--platform}
      if [ -z "$value" ]; then value=${2:?--platform takes a value}; shift; fi
      value=${value#=}
      args+=(--platform "$value")
      for each in ${value//,/ }; do each=${each#linux/}; archs+=" ${each%%/*}"; done
      ;;
    *) args+=("$1") ;;
  esac
  shift
done
if [ -n "$only" ]; then
  context "$only" "${archs:-$own}"
  exit
fi
mkdir -p .cache
folder=$(mktemp -d .cache/image.XXXXXX)
trap 'rm -rf "$folder"' EXIT
context "$folder" "${archs:-$own}"
"$clone/bin/drydock" build -f packaging/image/Dockerfile "${args[@]}" "$folder"
