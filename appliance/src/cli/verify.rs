//! `portolan verify`: what an auditor runs on their own machine, with the file and the appliance's public key alone.

use std::fmt::Write as _;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use portolan_scanner::wire::base64;

use super::audit::{given, key};
use super::exit::Exit;
use crate::audit::export::verify::{Verified, Wrong, verify};

/// Arguments of `portolan verify`.
#[derive(Debug, Args)]
pub struct VerifyArgs {
    /// The export: JSONL or CSV, as the appliance gave it
    file: PathBuf,
    /// The public key that signs this appliance's checkpoints, Base64, as its page shows it
    ///
    /// Without it the export is checked against the key that it carries, which is printed: compare it with one that you
    /// have from elsewhere.
    #[arg(long, value_name = "KEY", value_parser = key)]
    key: Option<[u8; 32]>,
    /// A checkpoint that was kept elsewhere, which the export must hold; may be repeated
    #[arg(long, value_name = "FILE")]
    checkpoint: Vec<PathBuf>,
}

/// Runs the command.
#[must_use]
pub fn run(args: &VerifyArgs) -> ExitCode {
    let (text, exit) = verdict(args);
    if exit == Exit::Unreachable {
        eprint!("{text}");
    } else {
        print!("{text}");
    }
    exit.into()
}

fn verdict(args: &VerifyArgs) -> (String, Exit) {
    let kept = match args.checkpoint.iter().map(|file| given(file)).collect::<Result<Vec<_>, _>>() {
        Ok(kept) => kept,
        Err(sentence) => return (format!("{sentence}\n"), Exit::Unreachable),
    };
    let name = args.file.display();
    let file = match File::open(&args.file) {
        Ok(file) => BufReader::new(file),
        Err(error) => return (format!("{name}: {error}\n"), Exit::Unreachable),
    };
    match verify(file, args.key.as_ref(), kept.iter().map(|made| made.head)) {
        Ok(found) => {
            match kept.iter().find(|made| made.key != found.keys.of(made.head.seq, found.checkpoint.key)) {
                Some(other) => (
                    format!(
                        "broken: the checkpoint of entry {} is signed with another key than the export. If the key was \
                     renewed since, an export that shows the entry of that (key.checkpoint-renewed) tells\n",
                        other.head.seq
                    ),
                    Exit::Refused,
                ),
                None => (told(&found, args.key.is_some(), kept.len()), Exit::Done),
            }
        }
        Err(wrong @ (Wrong::Read(_) | Wrong::Other)) => (format!("{name}: {wrong}\n"), Exit::Unreachable),
        Err(wrong) => (format!("broken: {wrong}\n"), Exit::Refused),
    }
}

/// What is proven, what is not, and by whose key.
fn told(found: &Verified, key_was_given: bool, kept: usize) -> String {
    let Verified { filter, entry, by, fit, left_out, checkpoint, .. } = found;
    let all = checkpoint.head.seq;
    let mut text = String::new();
    let mut line = |sentence: std::fmt::Arguments<'_>| {
        writeln!(text, "{sentence}").expect("writing to a String does not fail");
    };
    if *left_out == 0 {
        line(format_args!(
            "ok: the whole audit, {all} entries, up to the checkpoint signed {}",
            checkpoint.at
        ));
        line(format_args!(
            "proven: no entry was changed, taken out, inserted or moved, and none was cut off before entry {all}"
        ));
    } else {
        let asked = serde_json::to_string(filter).unwrap_or_default();
        line(format_args!(
            "ok: {fit} entries of {all} fit {asked}, up to the checkpoint signed {}",
            checkpoint.at
        ));
        line(format_args!(
            "proven: what is shown stands in the audit as it is written here, at its number, and {left_out} entries were left out"
        ));
        line(format_args!(
            "not proven: that none of those left out fits the filter. Entry {entry} says that {fit} did when {by} exported them; the whole audit shows whether that is so"
        ));
    }
    if kept > 0 {
        line(format_args!(
            "holds {kept} {} kept elsewhere",
            if kept == 1 { "checkpoint" } else { "checkpoints" }
        ));
    }
    if !key_was_given {
        line(format_args!("compare its key with the one you noted: {}", base64::encode(&checkpoint.key)));
    }
    text
}
