#!/bin/sh
# For the image of the tests, from a development build:
#   development.sh PROGRAM SCANNER FOLDER       packs it as `make dist` would, stripped, in FOLDER; prints where
#   development.sh --checkout PROGRAM EXTRA     what such a build reads from its checkout, laid into the image
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)

if [ "$1" = --checkout ]; then
    program=$2 extra=$3
    # Where it was built, as it knows it itself.
    checkout=$(grep -aom 1 '/[[:alnum:]_./-]*/appliance/\.\./templates' "$program" | head -n 1)
    checkout=${checkout%/appliance/../templates}
    [ -n "$checkout" ] || exit 0
    kept=$extra/usr/share/portolan-checkout
    mkdir -p "$kept/appliance"
    echo "$checkout" >"$kept/at"
    [ ! -d "$checkout/templates" ] || root=$checkout
    for folder in templates static docs migrations man; do
        [ ! -d "$root/$folder" ] || cp -R "$root/$folder" "$kept/$folder"
    done
    for unit in manager ingest dispatcher; do
        drop=$extra/usr/lib/systemd/system/portolan-$unit.service.d
        mkdir -p "$drop"
        printf '[Service]\nEnvironment=LD_LIBRARY_PATH=/usr/lib/portolan\nProtectHome=tmpfs\nBindReadOnlyPaths=/usr/share/portolan-checkout:%s\n' "$checkout" >"$drop/50-development.conf"
    done
    exit
fi

program=$1 scanner=$2 folder=$3
mark="$(stat -c '%n %s %Y' "$program" "$scanner" "$root/tools/dist.sh") $(cd "$root" && cat systemd/* packaging/install.sh | sha256sum)"
tree=$(find "$folder/dist" -maxdepth 1 -name 'portolan-*-linux-*' 2>/dev/null | head -n 1)
if [ -n "$tree" ] && [ "$(cat "$folder/mark" 2>/dev/null || true)" = "$mark" ]; then
    echo "$tree"
    exit
fi
rm -rf "$folder"
mkdir -p "$folder/library" "$folder/program"
strip --strip-unneeded -o "$folder/program/portolan" "$program"
strip --strip-unneeded -o "$folder/program/portolan-scanner" "$scanner"
library=${DUCKDB_LIB_DIR:-$root/.duckdb}/libduckdb.so
[ ! -e "$library" ] || strip --strip-unneeded -o "$folder/library/libduckdb.so" "$library"
export DUCKDB_LIB_DIR="$folder/library" LD_LIBRARY_PATH="$folder/library"
"$folder/program/portolan" sign keygen --no-password --secret "$folder/test.key" >&2
export SIGNING_KEY="$folder/test.key" SIGNING_PUB="$folder/test.pub" DIST
DIST="$folder/dist/scanner"
mkdir -p "$DIST"
"$root/tools/release-scanner.sh" "$folder/program/portolan-scanner" "$folder/program/portolan" >&2
DIST="$folder/dist"
DIST_TREE=yes DIST_PROGRAM="$folder/program/portolan" "$root/tools/dist.sh" >"$folder/said"
printf '%s' "$mark" >"$folder/mark"
tail -n 1 "$folder/said"
