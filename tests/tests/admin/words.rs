//! The command line itself: what it refuses, its completions and its manual pages.

use std::fs;
use std::process::Command;

use portolan_tests::binaries;

use crate::Admin;

#[test]
fn it_says_what_is_wrong_with_the_folder_and_with_the_command_line() {
    let folder = tempfile::tempdir().expect("a folder");
    let nowhere = Admin(folder.path().join("data"));
    nowhere.run(&["user", "list"]).refused(4, "name the data folder of an appliance");
    nowhere.run(&["master-key", "rotate", "--yes"]).refused(4, "name the data folder of an appliance");
    assert!(!nowhere.0.exists(), "nothing is made");
    nowhere.run(&["user", "fly"]).refused(2, "fly");
}

#[test]
fn shells_can_read_their_completions() {
    for shell in ["bash", "zsh", "fish"] {
        let made = Command::new(binaries::portolan()).args(["completions", shell]).output().expect("it runs");
        assert!(made.status.success() && made.stdout.len() > 10_000, "{shell}");
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("completions");
        fs::write(&file, &made.stdout).expect("it is written");
        match Command::new(shell).arg("-n").arg(&file).output() {
            Ok(read) => assert!(read.status.success(), "{shell}: {}", String::from_utf8_lossy(&read.stderr)),
            Err(_) => eprintln!("{shell} is not here: its completions were not read"),
        }
    }
}

#[test]
fn the_manual_pages_have_no_error() {
    if Command::new("mandoc").arg("-V").output().is_err() {
        eprintln!("mandoc is not here: the pages were not checked");
        return;
    }
    let pages = fs::read_dir(binaries::repository().join("man")).expect("the folder is there").flatten();
    for page in pages.map(|page| page.path()) {
        let read = Command::new("mandoc")
            .args(["-T", "lint", "-W", "error"])
            .arg(&page)
            .output()
            .expect("it starts");
        let said = String::from_utf8_lossy(&read.stdout).into_owned();
        assert!(!said.contains("ERROR"), "{}: {said}", page.display());
    }
}
