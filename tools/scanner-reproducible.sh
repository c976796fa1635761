#!/bin/sh
# Builds the static scanner in two folders and compares: tools/scanner-reproducible.sh [link|usb|pq|none]
#
# What is built is the checkout as it is, with what git does not know but does not ignore either.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
flavour=${1:-link}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM
: "${SOURCE_DATE_EPOCH:=$(git -C "$root" log -1 --format=%ct)}"
export SOURCE_DATE_EPOCH

for folder in one another/and/deeper; do
    mkdir -p "$work/$folder"
    (cd "$root" && git ls-files -z --cached --others --exclude-standard | tar -c --null --ignore-failed-read -T -) |
        tar -x -C "$work/$folder"
    (cd "$work/$folder" && CARGO_TARGET_DIR="$work/$folder/built" tools/scanner.sh "$flavour")
done
cd "$work"
sha256sum one/built/static/* | sed 's# one/built/static/# #' >first
sha256sum another/and/deeper/built/static/* | sed 's# another/and/deeper/built/static/# #' >second
cat first
cmp first second || { echo "the two builds differ" >&2; cat second >&2; exit 1; }
echo "both builds are the same"
