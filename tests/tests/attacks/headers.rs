//! Line ends in whatever may come to stand in a header, a file's name, a line of a log or a message to a receiver.

use std::io::Read as _;
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use portolan_tests::client::encode;
use portolan_tests::http::Request;
use portolan_tests::site::PASSWORD;
use portolan_tests::wait::{PATIENCE, wait_until};
use portolan_tests::{Client, Response};
use serde_json::json;

use crate::store;
use crate::world::{World, cookie};

/// A header and a cookie of their own, and a second answer behind.
const LINES: &str = "a\r\nX-Injected: 1\r\nSet-Cookie: injected=1\r\n\r\nHTTP/1.1 200 OK\r\n\r\n";
/// Other things that have been taken for the end of a line.
const ENDS: [&str; 7] = ["\r\n", "\n", "\r", "\u{0}", "\u{85}", "\u{2028}", "\u{560d}\u{560a}"];

/// No header came of it, nor a part of one.
fn clean(answer: &Response) {
    assert!(answer.status < 500, "{}", answer.describe());
    for (name, value) in &answer.headers {
        let ours = name != "x-injected" && !(name == "set-cookie" && value.starts_with("injected"));
        assert!(ours && !value.contains(char::is_control), "{name}: {value:?}\n{}", answer.describe());
        let known = ["content-disposition", "content-type", "etag"].contains(&name.as_str());
        assert!(!known || !value.contains("X-Injected"), "{name}: {value:?}");
    }
}

#[test]
fn a_line_end_in_a_text_that_is_kept_ends_no_header() {
    let world = World::new();
    let kept = store::everywhere(&world, LINES);
    let took: Vec<String> =
        kept.iter().map(|thing| format!("{}: {}", thing.kind, thing.fields.join(" "))).collect();
    println!("taken, with line ends, by {took:#?}");
    for thing in &kept {
        assert!(!thing.fields.iter().any(|field| field == "name"), "{} has a name of two lines", thing.kind);
    }
    for target in store::every_target(&world, &kept) {
        clean(&world.owner.page(&target));
        clean(&world.owner.send(Request::new("GET", &target).header("Accept", "text/csv")));
    }
}

#[test]
fn a_line_end_in_an_address_a_form_or_a_header_ends_no_header_and_no_line_of_the_log() {
    let world = World::new();
    for end in ENDS {
        let typed = encode(&format!("/x{end}X-Injected: 1{end}Set-Cookie: injected=1{end}{end}"));
        for row in world.reading() {
            let path = world.path(row);
            clean(&world.owner.page(&format!("{path}?next={typed}&q={typed}&sort={typed}")));
        }
        for path in [
            "/",
            "/subnets/",
            "/reset/",
            "/docs/",
            "/hosts/",
            "/audit/",
            "/static/",
            "/api/v1/subnets/",
            "/sign-in/provider/",
        ] {
            clean(&world.owner.page(&format!("{path}{typed}")));
            clean(&world.site.visitor().page(&format!("{path}{typed}")));
        }
        let next = format!("/x{end}X-Injected: 1");
        for (path, fields) in [
            ("/theme", vec![("theme", "dark"), ("next", &next)]),
            ("/theme", vec![("theme", &next)]),
            ("/prove", vec![("password", PASSWORD), ("next", &next)]),
            ("/subnets", vec![("name", &next), ("cidr", "10.9.0.0/16")]),
            ("/users", vec![("name", &next), ("display", &next), ("email", &next)]),
        ] {
            clean(&world.owner.form(path, &fields));
        }
        let launch = json!({ "template": world.ids["templates"], "idempotency_key": next });
        clean(&world.owner.post("/scans", &launch));
        let cookies = format!("{}; __Host-notice={typed}; __Host-theme={typed}", cookie(&world.owner));
        let request = Request::new("GET", "/").header("Accept", "text/html").header("Cookie", &cookies);
        clean(&world.site.visitor().send(request));
    }
    let injected = |line: &&str| line.starts_with("X-Injected") || line.starts_with("Set-Cookie");
    assert_eq!(world.site.logs().lines().find(injected), None, "a line of the log is the log's own");
}

