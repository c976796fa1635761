//! One request through one row: caller, access, input, handler.

use super::accept::{Format, negotiate, wants};
use super::answer::{present, problem, refuse};
use super::call::{Call, Caller};
use super::guard::{self, RequestId, SESSION_COOKIE, TRIP_COOKIE};
use super::input;
use super::reply::Outcome;
use super::route::{Access, Route};
use super::router::Site;
use crate::audit::{Actor, wrote};
use crate::error::Error;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, header, request::Parts};
use axum::response::Response;
use serde_json::{Map, Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// What is known of a request before its row is looked at.
pub(super) struct Asked {
    pub format: Option<Format>,
    pub call: Call,
    pub path: String,
    pub query: String,
    /// The request changes something.
    changes: bool,
    pub headers: HeaderMap,
    /// The token of the header `Authorization`; empty where that holds something else.
    bearer: Option<String>,
}

impl Asked {
    /// The page to go on from after a proof: the one that was asked for, or the one whose button was pressed. Whoever
    /// is sent there is sent to a path of this site, whatever stands here.
    pub fn begun_at(&self) -> String {
        let referer = self.headers.get(header::REFERER).and_then(|value| value.to_str().ok());
        let page =
            referer.and_then(|url| url.strip_prefix("https://")?.strip_prefix(self.call.host.as_str()));
        match page.filter(|_| self.changes) {
            Some(page) => page.to_owned(),
            None if self.changes || self.query.is_empty() => self.path.clone(),
            None => format!("{}?{}", self.path, self.query),
        }
    }
}

/// Answers one request to `route`. `api` is the same row under `/api/v1`: JSON only.
pub async fn handle(site: &Site, route: &Route, api: bool, request: Request) -> Response {
    let (mut parts, body) = request.into_parts();
    let params = RawPathParams::from_request_parts(&mut parts, &()).await.ok();
    let params = params.iter().flatten().map(|(key, value)| (key.to_owned(), value.to_owned())).collect();
    let mut asked = asked(site, &parts, params, api);
    if route.template.is_none()
        && !route.leads_on
        && route.method == Method::GET
        && asked.format == Some(Format::Html)
    {
        asked.format = Some(Format::Json);
    }
    let mut typed = Value::Object(Map::new());
    match run(site, route, &mut asked, &parts.method, body, &mut typed).await {
        Ok(outcome) => present(site, route, &asked, outcome),
        Err(error) => {
            if let Some(scope) = lacking(route, &error) {
                denied(route, &asked.call, scope).await;
            }
            refuse(site, route, &asked, error, typed).await
        }
    }
}

/// Answers a request that no row takes.
pub async fn unmatched(site: &Site, error: Error, request: Request) -> Response {
    let (parts, _) = request.into_parts();
    let api = parts.uri.path().starts_with("/api/");
    let mut asked = asked(site, &parts, vec![], api);
    // A failure to name the caller must not hide the error that is being told.
    asked.call.caller = caller(&asked).await.unwrap_or_default();
    let setup = site.app.identity.needs_setup().await.unwrap_or(false);
    problem(site, &asked, if setup { Error::Setup } else { error })
}

fn asked(site: &Site, parts: &Parts, params: Vec<(String, String)>, api: bool) -> Asked {
    let text = |name: header::HeaderName| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let accept = text(header::ACCEPT);
    let authority = parts.uri.authority().map(Authority::as_str);
    let source = parts.extensions.get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let cut =
        |value: &str, limit: usize| value.chars().filter(|letter| !letter.is_control()).take(limit).collect();
    let bearer = guard::bearer(&parts.headers);
    // Who comes with a token is a script: there is no page for it.
    let json = api || bearer.is_some() && negotiate(accept) == Some(Format::Html);
    Asked {
        format: if json { Some(Format::Json) } else { negotiate(accept) },
        call: Call {
            app: site.app.clone(),
            caller: Caller::default(),
            source: source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            agent: agent(&parts.headers),
            host: authority.or(text(header::HOST)).map_or_else(String::new, |host| cut(host, 255)),
            request_id: parts.extensions.get::<RequestId>().map_or_else(String::new, |id| id.0.clone()),
            idempotency_key: parts
                .headers
                .get("idempotency-key")
                .and_then(|value| value.to_str().ok())
                .map(|key| cut(key, 200)),
            wants_csv: wants(accept, "text/csv"),
            params,
            // A token decides alone: the cookie beside it is not looked at.
            session_token: guard::cookie(&parts.headers, SESSION_COOKIE)
                .filter(|_| bearer.is_none())
                .map(str::to_owned),
            trip: guard::cookie(&parts.headers, TRIP_COOKIE).map(str::to_owned),
        },
        path: parts.uri.path().to_owned(),
        query: parts.uri.query().unwrap_or_default().to_owned(),
        changes: !parts.method.is_safe(),
        headers: parts.headers.clone(),
        bearer,
    }
}

/// What the caller's program calls itself, without control characters; what is not UTF-8 in it is marked as that.
fn agent(headers: &HeaderMap) -> String {
    let said = headers.get(header::USER_AGENT).map_or(&[][..], HeaderValue::as_bytes);
    let mut agent = String::from_utf8_lossy(said).replace(char::is_control, "");
    agent.truncate(agent.floor_char_boundary(Actor::AGENT));
    agent
}

async fn caller(asked: &Asked) -> Result<Caller, Error> {
    match (&asked.bearer, asked.call.session_token()) {
        (Some(token), _) => asked.call.app.tokens.caller(&asked.call, token).await,
        (None, Some(token)) => asked.call.app.identity.caller(token).await,
        (None, None) => Ok(Caller::default()),
    }
}

async fn run(
    site: &Site,
    route: &Route,
    asked: &mut Asked,
    method: &Method,
    body: Body,
    typed: &mut Value,
) -> Result<Outcome, Error> {
    // Another site's page cannot make a browser send this header.
    if asked.bearer.is_none() {
        guard::same_site(method, &asked.headers, &asked.call.host)?;
    }
    if !route.before_setup && site.app.identity.needs_setup().await? {
        return Err(Error::Setup);
    }
    if asked.format.is_none() && !(asked.call.wants_csv && route.media.contains(&"text/csv")) {
        return Err(Error::NotAcceptable);
    }
    if route.rate_limited {
        // A page elsewhere that is full of such addresses would leave its reader's network no tries.
        if guard::embedded(&asked.headers) {
            return Err(Error::CrossSite);
        }
        site.app.identity.limit(asked.call.source)?;
    }
    asked.call.caller = caller(asked).await?;
    let caller = &asked.call.caller;
    match (route.access, caller.pending) {
        (Access::Public, _) => {}
        _ if !caller.is_known() => return Err(Error::SignIn),
        (Access::Pending, _) | (Access::SignedIn, None) => {}
        (_, Some(stage)) => return Err(Error::Unfinished(stage)),
        (Access::Scope(scope), None) if caller.may(scope) => {}
        (Access::Scope(_), None) => return Err(Error::Forbidden),
    }
    // A token may what its scopes say, and such a row has none: one that shows something is about the account, too.
    if !route.by_token && matches!(route.access, Access::Pending | Access::SignedIn) {
        caller.in_person()?;
    }
    let input = read(route, asked, method, body, typed).await?;
    let (outcome, wrote) = wrote::watched((route.handler)(asked.call.clone(), input)).await;
    let outcome = outcome?;
    let seen = match route.method {
        Method::GET => look(route, &outcome),
        _ if wrote => None,
        _ => repeated(site, route, asked, &outcome),
    };
    if let Some(seen) = seen {
        looked(site, route, &asked.call, seen).await?;
    }
    Ok(outcome)
}

/// Resource and action of the entry that a look leaves.
pub(super) type Seen = (&'static str, String);

/// What a look leaves: at what the row or the answer says is not for everyone, and at whatever is taken away as a file by who
/// needs a scope for it.
pub(super) fn look(route: &Route, outcome: &Outcome) -> Option<Seen> {
    let file = outcome.dress.file.is_some() && matches!(route.access, Access::Scope(_));
    match route.viewed.or(outcome.dress.viewed) {
        Some(resource) => Some(viewed(resource)),
        None => file.then(|| (route.tag, format!("{}.exported", route.tag))),
    }
}

/// What a change leaves that was made before, so that it wrote nothing: its answer shows its thing, as the page would be that
/// is above it. Who only goes on to that page has not seen it yet.
fn repeated(site: &Site, route: &Route, asked: &Asked, outcome: &Outcome) -> Option<Seen> {
    let goes_on = asked.format == Some(Format::Html) && outcome.dress.location.is_some();
    outcome.value.get("id").filter(|_| !goes_on)?;
    let mut above = std::iter::successors(Some(route.path.as_str()), |path| Some(path.rsplit_once('/')?.0));
    let page = || above.find_map(|path| site.row(&Method::GET, path)?.viewed);
    outcome.dress.viewed.or_else(page).map(viewed)
}

fn viewed(resource: &'static str) -> Seen {
    (resource, format!("{resource}.viewed"))
}

/// Writes a look down.
pub(super) async fn looked(
    site: &Site,
    route: &Route,
    call: &Call,
    (resource, action): Seen,
) -> Result<(), Error> {
    site.app.audit.accessed(&call.actor(), &action, (resource, call.param("id")), &route.name()).await
}

/// What the caller lacks, where the error is that they may not do what they asked for: a scope, or nothing that has a name.
fn lacking<'a>(route: &Route, error: &'a Error) -> Option<&'a str> {
    match (error, route.access) {
        (Error::Beyond { scope, .. }, _) => Some(scope),
        (Error::Forbidden | Error::InPerson, Access::Scope(scope)) => Some(scope),
        (Error::Forbidden | Error::InPerson, _) => Some(""),
        _ => None,
    }
}

