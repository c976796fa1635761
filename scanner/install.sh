#!/bin/sh
# Installs the Portolan scanner on this machine: a system user, the program, its manual page, a unit for systemd.
# POSIX sh. Run it again at any time: what is there already stays as it is. It changes nothing before the program is
# verified, and it never writes over /etc/portolan/never-scan.
set -eu

# What the appliance that serves this script knows, or `make release-scanner` wrote: public, all of it.
# facts begin
appliance=
ca_sha256=
job_key=
pages=
pages_pin=
scanner_pub=
scanner_sha256=
kit=
# facts end

usage() {
    cat <<'END'
Usage: install.sh [options]            install the scanner, and enrol it with a one-time token
       install.sh --uninstall [--purge]

  --from DIR         take the program from DIR (a stick) instead of the appliance; a kit that an appliance wrote is
                     taken from where it lies, with its token
  --key KEY          the key that the program must be signed with: scanner.pub, or its second line
  --token-file FILE  the file with the one-time token; "-" is standard input; else it is asked for
  --no-enrol         do not enrol now
  --appliance HOST:PORT, --ca-sha256 HEX, --job-key BASE64
                     what the appliance's page shows; a script that an appliance serves knows them
  --prefix DIR       where the program goes (/usr/local: /usr/local/bin)
  --syn              let it send raw packets (CAP_NET_RAW), for scans in syn mode
  --root DIR         do it all in this tree: no user is made and nothing is started
  --uninstall        stop it, and remove program, unit and manual page; keys and results stay
  --purge            with --uninstall: remove those too, the pinned key, never-scan and the user
END
}

say() { printf 'install.sh: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
has() { command -v "$1" >/dev/null 2>&1; }

# sha256 FILE
sha256() {
    if has sha256sum; then sha256sum <"$1"; elif has openssl; then openssl dgst -sha256 -r <"$1"; else shasum -a 256 <"$1"; fi |
        cut -d ' ' -f 1
}

# fetch NAME: from the stick, or from the appliance over TLS with its key pinned. What is fetched is verified later.
fetch() {
    if [ -n "$from" ]; then
        [ -f "$from/$1" ] && cp "$from/$1" "$work/$1"
    elif has curl; then
        curl -kfsS --pinnedpubkey "$pages_pin" -o "$work/$1" "$pages/scanner/$1"
    elif has wget; then
        wget -q --no-check-certificate -O "$work/$1" "$pages/scanner/$1"
    else
        fail "neither curl nor wget is here: bring the program on a stick, and give --from DIR"
    fi
}

# key_word TEXT|FILE: the key without its comment.
key_word() {
    if [ -f "$1" ]; then sed '/^untrusted comment:/d' "$1" | head -n 1; else printf '%s\n' "$1"; fi | tr -d ' \r\n'
}

openssl_can() { has openssl && openssl pkeyutl -help 2>&1 | grep -q -e '-rawin'; }

# bytes FILE FIRST COUNT
bytes() { dd if="$1" bs=1 skip="$2" count="$3" 2>/dev/null; }

# signature_is_good KEY: of $work/portolan-scanner, in minisign's form, over the file itself.
signature_is_good() {
    signature=$work/portolan-scanner.minisig
    case $(sed -n 2p "$signature") in
        RW*) ;;
        RU*) say "it is signed in the form with a hash: sign it with 'portolan sign sign --legacy', or 'minisign -S -l'"; return 1 ;;
        *) return 1 ;;
    esac
    if has minisign; then
        minisign -Vqm "$work/portolan-scanner" -x "$signature" -P "$1" >/dev/null 2>&1
        return
    fi
    printf '%s' "$1" | openssl base64 -d -A >"$work/key"
    sed -n 2p "$signature" | openssl base64 -d -A >"$work/first"
    sed -n 4p "$signature" | openssl base64 -d -A >"$work/over-comment"
    [ "$(wc -c <"$work/key")" -eq 42 ] && [ "$(wc -c <"$work/first")" -eq 74 ] || return 1
    # Algorithm and number of the key.
    [ "$(bytes "$work/key" 0 10 | sha256 /dev/stdin)" = "$(bytes "$work/first" 0 10 | sha256 /dev/stdin)" ] || return 1
    # SubjectPublicKeyInfo of an Ed25519 key (RFC 8410), as PEM.
    {
        echo '-----BEGIN PUBLIC KEY-----'
        { printf '\060\052\060\005\006\003\053\145\160\003\041\000' && bytes "$work/key" 10 32; } | openssl base64
        echo '-----END PUBLIC KEY-----'
    } >"$work/key.pem"
    bytes "$work/first" 10 64 >"$work/over-file"
    { cat "$work/over-file" && sed -n '3s/^trusted comment: //p' "$signature" | tr -d '\n'; } >"$work/commented"
    signed_by_key "$work/portolan-scanner" "$work/over-file" && signed_by_key "$work/commented" "$work/over-comment"
}

