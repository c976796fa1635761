//! Someone who uses the appliance: a browser's habits (cookies, where a form was sent from) or a script's (JSON).

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::Value;

use crate::http::{Endpoint, Request, Response};
use crate::line::Line;
use crate::wait::pause;

/// A visitor of the web pages and the API, with a cookie jar.
pub struct Client {
    endpoint: Endpoint,
    line: Option<Mutex<Line>>,
    cookies: Mutex<BTreeMap<String, String>>,
    patient: bool,
}

impl Client {
    /// A visitor without a session. It comes back when it is asked to wait for a second, as the limit on tries does:
    /// on a fast machine a test is quicker than any person.
    pub fn new(endpoint: Endpoint) -> Client {
        Client { endpoint, line: None, cookies: Mutex::new(BTreeMap::new()), patient: true }
    }

    /// The same visitor, who takes "wait" for an answer.
    #[must_use]
    pub fn impatient(self) -> Client {
        Client { patient: false, ..self }
    }

    /// The same visitor, who keeps one connection between requests; from this address, if one is given.
    #[must_use]
    pub fn on_one_line(self, source: Option<IpAddr>) -> Client {
        let line = Some(Mutex::new(Line::new(self.endpoint.clone(), source)));
        Client { line, ..self }
    }

    /// Asks the API: `get("/subnets")` is `GET /api/v1/subnets`.
    pub fn get(&self, path: &str) -> Response {
        self.send(Request::new("GET", &api(path)))
    }

    /// Sends JSON to the API.
    pub fn post(&self, path: &str, body: &Value) -> Response {
        self.json("POST", path, body)
    }

    /// Sends JSON with this method to the API.
    pub fn json(&self, method: &str, path: &str, body: &Value) -> Response {
        self.send(Request::new(method, &api(path)).body("application/json", body.to_string()))
    }

    /// Replaces what has this entity tag.
    pub fn put(&self, path: &str, tag: &str, body: &Value) -> Response {
        let request = Request::new("PUT", &api(path)).header("If-Match", tag);
        self.send(request.body("application/json", body.to_string()))
    }

    /// Deletes through the API.
    pub fn delete(&self, path: &str) -> Response {
        self.send(Request::new("DELETE", &api(path)))
    }

    /// Opens a page, as a browser does.
    pub fn page(&self, path: &str) -> Response {
        self.send(Request::new("GET", path).header("Accept", "text/html"))
    }

    /// Sends a form, as a browser does; fields may repeat. The redirect is not followed.
    pub fn form(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{}={}", encode(name), encode(value))).collect();
        let request = Request::new("POST", path).header("Accept", "text/html");
        self.send(request.body("application/x-www-form-urlencoded", body.join("&")))
    }

    /// Sends any request, with the cookies and, where it changes something, the mark of our own page.
    pub fn send(&self, mut request: Request) -> Response {
        if request.method != "GET" && !request.headers.iter().any(|(name, _)| name == "Sec-Fetch-Site") {
            request = request.header("Sec-Fetch-Site", "same-origin");
        }
        let cookies = self.cookies();
        if !cookies.is_empty() {
            let pairs: Vec<String> = cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
            request = request.header("Cookie", &pairs.join("; "));
        }
        let mut answer = self.ask(&request);
        for _ in 0..10 {
            if !(self.patient && answer.status == 429 && answer.header("retry-after") == Some("1")) {
                break;
            }
            pause(Duration::from_secs(1));
            answer = self.ask(&request);
        }
        self.keep(&answer);
        answer
    }

    /// The cookies held now.
    pub fn cookies(&self) -> BTreeMap<String, String> {
        self.cookies.lock().expect("no one panics while holding it").clone()
    }

    /// Comes with another's cookies from now on, as who has stolen them does.
    pub fn take_cookies(&self, from: &Client) {
        *self.cookies.lock().expect("no one panics while holding it") = from.cookies();
    }

    /// Where it sends its requests.
    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn ask(&self, request: &Request) -> Response {
        let answer = match &self.line {
            None => self.endpoint.send(request),
            Some(line) => line.lock().expect("no one panics while holding it").send(request),
        };
        answer.unwrap_or_else(|error| panic!("{} {}: {error}", request.method, request.target))
    }

    fn keep(&self, answer: &Response) {
        let mut jar = self.cookies.lock().expect("no one panics while holding it");
        for (_, line) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
            let mut parts = line.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            if value.is_empty() || parts.any(|part| part.eq_ignore_ascii_case("max-age=0")) {
                jar.remove(name);
            } else {
                jar.insert(name.into(), value.into());
            }
        }
    }
}

/// Percent-encodes for a query or a form.
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn api(path: &str) -> String {
    format!("/api/v1{path}")
}
