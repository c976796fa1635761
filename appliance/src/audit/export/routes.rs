//! The page from which the audit is taken away, and the file.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;

use super::form::{Format, day};
use crate::audit::checkpoint::Checkpoint;
use crate::audit::query::{AuditQuery, with_filters};
use crate::audit::store;
use crate::error::Error;
use crate::web::{Access, Answer, Call, Reply, Routes};

/// The rows.
#[must_use]
pub fn routes() -> Routes {
    Routes::of("audit", "audit/export")
        .get("/audit/export", Access::Scope("audit:export"), ask)
        .page("audit/export.html")
        .summary("The form of an export, and how many entries these filters let through")
        .viewed("audit")
        .post("/audit/export", Access::Scope("audit:export"), export)
        .form("/audit/export")
        .summary(
            "Take the audit away as a file that proves itself, whole or filtered; this is itself an entry",
        )
        .media(&["application/jsonl", "text/csv"])
}

/// What an export would hold.
#[derive(Serialize, JsonSchema)]
struct Asked {
    /// How many entries the filters let through.
    entries: u64,
    /// How many there are in all.
    all: u64,
}

async fn ask(call: Call, query: AuditQuery) -> Answer<Asked> {
    let filter = query.filter()?;
    let read = move |c: &_| Ok(Asked { entries: store::count(c, &filter)?, all: store::head(c)?.seq });
    Ok(Reply::ok(call.app.store.read(read).await?))
}

with_filters! {
    /// Which entries, and in which form.
    #[derive(Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct ExportInput {
        /// `jsonl` or `csv`.
        format: Format,
    }
}

/// The answer is the file.
#[derive(Serialize, JsonSchema)]
struct Exported {}

async fn export(call: Call, input: ExportInput) -> Answer<Exported> {
    let (filter, format) = (input.filter()?, input.format);
    let (store, runtime) = (call.app.store.clone(), Handle::current());
    let cover = super::begin(&store, &call.app.checkpoints, &call.actor(), filter, format).await?;
    let last = Checkpoint::read(&cover.checkpoint).map_err(Error::internal)?.head.seq;
    let (media, ending) = format.media();
    let name = format!("portolan-audit-{}-{}.{ending}", day(call.app.clock.now()), cover.entry);
    Ok(Reply::ok(Exported {}).file(media, name, move |to| {
        super::write(&store, &runtime, &cover, format, last, |text| to.write(text))
    }))
}
