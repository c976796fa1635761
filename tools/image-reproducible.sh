#!/bin/sh
# image-reproducible.sh PROGRAM SCANNER: makes the image of the tests twice, the second time from empty caches, and says
# whether the root is the same, bit by bit; where it is not, names the files that differ.
set -eu

root=$(cd "$(dirname "$0")/.." && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/portolan/image
other=$cache/reproduced
hash_of() { find "$1" -name '*.root-x86-64.raw' -exec sha256sum {} + | cut -d ' ' -f 1; }

"$root/image/build.sh" test "$@"
rm -rf "$other"
mkdir -p "$other/portolan/image/test"
trap 'umount "$other/a" "$other/b" 2>/dev/null || true; rm -rf "$other"' EXIT
trap 'exit 1' HUP INT TERM
# The same tools, keys, packages as they were fetched, and program as it was packed; everything else anew.
for one in tools keys packages; do
    ln -s "$cache/$one" "$other/portolan/image/$one"
done
cp -a "$cache/test/development" "$other/portolan/image/test/development"
XDG_CACHE_HOME=$other "$root/image/build.sh" test "$@"
first=$(hash_of "$cache/test/out") second=$(hash_of "$other/portolan/image/test/out")
if [ "$first" = "$second" ]; then
    echo "image-reproducible: the root is the same, sha256 $first"
    exit
fi
echo "image-reproducible: the roots differ ($first, $second):"
mkdir "$other/a" "$other/b"
mount -o loop,ro -t erofs "$(find "$cache/test/out" -name '*.root-x86-64.raw')" "$other/a"
mount -o loop,ro -t erofs "$(find "$other/portolan/image/test/out" -name '*.root-x86-64.raw')" "$other/b"
diff -rq --no-dereference "$other/a" "$other/b" || true
list() { (cd "$1" && find . -printf '%p %y %m %U:%G %s %T@ %l\n' | LC_ALL=C sort); }
list "$other/a" >"$other/list-a"
list "$other/b" >"$other/list-b"
diff "$other/list-a" "$other/list-b" || true
exit 1
