//! What is too large, too deep, too many, of another kind, or no HTTP at all.

use std::fmt::Write as _;

use portolan_tests::Response;
use portolan_tests::http::Request;
use serde_json::{Value, json};

use crate::world::{Crowd, World};

/// No fault of ours, and said as the rest is said.
fn told(answer: &Response) {
    assert!(answer.status < 500, "{}", answer.describe());
    let kind = answer.header("content-type").unwrap_or_default();
    let problem = answer.status < 400 || kind == "application/problem+json" || kind.starts_with("text/html");
    assert!(problem || answer.body.is_empty(), "{}", answer.describe());
}

/// Nothing of this kind is asked for anywhere.
fn nonsense() -> Vec<Value> {
    let (mut deep, mut deeper) = (json!([]), json!({}));
    for _ in 0..100 {
        deep = json!([deep]);
        deeper = json!({ "a": deeper });
    }
    vec![
        json!(null),
        json!(true),
        json!(-1),
        json!(1.5),
        json!(1e308),
        json!(u64::MAX),
        json!(""),
        json!("\u{0}"),
        json!("\u{202e}\u{200b}"),
        json!("x".repeat(70_000)),
        json!("%00%ff%s%n../../etc/passwd"),
        json!("9".repeat(400)),
        json!([]),
        json!([null]),
        json!(vec!["x"; 2_000]),
        json!({ "x": {} }),
        deep,
        deeper,
    ]
}

#[test]
fn no_field_of_any_route_makes_it_fail_whatever_stands_in_it() {
    let world = World::new();
    let crowd = Crowd::of(&world);
    let nonsense = nonsense();
    let mut asked = 0;
    for row in world.changing().filter(|row| row.api) {
        let (path, fields) = (world.path(row), world.fields(row));
        for field in fields.keys() {
            // A deletion that names no version is one that is meant.
            for value in nonsense.iter().filter(|value| row.method != "DELETE" || !value.is_null()) {
                let body = json!({ field: value });
                told(&crowd.ask(|client| client.json(&row.method, &path, &body)));
                asked += 1;
            }
        }
        // All of them at once, each other.
        for turn in 0..nonsense.len().min(8) {
            let body: serde_json::Map<String, Value> = fields
                .keys()
                .enumerate()
                .map(|(at, field)| (field.clone(), nonsense[(at * 7 + turn * 3) % nonsense.len()].clone()))
                .collect();
            if !body.is_empty() {
                told(&crowd.ask(|client| client.json(&row.method, &path, &Value::Object(body.clone()))));
                asked += 1;
            }
        }
    }
    assert!(asked > 2_000, "{asked}");
    println!("{asked} bodies of nonsense, none made a route fail");
    assert!(!world.site.logs().contains("panicked"), "{}", world.site.logs());
    let _ = world.owner.get("/me").expect(200);
}

