//! `portolan admin audit`, for short `portolan audit`: the audit on the files.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::files::{Files, FilesArgs, json as as_json};
use super::{Failure, Outcome, Said};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::checkpoints::Checkpoints;
use crate::audit::export::form;
use crate::audit::query::AuditQuery;
use crate::audit::store::{Span, list};
use crate::audit::{Filter, Record, export};
use crate::cli::audit::{VerifyArgs, verdict};
use crate::cli::exit::Exit;
use crate::error::Error;
use crate::secrets::rotation;
use crate::secrets::signing::CheckpointKey;

/// How often new entries are looked for.
const LOOK: Duration = Duration::from_millis(500);
/// The most entries that are read at once.
const AT_ONCE: u32 = 500;
/// The columns of a table of entries.
const COLUMNS: [&str; 8] = ["seq", "at", "actor", "source", "action", "resource", "resource_id", "outcome"];

/// What `portolan audit` takes.
#[derive(Args, Debug)]
pub struct AuditArgs {
    #[command(flatten)]
    files: FilesArgs,
    #[command(subcommand)]
    command: AuditCommand,
}

/// What can be done with the audit.
#[derive(Debug, Subcommand)]
pub enum AuditCommand {
    /// Print the last entries, and wait for more
    Tail(TailArgs),
    /// List the entries that these filters let through, the newest first
    Query(QueryArgs),
    /// Check that no entry was changed, removed, inserted or moved
    ///
    /// Opens the configuration database only to read it; the appliance may be running. Prints the number of
    /// entries and the head of the chain, or where it breaks.
    Verify(VerifyArgs),
    /// Take the audit away as a file that proves itself, whole or filtered
    ///
    /// `portolan verify` checks it on any machine. The export is itself an entry. Its head is signed: this needs the
    /// master key. Where systemd hands that out as a credential, run this with the credential:
    /// `systemd-run --quiet --pipe --wait -p LoadCredentialEncrypted=portolan-master-key portolan audit export`.
    Export(ExportArgs),
}

/// Which entries are printed.
#[derive(Args, Debug)]
pub struct TailArgs {
    /// How many of the last
    #[arg(short = 'n', long = "lines", value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(0..=500))]
    lines: u32,
    /// Go on with those that come, until it is interrupted
    #[arg(short, long)]
    follow: bool,
}

/// Which entries are listed.
#[derive(Args, Debug)]
pub struct QueryArgs {
    #[command(flatten)]
    filters: Filters,
    /// How many at the most
    #[arg(long, value_name = "N", default_value_t = 50, conflicts_with = "all")]
    limit: u32,
    /// Every one
    #[arg(long)]
    all: bool,
    /// The oldest first
    #[arg(long)]
    oldest_first: bool,
}

/// What is taken away.
#[derive(Args, Debug)]
pub struct ExportArgs {
    #[command(flatten)]
    filters: Filters,
    /// How it is written
    #[arg(long, default_value = "jsonl")]
    format: Format,
    /// Where it goes (mode 0600); it may not be there yet. Standard output when absent
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
}

/// How an export is written.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Format {
    Jsonl,
    Csv,
}

/// Which entries, as on the page of the audit.
#[derive(Args, Debug)]
struct Filters {
    /// Words that all stand somewhere in the entry
    #[arg(value_name = "WORDS")]
    words: Vec<String>,
    /// The kind of entry
    #[arg(long, value_parser = ["change", "sign-in", "access"])]
    class: Option<String>,
    /// The actor's id, or name in any case
    #[arg(long, value_name = "NAME")]
    actor: Option<String>,
    /// An action (`subnet.created`), or a family of them (`subnet.*`)
    #[arg(long, value_name = "ACTION")]
    action: Option<String>,
    /// The kind of thing: `subnet`
    #[arg(long, value_name = "KIND")]
    resource: Option<String>,
    /// The thing itself
    #[arg(long, value_name = "ID")]
    id: Option<String>,
    /// The address that the request came from
    #[arg(long, value_name = "ADDRESS")]
    source: Option<String>,
    /// How it ended
    #[arg(long, value_parser = ["done", "refused", "failed"])]
    outcome: Option<String>,
    /// Not before this time or day (UTC)
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Before this time, or no later than this day (UTC)
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
}

