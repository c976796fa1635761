//! `audit verify`: the audit chain, checked with the appliance running or not.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use clap::Args;
use portolan_scanner::wire::{base64, hex};

use crate::audit::chain::{Head, Summary};
use crate::audit::checkpoint::{Checkpoint, MAX_TEXT};
use crate::audit::checkpoints;
use crate::audit::checkpoints::keys::Keys;
use crate::cli::exit::Exit;
use crate::error::Error;
use crate::layout::Layout;
use crate::sqlite::open_read_only;

/// Arguments of `audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// A head noted down earlier, as this command printed it: without one, a cut tail goes unseen
    #[arg(long, value_name = "SEQ:HASH", value_parser = head)]
    head: Option<Head>,
    /// A checkpoint that was kept elsewhere; may be repeated
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
    /// The public key that signs this appliance's checkpoints, Base64, as its page shows it
    ///
    /// Without it, checkpoints are taken to be the appliance's if they are all signed with one key, which is printed.
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<[u8; 32]>,
}

/// Whether the audit in this data folder holds, in a line, and how the command ends.
pub fn verdict(data: &Path, args: &VerifyArgs) -> (String, Exit) {
    let given = match args.checkpoint.iter().map(|file| given(file)).collect::<Result<Vec<_>, _>>() {
        Ok(given) => given,
        Err(sentence) => return (sentence, Exit::Unreachable),
    };
    let path = Layout::new(data).config_db();
    let opened = open_read_only(&path).and_then(|db| Ok((checkpoints::keys_in(&db)?, db)));
    let (keys, db) = match opened {
        Ok(opened) => opened,
        Err(error) => return (unreadable(&path, &error), Exit::Unreachable),
    };
    let key = match one_key(args.key, &given, &keys) {
        Ok(key) => key,
        Err(sentence) => return (sentence, Exit::Unreachable),
    };
    let known = given.iter().map(|made| made.head).chain(args.head);
    match checkpoints::check(&db, key.as_ref(), known) {
        Ok(Ok(Summary { count, head })) => {
            let mut line = format!("ok: {count} entries, head {}", written(head));
            for made in &given {
                line += &format!("; holds the checkpoint of entry {}, signed {}", made.head.seq, made.at);
            }
            match key {
                Some(key) if args.key.is_none() => {
                    line += &format!("; compare its key with the one you noted: {}", base64::encode(&key));
                }
                _ => {}
            }
            (line, Exit::Done)
        }
        Ok(Err(found)) => (format!("broken: {found}"), Exit::Refused),
        Err(error) => (unreadable(&path, &error), Exit::Unreachable),
    }
}

fn unreadable(path: &Path, error: &Error) -> String {
    match error {
        Error::Internal(cause) => format!("{}: {cause}", path.display()),
        error => format!("{}: {error}", path.display()),
    }
}

/// Reads a checkpoint that was kept elsewhere.
pub(super) fn given(file: &Path) -> Result<Checkpoint, String> {
    let named = |error: &dyn std::fmt::Display| format!("{}: {error}", file.display());
    let mut text = String::new();
    let most = u64::try_from(MAX_TEXT).unwrap_or(u64::MAX) + 1;
    let read = File::open(file).and_then(|file| file.take(most).read_to_string(&mut text));
    read.map_err(|error| named(&error))?;
    Checkpoint::read(&text).map_err(|error| named(&error))
}

/// The key that signs now, to which all of them must lead: the one that was said, else the one of the last renewal, else
/// theirs.
fn one_key(said: Option<[u8; 32]>, given: &[Checkpoint], keys: &Keys) -> Result<Option<[u8; 32]>, String> {
    let Some(key) = said.or(keys.newest()).or(given.first().map(|made| made.key)) else { return Ok(None) };
    match given.iter().find(|made| made.key != keys.of(made.head.seq, key)) {
        Some(other) => Err(format!("the checkpoint of entry {} is signed with another key", other.head.seq)),
        None => Ok(Some(key)),
    }
}

fn written(head: Head) -> String {
    format!("{}:{}", head.seq, hex::encode(&head.hash))
}

fn head(text: &str) -> Result<Head, String> {
    let (seq, hash) = text.split_once(':').ok_or("write it as SEQ:HASH")?;
    let seq = seq.parse().map_err(|_| "the part before the colon is not a number")?;
    let hash = hex::decode(hash).map_err(|_| "the part after the colon is not 64 hexadecimal digits")?;
    Ok(Head { seq, hash })
}

