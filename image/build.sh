#!/bin/sh
# Makes the image (as root; the mirror of Debian is the one this machine uses):
#
#   image/build.sh release DIST      from what `make dist` left in DIST; the image goes to DIST/image
#   image/build.sh test PROGRAM SCANNER     from a development build, with a shell for the tests; it goes to the cache
#   image/build.sh test PROGRAM SCANNER NAME EXTRA     another such, NAME in the cache, with the files of EXTRA in it: an update
#
# IMAGE_KEYS       folder of the builder's keys for Secure Boot and for sealing /var; made there if there are none.
#                  Keep it: a machine takes updates that are signed with the same keys. (~/.cache/portolan/image/keys)
# IMAGE_VERSION    what the image calls itself; the program's version if not set
# IMAGE_SNAPSHOT   a date of Debian's archive (20260912T000000Z), where the mirror serves snapshots; without it today's
#                  packages are taken, and packages.txt says where they differ from those that it was last made with
#
# Everything it needs besides comes in a tree of tools, Debian 13 itself, made once in ~/.cache/portolan/image.
# Ends with 77 when this machine cannot make one: no root, no mirror, another processor.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portolan/image
keys=${IMAGE_KEYS:-$cache/keys}
tools=$cache/tools
suite=trixie

say() { echo "image: $*"; }
fail() { echo "image: $*" >&2; exit 1; }
cannot() { echo "image: NOT MADE: $*" >&2; exit 77; }

variant=${1:-}
case $variant in
    release) dist=$(cd "$2" && pwd) ;;
    test) program=$2 scanner=$3 place=${4:-test} more=${5:-} ;;
    *) fail "release DIST, or test PROGRAM SCANNER" ;;
esac
[ "$(id -u)" -eq 0 ] || cannot "this needs root"
[ "$(uname -m)" = x86_64 ] || cannot "this needs x86-64"
mkdir -p "$cache" "$keys"
chmod 700 "$keys"
exec 9>"$cache/lock"
flock 9

