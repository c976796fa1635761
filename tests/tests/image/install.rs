//! From the installer's stick onto an empty disk.

use std::process::Command;

use portolan_tests::binaries::repository;
use portolan_tests::vm::{Image, Machine};
use tempfile::TempDir;

#[test]
#[ignore = "it takes an image and virtual machines: make test-image"]
fn the_stick_installs_onto_an_empty_disk_which_then_starts_by_itself() {
    let Some(image) = Image::of_tests() else { return };
    let folder = TempDir::with_prefix("portolan-image-").expect("a temporary folder can be made");
    let mut pack = Command::new(repository().join("image/pack.sh"));
    pack.arg(image.disk().parent().expect("it is in a folder")).arg(folder.path());
    let packed = pack.env("PACK", "installer-only").output().expect("it starts");
    assert!(packed.status.success(), "{packed:?}");
    let stick = folder.path().join(format!("portolan-{}-installer.raw", image.version()));

    let mut machine = Machine::empty(&image);
    machine.stick(Some(stick.clone()));
    let mut installer = machine.start();
    installer.until("the disks", |console| console.contains("Type its name:").then_some(()));
    // The stick itself is none to install on.
    installer.types("sda\n");
    installer.until("a refusal", |console| console.contains("There is no disk sda").then_some(()));
    installer.types("vda\n");
    installer.until("the question", |console| console.contains("Type YES to go on:").then_some(()));
    installer.types("YES\n");
    installer.until("the end", |console| console.contains("Installed. Take the stick out").then_some(()));
    let took = installer.seconds();
    installer.types("\n");
    installer.goes_off();

    // With the stick still in, but behind the disk in the order of the firmware, it is the disk that starts and is filled.
    machine.stick(None);
    machine.also(Some(stick));
    let mut with_stick = machine.start();
    let shown = with_stick.look();
    assert_eq!(with_stick.sh("/usr/lib/portolan-image/disk"), "/dev/vda");
    assert_eq!(
        with_stick.sh("lsblk -no PARTLABEL /dev/sda | grep -c var || true"),
        "0",
        "nothing was made on the stick"
    );
    with_stick.cut();
    machine.also(None);
    let mut running = machine.start();
    assert_eq!(running.look().certificate, shown.certificate);
    assert_eq!(running.sh("systemctl --no-pager --no-legend --failed"), "");
    let labels = running.sh("lsblk -no PARTLABEL /dev/vda | sort");
    assert!(labels.contains("var") && labels.contains("_empty"), "{labels}");
    eprintln!("installed after {took:.1} s");
}
