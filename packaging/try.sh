#!/bin/sh
# Tries the packages as an administrator would, in a clean Debian that boots in systemd-nspawn (as root; some minutes):
#   packaging/try.sh DIST        what `make dist` left in DIST; SUITE=bookworm for Debian 12 instead of 13
#
# For the .deb, then for the tarball: install, services up, the page answers, upgrade while visitors come and go, remove, the
# data are still there, install, sign in. The tree is made once and kept in the cache; what is installed goes into a layer above it.
set -eu

dist=$(cd "$1" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portolan
suite=${SUITE:-trixie}
tree=$cache/trees/$suite-small
machine=portolan-try
[ "$(id -u)" -eq 0 ] || { echo "try: run this as root" >&2; exit 1; }

say() { echo "try: $*"; }
fail() { say "FAILED: $*"; inside journalctl --no-pager -n 80 || true; exit 1; }

if [ ! -e "$tree/.whole" ]; then
    say "making a clean $suite in $tree"
    rm -rf "$tree"
    mkdir -p "$(dirname "$tree")"
    mmdebstrap --quiet --variant=minbase \
        --include=systemd,systemd-sysv,dbus,curl,iproute2,minisign "$suite" "$tree"
    : >"$tree/.whole"
fi

work=$(mktemp -d "$cache/try.XXXXXX")
leader=
stop() {
    if [ -n "$leader" ]; then
        # PID 1 of a container takes this for: power off.
        kill -s RTMIN+4 "$leader" 2>/dev/null || true
        for _ in $(seq 300); do [ -d "/proc/$leader" ] || break; sleep 0.2; done
        kill -KILL "$nspawn" 2>/dev/null || true
        wait "$nspawn" 2>/dev/null || true
    fi
    leader=
}
trap 'stop; umount "$work/merged" 2>/dev/null || true; rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# inside COMMAND…: in the booted machine, with its own PID 1.
inside() { nsenter -t "$leader" --mount --uts --ipc --net --pid --cgroup -- "$@"; }

# boot NAME: a clean machine, up to its default target. Its network is its own loopback.
boot() {
    mkdir -p "$work/$1-upper" "$work/$1-work" "$work/merged"
    mount -t overlay overlay -o "lowerdir=$tree,upperdir=$work/$1-upper,workdir=$work/$1-work" "$work/merged"
    mkdir -p "$work/merged/dist"
    cp "$dist"/portolan* "$dist/release.pub" "$dist"/SHA256SUMS* "$work/merged/dist/"
    # A host with the older cgroups shows them to nobody here: systemd 257 wants the unified ones.
    # shellcheck disable=SC2016 # expanded there
    unshare --mount sh -c 'mount --make-rprivate /
        if [ ! -e /sys/fs/cgroup/cgroup.controllers ]; then umount -R /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup; fi
        exec systemd-nspawn --quiet --boot --register=no --keep-unit --private-network "$@"' sh \
        --machine="$machine" --directory="$work/merged" >"$work/$1.console" 2>&1 </dev/null &
    nspawn=$!
    for _ in $(seq 100); do
        leader=$(pgrep -P "$nspawn" -x 'systemd|init' || true)
        [ -z "$leader" ] || break
        kill -0 "$nspawn" 2>/dev/null || { cat "$work/$1.console"; say "systemd-nspawn does not boot here"; exit 1; }
        sleep 0.2
    done
    [ -n "$leader" ] || { cat "$work/$1.console"; exit 1; }
    for _ in $(seq 600); do
        state=$(inside systemctl is-system-running 2>/dev/null || true)
        case $state in running | degraded) return ;; esac
        sleep 0.5
    done
    fail "the machine did not come up: $state"
}

down() {
    stop
    umount "$work/merged"
}

up() {
    for unit in portolan-manager portolan-ingest portolan-dispatcher; do
        for _ in $(seq 240); do
            state=$(inside systemctl is-active "$unit" || true)
            [ "$state" != active ] || break
            sleep 0.5
        done
        [ "$state" = active ] || fail "$unit is $state"
        user=$(inside stat -c %U "/proc/$(inside systemctl show -p MainPID --value "$unit")")
        [ "$user" = "$unit" ] || fail "$unit runs as $user"
    done
}

