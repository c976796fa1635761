//! One request through one row: caller, access, input, handler, answer.

use super::accept::{Format, negotiate, wants};
use super::call::{Call, Caller};
use super::guard::{self, NOTICE_COOKIE, RequestId, SESSION_COOKIE, THEME_COOKIE, TRIP_COOKIE};
use super::input;
use super::problem::Problem;
use super::render::{Context, PageView};
use super::reply::{Content, File, Outcome, SessionCookie};
use super::route::{Access, Route};
use super::router::Site;
use super::wrong::Wrong;
use crate::audit::Actor;
use crate::error::Error;
use axum::body::Body;
use axum::extract::{ConnectInfo, FromRequestParts, RawPathParams, Request};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Response};
use percent::{decode, encode};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;

/// What is known of a request before its row is looked at.
struct Asked {
    format: Option<Format>,
    call: Call,
    path: String,
    query: String,
    /// The request changes something.
    changes: bool,
    headers: HeaderMap,
    /// The token of the header `Authorization`; empty where that holds something else.
    bearer: Option<String>,
}

impl Asked {
    /// The page to go on from after a proof: the one that was asked for, or the one whose button was pressed. Whoever
    /// is sent there is sent to a path of this site, whatever stands here.
    fn begun_at(&self) -> String {
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
        site.app.identity.limit(asked.call.source)?;
    }
    asked.call.caller = caller(asked).await?;
    let caller = &asked.call.caller;
    match (route.access, caller.pending) {
        (Access::Public, _) => {}
        _ if !caller.is_known() => return Err(Error::SignIn),
        // A token may what its scopes say, and this row has none.
        (Access::Pending | Access::SignedIn, _) if asked.changes && !route.by_token => caller.in_person()?,
        (Access::Pending, _) | (Access::SignedIn, None) => {}
        (_, Some(stage)) => return Err(Error::Unfinished(stage)),
        (Access::Scope(scope), None) if caller.may(scope) => {}
        (Access::Scope(_), None) => return Err(Error::Forbidden),
    }
    let input = read(route, asked, method, body, typed).await?;
    let outcome = (route.handler)(asked.call.clone(), input).await?;
    if let Some((resource, action)) = look(route, &outcome) {
        let thing = (resource, asked.call.param("id"));
        site.app.audit.accessed(&asked.call.actor(), &action, thing, &route.name()).await?;
    }
    Ok(outcome)
}

