use super::*;
use crate::crypto::Identity;
use crate::work::testing::temporary;

/// A key pair, and its public key file.
fn key() -> (Identity, String) {
    let key = Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap();
    let word = base64::encode(&[&b"Ed12345678"[..], &key.public_key()].concat());
    (key, format!("untrusted comment: a key\n{word}\n"))
}

fn signed(key: &Identity, bytes: &[u8], comment: &str) -> String {
    let over_file = key.sign(bytes);
    let over_comment = key.sign(&[&over_file, comment.as_bytes()].concat());
    let first = base64::encode(&[&b"Ed12345678"[..], &over_file].concat());
    let second = base64::encode(&over_comment);
    format!("untrusted comment: x\n{first}\ntrusted comment: {comment}\n{second}\n")
}

/// A whole static program that prints `portolan-scanner` and this version, of one digit.
#[cfg(target_arch = "x86_64")]
fn program(version: u8) -> Vec<u8> {
    let text = [b"portolan-scanner ", &[version][..], b"\n"].concat();
    // write(1, text, 19); exit(0)
    let mut code = vec![0xb8, 1, 0, 0, 0, 0xbf, 1, 0, 0, 0, 0x48, 0x8d, 0x35, 16, 0, 0, 0, 0xba, 19, 0, 0, 0];
    code.extend([0x0f, 0x05, 0xb8, 60, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05]);
    code.extend(text);
    let mut elf = b"\x7fELF\x02\x01\x01".to_vec();
    elf.resize(16, 0);
    elf.extend([2, 0, 62, 0, 1, 0, 0, 0]);
    for word in [0x40_0078_u64, 64, 0] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend([0, 0, 0, 0, 64, 0, 56, 0, 1, 0, 0, 0, 0, 0, 0, 0]);
    elf.extend([1, 0, 0, 0, 5, 0, 0, 0]);
    let length = 120 + code.len() as u64;
    for word in [0, 0x40_0000, 0x40_0000, length, length, 0x1000] {
        elf.extend(word.to_le_bytes());
    }
    elf.extend(code);
    elf
}

/// Tries again while a child that another test's thread is just starting still holds the new file open.
#[cfg(target_arch = "x86_64")]
fn patient(mut work: impl FnMut() -> Result<String, Error>) -> Result<String, Error> {
    loop {
        match work() {
            Err(Error::File { source, .. }) if source.kind() == io::ErrorKind::ExecutableFileBusy => {
                std::thread::yield_now();
            }
            done => return done,
        }
    }
}

fn said(result: Result<String, Error>) -> String {
    result.unwrap_err().to_string()
}

fn verify(key: &str, bytes: &[u8], signature: &str) -> Result<String, &'static str> {
    super::verify(&pinned_key(key).ok_or("no key")?, bytes, signature)
}

#[test]
fn a_file_without_a_key_is_named_and_not_the_program() {
    let (folder, _guard) = temporary("keyless");
    let [from, key] = ["new", "scanner.pub"].map(|name| folder.path(name));
    std::fs::write(beside(&from, ".minisig"), signed(&self::key().0, b"program", "x")).unwrap();
    std::fs::write(&key, "untrusted comment: a key\n").unwrap();
    let said = said(proven(&from, b"program", Some(key.clone()), None));
    assert_eq!(said, format!("{}: holds no key to verify with", key.display()));
}

