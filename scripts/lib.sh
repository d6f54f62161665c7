# Shared by the scripts; sourced with the clone's root as the current folder.

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Runs a command as root.
as_root() {
  if [ "$(id -u)" = 0 ]; then "$@"
  elif command -v sudo >/dev/null; then sudo --preserve-env=PATH,CI,DRYDOCK_ROOT "$@"
  else die "this needs root: install sudo, or run as root: $*"
  fi
}

# need_commands command:package …: installs the packages whose command is missing.
need_commands() {
  local missing=() pair
  for pair in "$@"; do
    # Debian's users have no sbin in their PATH.
    PATH="$PATH:/usr/sbin:/sbin" command -v "${pair%%:*}" >/dev/null || missing+=("${pair##*:}")
  done
  [ ${#missing[@]} = 0 ] && return
  command -v apt-get >/dev/null || die "please install: ${missing[*]}"
  [ "$(id -u)" = 0 ] || command -v sudo >/dev/null || die "${missing[*]} must be installed: ask somebody who may, for
  apt-get install ${missing[*]}"
  say "installing ${missing[*]}"
  # Services of these packages are not wanted, only their programs.
  as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 bash -c '
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/tmp/drydock-apt.log 2>&1 ||
      { cat /tmp/drydock-apt.log >&2; exit 1; }' apt "${missing[@]}"
}

# A busybox for arm64, which tests run under QEMU. dpkg's list of architectures stays as it is.
foreign_busybox() {
  local to=/usr/local/lib/drydock-test/busybox-arm64 work
  [ -x "$to" ] && return
  say "fetching busybox for arm64"
  work=$(mktemp -d)
  chmod 755 "$work"
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
  : >"$work/status"
  local apt=(apt-get -qq -o APT::Architecture=arm64 -o APT::Architectures=arm64 -o APT::Sandbox::User=
    -o "Dir::State=$work/state" -o "Dir::State::status=$work/status" -o "Dir::Cache=$work/cache")
  (cd "$work" && "${apt[@]}" update && "${apt[@]}" download busybox-static:arm64 && dpkg-deb -x busybox-static_*.deb x) \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; die "there is no busybox for arm64"; }
  as_root install -D "$(find "$work/x" -path "*/bin/busybox")" "$to"
  rm -rf "$work"
}

# npm's packages, when the lock file is newer than what is installed.
npm_packages() {
  [ node_modules/.package-lock.json -nt package-lock.json ] && return
  command -v npm >/dev/null || die "npm is missing: install Node.js 20 or later with npm"
  say "installing npm packages"
  npm install --no-audit --no-fund --loglevel=error >&2
  touch node_modules/.package-lock.json
}

# The pinned Node.
node_bin() {
  local arch
  case "$(uname -m)" in x86_64) arch=x64 ;; aarch64) arch=arm64 ;; *) command -v node; return ;; esac
  local node="node_modules/node-linux-$arch/bin/node"
  if [ -x "$node" ]; then echo "$PWD/$node"; else command -v node; fi
}

# Names a source that is newer than the bundle, if there is one.
stale_bundle() {
  [ -f dist/drydock.cjs ] || { echo dist; return; }
  find src package.json scripts/bundle.mjs -newer dist/drydock.cjs -print -quit
}

bundle() { "$(node_bin)" scripts/bundle.mjs "$@"; }
