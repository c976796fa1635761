//! `portolan audit`: the audit chain, checked without the appliance running.

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use portolan_scanner::wire::{base64, hex};

use crate::audit::chain::{Head, Summary};
use crate::audit::checkpoint::{Checkpoint, MAX_TEXT};
use crate::audit::checkpoints;
use crate::error::Error;
use crate::layout::Layout;
use crate::sqlite::open_read_only;

/// What can be done with the audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Check that no entry was changed, removed, inserted or moved
    ///
    /// Opens the configuration database only to read it; the appliance may be running. Prints the number of
    /// entries and the head of the chain, or where it breaks. Exit code: 0 whole, 1 broken, 2 not readable.
    Verify(VerifyArgs),
}

/// Arguments of `portolan audit verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The data folder
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
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

/// Runs the command.
#[must_use]
pub fn run(command: &AuditCommand) -> ExitCode {
    let AuditCommand::Verify(args) = command;
    let (line, code) = verdict(args);
    if code == 2 {
        eprintln!("{line}");
    } else {
        println!("{line}");
    }
    ExitCode::from(code)
}

fn verdict(args: &VerifyArgs) -> (String, u8) {
    let given = match args.checkpoint.iter().map(|file| given(file)).collect::<Result<Vec<_>, _>>() {
        Ok(given) => given,
        Err(sentence) => return (sentence, 2),
    };
    let key = match one_key(args.key, &given) {
        Ok(key) => key,
        Err(sentence) => return (sentence, 2),
    };
    let known = given.iter().map(|made| made.head).chain(args.head);
    let path = Layout::new(&args.data).config_db();
    match open_read_only(&path).and_then(|connection| checkpoints::check(&connection, key.as_ref(), known)) {
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
            (line, 0)
        }
        Ok(Err(found)) => (format!("broken: {found}"), 1),
        Err(Error::Internal(cause)) => (format!("{}: {cause}", path.display()), 2),
        Err(error) => (format!("{}: {error}", path.display()), 2),
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

/// The key that all of them must be signed with: the one that was said, else theirs.
fn one_key(said: Option<[u8; 32]>, given: &[Checkpoint]) -> Result<Option<[u8; 32]>, String> {
    let key = said.or(given.first().map(|made| made.key));
    match given.iter().find(|made| Some(made.key) != key) {
        Some(other) => Err(format!("the checkpoint of entry {} is signed with another key", other.head.seq)),
        None => Ok(key),
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
        let args = |head: Option<&str>| VerifyArgs {
            data: root.path().into(),
            head: head.map(head_of),
            checkpoint: Vec::new(),
            key: None,
        };
        assert_eq!(verdict(&args(None)).1, 2);
        let store = Store::open(&layout.config_db(), Opening::Owner, Clock::fixed(Timestamp::EPOCH)).unwrap();
        for _ in 0..3 {
            let entry = Entry::event("x.y", &json!(null));
            store.change(&Actor::system("manager"), move |_| Ok((entry, ()))).await.unwrap();
        }
        let (line, code) = verdict(&args(None));
        assert!(line.starts_with("ok: 3 entries, head 3:") && code == 0, "{line}");
        let noted = line.rsplit(' ').next().unwrap().to_owned();
        assert_eq!(verdict(&args(Some(&noted))).1, 0);
        let intruder = rusqlite::Connection::open(layout.config_db()).unwrap();
        intruder
            .execute_batch("DROP TRIGGER audit_entry_no_delete; DELETE FROM audit_entry WHERE seq = 3")
            .unwrap();
        assert_eq!(verdict(&args(None)).1, 0);
        let (line, code) = verdict(&args(Some(&noted)));
        assert!(line.starts_with("broken: entry 3") && code == 1, "{line}");
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
            let args =
                VerifyArgs { data: root.path().into(), head: None, checkpoint: vec![file.clone()], key };
            verdict(&args)
        };
        let (line, code) = verify(made.text(), None);
        assert!(line.contains("holds the checkpoint of entry 3") && code == 0, "{line}");
        assert!(line.ends_with(&base64::encode(&made.key)), "{line}");
        assert_eq!(verify(made.text(), Some(made.key)).1, 0);
        let (line, code) = verify(made.text(), Some([9; 32]));
        assert!(line.contains("another key") && code == 2, "{line}");
        let forged = Checkpoint::sign(Head { seq: 2, hash: [1; 32] }, Timestamp::EPOCH, Why::Asked, &key(7));
        let (line, code) = verify(forged.text(), None);
        assert!(line.starts_with("broken: entry 2 is not the one") && code == 1, "{line}");
        let (line, code) = verify("hello", None);
        assert!(line.contains("old.txt: line 1") && code == 2, "{line}");
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
