//! The scanner as it is given to others: static, small, at home in an empty folder, and ended by a panic.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use portolan_scanner::wire::base64;
use portolan_tests::binaries::static_scanner;

/// Each flavour and the size that it stays under, in bytes.
const FLAVOURS: [(&str, u64); 4] = [
    ("portolan-scanner", 3_000_000),
    ("portolan-scanner-usb", 2_000_000),
    ("portolan-scanner-pq", 5_000_000),
    ("portolan-scanner-none", 1_000_000),
];

/// `PT_INTERP`: the segment that names a dynamic linker.
const INTERPRETER: u32 = 3;
/// `PT_DYNAMIC`.
const DYNAMIC: u32 = 2;
/// `DT_NEEDED`: the entry that names a shared library.
const NEEDED: u64 = 1;

fn number<const N: usize>(file: &[u8], at: u64) -> [u8; N] {
    let at = usize::try_from(at).expect("64 bits");
    file[at..at + N].try_into().expect("as many bytes")
}

fn long(file: &[u8], at: u64) -> u64 {
    u64::from_le_bytes(number(file, at))
}

/// The segments of an ELF file: type, offset, length.
fn segments(file: &[u8]) -> Vec<(u32, u64, u64)> {
    assert_eq!(&file[..5], b"\x7fELF\x02", "64-bit ELF");
    let (table, count) = (long(file, 32), u16::from_le_bytes(number(file, 56)));
    let segment = |i| table + 56 * u64::from(i);
    let read = |at| (u32::from_le_bytes(number(file, at)), long(file, at + 8), long(file, at + 32));
    (0..count).map(|i| read(segment(i))).collect()
}

#[test]
fn each_flavour_is_small_and_needs_nothing() {
    for (name, limit) in FLAVOURS {
        let file = fs::read(static_scanner(name)).expect("it can be read");
        assert!((file.len() as u64) < limit, "{name} has {} bytes", file.len());
        for (kind, offset, length) in segments(&file) {
            assert_ne!(kind, INTERPRETER, "{name} names a dynamic linker");
            if kind == DYNAMIC {
                let needed = (offset..offset + length).step_by(16).any(|at| long(&file, at) == NEEDED);
                assert!(!needed, "{name} needs a shared library");
            }
        }
        let text = String::from_utf8_lossy(&file);
        let home = std::env::var("HOME").expect("HOME is set");
        assert!(!text.contains(&home), "{name} names a folder of this machine");
    }
}

/// Whether this process may change its root folder; says so if not.
fn is_root() -> bool {
    let root = fs::metadata("/proc/self").is_ok_and(|own| own.uid() == 0);
    if !root {
        println!("not run: only root may change the root folder");
    }
    root
}

#[test]
fn in_an_empty_folder_names_are_resolved_from_etc_hosts() {
    if !is_root() {
        return;
    }
    let root = tempfile::tempdir().expect("a temporary folder");
    fs::copy(static_scanner("portolan-scanner"), root.path().join("scanner")).expect("it can be copied");
    fs::create_dir(root.path().join("etc")).expect("a folder");
    fs::write(root.path().join("etc/hosts"), "127.0.0.9 ship.example\n").expect("a file");
    fs::write(root.path().join("token"), "t\n").expect("a file");
    let output = Command::new("chroot")
        .arg(root.path())
        .args([
            "/scanner",
            "enrol",
            "--appliance",
            "ship.example:9",
            "--dir",
            "/dir",
            "--token-file",
            "/token",
        ])
        .args(["--ca-sha256", &"0".repeat(64), "--job-key", &base64::encode(&[0; 32])])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .output()
        .expect("chroot can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("127.0.0.9:9: Connection refused"), "{said}");
}

#[test]
fn an_output_that_takes_nothing_ends_no_process() {
    for (name, _) in FLAVOURS {
        let full = fs::File::options().write(true).open("/dev/full").expect("it is on every Linux");
        let output = Command::new(static_scanner(name)).arg("--help").stdout(full).output();
        let output = output.expect("it can be started");
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]), "{name}");
    }
}
