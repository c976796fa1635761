#!/bin/sh
# Prints image/SIZE.md: what each package installs in the image, and what is left of it there, from the build that
# `make image` made last.
set -eu

cache=${XDG_CACHE_HOME:-$HOME/.cache}/portolan/image
out=$cache/${1:-release}/out
[ -e "$out/version" ] || { echo "image-sizes: $out has no image: make image first" >&2; exit 1; }
python3 - "$out" <<'PYTHON'
import glob, json, os, sys

out = sys.argv[1]
version = open(f"{out}/version").read().strip()
manifest = json.load(open(f"{out}/portolan_{version}.manifest"))
megabytes = lambda size: f"{size / 1e6:.1f}"
size = lambda pattern: os.path.getsize(glob.glob(f"{out}/{pattern}")[0])

print("# Size of the image\n")
print("Made by `make image-sizes`. A package's size is what it installs, before what the image has no use for is removed and")
print("before compression: it says where to look, not what would be saved.\n")
print("| part | MB |\n|---|---|")
print(f"| root, compressed | {megabytes(size('*.root-x86-64.raw'))} |")
print(f"| its hashes | {megabytes(size('*.root-x86-64-verity.raw'))} |")
print(f"| kernel, initrd and command line | {megabytes(size('portolan_*.efi'))} |")
dist = os.environ.get("IMAGE_DIST", "dist/image")
for name, what in (("raw.xz", "for a disk, compressed"), ("qcow2", "for QEMU, compressed"), ("ova", "for hypervisors")):
    file = f"{dist}/portolan-{version}.{name}"
    if os.path.exists(file):
        print(f"| {what} | {megabytes(os.path.getsize(file))} |")
print("\n| package | version | MB |\n|---|---|---|")
packages = sorted(manifest["packages"], key=lambda one: (-one.get("size", 0), one["name"]))
for one in packages:
    print(f"| {one['name']} | {one['version']} | {megabytes(one.get('size', 0))} |")
print(f"| all {len(packages)} | | {megabytes(sum(one.get('size', 0) for one in packages))} |")
PYTHON