# The mirror of this machine, once as it is and once for security updates; or that of another file in the same form.
sources=${IMAGE_SOURCES:-/etc/apt/sources.list.d/debian.sources}
[ -f "$sources" ] || cannot "$sources is not there: IMAGE_SOURCES names a file that says where Debian is"
mirror=$(sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' "$sources" | head -n 1)
security=$(sed -n 's/^URIs:[[:space:]]*\([^[:space:]]*\).*/\1/p' "$sources" | grep -i security | head -n 1)
[ -n "$mirror" ] || cannot "no mirror in $sources"
if [ -n "${IMAGE_SNAPSHOT:-}" ]; then
    mirror=${mirror%/}/$IMAGE_SNAPSHOT security=${security:+${security%/}/$IMAGE_SNAPSHOT}
fi
keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# --- The tools: mkosi, systemd's programs, QEMU with its firmware, all of the same Debian.
packages=$(sed 's/#.*//' "$here/tools.txt" | tr -s ' \n' ',' | sed 's/^,//; s/,$//')
wanted="$suite $mirror $packages"
if [ "$(cat "$tools/.portolan" 2>/dev/null || true)" != "$wanted" ]; then
    command -v mmdebstrap >/dev/null || "$root/tools/test-setup.sh" image || cannot "mmdebstrap is not there"
    say "making the tree of tools in $tools"
    rm -rf "$tools"
    set -- "deb [signed-by=$keyring] $mirror $suite main" "deb [signed-by=$keyring] $mirror $suite-updates main"
    [ -z "$security" ] || set -- "$@" "deb [signed-by=$keyring] $security $suite-security main"
    mmdebstrap --quiet --variant=apt --mode=root --aptopt='APT::Install-Recommends "false"' \
        --aptopt='Acquire::Languages "none"' --include="$packages" "$suite" "$tools" "$@" ||
        cannot "the mirror of this machine gave no tools"
    printf '%s' "$wanted" >"$tools/.portolan"
fi

# --- The keys: for the firmware, and for the measurements that /var is sealed to. Never in the repository.
for name in secure-boot measurements; do
    [ -s "$keys/$name.key" ] && [ -s "$keys/$name.crt" ] && continue
    say "making $keys/$name.key: keep it, and keep it secret"
    (umask 077 && openssl req -x509 -newkey rsa:2048 -nodes -keyout "$keys/$name.key" -out "$keys/$name.crt" \
        -days 7300 -subj "/CN=Portolan image $name/" 2>/dev/null)
done

# --- The definition, with what only a build knows.
work=$cache/${place:-$variant}
definition=$work/definition
rm -rf "$definition" "$work/new"
mkdir -p "$work/new" "$cache/packages" "$cache/mkosi" "$cache/workspace"
cp -R "$here" "$definition"
sandbox=$definition/mkosi.sandbox/etc/apt/sources.list.d
mkdir -p "$sandbox"
# mkosi's own list names a suite that few mirrors have.
{
    printf 'Types: deb\nURIs: %s\nSuites: %s %s-updates\nComponents: main\nSigned-By: %s\n' "$mirror" "$suite" "$suite" "$keyring"
    [ -z "$security" ] ||
        printf '\nTypes: deb\nURIs: %s\nSuites: %s-security\nComponents: main\nSigned-By: %s\n' "$security" "$suite" "$keyring"
} >"$sandbox/mkosi.sources"

if [ "$variant" = release ]; then
    level=12 profile=
    archive=$(find "$dist" -maxdepth 1 -name 'portolan-*-linux-x86_64.tar.gz' | head -n 1)
    [ -n "$archive" ] || fail "no archive in $dist: make dist first"
    mkdir "$work/new/dist"
    tar -xzf "$archive" -C "$work/new/dist" --strip-components=1
    tree=$work/new/dist
else
    level=3 profile=test
    tree=$("$here/development.sh" "$program" "$scanner" "$cache/test/development")
fi
sed -i "s/@level@/$level/" "$definition"/mkosi.repart/*.conf
"$here/stage.sh" "$tree" "$work/new/extra"
if [ "$variant" = test ]; then
    "$here/development.sh" --checkout "$program" "$work/new/extra" "$cache/test/development"
    [ -z "$more" ] || cp -R "$more/." "$work/new/extra/"
fi
version=${IMAGE_VERSION:-$(cat "$work/new/extra/version")}
rm "$work/new/extra/version"
: "${SOURCE_DATE_EPOCH:=$(git -C "$root" log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH

# --- The build. What packages bring is kept between builds, and made anew when the definition of it changes.
out=$work/out
mkdir -p "$out"
find "$out" -mindepth 1 -delete
(cd "$definition" && PYTHONPATH=$tools/usr/lib/python3/dist-packages python3 -m mkosi \
    --image-version="$version" --tools-tree="$tools" ${profile:+--profile="$profile"} --extra-tree="$work/new/extra" \
    --package-cache-directory="$cache/packages" --cache-directory="$cache/mkosi" --workspace-directory="$cache/workspace" \
    --environment=SOURCE_DATE_EPOCH="$SOURCE_DATE_EPOCH" --source-date-epoch="$SOURCE_DATE_EPOCH" \
    --secure-boot-key="$keys/secure-boot.key" --secure-boot-certificate="$keys/secure-boot.crt" \
    --sign-expected-pcr-key="$keys/measurements.key" --sign-expected-pcr-certificate="$keys/measurements.crt" \
    --output-directory="$out" --incremental=yes --force build) >"$work/log" 2>&1 </dev/null 9>&- || {
    tail -n 40 "$work/log" >&2
    if grep -qE 'Failed to fetch|Could not resolve|Unable to connect' "$work/log"; then cannot "the mirror did not give all packages"; fi
    fail "the build failed; all of it is in $work/log"
}
say "$variant image $version in $out"
echo "$version" >"$out/version"
