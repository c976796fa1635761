#!/bin/sh
# For the image of the tests, from a development build:
#   development.sh PROGRAM SCANNER FOLDER       packs it as `make dist` would, stripped, in FOLDER; prints where
#   development.sh --checkout PROGRAM EXTRA FOLDER     what such a build reads from its checkout, laid into the image, and the
#                                               key in FOLDER: a release has its key in the program
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)

if [ "$1" = --checkout ]; then
    program=$2 extra=$3 folder=$4
    drop=$extra/usr/lib/systemd/system/portolan-.service.d
    mkdir -p "$drop"
    printf '[Service]\nEnvironment=PORTOLAN_RELEASE_KEY=%s\n' "$(sed '/^untrusted comment:/d' "$folder/test.pub" | head -n 1)" >"$drop/50-development.conf"
    # A machine in software, on one that builds beside it, is slow and not unwell.
    drop=$extra/usr/lib/systemd/system/portolan-update-gate.service.d
    mkdir -p "$drop"
    printf '[Service]\nExecStart=\nExecStart=/usr/lib/portolan/portolan update gate --from-boot --within 600\nTimeoutStartSec=700\n' >"$drop/50-development.conf"
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
        printf '[Service]\nProtectHome=tmpfs\nBindReadOnlyPaths=/usr/share/portolan-checkout:%s\n' "$checkout" >"$drop/50-development.conf"
    done
    exit
fi

program=$1 scanner=$2 folder=$3
mark="$(stat -c '%n %s %Y' "$program" "$scanner" "$root/tools/dist.sh") $(cd "$root" && cat systemd/* packaging/install.sh image/development.sh | sha256sum)"
tree=$(find "$folder/dist" -maxdepth 1 -name 'portolan-*-linux-*' 2>/dev/null | head -n 1)
if [ -n "$tree" ] && [ "$(cat "$folder/mark" 2>/dev/null || true)" = "$mark" ]; then
    echo "$tree"
    exit
fi
rm -rf "$folder"
mkdir -p "$folder/library" "$folder/program"
strip --strip-unneeded -o "$folder/program/portolan" "$program"
strip --strip-unneeded -o "$folder/program/portolan-scanner" "$scanner"
# A release looks for its library beside itself; a development build where it was built. In place, as that is longer.
python3 - "$folder/program/portolan" <<'PYTHON'
import re, subprocess, sys

path = sys.argv[1]
told = subprocess.run(["readelf", "-d", path], check=True, capture_output=True, text=True).stdout
built = re.search(r"R(?:UN)?PATH.*\[(.*)\]", told)
if built and built[1] != "$ORIGIN":
    old, new = built[1].encode() + b"\0", b"$ORIGIN\0"
    data = open(path, "rb").read()
    assert data.count(old) == 1 and len(old) >= len(new), built[1]
    open(path, "wb").write(data.replace(old, new.ljust(len(old), b"\0")))
PYTHON
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
