//! What the door lets in, and what it does not.

use std::fs;

use portolan_scanner::wire::{self, Reason, hex};

use super::*;
use crate::results::fixture::{self, JobOf, frame_signed_by, host, hosts, public, results};

const NOW: Timestamp = Timestamp::from_micros(1_700_000_000_000_000);

struct Door {
    root: tempfile::TempDir,
    spool: Spool,
}

impl Door {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for folder in ["tmp", "new"] {
            fs::create_dir(root.path().join(folder)).unwrap();
        }
        let spool = Spool::new(root.path().join("tmp"), root.path().join("new"));
        Self { root, spool }
    }

    fn refuses(&self, frame: Frame, key: u8, job: &JobFrame) -> Refusal {
        let refused = accept(&self.spool, frame, &public(key), job, Before::default(), NOW).unwrap_err();
        assert_eq!(fs::read_dir(self.root.path().join("new")).unwrap().count(), 0, "nothing is kept");
        match refused {
            Error::Refused(refusal) => refusal,
            Error::OverBudget(budget) => panic!("over {budget}"),
            Error::NotKept(error) => panic!("{error}"),
        }
    }
}

fn whole() -> Vec<wire::HostRecord> {
    vec![host("10.0.0.0", &[22]), hosts("10.0.0.1", "10.0.0.255", Reason::NoAnswer)]
}

#[test]
fn a_receipt_means_the_very_bytes_are_in_the_spool() {
    let (door, job) = (Door::new(), JobOf::default().frame());
    let frame = frame_signed_by(3, &results(&job, 0, 0, true, whole()));
    for _ in 0..2 {
        let receipt = accept(&door.spool, frame.clone(), &public(3), &job, Before::default(), NOW).unwrap();
        assert_eq!(receipt, Receipt { frame: frame.hash(), accepted: NOW.micros() });
    }
    let there = door.root.path().join("new").join(hex::encode(&frame.hash()));
    assert_eq!(fs::read(there).unwrap(), frame.bytes());
    assert_eq!(fs::read_dir(door.root.path().join("new")).unwrap().count(), 1);
}

#[test]
fn another_scanners_signature_is_refused() {
    let (door, job) = (Door::new(), JobOf::default().frame());
    let frame = frame_signed_by(4, &results(&job, 0, 0, true, whole()));
    assert_eq!(door.refuses(frame, 3, &job), Refusal::BadSignature(fixture::id(3)));
}

#[test]
fn a_changed_byte_is_refused() {
    let (door, job) = (Door::new(), JobOf::default().frame());
    let frame = frame_signed_by(3, &results(&job, 0, 0, true, whole()));
    let text = str::from_utf8(frame.bytes()).unwrap().replace("sent: 17", "sent: 18");
    let frame = Frame::parse(text.into_bytes()).unwrap();
    assert_eq!(door.refuses(frame, 3, &job), Refusal::BadSignature(fixture::id(3)));
}

#[test]
fn a_job_of_another_scanner_is_refused() {
    let (door, job) = (Door::new(), JobOf { scanner: 4, ..JobOf::default() }.frame());
    let frame =
        frame_signed_by(3, &wire::Results { scanner: fixture::id(3), ..results(&job, 0, 0, true, whole()) });
    assert_eq!(door.refuses(frame, 3, &job), Refusal::WrongScanner(fixture::id(9)));
}

#[test]
fn another_job_than_the_one_named_is_refused() {
    let (door, job) = (Door::new(), JobOf::default().frame());
    let other = JobOf { epoch: 2, ..JobOf::default() }.frame();
    let frame = frame_signed_by(3, &results(&job, 0, 0, true, whole()));
    assert_eq!(door.refuses(frame, 3, &other), Refusal::UnknownJob(job.hash()));
}

#[test]
fn hosts_outside_the_block_are_refused() {
    let (door, job) = (Door::new(), JobOf::default().frame());
    let frame = frame_signed_by(3, &results(&job, 0, 0, false, vec![host("10.0.1.0", &[22])]));
    assert!(matches!(door.refuses(frame, 3, &job), Refusal::Mismatch(_)));
}

#[test]
fn what_is_no_frame_is_refused_with_a_word_and_a_sentence() {
    assert_eq!(Frame::parse(vec![b'x'; wire::MAX_FRAME + 1]).unwrap_err().slug(), "too-large");
    for bytes in [&b""[..], b"\xff\xfe", b"portolan-frame: 2\n", b"portolan-frame: 1\nkind: job\n"] {
        assert_eq!(Frame::parse(bytes.to_vec()).unwrap_err().slug(), "malformed");
    }
    let newer = Frame::parse(b"portolan-frame: 2\nkind: results\n".to_vec()).unwrap_err().to_string();
    assert!(newer.contains("version \"2\""), "{newer}");
}

#[test]
fn a_full_disk_is_no_refusal() {
    let (door, job) = (Door::new(), JobOf::default().frame());
    fs::remove_dir(door.root.path().join("new")).unwrap();
    let frame = frame_signed_by(3, &results(&job, 0, 0, true, whole()));
    assert!(matches!(
        accept(&door.spool, frame, &public(3), &job, Before::default(), NOW),
        Err(Error::NotKept(_))
    ));
}

#[test]
fn a_job_cannot_fill_the_disk_with_frames_that_differ() {
    let (door, job) = (Door::new(), JobOf::default().frame());
    let frame = frame_signed_by(3, &results(&job, 0, 0, true, whole()));
    let size = frame.bytes().len() as u64;
    assert!(job.budget() > 1_000 * size, "what it can come to fits by far");
    let left = job.budget() - size;
    let bytes = |bytes| Before { bytes, kept: false };
    let refused = accept(&door.spool, frame.clone(), &public(3), &job, bytes(left + 1), NOW).unwrap_err();
    assert!(matches!(refused, Error::OverBudget(_)), "{refused}");
    assert_eq!(fs::read_dir(door.root.path().join("new")).unwrap().count(), 0);
    let kept = Before { bytes: left + 1, kept: true };
    accept(&door.spool, frame.clone(), &public(3), &job, kept, NOW).unwrap();
    assert_eq!(fs::read_dir(door.root.path().join("new")).unwrap().count(), 0, "it was taken before");
    accept(&door.spool, frame, &public(3), &job, bytes(left), NOW).unwrap();
}
