#!/bin/sh
# Packs the appliance: dist/ gets a tarball with install.sh, a .deb for Debian 12 and 13, and the list of what is linked in,
# each signed, and SHA256SUMS over all of them.
#
# SIGNING_KEY names the secret key (its password is asked for once a file); SIGNING_PUB its public half, beside it if not set.
# That key is pinned in the program, which then starts with a signature of it alone. The same source, toolchain and key give
# the same bytes: every time in them is SOURCE_DATE_EPOCH, that of the last commit where it is not set.
#
# For tests: DIST is another folder; DIST_PROGRAM a program that is there already (one of the dev profile reads its pages from
# the checkout, and so works on this machine alone); DIST_TREE=yes leaves the tarball's folder unpacked and packs nothing.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
dist=${DIST:-$root/dist}
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$root/target}"
: "${SOURCE_DATE_EPOCH:=$(git log -1 --format=%ct 2>/dev/null || echo 0)}"
export SOURCE_DATE_EPOCH

fail() { echo "dist: $*" >&2; exit 1; }

key=${SIGNING_KEY:-}
[ -n "$key" ] || fail "say which key is yours, SIGNING_KEY=FILE; 'portolan sign keygen --secret FILE' makes one"
public=${SIGNING_PUB:-${key%.key}.pub}
[ -f "$key" ] || fail "$key is not there"
[ -f "$public" ] || fail "the public key is not there: $public (SIGNING_PUB names another)"
scanner=${DIST_SCANNER:-$dist/scanner}
[ -f "$scanner/portolan-scanner" ] || fail "$scanner is not there: make release-scanner first"

word=$(sed '/^untrusted comment:/d' "$public" | head -n 1)
library=
if [ -n "${DIST_PROGRAM:-}" ]; then
    program=$DIST_PROGRAM
else
    cargo_home=${CARGO_HOME:-$HOME/.cargo}
    remap="--remap-path-prefix=$cargo_home=/cargo --remap-path-prefix=$CARGO_TARGET_DIR=/target --remap-path-prefix=$root=/portolan"
    # shellcheck disable=SC2016,SC2086 # $ORIGIN is the loader's; FEATURES are words
    PORTOLAN_RELEASE_KEY=$word PORTOLAN_RPATH='$ORIGIN' RUSTFLAGS="${RUSTFLAGS:-} $remap" \
        cargo build --locked --release -p portolan ${FEATURES:-}
    program=$CARGO_TARGET_DIR/release/portolan
fi
if readelf -d "$program" | grep -q 'libduckdb\.so'; then
    library=${DUCKDB_LIB_DIR:-$root/.duckdb}/libduckdb.so
fi

