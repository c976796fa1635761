//! Exclusions: addresses that no scan of this site touches, whatever a template says. They are taken out of the scope
//! when a scan is launched, and reach running probes through jobs.db, where ingest finds them.

use std::time::Duration;

use portolan_scanner::net::Ranges;
use portolan_scanner::wire::hex;
use rusqlite::{Connection, OptionalExtension as _, Transaction};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::store::exclusions as store;
use super::{Count, Scope};
use crate::app::App;
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::{self, Does, EditPage, Kept, Noun, Refusals, Words};
use crate::secrets::sha256;
use crate::web::{ListQuery, Nav, Page};

/// The longest text of addresses that is read.
const ADDRESSES_MAX: usize = 64 * 1024;
/// The most characters of a reason.
const REASON_MAX: usize = 300;
/// The most runs of addresses of all exclusions in force together: every scanner is told all of them. Counted before
/// they are joined, so that deleting one cannot make them more.
const RUNS_MAX: usize = 10_000;
/// How often what jobs.db says is compared: an exclusion may have expired, or jobs.db been lost.
const ROUND: Duration = Duration::from_secs(2);
/// A day, which every exclusion with an end has to its end.
const DAY: Duration = Duration::from_secs(86_400);
/// When one without an end ends.
const NEVER: Timestamp = Timestamp::from_micros(i64::MAX);

/// An exclusion.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Exclusion {
    /// Its id.
    pub id: Uuid,
    /// The addresses, in canonical form: `10.20.3.0/24, 10.20.4.1-10.20.4.9`.
    pub addresses: String,
    /// How many addresses.
    pub hosts: Count,
    /// Why they are not to be touched.
    pub reason: String,
    /// The last day on which it holds (UTC); absent: it holds until it is deleted.
    pub expires_on: Option<String>,
    /// Whether it holds now.
    pub in_force: bool,
    /// Who made it.
    pub by: String,
    /// When.
    pub created_at: Timestamp,
    /// Counts its changes.
    pub version: i64,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
}

/// An exclusion as it is made or changed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExclusionInput {
    /// Addresses, ranges and CIDR blocks: `10.20.3.0/24, 10.20.4.1-10.20.4.9, fd00:20::7`.
    pub addresses: String,
    /// Why they are not to be touched, in one line.
    pub reason: String,
    /// The last day on which it holds (UTC), `2026-12-31`; absent: it holds until it is deleted.
    #[serde(default)]
    pub expires_on: Option<String>,
    /// For a change: the version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    pub version: Option<i64>,
}

/// What the list of exclusions takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExclusionQuery {
    /// Words of addresses, reason or who made it; an address finds the exclusions that hold it.
    pub q: Option<String>,
    /// Only those that hold, or those that have expired.
    pub state: Option<Force>,
    /// `addresses`, `reason`, `expires_on` or `updated_at`; `-` in front turns it round.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// Whether an exclusion holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Force {
    /// It holds.
    InForce,
    /// Its last day is over.
    Expired,
}

/// What whoever makes an exclusion decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Fields {
    #[serde(serialize_with = "noun::as_text")]
    pub addresses: Ranges,
    pub reason: String,
    /// When it ends.
    #[serde(rename = "expires_on", serialize_with = "last_day")]
    pub expires_at: Timestamp,
}