/// A public key on the command line.
pub(super) fn key(text: &str) -> Result<[u8; 32], String> {
    base64::decode_array(text).map_err(|_| "a key is 32 bytes in Base64".into())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::checkpoint::Why;
    use crate::audit::checkpoints::Checkpoints;
    use crate::audit::{Actor, Entry};
    use crate::clock::{Clock, Timestamp};
    use crate::secrets::MasterKey;
    use crate::secrets::signing::CheckpointKey;
    use crate::sqlite::Opening;
    use crate::store::Store;

    #[tokio::test]
    async fn verify_prints_a_head_that_it_takes_back_and_finds_a_cut_tail_by_it() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.create().unwrap();
        let verdict = |head: Option<&str>| {
            let args = VerifyArgs { head: head.map(head_of), checkpoint: Vec::new(), key: None };
            verdict(root.path(), &args)
        };
        assert_eq!(verdict(None).1, Exit::Unreachable);
        let store = Store::open(&layout.config_db(), Opening::Owner, Clock::fixed(Timestamp::EPOCH)).unwrap();
        for _ in 0..3 {
            let entry = Entry::event("x.y", &json!(null));
            store.change(&Actor::system("manager"), move |_| Ok((entry, ()))).await.unwrap();
        }
        let (line, code) = verdict(None);
        assert!(line.starts_with("ok: 3 entries, head 3:") && code == Exit::Done, "{line}");
        let noted = line.rsplit(' ').next().unwrap().to_owned();
        assert_eq!(verdict(Some(&noted)).1, Exit::Done);
        let intruder = rusqlite::Connection::open(layout.config_db()).unwrap();
        intruder
            .execute_batch("DROP TRIGGER audit_entry_no_delete; DELETE FROM audit_entry WHERE seq = 3")
            .unwrap();
        assert_eq!(verdict(None).1, Exit::Done);
        let (line, code) = verdict(Some(&noted));
        assert!(line.starts_with("broken: entry 3") && code == Exit::Refused, "{line}");
    }

    #[tokio::test]
    async fn a_checkpoint_from_elsewhere_is_held_against_the_chain_and_its_key_is_told() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.create().unwrap();
        let clock = Clock::fixed(Timestamp::EPOCH);
        let store = Store::open(&layout.config_db(), Opening::Owner, clock.clone()).unwrap();
        let key = |seed| CheckpointKey::of(&MasterKey::from_bytes([seed; 32].into()));
        for _ in 0..3 {
            let entry = Entry::event("x.y", &json!(null));
            store.change(&Actor::system("manager"), move |_| Ok((entry, ()))).await.unwrap();
        }
        let made = Checkpoints::new(store, clock, key(7)).make(Why::Hourly).await.unwrap().unwrap();
        let file = root.path().join("old.txt");
        let verify = |text: &str, key: Option<[u8; 32]>| {
            std::fs::write(&file, text).unwrap();
            verdict(root.path(), &VerifyArgs { head: None, checkpoint: vec![file.clone()], key })
        };
        let (line, code) = verify(made.text(), None);
        assert!(line.contains("holds the checkpoint of entry 3") && code == Exit::Done, "{line}");
        assert!(line.ends_with(&base64::encode(&made.key)), "{line}");
        assert_eq!(verify(made.text(), Some(made.key)).1, Exit::Done);
        let (line, code) = verify(made.text(), Some([9; 32]));
        assert!(line.contains("another key") && code == Exit::Unreachable, "{line}");
        let forged = Checkpoint::sign(Head { seq: 2, hash: [1; 32] }, Timestamp::EPOCH, Why::Asked, &key(7));
        let (line, code) = verify(forged.text(), None);
        assert!(line.starts_with("broken: entry 2 is not the one") && code == Exit::Refused, "{line}");
        let (line, code) = verify("hello", None);
        assert!(line.contains("old.txt: line 1") && code == Exit::Unreachable, "{line}");
    }

    fn head_of(text: &str) -> Head {
        head(text).unwrap()
    }

    #[test]
    fn a_head_is_a_number_and_a_hash() {
        for bad in ["", "3", "x:00", "3:00"] {
            head(bad).unwrap_err();
        }
    }
}
