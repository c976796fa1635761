//! The real scanner program with a stick: enrolment, jobs, results, receipts, and what must be refused.
#![cfg(feature = "usb")]
#![expect(clippy::unwrap_used, reason = "a test's panic is its report, its helpers' too")]

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::UNIX_EPOCH;

use portolan_scanner::net::{Ports, Ranges};
use portolan_scanner::wire::{
    Enrol, Id, Job, Method, Preset, Reason, Receipt, Results, base64, hex, seal, split,
};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ring::{digest, hmac};

const SCANNER: Id = Id::from_bytes([3; 16]);
const TOKEN: &str = "ptt_0123456789";
/// A time that is never over.
const LATE: i64 = i64::MAX;

/// An appliance's key, a scanner's folder, and a stick.
struct Site {
    folder: PathBuf,
    appliance: Ed25519KeyPair,
    listener: TcpListener,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest::digest(&digest::SHA256, bytes).as_ref().try_into().unwrap()
}

impl Site {
    /// A scanner that was made known, and an empty stick.
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("portolan-stick-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(folder.join("stick")).unwrap();
        let appliance = Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap();
        let site = Self { folder, appliance, listener: TcpListener::bind("127.0.0.1:0").unwrap() };
        let made = site.stick(&[
            "init",
            "--scanner",
            &SCANNER.to_string(),
            "--token-file",
            &site.token(),
            "--job-key",
            &site.key(),
        ]);
        assert!(made.status.success(), "{}", said(&made));
        site
    }

    /// A file with the token.
    fn token(&self) -> String {
        let file = self.folder.join("token");
        fs::write(&file, format!("{TOKEN}\n")).unwrap();
        file.to_str().unwrap().to_owned()
    }

    fn key(&self) -> String {
        base64::encode(self.appliance.public_key().as_ref())
    }

    fn dir(&self) -> PathBuf {
        self.folder.join("scanner")
    }

    fn on_stick(&self, name: &str) -> PathBuf {
        self.folder.join("stick").join(name)
    }

    fn stick(&self, words: &[&str]) -> Output {
        let program = env!("CARGO_BIN_EXE_portolan-scanner");
        let dir = ["--dir".into(), self.dir().into_os_string()];
        Command::new(program).arg("stick").args(words).args(dir).stdin(Stdio::null()).output().unwrap()
    }

    fn run(&self) -> Output {
        let stick = self.on_stick("");
        let stick = stick.to_str().unwrap();
        self.stick(&["run", "--in", stick, "--out", stick])
    }

    fn job(&self) -> Job {
        Job {
            id: Id::from_bytes([1; 16]),
            scan: Id::from_bytes([2; 16]),
            batch: 0,
            epoch: 0,
            scanner: SCANNER,
            vantage: Id::from_bytes([4; 16]),
            issued: 1,
            expires: LATE,
            preset: Preset::Fast,
            rate: 1000,
            host_rate: 1000,
            timeout_ms: 500,
            retries: 0,
            method: Method::Connect,
            hints: false,
            own: false,
            seed: [5; 16],
            block_hosts: 2,
            targets: Ranges::parse("127.0.0.1-127.0.0.5").unwrap(),
            ports: Ports::parse(&format!("9,{}", self.listener.local_addr().unwrap().port())).unwrap(),
        }
    }

    fn seal(&self, text: String) -> String {
        seal(text, |covered| self.appliance.sign(covered).as_ref().try_into().unwrap())
    }

    fn bring(&self, name: &str, frame: &str) {
        fs::write(self.on_stick(name), frame).unwrap();
    }

