//! Keys and signatures in minisign's files: what holds, and what does not.

use super::*;

const CHEAP: Cost = Cost { operations: 1 << 15, memory: 1 << 24 };

fn key(seed: u64) -> SecretKey {
    SecretKey::make(&Random::seeded(seed))
}

fn no_password() -> Result<Zeroizing<String>, Error> {
    panic!("a password was asked for")
}

#[test]
fn a_signature_holds_for_its_file_its_key_and_its_comment_only() {
    let public = key(1).public();
    for form in [Form::Hashed, Form::Legacy] {
        let signature = key(1).sign(b"file", form, "version:1").unwrap();
        assert_eq!(public.verify(b"file", &signature), Ok(("version:1".to_owned(), form)));
        assert_eq!(
            public.verify_reading(&mut &b"file"[..], &signature).unwrap(),
            ("version:1".to_owned(), form)
        );
        public.verify_reading(&mut &b"fil"[..], &signature).unwrap_err();
        assert_eq!(public.verify(b"fil", &signature), Err(Error::Mismatch));
        let other = signature.replace("version:1", "version:2");
        assert_eq!(public.verify(b"file", &other), Err(Error::Comment));
        assert_eq!(key(2).public().verify(b"file", &signature), Err(Error::OtherKey(public.id)));
        for cut in 0..signature.len() - 1 {
            public.verify(b"file", &signature[..cut]).unwrap_err();
        }
    }
}

#[test]
fn one_form_does_not_pass_for_the_other() {
    let hash = Blake2b512::digest(b"file").to_vec();
    let signature = key(1).sign(b"file", Form::Hashed, "").unwrap();
    let mut lines: Vec<String> = signature.lines().map(str::to_owned).collect();
    let mut first = base64::decode(&lines[1]).unwrap();
    first[1] = b'd';
    lines[1] = base64::encode(&first);
    // The same bytes, said to be over the file itself: they fit only a file that is the hash, so no release.
    assert!(key(1).public().verify(b"file", &lines.join("\n")).is_err());
    assert!(key(1).public().verify(&hash, &lines.join("\n")).is_ok());
}

#[test]
fn keys_come_back_with_and_without_a_password() {
    let (key, random) = (key(3), Random::seeded(4));
    let plain = key.file(None, &random);
    assert_eq!(SecretKey::parse(&plain, no_password).unwrap().public(), key.public());
    let sealed = key.file(Some(("correct horse", CHEAP)), &random);
    let open = |password: &str| SecretKey::parse(&sealed, || Ok::<_, Error>(password.to_owned().into()));
    assert_eq!(open("correct horse").unwrap().public(), key.public());
    assert_eq!(open("wrong horse").unwrap_err(), Error::Password);
    assert_eq!(PublicKey::parse(&key.public().file()), Ok(key.public()));
    assert_eq!(PublicKey::parse(&key.public().word()), Ok(key.public()));
    assert_eq!(PublicKey::parse("untrusted comment: x\n"), Err(Error::PublicKey));
    assert_eq!(SecretKey::parse(&key.public().file(), no_password).unwrap_err(), Error::SecretKey);
}

#[test]
fn the_parameters_are_those_that_libsodium_picks() {
    assert_eq!(Cost::SENSITIVE.parameters(), Some((20, 8, 1)));
    assert_eq!(CHEAP.parameters(), Some((10, 8, 1)));
    // crypto_pwhash_scryptsalsa208sha256's interactive limits.
    let interactive = Cost { operations: 1 << 19, memory: 1 << 24 };
    assert_eq!(interactive.parameters(), Some((14, 8, 1)));
    assert_eq!(Cost { operations: u64::MAX, memory: u64::MAX }.parameters(), None);
}

#[test]
fn what_minisign_made_is_read() {
    // minisign 0.11: `-G -W`, then `-S` and `-S -l` over "hello\n".
    let secret = "untrusted comment: minisign encrypted secret key\n\
        RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAtrNL0kjuU+fbhhe209YIwvei5/VBjX0L\
        tVeIyN0mSBdre6eHZPud29Xh7DRKneKnSkBVijOjBsAH6VZGcKilBvkHhZCqzDmpAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
    let public = PublicKey::parse("RWS2s0vSSO5T59Xh7DRKneKnSkBVijOjBsAH6VZGcKilBvkHhZCqzDmp").unwrap();
    assert_eq!(SecretKey::parse(secret, no_password).unwrap().public(), public);
    let hashed = "untrusted comment: signature from minisign secret key\n\
        RUS2s0vSSO5T59N5kycq50VlqbY+ZEMZaQo7AzzXFgwb+KD86WoHyZVhVz17toOlZjtxJ+oWZt3yO1RTmxPBkvJeRC0HUbKxpQc=\n\
        trusted comment: file:f\n\
        dvDDag9L3wTMgEHgzLAaRoECnKriJp5cb5EvG1+IfjiNC1pbeJew1AgnEE0RdWJdRTcYRxHWojLnusma7P7lAw==\n";
    assert_eq!(public.verify(b"hello\n", hashed), Ok(("file:f".into(), Form::Hashed)));
    let legacy = "untrusted comment: signature from minisign secret key\n\
        RWS2s0vSSO5T5w8V8AsRRtlhNZ9J2F+WgWgOzUeFyOVTKE9mT5NMJoDjws/6Fr0ROubfHlmz6FZN4wxwZeIxywmByYyCHavj+QI=\n\
        trusted comment: timestamp:1795379859\tfile:f\n\
        L3jc4bLCav/KSfAAzDNpvghAWZ0ugjeo7b42gty1Ajg0kqJL1HNiv4yUxl9NwQFNB9VjGyQdS6db1OUiasl4Cg==\n";
    let (comment, form) = public.verify(b"hello\n", legacy).unwrap();
    assert_eq!((comment.as_str(), form), ("timestamp:1795379859\tfile:f", Form::Legacy));
}
