//! The pages of checkpoints: the chain's state, the signed heads, and a test against one from elsewhere.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::task::JoinHandle;

use portolan_scanner::wire::{base64, hex};

use super::Checked;
use crate::audit::checkpoint::Checkpoint;
use crate::audit::{Outcome, chain};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::web::{Access, Answer, Call, Cursor, NoInput, Page, Reply, Routes, Sort, limit};

/// The rows.
#[must_use]
pub fn routes() -> Routes {
    Routes::of("audit", "audit/checkpoints")
        .get("/audit/checkpoints", Access::Scope("checkpoints:view"), list)
        .page("audit/checkpoints/list.html")
        .summary("The chain's state and its signed heads")
        .viewed("audit")
        .post("/audit/checkpoints", Access::Scope("audit:verify"), make)
        .summary("Sign the head as it is now")
        .get("/audit/checkpoints/test", Access::Scope("checkpoints:view"), ask)
        .page("audit/checkpoints/test.html")
        .summary("The form of a test")
        .post("/audit/checkpoints/test", Access::Scope("checkpoints:view"), test)
        .page("audit/checkpoints/tested.html")
        .form("/audit/checkpoints/test")
        .summary("Check the whole chain, against a checkpoint from elsewhere if one is given")
        .get("/audit/checkpoints/{seq}", Access::Scope("checkpoints:view"), show)
        .page("audit/checkpoints/show.html")
        .summary("One checkpoint, as it was signed")
        .viewed("audit")
}

/// What the list takes.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CheckpointQuery {
    /// Rows an answer holds, 1 to 500; 50 when absent.
    limit: Option<u32>,
    /// Where the last page ended.
    cursor: Option<String>,
}

/// A checkpoint.
#[derive(Serialize, JsonSchema)]
struct Signed {
    /// How many entries it covers: the number of the last one.
    seq: u64,
    /// That entry's hash, hex.
    hash: String,
    at: Timestamp,
    /// `hourly`, `shutdown`, `asked`, `export` or `backup`; another version may have another word here.
    why: String,
    /// The text to be kept elsewhere.
    text: String,
}

impl From<Checkpoint> for Signed {
    fn from(made: Checkpoint) -> Self {
        Self {
            seq: made.head.seq,
            hash: hex::encode(&made.head.hash),
            at: made.at,
            why: made.why.clone(),
            text: made.text().to_owned(),
        }
    }
}

/// The outcome of a check of the whole chain, as an entry tells it.
#[derive(Serialize, JsonSchema)]
struct Check {
    /// The entry.
    seq: u64,
    at: Timestamp,
    outcome: Outcome,
    /// What was found, if it was not whole.
    found: Option<String>,
}

/// The chain's state, and a page of its signed heads.
#[derive(Serialize, JsonSchema)]
struct Overview {
    /// How many entries there are.
    entries: u64,
    /// The hash of the last one, hex.
    head: String,
    /// The public key that signs checkpoints: Ed25519, Base64.
    key: String,
    /// The newest checkpoint.
    last: Option<Signed>,
    /// The last check of the whole chain.
    checked: Option<Check>,
    /// Since when another runs.
    checking: Option<Timestamp>,
    #[serde(flatten)]
    page: Page<Signed>,
}

const SORT: Sort = Sort { field: "seq", descending: true };

async fn list(call: Call, query: CheckpointQuery) -> Answer<Overview> {
    let limit = limit(query.limit)?;
    let before = match query.cursor.as_deref().filter(|cursor| !cursor.is_empty()) {
        Some(cursor) => Some(number(&Cursor::read(cursor, "checkpoints", &SORT, 1)?[0])?),
        None => None,
    };
    let state = call.app.checkpoints.state().await?;
    // One more than asked says whether there is a next page.
    let (mut rows, total) = call.app.checkpoints.list(before, limit + 1).await?;
    let more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let last = rows.last().filter(|_| more);
    let next = last.map(|made| Cursor::after("checkpoints", &SORT, vec![made.head.seq.to_string()]));
    let checked = state.checked.map(|(seq, record)| Check {
        seq,
        at: record.at,
        outcome: record.outcome,
        found: record.detail["found"].as_str().map(str::to_owned),
    });
    Ok(Reply::ok(Overview {
        entries: state.head.seq,
        head: hex::encode(&state.head.hash),
        key: base64::encode(&call.app.checkpoints.public()),
        last: state.last.map(Signed::from),
        checked,
        checking: state.checking,
        page: Page { items: rows.into_iter().map(Signed::from).collect(), next, total },
    }))
}

