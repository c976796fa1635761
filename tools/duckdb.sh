#!/bin/sh
# Puts the prebuilt DuckDB library where cargo looks for it: fetched with npm, checked against
# tools/duckdb.sha256, kept in the cache, linked as .duckdb in the checkout.
#
# Without npm, or on another machine than x86-64 Linux, it says so and succeeds without a library: the
# Makefile then builds with `--features bundled`. A wrong checksum is an error, never a reason to go on.
set -eu

version=1.5.6 # what the crate in Cargo.toml links: duckdb 1.10506.1
package=@duckdb/node-bindings-linux-x64@1.5.6-r.1
archive=duckdb-node-bindings-linux-x64-1.5.6-r.1.tgz

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portolan/duckdb/$version

if [ -n "${DUCKDB_LIB_DIR:-}" ]; then
    [ -e "$DUCKDB_LIB_DIR/libduckdb.so" ] && exit 0
    echo "DUCKDB_LIB_DIR is $DUCKDB_LIB_DIR, and there is no libduckdb.so in it" >&2
    exit 1
fi

# check FOLDER FILE: whether the file there has the checksum that the repository keeps of it.
check() {
    wanted=$(sed -n "s/  $2\$//p" "$root/tools/duckdb.sha256")
    [ -n "$wanted" ] || { echo "tools/duckdb.sha256 has no line for $2" >&2; exit 1; }
    found=$(sha256sum "$1/$2" | cut -d ' ' -f 1)
    [ "$found" = "$wanted" ] && return
    echo "$1/$2 is not what it should be; nothing was installed." >&2
    echo "  SHA-256 wanted: $wanted" >&2
    echo "  SHA-256 found:  $found" >&2
    exit 1
}

from_source() {
    echo "DuckDB $version: $1; it will be compiled from source (--features bundled)."
    echo "That takes about 46 CPU-minutes, once: a quarter of an hour on four cores."
    rm -f "$root/.duckdb"
    exit 0
}

if [ ! -e "$cache/libduckdb.so" ]; then
    [ "$(uname -sm)" = "Linux x86_64" ] || from_source "no prebuilt library for $(uname -sm) is pinned"
    command -v npm >/dev/null || from_source "npm is not installed, so the prebuilt library cannot be fetched"
    mkdir -p "$cache"
    new=$(mktemp -d "$cache/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT INT TERM
    echo "DuckDB $version: fetching the prebuilt library (24 MB) with npm ..."
    (cd "$new" && npm pack --silent --loglevel=error "$package" >/dev/null) ||
        { echo "npm could not fetch $package. Try again, or build with --features bundled." >&2; exit 1; }
    check "$new" "$archive"
    tar -xzf "$new/$archive" -C "$new" package/libduckdb.so
    check "$new/package" libduckdb.so
    mv "$new/package/libduckdb.so" "$cache/libduckdb.so"
fi
check "$cache" libduckdb.so
if [ "$(readlink "$root/.duckdb" || true)" != "$cache" ]; then
    ln -sfn "$cache" "$root/.duckdb"
    echo "DuckDB $version: the prebuilt library is in $cache"
fi
