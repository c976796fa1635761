//! What holds for every request: an id, a time limit, a log line without secrets, security headers, and where a
//! changing request may come from.

use super::problem::Problem;
use crate::error::Error;
use axum::extract::{ConnectInfo, Request};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::SocketAddr;
use std::time::Duration;

/// The session's cookie; the prefix makes browsers refuse it without `Secure`, from a parent domain, or for a path.
pub const SESSION_COOKIE: &str = "__Host-session";
/// What the next page says above its content.
pub const NOTICE_COOKIE: &str = "__Host-notice";
/// What a browser takes along on its way to a provider and back; sealed.
pub const TRIP_COOKIE: &str = "__Host-trip";
/// The chosen theme.
pub const THEME_COOKIE: &str = "__Host-theme";

/// The longest a request may take, its body included.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// The largest body a page or an API call takes, in bytes.
pub const MAX_BODY: usize = 1024 * 1024;

const CSP: &str = "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; font-src 'self'; \
    connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// Sent with every answer. There is no HSTS here: with a certificate that the site made itself, it would take from
/// a person the choice to go on after a new one.
const HEADERS: [(HeaderName, &str); 7] = [
    (header::CONTENT_SECURITY_POLICY, CSP),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), usb=()"),
];

/// The request's id, in its extensions.
#[derive(Clone)]
pub struct RequestId(pub String);

/// The outermost layer.
pub async fn guard(mut request: Request, next: Next) -> Response {
    let id = request_id();
    request.extensions_mut().insert(RequestId(id.clone()));
    let method = request.method().clone();
    let path = logged(request.uri().path());
    let source = request.extensions().get::<ConnectInfo<SocketAddr>>().map(|info| info.0.ip().to_canonical());
    let start = tokio::time::Instant::now();
    let mut response = if let Ok(response) = tokio::time::timeout(TIMEOUT, next.run(request)).await {
        response
    } else {
        let problem = Problem::of(Error::Timeout, &id);
        let media = [(header::CONTENT_TYPE, "application/problem+json")];
        (problem.code(), media, axum::Json(problem)).into_response()
    };
    // The path alone: a query can hold what someone searched for.
    tracing::info!(
        request = %id, %method, path, status = response.status().as_u16(),
        ms = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX),
        source = source.map(tracing::field::display),
        "request"
    );
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert("x-request-id", value);
    }
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Refuses a changing request that another site's page could have caused (DESIGN: `Sec-Fetch-Site`, else `Origin`).
///
/// # Errors
/// `CrossSite`.
pub fn same_site(method: &Method, headers: &HeaderMap, host: &str) -> Result<(), Error> {
    if method.is_safe() {
        return Ok(());
    }
    let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    let carries_cookie = headers.contains_key(header::COOKIE);
    match (text("sec-fetch-site"), text("origin")) {
        (Some("same-origin"), _) => Ok(()),
        (None, Some(origin)) if origin.strip_prefix("https://") == Some(host) => Ok(()),
        (Some(_), _) | (None, Some(_)) => Err(Error::CrossSite),
        (None, None) if carries_cookie => Err(Error::CrossSite),
        (None, None) => Ok(()),
    }
}

/// Whether another site's page shows this within itself (a picture, a frame, a script), so that nobody went there. Browsers
/// say so; what says nothing is no browser's, or came by a link.
pub fn embedded(headers: &HeaderMap) -> bool {
    let said = |name: &str, known: &[&str]| {
        headers.get(name).and_then(|value| value.to_str().ok()).map(|value| known.contains(&value))
    };
    said("sec-fetch-site", &["same-origin", "none"]) == Some(false)
        && said("sec-fetch-dest", &["document"]) == Some(false)
}

/// The value of a cookie.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers
        .get_all(header::COOKIE)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .find_map(|pair| pair.trim().strip_prefix(name)?.strip_prefix('='))
}

