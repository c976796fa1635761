#!/bin/sh
# Signs the scanner that was just built and lays the release out in dist/scanner/, which is also the kit for a stick:
#   release-scanner.sh SCANNER PORTOLAN [SBOM]
# SIGNING_KEY names the secret key (its password is asked for); SIGNING_PUB its public half, beside it if not set.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
scanner=$1 portolan=$2 sbom=${3:-}
dist=${DIST:-$root/dist/scanner}

fail() { echo "release-scanner: $*" >&2; exit 1; }

key=${SIGNING_KEY:-}
[ -n "$key" ] || fail "nothing was signed: say which key is yours, SIGNING_KEY=FILE; '$portolan sign keygen --secret FILE' makes one"
public=${SIGNING_PUB:-${key%.key}.pub}
[ -f "$key" ] || fail "$key is not there"
[ -f "$public" ] || fail "the public key is not there: $public (SIGNING_PUB names another)"

mkdir -p "$(dirname "$dist")"
new=$(mktemp -d "$(dirname "$dist")/new.XXXXXX")
trap 'rm -rf "$new"' EXIT
trap 'exit 1' HUP INT TERM
chmod 755 "$new"
cp "$scanner" "$new/portolan-scanner"
chmod 755 "$new/portolan-scanner"
comment="$("$new/portolan-scanner" --version) $(uname -s | tr '[:upper:]' '[:lower:]')-$(uname -m)"
"$portolan" sign sign --legacy --key "$key" --comment "$comment" "$new/portolan-scanner"
"$portolan" sign verify --public-key "$public" "$new/portolan-scanner" >/dev/null ||
    fail "$public is not the public half of $key"
cp "$public" "$new/scanner.pub"
word=$(sed '/^untrusted comment:/d' "$public" | head -n 1)
# The script of the kit carries the key: whoever trusts the script needs no other source for it.
sed "s|^scanner_pub=\$|scanner_pub='$word'|" "$root/scanner/install.sh" >"$new/install.sh"
grep -q "^scanner_pub='$word'\$" "$new/install.sh" || fail "install.sh has no place for the key"
chmod 755 "$new/install.sh"
[ -z "$sbom" ] || cp "$sbom" "$new/$(basename "$sbom")"
files=$(cd "$new" && find . -type f | sed "s|^\./||" | LC_ALL=C sort)
# shellcheck disable=SC2086 # names of ours, without spaces
(cd "$new" && sha256sum $files >SHA256SUMS)
rm -rf "$dist"
mv "$new" "$dist"
echo "release of $comment in $dist"
