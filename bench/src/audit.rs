//! Appends to the audit per second, each on disk before the next, and how fast a chain is verified, beside what limits
//! both on this machine: a bare append with its fsync, and `openssl speed sha256`, in the same run.

#![expect(clippy::cast_precision_loss, reason = "figures for a table")]

use std::fmt::Write as _;
use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use portolan::audit::chain::{self, Head, Link};
use portolan::audit::checkpoints::Checkpoints;
use portolan::audit::export::form::{Format, Speller};
use portolan::audit::export::{self, verify};
use portolan::audit::{Actor, Entry, Filter, store};
use portolan::clock::Clock;
use portolan::secrets::MasterKey;
use portolan::secrets::signing::CheckpointKey;
use portolan::sqlite::Opening;
use portolan::store::Store;

use crate::scan::table;

/// What is asked for.
struct Options {
    appends: usize,
    entries: usize,
    dir: PathBuf,
    write: Option<PathBuf>,
}

/// Runs `audit [--appends N] [--entries N] [--dir DIR] [--write FILE]`.
pub fn run(words: &[&str]) -> Result<(), String> {
    let mut options = Options { appends: 2_000, entries: 100_000, dir: std::env::temp_dir(), write: None };
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word}: a value is missing"))?;
        let number = || {
            value.parse().ok().filter(|n| *n > 0).ok_or(format!("{word}: {value:?} is not a number above 0"))
        };
        match *word {
            "--appends" => options.appends = number()?,
            "--entries" => options.entries = number()?,
            "--dir" => options.dir = value.into(),
            "--write" => options.write = Some(value.into()),
            _ => return Err(format!("{word}: not known")),
        }
    }
    let machine = table::machine();
    let folder = tempfile::tempdir_in(&options.dir).map_err(|e| format!("{}: {e}", options.dir.display()))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    let measured = runtime.block_on(measure(folder.path(), &options)).map_err(|error| error.to_string())?;
    let section = section(&measured, &options, &machine);
    print!("{section}");
    options.write.map_or(Ok(()), |page| table::write(&page, table::AUDIT, &section))
}

type Failure = Box<dyn std::error::Error>;

/// Seconds of each step, and what they were over.
struct Measured {
    /// Bytes of the chain's entries.
    bytes: usize,
    append: f64,
    bare: f64,
    together: f64,
    verify_database: f64,
    verify_memory: f64,
    verify_export: f64,
    /// What OpenSSL hashes a second, in pieces of the mean entry's size and of 8 KiB; bytes.
    openssl: Option<(f64, f64)>,
}

/// What a change of a subnet writes.
fn entry(n: usize) -> Entry {
    let fields = |note: &str| {
        serde_json::json!({
            "name": format!("East quay {n}"), "cidr": "10.20.0.0/16", "note": note, "hosts": 65_536,
        })
    };
    Entry::updated("subnet", uuid::Uuid::from_u128(n as u128), &fields("as it was"), &fields("gentle only"))
}

fn actor() -> Actor {
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    Actor::user(uuid::Uuid::nil(), "ada").seen_from([10, 30, 8, 50].into()).by("session").with_agent(agent)
}

async fn measure(folder: &Path, options: &Options) -> Result<Measured, Failure> {
    let actor = actor();
    let one = Store::open(&folder.join("one.db"), Opening::Owner, Clock::system())?;
    let started = Instant::now();
    for n in 0..options.appends {
        one.change(&actor, move |_| Ok((entry(n), ()))).await?;
    }
    let append = started.elapsed().as_secs_f64();
    let bare = bare(&folder.join("bare"), options.appends, mean(&links(&one).await?))?;

    let many = Store::open(&folder.join("many.db"), Opening::Owner, Clock::system())?;
    let started = Instant::now();
    for first in (0..options.entries).step_by(1_000) {
        let entries = (first..options.entries.min(first + 1_000)).map(entry).collect();
        many.changes(&actor, move |_| Ok((entries, ()))).await?;
    }
    let together = started.elapsed().as_secs_f64();
    let master = MasterKey::from_bytes([7; 32].into());
    let checkpoints = Checkpoints::new(many.clone(), Clock::system(), CheckpointKey::of(&master));
    let cover = export::begin(&many, &checkpoints, &actor, Filter::default(), Format::Jsonl).await?;
    let head = many.audit_head().await?;

    let started = Instant::now();
    many.read(move |c| store::verify(c, Some(head))).await??;
    let verify_database = started.elapsed().as_secs_f64();

    let links = links(&many).await?;
    let mut speller = Speller::new(Format::Jsonl, &cover)?;
    let mut file = speller.begin();
    for link in &links {
        file.push_str(&speller.entry(link)?);
    }
    file.push_str(&speller.end());
    let started = Instant::now();
    verify::verify(file.as_bytes(), Some(&checkpoints.public()), None)?;
    let verify_export = started.elapsed().as_secs_f64();

    let (bytes, mean) = (links.iter().map(|link| link.entry.len()).sum(), mean(&links));
    let started = Instant::now();
    chain::verify(links, Some(head))?;
    let verify_memory = started.elapsed().as_secs_f64();
    let openssl = openssl(mean).zip(openssl(8_192));
    Ok(Measured { bytes, append, bare, together, verify_database, verify_memory, verify_export, openssl })
}

