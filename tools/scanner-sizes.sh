#!/bin/sh
# How much of a static scanner comes from where, in bytes: tools/scanner-sizes.sh [link|usb|pq|none]
#
# Sums what the linker (lld) put into the file: C by the archive that it lies in, Rust by the crate that wrote it. A
# generic function counts for the crate that wrote it, an inlined one for the one that it went into.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
map=$(mktemp)
trap 'rm -f "$map"' EXIT
trap 'exit 1' HUP INT TERM
MAP=$map "$root/tools/scanner.sh" "${1:-link}"
# A line of the map with something in it: address, address, size, alignment, FILE:(SECTION).
awk '
    function number(hex,    i, sum) {
        for (i = 1; i <= length(hex); i++) sum = 16 * sum + index("0123456789abcdef", substr(hex, i, 1)) - 1
        return sum
    }
    # The crate that a mangled name begins with; of "<u8 as some::Trait>" the one of the trait.
    function crate(name,    digits) {
        sub(/^.*_ZN/, "", name)
        digits = name
        sub(/[^0-9].*/, "", digits)
        name = substr(name, length(digits) + 1)
        if (name !~ /^_?\$LT\$/) return substr(name, 1, digits)
        sub(/^_?\$LT\$/, "", name)
        if (name !~ "^" before "*[a-z_0-9]+[.][.]") sub(/^.*\$u20\$as\$u20\$/, "", name)
        sub("^" before "*", "", name)
        sub(/[^a-z_0-9].*/, "", name)
        return name
    }
    BEGIN { before = "([$](RF|BP|LP|u5b)[$]|(mut|const|dyn)[$]u20[$])" }
    $5 !~ /:\(/ || /:\(\.t?bss|:\(COMMON/ { next }
    {
        section = $0
        sub(/.*:\(/, "", section)
        sub(/\)[^)]*$/, "", section)
        if ($5 ~ /libring-/) from = "ring"
        else if ($5 ~ /libaws_lc/) from = "aws-lc-sys"
        else if ($5 ~ /^<internal>/) from = "(tables of the file)"
        else if ($5 !~ /\.rcgu\.o:/) from = "(the C library)"
        else if (section !~ /_ZN/) from = section ~ /rodata|data\.rel\.ro/ ? "(constants of Rust without a name)" : "(the Rust standard library)"
        else {
            from = crate(section)
            gsub("_", "-", from)
            if (from == "webpki") from = "rustls-webpki"
            if (from ~ /^(std|core|alloc|hashbrown|compiler-builtins|rustc-demangle|memchr|gimli|addr2line|miniz-oxide|object)$/) from = "(the Rust standard library)"
        }
        sizes[from] += number($3)
    }
    END { for (from in sizes) printf "%9d  %s\n", sizes[from], from }' "$map" | sort -rn