impl Filters {
    fn read(&self) -> Result<Filter, Failure> {
        let query = AuditQuery {
            q: Some(self.words.join(" ")),
            class: word(self.class.as_ref())?,
            actor: self.actor.clone(),
            action: self.action.clone(),
            resource: self.resource.clone(),
            resource_id: self.id.clone(),
            source: self.source.clone(),
            outcome: word(self.outcome.as_ref())?,
            from: self.from.clone(),
            to: self.to.clone(),
            ..AuditQuery::default()
        };
        Ok(query.filter()?)
    }
}

/// One of the words that the command line lets through, as the value that it spells.
fn word<T: DeserializeOwned>(text: Option<&String>) -> Result<Option<T>, Failure> {
    Ok(text.map(|text| serde_json::from_value(json!(text))).transpose().map_err(Error::from)?)
}

/// Runs `portolan audit`.
#[must_use]
pub fn run_alone(args: &AuditArgs) -> ExitCode {
    super::ended(&args.files, || run(&args.files, &args.command))
}

/// Runs the command.
///
/// # Errors
/// As the service says.
pub fn run(args: &FilesArgs, command: &AuditCommand) -> Outcome {
    match command {
        AuditCommand::Tail(wanted) => tail(&Files::open(args)?, wanted, args.json),
        AuditCommand::Query(wanted) => query(&Files::open(args)?, wanted),
        AuditCommand::Verify(wanted) => verify(args, wanted),
        AuditCommand::Export(wanted) => take_away(&Files::open(args)?, wanted),
    }
}

fn verify(args: &FilesArgs, wanted: &VerifyArgs) -> Outcome {
    match verdict(&args.data, wanted) {
        (line, Exit::Done) => Ok(Said::new(line.clone(), json!({ "holds": true, "found": line }))),
        (line, Exit::Refused) => Err(Failure::Wrong(line)),
        (line, _) => Err(Failure::file("the audit")(io::Error::other(line))),
    }
}

fn query(files: &Files, wanted: &QueryArgs) -> Outcome {
    let filter = wanted.filters.read()?;
    let most = if wanted.all { u32::MAX } else { wanted.limit };
    let (mut items, mut after) = (Vec::new(), None);
    loop {
        let left = most.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        let span = Span { ascending: wanted.oldest_first, after, limit: left.min(AT_ONCE) };
        let some = read(files, &filter, span)?;
        after = some.last().map(|(seq, _)| *seq);
        for entry in &some {
            items.push(line(entry)?);
        }
        if some.len() < AT_ONCE as usize {
            break;
        }
    }
    files.looked("audit", "", "audit query")?;
    let columns: Vec<Value> = items.iter().map(short).collect();
    let table = Said::list(columns, &COLUMNS);
    Ok(Said { json: json!({ "items": items }), ..table })
}

fn tail(files: &Files, wanted: &TailArgs, as_lines: bool) -> Outcome {
    let all = Filter::default();
    let last = Span { ascending: false, after: None, limit: wanted.lines };
    let mut some = if wanted.lines == 0 { Vec::new() } else { read(files, &all, last)? };
    some.reverse();
    let mut seen = match some.last() {
        Some((seq, _)) => *seq,
        None => files.wait(files.store.audit_head())?.seq,
    };
    files.looked("audit", "", "audit tail")?;
    loop {
        for entry in &some {
            let text = if as_lines { line(entry)?.to_string() } else { plain(entry) };
            let mut out = io::stdout().lock();
            if writeln!(out, "{text}").and_then(|()| out.flush()).is_err() {
                // Whoever closes the pipe has read enough.
                return Ok(Said::nothing());
            }
        }
        if !wanted.follow {
            return Ok(Said::nothing());
        }
        if some.len() < AT_ONCE as usize {
            files.runtime.block_on(async { tokio::time::sleep(LOOK).await });
        }
        some = read(files, &all, Span { ascending: true, after: Some(seen), limit: AT_ONCE })?;
        seen = some.last().map_or(seen, |(seq, _)| *seq);
    }
}