#[test]
fn a_signature_is_of_one_file_by_the_pinned_key() {
    let ((pair, pinned), (other, _)) = (key(), key());
    let signature = signed(&pair, b"program", "version:2");
    assert_eq!(verify(&pinned, b"program", &signature), Ok("version:2".into()));
    let fits = "the signature does not fit: the file was changed or cut";
    for cut in ["progra", "programs", "Program", ""] {
        assert_eq!(verify(&pinned, cut.as_bytes(), &signature), Err(fits));
    }
    assert_eq!(verify(&pinned, b"program", &signed(&other, b"program", "version:2")), Err(fits));
    assert_eq!(verify(&pinned, b"program", &signature.replace("version:2", "version:3")), Err(fits));
    let elsewhere = pinned.replace("RWQx", "RWQy");
    assert!(verify(&elsewhere, b"program", &signature).unwrap_err().contains("another key"));
    let hashed = signature.replace("RWQx", "RUQx");
    assert!(verify(&pinned, b"program", &hashed).unwrap_err().contains("--legacy"));
    for cut in 0..signature.len() - 1 {
        verify(&pinned, b"program", &signature[..cut]).unwrap_err();
    }
    verify("", b"program", &signature).unwrap_err();
}

#[test]
fn a_signature_of_the_public_tool_is_read() {
    // minisign 0.11: `-S -l` over "hello\n".
    let key = "RWS2s0vSSO5T59Xh7DRKneKnSkBVijOjBsAH6VZGcKilBvkHhZCqzDmp";
    let signature = "untrusted comment: signature from minisign secret key\n\
        RWS2s0vSSO5T5w8V8AsRRtlhNZ9J2F+WgWgOzUeFyOVTKE9mT5NMJoDjws/6Fr0ROubfHlmz6FZN4wxwZeIxywmByYyCHavj+QI=\n\
        trusted comment: timestamp:1795379859\tfile:f\n\
        L3jc4bLCav/KSfAAzDNpvghAWZ0ugjeo7b42gty1Ajg0kqJL1HNiv4yUxl9NwQFNB9VjGyQdS6db1OUiasl4Cg==\n";
    assert_eq!(verify(key, b"hello\n", signature), Ok("timestamp:1795379859\tfile:f".into()));
}

#[test]
fn without_a_pinned_key_only_a_given_sha_256_will_do_and_it_says_what_that_lacks() {
    let (folder, _guard) = temporary("upgrade-proof");
    let (pair, pinned) = key();
    let [from, key] = ["new", "scanner.pub"].map(|name| folder.path(name));
    fs::write(&from, b"program").unwrap();
    let sum = hex::encode(&crypto::sha256(b"program"));
    let ask = |key: Option<&PathBuf>, sum: Option<&str>| {
        proven(&from, b"program", key.cloned(), sum.map(str::to_owned))
    };
    if !Path::new(PINNED).exists() {
        assert!(said(ask(None, None)).contains("no key is pinned"));
        assert!(ask(None, Some(&sum)).unwrap().contains("nothing says who made the file"));
        assert!(said(ask(None, Some(&"0".repeat(64)))).contains("nothing was changed"));
        assert!(said(ask(None, Some("abc"))).contains("64 hexadecimal digits"));
    }
    // A key that was named must be there, and where one is pinned the sum does not stand in for it.
    said(ask(Some(&key), Some(&sum)));
    fs::write(&key, &pinned).unwrap();
    assert!(said(ask(Some(&key), Some(&sum))).contains("leave it out"));
    assert!(said(ask(Some(&key), None)).contains("new.minisig"));
    fs::write(beside(&from, ".minisig"), signed(&pair, b"program", "version:2")).unwrap();
    assert!(ask(Some(&key), None).unwrap().contains("version:2"));
}

