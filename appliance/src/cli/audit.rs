//! `portolan audit`: the audit chain, checked without the appliance running.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use portolan_scanner::wire::hex;

use crate::audit::chain::{Head, Summary};
use crate::audit::store::verify;
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
    let path = Layout::new(&args.data).config_db();
    let checked = open_read_only(&path).and_then(|connection| verify(&connection, args.head));
    match checked {
        Ok(Ok(Summary { count, head })) => (format!("ok: {count} entries, head {}", written(head)), 0),
        Ok(Err(found)) => (format!("broken: {found}"), 1),
        Err(Error::Internal(cause)) => (format!("{}: {cause}", path.display()), 2),
        Err(error) => (format!("{}: {error}", path.display()), 2),
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::{Actor, Entry};
    use crate::clock::{Clock, Timestamp};
    use crate::sqlite::Opening;
    use crate::store::Store;

    #[tokio::test]
    async fn verify_prints_a_head_that_it_takes_back_and_finds_a_cut_tail_by_it() {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.create().unwrap();
        let args = |head: Option<&str>| VerifyArgs { data: root.path().into(), head: head.map(head_of) };
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
