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
  --root DIR     do it all in this tree: nothing is started
END
}

say() { printf 'install.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# place MODE FILE: writes standard input there, if it says something new, and notes that it did.
place() {
    cat >"$work/new"
    if ! cmp -s "$work/new" "$2" || [ "$(stat -c %a "$2")" != "$1" ]; then
        mkdir -p "$(dirname "$2")"
        cp "$work/new" "$2.part"
        chmod "$1" "$2.part"
        mv "$2.part" "$2"
        : >"$work/changed"
        say "wrote $2"
    fi
}

# The files that came along, and nothing else, as they were when they were packed.
check() {
    [ -f "$from/SHA256SUMS" ] || fail "SHA256SUMS is not here: unpack the whole archive"
    (cd "$from" && sha256sum --quiet --strict -c SHA256SUMS) || fail "files are damaged: nothing was installed"
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

program() {
    place_all "$from/lib" "$lib"
    place_all "$from/lib/scanner" "$lib/scanner"
    mkdir -p "$bin"
    ln -sfn ../lib/portolan/portolan "$bin/portolan"
    [ -e "$bin/portolan-scanner" ] || [ ! -f "$lib/scanner/portolan-scanner" ] ||
        ln -sfn ../lib/portolan/scanner/portolan-scanner "$bin/portolan-scanner"
}

units() {
    for file in "$from"/systemd/*.target "$from"/systemd/*.socket "$from"/systemd/*.service; do
        placed "$file" | place 644 "$units/$(basename "$file")"
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

install() {
    check
    has systemd-sysusers || fail "this takes systemd 252 or later"
    users_and_folders
    program
    units
    papers
    configuration
    if systemd_runs && [ "$starts" = yes ]; then
        [ ! -e "$work/changed" ] || systemctl daemon-reload
        systemctl enable --quiet portolan.target portolan-manager.socket portolan-ingest.socket
        # A socket that is there stays; new connections wait in it while the services change places.
        systemctl start portolan-manager.socket portolan-ingest.socket
        [ ! -e "$work/changed" ] || systemctl restart portolan.target
        systemctl start portolan.target
        say "it runs: journalctl -u portolan-manager tells the certificate and, before there is an owner, the setup code"
    fi
    say "done"
}

uninstall() {
    if systemd_runs; then
        systemctl disable --quiet --now portolan.target portolan-manager.socket portolan-ingest.socket 2>/dev/null || true
        systemctl stop portolan-manager.service portolan-ingest.service portolan-dispatcher.service 2>/dev/null || true
        systemctl disable --quiet --now portolan-scanner.service 2>/dev/null || true
    fi
    for file in "$from"/systemd/*.target "$from"/systemd/*.socket "$from"/systemd/*.service; do
        rm -f "$units/$(basename "$file")"
    done
    rm -f "$sysusers" "$tmpfiles"
    rm -rf "$lib"
    for name in portolan portolan-scanner; do
        [ ! -L "$bin/$name" ] || rm -f "$bin/$name"
    done
    for file in "$from"/man/*.1; do
        rm -f "$root$prefix/share/man/man1/$(basename "$file")"
    done
    rm -f "$root$prefix/share/bash-completion/completions/portolan" "$root$prefix/share/zsh/site-functions/_portolan" \
        "$root$prefix/share/fish/vendor_completions.d/portolan.fish"
    if systemd_runs; then
        systemctl daemon-reload
    fi
    say "removed; $root/var/lib/portolan with the data and the keys, $(dirname "$config") and the users stay"
}

main() {
    prefix=/usr/local root='' action=install starts=yes
    while [ $# -gt 0 ]; do
        case $1 in
            --prefix | --root)
                [ $# -ge 2 ] || fail "$1 needs a value"
                case $1 in --prefix) prefix=${2%/} ;; --root) root=${2%/} ;; esac
                shift 2
                continue
                ;;
            --no-start) starts=no ;;
            --uninstall) action=uninstall ;;
            --help | -h) usage; exit 0 ;;
            *) fail "$1 is not known here; --help shows the options" ;;
        esac
        shift
    done
    case $prefix in /*[!A-Za-z0-9/._-]*) fail "--prefix: letters, digits, and /._- only" ;; /*) ;; *) fail "--prefix begins with /" ;; esac
    [ "$(uname -s)" = Linux ] || fail "the appliance runs on Linux"
    [ "$(id -u)" -eq 0 ] || fail "run this as root"
    [ ! -e "${root}/var/lib/dpkg/info/portolan.list" ] || fail "the Debian package portolan is installed here: use that, or remove it first"
    from=$(cd "$(dirname "$0")" && pwd)
    lib=$root$prefix/lib/portolan bin=$root$prefix/bin
    units=$root/etc/systemd/system
    sysusers=$root/etc/sysusers.d/portolan.conf tmpfiles=$root/etc/tmpfiles.d/portolan.conf
    config=$root/etc/portolan/portolan.conf
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    "$action"
}

# All of it was read when this line is.
main "$@"
