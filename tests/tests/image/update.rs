//! Updates from a stick: a good one stays, a forged one is refused, one that is not well goes by itself.

use std::fs;
use std::path::{Path, PathBuf};

use portolan_tests::vm::media::stick;
use portolan_tests::vm::{Image, Machine, Running};
use tempfile::TempDir;

use super::set_up;

/// The shell has the key of the tests in its environment, as every unit of the tests; a release has its key in the program.
const PROGRAM: &str = "/usr/lib/portolan/portolan";

/// Mounts the stick that is in the machine; where the update is then.
fn on_the_stick(running: &mut Running, update: &Path) -> String {
    running.sh("mkdir -p /run/stick && mount -t vfat -o ro /dev/sda /run/stick");
    format!("/run/stick/{}", update.file_name().expect("it is a folder").to_string_lossy())
}

fn kernels(running: &mut Running) -> Vec<String> {
    running.sh("ls /boot/EFI/Linux | sort").lines().map(str::to_owned).collect()
}

fn version(running: &mut Running) -> String {
    running.sh(". /etc/os-release; echo $IMAGE_VERSION")
}

/// The folder of an update that `make image-updates-of-tests` made.
fn update(image: &Image, name: &str) -> Option<(String, PathBuf)> {
    let folder = image.beside(name);
    let Ok(version) = fs::read_to_string(folder.join("out/version")) else {
        eprintln!("NOT TESTED: there is no image {name}; `make image-updates-of-tests` makes it");
        return None;
    };
    let version = version.trim().to_owned();
    let update = folder.join(format!("update/portolan-{version}-update"));
    Some((version, update))
}

#[test]
#[ignore = "it takes images and virtual machines: make test-image"]
fn a_good_update_from_a_stick_stays_and_a_forged_one_changes_nothing() {
    let Some(image) = Image::of_tests() else { return };
    let Some((next, good)) = update(&image, "next") else { return };
    let folder = TempDir::with_prefix("portolan-image-").expect("a temporary folder can be made");
    let mut machine = Machine::flashed(&image).with_tpm();
    machine.also(Some(stick(image.tools(), folder.path(), std::slice::from_ref(&good))));
    let mut running = machine.start();
    let key = running.recovery_key();
    running.types(&format!("{}\n", key.rsplit('-').next().expect("it has blocks")));
    let shown = running.look();
    set_up(&running, &shown);
    let at = on_the_stick(&mut running, &good);

    // Another version in the manifest, and it is not what was signed.
    let forged = "mkdir -p /run/forged && cp -R /run/stick/* /run/forged/ && f=$(ls /run/forged/*/portolan-update) && \
                  sed -i 's/^version: .*/version: 9.9.9/' $f && grep -q 9.9.9 $f && dirname $f";
    let forged = running.sh(forged);
    let before = kernels(&mut running);
    let (said, code) = running.try_sh(&format!("{PROGRAM} update apply --from {forged}"));
    assert!(code != 0 && said.contains("signature"), "{code} {said}");
    assert_eq!(kernels(&mut running), before);
    running.sh("rm -rf /run/forged");

    let said = running.sh(&format!("{PROGRAM} update apply --from {at}"));
    eprintln!("{said}");
    let written = running.seconds();
    assert!(kernels(&mut running).contains(&format!("portolan_{next}+3-0.efi")), "{said}");
    let _ = running.try_sh("systemctl reboot --no-block");
    running.until("another start", |console| (console.matches("starting Boot0").count() > 1).then_some(()));
    let again = running.look();
    assert_eq!((again.certificate, again.code), (shown.certificate.clone(), None), "the same data");
    assert_eq!(version(&mut running), next);
    // Not before it was found to be well is it good.
    running.sh(
        "for i in $(seq 100); do systemctl is-active -q systemd-bless-boot.service && break; sleep 3; done; \
                systemctl is-active systemd-bless-boot.service",
    );
    assert!(kernels(&mut running).contains(&format!("portolan_{next}.efi")));
    assert_eq!(running.sh("systemctl --no-pager --no-legend --failed"), "");
    eprintln!("written after {written:.1} s, good after {:.1} s", running.seconds());
    running.cut();
    let mut stays = machine.start();
    assert_eq!(stays.look().certificate, shown.certificate);
    assert_eq!(version(&mut stays), next);
}

#[test]
#[ignore = "it takes images and virtual machines: make test-image"]
fn an_update_that_is_not_well_is_left_by_itself() {
    let Some(image) = Image::of_tests() else { return };
    let Some((_, broken)) = update(&image, "broken") else { return };
    let folder = TempDir::with_prefix("portolan-image-").expect("a temporary folder can be made");
    let mut machine = Machine::flashed(&image);
    machine.also(Some(stick(image.tools(), folder.path(), std::slice::from_ref(&broken))));
    let mut running = machine.start();
    let shown = running.look();
    let owner = set_up(&running, &shown);
    let at = on_the_stick(&mut running, &broken);
    running.sh(&format!("{PROGRAM} update apply --from {at}"));
    let _ = running.try_sh("systemctl reboot --no-block");
    running.until("three tries and the version before", |console| {
        (console.matches("starting Boot0").count() > 4).then_some(())
    });
    let again = running.look();
    assert_eq!((&again.certificate, again.code), (&shown.certificate, None));
    assert_eq!(version(&mut running), image.version());
    let told = owner.get("/audit").expect(200).text();
    assert!(told.contains("system.rolled-back"), "{told}");
    eprintln!("back after {:.1} s", running.seconds());
}