async fn links(store: &Store) -> Result<Vec<Link>, Failure> {
    let head: Head = store.audit_head().await?;
    Ok(store.read(move |c| (1..=head.seq).map(|seq| link(c, seq)).collect()).await?)
}

fn link(connection: &rusqlite::Connection, seq: u64) -> portolan::error::Result<Link> {
    let found = store::get(connection, seq)?;
    found.map(|(link, _)| link).ok_or_else(|| portolan::error::Error::internal("a chain has no gaps"))
}

fn mean(links: &[Link]) -> usize {
    links.iter().map(|link| link.entry.len()).sum::<usize>() / links.len().max(1)
}

/// As many appends of as many bytes to a file, each synced: what the disk allows; seconds.
fn bare(path: &Path, appends: usize, bytes: usize) -> Result<f64, Failure> {
    let mut file = File::create(path)?;
    let line = vec![b'x'; bytes];
    let started = Instant::now();
    for _ in 0..appends {
        file.write_all(&line)?;
        file.sync_data()?;
    }
    Ok(started.elapsed().as_secs_f64())
}

/// Bytes a second that OpenSSL hashes on one core in pieces of this size; none where it is not installed.
fn openssl(piece: usize) -> Option<f64> {
    let arguments = ["speed", "-mr", "-seconds", "3", "-bytes", &piece.to_string(), "-evp", "sha256"];
    let said = Command::new("openssl").args(arguments).output().ok()?;
    // `+F:0:sha256:431253402.30`
    let text = String::from_utf8_lossy(&said.stdout);
    text.lines().rfind(|line| line.starts_with("+F:"))?.rsplit(':').next()?.trim().parse().ok()
}

fn section(measured: &Measured, options: &Options, machine: &str) -> String {
    let Measured { bytes, append, bare, together, verify_database, verify_memory, verify_export, openssl } =
        measured;
    let mut text = format!(
        "### Appends and verification\n\nEntries of {} bytes on the mean: a change of a subnet, made in a browser.\n{machine}\n\n",
        bytes / (options.entries + 1)
    );
    let mut line = |arguments: std::fmt::Arguments<'_>| {
        writeln!(text, "{arguments}").expect("writing to a String does not fail");
    };
    let a_second = |count: usize, seconds: f64| table::thousands(count as f64 / seconds);
    line(format_args!("| appends | entries | entries/s |\n|---|---:|---:|"));
    let appends = options.appends;
    line(format_args!(
        "| one by one, each committed and synced before the next | {appends} | {} |",
        a_second(appends, *append)
    ));
    line(format_args!(
        "| the same bytes at the end of a bare file, each synced (`fdatasync`) | {appends} | {} |",
        a_second(appends, *bare)
    ));
    line(format_args!(
        "| a thousand in one transaction | {} | {} |",
        options.entries,
        a_second(options.entries, *together)
    ));
    let mib = |bytes: f64| format!("{:.0}", bytes / 1_048_576.0);
    let verified = *bytes as f64;
    line(format_args!(
        "\n| verification, {} entries, one core | MiB/s | entries/s |\n|---|---:|---:|",
        options.entries
    ));
    for (what, seconds) in [
        ("`portolan audit verify`: in the database, with the columns beside the entries", verify_database),
        ("`portolan verify`: an export in JSONL", verify_export),
        ("the chain alone: each entry read, written canonically, hashed", verify_memory),
    ] {
        line(format_args!(
            "| {what} | {} | {} |",
            mib(verified / seconds),
            a_second(options.entries, *seconds)
        ));
    }
    match openssl {
        Some((entry, large)) => {
            line(format_args!(
                "| `openssl speed sha256`, pieces of the mean size of an entry | {} | |",
                mib(*entry)
            ));
            line(format_args!("| `openssl speed sha256`, pieces of 8 KiB | {} | |", mib(*large)));
        }
        None => line(format_args!("| `openssl speed sha256` | not installed | |")),
    }
    text + "\n"
}
