//! Answers: a page, JSON, a file; and what becomes of an error, up to the form that comes back with what was typed.

use super::accept::Format;
use super::guard::{self, NOTICE_COOKIE, SESSION_COOKIE, THEME_COOKIE, TRIP_COOKIE};
use super::handle::{Asked, look, looked};
use super::input;
use super::problem::Problem;
use super::render::{Context, PageView};
use super::reply::{Content, File, Outcome, SessionCookie};
use super::route::Route;
use super::router::Site;
use super::wrong::Wrong;
use crate::error::Error;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use percent::{decode, encode};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

pub(super) fn present(site: &Site, route: &Route, asked: &Asked, outcome: Outcome) -> Response {
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
pub(super) async fn refuse(
    site: &Site,
    route: &Route,
    asked: &Asked,
    error: Error,
    mut typed: Value,
) -> Response {
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
    // It shows what its own page shows: what cannot be written down is not shown here either.
    if let Some(seen) = look(row, &outcome)
        && let Err(error) = looked(site, row, &asked.call, seen).await
    {
        tracing::error!(%error, "a look could not be written to the audit");
        return None;
    }
    let path = asked
        .call
        .params
        .iter()
        .fold(form.to_owned(), |path, (key, value)| path.replace(&format!("{{{key}}}"), value));
    let view = View { path, docs: row.docs, notice: None };
    Some(page(site, asked, code, row.template.as_deref()?, &outcome.value, view, refused))
}

pub(super) fn problem(site: &Site, asked: &Asked, error: Error) -> Response {
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
        on_trial: site.app.store.is_on_trial(),
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
