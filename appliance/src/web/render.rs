//! Pages: the embedded templates, what every one of them is given, and the filters they share.

use super::call::Caller;
use super::route::{Access, Nav, Route};
use super::wrong::Wrong;
use crate::clock::{Clock, Timestamp};
use crate::docs::Help;
use crate::error::Error;
use minijinja::value::{Kwargs, Serde, Value as Jinja};
use minijinja::{Environment, UndefinedBehavior};
use rust_embed::RustEmbed;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;

#[derive(RustEmbed)]
#[folder = "../templates"]
#[include = "*.html"]
struct Templates;

/// The compiled templates and the navigation.
pub struct Pages {
    environment: Environment<'static>,
    nav: Vec<NavRow>,
}

struct NavRow {
    nav: Nav,
    path: String,
    access: Access,
}

/// What a page is rendered from, beside the navigation.
#[derive(Serialize)]
pub(super) struct Context<'a> {
    pub data: &'a Value,
    pub errors: Wrong,
    pub typed: Value,
    pub caller: CallerView,
    pub page: PageView,
    pub notice: Option<String>,
    /// An update is on trial: nothing can be changed.
    pub on_trial: bool,
    pub request_id: &'a str,
    pub theme: &'a str,
    pub help: Option<&'a Help>,
}

#[derive(Serialize)]
pub(super) struct CallerView {
    name: String,
    display: String,
    signed_in: bool,
    scopes: Vec<String>,
}

impl From<&Caller> for CallerView {
    fn from(caller: &Caller) -> Self {
        let (name, display) = caller
            .user
            .as_ref()
            .map_or_else(Default::default, |user| (user.name.clone(), user.display.clone()));
        Self {
            name,
            display,
            signed_in: caller.user.is_some() && caller.pending.is_none(),
            scopes: caller.scopes.iter().cloned().collect(),
        }
    }
}

#[derive(Serialize)]
pub(super) struct PageView {
    pub path: String,
    pub query: String,
    pub params: BTreeMap<String, String>,
    pub docs: &'static str,
}

#[derive(Serialize)]
struct NavView<'a> {
    group: &'a str,
    title: &'a str,
    icon: &'a str,
    path: &'a str,
    active: bool,
}

impl Pages {
    /// Compiles every template; a syntax error in any of them is an error here, at start.
    ///
    /// # Errors
    /// The first template that does not compile.
    pub fn new(rows: &[Route], clock: &Clock) -> Result<Self, minijinja::Error> {
        let mut environment = Environment::new();
        environment.set_undefined_behavior(UndefinedBehavior::Strict);
        environment.add_global("version", env!("CARGO_PKG_VERSION"));
        environment.add_filter("datetime", datetime);
        let now = clock.clone();
        environment.add_filter("ago", move |text: &str| ago(text, now.now()));
        environment.add_filter("number", number);
        environment.add_filter("duration", duration);
        environment.add_filter("bytes", bytes);
        environment.add_filter("brief", brief);
        environment.add_function("query_with", query_with);
        for name in Templates::iter() {
            if let Some(file) = Templates::get(&name) {
                environment
                    .add_template_owned(name.to_string(), String::from_utf8_lossy(&file.data).into_owned())?;
            }
        }
        let mut nav: Vec<NavRow> = rows
            .iter()
            .filter_map(|row| Some(NavRow { nav: row.nav?, path: row.path.clone(), access: row.access }))
            .collect();
        nav.sort_by_key(|row| row.nav.order);
        Ok(Self { environment, nav })
    }

    pub(super) fn render(&self, template: &str, context: &Context, caller: &Caller) -> Result<String, Error> {
        let path = context.page.path.as_str();
        let longest =
            self.nav.iter().filter(|row| stands_in(path, &row.path)).map(|row| row.path.len()).max();
        let nav: Vec<NavView> = self
            .nav
            .iter()
            .filter(|row| match row.access {
                Access::Public => true,
                Access::Pending => caller.user.is_some(),
                Access::SignedIn => caller.user.is_some() && caller.pending.is_none(),
                Access::Scope(scope) => caller.may(scope),
            })
            .map(|row| NavView {
                group: row.nav.group,
                title: row.nav.title,
                icon: row.nav.icon,
                path: &row.path,
                active: stands_in(path, &row.path) && Some(row.path.len()) == longest,
            })
            .collect();
        let scopes = caller.scopes.clone();
        let can = minijinja::Value::from_function(move |scope: &str| scopes.contains(scope));
        let context =
            minijinja::context! { nav => Jinja::from(Serde(&nav)), can, ..Jinja::from(Serde(context)) };
        self.environment
            .get_template(template)
            .and_then(|template| template.render(context))
            .map_err(Error::internal)
    }
}