fn number(text: &str) -> Result<u64> {
    text.parse().map_err(|_| Error::invalid("cursor", "is not a cursor that this site gave"))
}

async fn make(call: Call, _: NoInput) -> Answer<Signed> {
    let made = call.app.checkpoints.ask(&call.actor()).await?;
    let made = made.ok_or_else(|| Error::internal("the entry that was just written is not there"))?;
    let path = format!("/audit/checkpoints/{}", made.head.seq);
    Ok(Reply::created(path, made.into()))
}

async fn show(call: Call, _: NoInput) -> Answer<Signed> {
    let seq = call.param("seq").to_owned();
    let none = || Error::not_found("checkpoint", &seq);
    let number = seq.parse().ok().filter(|n| i64::try_from(*n).is_ok()).ok_or_else(none)?;
    let made = call.app.checkpoints.get(number).await?.ok_or_else(none)?;
    Ok(Reply::ok(made.into()))
}

/// The form holds nothing yet.
#[derive(Serialize, JsonSchema)]
struct Blank {}

async fn ask(_: Call, _: NoInput) -> Answer<Blank> {
    Ok(Reply::ok(Blank {}))
}

/// What is to be tested.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct TestInput {
    /// The text of a checkpoint that was kept elsewhere; when it is empty the chain is checked against those kept
    /// here alone.
    #[serde(default)]
    checkpoint: String,
}

/// What a test found.
#[derive(Serialize, JsonSchema)]
struct Tested {
    /// Whether everything is as it was signed; null while that is still being looked at. Then the outcome will be an
    /// entry, and what `/audit/checkpoints` names as checked.
    whole: Option<bool>,
    /// How many entries the chain has, when it is whole.
    entries: Option<u64>,
    /// What is wrong, when it is not.
    found: Option<String>,
    /// The checkpoint it was tested against, if one was given.
    against: Option<Signed>,
}

/// How long an answer waits for a test: well below the time that a request may take.
const PATIENCE: Duration = Duration::from_secs(10);

async fn test(call: Call, input: TestInput) -> Answer<Tested> {
    let given = match input.checkpoint.trim() {
        "" => None,
        text => {
            Some(Checkpoint::read(text).map_err(|error| Error::invalid("checkpoint", error.to_string()))?)
        }
    };
    if let Some(given) = &given
        && !call.app.checkpoints.signed(given).await?
    {
        return Err(Error::invalid("checkpoint", "is signed by another appliance"));
    }
    let known = given.as_ref().map(|given| given.head);
    let check = call.app.checkpoints.begin(call.actor(), known)?;
    Ok(Reply::ok(Tested { against: given.map(Signed::from), ..tested(check, PATIENCE).await? }))
}

/// What a check has come to after this time at most; it goes on, if it is not done by then.
async fn tested(check: JoinHandle<Checked>, patience: Duration) -> Result<Tested> {
    let Ok(done) = tokio::time::timeout(patience, check).await else {
        return Ok(Tested { whole: None, entries: None, found: None, against: None });
    };
    let (entries, found) = match done.map_err(Error::internal)?? {
        Ok(chain::Summary { count, .. }) => (Some(count), None),
        Err(wrong) => (None, Some(wrong.to_string())),
    };
    Ok(Tested { whole: Some(found.is_none()), entries, found, against: None })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_test_that_takes_long_is_answered_before_it_is_done() {
        let never = tokio::spawn(std::future::pending());
        let answer = tested(never, Duration::ZERO).await.unwrap();
        assert_eq!((answer.whole, answer.found), (None, None));
    }
}
