//! Templates: what a scan does, to be launched again and again.

use portolan_scanner::net::Ranges;
use rusqlite::Connection;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::extent::Extent;
use super::timing::Asked;
use super::{Count, Manner, Method, Preset, Resolved, Scope, Timing, in_force, resolve, store};
use crate::app::App;
use crate::audit::{Actor, Entry};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::{self, Does, Kept, Link, Noun, Refusals, Words};
use crate::web::{ListQuery, Nav, Page};

/// The longest text of exclusions that is read.
const EXCLUSIONS_MAX: usize = 64 * 1024;

/// A scan template.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Template {
    /// Its id.
    pub id: Uuid,
    /// What people call it.
    pub name: String,
    /// Where it looks.
    pub subnets: Vec<Link>,
    /// Which ports it tries.
    pub port_lists: Vec<Link>,
    /// Addresses that it leaves out, in canonical form.
    pub exclusions: String,
    /// Who probes.
    pub scanners: Vec<Link>,
    /// From where it is seen: each of these vantages covers the whole scope.
    pub vantages: Vec<Link>,
    /// The manner of probing.
    pub preset: Preset,
    /// Probes a second from one vantage, whose scanners share it; absent: the preset's.
    pub rate: Option<u32>,
    /// Probes a second to one host; absent: the preset's.
    pub host_rate: Option<u32>,
    /// How long an answer is waited for, in milliseconds; absent: the preset's.
    pub timeout_ms: Option<u32>,
    /// How often a probe without an answer is tried again; absent: the preset's.
    pub retries: Option<u32>,
    /// The four numbers, each decided.
    pub timing: Timing,
    /// What it does to a port, and to whose.
    #[serde(flatten)]
    pub manner: Manner,
    /// How many addresses it covers now, each counted once: without those that are excluded.
    pub hosts: Count,
    /// How many ports of each.
    pub ports: u32,
    /// How many probes that is from one vantage.
    pub probes: Count,
    /// Anything worth knowing.
    pub note: String,
    /// Counts its changes.
    pub version: i64,
    /// When it was made or last changed.
    pub updated_at: Timestamp,
}

/// A template as it is made or changed.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateInput {
    /// A name that no other template has.
    pub name: String,
    /// Ids of subnets, at least one.
    #[serde(default)]
    pub subnets: Vec<Uuid>,
    /// Ids of port lists, at least one.
    #[serde(default)]
    pub port_lists: Vec<Uuid>,
    /// Addresses, ranges and CIDR blocks to leave out: `10.20.3.0/24, 10.20.4.1-10.20.4.9`.
    #[serde(default)]
    pub exclusions: String,
    /// Ids of scanners, at least one.
    #[serde(default)]
    pub scanners: Vec<Uuid>,
    /// The manner of probing.
    #[serde(default)]
    pub preset: Preset,
    /// Probes a second from one vantage, whose scanners share it, 1 to 1,000,000; absent: the preset's.
    #[serde(default)]
    pub rate: Option<i64>,
    /// Probes a second to one host, 1 to 100,000 (gentle: to 10); absent: the preset's.
    #[serde(default)]
    pub host_rate: Option<i64>,
    /// How long an answer is waited for in milliseconds, 50 to 60,000; absent: the preset's.
    #[serde(default)]
    pub timeout_ms: Option<i64>,
    /// How often a probe without an answer is tried again, 0 to 10; absent: the preset's.
    #[serde(default)]
    pub retries: Option<i64>,
    /// How a port is asked: `connect` or `syn`.
    #[serde(default)]
    pub method: Method,
    /// Note what open ports say first, and the certificate of those that speak TLS; never with `gentle`.
    #[serde(default)]
    pub hints: bool,
    /// Probe the scanners' own addresses and the appliance's too, where the scope holds them.
    #[serde(default)]
    pub own: bool,
    /// Anything worth knowing.
    #[serde(default)]
    pub note: String,
    /// For a change: the version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    pub version: Option<i64>,
}

/// What the list of templates takes.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TemplateQuery {
    /// Words of name or note.
    pub q: Option<String>,
    /// Only this preset.
    pub preset: Option<Preset>,
    /// `name` or `updated_at`; `-` in front turns it round.
    pub sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    pub limit: Option<u32>,
    /// Where the last page ended.
    pub cursor: Option<String>,
}

