#!/bin/sh
# Runs cargo-deny: the one that tools/test-setup.sh installed, or the one on the PATH.
set -eu
own=${XDG_CACHE_HOME:-$HOME/.cache}/portolan/tools/bin/cargo-deny
if [ -x "$own" ]; then exec "$own" "$@"; fi
if command -v cargo-deny >/dev/null; then exec cargo-deny "$@"; fi
echo "cargo-deny is not installed: run 'make setup'" >&2
exit 1