# page PATH [CURL'S OPTIONS]: the body; fails when the answer is none or an error.
page() {
    path=$1
    shift
    inside curl -kfsS --max-time 60 -b /root/jar -c /root/jar -H 'Sec-Fetch-Site: same-origin' "$@" "https://localhost$path"
}

sign_in() {
    inside rm -f /root/jar
    page /api/v1/sign-in -H 'Content-Type: application/json' \
        --data '{"name":"owner","password":"correct horse battery staple"}' >/dev/null || fail "signing in"
    page /api/v1/me | grep -q '"owner"' || fail "who is signed in"
}

set_up() {
    code=$(inside journalctl -u portolan-manager -o cat --no-pager | sed -n 's/^portolan: setup code //p' | tail -n 1)
    [ -n "$code" ] || fail "no setup code in the log"
    page /api/v1/setup -H 'Content-Type: application/json' \
        --data "{\"code\":\"$code\",\"name\":\"owner\",\"display\":\"Owner\",\"password\":\"correct horse battery staple\",\"password_again\":\"correct horse battery staple\"}" \
        >/dev/null || fail "the setup"
    sign_in
    subnet "$1"
}

subnet() {
    page /api/v1/subnets -H 'Content-Type: application/json' --data "{\"name\":\"$1\",\"cidr\":\"10.20.0.0/24\",\"note\":\"\"}" >/dev/null ||
        fail "a subnet"
}

# visited WHAT COMMAND…: runs it while visitors ask for a page and for ingest without a pause. Nobody is turned away, and
# the sockets are those of before.
visited() {
    what=$1
    shift
    sockets='portolan-manager.socket portolan-ingest.socket'
    # shellcheck disable=SC2086 # names of units
    before=$(inside systemctl show -p ActiveEnterTimestampMonotonic --value $sockets)
    managed=$(inside systemctl show -p MainPID --value portolan-manager)
    inside rm -f /root/enough /root/asked /root/refused
    visitors=
    for port in 443 8443; do
        # Ingest has an answer for strangers too: a refusal, after a handshake.
        # shellcheck disable=SC2016 # expanded there
        inside sh -c 'while [ ! -e /root/enough ]; do
            curl -ksS --max-time 60 -o /dev/null "https://localhost:$1/sign-in" 2>>/root/refused || echo "port $1" >>/root/refused
            echo "$1" >>/root/asked
            sleep 0.1
        done' sh "$port" &
        visitors="$visitors $!"
    done
    "$@" >"$work/step" 2>&1 || { cat "$work/step"; fail "$what"; }
    up
    [ "$managed" != "$(inside systemctl show -p MainPID --value portolan-manager)" ] || fail "$what: the manager was not restarted"
    inside sh -c ': >/root/enough'
    # shellcheck disable=SC2086 # numbers of processes
    wait $visitors
    ! inside test -s /root/refused || { inside cat /root/refused; fail "$what: visitors were turned away"; }
    # shellcheck disable=SC2086 # names of units
    after=$(inside systemctl show -p ActiveEnterTimestampMonotonic --value $sockets)
    [ "$before" = "$after" ] || fail "$what: the sockets were closed: $before, then $after"
    say "$what: $(inside grep -c '^443$' /root/asked) visitors of the pages and $(inside grep -c '^8443$' /root/asked) of ingest, none turned away; sockets open since $(echo "$after" | tr '\n' ' ')"
}

