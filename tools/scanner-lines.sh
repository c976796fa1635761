#!/bin/sh
# Counts the lines of the scanner's own source by part: code alone, without tests, comments and blank lines.
set -eu
cd "$(dirname "$0")/../scanner/src"
find . -name '*.rs' ! -name 'tests.rs' ! -name '*_tests.rs' ! -name 'testing.rs' | sort | while read -r file; do
    part=$(echo "$file" | cut -d / -f 2)
    case $part in *.rs) part=. ;; esac
    # A test module is the last thing in a file.
    echo "$part $(sed '/^#\[cfg(test)\]$/,$ d' "$file" | grep -cvE '^[[:space:]]*(//.*)?$' || true)"
done | awk '{ lines[$1] += $2; all += $2 } END { for (part in lines) print lines[part], part; print all, "together" }' |
    sort -k2