mkdir -p "$dist"
work=$(mktemp -d "$dist/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM
umask 022

# What is signed, is signed as it is installed.
lib=$work/lib
mkdir -p "$lib"
cp "$program" "$lib/portolan"
[ -z "$library" ] || cp "$library" "$lib/libduckdb.so"
if [ "${DIST_TREE:-}" != yes ]; then
    for file in "$lib"/*; do
        strip --strip-unneeded "$file"
    done
    # shellcheck disable=SC2016 # as it stands there
    if readelf -d "$lib/portolan" | grep -E 'R(UN)?PATH' | grep -qv '\[\$ORIGIN\]'; then
        fail "the program would look for its library elsewhere: it was built without PORTOLAN_RPATH"
    fi
    grep -qaF "$word" "$lib/portolan" || fail "the key is not pinned in the program: it would start whatever became of it"
fi
chmod 755 "$lib/portolan"
version=$(LD_LIBRARY_PATH="$lib" "$lib/portolan" --version 2>/dev/null | cut -d ' ' -f 2)
[ -n "$version" ] || fail "the program does not run here"
machine=$(uname -m)
sign() { LD_LIBRARY_PATH="$lib" "$lib/portolan" sign sign --key "$key" --comment "portolan $version linux-$machine $(basename "$1")" "$1" >/dev/null; }
for file in "$lib"/*; do
    sign "$file"
    LD_LIBRARY_PATH="$lib" "$lib/portolan" sign verify --public-key "$public" "$file" >/dev/null || fail "$public is not the public half of $key"
done
LD_LIBRARY_PATH="$lib" "$lib/portolan" sign verify --public-key "$public" "$scanner/portolan-scanner" >/dev/null ||
    fail "$scanner is no release of this key: make release-scanner anew"
mkdir "$lib/scanner"
for file in portolan-scanner portolan-scanner.minisig scanner.pub install.sh SHA256SUMS; do
    cp "$scanner/$file" "$lib/scanner/$file"
done
chmod 755 "$lib/scanner/portolan-scanner" "$lib/scanner/install.sh"

mkdir "$work/completions" "$work/man" "$work/systemd"
LD_LIBRARY_PATH="$lib" "$lib/portolan" completions bash >"$work/completions/portolan.bash"
LD_LIBRARY_PATH="$lib" "$lib/portolan" completions zsh >"$work/completions/_portolan"
LD_LIBRARY_PATH="$lib" "$lib/portolan" completions fish >"$work/completions/portolan.fish"
cp man/*.1 "$work/man/"
cp systemd/*.target systemd/*.socket systemd/*.timer systemd/*.service systemd/portolan.sysusers systemd/portolan.tmpfiles \
    systemd/portolan.conf "$work/systemd/"
SBOM_OF=portolan tools/sbom.sh "$lib/portolan" >"$work/portolan.cdx.json"

# same_time FOLDER: every time in it is that of the source.
same_time() { find "$1" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +; }

# The tarball's folder.
name=portolan-$version-linux-$machine
tree=$work/$name
mkdir "$tree"
cp -R "$lib" "$work/completions" "$work/man" "$work/systemd" "$work/portolan.cdx.json" "$tree/"
cp README.md INSTALL.md SECURITY.md CHANGELOG.md LICENSE-APACHE LICENSE-MIT "$tree/"
cp "$public" "$tree/release.pub"
cp packaging/install.sh "$tree/install.sh"
chmod 755 "$tree/install.sh"
files=$(cd "$tree" && find . -type f | sed 's|^\./||' | LC_ALL=C sort)
# shellcheck disable=SC2086 # names of ours, without spaces
(cd "$tree" && sha256sum $files >"$work/SHA256SUMS")
mv "$work/SHA256SUMS" "$tree/SHA256SUMS"
same_time "$tree"
if [ "${DIST_TREE:-}" = yes ]; then
    rm -rf "${dist:?}/$name"
    mv "$tree" "$dist/$name"
    echo "$dist/$name"
    exit
fi
tar -C "$work" --sort=name --owner=0 --group=0 --numeric-owner --format=gnu -cf - "$name" | gzip -n -6 >"$work/$name.tar.gz"

# The package.
architecture=$(dpkg --print-architecture)
deb=$work/deb
into() { mkdir -p "$deb/$2" && cp -R "$1" "$deb/$2/"; }
mkdir -p "$deb/usr/lib" "$deb/usr/bin" "$deb/DEBIAN"
cp -R "$lib" "$deb/usr/lib/portolan"
ln -s ../lib/portolan/portolan "$deb/usr/bin/portolan"
ln -s ../lib/portolan/scanner/portolan-scanner "$deb/usr/bin/portolan-scanner"
mkdir -p "$deb/usr/lib/systemd/system" "$deb/usr/lib/sysusers.d" "$deb/usr/lib/tmpfiles.d" "$deb/etc/portolan"
for file in systemd/*.target systemd/*.socket systemd/*.timer systemd/*.service; do
    sed 's#/usr/local/bin/portolan-scanner#/usr/bin/portolan-scanner#' "$file" >"$deb/usr/lib/systemd/system/$(basename "$file")"
done
cp systemd/portolan.sysusers "$deb/usr/lib/sysusers.d/portolan.conf"
cp systemd/portolan.tmpfiles "$deb/usr/lib/tmpfiles.d/portolan.conf"
cp systemd/portolan.conf "$deb/etc/portolan/portolan.conf"
for page in man/*.1; do
    mkdir -p "$deb/usr/share/man/man1"
    # shellcheck disable=SC2094 # what is read is another file than what is written
    gzip -n -9 <"$page" >"$deb/usr/share/man/man1/$(basename "$page").gz"
done
mkdir -p "$deb/usr/share/bash-completion/completions"
cp "$work/completions/portolan.bash" "$deb/usr/share/bash-completion/completions/portolan"
into "$work/completions/_portolan" usr/share/zsh/vendor-completions
into "$work/completions/portolan.fish" usr/share/fish/vendor_completions.d
doc=$deb/usr/share/doc/portolan
mkdir -p "$doc"
cp README.md INSTALL.md SECURITY.md "$work/portolan.cdx.json" "$doc/"
gzip -n -9 <CHANGELOG.md >"$doc/CHANGELOG.md.gz"
{
    echo "portolan ($version) stable; urgency=medium"
    echo
    echo "  * What changed is in CHANGELOG.md.gz."
    echo
    echo " -- The Portolan maintainers <maintainers@portolan.example>  $(LC_ALL=C date -u -R -d "@$SOURCE_DATE_EPOCH")"
} | gzip -n -9 >"$doc/changelog.gz"
mit=$(sed 's/^$/./; s/^/ /' LICENSE-MIT)
awk -v mit="$mit" '{ if ($0 == "@mit@") print mit; else print }' packaging/deb/copyright >"$doc/copyright"
for script in preinst postinst prerm postrm; do
    sed "s/@version@/$version/" "packaging/deb/$script" >"$deb/DEBIAN/$script"
    chmod 755 "$deb/DEBIAN/$script"
done
echo /etc/portolan/portolan.conf >"$deb/DEBIAN/conffiles"
size=$(du -k -s --apparent-size "$deb" | cut -f 1)
stdcxx=
[ -z "$library" ] || stdcxx='libstdc++6 (>= 12), '
sed "s/@version@/$version/; s/@architecture@/$architecture/; s/@size@/$size/; s/@stdcxx@/$stdcxx/" packaging/deb/control >"$deb/DEBIAN/control"
(cd "$deb" && find usr etc -type f -print0 | LC_ALL=C sort -z | xargs -0 md5sum) >"$work/md5sums"
mv "$work/md5sums" "$deb/DEBIAN/md5sums"
same_time "$deb"
package=portolan_${version}_$architecture.deb
dpkg-deb --root-owner-group -Zxz -z3 --build "$deb" "$work/$package" >/dev/null

# Signed, and on the list.
cp "$work/portolan.cdx.json" "$work/$name.cdx.json"
for file in "$name.tar.gz" "$package" "$name.cdx.json"; do
    sign "$work/$file"
done
(cd "$work" && sha256sum "$name.tar.gz" "$package" "$name.cdx.json" >SHA256SUMS)
sign "$work/SHA256SUMS"
for file in "$name.tar.gz" "$package" "$name.cdx.json" SHA256SUMS; do
    mv "$work/$file" "$work/$file.minisig" "$dist/"
done
cp "$public" "$dist/release.pub"
echo "in $dist, signed:"
(cd "$dist" && ls -l "$name.tar.gz" "$package" "$name.cdx.json" SHA256SUMS)
