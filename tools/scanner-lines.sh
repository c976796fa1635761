#!/bin/sh
# Counts the lines of the scanner's own source by part: code alone, without tests, comments and blank lines.
set -eu
cd "$(dirname "$0")/../scanner/src"
# Files of tests alone, as the files that own them say: `#[cfg(test)]`, other attributes, and then `mod name;`.
tests=$(find . -name '*.rs' -exec awk '
    /^#\[cfg\(test\)\]$/ { test = 1; next }
    test && /^(pub(\(crate\))? )?mod [a-z_]+;$/ { sub(/;/, ""); print "/" $NF ".rs" }
    test && /^#\[path = / { gsub(/^[^"]*"|"\]$/, ""); print "/" $0 }
    !/^#/ { test = 0 }' {} + | sort -u)
find . -name '*.rs' | sort | grep -vF "$tests" | while read -r file; do
    part=$(echo "$file" | cut -d / -f 2)
    case $part in *.rs) part=. ;; esac
    # What is behind `#[cfg(test)]` is one item: a line, or what follows up to a brace of its own line.
    echo "$part $(awk '
        item { if (/^}/) item = 0; next }
        /^#\[cfg\(test\)\]$/ { test = 1; next }
        test && /^#/ { next }
        test { item = /\{$/; test = 0; next }
        !/^[[:space:]]*(\/\/.*)?$/ { lines++ }
        END { print lines + 0 }' "$file")"
done | awk '{ lines[$1] += $2; all += $2 } END { for (part in lines) print lines[part], part; print all, "together" }' |
    sort -k2