/// Writes down that the caller may not do what they asked for. They are refused whether that works or not.
async fn denied(route: &Route, call: &Call, scope: &str) {
    if let Err(error) = call.app.audit.denied(&call.actor(), &route.name(), scope).await {
        tracing::error!(%error, "a refusal could not be written to the audit");
    }
}

/// The input as JSON: from the query of a GET, else from a form or a JSON object.
async fn read(
    route: &Route,
    asked: &Asked,
    method: &Method,
    body: Body,
    typed: &mut Value,
) -> Result<Value, Error> {
    if method == Method::GET || method == Method::HEAD {
        return route.shape.read(&input::pairs("query", asked.query.as_bytes())?);
    }
    let bytes = super::body::whole(body).await?;
    let media =
        asked.headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let mut value = match media.as_str() {
        _ if bytes.is_empty() => json!({}),
        "application/json" => input::json(&bytes)?,
        "application/x-www-form-urlencoded" => {
            let pairs = input::pairs("body", &bytes)?;
            *typed = route.shape.typed(&pairs);
            route.shape.read(&pairs)?
        }
        _ => return Err(Error::UnsupportedMedia),
    };
    let Some(map) = value.as_object_mut() else {
        return Err(Error::invalid("body", "is not a JSON object"));
    };
    if let Some(text) = asked.headers.get(header::IF_MATCH).filter(|_| route.shape.has("version")) {
        let version = text.to_str().ok().and_then(|text| text.trim().trim_matches('"').parse::<i64>().ok());
        map.insert("version".to_owned(), json!(version.ok_or(Error::Stale)?));
    }
    Ok(value)
}