    /// The results on the stick, each proven, with the hash of its frame.
    fn results(&self) -> Vec<([u8; 32], Results)> {
        let enrol = fs::read(self.dir().join("enrol.frame")).unwrap();
        let key = Enrol::decode(split(&enrol).unwrap().text).unwrap().public_key;
        let mut found = Vec::new();
        for entry in fs::read_dir(self.on_stick("")).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name.len() > 64 {
                let frame = fs::read(self.on_stick(&name)).unwrap();
                let signed = split(&frame).unwrap();
                UnparsedPublicKey::new(&ED25519, key)
                    .verify(signed.text.as_bytes(), &signed.signature)
                    .unwrap();
                found.push((sha256(&frame), Results::decode(signed.text).unwrap()));
            }
        }
        found.sort_by_key(|(_, results)| results.block);
        found
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn an_enrolment_proves_the_token_and_the_key_and_gives_neither_away() {
    let site = Site::new("enrol");
    let frame = fs::read(site.dir().join("enrol.frame")).unwrap();
    let signed = split(&frame).unwrap();
    let enrol = Enrol::decode(signed.text).unwrap();
    assert_eq!(enrol.scanner, SCANNER);
    UnparsedPublicKey::new(&ED25519, enrol.public_key)
        .verify(signed.text.as_bytes(), &signed.signature)
        .unwrap();
    // What an appliance checks, which keeps the token's hash alone.
    let key = hmac::Key::new(hmac::HMAC_SHA256, &sha256(TOKEN.as_bytes()));
    hmac::verify(&key, Enrol::proven(SCANNER, &enrol.public_key).as_bytes(), &enrol.proof).unwrap();
    assert!(!signed.text.contains(TOKEN) && !signed.text.contains(&hex::encode(&sha256(TOKEN.as_bytes()))));
    let mode = |name: &str| fs::metadata(site.dir().join(name)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("identity.key"), mode("")), (0o600, 0o700));
    // Once is enough.
    let again = site.stick(&[
        "init",
        "--scanner",
        &SCANNER.to_string(),
        "--token-file",
        &site.token(),
        "--job-key",
        &site.key(),
    ]);
    assert!(said(&again).contains("lives here already"), "{}", said(&again));
}

#[test]
fn a_job_is_done_once_and_its_results_come_until_a_receipt_does() {
    let site = Site::new("job");
    let job = site.job();
    let frame = site.seal(job.encode());
    site.bring("job-1.frame", &frame);
    let first = site.run();
    assert!(first.status.success(), "{}", said(&first));
    let results = site.results();
    assert_eq!(results.len(), 3);
    for (block, (_, results)) in (0..).zip(&results) {
        assert_eq!((results.block, results.job), (block, sha256(frame.as_bytes())));
        assert_eq!(results.check_against(&job), Ok(()));
    }
    let open =
        results[0].1.hosts.iter().any(|host| host.exceptions.iter().any(|run| run.reason == Reason::SynAck));
    assert!(open, "{results:?}");
    assert_eq!(fs::read_dir(site.on_stick("")).unwrap().count(), 4, "results and nothing else");

    // Another stick, the same job under another name: nothing is probed, the same results come again.
    let before: Vec<_> = results.iter().map(|(hash, _)| *hash).collect();
    fs::remove_dir_all(site.on_stick("")).unwrap();
    fs::create_dir(site.on_stick("")).unwrap();
    site.bring("again.frame", &frame);
    let second = site.run();
    assert!(second.status.success() && !said(&second).contains("probes"), "{}", said(&second));
    assert_eq!(site.results().iter().map(|(hash, _)| *hash).collect::<Vec<_>>(), before);

    // Receipts for two of them come, and one that another key signed.
    let receipt = |hash| Receipt { frame: hash, accepted: 5 }.encode();
    site.bring("r0.frame", &site.seal(receipt(before[0])));
    site.bring("r1.frame", &site.seal(receipt(before[1])));
    site.bring("r2.frame", &seal(receipt(before[2]), |_| [0; 64]));
    let third = site.run();
    assert!(
        said(&third).contains("\"r2.frame\" is not taken: the receipt is not signed"),
        "{}",
        said(&third)
    );
    assert_eq!(third.status.code(), Some(1));
    assert_eq!(fs::read_dir(site.dir().join("spool")).unwrap().count(), 1 + 2, "one frame, and two folders");
}