/// A path for the log. What stands in a link that sets a password is itself the secret.
fn logged(path: &str) -> String {
    match path.split_once("/reset/") {
        Some((before @ ("" | "/api/v1"), _)) => format!("{before}/reset/…"),
        _ => path.to_owned(),
    }
}

/// The token that a script shows (RFC 6750, section 2.1). The header is the only place where one is looked for: an
/// address is written into logs and histories. Anything else in the header is a wrong token, not none.
pub fn bearer(headers: &HeaderMap) -> Option<String> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let (first, more) = (all.next()?, all.next());
    let shown = first.to_str().ok().filter(|_| more.is_none()).and_then(|text| text.split_once(' '));
    let token =
        shown.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    Some(token.unwrap_or_default().to_owned())
}

fn request_id() -> String {
    let mut bytes = [0u8; 8];
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes once it has booted");
    portolan_scanner::wire::hex::encode(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_changing_request_from_another_site_is_refused() {
        let post =
            |pairs: &[(&'static str, &str)]| same_site(&Method::POST, &headers(pairs), "box:8080").is_ok();
        assert!(post(&[("cookie", "a=b"), ("sec-fetch-site", "same-origin")]));
        assert!(post(&[("cookie", "a=b"), ("origin", "https://box:8080")]));
        assert!(post(&[]));
        assert!(!post(&[("cookie", "a=b")]));
        assert!(!post(&[("cookie", "a=b"), ("sec-fetch-site", "same-site")]));
        assert!(!post(&[("sec-fetch-site", "cross-site"), ("origin", "https://box:8080")]));
        assert!(!post(&[("cookie", "a=b"), ("origin", "https://evil:8080")]));
        assert!(!post(&[("cookie", "a=b"), ("origin", "http://box:8080")]));
        assert!(!post(&[("cookie", "a=b"), ("origin", "null")]));
        assert!(same_site(&Method::GET, &headers(&[("sec-fetch-site", "cross-site")]), "box").is_ok());
    }

    #[test]
    fn a_picture_of_another_sites_page_is_told_from_a_link_there() {
        let asked = |site, dest| embedded(&headers(&[("sec-fetch-site", site), ("sec-fetch-dest", dest)]));
        assert!(asked("cross-site", "image") && asked("same-site", "iframe") && asked("cross-site", "empty"));
        assert!(
            !asked("cross-site", "document") && !asked("same-origin", "empty") && !asked("none", "document")
        );
        assert!(!embedded(&headers(&[])) && !embedded(&headers(&[("sec-fetch-site", "cross-site")])));
    }

    #[test]
    fn the_secret_of_a_link_stays_out_of_the_log() {
        assert_eq!(logged("/reset/secret"), "/reset/…");
        assert_eq!(logged("/api/v1/reset/secret"), "/api/v1/reset/…");
        assert_eq!(logged("/users/1/reset"), "/users/1/reset");
    }

    #[test]
    fn a_token_is_taken_from_its_header_and_anything_else_there_is_a_wrong_one() {
        let shown = |text: &str| bearer(&headers(&[("authorization", text)]));
        assert_eq!(shown("Bearer ptl_x").as_deref(), Some("ptl_x"));
        assert_eq!(shown("bearer  ptl_x ").as_deref(), Some("ptl_x"));
        for wrong in ["", "Bearer", "Basic YTpi", "ptl_x", "Bearerptl_x"] {
            assert_eq!(shown(wrong).as_deref(), Some(""), "{wrong}");
        }
        assert_eq!(bearer(&headers(&[("cookie", "a=ptl_x")])), None);
        let mut twice = headers(&[("authorization", "Bearer ptl_x")]);
        twice.append("authorization", "Bearer ptl_x".parse().unwrap());
        assert_eq!(bearer(&twice).as_deref(), Some(""));
    }

    #[test]
    fn a_cookie_is_found_by_its_whole_name() {
        let headers = headers(&[("cookie", "x__Host-session=1; __Host-session=2")]);
        assert_eq!(cookie(&headers, SESSION_COOKIE), Some("2"));
        assert_eq!(cookie(&headers, NOTICE_COOKIE), None);
    }
}
