//! Checks an export without the appliance: it knows no database, no clock, no network.
//!
//! Every entry that is shown is hashed, every one that is left out is followed by its digest, and the last of them must
//! be the one that the checkpoint signs. So whatever is shown stands in the chain as it is written, at its number. What a
//! filtered export cannot show is that nothing that is left out would have fit its filter: that is the appliance's word,
//! which stands in the chain as an entry of its own, with the number of those that fit.

use std::io::{BufRead, Read as _};

use portolan_scanner::wire::{base64, hex};
use serde::Deserialize;
use serde_json::Value;

use super::form::{COLUMNS, Cover, DIGESTS, SHA256, VERSION, json_line, row};
use crate::audit::Record;
use crate::audit::chain::{Break, Head, Link, Verifier};
use crate::audit::checkpoint::{Checkpoint, NotACheckpoint};
use crate::audit::checkpoints::keys::Keys;
use crate::audit::filter::Filter;
use crate::web::csv;

/// The longest line that is read, in bytes: what an entry can tell is far below.
const LINE: u64 = 16 * 1024 * 1024;

/// Why a file is no export, or not the one that was made.
#[derive(Debug, thiserror::Error)]
pub enum Wrong {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// It is something else.
    #[error("is not an export of the audit")]
    Other,
    /// A line is not what an export has there.
    #[error("line {0}: {1}")]
    Line(u64, String),
    /// The chain does not hold.
    #[error("{0}")]
    Chain(#[from] Break),
    /// Its cover is missing, or there are two.
    #[error("its cover is missing, or it has two")]
    Cover,
    /// The checkpoint is none.
    #[error("its checkpoint {0}")]
    Checkpoint(#[from] NotACheckpoint),
    /// It is signed by someone else.
    #[error("it is signed with another key: {0}")]
    Key(String),
    /// The entries do not lead to the checkpoint.
    #[error(
        "its entries end at {found}, and its checkpoint is of entry {signed}: they do not belong together, or its end is missing"
    )]
    End {
        /// The last entry.
        found: u64,
        /// The one that was signed.
        signed: u64,
    },
    /// The entry that tells of the export tells of another.
    #[error("entry {0} does not tell of this export: its filter or its number of entries was changed")]
    Told(u64),
}

/// What an export that holds amounts to.
#[derive(Debug)]
pub struct Verified {
    /// Which entries were wanted; empty for all.
    pub filter: Filter,
    /// The number of the entry that tells of it.
    pub entry: u64,
    /// Who made it, and how many entries it says fit the filter.
    pub by: String,
    /// How many entries fit the filter when it was made.
    pub fit: u64,
    /// How many are left out.
    pub left_out: u64,
    /// The signed head.
    pub checkpoint: Checkpoint,
    /// The renewals of the key that signs, among the entries that are shown.
    pub keys: Keys,
}

/// Checks an export. `key` is the one that must have signed it; `known` are heads kept elsewhere that it must hold, as far
/// as it reaches.
///
/// # Errors
/// The first thing that is wrong.
pub fn verify(
    mut file: impl BufRead,
    key: Option<&[u8; 32]>,
    known: impl IntoIterator<Item = Head>,
) -> Result<Verified, Wrong> {
    let mut check = Check::towards(known);
    // Some spreadsheets put a mark before the first column.
    let start = file.fill_buf()?;
    if start.starts_with(b"\xef\xbb\xbf") {
        file.consume(3);
    }
    if file.fill_buf()?.starts_with(b"{") {
        lines(file, &mut check)?;
    } else {
        table(file, &mut check)?;
    }
    check.finish(key)
}

/// An entry that tells of an export.
struct Told {
    seq: u64,
    by: String,
    filter: Value,
    fit: Option<u64>,
    /// How many entries were shown before it.
    before: u64,
}

struct Check {
    chain: Verifier,
    at: Head,
    shown: u64,
    left_out: u64,
    cover: Option<Cover>,
    told: Vec<Told>,
    keys: Keys,
}

impl Check {
    fn towards(known: impl IntoIterator<Item = Head>) -> Self {
        let chain = Verifier::towards(known);
        let (told, keys) = (Vec::new(), Keys::default());
        Self { at: Head::EMPTY, chain, shown: 0, left_out: 0, cover: None, told, keys }
    }

    fn cover(&mut self, text: &str, number: u64) -> Result<(), Wrong> {
        let cover: Cover = serde_json::from_str(text).map_err(|error| said(number, error))?;
        if cover.version != VERSION {
            return Err(said(number, format!("version {} is not known: {VERSION} is", cover.version)));
        }
        if self.cover.replace(cover).is_some() { Err(Wrong::Cover) } else { Ok(()) }
    }

    fn shown(&mut self, seq: u64, hash: [u8; 32], entry: String) -> Result<(), Wrong> {
        let link = Link { seq, entry, prev: self.at.hash, hash };
        self.chain.next(&link)?;
        self.at = self.chain.at();
        let record: Record = serde_json::from_str(&link.entry).map_err(|error| said(seq, error))?;
        self.keys.note(seq, &record);
        if record.action == "audit.exported" {
            let Record { actor, detail, .. } = record;
            let told = Told {
                seq,
                by: actor.name,
                filter: detail["filter"].clone(),
                fit: detail["entries"].as_u64(),
                before: self.shown,
            };
            self.told.push(told);
        }
        self.shown += 1;
        Ok(())
    }

