#!/usr/bin/env bash
# Packs Drydock as a Debian package: docs/install.md.
#   scripts/deb.sh [--arch amd64|arm64] [FILE]     (default dist/drydock_VERSION_ARCH.deb)
# PACK_BY: xz (default), gzip or none; PACK_LEVEL: its level.
set -euo pipefail
cd "$(dirname "$0")/.."
. scripts/lib.sh
. scripts/tree.sh
pack_arguments "$@"
need_commands dpkg-deb:dpkg
npm=$(npm_arch "$arch")
version=$(sed -nE 's/^  "version": "(.*)",$/\1/p' package.json)
file=${file:-dist/drydock_${version}_$arch.deb}
mkdir -p .cache
work=$(mktemp -d .cache/deb.XXXXXX)
trap 'rm -rf "$work"' EXIT
root=$work/root
mkdir -p "$root/usr/lib" "$root/usr/bin" "$root/usr/share/doc/drydock" "$root/usr/lib/systemd/system" \
  "$root/usr/lib/systemd/user" "$root/usr/share/bash-completion/completions" \
  "$root/usr/share/zsh/vendor-completions" "$root/usr/share/fish/vendor_completions.d" "$root/DEBIAN"
program_tree "$root/usr/lib/drydock"
module_tree "$root/usr/lib/drydock" "$npm"
ln -s ../lib/drydock/bin/drydock "$root/usr/bin/drydock"
cp -r README.md docs "$root/usr/share/doc/drydock/"
cp LICENSE "$root/usr/share/doc/drydock/copyright"
cp packaging/systemd/drydock.* "$root/usr/lib/systemd/system/"
cp packaging/systemd/user/* "$root/usr/lib/systemd/user/"
bin/drydock completion bash >"$root/usr/share/bash-completion/completions/drydock"
bin/drydock completion zsh >"$root/usr/share/zsh/vendor-completions/_drydock"
bin/drydock completion fish >"$root/usr/share/fish/vendor_completions.d/drydock.fish"
chmod -R u=rwX,go=rX "$root"
sed "s/@VERSION@/$version/; s/@ARCH@/$arch/; s/@SIZE@/$(du -sk "$root/usr" | cut -f1)/" packaging/deb/control >"$root/DEBIAN/control"
cp packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm "$root/DEBIAN/"
chmod 755 "$root/DEBIAN/postinst" "$root/DEBIAN/prerm" "$root/DEBIAN/postrm"
dpkg-deb --root-owner-group ${PACK_LEVEL:+-z"$PACK_LEVEL"} "-Z${PACK_BY:-xz}" --build "$root" "$work/deb" >&2
mv "$work/deb" "$file"
say "$file: $(($(stat -c %s "$file") / 1000000)) MB"
