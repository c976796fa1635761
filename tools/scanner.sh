#!/bin/sh
# Builds the scanner as static binaries and holds each to its limits: tools/scanner.sh [link|usb|pq|none]…
#
# Each goes to $CARGO_TARGET_DIR/static/: portolan-scanner (with the link), portolan-scanner-usb, and so on, with the
# list of what is linked into it (CycloneDX) beside it. What comes out depends on the source, the
# toolchain and the C library alone, not on the folder or the day.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
host=$(rustc -vV | sed -n 's/^host: //p')
cargo_home=${CARGO_HOME:-$HOME/.cargo}
out=$CARGO_TARGET_DIR/static
mkdir -p "$out"

: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH
# Paths in what is compiled name no folder of this machine. Relative relocations are packed: 45 KB less, for which
# the C library must be glibc 2.36 (Debian 12) or later; with an older one the program would not start, and so not
# pass the check below.
export RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,--build-id=none \
-C link-arg=-Wl,--no-eh-frame-hdr -C link-arg=-Wl,-T,$root/tools/static.ld \
--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$CARGO_TARGET_DIR=/target --remap-path-prefix=$root=/portolan"
export CFLAGS="${CFLAGS:-} -ffile-prefix-map=$cargo_home=/cargo -ffile-prefix-map=$CARGO_TARGET_DIR=/target"

# build NAME LIMIT PROFILE [CARGO'S OPTIONS]: the limit is in bytes.
build() {
    name=$1 limit=$2 profile=$3
    shift 3
    if [ -n "${MAP:-}" ]; then
        # The same program, for what the linker says of it: tools/scanner-sizes.sh.
        cargo rustc --quiet --locked --profile "$profile" -p portolan-scanner --bin portolan-scanner --target "$host" "$@" \
            -- -C "link-arg=-Wl,-Map=$MAP"
        return
    fi
    cargo build --quiet --locked --profile "$profile" -p portolan-scanner --target "$host" "$@"
    cp "$CARGO_TARGET_DIR/$host/$profile/portolan-scanner" "$out/$name.new"
    size=$(wc -c <"$out/$name.new")
    echo "$out/$name: $size bytes, at most $limit are allowed"
    [ "$size" -lt "$limit" ] || { echo "that is too large" >&2; exit 1; }
    if readelf -d "$out/$name.new" | grep -q NEEDED; then echo "it needs shared libraries" >&2; exit 1; fi
    "$out/$name.new" --version >/dev/null || { echo "it does not start here" >&2; exit 1; }
    mv "$out/$name.new" "$out/$name"
    tools/sbom.sh "$out/$name" "$@" >"$out/$name.cdx.json"
}

[ $# -gt 0 ] || set -- link
for flavour in "$@"; do
    case $flavour in
        link) build portolan-scanner 3000000 scanner ;;
        usb) build portolan-scanner-usb 2000000 scanner --no-default-features --features usb ;;
        pq) build portolan-scanner-pq 5000000 scanner --no-default-features --features pq ;;
        none)
            # "z" is 31 KB less than the profile's "s", without which it would be above its limit.
            export CARGO_PROFILE_SCANNER_SMALL_OPT_LEVEL=z
            build portolan-scanner-none 1000000 scanner-small --no-default-features
            ;;
        *) echo "tools/scanner.sh: $flavour is not link, usb, pq or none" >&2; exit 2 ;;
    esac
done