fn read(files: &Files, filter: &Filter, span: Span) -> Result<Vec<(u64, Record)>, Failure> {
    let filter = filter.clone();
    files.wait(files.store.read(move |db| Ok(list(db, &filter, span)?.0)))
}

/// An entry with its number, as JSON.
fn line((seq, record): &(u64, Record)) -> Result<Value, Failure> {
    let mut value = as_json(record)?;
    value["seq"] = json!(seq);
    Ok(value)
}

/// What of an entry stands in a table.
fn short(entry: &Value) -> Value {
    let mut short = entry.clone();
    short["actor"] = json!(called(&entry["actor"]));
    short["source"] = entry["actor"]["source"].clone();
    short
}

/// `cli:admin root`, `user ada`, `system:manager`.
fn called(actor: &Value) -> String {
    let text = |key: &str| actor[key].as_str().unwrap_or_default();
    match (text("kind"), text("id"), text("name")) {
        (kind @ ("user" | "scanner"), _, name) => format!("{kind} {name}"),
        (kind, id, name) if id == name || name.is_empty() => {
            if id.is_empty() {
                kind.to_owned()
            } else {
                format!("{kind}:{id}")
            }
        }
        (kind, id, name) => format!("{kind}:{id} {name}"),
    }
}

/// An entry in one line that no terminal takes for a command.
fn plain((seq, record): &(u64, Record)) -> String {
    let actor = called(&serde_json::to_value(&record.actor).unwrap_or_default());
    let source = record.actor.source.map(|source| format!(" from {source}")).unwrap_or_default();
    let about = format!("{} {}", record.resource, record.resource_id);
    let outcome = record.outcome.as_str();
    let line =
        format!("{seq} {} {outcome} {actor}{source}: {} {}", record.at, record.action, about.trim_end());
    line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn take_away(files: &Files, wanted: &ExportArgs) -> Outcome {
    let filter = wanted.filters.read()?;
    let format = match wanted.format {
        Format::Jsonl => form::Format::Jsonl,
        Format::Csv => form::Format::Csv,
    };
    let (layout, random) = (files.layout.clone(), files.random.clone());
    let master = files.wait(files.store.read(move |db| rotation::find(&layout, db, &random)))?;
    let key = CheckpointKey::of(&master);
    // Before the entry is written: what cannot be kept was not taken away.
    let mut to: Box<dyn io::Write> = match &wanted.output {
        None => Box::new(io::stdout().lock()),
        Some(path) => {
            let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
            Box::new(io::BufWriter::new(opened.map_err(Failure::file(path.display()))?))
        }
    };
    let checkpoints = Checkpoints::new(files.store.clone(), files.clock.clone(), key);
    let begun = export::begin(&files.store, &checkpoints, &files.actor, filter, format);
    let cover = files.wait(begun)?;
    let last = Checkpoint::read(&cover.checkpoint).map_err(Error::internal)?.head.seq;
    let put = |text: &str| to.write_all(text.as_bytes());
    export::write(&files.store, files.runtime.handle(), &cover, format, last, put)?;
    to.flush().map_err(Failure::file("the export"))?;
    drop(to);
    match &wanted.output {
        None => Ok(Said::nothing()),
        Some(path) => {
            let text =
                format!("{}: up to entry {last}; portolan verify checks it on any machine", path.display());
            Ok(Said::new(text, json!({ "file": path, "last": last, "key": cover.key })))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::{Actor, ActorKind};

    #[test]
    fn an_actor_is_named_by_kind_and_name() {
        let named = |actor: Actor| called(&serde_json::to_value(actor).unwrap());
        assert_eq!(named(Actor { name: "root (ada)".into(), ..Actor::cli("admin") }), "cli:admin root (ada)");
        assert_eq!(named(Actor::system("manager")), "system:manager");
        assert_eq!(named(Actor { kind: ActorKind::User, name: "ada".into(), ..Actor::cli("x") }), "user ada");
        assert_eq!(named(Actor::nobody("")), "nobody");
    }
}