# What must hold in every installation.
holds() {
    up
    page / -L -H 'Accept: text/html' | grep -q Portolan || fail "the page"
    # Ingest answers, and asks for a certificate of ours first.
    inside curl -ksS --max-time 60 -o /dev/null https://localhost:8443/ || fail "8443"
    [ "$(inside ss -Hltn | awk '{print $4}' | sed 's/.*://' | sort -un | tr '\n' ' ')" = "443 8443 " ] || fail "other ports: $(inside ss -Hltn)"
    ingest=$(inside systemctl show -p MainPID --value portolan-ingest)
    [ "$(inside ls "/proc/$ingest/root/var/lib/portolan" | tr '\n' ' ')" = "ingest jobs spool " ] || fail "ingest sees more than its folders"
    [ "$(inside nsenter -t "$ingest" --net ip -o link | wc -l)" -eq 1 ] || fail "ingest has a network"
    for file in manager/master.key config/config.db manager/results.duckdb dispatcher/job-signing.key; do
        inside test -e "/var/lib/portolan/$file" || [ "$file" = manager/master.key ] || fail "$file is not there"
        ! inside setpriv --reuid portolan-ingest --regid portolan-ingest --groups portolan-ingest,portolan-jobs,portolan-spool \
            head -c 1 "/var/lib/portolan/$file" >/dev/null 2>&1 || fail "ingest reads $file"
    done
    for unit in portolan-manager portolan-ingest portolan-dispatcher; do
        exposure=$(inside systemd-analyze security --no-pager "$unit" | sed -n 's/.*exposure level for .*: \([0-9.]*\) .*/\1/p')
        say "$unit: exposure $exposure"
        awk -v e="$exposure" 'BEGIN { exit !(e != "" && e <= 1.5) }' || fail "$unit is exposed"
    done
    inside systemctl reload portolan-manager portolan-ingest || fail "a reload"
    up
}

deb=$(cd "$dist" && echo portolan_*.deb)
archive=$(cd "$dist" && echo portolan-*.tar.gz)

try_deb() {
    boot deb
    say "deb: signature, install"
    inside minisign -Vqm "/dist/$deb" -p /dist/release.pub || fail "the package's signature"
    inside dpkg -i "/dist/$deb" >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; fail "dpkg -i"; }
    holds
    set_up first
    if inside journalctl -u portolan-manager -o cat --no-pager | grep -q 'DEVELOPMENT BUILD'; then
        say "deb: a development build: it gets its key by the configuration"
        # shellcheck disable=SC2016 # expanded inside
        inside sh -c 'echo "PORTOLAN_RELEASE_KEY=$(sed -n 2p /dist/release.pub)" >>/etc/portolan/portolan.conf'
    fi
    say "deb: a changed program is refused"
    inside systemctl stop portolan-manager.service
    inside sh -c 'cd /usr/lib/portolan && cp -p portolan /root/ && cp -p portolan changed && printf x >>changed && mv changed portolan'
    inside systemctl start portolan-manager.service 2>/dev/null && fail "a changed program was started"
    [ "$(inside systemctl show -p ExecMainStatus --value portolan-manager)" = 77 ] || fail "it was refused for another reason"
    inside sh -c 'cd /usr/lib/portolan && cp -p /root/portolan right && mv right portolan'
    inside systemctl start portolan-manager.service || fail "it does not start again"
    say "deb: upgrade"
    repack
    visited "deb: upgrade" inside dpkg -i /dist/newer.deb
    holds
    sign_in
    say "deb: an older version, and the archive over it, are refused"
    ! inside dpkg -i "/dist/$deb" >"$work/dpkg" 2>&1 || fail "an older version went in"
    grep -q 'an older version does not open' "$work/dpkg" || { cat "$work/dpkg"; fail "it was refused for another reason"; }
    inside sh -c "cd /root && tar -xzf '/dist/$archive' && mv portolan-*-linux-* unpacked"
    ! inside sh /root/unpacked/install.sh 2>"$work/over" || fail "the archive went over the package"
    grep -q 'the Debian package portolan is installed' "$work/over" || { cat "$work/over"; fail "it was refused for another reason"; }
    up
    say "deb: remove"
    inside dpkg -r portolan >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; fail "dpkg -r"; }
    ! inside systemctl is-active --quiet portolan-manager || fail "it runs on"
    inside test -s /var/lib/portolan/config/config.db || fail "the data are gone"
    say "deb: install again"
    inside dpkg -i "/dist/$deb" >"$work/dpkg" 2>&1 || { cat "$work/dpkg"; fail "dpkg -i again"; }
    holds
    sign_in
    page '/api/v1/subnets' | grep -q '"first"' || fail "the subnet is gone"
    down
}

# The same package with a higher version.
repack() {
    rm -rf "$work/repack"
    dpkg-deb -R "$work/merged/dist/$deb" "$work/repack"
    sed -i 's/^Version: .*/&+1/' "$work/repack/DEBIAN/control"
    dpkg-deb --root-owner-group -Znone --build "$work/repack" "$work/merged/dist/newer.deb" >/dev/null
}

