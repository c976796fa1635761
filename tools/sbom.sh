#!/bin/sh
# Writes a CycloneDX 1.5 list of what is linked into a scanner: tools/sbom.sh BINARY [CARGO'S FEATURE OPTIONS] >FILE
# or into the appliance: SBOM_OF=portolan tools/sbom.sh BINARY
#
# The same source and toolchain give the same bytes: the time is SOURCE_DATE_EPOCH, and there is no serial number.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
binary=$1
shift
sum=$(sha256sum "$binary" | cut -d ' ' -f 1)
time=$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%Y-%m-%dT%H:%M:%SZ)
rust=$(rustc -V | cut -d ' ' -f 2)
# The C library is linked in, so it is on the list as well.
libc=$(getconf GNU_LIBC_VERSION | cut -d ' ' -f 2)

of=${SBOM_OF:-portolan-scanner}
# The appliance has DuckDB, in itself or beside it; the crate's version names it.
duckdb=
if [ "$of" = portolan ]; then
    duckdb=$(sed -n 's/^version=\([0-9.]*\).*/\1/p' tools/duckdb.sh)
fi

cargo tree --offline --locked -p "$of" -e normal --prefix depth --format ' {p}|{l}' "$@" |
    awk -v sum="$sum" -v time="$time" -v rust="$rust" -v libc="$libc" -v duckdb="$duckdb" '
    BEGIN {
        FS = "|"
        while ((getline line <"Cargo.lock") > 0) {
            if (line ~ /^name = /) { split(line, part, "\""); name = part[2] }
            if (line ~ /^version = /) { split(line, part, "\""); version = part[2] }
            if (line ~ /^checksum = /) { split(line, part, "\""); checksum[name "@" version] = part[2] }
        }
    }
    {
        sub(/ \(\*\)$/, "")
        split($1, word, " ")
        depth = word[1]
        version = substr(word[3], 2)
        ref = "pkg:cargo/" word[2] "@" version
        above[depth] = ref
        if (!(ref in seen)) {
            seen[ref] = 1
            order[count++] = ref
            names[ref] = word[2]; versions[ref] = version; gsub("/", " OR ", $2); licences[ref] = $2
        }
        pair = above[depth - 1] " " ref
        if (depth > 0 && !(pair in edges)) {
            edges[pair] = 1
            needs[above[depth - 1]] = needs[above[depth - 1]] (needs[above[depth - 1]] ? ", " : "") "\"" ref "\""
        }
    }
    function component(kind, ref, hash) {
        printf "{\"type\": \"%s\", \"bom-ref\": \"%s\", \"name\": \"%s\", \"version\": \"%s\", \"purl\": \"%s\"",
            kind, ref, names[ref], versions[ref], ref
        if (hash) printf ", \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"%s\"}]", hash
        printf ", \"licenses\": [{\"expression\": \"%s\"}]}", licences[ref]
    }
    function also(name, version, licence,    ref) {
        ref = "pkg:generic/" name "@" version
        order[count++] = ref
        names[ref] = name; versions[ref] = version; licences[ref] = licence
        needs[order[0]] = needs[order[0]] (needs[order[0]] ? ", " : "") "\"" ref "\""
    }
    END {
        also("rust-std", rust, "MIT OR Apache-2.0")
        also("glibc", libc, "LGPL-2.1-or-later")
        if (duckdb) also("duckdb", duckdb, "MIT")
        printf "{\n\"bomFormat\": \"CycloneDX\",\n\"specVersion\": \"1.5\",\n\"version\": 1,\n"
        printf "\"metadata\": {\"timestamp\": \"%s\", \"component\": ", time
        component("application", order[0], sum)
        printf "},\n\"components\": [\n"
        for (i = 1; i < count; i++) {
            ref = order[i]
            component("library", ref, checksum[names[ref] "@" versions[ref]])
            print i + 1 < count ? "," : ""
        }
        printf "],\n\"dependencies\": [\n"
        for (i = 0; i < count; i++) {
            printf "{\"ref\": \"%s\", \"dependsOn\": [%s]}%s\n", order[i], needs[order[i]], i + 1 < count ? "," : ""
        }
        print "]\n}"
    }'