# signed_by_key FILE SIGNATURE
signed_by_key() {
    openssl pkeyutl -verify -pubin -inkey "$work/key.pem" -rawin -in "$1" -sigfile "$2" >/dev/null 2>&1
}

# Decides whether the program may be installed, before anything is touched. Sets `key`.
verify() {
    key=
    if [ -n "$scanner_pub" ]; then
        key=$(key_word "$scanner_pub")
        printf '%s\n' "$key" | grep -qx 'RW[A-Za-z0-9+/]\{54\}' || fail "--key: $scanner_pub is no key, nor a file with one"
    fi
    if [ -f "$pinned" ]; then
        known=$(key_word "$pinned")
        [ -z "$key" ] || [ "$key" = "$known" ] ||
            fail "another key is pinned in $pinned: if the key was changed on purpose, remove that file first"
        key=$known
    fi
    fetch portolan-scanner || fail "the program cannot be had: ${from:-$pages}/portolan-scanner"
    if [ -n "$key" ]; then
        has minisign || openssl_can ||
            fail "a key is pinned, and nothing here can check a signature: install minisign or OpenSSL 3 first"
        fetch portolan-scanner.minisig || fail "a key is pinned, and the program comes without its signature"
        signature_is_good "$key" || fail "the program's signature is not good: nothing was installed"
        say "the signature is good: $(sed -n '3s/^trusted comment: //p' "$work/portolan-scanner.minisig" | tr -cd '[:print:]')"
        return
    fi
    wanted=$scanner_sha256
    if [ -z "$wanted" ] && fetch SHA256SUMS; then
        wanted=$(sed -n 's/^\([0-9a-f]*\) [ *]portolan-scanner$/\1/p' "$work/SHA256SUMS")
    fi
    [ -n "$wanted" ] || fail "no key is pinned and no SHA-256 is known: give --key KEY"
    [ "$(sha256 "$work/portolan-scanner")" = "$wanted" ] || fail "the program's SHA-256 is another one: nothing was installed"
    say "no key is pinned: the SHA-256 shows that the program arrived whole, not who made it"
}

# keep FILE MODE: writes standard input there, if it says something new.
keep() {
    cat >"$work/text"
    if ! cmp -s "$work/text" "$1"; then
        mkdir -p "$(dirname "$1")"
        cp "$work/text" "$1.new"
        chmod "$2" "$1.new"
        mv "$1.new" "$1"
        case $1 in "$unit"*) : >"$work/restart" ;; esac
        say "wrote $1"
    fi
}

systemd_runs() { [ -z "$root" ] && [ -d /run/systemd/system ]; }

# as_scanner COMMAND…: as the scanner's user.
as_scanner() {
    if [ -n "$root" ]; then
        "$@"
    elif has runuser; then
        runuser -u "$user" -- "$@"
    else
        setpriv --reuid "$user" --regid "$user" --clear-groups "$@"
    fi
}

make_user() {
    [ -z "$root" ] || return 0
    if ! id "$user" >/dev/null 2>&1; then
        if has useradd; then
            useradd --system --user-group --home-dir "$state" --no-create-home --shell /usr/sbin/nologin "$user"
        else
            addgroup -S "$user" && adduser -S -D -H -h "$state" -s /sbin/nologin -G "$user" "$user"
        fi
        say "made the user $user"
    fi
}

install_program() {
    mkdir -p "$(dirname "$program")"
    if cmp -s "$work/portolan-scanner" "$program"; then
        return
    fi
    cp "$work/portolan-scanner" "$program.new"
    chmod 755 "$program.new"
    if ! version=$("$program.new" --version 2>/dev/null); then
        rm -f "$program.new"
        fail "the program does not run here: it is for another CPU, or the file system forbids programs"
    fi
    [ ! -f "$program" ] || ln -f "$program" "$program.previous"
    mv "$program.new" "$program"
    : >"$work/restart"
    say "installed $version as $program"
}

find_token() {
    token=''
    if [ "$token_file" = - ]; then
        IFS= read -r token || true
    elif [ -n "$token_file" ]; then
        IFS= read -r token <"$token_file" || true
    elif (: </dev/tty >/dev/tty) 2>/dev/null; then
        printf 'One-time token, as the appliance shows it (empty: enrol later): ' >/dev/tty
        hidden=yes
        stty -echo </dev/tty
        IFS= read -r token </dev/tty || true
        stty echo </dev/tty
        hidden=no
        echo >/dev/tty
    fi
}

enrol() {
    if [ -f "$state/link.conf" ] || [ "$enrols" = no ]; then
        return
    fi
    find_token
    if [ -z "$token" ]; then
        say "not enrolled: no token was given; run this again with one"
        return
    fi
    if [ -z "$appliance" ] || [ -z "$ca_sha256" ] || [ -z "$job_key" ]; then
        fail "to enrol it takes --appliance, --ca-sha256 and --job-key, as the appliance's page shows them"
    fi
    # The token goes through a pipe: an argument or the environment could be read by others on this machine.
    printf '%s\n' "$token" | as_scanner "$program" enrol --appliance "$appliance" --ca-sha256 "$ca_sha256" \
        --job-key "$job_key" --dir "$state" --token-file -
}