/// The resource and action of the entry that a look leaves: at what the row or the answer says is not for everyone, and at
/// whatever is taken away as a file by who needs a scope for it.
fn look(route: &Route, outcome: &Outcome) -> Option<(&'static str, String)> {
    let file = outcome.dress.file.is_some() && matches!(route.access, Access::Scope(_));
    match route.viewed.or(outcome.dress.viewed) {
        _ if route.method != Method::GET => None,
        Some(resource) => Some((resource, format!("{resource}.viewed"))),
        None => file.then(|| (route.tag, format!("{}.exported", route.tag))),
    }
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

fn present(site: &Site, route: &Route, asked: &Asked, outcome: Outcome) -> Response {
    let Outcome { value, dress } = outcome;
    let mut response = match (asked.format, dress.file, &dress.location, route.template.as_deref()) {
        (_, Some(file), ..) => match download(site, file) {
            Ok(response) => response,
            Err(error) => return problem(site, asked, error),
        },
        (Some(Format::Html), None, Some(location), _) => {
            let mut response =
                (StatusCode::SEE_OTHER, [(header::LOCATION, location.clone())]).into_response();
            if let Some(notice) = &dress.notice {
                set_cookie(response.headers_mut(), NOTICE_COOKIE, &encode(notice), 30);
            }
            response
        }
        (Some(Format::Html), None, None, Some(template)) => {
            let view = View { path: asked.path.clone(), docs: route.docs, notice: dress.notice };
            page(site, asked, StatusCode::OK, template, &value, view, (Wrong::default(), json!({})))
        }
        _ => {
            let mut response = (dress.status.unwrap_or(StatusCode::OK), axum::Json(value)).into_response();
            if let Some(location) =
                dress.location.as_ref().filter(|_| dress.status == Some(StatusCode::CREATED))
            {
                insert(response.headers_mut(), header::LOCATION, &format!("/api/v1{location}"));
            }
            if let Some(version) = dress.version {
                insert(response.headers_mut(), header::ETAG, &format!("\"{version}\""));
            }
            response
        }
    };
    let headers = response.headers_mut();
    headers.append(header::VARY, HeaderValue::from_static("accept"));
    match dress.session {
        Some(SessionCookie::Set(token)) => set_cookie(headers, SESSION_COOKIE, &token, 30 * 86_400),
        Some(SessionCookie::Clear) => set_cookie(headers, SESSION_COOKIE, "", 0),
        None => {}
    }
    if let Some(trip) = dress.trip {
        let seconds = if trip.is_empty() { 0 } else { 600 };
        set_cookie(headers, TRIP_COOKIE, &trip, seconds);
    }
    if let Some(theme) = dress.theme {
        set_cookie(headers, THEME_COOKIE, &theme, 365 * 86_400);
    }
    response
}

fn download(site: &Site, file: File) -> Result<Response, Error> {
    let body = match file.content {
        Content::Whole(bytes) => Body::from(bytes),
        Content::Made(make) => make(Arc::clone(&site.files).try_acquire_owned().map_err(|_| Error::Busy)?),
    };
    let mut response = ([(header::CONTENT_TYPE, file.media)], body).into_response();
    let disposition = format!("attachment; filename=\"{}\"", file.name);
    insert(response.headers_mut(), header::CONTENT_DISPOSITION, &disposition);
    Ok(response)
}

/// What a form says that comes back because its thing was changed meanwhile.
const STALE: &str = "Someone changed this after you opened it. Here is what you typed: save it again to replace \
                     their change, or cancel to see it";

/// What a form says whose sender has to prove first who they are.
const PROVE: &str = "in another tab, then save here again";

/// An error's answer: a sign-in page, the form again with what was typed, or the problem.
async fn refuse(site: &Site, route: &Route, asked: &Asked, error: Error, mut typed: Value) -> Response {
    if asked.format != Some(Format::Html) {
        return problem(site, asked, error);
    }
    let error = match error {
        Error::Beyond { refused, .. } => Error::Invalid(vec![refused]),
        other => other,
    };
    match (error, route.form.as_deref()) {
        (Error::Invalid(fields), Some(form)) => {
            let errors = Wrong::of(&fields);
            match form_again(site, asked, form, StatusCode::UNPROCESSABLE_ENTITY, (errors, typed)).await {
                Some(response) => response,
                None => problem(site, asked, Error::Invalid(fields)),
            }
        }
        (Error::Stale, Some(form)) => {
            // The form then carries the version that is there now: saving it once more is a decision.
            if let Some(fields) = typed.as_object_mut() {
                fields.remove("version");
            }
            let errors = Wrong::one("version", STALE);
            match form_again(site, asked, form, StatusCode::PRECONDITION_FAILED, (errors, typed)).await {
                Some(response) => response,
                None => problem(site, asked, Error::Stale),
            }
        }
        (Error::Prove, Some(form)) => {
            let errors = Wrong::one("proof", PROVE);
            match form_again(site, asked, form, StatusCode::FORBIDDEN, (errors, typed)).await {
                Some(response) => response,
                None => problem(site, asked, Error::Prove),
            }
        }
        (Error::RateLimited { retry_s }, Some(form)) => {
            let unit = if retry_s == 1 { "second" } else { "seconds" };
            let errors = Wrong::one("tries", &format!("Wait {retry_s} {unit}, then try again"));
            let code = StatusCode::TOO_MANY_REQUESTS;
            match form_again(site, asked, form, code, (errors, typed)).await {
                Some(mut response) => {
                    insert(response.headers_mut(), header::RETRY_AFTER, &retry_s.to_string());
                    response
                }
                None => problem(site, asked, Error::RateLimited { retry_s }),
            }
        }
        (error, _) => problem(site, asked, error),
    }
}

async fn form_again(
    site: &Site,
    asked: &Asked,
    form: &str,
    code: StatusCode,
    refused: (Wrong, Value),
) -> Option<Response> {
    let row = site.row(&Method::GET, form)?;
    let outcome = (row.handler)(asked.call.clone(), json!({})).await.ok()?;
    let path = asked
        .call
        .params
        .iter()
        .fold(form.to_owned(), |path, (key, value)| path.replace(&format!("{{{key}}}"), value));
    let view = View { path, docs: row.docs, notice: None };
    Some(page(site, asked, code, row.template.as_deref()?, &outcome.value, view, refused))
}

fn problem(site: &Site, asked: &Asked, error: Error) -> Response {
    if asked.format == Some(Format::Html) {
        let to = match error {
            Error::Setup => Some("/setup".to_owned()),
            Error::SignIn => Some(format!("/sign-in?next={}", encode(&asked.path))),
            Error::Unfinished(stage) => Some(format!("{}?next={}", stage.page(), encode(&asked.path))),
            Error::Prove => Some(format!("/prove?next={}", encode(&asked.begun_at()))),
            _ => None,
        };
        if let Some(to) = to {
            return (StatusCode::SEE_OTHER, [(header::LOCATION, to)]).into_response();
        }
    }
    let problem = Problem::of(error, &asked.call.request_id);
    let (code, retry) = (problem.code(), problem.retry_s);
    let mut response = if asked.format == Some(Format::Html) {
        let data = serde_json::to_value(&problem).unwrap_or_default();
        let view = View { path: asked.path.clone(), docs: "errors", notice: None };
        let data = with_defaults(data);
        page(site, asked, code, "error.html", &data, view, (Wrong::default(), json!({})))
    } else {
        let mut response = (code, axum::Json(problem)).into_response();
        insert(response.headers_mut(), header::CONTENT_TYPE, "application/problem+json");
        if code == StatusCode::UNAUTHORIZED {
            insert(response.headers_mut(), header::WWW_AUTHENTICATE, "Bearer realm=\"portolan\"");
        }
        response
    };
    if let Some(seconds) = retry {
        insert(response.headers_mut(), header::RETRY_AFTER, &seconds.to_string());
    }
    response
}

/// The error page may name every field of a problem, present or not.
fn with_defaults(mut data: Value) -> Value {
    if let Some(map) = data.as_object_mut() {
        map.entry("detail").or_insert(Value::Null);
        map.entry("errors").or_insert(json!([]));
        let id = map.get("instance").cloned().unwrap_or_default();
        map.insert("request_id".to_owned(), id);
    }
    data
}

struct View {
    path: String,
    docs: &'static str,
    notice: Option<String>,
}

fn page(
    site: &Site,
    asked: &Asked,
    code: StatusCode,
    template: &str,
    data: &Value,
    view: View,
    (errors, typed): (Wrong, Value),
) -> Response {
    let kept = guard::cookie(&asked.headers, NOTICE_COOKIE).filter(|text| !text.is_empty());
    let theme = guard::cookie(&asked.headers, THEME_COOKIE).filter(|theme| ["light", "dark"].contains(theme));
    let params: BTreeMap<String, String> =
        input::pairs("query", asked.query.as_bytes()).unwrap_or_default().into_iter().rev().collect();
    let context = Context {
        data,
        errors,
        typed,
        caller: (&asked.call.caller).into(),
        page: PageView { path: view.path, query: asked.query.clone(), params, docs: view.docs },
        notice: view.notice.or_else(|| kept.map(decode)),
        request_id: &asked.call.request_id,
        theme: theme.unwrap_or("auto"),
        help: site.app.docs.help(view.docs),
    };
    match site.pages.render(template, &context, &asked.call.caller) {
        Ok(html) => {
            let mut response =
                (code, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], html).into_response();
            if kept.is_some() {
                set_cookie(response.headers_mut(), NOTICE_COOKIE, "", 0);
            }
            response
        }
        Err(error) => {
            // Not a page: the page is what failed.
            let problem = Problem::of(error, &asked.call.request_id);
            (problem.code(), format!("{} (request {})\n", problem.title, problem.instance)).into_response()
        }
    }
}

fn set_cookie(headers: &mut HeaderMap, name: &str, value: &str, seconds: u32) {
    let text = format!("{name}={value}; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age={seconds}");
    if let Ok(value) = HeaderValue::from_str(&text) {
        headers.append(header::SET_COOKIE, value);
    }
}

fn insert(headers: &mut HeaderMap, name: header::HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Percent-encoding of a value in a cookie or a query.
mod percent {
    pub fn encode(text: &str) -> String {
        form_urlencoded::byte_serialize(text.as_bytes()).collect()
    }

    pub fn decode(text: &str) -> String {
        let pair = format!("v={text}");
        form_urlencoded::parse(pair.as_bytes())
            .next()
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    }
}
