#!/bin/sh
# How much of a static scanner comes from where: tools/scanner-sizes.sh [CARGO'S FEATURE OPTIONS]
#
# Sums the symbols of an unstripped build by the crate that their names begin with. A generic function counts for the
# crate that wrote it; what has no symbol (strings, tables of relocations) is the rest of the file.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
host=$(rustc -vV | sed -n 's/^host: //p')
export CARGO_PROFILE_SCANNER_STRIP=false
export RUSTFLAGS="-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs -C link-arg=-Wl,-T,$root/tools/static.ld -C link-arg=-Wl,--no-eh-frame-hdr"
cargo build --quiet --locked --profile scanner -p portolan-scanner --target "$host" "$@"
nm --size-sort -S -t d -C "$CARGO_TARGET_DIR/$host/scanner/portolan-scanner" | awk '
    $3 ~ /[bB]/ { next }
    {
        size = $2 + 0
        $1 = $2 = $3 = ""
        sub(/^[ <&(*]*(mut |const |dyn )?/, "")
        if (/^ring_core_/ || /(^|[^a-z_])ring::/) crate = "ring"
        else if (/^aws_lc_0_/ || /^aws_lc_rs/) crate = "aws-lc"
        else if (/webpki/) crate = "rustls-webpki"
        else if (/rustls_pki_types/) crate = "rustls-pki-types"
        else if (/rustls/) crate = "rustls"
        else if (/portolan_scanner/) crate = "portolan-scanner"
        else if (/^(untrusted|subtle|zeroize|once_cell|getrandom|cfg_if)::/) { crate = $0; sub(/::.*/, "", crate) }
        else if (/^(std|core|alloc|hashbrown|compiler_builtins|__rustc|rustc_demangle|memchr)([:<]|$)/ || /core::|alloc::|std::/) crate = "the Rust standard library"
        else crate = "the C library"
        sizes[crate] += size
    }
    END { for (crate in sizes) printf "%9d  %s\n", sizes[crate], crate }' | sort -rn
