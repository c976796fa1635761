#!/bin/sh
# updates.sh PROGRAM SCANNER: makes, for the tests, two updates of the image of the tests: `next`, the same one version later,
# and `broken`, in which ingest does not start. Each is in the cache, in NAME/update.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portolan/image
version=$(cat "$cache/test/out/version")
changed=$(mktemp -d)
trap 'rm -rf "$changed"' EXIT
trap 'exit 1' HUP INT TERM
drop=$changed/usr/lib/systemd/system/portolan-ingest.service.d
mkdir -p "$drop"
printf '[Service]\nExecStart=\nExecStart=/bin/false\n' >"$drop/60-broken.conf"
# Nobody has to wait for what will not come.
drop=$changed/usr/lib/systemd/system/portolan-update-gate.service.d
mkdir -p "$drop"
printf '[Service]\nExecStart=\nExecStart=/usr/lib/portolan/portolan update gate --from-boot --within 120\n' >"$drop/60-broken.conf"

for name in next broken; do
    if [ "$name" = next ]; then more='' number=1; else more=$changed number=2; fi
    # What it was made from; when that is the same, so is the update.
    mark="$(stat -c '%n %s %Y' "$1" "$2" "$cache/test/out/version") $name"
    [ "$(cat "$cache/$name/mark" 2>/dev/null || true)" != "$mark" ] || continue
    rm -f "$cache/$name/mark"
    IMAGE_VERSION=$version.$number "$here/build.sh" test "$1" "$2" "$name" "$more"
    SIGNING_KEY=$cache/test/development/test.key PACK=update-only "$here/pack.sh" "$cache/$name/out" "$cache/$name/update"
    # The disk is not needed, and large.
    rm -f "$cache/$name/out"/portolan_*.raw "$cache/$name/out"/initrd*
    echo "$mark" >"$cache/$name/mark"
done