/// Who made an exclusion, and when.
#[derive(Clone, Debug)]
pub struct Made {
    pub by: String,
    pub at: Timestamp,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn last_day<S: serde::Serializer>(end: &Timestamp, serializer: S) -> std::result::Result<S::Ok, S::Error> {
    day_before(*end).serialize(serializer)
}

/// The last day before an end; none before [`NEVER`].
fn day_before(end: Timestamp) -> Option<String> {
    (end < NEVER).then(|| (end - DAY).to_string().chars().take(10).collect())
}

/// When a day (UTC) is over.
fn end_of(day: &str) -> Option<Timestamp> {
    (day.len() == 10).then(|| Timestamp::parse(&format!("{day}T00:00:00Z")).ok())?.map(|start| start + DAY)
}

impl Fields {
    /// A day that is over is taken only where it is the one that was there.
    fn check(input: &ExclusionInput, was: Option<Timestamp>, now: Timestamp) -> Result<Self> {
        let mut refusals = Refusals::new();
        let reason = refusals.line("reason", &input.reason, REASON_MAX);
        let addresses = if input.addresses.len() > ADDRESSES_MAX {
            refusals.say("addresses", format!("at most {ADDRESSES_MAX} bytes are read"));
            None
        } else {
            refusals.take("addresses", Ranges::parse(&input.addresses))
        };
        if addresses.as_ref().is_some_and(Ranges::is_empty) {
            refusals.say("addresses", "at least one address is needed");
        }
        let day = input.expires_on.as_deref().map(str::trim).filter(|day| !day.is_empty());
        let expires_at = match day.map(end_of) {
            None => NEVER,
            Some(Some(end)) if end > now || was == Some(end) => end,
            Some(Some(_)) => {
                refusals.say("expires_on", "this day is over: take a later one, or none");
                NEVER
            }
            Some(None) => {
                refusals.say("expires_on", "a day is written as 2026-12-31");
                NEVER
            }
        };
        refusals.end_with(addresses).map(|addresses| Self { addresses, reason, expires_at })
    }
}

impl Noun for Exclusion {
    type Room = Scope;
    type Query = ExclusionQuery;
    type Input = ExclusionInput;
    type Form = EditPage<Self>;
    const WORDS: Words = Words {
        one: "exclusion",
        many: "exclusions",
        docs: "scope/exclusions",
        templates: "scope/exclusions",
        scopes: ["exclusions:view", "exclusions:manage"],
        nav: Nav { group: "Scope", title: "Exclusions", icon: "stop", order: 220 },
        viewed: None,
        does: Does {
            list: "List what is never scanned",
            show: "One exclusion",
            new: "The form of a new exclusion",
            create: "Exclude addresses from every scan, also from those that run",
            edit: "The form of an exclusion",
            update: "Change an exclusion; what it adds holds for scans that run, too",
            ask: "What an exclusion's deletion would set free",
            delete: "Delete an exclusion: its addresses may be scanned again",
        },
    };

    fn room(app: &App) -> &Scope {
        &app.scope
    }

    fn kept(&self) -> (Uuid, i64) {
        (self.id, self.version)
    }

    fn gone(&self) -> String {
        "The exclusion is deleted: its addresses may be scanned again.".to_owned()
    }

    async fn page(scope: &Scope, query: ExclusionQuery) -> Result<Page<Self>> {
        let ExclusionQuery { q, state, sort, limit, cursor } = query;
        let (list, now) = (ListQuery { q, sort, limit, cursor }, scope.clock.now());
        let all = scope.store.read(move |db| store::page(db, &list, state, now)).await?;
        all.try_map(|kept| Ok(shown(kept, now)))
    }

    async fn one(scope: &Scope, id: Uuid) -> Result<Self> {
        let now = scope.clock.now();
        scope.store.read(move |db| Ok(shown(store::one(db, id)?, now))).await
    }

    async fn form(scope: &Scope, id: Option<Uuid>) -> Result<EditPage<Self>> {
        noun::edit_page(scope, id).await
    }

    /// Running probes hear of it within seconds.
    async fn create(scope: &Scope, actor: &Actor, input: ExclusionInput) -> Result<Self> {
        noun::not_yet(input.version)?;
        let (id, now) = (scope.ids.new(), scope.clock.now());
        let fields = Fields::check(&input, None, now)?;
        let made = Made { by: actor.name.clone(), at: now };
        let change = move |tx: &Transaction| {
            store::insert(tx, id, &fields, &made)?;
            few_enough(tx, now)?;
            Ok((Entry::created("exclusion", id, &fields), shown(store::one(tx, id)?, now)))
        };
        let exclusion = scope.store.change(actor, change).await?;
        scope.tell_scanners().await;
        Ok(exclusion)
    }

    /// What it adds reaches running probes within seconds; what it gives free is probed by jobs that begin later.
    async fn update(scope: &Scope, actor: &Actor, id: Uuid, input: ExclusionInput) -> Result<Self> {
        let now = scope.clock.now();
        let change = move |tx: &Transaction| {
            let kept = store::one(tx, id)?.0;
            let fields = Fields::check(&input, Some(kept.fields.expires_at), now)?;
            let entries = kept.change("exclusion", input.version, &fields, || {
                store::update(tx, id, &fields, now)?;
                few_enough(tx, now)
            })?;
            Ok((entries, shown(store::one(tx, id)?, now)))
        };
        let exclusion = scope.store.changes(actor, change).await?;
        scope.tell_scanners().await;
        Ok(exclusion)
    }

