//! A store made anew from the evidence is the store that was.

use std::fs;
use std::path::Path;

use portolan_scanner::wire::{Reason, Results, Sample};

use super::*;
use crate::results::evidence::Evidence;
use crate::results::fixture::{
    JOB_KEY, JobOf, block, frame_signed_by, host, hosts, id, public, results, says, uuid,
};
use crate::results::{HostQuery, Observation, Store, Sweep};

fn layout(root: &Path) -> Layout {
    let layout = Layout::new(root);
    layout.create().unwrap();
    layout
}

fn keys() -> Keys {
    Keys { scanners: [3, 4].map(|n| (id(n), public(n))).into(), job: public(JOB_KEY) }
}

/// Counts and keeps, as the loader does.
fn load(layout: &Layout, store: &DuckDb, frames: &[Proven]) {
    let counted = store.count(frames).unwrap();
    let kept: Vec<_> = frames.iter().zip(counted).collect();
    Evidence::new(layout.evidence()).keep(&kept).unwrap();
}

/// Two jobs that overlap, the later epoch delivered first, and a third that fills the hole that it left; in a store that
/// is then closed.
fn filled(layout: &Layout) -> (Vec<Observation>, Vec<Sweep>) {
    let store = DuckDb::open(&layout.results(), Limits::default()).unwrap();
    let old = JobOf { targets: "10.0.0.0/29", ..JobOf::default() }.frame();
    let new = JobOf { targets: "10.0.0.0/29", epoch: 2, scanner: 4, ..JobOf::default() }.frame();
    let first = says(host("10.0.0.0", &[22]), 22, b"SSH-2.0-x\r\n");
    let broken_off = hosts("10.0.0.7", "10.0.0.7", Reason::Cancelled);
    let seen = vec![first, hosts("10.0.0.1", "10.0.0.6", Reason::NoAnswer), broken_off];
    let sample = Sample { probed: 9, answered: 5, missed: 1 };
    let said = Results { sample, ..results(&new, 0, 0, true, seen) };
    let one = frame_signed_by(4, &said).prove(&public(4), &new).unwrap();
    let two = block(&old, 0, vec![hosts("10.0.0.0", "10.0.0.7", Reason::Refused)]);
    load(layout, &store, &[one]);
    load(layout, &store, &[two]);
    let third = JobOf { targets: "10.0.0.0/29", epoch: 3, ..JobOf::default() }.frame();
    let three = block(&third, 0, vec![hosts("10.0.0.0", "10.0.0.7", Reason::Prohibited)]);
    load(layout, &store, &[three]);
    let all = everything(&store);
    assert_eq!(all.0.last().unwrap().base, Reason::Refused, "the first whole word of it");
    store.close().unwrap();
    assert_eq!((all.0[0].hints.len(), all.1[0].sample), (1, sample));
    all
}

fn everything(store: &DuckDb) -> (Vec<Observation>, Vec<Sweep>) {
    let all = HostQuery { hints: true, ..HostQuery::of(uuid(1)) };
    (store.hosts(&all).unwrap(), store.sweeps(uuid(1)).unwrap())
}

fn reopened(layout: &Layout) -> (Vec<Observation>, Vec<Sweep>) {
    everything(&DuckDb::open(&layout.results(), Limits::default()).unwrap())
}

#[test]
fn the_new_store_says_what_the_old_one_said() {
    let root = tempfile::tempdir().unwrap();
    let layout = layout(root.path());
    let before = filled(&layout);
    fs::write(layout.results(), "not a database any more").unwrap();
    let rebuilt = rebuild(&layout, &keys(), false, &mut |_| {}).unwrap();
    assert_eq!(rebuilt, Rebuilt { scans: 1, frames: 3, repeated: 0, open: 1, bad: Vec::new() });
    assert_eq!(reopened(&layout), before, "also which of two deliveries counts");
    let left: Vec<_> = fs::read_dir(layout.manager()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("new")), "{left:?}");
}

#[test]
fn a_running_manager_keeps_its_store() {
    let root = tempfile::tempdir().unwrap();
    let layout = layout(root.path());
    filled(&layout);
    let _manager = DuckDb::open(&layout.results(), Limits::default()).unwrap();
    let refused = rebuild(&layout, &keys(), false, &mut |_| {}).unwrap_err();
    assert!(matches!(refused, Failure::Store(Error::Locked(_))), "{refused}");
    assert!(refused.to_string().contains("is the manager running?"));
}

#[test]
fn evidence_that_does_not_verify_leaves_the_old_store_unless_it_may_be_left_out() {
    let root = tempfile::tempdir().unwrap();
    let layout = layout(root.path());
    let before = filled(&layout);
    let stranger = Keys { scanners: [(id(4), public(4))].into(), ..keys() };
    let failure = rebuild(&layout, &stranger, false, &mut |_| {}).unwrap_err();
    let Failure::Unverified(bad) = &failure else { panic!("{failure}") };
    assert_eq!((bad.len(), bad[0].1.as_str()), (2, "its scanner is not known"));
    assert_eq!(reopened(&layout), before);
    let rebuilt = rebuild(&layout, &stranger, true, &mut |_| {}).unwrap();
    assert_eq!((rebuilt.frames, rebuilt.bad.len()), (1, 2));
}

#[test]
fn a_changed_byte_in_the_evidence_is_found() {
    let root = tempfile::tempdir().unwrap();
    let layout = layout(root.path());
    filled(&layout);
    let scan = layout.evidence().join(uuid(1).to_string());
    let kept = evidence::frames(&scan).unwrap().remove(0);
    let text = String::from_utf8(evidence::read(&kept.path).unwrap()).unwrap();
    let packed = zstd::encode_all(text.replace("sent: 17", "sent: 71").as_bytes(), 1).unwrap();
    fs::write(&kept.path, packed).unwrap();
    let failure = rebuild(&layout, &keys(), false, &mut |_| {}).unwrap_err();
    let Failure::Unverified(bad) = &failure else { panic!("{failure}") };
    assert!(bad[0].1.contains("signature"), "{bad:?}");
}
