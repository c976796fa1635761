#!/bin/sh
# pack.sh OUT DIST: from the raw image of a build in OUT makes what people take home, in DIST:
#   portolan-VERSION.raw.xz            for flashing onto a disk
#   portolan-VERSION.qcow2             for QEMU and libvirt
#   portolan-VERSION.ova               for VMware, VirtualBox and the like
#   portolan-VERSION-installer.raw.xz  for a stick, which installs onto the disk of the machine that boots it
#   portolan-VERSION-update/           for a stick: an update, from any older version; and the same as one file, .portolan-update
#   SHA256SUMS                         and SHA256SUMS.minisig
# IMAGE_KEYS is the folder of the keys that the image was built with. SIGNING_KEY names the secret key whose public half is in the program; its password is asked for.
# PACK=installer-only makes portolan-VERSION-installer.raw and nothing else, PACK=update-only the update alone, as the tests
# need them.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
out=$(cd "$1" && pwd)
mkdir -p "$2"
dist=$(cd "$2" && pwd)
tools=${XDG_CACHE_HOME:-$HOME/.cache}/portolan/image/tools
keys=${IMAGE_KEYS:-${XDG_CACHE_HOME:-$HOME/.cache}/portolan/image/keys}
version=$(cat "$out/version")
name=portolan-$version

# tool PROGRAM ARGUMENTS…: a program of the tree of tools, with its own loader and libraries.
tool() {
    program=$(find "$tools/usr/bin" "$tools/usr/sbin" -maxdepth 1 -name "$1" | head -n 1)
    shift
    "$tools/usr/lib64/ld-linux-x86-64.so.2" --library-path "$tools/usr/lib/x86_64-linux-gnu:$tools/usr/lib/x86_64-linux-gnu/systemd" "$program" "$@"
}

work=$(mktemp -d "$dist/new.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' HUP INT TERM

# portolan ARGUMENTS…: the program that is in the image.
portolan() {
    program=$(find "$out/../new/extra/usr/lib/portolan" -maxdepth 1 -type f -name portolan)
    LD_LIBRARY_PATH="$(dirname "$program")" "$program" "$@"
}

# The update: the identifiers of root and hashes, of which their names tell, are the halves of the root's hash.
update() {
    : "${SIGNING_KEY:?names the secret key that signs the update}"
    set -- "$out"/portolan_"$version".*.root-x86-64.raw "$out"/portolan_"$version".*.root-x86-64-verity.raw
    [ $# -eq 2 ] || { echo "pack.sh: $out has not one root and its hashes" >&2; exit 1; }
    hash=$(for file in "$@"; do basename "$file" | sed "s/^portolan_$version\.//; s/\..*//"; done | tr -d '\n')
    portolan update pack --version "$version" --hash "$hash" --root "$1" --verity "$2" --uki "$out/portolan_$version.efi" \
        --key "$SIGNING_KEY" --to "$work/$name-update" --archive "$work/$name.portolan-update"
    rm -rf "${dist:?}/$name-update"
    mv "$work/$name-update" "$work/$name.portolan-update" "$dist/"
}
if [ "${PACK:-}" = update-only ]; then
    update
    exit
fi

# The stick: the same disk, and beside it a signed addition to the command line, by which it installs. It is no second entry of
# the kernel's own file: of a version on trial the loader would start that one first.
cp --sparse=always "$out/portolan_$version.raw" "$work/$name-installer.raw"
start=$(tool sfdisk --json "$work/$name-installer.raw" |
    tool jq '.partitiontable.partitions[] | select(.type == "C12A7328-F81F-11D2-BA4B-00C04B0C3C8A" or .name == "esp") | .start')
PYTHONPATH=$tools/usr/lib/python3/dist-packages python3 "$tools/usr/bin/ukify" build --output="$work/unsigned.efi" \
    --stub="$tools/usr/lib/systemd/boot/efi/addonx64.efi.stub" --cmdline=systemd.unit=portolan-install.target >/dev/null
tool sbsign --key "$keys/secure-boot.key" --cert "$keys/secure-boot.crt" --output "$work/install.addon.efi" "$work/unsigned.efi"
tool mmd -i "$work/$name-installer.raw@@$((start * 512))" ::/loader/addons
tool mcopy -i "$work/$name-installer.raw@@$((start * 512))" "$work/install.addon.efi" ::/loader/addons/
if [ "${PACK:-}" = installer-only ]; then
    mv "$work/$name-installer.raw" "$dist/"
    exit
fi

for file in "$name-installer.raw" "$name.raw"; do
    [ -e "$work/$file" ] || cp --sparse=always "$out/portolan_$version.raw" "$work/$file"
    xz -T 0 -6 "$work/$file"
done
tool qemu-img convert -f raw -O qcow2 -c "$out/portolan_$version.raw" "$work/$name.qcow2"

# The appliance for hypervisors: the disk as they read it in a stream, what machine it wants, and the sums of both. Its disk
# is 32 GB there, of which /var takes what is left.
tool qemu-img create -q -f qcow2 -F raw -b "$out/portolan_$version.raw" "$work/large.qcow2" 32G
tool qemu-img convert -f qcow2 -O vmdk -o subformat=streamOptimized "$work/large.qcow2" "$work/$name-disk1.vmdk"
size=$(stat -c %s "$work/$name-disk1.vmdk")
sed "s/@version@/$version/g; s/@size@/$size/; s/@disk@/$name-disk1.vmdk/; s/@capacity@/32/" "$here/portolan.ovf" >"$work/$name.ovf"
(cd "$work" && for file in "$name.ovf" "$name-disk1.vmdk"; do
    echo "SHA256($file)= $(sha256sum "$file" | cut -d ' ' -f 1)"
done >"$name.mf" && tar --format=ustar --owner=0 --group=0 --mtime=@0 -cf "$name.ova" "$name.ovf" "$name.mf" "$name-disk1.vmdk")

update
for file in "$name.raw.xz" "$name.qcow2" "$name.ova" "$name-installer.raw.xz"; do
    mv "$work/$file" "$dist/"
done
(cd "$dist" && sha256sum "$name.raw.xz" "$name.qcow2" "$name.ova" "$name-installer.raw.xz" "$name.portolan-update" >SHA256SUMS)
portolan sign sign --key "$SIGNING_KEY" --comment "portolan $version image SHA256SUMS" "$dist/SHA256SUMS"
ls -l "$dist"