install() {
    [ -n "$from$pages" ] || fail "give --from DIR: this copy of the script comes from no appliance"
    work=$(mktemp -d)
    hidden=no
    trap 'rm -rf "$work"; [ "$hidden" = no ] || stty echo </dev/tty' EXIT
    trap 'exit 1' HUP INT TERM
    verify
    make_user
    mkdir -p "$config"
    install_program
    [ -z "$key" ] || printf 'untrusted comment: the key that releases of the scanner are signed with\n%s\n' "$key" | keep "$pinned" 644
    [ -e "$config/never-scan" ] || keep "$config/never-scan" 644 <<'END'
# What no scan on this machine ever touches: addresses, ranges and subnets, with commas or white space between.
END
    "$program" --man | keep "$root$prefix/share/man/man1/portolan-scanner.1" 644
    "$program" --unit | sed "s#/usr/local/bin/#$prefix/bin/#" | keep "$unit" 644
    if [ "$syn" = yes ]; then
        keep "$unit.d/syn.conf" 644 <<'END'
[Service]
CapabilityBoundingSet=CAP_NET_RAW
AmbientCapabilities=CAP_NET_RAW
PrivateUsers=no
ProcSubset=all
RestrictAddressFamilies=AF_PACKET AF_NETLINK
END
    fi
    mkdir -p "$state"
    chmod 700 "$state"
    [ -n "$root" ] || chown -R "$user:$user" "$state"
    enrol
    if systemd_runs; then
        systemctl daemon-reload
        if [ -f "$state/link.conf" ]; then
            systemctl enable --now portolan-scanner
            [ ! -e "$work/restart" ] || systemctl try-restart portolan-scanner
        fi
    elif [ -z "$root" ]; then
        say "systemd does not run here: start it as $user with: $program run --dir $state"
    fi
    say "done"
}

uninstall() {
    if systemd_runs && [ -f "$unit" ]; then
        systemctl disable --now portolan-scanner || true
    fi
    rm -f "$program" "$program.previous" "$program.new" "$unit" "$unit.d/syn.conf" "$root$prefix/share/man/man1/portolan-scanner.1"
    rmdir "$unit.d" 2>/dev/null || true
    if systemd_runs; then
        systemctl daemon-reload
    fi
    if [ "$purge" = no ]; then
        say "removed; $state and $config stay (--purge removes them)"
        return
    fi
    rm -rf "$state"
    rm -f "$pinned" "$config/never-scan"
    rmdir "$config" 2>/dev/null || true
    if [ -z "$root" ] && id "$user" >/dev/null 2>&1; then
        if has userdel; then userdel "$user"; else deluser "$user"; fi
    fi
    say "removed, with its keys and results; revoke it on the appliance's page"
}

main() {
    user=portolan-scanner from='' prefix=/usr/local root='' token_file='' enrols=yes syn=no action=install purge=no
    while [ $# -gt 0 ]; do
        case $1 in
            --from | --key | --token-file | --appliance | --ca-sha256 | --job-key | --prefix | --root)
                [ $# -ge 2 ] || fail "$1 needs a value"
                case $1 in
                    --from) from=$2 ;;
                    --key) scanner_pub=$2 ;;
                    --token-file) token_file=$2 ;;
                    --appliance) appliance=$2 ;;
                    --ca-sha256) ca_sha256=$2 ;;
                    --job-key) job_key=$2 ;;
                    --prefix) prefix=${2%/} ;;
                    --root) root=${2%/} ;;
                esac
                shift 2
                continue
                ;;
            --no-enrol) enrols=no ;;
            --syn) syn=yes ;;
            --uninstall) action=uninstall ;;
            --purge) purge=yes ;;
            --help | -h) usage; exit 0 ;;
            *) fail "$1 is not known here; --help shows the options" ;;
        esac
        shift
    done
    # A kit lies beside its script, and its token with it.
    if [ -n "$kit" ] && [ -z "$from" ]; then
        from=$(dirname "$0")
        if [ -z "$token_file" ] && [ -f "$from/token" ]; then
            token_file=$from/token
        fi
    fi
    case $prefix in /*[!A-Za-z0-9/._-]*) fail "--prefix: letters, digits, and /._- only" ;; /*) ;; *) fail "--prefix begins with /" ;; esac
    [ "$(uname -s)" = Linux ] || fail "the scanner runs on Linux"
    [ -n "$root" ] || [ "$(id -u)" -eq 0 ] || fail "run this as root"
    program=$root$prefix/bin/portolan-scanner
    state=$root/var/lib/portolan-scanner
    config=$root/etc/portolan
    pinned=$config/scanner.pub
    unit=$root/etc/systemd/system/portolan-scanner.service
    "$action"
}

# All of it was read when this line is: a download that broke off does nothing.
main "$@"