#[test]
fn what_is_no_static_program_for_this_machine_is_not_installed() {
    let (folder, _guard) = temporary("upgrade-unfit");
    let target = folder.path("scanner");
    fs::write(&target, b"old").unwrap();
    let this = fs::read(std::env::current_exe().unwrap()).unwrap();
    let mut foreign = this.clone();
    foreign[18] ^= 0x7f;
    for (bytes, what) in [
        (&b"#!/bin/sh\n"[..], "no program"),
        (&foreign, "another CPU"),
        (&this, "not static"),
        (&this[..40], "cut off"),
    ] {
        assert!(said(replace(&target, bytes)).contains(what), "{what}");
    }
    assert_eq!(fs::read(&target).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 1);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_one_before_is_kept_and_comes_back() {
    let (folder, _guard) = temporary("upgrade-swap");
    let target = folder.path("scanner");
    fs::write(&target, program(b'1')).unwrap();
    fs::set_permissions(&target, Permissions::from_mode(0o755)).unwrap();
    assert!(said(roll_back(&target)).contains("scanner.previous is not there"));
    assert_eq!(patient(|| replace(&target, &program(b'2'))).unwrap(), "portolan-scanner 2");
    assert_eq!(patient(|| replace(&target, &program(b'3'))).unwrap(), "portolan-scanner 3");
    let now = || {
        (patient(|| version(&target)).unwrap(), patient(|| version(&beside(&target, ".previous"))).unwrap())
    };
    assert_eq!(now(), ("portolan-scanner 3".into(), "portolan-scanner 2".into()));
    assert_eq!(patient(|| roll_back(&target)).unwrap(), "portolan-scanner 2");
    assert_eq!(now(), ("portolan-scanner 2".into(), "portolan-scanner 3".into()));
    // One that does not run leaves all as it was.
    let mut broken = program(b'4');
    broken.truncate(120);
    said(patient(|| replace(&target, &broken)));
    assert_eq!(now(), ("portolan-scanner 2".into(), "portolan-scanner 3".into()));
    assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 2);
}

/// Every state that a kill can leave behind: the names that there are then, and the versions under them.
#[cfg(target_arch = "x86_64")]
#[test]
fn a_kill_at_any_step_leaves_a_whole_program_and_the_next_call_goes_on() {
    let (folder, _guard) = temporary("upgrade-kill");
    let target = folder.path("scanner");
    let [new, kept, previous] = [".new", ".kept", ".previous"].map(|end| beside(&target, end));
    let put = |path: &Path, digit| {
        let _ = fs::remove_file(path);
        write(path, &program(digit)).unwrap();
    };
    let link = |from: &Path, to: &Path| fs::hard_link(from, to).unwrap();
    let fresh = |before: Option<u8>| {
        for path in [&target, &new, &kept, &previous] {
            let _ = fs::remove_file(path);
        }
        put(&target, b'2');
        if let Some(digit) = before {
            put(&previous, digit);
        }
    };
    for before in [None, Some(b'1')] {
        for step in 0..4 {
            fresh(before);
            // As `replace` goes: `.new` half written, whole, the second name, the previous one renamed.
            match step {
                0 => fs::write(&new, &program(b'3')[..60]).unwrap(),
                1 => put(&new, b'3'),
                2 => link(&target, &kept),
                _ => {
                    let _ = fs::remove_file(&previous);
                    link(&target, &previous);
                    put(&new, b'3');
                }
            }
            assert_eq!(patient(|| version(&target)).unwrap(), "portolan-scanner 2", "{step}");
            assert_eq!(patient(|| replace(&target, &program(b'3'))).unwrap(), "portolan-scanner 3", "{step}");
            assert_eq!(patient(|| version(&previous)).unwrap(), "portolan-scanner 2", "{step}");
            assert_eq!(fs::read_dir(folder.path("")).unwrap().count(), 2, "{step}");
        }
    }
    // As `roll_back` goes: the second name; then the previous program is in place and the newer one has no other name.
    fresh(Some(b'1'));
    link(&target, &kept);
    assert_eq!(patient(|| roll_back(&target)).unwrap(), "portolan-scanner 1");
    assert_eq!(patient(|| version(&previous)).unwrap(), "portolan-scanner 2");
    fresh(Some(b'1'));
    link(&target, &kept);
    fs::rename(&previous, &target).unwrap();
    assert_eq!(patient(|| version(&target)).unwrap(), "portolan-scanner 1");
    assert_eq!(patient(|| roll_back(&target)).unwrap(), "portolan-scanner 2");
    assert_eq!(patient(|| version(&previous)).unwrap(), "portolan-scanner 1");
}
