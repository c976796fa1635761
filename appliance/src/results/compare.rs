//! Two scans side by side: the page, its JSON, and the file with every line.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::diff::{Counts, Kind};
use super::export::{DIFF_HEADER, csv_change};
use super::recall::Recall;
use super::view::{ChangeView, CountsView, RecallPair, ScanHead, named};
use super::{Store, Sweep, diff_scans};
use crate::app::App;
use crate::error::Error;
use crate::noun::Link;
use crate::scans;
use crate::web::{Answer, Call, ListQuery, Reply, Writer, csv};

/// Lines of each kind that a diff shows when nothing is said.
const DIFF_LINES: u32 = 200;
/// Lines of each kind that a diff gives at most as JSON.
const DIFF_LINES_MAX: u32 = 10_000;
/// Scans that the diff's form offers: the newest.
const CHOICES: u32 = 200;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct DiffQuery {
    /// The earlier scan; when absent, the last ended one of `b`'s template before `b`.
    #[serde(default)]
    a: Option<Uuid>,
    /// The later scan.
    #[serde(default)]
    b: Option<Uuid>,
    /// Lines of this kind only.
    #[serde(default)]
    kind: Option<Kind>,
    /// Lines of each kind, 1 to 10,000; 200 when absent. The counts are always of all.
    #[serde(default)]
    limit: Option<u32>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct DiffPage {
    /// The earlier scan; none while two are yet to be chosen.
    a: Option<ScanHead>,
    /// The later scan.
    b: Option<ScanHead>,
    /// How many pairs of address and port, exactly.
    counts: CountsView,
    /// How complete each of the two is, by vantage.
    recall: Vec<RecallPair>,
    /// Ports that opened.
    opened: Vec<ChangeView>,
    /// Ports that closed.
    closed: Vec<ChangeView>,
    /// Ports that changed between states that are not open.
    changed: Vec<ChangeView>,
    /// Ports that only one of the two covered.
    not_comparable: Vec<ChangeView>,
    /// Where there are more lines than were asked for.
    more: More,
    /// What there is to choose from.
    options: DiffOptions,
}

/// Kinds with more lines than were asked for.
#[derive(Default, Serialize, JsonSchema)]
#[expect(clippy::struct_excessive_bools, reason = "one for each kind")]
struct More {
    opened: bool,
    closed: bool,
    changed: bool,
    not_comparable: bool,
}

#[derive(Serialize, JsonSchema)]
struct DiffOptions {
    /// Scans, newest first.
    scans: Vec<Link>,
}

/// The lines of a diff, as many of each kind as were asked for.
#[derive(Default)]
struct Lines {
    kept: BTreeMap<Kind, Vec<ChangeView>>,
    more: BTreeMap<Kind, bool>,
}

pub(super) async fn diff(call: Call, mut query: DiffQuery) -> Answer<DiffPage> {
    if let (None, Some(b)) = (query.a, query.b) {
        query.a = call.app.scans.before(b).await?;
    }
    if call.wants_csv && query.a.is_some() && query.b.is_some() {
        let page = page(&call.app, None, Counts::default(), Lines::default()).await?;
        return csv(&call, &query, page).await;
    }
    let most = match query.limit.unwrap_or(DIFF_LINES) {
        most @ 1..=DIFF_LINES_MAX => usize::try_from(most).map_err(Error::internal)?,
        other => {
            return Err(Error::invalid("limit", format!("{other} is not between 1 and {DIFF_LINES_MAX}")));
        }
    };
    let Some(Two { a, b, vantages }) = two(&call.app, &query).await? else {
        return Ok(Reply::ok(page(&call.app, None, Counts::default(), Lines::default()).await?));
    };
    let (id_a, id_b) = (a.id, b.id);
    let (before, after) =
        call.app.results.ask(move |store| Ok((store.sweeps(id_a)?, store.sweeps(id_b)?))).await?;
    let recall = recalls(&before, &after, &vantages);
    let only = query.kind;
    let (counts, lines) = call
        .app
        .results
        .diff(a.id, b.id, Lines::default(), move |lines, vantage, change| {
            if only.is_none_or(|only| only == change.kind) {
                let kept = lines.kept.entry(change.kind).or_default();
                if kept.len() < most {
                    kept.push(ChangeView::of(&change, vantage, &vantages));
                } else {
                    lines.more.insert(change.kind, true);
                }
            }
            Ok(())
        })
        .await?;
    let counts = counts.into_iter().fold(Counts::default(), |sum, (_, counts)| sum + counts);
    let page = page(&call.app, Some((a, b)), counts, lines).await?;
    Ok(Reply::ok(DiffPage { recall, ..page }))
}

async fn page(
    app: &App,
    scans: Option<(ScanHead, ScanHead)>,
    counts: Counts,
    mut lines: Lines,
) -> Result<DiffPage, Error> {
    let (a, b) = scans.unzip();
    let mut kept = |kind| lines.kept.remove(&kind).unwrap_or_default();
    let more = |kind| lines.more.contains_key(&kind);
    Ok(DiffPage {
        a,
        b,
        counts: counts.into(),
        recall: vec![],
        opened: kept(Kind::Opened),
        closed: kept(Kind::Closed),
        changed: kept(Kind::Changed),
        not_comparable: kept(Kind::NotComparable),
        more: More {
            opened: more(Kind::Opened),
            closed: more(Kind::Closed),
            changed: more(Kind::Changed),
            not_comparable: more(Kind::NotComparable),
        },
        options: DiffOptions { scans: choices(app).await? },
    })
}

/// The newest scans, told apart by time and state.
async fn choices(app: &App) -> Result<Vec<Link>, Error> {
    let newest =
        ListQuery { sort: Some("-started_at".to_owned()), limit: Some(CHOICES), ..ListQuery::default() };
    let found = app.scans.list(newest, scans::Filter::default()).await?;
    let link = |scan: scans::Scan| {
        let at = scan.created_at.to_string();
        let (day, time) = (at.get(..10).unwrap_or_default(), at.get(11..19).unwrap_or_default());
        Link { id: scan.id, name: format!("{}, {day} {time}, {}", scan.template_name, scan.state.as_str()) }
    };
    Ok(found.items.into_iter().map(link).collect())
}

/// Two scans to compare, and the names of their vantages.
struct Two {
    a: ScanHead,
    b: ScanHead,
    vantages: BTreeMap<Uuid, String>,
}

async fn two(app: &App, query: &DiffQuery) -> Result<Option<Two>, Error> {
    let (Some(a), Some(b)) = (query.a, query.b) else { return Ok(None) };
    let mut vantages = app.scans.vantages(a).await?;
    vantages.extend(app.scans.vantages(b).await?);
    Ok(Some(Two { a: app.scans.scan(a).await?.into(), b: app.scans.scan(b).await?.into(), vantages }))
}

/// A file instead of an answer.
#[derive(Serialize, JsonSchema)]
pub(super) struct NoValue {}

pub(super) async fn diff_csv(call: Call, query: DiffQuery) -> Answer<NoValue> {
    csv(&call, &query, NoValue {}).await
}

/// The whole diff as a file, in the place of a value.
async fn csv<T>(call: &Call, query: &DiffQuery, value: T) -> Answer<T> {
    let missing = |field: &str| Error::invalid(field, "is missing: name two scans, a and b");
    let (a, b) = (query.a.ok_or_else(|| missing("a"))?, query.b.ok_or_else(|| missing("b"))?);
    let vantages = two(&call.app, query).await?.map(|two| two.vantages).unwrap_or_default();
    let only = query.kind;
    let work = move |store: &dyn Store, to: &mut Writer| {
        let recalls = recalls(&store.sweeps(a)?, &store.sweeps(b)?, &vantages);
        to.write(&csv::line(&DIFF_HEADER))?;
        diff_scans(store, a, b, |vantage, change| {
            if only.is_none_or(|only| only == change.kind) {
                let recall = recalls.iter().find(|recall| recall.vantage.id == vantage);
                to.write(&csv_change(&change, &named(vantage, &vantages).name, recall))?;
            }
            Ok(())
        })?;
        Ok(())
    };
    let work = call.app.results.writing(work);
    Ok(Reply::ok(value).file("text/csv; charset=utf-8", format!("diff-{a}-{b}.csv"), work))
}

/// The recall of both scans, vantage by vantage.
fn recalls(a: &[Sweep], b: &[Sweep], vantages: &BTreeMap<Uuid, String>) -> Vec<RecallPair> {
    let of =
        |sweeps: &[Sweep], vantage| Recall::of_sweep(sweeps.iter().find(|sweep| sweep.vantage == vantage));
    let mut ids: Vec<Uuid> = a.iter().chain(b).map(|sweep| sweep.vantage).collect();
    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .map(|id| RecallPair { vantage: named(id, vantages), before: of(a, id), after: of(b, id) })
        .collect()
}