#[test]
fn a_body_that_is_none_is_refused_by_every_route_and_changes_nothing() {
    let world = World::new();
    let crowd = Crowd::of(&world);
    let before = world.told();
    let deep =
        |open: &str, close: &str| format!("{}{}", open.repeat(20_000), close.repeat(20_000)).into_bytes();
    let (json, form) = ("application/json", "application/x-www-form-urlencoded");
    let many: String = (0..10_050).map(|n| format!("f{n}=&")).collect();
    let bodies: Vec<(&str, Vec<u8>, &[u16])> = vec![
        (json, b"{".to_vec(), &[422]),
        (json, b"[]".to_vec(), &[422]),
        (json, b"null".to_vec(), &[422]),
        (json, b"\"x\"".to_vec(), &[422]),
        (json, b"{\"a\":1}{\"b\":2}".to_vec(), &[422]),
        (json, b"{\"a\":1,\"a\":2}".to_vec(), &[422]),
        (json, b"{\"a\":\"\\ud800\"}".to_vec(), &[422]),
        (json, b"{\"a\":\"\xff\xfe\"}".to_vec(), &[422]),
        (json, b"\xef\xbb\xbf{}".to_vec(), &[422]),
        (json, b"{\"a\":NaN}".to_vec(), &[422]),
        (json, deep("[", "]"), &[422]),
        (json, deep("{\"a\":", "}"), &[422]),
        (form, b"%ff=%fe".to_vec(), &[422]),
        (form, many.into_bytes(), &[413]),
        ("multipart/form-data; boundary=x", b"--x\r\n\r\n--x--".to_vec(), &[415]),
        ("text/plain", b"{}".to_vec(), &[415]),
        (
            "application/xml",
            b"<!DOCTYPE a [<!ENTITY b SYSTEM \"file:///etc/passwd\">]><a>&b;</a>".to_vec(),
            &[415],
        ),
        ("", b"x=1".to_vec(), &[415]),
    ];
    for row in world.changing() {
        let path = world.path(row);
        for (kind, body, wanted) in &bodies {
            let request = Request::new(&row.method, &path).header("Accept", json).body(kind, body.clone());
            let answer = crowd.ask(|client| client.send(request.clone()));
            told(&answer);
            assert!(wanted.contains(&answer.status), "{kind} {}", answer.describe());
        }
    }
    let huge = vec![b'x'; 1024 * 1024 + 1];
    for path in ["/api/v1/subnets", "/api/v1/sign-in", "/api/v1/audit/checkpoints/test"] {
        for kind in [json, form] {
            let answer = world.owner.send(Request::new("POST", path).body(kind, huge.clone()));
            assert_eq!(answer.status, 413, "{}", answer.describe());
        }
    }
    assert_eq!(world.told(), before);
}

#[test]
fn a_head_that_is_too_long_or_odd_is_refused_and_the_next_request_is_answered() {
    let world = World::new();
    let long = |count: usize| "a".repeat(count);
    let accept = ["text/html;q=x, */*;;;,,", "text/html;q=-1", "*/*;q=99999999999", "\u{e9}", "a/b/c", ""];
    let mut requests: Vec<Request> = vec![
        Request::new("GET", &format!("/subnets?q={}", long(30_000))),
        Request::new("GET", &format!("/{}", long(30_000))),
        Request::new("GET", &format!("/subnets?{}", "a=b&".repeat(10_050))),
        Request::new("GET", "/subnets?q=%ff"),
        Request::new("GET", "/subnets?q=%"),
        Request::new("GET", "/subnets?q=a&q=b"),
        Request::new("GET", "/%00"),
        Request::new("GET", "/%ff/%c0%ae%c0%ae/"),
        Request::new("GET", "/static/../../../../etc/passwd"),
        Request::new("GET", "/static/%2e%2e/%2e%2e/etc/passwd"),
        Request::new("GET", "/static/..%2f..%2fetc%2fpasswd"),
        Request::new("GET", "/docs/../../../../etc/passwd"),
        Request::new("GET", "/docs/%2e%2e%2f%2e%2e%2fetc%2fpasswd"),
        Request::new("GET", "//subnets"),
        Request::new("GET", "/subnets/"),
        Request::new("GET", "/api/v1/api/v1/subnets"),
        Request::new("GET", "/subnets").header("X-Long", &long(20_000)),
        Request::new("GET", "/subnets").header("Cookie", &long(20_000)),
        Request::new("GET", "/subnets").header("Cookie", &"a=b; ".repeat(3_000)),
        Request::new("GET", "/subnets").header("Cookie", "__Host-session=\"; ==;;; \u{e9}"),
        Request::new("GET", "/subnets").header("Authorization", &format!("Bearer {}", long(20_000))),
        Request::new("GET", "/subnets").header("Authorization", "Bearer ptl_\u{e9}"),
        Request::new("GET", "/subnets").header("If-None-Match", "W/\"x").header("Range", "bytes=5-1,0-,-1"),
        Request::new("GET", "/subnets")
            .header("Accept-Encoding", "gzip;q=x, br, zstd, deflate, compress, identity;q=0"),
        Request::new("PUT", "/api/v1/subnets/x").header("If-Match", "*").body("application/json", "{}"),
        Request::new("PUT", "/api/v1/subnets/x")
            .header("If-Match", "\"99999999999999999999\"")
            .body("application/json", "{}"),
        Request::new("PATCH", "/api/v1/subnets"),
        Request::new("TRACE", "/"),
        Request::new("CONNECT", "/"),
        Request::new("BREW", "/subnets"),
        Request::new("HEAD", "/subnets"),
    ];
    requests.extend(accept.map(|accept| Request::new("GET", "/subnets").header("Accept", accept)));
    let headers: Vec<usize> = vec![90, 101, 400];
    for count in headers {
        let request = Request::new("GET", "/subnets");
        requests.push((0..count).fold(request, |request, n| request.header(&format!("X-{n}"), "x")));
    }
    for request in requests.into_iter().filter(|request| request.method != "HEAD") {
        let answer = world.site.visitor();
        answer.take_cookies(&world.owner);
        let answer = answer.send(request);
        assert!(answer.status < 500, "{}", answer.describe());
        assert!(!answer.text().contains("root:"), "{}", answer.describe());
        assert_eq!(answer.header("x-powered-by").or(answer.header("server")), None, "{}", answer.describe());
    }
    let _ = world.owner.get("/me").expect(200);
}