try_archive() {
    boot archive
    say "archive: signature, install"
    inside minisign -Vqm "/dist/$archive" -p /dist/release.pub || fail "the archive's signature"
    inside sh -c "cd /root && tar -xzf '/dist/$archive' && mv portolan-* portolan"
    say "archive: with a master key that systemd opens"
    inside sh -c 'mkdir -p -m 700 /etc/credstore.encrypted && head -c 32 /dev/urandom |
        systemd-creds encrypt --with-key=host --name=portolan-master-key - /etc/credstore.encrypted/portolan-master-key' 2>/dev/null ||
        fail "systemd-creds"
    inside sh /root/portolan/install.sh || fail "install.sh"
    holds
    set_up first
    ! inside test -e /var/lib/portolan/manager/master.key || fail "a master key in a file, beside the credential"
    say "archive: again, and nothing changes"
    before=$(inside systemctl show -p MainPID --value portolan-manager)
    inside sh /root/portolan/install.sh 2>"$work/again" || fail "install.sh again"
    ! grep -q wrote "$work/again" || { cat "$work/again"; fail "it wrote again what was there"; }
    [ "$before" = "$(inside systemctl show -p MainPID --value portolan-manager)" ] || fail "it was restarted for nothing"
    say "archive: upgrade, with a configuration of the site's own"
    # shellcheck disable=SC2016 # expanded there
    inside sh -c 'echo PORTOLAN_LEASE=90 >>/etc/portolan/portolan.conf; cd /root/portolan && echo "# newer" >>systemd/portolan.conf && for unit in manager ingest dispatcher; do echo "# newer" >>systemd/portolan-$unit.service; done && find . -type f ! -path ./SHA256SUMS | sed "s|^\./||" | xargs sha256sum >../sums && mv ../sums SHA256SUMS'
    visited "archive: upgrade" inside sh /root/portolan/install.sh
    inside grep -q '^PORTOLAN_LEASE=90$' /etc/portolan/portolan.conf || fail "the configuration was written over"
    inside grep -q '^# newer$' /etc/portolan/portolan.conf.new || fail "no .new"
    holds
    sign_in
    say "archive: the package over it, and a program that ends at once"
    ! inside dpkg -i "/dist/$deb" >"$work/dpkg" 2>&1 || fail "the package went over the archive"
    grep -q 'run it with --uninstall first' "$work/dpkg" || { cat "$work/dpkg"; fail "it was refused for another reason"; }
    inside dpkg --purge portolan >/dev/null 2>&1 || true
    # shellcheck disable=SC2016 # expanded there
    inside sh -c 'kill -TERM "$(systemctl show -p MainPID --value portolan-dispatcher)"'
    for _ in $(seq 120); do
        [ "$(inside systemctl show -p NRestarts --value portolan-dispatcher)" -eq 0 ] || break
        sleep 0.5
    done
    up
    inside sh -c 'echo PORTOLAN_LEASE=never >>/etc/portolan/portolan.conf'
    inside systemctl stop portolan-dispatcher
    ! inside sh /root/portolan/install.sh 2>"$work/broken" || fail "it says that a service runs that does not"
    grep -q 'portolan-dispatcher.service does not run' "$work/broken" || { cat "$work/broken"; fail "it does not say what does not run"; }
    inside sed -i '/^PORTOLAN_LEASE=never$/d' /etc/portolan/portolan.conf
    inside sh /root/portolan/install.sh || fail "it does not start again"
    say "archive: remove"
    inside sh /root/portolan/install.sh --uninstall || fail "--uninstall"
    ! inside systemctl is-active --quiet portolan-manager || fail "it runs on"
    inside test -s /var/lib/portolan/config/config.db || fail "the data are gone"
    say "archive: install again"
    inside sh /root/portolan/install.sh || fail "install.sh after --uninstall"
    holds
    sign_in
    page '/api/v1/subnets' | grep -q '"first"' || fail "the subnet is gone"
    down
}

for what in ${TRY:-deb archive}; do
    "try_$what"
done
say "all of it holds: ${TRY:-deb archive}"
