//! `portolan sign` and the public tool, each reading what the other wrote.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use portolan_tests::binaries;

/// Runs a program in a folder with this on its standard input.
fn run(program: &Path, folder: &Path, line: &str, input: &str) -> Output {
    let mut command = Command::new(program);
    command.args(line.split(' ')).current_dir(folder);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{}: {error}", program.display()));
    let mut stdin = child.stdin.take().expect("it was asked for");
    let _ = stdin.write_all(input.as_bytes());
    drop(stdin);
    child.wait_with_output().expect("a child can be waited for")
}

fn ours(folder: &Path, line: &str, input: &str) -> Output {
    run(&binaries::portolan(), folder, line, input)
}

fn minisign(folder: &Path, line: &str, input: &str) -> Output {
    run(Path::new("minisign"), folder, line, input)
}

fn good(output: Output) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {said}", output.status);
}

fn bad(output: Output) -> String {
    assert!(!output.status.success(), "it was taken");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn the_public_tool_reads_our_keys_and_verifies_our_signatures() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let at = folder.path();
    fs::write(at.join("release"), b"what is released").expect("it is ours");
    good(ours(at, "sign keygen --secret ours.key --public ours.pub", "a password\n"));
    for form in ["", " --legacy"] {
        good(ours(
            at,
            &format!("sign sign --key ours.key{form} --comment version:1 release"),
            "a password\n",
        ));
        good(minisign(at, "-Vm release -p ours.pub", ""));
        good(ours(at, "sign verify --public-key ours.pub release", ""));
    }
    // It opens our sealed key, and only with its password.
    assert!(bad(minisign(at, "-S -s ours.key -m release -x theirs.minisig", "wrong\n")).contains("assword"));
    good(minisign(at, "-S -s ours.key -m release -x theirs.minisig", "a password\n"));
    good(ours(at, "sign verify --public-key ours.pub --signature theirs.minisig release", ""));
    assert!(bad(ours(at, "sign sign --key ours.key release", "wrong\n")).contains("password is wrong"));

    fs::write(at.join("release"), b"what is not released").expect("it is ours");
    bad(minisign(at, "-Vm release -p ours.pub", ""));
    assert!(bad(ours(at, "sign verify --public-key ours.pub release", "")).contains("does not fit"));
}

#[test]
fn we_read_the_public_tools_keys_and_verify_its_signatures() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let at = folder.path();
    fs::write(at.join("release"), b"what is released").expect("it is ours");
    good(minisign(at, "-G -s sealed.key -p sealed.pub", "a password\na password\n"));
    good(minisign(at, "-G -W -s plain.key -p plain.pub", ""));
    for (key, password) in [("sealed", "a password\n"), ("plain", "")] {
        for form in ["", " -l"] {
            good(minisign(at, &format!("-S{form} -s {key}.key -m release -t version:1"), password));
            let verified = ours(at, &format!("sign verify --public-key {key}.pub release"), "");
            assert!(String::from_utf8_lossy(&verified.stdout).contains("trusted comment: version:1\n"));
            good(verified);
        }
        good(ours(at, &format!("sign sign --key {key}.key release"), password));
        good(minisign(at, &format!("-Vm release -p {key}.pub"), ""));
    }
    assert!(bad(ours(at, "sign verify --public-key sealed.pub release", "")).contains("another key"));
}