#[test]
fn what_is_no_http_or_two_requests_in_one_is_refused() {
    let world = World::new();
    let endpoint = world.owner.endpoint();
    let host = endpoint.address;
    let cookie = world.cookie();
    let inner = "POST /sign-out HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n";
    let post = format!(
        "POST /subnets HTTP/1.1\r\nHost: {host}\r\nCookie: {cookie}\r\nSec-Fetch-Site: same-origin\r\n"
    );
    let mut many = format!("GET / HTTP/1.1\r\nHost: {host}\r\n");
    for n in 0..200 {
        let _ = write!(many, "X-{n}: {}\r\n", "a".repeat(400));
    }
    for head in [
        "GET\r\n\r\n".to_owned(),
        "GET / HTTP/9.9\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost : x\r\n\r\n".into(),
        "GET / HTTP/1.1\r\nHost: x\r\n folded: y\r\n\r\n".into(),
        "GET /\u{0} HTTP/1.1\r\nHost: x\r\n\r\n".into(),
        "\u{16}\u{3}\u{1}\u{2}\u{0}\r\n\r\n".into(),
        format!("{post}Content-Length: -1\r\n\r\n"),
        format!("{post}Content-Length: 99999999999999999999\r\n\r\n"),
        format!("{post}Content-Length: 1\r\nContent-Length: 2\r\n\r\nab"),
        format!(
            "{post}Content-Length: {}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{inner}",
            inner.len() + 5
        ),
        format!("{post}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\nzz\r\nx\r\n0\r\n\r\n"),
        format!("{post}Transfer-Encoding: chunked\r\n\r\nffffffffffffffffff\r\n"),
        format!("{many}\r\n"),
    ] {
        // Closed without a word is a refusal, too.
        let Ok(answer) = endpoint.send_raw("raw", head.as_bytes(), b"") else { continue };
        assert!((400..500).contains(&answer.status), "{head:?}: {}", answer.describe());
    }
    let _ = world.owner.get("/me").expect(200);
    assert_eq!(world.owner.get("/subnets").expect(200).json()["total"], 1, "nothing was made");

    // A name that we do not have is never where anything leads.
    for name in ["evil.example", "evil.example:1", &format!("{host}@evil.example"), "evil.example\"><x-evil>"]
    {
        for path in [
            "/scanners/new",
            "/providers",
            "/",
            "/sign-in",
            "/nowhere",
            "/install.sh",
            "/account/second-factor",
        ] {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {name}\r\nX-Forwarded-Host: {name}\r\nForwarded: host={name}\r\nAccept: text/html\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n"
            );
            let Ok(answer) = endpoint.send_raw(path, head.as_bytes(), b"") else { continue };
            assert!(answer.status < 500, "{}", answer.describe());
            let led = answer.header("location").is_some_and(|to| to.contains("evil"));
            assert!(!led && !answer.text().contains("<x-evil>"), "{}", answer.describe());
            let orders = ["/scanners/new", "/install.sh"].contains(&path);
            assert!(!orders || !answer.text().contains("evil.example"), "{}", answer.describe());
        }
    }
}