#[test]
fn what_was_not_signed_for_this_scanner_or_is_over_is_not_run() {
    let site = Site::new("refused");
    let other = Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap();
    let forged = seal(site.job().encode(), |text| other.sign(text).as_ref().try_into().unwrap());
    let whole = site.seal(site.job().encode());
    let elsewhere = Job { scanner: Id::from_bytes([9; 16]), ..site.job() };
    site.bring("forged.frame", &forged);
    site.bring("changed.frame", &whole.replace("target 127.0.0.1-127.0.0.5", "target 127.0.0.1-127.0.0.6"));
    site.bring("elsewhere.frame", &site.seal(elsewhere.encode()));
    site.bring("over.frame", &site.seal(Job { expires: 2, ..site.job() }.encode()));
    site.bring("noise.frame", "portolan-frame: 1\nkind: job\n");
    site.bring("run-me.sh", "exit 1");
    let run = site.run();
    let told = said(&run);
    for (name, why) in [
        ("forged", "not signed by the key"),
        ("changed", "not signed by the key"),
        ("elsewhere", "another scanner's"),
        ("noise", "signature line"),
    ] {
        let line = told.lines().find(|line| line.contains(&format!("\"{name}.frame\""))).unwrap_or_default();
        assert!(line.contains(why), "{name}: {told}");
    }
    assert!(told.contains("its time is over"), "{told}");
    assert!(told.contains("5 frames were not taken") && run.status.code() == Some(1), "{told}");
    assert!(site.results().is_empty());
}

#[test]
fn a_clock_that_is_behind_does_not_make_an_old_job_new() {
    let site = Site::new("clock");
    let year = 365 * 86_400 * 1_000_000;
    let later = i64::try_from(
        fs::metadata(site.dir()).unwrap().modified().unwrap().duration_since(UNIX_EPOCH).unwrap().as_micros(),
    )
    .unwrap()
        + year;
    site.bring("old.frame", &site.seal(Job { expires: later - 1, ..site.job() }.encode()));
    let new = Job { id: Id::from_bytes([2; 16]), issued: later, ..site.job() };
    site.bring("new.frame", &site.seal(new.encode()));
    let run = site.run();
    let told = said(&run);
    assert!(told.contains(&format!("job {} is not taken: its time is over", site.job().id)), "{told}");
    let results = site.results();
    assert_eq!(results.len(), 3);
    assert!(results.iter().all(|(_, results)| results.offset > year / 2), "{results:?}");
}

#[test]
fn an_interrupted_job_goes_on_where_it_was() {
    let site = Site::new("interrupted");
    let job = Job { rate: 20, targets: Ranges::parse("127.0.0.1-127.0.0.40, ::1").unwrap(), ..site.job() };
    site.bring("job.frame", &site.seal(job.encode()));
    let mut child = Command::new(env!("CARGO_BIN_EXE_portolan-scanner"))
        .args(["stick", "run", "--dir"])
        .arg(site.dir())
        .arg("--in")
        .arg(site.on_stick(""))
        .arg("--out")
        .arg(site.on_stick(""))
        .spawn()
        .unwrap();
    let kept = || fs::read_dir(site.dir().join("spool")).map_or(0, Iterator::count);
    while kept() < 2 + 3 {
        assert!(child.try_wait().unwrap().is_none(), "it ended before it was killed");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let early = kept() - 2;
    assert!((early as u64) < job.blocks());
    let run = site.run();
    assert!(run.status.success(), "{}", said(&run));
    let blocks: Vec<u64> = site.results().iter().map(|(_, results)| results.block).collect();
    assert_eq!(blocks, (0..job.blocks()).collect::<Vec<_>>());
}

#[test]
fn a_stick_that_is_not_there_is_named() {
    let site = Site::new("absent");
    let missing = site.stick(&["run", "--in", "/nowhere", "--out", "/nowhere"]);
    assert!(said(&missing).contains("/nowhere"), "{}", said(&missing));
    assert_eq!(missing.status.code(), Some(1));
    assert!(Path::new(&site.dir()).exists());
}
