//! The audit as a file that proves itself: entries, whole or filtered, the digests of those that are left out, and the
//! signed head that all of them lead to. `portolan verify` checks it on another machine ([`verify`]).

pub mod form;
pub mod routes;
mod store;
#[cfg(test)]
mod tests;
pub mod verify;

use std::io;

use portolan_scanner::wire::base64;
use serde_json::json;
use tokio::runtime::Handle;

use super::checkpoint::Why;
use super::checkpoints::Checkpoints;
use super::filter::Filter;
use super::{Actor, Entry, chain, store as entries};
use crate::error::{Error, Result};
use crate::store::Store;
use form::{Cover, Format, Speller, VERSION};

/// Writes down that the audit is exported, as an entry that says which entries and how many, and signs the head behind
/// it: so the export's own word stands in the chain that it proves.
///
/// # Errors
/// The database's.
pub async fn begin(
    store: &Store,
    checkpoints: &Checkpoints,
    actor: &Actor,
    filter: Filter,
    format: Format,
) -> Result<Cover> {
    let wanted = filter.clone();
    let entry = store
        .change(actor, move |tx| {
            let (count, head) = (entries::count(tx, &wanted)?, entries::head(tx)?);
            let detail = json!({ "entries": count, "filter": wanted, "format": format });
            Ok((Entry::access("audit.exported", &detail), head.seq + 1))
        })
        .await?;
    let signed = checkpoints.make(Why::Export).await?;
    let signed = signed.ok_or_else(|| Error::internal("the entry that was just written is not there"))?;
    let key = base64::encode(&signed.key);
    Ok(Cover { checkpoint: signed.text().to_owned(), entry, filter, key, version: VERSION })
}

/// Writes the export of this cover, up to the signed entry `last`. It reads stretch by stretch, so that no read lasts:
/// what is behind it never changes.
///
/// # Errors
/// The database's, and that of a reader who is gone.
pub fn write(
    store: &Store,
    runtime: &Handle,
    cover: &Cover,
    format: Format,
    last: u64,
    mut to: impl FnMut(&str) -> io::Result<()>,
) -> Result<()> {
    let mut put = |text: String| to(&text).map_err(Error::internal);
    let mut speller = Speller::new(format, cover)?;
    put(speller.begin())?;
    let mut after = 0;
    while after < last {
        let filter = cover.filter.clone();
        let stretch = runtime.block_on(store.read(move |c| store::stretch(c, &filter, after, last)))?;
        let Some(end) = stretch.links.last().map(|link| link.seq) else { break };
        for link in &stretch.links {
            let seq = link.seq;
            // What came after the export began is left out of a filtered one: its entry could not count it.
            let shown = stretch.shows(seq) && (cover.filter.is_empty() || seq < cover.entry);
            put(if shown || seq == cover.entry {
                speller.entry(link)?
            } else {
                speller.left_out(seq, chain::digest(&link.entry))
            })?;
        }
        after = end;
    }
    put(speller.end())
}
