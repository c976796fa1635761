//! The way in: sessions that someone else chose, names that someone else guesses, pages that someone else leads to.

use std::collections::{BTreeMap, BTreeSet};

use portolan_tests::api::text;
use portolan_tests::browser::{Browser, Window};
use portolan_tests::client::encode;
use portolan_tests::http::Request;
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::{Client, Line, Response};
use serde_json::{Value, json};

use crate::world::{World, elsewhere};

const SESSION: &str = "__Host-session";

fn try_in(client: &Client, name: &str, password: &str) -> Response {
    client.post("/sign-in", &json!({ "name": name, "password": password }))
}

#[test]
fn a_session_that_was_planted_or_overheard_before_a_sign_in_is_worth_nothing_after_it() {
    let world = World::new();
    let eve = world.person("eve", &["viewer"]);
    let planted = eve.client.cookies()[SESSION].clone();
    let victim = world.visitor();
    victim.take_cookies(&eve.client);
    let answer = try_in(&victim, OWNER, PASSWORD).expect(200);
    let cookie = answer.header("set-cookie").expect("a session").to_owned();
    for part in ["__Host-session=", "; Path=/", "; Secure", "; HttpOnly", "; SameSite=Lax"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert_ne!(victim.cookies()[SESSION], planted);
    let _ = eve.client.get("/me").expect(401);
    assert_eq!(victim.get("/me").expect(200).json()["user"]["name"], OWNER);

    // A secret is never taken from outside, in whatever shape: it is always the appliance's own.
    for chosen in ["chosen-by-eve", "", &planted, &format!("{planted}x"), "a, b", "\"quoted\""] {
        let request = Request::new("POST", "/api/v1/sign-in")
            .header("Cookie", &format!("{SESSION}={chosen}; {SESSION}=second"))
            .body("application/json", json!({ "name": OWNER, "password": PASSWORD }).to_string());
        let visitor = world.visitor();
        let _ = visitor.send(request).expect(200);
        let given = &visitor.cookies()[SESSION];
        assert!(given.len() > 40 && !given.contains("chosen") && *given != planted, "{given}");
    }

    // Signing out ends the session, not only the cookie; so does a new password.
    let kept = victim.cookies();
    let _ = victim.post("/sign-out", &json!({})).expect(200);
    let thief = world.visitor();
    let stolen = format!("{SESSION}={}", kept[SESSION]);
    let _ = thief.send(Request::new("GET", "/api/v1/me").header("Cookie", &stolen)).expect(401);
    let grace = world.person("grace", &["viewer"]);
    let thief = world.visitor();
    thief.take_cookies(&grace.client);
    let new = json!({ "password_now": PASSWORD, "password": "another tide another day", "password_again": "another tide another day" });
    let _ = grace.client.post("/account/password", &new).expect(200);
    let _ = thief.get("/me").expect(401);
    let _ = grace.client.get("/me").expect(200);
}

/// An answer without what differs from one to the next whatever happens: its time and the request's id.
fn said(answer: &Response) -> (u16, Vec<(String, String)>, String) {
    let id = answer.header("x-request-id").expect("every answer has one").to_owned();
    let mut headers = answer.headers.clone();
    headers.retain(|(name, _)| !["date", "x-request-id", "content-length"].contains(&name.as_str()));
    (answer.status, headers, answer.text().replace(&id, ""))
}

#[test]
fn nobody_learns_from_an_answer_which_accounts_there_are() {
    let world = World::new();
    let _ = world.person("grace", &["viewer"]);
    let alan = world.person("alan", &["viewer"]);
    let _ = world.owner.post(&format!("/users/{}/disable", alan.id), &json!({})).expect(200);
    let _ = world.owner.post("/users", &json!({ "name": "robot", "kind": "service" })).expect(201);
    let _ = world.person("locked", &["viewer"]);
    let strict = json!({ "name": "Strict", "scopes": ["scans:view"], "second_factor": true });
    let strict = text(&world.owner.post("/roles", &strict).expect(201).json(), "id");
    let two = world.owner.post("/users", &json!({ "name": "two", "roles": [strict] })).expect(201).json();
    world.give_password(&text(&two, "id"));
    let cases = [
        ("nobody-has-this-name", PASSWORD),
        (OWNER, "wrong"),
        ("grace", "wrong"),
        ("GRACE", "wrong"),
        ("alan", PASSWORD),
        ("alan", "wrong"),
        ("mallory", PASSWORD),
        ("robot", PASSWORD),
        ("locked", PASSWORD),
        ("two", "wrong"),
        ("", ""),
        ("grace ", PASSWORD),
        ("ada' OR '1'='1", "x"),
    ];
    let (mut answers, mut pages) = (BTreeMap::new(), BTreeMap::new());
    for (name, password) in cases {
        // Each from an address of its own, and no limit comes into it; who is locked is locked from there.
        let guesser = world.visitor();
        if name == "locked" {
            (0..5).for_each(|_| drop(try_in(&guesser, name, "wrong").expect(422)));
        }
        let answer = said(&try_in(&guesser, name, password));
        answers.entry(answer).or_insert_with(Vec::new).push((name, password));
        let page = said(&guesser.form("/sign-in", &[("name", name), ("password", password)]));
        let typed = name.replace('\'', "&#x27;");
        let page = (page.0, page.1, page.2.replace(&format!("value=\"{typed}\""), "value=\"\""));
        pages.entry(page).or_insert_with(Vec::new).push((name, password));
    }
    assert_eq!(answers.len(), 1, "{answers:#?}");
    assert_eq!(pages.len(), 1, "{:#?}", pages.values().collect::<Vec<_>>());

    // Nor from a link that sets a password, nor from a token.
    let spent = world.ids["reset"].clone();
    world.give_password(&world.ids["users"]);
    let unknown: String = spent.chars().rev().collect();
    let links = [spent, unknown].map(|link| said(&world.visitor().get(&format!("/reset/{link}"))));
    assert_eq!(links[0], links[1], "a link that was used and one that never was");
    let revoked =
        world.owner.post("/tokens", &json!({ "name": "r", "scopes": ["scans:view"] })).expect(201).json();
    let id = text(&revoked["item"], "id");
    let _ = world.owner.post(&format!("/tokens/{id}/revoke"), &json!({})).expect(200);
    let revoked = text(&revoked, "token");
    let unknown = format!("{}{}", &revoked[..8], revoked[8..].chars().rev().collect::<String>());
    let tokens = [revoked, unknown, "ptl_x".into(), String::new()].map(|token| {
        let request = Request::new("GET", "/api/v1/me").header("Authorization", &format!("Bearer {token}"));
        said(&world.visitor().send(request).expect(401))
    });
    assert_eq!(tokens.iter().collect::<BTreeSet<_>>().len(), 1, "{tokens:#?}");
}

/// Spellings of "elsewhere" that some browser, proxy or parser has fallen for.
const ELSEWHERE: [&str; 34] = [
    "https://evil.example",
    "http://evil.example",
    "//evil.example",
    "///evil.example",
    "////evil.example",
    "/\\evil.example",
    "\\\\evil.example",
    "\\/evil.example",
    "/\\/evil.example",
    "/\t/evil.example",
    "/\n/evil.example",
    "/\r/evil.example",
    "/\r\n/evil.example",
    "\t//evil.example",
    " //evil.example",
    "\u{0}//evil.example",
    "/ /evil.example",
    "https:evil.example",
    "https:/evil.example",
    "https:\\evil.example",
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "data:text/html,x",
    "vbscript:x",
    "@evil.example",
    ".evil.example",
    "/@evil.example/..//",
    "/.//evil.example",
    "/..//evil.example",
    "/%09/evil.example",
    "/%2f/evil.example",
    "/%5cevil.example",
    "/\u{ff0f}evil.example",
    "/x\r\nSet-Cookie: a=b",
];

#[test]
fn no_sign_in_and_no_form_leads_to_another_site() {
    let world = World::new();
    let mut led: Vec<Value> = Vec::new();
    let mut keep = |answer: &Response, next: &str| {
        assert!(answer.status < 500, "{next:?}: {}", answer.describe());
        assert!(!answer.headers.iter().any(|(name, value)| name == "set-cookie" && value.starts_with("a=")));
        if let Some(to) = answer.header("location") {
            led.push(json!([next, to]));
        }
    };
    for next in ELSEWHERE {
        let visitor = world.visitor();
        let fields = [("name", OWNER), ("password", PASSWORD), ("next", next)];
        let answer = visitor.form("/sign-in", &fields).expect(303);
        keep(&answer, next);
        let _ = visitor.get("/me").expect(200);
        keep(&visitor.form("/prove", &[("password", PASSWORD), ("next", next)]).expect(303), next);
        keep(&visitor.form("/theme", &[("theme", "dark"), ("next", next)]).expect(303), next);
        keep(&visitor.form("/account/second-factor/app", &[("next", next)]), next);
        for page in [
            "/sign-in",
            "/prove",
            "/sign-in/new-password",
            "/sign-in/second-factor",
            "/sign-in/second-factor/app",
        ] {
            keep(&visitor.page(&format!("{page}?next={}", encode(next))), next);
        }
        // What a page that asks for a sign-in leads back to is its own path.
        let stranger = world.visitor();
        let at =
            next.trim_start_matches('/').replace(char::is_control, "").replace(['\\', ' ', '\u{ff0f}'], "/");
        keep(&stranger.page(&format!("/{at}")), next);
        keep(&stranger.page(&format!("//{at}")), next);
    }
    assert!(led.len() > 100, "{}", led.len());
    // A browser is asked where each would lead, as it reads it.
    let browser = Browser::open(&world.site.url(), Window::DESK);
    browser.goto("/sign-in");
    let script = format!(
        "return {}.filter(([next, to]) => new URL(to, location.href).origin !== location.origin)",
        Value::from(led)
    );
    assert_eq!(browser.run(&script), json!([]));
    // One that is ours is kept, whole.
    let fields = [("name", OWNER), ("password", PASSWORD), ("next", "/scans?sort=-started_at&q=a%20b")];
    let answer = world.visitor().form("/sign-in", &fields).expect(303);
    assert_eq!(answer.header("location"), Some("/scans?sort=-started_at&q=a%20b"));
}

#[test]
fn a_secret_in_an_address_opens_nothing() {
    let world = World::new();
    let made =
        world.owner.post("/tokens", &json!({ "name": "t", "scopes": ["subnets:view"] })).expect(201).json();
    let (token, session) = (text(&made, "token"), world.owner.cookies()[SESSION].clone());
    let mut line = Line::new(world.owner.endpoint().clone(), Some(elsewhere()));
    let mut ask = |target: &str, headers: &[(&str, &str)]| {
        let request = Request::new("GET", target).header("Accept", "application/json");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        line.send(&request).expect("it answers")
    };
    let good = format!("Bearer {token}");
    let _ = ask("/api/v1/subnets", &[("Authorization", &good)]).expect(200);
    for name in [
        "access_token",
        "token",
        "api_key",
        "apikey",
        "key",
        "authorization",
        "bearer",
        "session",
        SESSION,
        "auth",
    ] {
        for secret in [&token, &session, &good] {
            let _ = ask(&format!("/api/v1/subnets?{name}={}", encode(secret)), &[]).expect(401);
        }
    }
    let basic = format!("Basic {}", portolan_scanner::wire::base64::encode(format!("{token}:").as_bytes()));
    for (name, value) in [
        ("Authorization", basic.as_str()),
        ("Authorization", &token),
        ("X-Api-Key", &token),
        ("X-Auth-Token", &token),
        ("Proxy-Authorization", &good),
        ("Cookie", &format!("{SESSION}={token}")),
        ("Cookie", &format!("token={token}")),
    ] {
        let _ = ask("/api/v1/subnets", &[(name, value)]).expect(401);
    }
    let form = json!({ "name": "x", "cidr": "10.9.0.0/16", "access_token": token });
    let _ = world.visitor().post("/subnets", &form).expect(401);
    assert!(
        !world.site.logs().contains(&token) && !world.site.logs().contains(&session),
        "nor is it in a log"
    );
}
