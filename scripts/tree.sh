# Shared by the scripts that pack Drydock; sourced after lib.sh, with the clone's root as the current folder.

# program_tree DIR: the program in a folder: the newest bundle and what starts it, without the npm packages.
program_tree() {
  local to=$1 bundle
  [ -z "$(stale_bundle)" ] || bundle
  bundle=$(sed -nE 's/.*new URL\("\.\/(bundle-[0-9a-f]+)\/".*/\1/p' dist/drydock.cjs)
  [ -n "$bundle" ] || die "dist/drydock.cjs names no bundle"
  rm -rf "$to"
  mkdir -p "$to/dist/$bundle"
  cp -r bin package.json LICENSE "$to/"
  cp dist/drydock.cjs "$to/dist/"
  # Without the library, and the maps of the command's code, which are for debugging.
  cp "dist/$bundle"/*.cjs "$to/dist/$bundle/"
}

# module_tree DIR ARCH: node_modules in a folder, as the bundle needs it at run time: Node, and koffi for system calls, for
# npm's x64 or arm64. Those of this machine's own architecture are in the clone; others are fetched, in the versions of
# package-lock.json.
module_tree() {
  local to=$1 arch=$2 from=node_modules work name
  local wanted="node-linux-$arch koffi @koromix/koffi-linux-$arch"
  for name in $wanted; do
    [ -d "node_modules/$name" ] || from=
  done
  if [ -z "$from" ]; then
    work=.cache/image-$arch
    if [ "$work/package-lock.json" -ot package-lock.json ] || [ ! -d "$work/node_modules/node-linux-$arch" ]; then
      say "fetching Node for $arch"
      rm -rf "$work"
      mkdir -p "$work"
      cp package.json package-lock.json "$work/"
      npm ci --prefix "$work" --cpu="$arch" --os=linux --omit=dev --ignore-scripts --no-audit --no-fund --loglevel=error >&2
      touch "$work/package-lock.json"
    fi
    from=$work/node_modules
  fi
  rm -rf "$to/node_modules"
  mkdir -p "$to/node_modules/@koromix" "$to/node_modules/node-linux-$arch/bin"
  cp "$from/node-linux-$arch/bin/node" "$to/node_modules/node-linux-$arch/bin/"
  cp "$from/node-linux-$arch"/{package.json,LICENSE} "$to/node_modules/node-linux-$arch/"
  cp -r "$from/koffi" "$to/node_modules/"
  rm -rf "$to/node_modules/koffi"/{doc,lib,vendor}
  cp -r "$from/@koromix/koffi-linux-$arch" "$to/node_modules/@koromix/"
  rm -rf "$to/node_modules/@koromix/koffi-linux-$arch"/musl_*
}

# npm_arch DEBIAN_ARCH
npm_arch() {
  case "$1" in amd64) echo x64 ;; arm64) echo arm64 ;; *) die "there is no Drydock for $1" ;; esac
}

# The architecture of this machine, by Debian's name.
own_arch() { case "$(uname -m)" in aarch64) echo arm64 ;; *) echo amd64 ;; esac; }

# pack_arguments [--arch ARCH] [FILE]: sets arch, this machine's by default, and file, empty by default.
pack_arguments() {
  arch=$(own_arch) file=
  while [ $# -gt 0 ]; do
    case "$1" in
      --arch) arch=${2:?--arch takes an architecture}; shift ;;
      -*) die "unknown flag $1" ;;
      *) file=$1 ;;
    esac
    shift
  done
}
