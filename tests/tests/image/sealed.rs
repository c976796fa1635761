//! What was changed does not run: a byte of the root, a kernel without the builder's signature.

use std::process::Command;

use portolan_tests::vm::media::Copy;
use portolan_tests::vm::{Image, Machine};
use tempfile::TempDir;

use super::answers;

#[test]
#[ignore = "it takes an image and virtual machines: make test-image"]
fn a_byte_of_the_root_that_was_changed_is_never_read() {
    let Some(image) = Image::of_tests() else { return };
    let folder = TempDir::with_prefix("portolan-image-").expect("a temporary folder can be made");
    // In the file system itself; in the program.
    for file in [None, Some("/usr/lib/portolan/portolan")] {
        let copy = Copy::of(&image, folder.path());
        copy.flip_in_root(file.map_or(1024, |file| copy.place_in_root(&image, file)));
        let machine = Machine::flashed(&image);
        machine.flash(copy.path());
        let mut running = machine.start();
        running.until("the kernel to find it", |console| {
            (console.contains("is corrupted") || console.contains("device corrupted")).then_some(())
        });
        running.until("the end of that boot", |console| {
            (console.matches("starting Boot0").count() > 1 || console.contains("Kernel panic")).then_some(())
        });
        assert!(!answers(running.pages()), "{}", running.console());
        eprintln!("{:6.1} s: {file:?}: found, and the boot ended", running.seconds());
    }
}

#[test]
#[ignore = "it takes an image and virtual machines: make test-image"]
fn with_secure_boot_only_a_kernel_that_the_builder_signed_starts() {
    let Some(image) = Image::of_tests() else { return };
    let machine = Machine::flashed(&image).with_secure_boot();
    let mut running = machine.start();
    let shown = running.look();
    let state = running.sh("bootctl status 2>/dev/null | grep 'Secure Boot:'");
    assert!(state.contains("enabled (user)"), "{state}");
    running.cut();

    // The same kernel without its signature; then with another byte in its command line.
    let folder = TempDir::with_prefix("portolan-image-").expect("a temporary folder can be made");
    let kernel = folder.path().join("kernel.efi");
    let place = format!("/EFI/Linux/portolan_{}.efi", image.version());
    for how in ["unsigned", "another root"] {
        std::fs::copy(image.kernel(), &kernel).expect("the folder is ours");
        if how == "unsigned" {
            let mut remove: Command = image.tools().command("sbattach");
            let output = remove.arg("--remove").arg(&kernel).output().expect("it starts");
            assert!(output.status.success(), "{output:?}");
        } else {
            let mut bytes = std::fs::read(&kernel).expect("it was copied");
            let word = b"roothash=";
            let at = bytes.windows(word.len()).position(|window| window == word).expect("it names its root");
            bytes[at + word.len()] ^= 1;
            std::fs::write(&kernel, bytes).expect("the folder is ours");
        }
        let copy = Copy::of(&image, folder.path());
        copy.put_beside_the_kernels(&kernel, &place);
        machine.flash(copy.path());
        let mut refused = machine.start();
        refused.until("the refusal", |console| {
            (console.contains("Access denied") || console.contains("Access Denied")).then_some(())
        });
        assert!(!answers(refused.pages()), "{}", refused.console());
        eprintln!("{:6.1} s: {how}: refused", refused.seconds());
        refused.cut();
    }

    // The one that was signed starts as before.
    machine.flash(&image.disk());
    let mut again = machine.start();
    assert_ne!(again.look().certificate, shown.certificate, "its data are new");
}