    /// Jobs that begin later may probe its addresses.
    async fn delete(scope: &Scope, actor: &Actor, id: Uuid, version: Option<i64>) -> Result<Self> {
        let now = scope.clock.now();
        let change = move |tx: &Transaction| {
            let kept = store::one(tx, id)?;
            noun::if_based_on(version, kept.0.version)?;
            super::store::delete(tx, "exclusion", id)?;
            Ok((Entry::deleted("exclusion", id, &kept.0.fields), shown(kept, now)))
        };
        let exclusion = scope.store.change(actor, change).await?;
        scope.tell_scanners().await;
        Ok(exclusion)
    }
}

impl Scope {
    /// Makes jobs.db say what holds now. Where that fails, [`manager_task`] does it again.
    async fn tell_scanners(&self) {
        if let Err(error) = self.project_exclusions().await {
            tracing::error!(%error, "scanners could not be told of the exclusions; trying again");
        }
    }

    /// Makes jobs.db say what holds now. Writes only what differs; may be repeated at will.
    ///
    /// # Errors
    /// The databases'.
    pub async fn project_exclusions(&self) -> Result<()> {
        let _one = self.projecting.lock().await;
        let now = self.clock.now();
        let ranges = self.store.read(move |db| in_force(db, now)).await?.to_string();
        let hash = hex::encode(&sha256(ranges.as_bytes()));
        // Both are compared: a hash that fits says nothing of ranges that were changed beneath it.
        let sql = "SELECT sha256, ranges FROM exclusions";
        let told = |db: &Connection| {
            Ok(db.query_row(sql, [], |row| <(String, String)>::try_from(row)).optional()?)
        };
        if self.jobs.read(told).await?.is_some_and(|told| told == (hash.clone(), ranges.clone())) {
            return Ok(());
        }
        let sql = "INSERT OR REPLACE INTO exclusions (one, sha256, ranges) VALUES (1, ?, ?)";
        self.jobs.write(move |tx| Ok(tx.execute(sql, [hash, ranges]).map(drop)?)).await
    }
}

/// Keeps what jobs.db says of exclusions equal to config.db, until it is dropped.
pub async fn manager_task(scope: Scope) {
    loop {
        scope.tell_scanners().await;
        tokio::time::sleep(ROUND).await;
    }
}

/// Everything that is excluded at a moment. For the transactions of other rooms, too.
///
/// # Errors
/// Any from the database.
pub fn in_force(db: &Connection, now: Timestamp) -> Result<Ranges> {
    store::in_force(db, now)
}

fn few_enough(db: &Connection, now: Timestamp) -> Result<()> {
    let runs = store::runs_in_force(db, now)?;
    if runs <= RUNS_MAX {
        return Ok(());
    }
    Err(Error::invalid(
        "addresses",
        format!("all exclusions together would be {runs} runs of addresses; the limit is {RUNS_MAX}"),
    ))
}

fn shown((kept, made): (Kept<Fields>, Made), now: Timestamp) -> Exclusion {
    let Kept { id, fields: Fields { addresses, reason, expires_at }, version, updated_at } = kept;
    Exclusion {
        id,
        hosts: Count::of(&addresses),
        addresses: addresses.to_string(),
        reason,
        expires_on: day_before(expires_at),
        in_force: expires_at > now,
        by: made.by,
        created_at: made.at,
        version,
        updated_at,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exclusion_holds_to_the_end_of_its_last_day() {
        let end = end_of("2026-12-31").unwrap();
        assert_eq!(end, Timestamp::parse("2027-01-01T00:00:00Z").unwrap());
        assert_eq!(day_before(end).as_deref(), Some("2026-12-31"));
        assert_eq!(day_before(NEVER), None);
        for bad in ["2026-02-30", "31.12.2026", "2026-12-31T00:00:00Z", ""] {
            assert_eq!(end_of(bad), None, "{bad}");
        }
    }
}