/// Whether the page at `path` lies under the navigation's entry `entry`.
fn stands_in(path: &str, entry: &str) -> bool {
    path == entry || (entry != "/" && path.strip_prefix(entry).is_some_and(|rest| rest.starts_with('/')))
}

/// An RFC 3339 time as a person reads it, to the second.
fn datetime(text: &str) -> String {
    Timestamp::parse(text).map_or_else(
        |_| text.to_owned(),
        |at| {
            let text = at.to_string();
            format!("{} {} UTC", &text[..10], &text[11..19])
        },
    )
}

fn ago(text: &str, now: Timestamp) -> String {
    let Ok(at) = Timestamp::parse(text) else { return text.to_owned() };
    let seconds = (now.micros() - at.micros()) / 1_000_000;
    let (amount, unit) = match seconds.abs() {
        0..60 => (seconds.abs(), "s"),
        60..3600 => (seconds.abs() / 60, "min"),
        3600..86_400 => (seconds.abs() / 3600, "h"),
        _ => (seconds.abs() / 86_400, "d"),
    };
    if seconds < 0 { format!("in {amount} {unit}") } else { format!("{amount} {unit} ago") }
}

/// How long, as precise as a guess deserves.
fn duration(seconds: u64) -> String {
    match seconds {
        0..10 => "a few seconds".to_owned(),
        10..90 => format!("about {} s", seconds.div_ceil(5) * 5),
        90..5_400 => format!("about {} min", (seconds + 30) / 60),
        5_400..172_800 => format!("about {} h", (seconds + 1_800) / 3_600),
        _ => format!("about {} days", number(&Jinja::from((seconds + 43_200) / 86_400))),
    }
}

/// The beginning of a long text, as a title.
fn brief(text: &str) -> String {
    if text.chars().count() <= 60 { text.to_owned() } else { text.chars().take(59).chain(['…']).collect() }
}

/// An integer, or the text of one, in groups of three digits.
fn number(value: &Jinja) -> String {
    let text = value.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |rest| ("-", rest));
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return text;
    }
    let mut out = String::from(sign);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

fn bytes(value: u64) -> String {
    match value {
        0..1024 => format!("{value} B"),
        1024..1_048_576 => format!("{} KiB", value / 1024),
        _ => format!("{} MiB", value / 1_048_576),
    }
}

/// `query_with(page, key=value, …)`: the page's query with these values replaced; an empty value removes its key.
fn query_with(page: &Jinja, changes: Kwargs) -> Result<String, minijinja::Error> {
    let mut params: BTreeMap<String, String> = BTreeMap::new();
    let current = page.get_attr("params")?;
    for key in current.try_iter()? {
        params.insert(key.to_string(), current.get_item(&key)?.to_string());
    }
    for key in changes.args().map(str::to_owned).collect::<Vec<_>>() {
        let value: Jinja = changes.get(&key)?;
        if value.is_none() || value.is_undefined() || value.to_string().is_empty() {
            params.remove(&key);
        } else {
            params.insert(key, value.to_string());
        }
    }
    changes.assert_all_used()?;
    let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(&params).finish();
    Ok(if text.is_empty() { "?".to_owned() } else { format!("?{text}") })
}

#[cfg(test)]
mod samples;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_anything_else_is_left() {
        assert_eq!(number(&Jinja::from(1_234_567)), "1\u{202f}234\u{202f}567");
        assert_eq!(
            number(&Jinja::from("281474976710656")),
            "281\u{202f}474\u{202f}976\u{202f}710\u{202f}656"
        );
        assert_eq!(number(&Jinja::from("n/a")), "n/a");
    }

    #[test]
    fn a_time_left_is_a_guess_and_reads_like_one() {
        let said = [0, 9, 10, 61, 89, 90, 5_399, 5_400, 90_000, 172_800, 86_400_000].map(duration);
        let wanted = "a few seconds, a few seconds, about 10 s, about 65 s, about 90 s, about 2 min, about 90 min, \
                      about 2 h, about 25 h, about 2 days, about 1\u{202f}000 days";
        assert_eq!(said.join(", "), wanted);
    }

    #[test]
    fn an_entry_is_active_on_the_pages_below_it() {
        assert!(stands_in("/scans/7", "/scans"));
        assert!(!stands_in("/scansion", "/scans"));
        assert!(!stands_in("/scans", "/"));
    }
}