    fn left_out(&mut self, from: u64, digests: &str, number: u64) -> Result<(), Wrong> {
        let bytes = base64::decode(digests).map_err(|_| said(number, "its digests are not Base64"))?;
        let (digests, rest) = bytes.as_chunks::<32>();
        if digests.is_empty() || digests.len() > DIGESTS || !rest.is_empty() {
            return Err(said(number, "its digests are not 1 to 500 of 32 bytes"));
        }
        if from != self.at.seq + 1 {
            return Err(Break::Sequence { expected: self.at.seq + 1, found: from }.into());
        }
        for digest in digests {
            self.chain.left_out(digest)?;
            self.left_out += 1;
        }
        self.at = self.chain.at();
        Ok(())
    }

    fn finish(self, key: Option<&[u8; 32]>) -> Result<Verified, Wrong> {
        let cover = self.cover.ok_or(Wrong::Cover)?;
        let checkpoint = Checkpoint::read(&cover.checkpoint)?;
        let ours = base64::encode(&checkpoint.key);
        if ours != cover.key || key.is_some_and(|key| *key != checkpoint.key) {
            return Err(Wrong::Key(ours));
        }
        if checkpoint.head != self.at {
            return Err(Wrong::End { found: self.at.seq, signed: checkpoint.head.seq });
        }
        self.chain.finish()?;
        let filter = serde_json::to_value(&cover.filter).unwrap_or_default();
        let told = self.told.into_iter().find(|told| told.seq == cover.entry);
        match told {
            Some(Told { by, filter: said, fit: Some(fit), before, .. })
                if said == filter && fit == before && (self.left_out == 0 || !cover.filter.is_empty()) =>
            {
                let (entry, left_out, keys) = (cover.entry, self.left_out, self.keys);
                Ok(Verified { filter: cover.filter, entry, by, fit, left_out, checkpoint, keys })
            }
            _ => Err(Wrong::Told(cover.entry)),
        }
    }
}

fn said(number: u64, what: impl std::fmt::Display) -> Wrong {
    Wrong::Line(number, what.to_string())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LeftOut {
    digests: String,
    from: u64,
}

fn lines(mut file: impl BufRead, check: &mut Check) -> Result<(), Wrong> {
    for number in 1.. {
        let mut line = String::new();
        if (&mut file).take(LINE).read_line(&mut line)? == 0 {
            break;
        }
        if !line.ends_with('\n') {
            return Err(said(number, "it is not whole: the end of the file is missing"));
        }
        if number == 1 {
            let known = line.contains("\"portolan-audit-export\":");
            if known { check.cover(&line, number)? } else { return Err(Wrong::Other) }
        } else if line.starts_with("{\"entry\":") {
            let (seq, hash, entry) =
                entry_of(&line).ok_or_else(|| said(number, "is not written as an entry is"))?;
            check.shown(seq, hash, entry)?;
        } else {
            let LeftOut { digests, from } =
                serde_json::from_str(&line).map_err(|error| said(number, error))?;
            check.left_out(from, &digests, number)?;
        }
    }
    Ok(())
}

/// Number, hash and text of a line's entry; there is one spelling.
fn entry_of(line: &str) -> Option<(u64, [u8; 32], String)> {
    let (rest, seq) = line.strip_suffix("}\n")?.rsplit_once(",\"seq\":")?;
    let (entry, hash) = rest.strip_suffix('"')?.rsplit_once(",\"hash\":\"")?;
    let (seq, hash) = (seq.parse().ok()?, hex::decode(hash).ok()?);
    let entry = entry.strip_prefix("{\"entry\":")?;
    (json_line(seq, &hash, entry) == line).then(|| (seq, hash, entry.to_owned()))
}

fn table(mut file: impl BufRead, check: &mut Check) -> Result<(), Wrong> {
    for number in 1.. {
        let Some(cells) = csv::read(&mut file, LINE)? else { break };
        let cells: [String; COLUMNS.len()] = match cells.try_into() {
            Ok(cells) => cells,
            Err(_) if number == 1 => return Err(Wrong::Other),
            Err(_) => return Err(said(number, format!("has not {} cells", COLUMNS.len()))),
        };
        let [first, _, class, .., last] = &cells;
        if number == 1 {
            if cells != COLUMNS {
                return Err(Wrong::Other);
            }
        } else if check.cover.is_some() {
            return Err(said(number, "stands behind the cover, which is the end"));
        } else if first == "cover" {
            check.cover(last, number)?;
        } else {
            let seq = first.parse().map_err(|_| said(number, "does not begin with a number"))?;
            if class == "left-out" {
                let digests = last.strip_prefix(SHA256).ok_or_else(|| said(number, "has no digests"))?;
                check.left_out(seq, digests, number)?;
                continue;
            }
            let hash = hex::decode(&cells[15]).map_err(|_| said(number, "its hash is none"))?;
            let said_so = row(seq, &hash, last).map_err(|error| said(number, error))?;
            if let Some(at) = (0..COLUMNS.len()).find(|at| csv::defused(&said_so[*at]) != cells[*at]) {
                return Err(Break::Column { seq, column: COLUMNS[at] }.into());
            }
            check.shown(seq, hash, last.clone())?;
        }
    }
    Ok(())
}