/// The page of a template's form: the template, if there is one yet, and what it may name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TemplateForm {
    /// The template as it is; none for a new one.
    pub item: Option<Template>,
    /// What it may name.
    pub options: Options,
}

/// What a template may name.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Options {
    /// Every subnet.
    pub subnets: Vec<Choice>,
    /// Every port list.
    pub port_lists: Vec<Choice>,
    /// Every scanner that is not revoked.
    pub scanners: Vec<Choice>,
    /// Every preset, with its numbers.
    pub presets: Vec<Timing>,
}

/// One thing to tick.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Choice {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
    /// What tells it apart, in a few words.
    pub more: String,
}

/// What the owner of a template decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Fields {
    pub name: String,
    pub subnets: Vec<Link>,
    pub port_lists: Vec<Link>,
    #[serde(serialize_with = "noun::as_text")]
    pub exclusions: Ranges,
    pub scanners: Vec<Link>,
    #[serde(flatten)]
    pub timing: Asked,
    #[serde(flatten)]
    pub manner: Manner,
    pub note: String,
}

impl Fields {
    /// Checks an input against itself and against what it names.
    fn check(db: &Connection, input: &TemplateInput) -> Result<Self> {
        let mut refusals = Refusals::new();
        let name = refusals.name(&input.name);
        let all = store::options(db)?;
        let subnets = named(&mut refusals, "subnets", "subnet", &input.subnets, all.subnets);
        let exclusions = if input.exclusions.len() > EXCLUSIONS_MAX {
            refusals.say("exclusions", format!("at most {EXCLUSIONS_MAX} bytes are read"));
            None
        } else {
            refusals.take("exclusions", Ranges::parse(&input.exclusions))
        };
        let port_lists = named(&mut refusals, "port_lists", "port list", &input.port_lists, all.port_lists);
        let scanners = named(&mut refusals, "scanners", "scanner in service", &input.scanners, all.scanners);
        let numbers = [input.rate, input.host_rate, input.timeout_ms, input.retries];
        let timing = Asked::check(&mut refusals, input.preset, numbers);
        let manner = Manner { method: input.method, hints: input.hints, own: input.own };
        let manner = manner.check(&mut refusals, input.preset);
        let note = refusals.note(&input.note);
        refusals.end_with(exclusions).map(|exclusions| Self {
            name,
            subnets,
            port_lists,
            exclusions,
            scanners,
            timing,
            manner,
            note,
        })
    }
}

/// The things of these ids, by name and each once; refuses none at all, and ids that nothing has.
fn named(refusals: &mut Refusals, field: &str, what: &str, ids: &[Uuid], all: Vec<Choice>) -> Vec<Link> {
    if ids.is_empty() {
        refusals.say(field, format!("at least one {what} is needed"));
    }
    if let Some(id) = ids.iter().find(|id| !all.iter().any(|choice| choice.id == **id)) {
        refusals.say(field, format!("there is no {what} {id}"));
    }
    all.into_iter()
        .filter(|choice| ids.contains(&choice.id))
        .map(|Choice { id, name, .. }| Link { id, name })
        .collect()
}

impl Noun for Template {
    type Room = Scope;
    type Query = TemplateQuery;
    type Input = TemplateInput;
    type Form = TemplateForm;
    const WORDS: Words = Words {
        one: "template",
        many: "templates",
        docs: "scope/templates",
        templates: "scope/templates",
        scopes: ["templates:view", "templates:manage"],
        nav: Nav { group: "Scanning", title: "Templates", icon: "templates", order: 120 },
        viewed: None,
        does: Does {
            list: "List templates",
            show: "One template, with how far it reaches",
            new: "The form of a new template, and what it may name",
            create: "Make a template",
            edit: "The form of a template, and what it may name",
            update: "Change a template; its scans keep the scope they had",
            ask: "What a template's deletion would meet",
            delete: "Delete a template; its scans stay",
        },
    };

    fn room(app: &App) -> &Scope {
        &app.scope
    }

    fn kept(&self) -> (Uuid, i64) {
        (self.id, self.version)
    }

    fn gone(&self) -> String {
        format!("The template “{}” is deleted.", self.name)
    }

