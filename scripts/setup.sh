#!/usr/bin/env bash
# Makes a clone ready: Debian packages, npm packages (with a current Node among them), and the bundle in dist/.
# `setup.sh test` also installs what only the tests need, `setup.sh bench` what the benchmark compares with.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh

case "${1:-}" in
  '')
    # Users who are not root build in a user namespace. Their steps have networks of their own if pasta is there.
    if [ "$(id -u)" = 0 ]; then network="ip:iproute2 iptables:iptables"
    elif command -v sudo >/dev/null; then network="newuidmap:uidmap pasta:passt"
    else network=newuidmap:uidmap; fi
    # shellcheck disable=SC2086
    need_commands runc:runc git:git busybox:busybox-static xz:xz-utils bzip2:bzip2 $network
    ;;
  test)
    need_commands chromium:chromium runc:runc git:git busybox:busybox-static ip:iproute2 iptables:iptables xz:xz-utils bzip2:bzip2 zstd:zstd \
      newuidmap:uidmap docker-registry:docker-registry htpasswd:apache2-utils skopeo:skopeo getfacl:acl setfattr:attr \
      setcap:libcap2-bin nft:nftables pasta:passt slirp4netns:slirp4netns /usr/lib/cni/bridge:containernetworking-plugins containerd:containerd ctr:containerd ssh-agent:openssh-client gpg:gpg gpg-agent:gpg-agent unshare:util-linux setpriv:util-linux curl:curl /usr/bin/docker:docker.io systemd-analyze:systemd perl:perl-base mkfs.ext4:e2fsprogs mount:mount \
      rpmbuild:rpm rpm:rpm db5.3_load:db5.3-util zip:zip unzip:unzip objcopy:binutils qemu-aarch64-static:qemu-user-static
    foreign_busybox arm64
    foreign_busybox i386
    azurite
    cosigns
    docker_buildx
    docker_compose
    docker_py
    kube_tools
    ;;
  bench)
    need_commands dockerd:docker.io docker:docker.io containerd:containerd buildah:buildah runc:runc \
      busybox:busybox-static git:git
    ;;
  *) die "unknown part ${1}: want nothing, test or bench" ;;
esac

npm_packages
[ -n "$(stale_bundle)" ] && bundle
true
