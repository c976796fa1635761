//! The two spellings of an export: lines of JSON, and a table. Both hold the same, in the order of the chain: entries,
//! the digests of those left out, and a cover with the filter, the key and the checkpoint; before the entries in JSONL,
//! behind them in CSV, so that a spreadsheet begins with its columns. `docs/formats/audit-export.md` describes both.

use portolan_scanner::wire::{base64, hex};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::audit::chain::Link;
use crate::audit::filter::Filter;
use crate::audit::{Record, store};
use crate::clock::Timestamp;
use crate::error::Result;
use crate::web::csv;

/// Digests of one line: a cell of a spreadsheet holds 32,767 letters, these are 21,336.
pub const DIGESTS: usize = 500;

/// What stands before digests in a table: Base64 may begin as a formula does.
pub const SHA256: &str = "sha256:";

/// How an export is spelt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// A JSON object on each line.
    Jsonl,
    /// A table.
    Csv,
}

impl Format {
    /// Its media type and the ending of its files.
    #[must_use]
    pub fn media(self) -> (&'static str, &'static str) {
        match self {
            Self::Jsonl => ("application/jsonl", "jsonl"),
            Self::Csv => ("text/csv; charset=utf-8", "csv"),
        }
    }
}

/// What an export says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cover {
    /// The signed head that the entries lead to, as its text.
    pub checkpoint: String,
    /// The number of the entry that tells of this export.
    pub entry: u64,
    /// Which entries were wanted; empty for all.
    pub filter: Filter,
    /// The public key that signed the checkpoint: Ed25519, Base64.
    pub key: String,
    /// The version of this format: 1.
    #[serde(rename = "portolan-audit-export")]
    pub version: u8,
}

/// The only version there is.
pub const VERSION: u8 = 1;

/// The columns of the table.
pub const COLUMNS: [&str; 17] = [
    "seq",
    "at",
    "class",
    "actor_kind",
    "actor_id",
    "actor_name",
    "method",
    "agent",
    "source",
    "action",
    "resource",
    "resource_id",
    "outcome",
    "changes",
    "detail",
    "hash",
    "entry",
];

/// The row of an entry: what it says, column by column, then its hash and itself.
///
/// # Errors
/// When the entry is none.
pub fn row(seq: u64, hash: &[u8; 32], entry: &str) -> serde_json::Result<[String; 17]> {
    let record: Record = serde_json::from_str(entry)?;
    let changes =
        if record.changes.is_empty() { String::new() } else { serde_json::to_string(&record.changes)? };
    let detail = if record.detail.is_null() { String::new() } else { record.detail.to_string() };
    let source = store::source(&record);
    Ok([
        seq.to_string(),
        record.at.to_string(),
        record.class.as_str().to_owned(),
        record.actor.kind.as_str().to_owned(),
        record.actor.id,
        record.actor.name,
        record.actor.method,
        record.actor.agent,
        source,
        record.action,
        record.resource,
        record.resource_id,
        record.outcome.as_str().to_owned(),
        changes,
        detail,
        hex::encode(hash),
        entry.to_owned(),
    ])
}

/// A row of the table that is no entry: a word in the first columns, the rest in the last.
fn aside(seq: &str, class: &str, entry: &str) -> String {
    let mut cells = [""; 17];
    (cells[0], cells[2], cells[16]) = (seq, class, entry);
    csv::line(&cells)
}

/// Spells an export piece by piece. Digests are gathered: what comes out of a call may be nothing.
#[derive(Debug)]
pub struct Speller {
    format: Format,
    cover: String,
    /// Where the digests that wait begin.
    from: u64,
    waiting: Vec<[u8; 32]>,
}

impl Speller {
    /// For an export with this cover.
    ///
    /// # Errors
    /// Never: a cover can be written as JSON.
    pub fn new(format: Format, cover: &Cover) -> Result<Self> {
        Ok(Self { format, cover: serde_json::to_string(cover)?, from: 0, waiting: Vec::new() })
    }

    /// What comes first.
    #[must_use]
    pub fn begin(&self) -> String {
        match self.format {
            Format::Jsonl => format!("{}\n", self.cover),
            Format::Csv => csv::line(&COLUMNS),
        }
    }

    /// An entry.
    ///
    /// # Errors
    /// When it is none.
    pub fn entry(&mut self, link: &Link) -> Result<String> {
        let mut text = self.digests();
        match self.format {
            Format::Jsonl => text.push_str(&json_line(link.seq, &link.hash, &link.entry)),
            Format::Csv => {
                let cells = row(link.seq, &link.hash, &link.entry)?;
                text.push_str(&csv::line(&cells.each_ref().map(String::as_str)));
            }
        }
        Ok(text)
    }

    /// The digest of an entry that is left out.
    pub fn left_out(&mut self, seq: u64, digest: [u8; 32]) -> String {
        if self.waiting.is_empty() {
            self.from = seq;
        }
        self.waiting.push(digest);
        if self.waiting.len() < DIGESTS { String::new() } else { self.digests() }
    }

    /// What comes last.
    pub fn end(&mut self) -> String {
        let mut text = self.digests();
        if self.format == Format::Csv {
            text.push_str(&aside("cover", "", &self.cover));
        }
        text
    }

    fn digests(&mut self) -> String {
        let waiting = std::mem::take(&mut self.waiting);
        if waiting.is_empty() {
            return String::new();
        }
        let (from, digests) = (self.from, base64::encode(waiting.as_flattened()));
        match self.format {
            Format::Jsonl => format!("{{\"digests\":\"{digests}\",\"from\":{from}}}\n"),
            Format::Csv => aside(&from.to_string(), "left-out", &format!("{SHA256}{digests}")),
        }
    }
}

/// The line of an entry: the entry stands in it byte for byte as it was hashed.
#[must_use]
pub fn json_line(seq: u64, hash: &[u8; 32], entry: &str) -> String {
    format!("{{\"entry\":{entry},\"hash\":\"{}\",\"seq\":{seq}}}\n", hex::encode(hash))
}

/// The time that stands in the name of a file.
#[must_use]
pub fn day(at: Timestamp) -> String {
    at.to_string().chars().take("2026-11-22".len()).collect()
}