    async fn page(scope: &Scope, query: TemplateQuery) -> Result<Page<Self>> {
        let TemplateQuery { q, preset, sort, limit, cursor } = query;
        let list = ListQuery { q, sort, limit, cursor };
        let now = scope.clock.now();
        let read = move |db: &Connection| {
            let excluded = in_force(db, now)?;
            store::templates(db, &list, preset)?.try_map(|kept| shown(db, &excluded, kept))
        };
        scope.store.read(read).await
    }

    async fn one(scope: &Scope, id: Uuid) -> Result<Self> {
        let now = scope.clock.now();
        scope.store.read(move |db| shown(db, &in_force(db, now)?, store::template(db, id)?)).await
    }

    async fn form(scope: &Scope, id: Option<Uuid>) -> Result<TemplateForm> {
        let now = scope.clock.now();
        scope
            .store
            .read(move |db| {
                let item =
                    id.map(|id| shown(db, &in_force(db, now)?, store::template(db, id)?)).transpose()?;
                Ok(TemplateForm { item, options: store::options(db)? })
            })
            .await
    }

    async fn create(scope: &Scope, actor: &Actor, input: TemplateInput) -> Result<Self> {
        noun::not_yet(input.version)?;
        let (id, now) = (scope.ids.new(), scope.clock.now());
        scope
            .store
            .change(actor, move |tx| {
                let fields = Fields::check(tx, &input)?;
                store::insert_template(tx, id, &fields, now)?;
                fits(tx, id)?;
                let made = shown(tx, &in_force(tx, now)?, store::template(tx, id)?)?;
                Ok((Entry::created("template", id, &fields), made))
            })
            .await
    }

    /// Scans that were launched from it keep the scope they had.
    async fn update(scope: &Scope, actor: &Actor, id: Uuid, input: TemplateInput) -> Result<Self> {
        let now = scope.clock.now();
        scope
            .store
            .changes(actor, move |tx| {
                let kept = store::template(tx, id)?;
                let fields = Fields::check(tx, &input)?;
                let entries = kept.change("template", input.version, &fields, || {
                    store::update_template(tx, id, &fields, now)?;
                    fits(tx, id)
                })?;
                Ok((entries, shown(tx, &in_force(tx, now)?, store::template(tx, id)?)?))
            })
            .await
    }

    /// Its scans and their results stay: a scan freezes what it needs of it.
    async fn delete(scope: &Scope, actor: &Actor, id: Uuid, version: Option<i64>) -> Result<Self> {
        let now = scope.clock.now();
        scope
            .store
            .change(actor, move |tx| {
                let kept = store::template(tx, id)?;
                noun::if_based_on(version, kept.version)?;
                let entry = Entry::deleted("template", id, &kept.fields);
                let was = shown(tx, &in_force(tx, now)?, kept)?;
                store::delete(tx, "template", id)?;
                Ok((entry, was))
            })
            .await
    }
}

impl Scope {
    /// What a template covers now.
    ///
    /// # Errors
    /// As [`resolve`], which rooms use that freeze it in a transaction of their own.
    pub async fn resolve(&self, id: Uuid) -> Result<Resolved> {
        let now = self.clock.now();
        self.store.read(move |db| resolve(db, id, now)).await
    }
}

/// Refuses a template, just written, that cannot be scanned; the transaction then ends without it.
fn fits(db: &Connection, id: Uuid) -> Result<()> {
    match Extent::of_template(db, id)?.refusal() {
        Some((field, message)) => Err(Error::invalid(field, message)),
        None => Ok(()),
    }
}

/// A template with what a scan of it would cover now, so without what the site excludes.
fn shown(db: &Connection, excluded: &Ranges, kept: Kept<Fields>) -> Result<Template> {
    let mut extent = Extent::of_template(db, kept.id)?;
    extent.targets = extent.targets.subtract(excluded);
    let vantages = store::vantages_of(db, &kept.fields.scanners)?;
    let Kept { id, fields, version, updated_at } = kept;
    let Fields { name, subnets, port_lists, exclusions, scanners, timing, manner, note } = fields;
    Ok(Template {
        id,
        name,
        subnets,
        port_lists,
        exclusions: exclusions.to_string(),
        scanners,
        vantages,
        preset: timing.preset,
        rate: timing.rate,
        host_rate: timing.host_rate,
        timeout_ms: timing.timeout_ms,
        retries: timing.retries,
        timing: timing.timing(),
        manner,
        hosts: extent.hosts(),
        ports: extent.ports.count(),
        probes: extent.probes(),
        note,
        version,
        updated_at,
    })
}
