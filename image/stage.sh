#!/bin/sh
# stage.sh TREE EXTRA: lays out what `make dist` packs (the archive's folder) as it lies in the image.
set -eu

tree=$1 extra=$2
lib=$extra/usr/lib
mkdir -p "$lib/systemd/system" "$lib/sysusers.d" "$lib/tmpfiles.d" "$extra/usr/bin" "$extra/usr/share/portolan"
cp -R "$tree/lib" "$lib/portolan"
ln -s ../lib/portolan/portolan "$extra/usr/bin/portolan"
for file in "$tree"/systemd/*.target "$tree"/systemd/*.socket "$tree"/systemd/*.service "$tree"/systemd/*.timer; do
    [ -e "$file" ] || continue
    sed 's#/usr/local/bin/portolan-scanner#/usr/lib/portolan/scanner/portolan-scanner#' "$file" >"$lib/systemd/system/$(basename "$file")"
done
cp "$tree/systemd/portolan.sysusers" "$lib/sysusers.d/portolan.conf"
cp "$tree/systemd/portolan.tmpfiles" "$lib/tmpfiles.d/portolan.conf"
cp "$tree/systemd/portolan.conf" "$tree/portolan.cdx.json" "$tree/LICENSE-APACHE" "$tree/LICENSE-MIT" "$extra/usr/share/portolan/"
chmod -R u=rwX,go=rX "$extra"
basename "$tree" | sed -n 's/^portolan-\(.*\)-linux-.*/\1/p' >"$extra/version"
[ -s "$extra/version" ] || LD_LIBRARY_PATH="$lib/portolan" "$lib/portolan/portolan" --version | cut -d ' ' -f 2 >"$extra/version"