/// A syslog server over TCP that keeps what it hears and closes when it has heard the end.
fn listening() -> (u16, Arc<Mutex<Vec<u8>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("it is bound").port();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&heard);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            let mut bytes = Vec::new();
            if stream.read_to_end(&mut bytes).is_ok() {
                kept.lock().expect("no one panics while holding it").extend(bytes);
            }
        }
    });
    (port, heard)
}

/// The messages in it, by the octets that each says it has (RFC 6587, 3.4.1).
fn messages(mut bytes: &[u8]) -> Vec<String> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let space = bytes.iter().position(|byte| *byte == b' ').expect("a count ends with a space");
        let count: usize = String::from_utf8_lossy(&bytes[..space]).parse().expect("a count is a number");
        let rest = &bytes[space + 1..];
        all.push(String::from_utf8(rest[..count].to_vec()).expect("a message is UTF-8"));
        bytes = &rest[count..];
    }
    all
}

fn make_receiver(owner: &Client, body: &str, port: u16) {
    let receiver = json!({ "name": body, "kind": "syslog-tcp", "address": format!("127.0.0.1:{port}"), "body": body, "enabled": true });
    let _ = owner.post("/receivers", &receiver).expect(201);
}

#[test]
fn whatever_people_write_a_message_to_a_receiver_is_one_line_with_its_own_fields() {
    let world = World::new();
    let heard = ["cef", "json"].map(|body| {
        let (port, heard) = listening();
        make_receiver(&world.owner, body, port);
        heard
    });
    let nasty =
        "x|y=z\\ \"q\" ]\nCEF:0|Evil|Evil|1|a|a|10|outcome=done suser=ada\n<0>1 - - - - - -\u{2028}end";
    let subnet = json!({ "name": "a|b=c\\d ] e", "cidr": "10.7.0.0/16", "note": nasty });
    let _ = world.owner.post("/subnets", &subnet).expect(201);
    let request = Request::new("POST", "/api/v1/sign-in").header("User-Agent", "agent|x=y\\ outcome=done");
    let body = json!({ "name": "owner", "password": PASSWORD }).to_string();
    let _ = world.visitor().send(request.body("application/json", body)).expect(200);
    for (kind, heard) in ["cef", "json"].into_iter().zip(heard) {
        let all = wait_until("both entries at the receiver", PATIENCE, || {
            let all = messages(&heard.lock().expect("no one panics while holding it"));
            let told = |word: &str| {
                all.iter()
                    .any(|line| line.contains(word) && line.contains("10.7.0.0") | word.starts_with(' '))
            };
            (told("subnet.created") && told(" sign-in ")).then_some(all)
        });
        for message in &all {
            assert!(!message.contains(char::is_control), "one line: {message:?}");
            let header: Vec<&str> = message.splitn(8, ' ').collect();
            assert!(header[0].starts_with('<') && header[0].ends_with(">1"), "{message}");
            assert_eq!((header[3], header[4], header[6]), ("portolan", "-", "-"), "{message}");
            if kind == "json" {
                let _: serde_json::Value = serde_json::from_str(header[7]).expect("the body is JSON");
                continue;
            }
            let cef = header[7];
            assert!(cef.starts_with("CEF:0|Portolan|Portolan|"), "{cef}");
            assert!(
                !cef[4..].contains("CEF:0|Evil|Evil|1|a|a|10|outcome=done"),
                "a field ended early: {cef}"
            );
            // Eight fields, by pipes that no backslash stands before; outcome and user once each.
            let extension = cef.splitn(8, '|').nth(7).expect("it has an extension");
            for key in [" outcome=", " suser=", " suid="] {
                let count = format!(" {extension}").matches(key).count();
                assert!(count <= 1, "{key} {count} times: {cef}");
            }
        }
    }
}
