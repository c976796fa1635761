#!/bin/sh
# Installs the Portolan appliance on this machine, from the folder that this script lies in: users, folders, program, units,
# manual pages, completions. POSIX sh. Run it again at any time, also with a newer version: what is there already stays as it
# is, the data stay untouched, and a configuration is never written over (a new example comes beside it as .new).
set -eu

usage() {
    cat <<'END'
Usage: install.sh [options]            install or upgrade, and start
       install.sh --uninstall          stop and remove the program; data, configuration and users stay

  --prefix DIR   where the program goes (/usr/local: /usr/local/lib/portolan, /usr/local/bin)
  --no-start     enable and start nothing
  --downgrade    also in the place of a newer version, which may have changed the databases: then older copies of them are
                 needed too
  --root DIR     do it all in this tree: nothing is started
END
}

say() { printf 'install.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# place MODE FILE: writes standard input there, if it says something new.
place() {
    cat >"$work/new"
    if ! cmp -s "$work/new" "$2" || [ "$(stat -c %a "$2")" != "$1" ]; then
        mkdir -p "$(dirname "$2")"
        cp "$work/new" "$2.part"
        chmod "$1" "$2.part"
        mv "$2.part" "$2"
        say "wrote $2"
    fi
}

# The files that came along, and nothing else, as they were when they were packed. What is installed is the copy that was
# looked at: where they were unpacked others may be able to write.
check() {
    [ -f "$from/SHA256SUMS" ] || fail "SHA256SUMS is not here: unpack the whole archive"
    mkdir -p "$root$prefix/lib"
    rm -rf "$copy"
    cp -RP "$from" "$copy"
    from=$copy
    (cd "$from" && find . ! -type d ! -path ./SHA256SUMS | sed 's|^\./||' | LC_ALL=C sort) >"$work/there"
    sed 's/^[0-9a-f]*[ *]*//' "$from/SHA256SUMS" | LC_ALL=C sort >"$work/listed"
    more=$(LC_ALL=C comm -23 "$work/there" "$work/listed")
    [ -z "$more" ] || fail "what was not packed is here too, nothing was installed: $(echo "$more" | head -n 3 | tr '\n' ' ')"
    [ -z "$(find "$from" ! -type d ! -type f)" ] || fail "there are links among the files: nothing was installed"
    (cd "$from" && sha256sum --quiet --strict -c SHA256SUMS) || fail "files are damaged: nothing was installed"
}

# Whether the program runs here, and is none older than the one that is in its place.
versions() {
    new=$("$from/lib/portolan" --version 2>"$work/why" | cut -d ' ' -f 2)
    if [ -z "$new" ]; then
        [ -n "$root" ] || fail "the program does not run on this machine, nothing was installed: it takes its CPU, glibc 2.36 or later and libstdc++6: $(head -n 1 "$work/why")"
        return 0
    fi
    old=$("$lib/portolan" --version 2>/dev/null | cut -d ' ' -f 2) || true
    [ -n "$old" ] && [ "$old" != "$new" ] && [ "$downgrade" = no ] || return 0
    [ "$(printf '%s\n%s\n' "$old" "$new" | sort -V | tail -n 1)" = "$new" ] ||
        fail "$old is installed, and this is $new: an older version does not open what a newer one has changed; --downgrade does it all the same"
}

# Units and definitions name /usr/lib/portolan; they are told where the program really is.
placed() { sed "s#/usr/lib/portolan\\b#$prefix/lib/portolan#g; s#/usr/local/bin/portolan-scanner#$prefix/bin/portolan-scanner#g" "$1"; }

users_and_folders() {
    placed "$from/systemd/portolan.sysusers" | place 644 "$sysusers"
    placed "$from/systemd/portolan.tmpfiles" | place 644 "$tmpfiles"
    systemd-sysusers ${root:+--root="$root"} portolan.conf
    # It tells of folders whose owner is not root's; those are the point of it.
    systemd-tmpfiles ${root:+--root="$root"} --create portolan.conf
}

# place_all FOLDER TO: the files of a folder; programs can be run.
place_all() {
    for one in "$1"/*; do
        [ -f "$one" ] || continue
        name=$(basename "$one")
        case $name in portolan | portolan-scanner | install.sh) mode=755 ;; *) mode=644 ;; esac
        # shellcheck disable=SC2094 # what is read is another file than what is written
        place "$mode" "$2/$name" <"$one"
    done
}

# Whether the scanner's program and unit are not there or are ours. The scanner's own script installs both under the same
# names, and what it did is not ours to change.
our_scanner() {
    unit=$units/portolan-scanner.service
    { [ ! -e "$unit" ] || grep -qF "ExecStart=$prefix/bin/portolan-scanner " "$unit"; } &&
        { [ ! -e "$bin/portolan-scanner" ] || [ "$(readlink "$bin/portolan-scanner")" = "$scanner_link" ]; }
}

program() {
    place_all "$from/lib" "$lib"
    place_all "$from/lib/scanner" "$lib/scanner"
    mkdir -p "$bin"
    ln -sfn ../lib/portolan/portolan "$bin/portolan"
    [ -e "$bin/portolan-scanner" ] || [ ! -f "$lib/scanner/portolan-scanner" ] ||
        ln -sfn "$scanner_link" "$bin/portolan-scanner"
}

units() {
    for file in "$from"/systemd/*.target "$from"/systemd/*.socket "$from"/systemd/*.timer "$from"/systemd/*.service; do
        name=$(basename "$file")
        [ "$name" != portolan-scanner.service ] || our_scanner || continue
        placed "$file" | place 644 "$units/$name"
    done
}

papers() {
    place_all "$from/man" "$root$prefix/share/man/man1"
    [ ! -f "$from/completions/portolan.bash" ] ||
        place 644 "$root$prefix/share/bash-completion/completions/portolan" <"$from/completions/portolan.bash"
    [ ! -f "$from/completions/_portolan" ] ||
        place 644 "$root$prefix/share/zsh/site-functions/_portolan" <"$from/completions/_portolan"
    [ ! -f "$from/completions/portolan.fish" ] ||
        place 644 "$root$prefix/share/fish/vendor_completions.d/portolan.fish" <"$from/completions/portolan.fish"
}

configuration() {
    if [ ! -e "$config" ]; then
        place 644 "$config" <"$from/systemd/portolan.conf"
    elif cmp -s "$from/systemd/portolan.conf" "$config"; then
        rm -f "$config.new"
    elif ! cmp -s "$from/systemd/portolan.conf" "$config.new"; then
        place 644 "$config.new" <"$from/systemd/portolan.conf"
        say "$config is as you left it; what this version comes with is beside it"
    fi
}

# outdated UNIT PROGRAM: whether it runs, and from other files than those that are there now; also after a run of this
# script that was broken off. Asked before systemd reads the units anew.
outdated() {
    pid=$(systemctl show -p MainPID --value "$1")
    [ "${pid:-0}" -gt 0 ] || return 1
    [ "$(systemctl show -p NeedDaemonReload --value "$1")" != yes ] &&
        [ "$(stat -Lc %d:%i "/proc/$pid/exe")" = "$(stat -Lc %d:%i "$2")" ] &&
        ! grep -q 'libduckdb\.so (deleted)$' "/proc/$pid/maps" || return 0
    return 1
}

start() {
    old='' scanner=''
    for service in $services; do
        ! outdated "$service" "$lib/portolan" || old="$old $service"
    done
    ! our_scanner || ! outdated portolan-scanner.service "$lib/scanner/portolan-scanner" || scanner=portolan-scanner.service
    systemctl daemon-reload
    # shellcheck disable=SC2086 # names of units
    systemctl enable --quiet $wanted
    # A socket that is there stays; new connections wait in it while the services change places. A restart of the target
    # would close it.
    systemctl start portolan-manager.socket portolan-ingest.socket
    # shellcheck disable=SC2086 # names of units
    [ -z "$old$scanner" ] || systemctl restart $old $scanner || true
    # shellcheck disable=SC2086 # names of units
    systemctl start $services portolan.target || true
    for service in $services; do
        systemctl is-active --quiet "$service" || fail "it is installed, but $service does not run: journalctl -u $service says why"
    done
    say "it runs: journalctl -u portolan-manager tells the certificate and, before there is an owner, the setup code"
}

install() {
    check
    has systemd-sysusers || fail "this takes systemd 252 or later"
    versions
    users_and_folders
    program
    units
    papers
    configuration
    if [ "$starts" = no ]; then
        say "nothing was enabled or started"
    elif systemd_runs; then
        start
    elif [ -n "$root" ] && has systemctl; then
        # shellcheck disable=SC2086 # names of units
        systemctl --root="$root" enable --quiet $wanted || fail "the services could not be enabled"
    fi
    say "done"
}

uninstall() {
    kept=portolan-scanner.service
    ! our_scanner || kept=
    # shellcheck disable=SC2086 # names of units
    if systemd_runs; then
        systemctl disable --quiet --now $wanted 2>/dev/null || true
        systemctl stop $services 2>/dev/null || true
        [ -n "$kept" ] || systemctl disable --quiet --now portolan-scanner.service 2>/dev/null || true
    elif [ -n "$root" ] && has systemctl; then
        systemctl --root="$root" disable --quiet $wanted 2>/dev/null || true
    fi
    for file in "$from"/systemd/*.target "$from"/systemd/*.socket "$from"/systemd/*.timer "$from"/systemd/*.service; do
        [ "$(basename "$file")" = "$kept" ] || rm -f "$units/$(basename "$file")"
    done
    rm -f "$sysusers" "$tmpfiles"
    rm -rf "$lib"
    for name in portolan portolan-scanner; do
        case $(readlink "$bin/$name" || true) in ../lib/portolan/*) rm -f "$bin/$name" ;; esac
    done
    for file in "$from"/man/*.1; do
        rm -f "$root$prefix/share/man/man1/$(basename "$file")"
    done
    rm -f "$root$prefix/share/bash-completion/completions/portolan" "$root$prefix/share/zsh/site-functions/_portolan" \
        "$root$prefix/share/fish/vendor_completions.d/portolan.fish"
    if systemd_runs; then
        systemctl daemon-reload
    fi
    say "removed; $root/var/lib/portolan with the data and the keys, a sealed master key (portolan-seal beside it, or /etc/credstore.encrypted), $(dirname "$config") and the users stay"
}

main() {
    umask 022
    prefix=/usr/local root='' action=install starts=yes downgrade=no
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix | --root)
                [ $# -ge 2 ] || fail "$1 needs a value"
                case $1 in --prefix) prefix=${2%/} ;; --root) root=${2%/} ;; esac
                shift 2
                continue
                ;;
            --no-start) starts=no ;;
            --downgrade) downgrade=yes ;;
            --uninstall) action=uninstall ;;
            --help | -h) usage; exit 0 ;;
            *) fail "$1 is not known here; --help shows the options" ;;
        esac
        shift
    done
    case $prefix in /*[!A-Za-z0-9/._-]*) fail "--prefix: letters, digits, and /._- only" ;; /*) ;; *) fail "--prefix begins with /" ;; esac
    [ "$(uname -s)" = Linux ] || fail "the appliance runs on Linux"
    [ "$(id -u)" -eq 0 ] || fail "run this as root"
    [ "$(dpkg-query --admindir="$root/var/lib/dpkg" -W -f='${db:Status-Status}' portolan 2>/dev/null || true)" != installed ] ||
        fail "the Debian package portolan is installed here: use that, or remove it first"
    from=$(cd "$(dirname "$0")" && pwd)
    lib=$root$prefix/lib/portolan bin=$root$prefix/bin
    units=$root/etc/systemd/system
    sysusers=$root/etc/sysusers.d/portolan.conf tmpfiles=$root/etc/tmpfiles.d/portolan.conf
    config=$root/etc/portolan/portolan.conf
    scanner_link=../lib/portolan/scanner/portolan-scanner
    services='portolan-manager.service portolan-ingest.service portolan-dispatcher.service'
    wanted='portolan.target portolan-manager.socket portolan-ingest.socket'
    copy=$root$prefix/lib/.portolan.new
    work=$(mktemp -d)
    trap 'rm -rf "$work" "$copy"' EXIT
    trap 'exit 1' HUP INT TERM
    "$action"
}

# All of it was read when this line is.
main "$@"
