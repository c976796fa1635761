//! The data of a machine with a TPM: encrypted, opened by another board with the recovery key alone, whole after a cut of the
//! power at the first boot, and gone after a factory reset.

use std::time::Duration;

use portolan_tests::Client;
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::vm::{Image, Machine, Running, Shown};
use portolan_tests::wait::pause;
use serde_json::json;

use super::set_up;

/// Types the last block of the key that is shown, and says the key.
fn note_the_key(running: &mut Running) -> String {
    let key = running.recovery_key();
    assert_eq!(key.split('-').count(), 8, "{key}");
    // A wrong block is not taken, nor is noise.
    running.types("vvvvvvvv\n");
    running
        .until("that it was wrong", |console| console.contains("That is not its last block.").then_some(()));
    running.types(&format!("{}\n", key.rsplit('-').next().expect("it has blocks")));
    running.until("that it is noted", |console| console.contains("It is written down").then_some(()));
    key
}

fn sign_in(machine: &Running, shown: &Shown) -> Client {
    let visitor = machine.visitor(&shown.certificate);
    let _ = visitor.post("/sign-in", &json!({ "name": OWNER, "password": PASSWORD })).expect(200);
    visitor
}

#[test]
#[ignore = "it takes an image and virtual machines: make test-image"]
fn the_data_are_encrypted_and_on_another_board_the_recovery_key_brings_all_of_it_back() {
    let Some(image) = Image::of_tests() else { return };
    let machine = Machine::flashed(&image).with_tpm();
    let mut first = machine.start();
    let key = note_the_key(&mut first);
    let shown = first.look();
    assert!(shown.data.starts_with("encrypted"), "{shown:?}");
    assert_eq!(first.sh("findmnt -n -o SOURCE /var"), "/dev/mapper/var");
    assert_eq!(first.sh("blkid -p -o value -s TYPE /dev/disk/by-partlabel/var"), "crypto_LUKS");
    // What seals the master key is the data's own encryption.
    assert_eq!(first.try_sh("ls /var/lib/portolan-seal/* 2>&1").1, 2);
    let owner = set_up(&first, &shown);
    let _ = owner.page("/").expect(200);
    first.cut();

    // Its own board opens it without a word, and shows no key again.
    let mut second = machine.start();
    assert_eq!(second.look().certificate, shown.certificate);
    assert!(!second.console().contains("ecovery key"), "{}", second.console());
    assert_eq!(second.sh("systemctl --no-pager --no-legend --failed"), "");
    second.cut();

    // Another board does not; the key does, and from then on that board as well.
    machine.exchange_tpm();
    let mut third = machine.start();
    third.until("the question", |console| console.contains("Recovery key: ").then_some(()));
    third.types("not-the-key\n");
    third.until("a refusal", |console| console.contains("The data stay closed.").then_some(()));
    third.types(&format!("{key}\n"));
    third.until("another start", |console| (console.matches("starting Boot0").count() > 1).then_some(()));
    let seen = third.look();
    assert_eq!((&seen.certificate, seen.code), (&shown.certificate, None));
    let _ = sign_in(&third, &shown).page("/").expect(200);
    third.cut();
    let mut fourth = machine.start();
    assert_eq!(fourth.look().certificate, shown.certificate);
    let _ = sign_in(&fourth, &shown).page("/").expect(200);
}

#[test]
#[ignore = "it takes an image and virtual machines: make test-image"]
fn a_power_cut_at_any_moment_of_the_first_boot_costs_nothing_but_that_boot() {
    let Some(image) = Image::of_tests() else { return };
    // While the partitions are made; a moment later, while what is in them is; while the key is, and the services start.
    for (words, more) in [
        ("portolan: first start", 0),
        ("portolan: making the partition of the data", 700),
        ("portolan: making the partition of the data", 4000),
        ("portolan: the data are encrypted", 0),
        ("Type its last block:", 0),
    ] {
        let machine = Machine::flashed(&image).with_tpm();
        let mut cut = machine.start();
        cut.until(words, |console| console.contains(words).then_some(()));
        pause(Duration::from_millis(more));
        let at = cut.seconds();
        cut.cut();
        let mut again = machine.start();
        let key = note_the_key(&mut again);
        let shown = again.look();
        assert!(shown.data.starts_with("encrypted"), "{shown:?}");
        let _ = set_up(&again, &shown).page("/").expect(200);
        assert_eq!(again.sh("systemctl --no-pager --no-legend --failed"), "");
        eprintln!(
            "cut at {at:.1} s ({words}): whole at {:.1} s; {} blocks",
            again.seconds(),
            key.split('-').count()
        );
    }
}

#[test]
#[ignore = "it takes an image and virtual machines: make test-image"]
fn a_factory_reset_leaves_a_machine_as_it_was_made() {
    let Some(image) = Image::of_tests() else { return };
    let machine = Machine::flashed(&image).with_tpm();
    let mut running = machine.start();
    let key = note_the_key(&mut running);
    let shown = running.look();
    set_up(&running, &shown);
    running.choose("Factory reset");
    running.until("the question", |console| console.contains("to erase it:").then_some(()));
    running.types("yes\n");
    running.until("a refusal", |console| console.contains("That is not its name").then_some(()));
    running.choose("Factory reset");
    let name = running.sh("cat /proc/sys/kernel/hostname");
    running.until("the question", |console| (console.matches("to erase it:").count() > 1).then_some(()));
    running.types(&format!("{name}\n"));
    running.until("the reset", |console| console.contains("FACTORY RESET").then_some(()));
    // A cut in the middle of it: the next start does it whole.
    running.cut();
    let mut again = machine.start();
    let other = note_the_key(&mut again);
    assert_ne!(other, key);
    let seen = again.look();
    assert!(seen.code.is_some() && seen.certificate != shown.certificate, "{seen:?}");
    assert_eq!(again.try_sh("ls /boot/portolan-factory-reset").1, 2, "it is done once");
    again.cut();
    let mut third = machine.start();
    assert_eq!(third.look().certificate, seen.certificate);
}
