//! Another site's page in the browser of someone who is signed in here.

use portolan_tests::Line;
use portolan_tests::http::Request;
use portolan_tests::site::PASSWORD;

use serde_json::json;

use crate::world::{World, elsewhere, path_with, provider};

const FORM: &str = "application/x-www-form-urlencoded";

/// A request that carries the owner's cookie, marked as browsers mark it.
fn marked(method: &str, target: &str, cookie: &str, marks: &[(&str, &str)]) -> Request {
    let request = Request::new(method, target).header("Accept", "application/json").header("Cookie", cookie);
    marks.iter().fold(request, |request, (name, value)| request.header(name, value))
}

#[test]
fn no_route_does_anything_for_another_sites_page() {
    let world = World::new();
    let cookie = world.cookie();
    let mut line = Line::new(world.owner.endpoint().clone(), None);
    let own = format!("https://{}", world.owner.endpoint().address);
    let (plain, longer) = (own.replace("https", "http"), format!("{own}.evil.example"));
    let marks: [&[(&str, &str)]; 9] = [
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")],
        &[("Sec-Fetch-Site", "same-site")],
        &[("Sec-Fetch-Site", "none")],
        &[("Sec-Fetch-Site", "cross-site"), ("Origin", &own)],
        &[("Origin", "https://evil.example")],
        &[("Origin", "null")],
        &[("Origin", &plain)],
        &[("Origin", &longer)],
        &[],
    ];
    let before = world.told();
    let mut tried = 0;
    for row in world.changing() {
        for target in row.targets(&world.path(row)) {
            for marks in marks {
                let request = marked(&row.method, &target, &cookie, marks).body(FORM, "");
                let answer = line.send(&request).expect("it answers");
                let refused = answer.status == 403 && answer.json()["type"] == "/docs/errors#cross-site";
                assert!(refused, "{marks:?} {}", answer.describe());
                tried += 1;
            }
        }
    }
    assert_eq!(world.told(), before, "nothing was changed, and nobody was signed out");
    println!("{tried} requests of another site's page, all refused");

    // Nobody is signed in by another site's form either.
    let sign_in = marked("POST", "/sign-in", "", &[("Sec-Fetch-Site", "cross-site")]);
    let answer = line.send(&sign_in.body(FORM, "name=owner&password=x")).expect("it answers");
    assert_eq!(answer.status, 403, "{}", answer.describe());
    // What is refused above is refused for its mark alone.
    let subnet = "name=Own&cidr=10.9.0.0%2F16";
    for marks in [&[("Sec-Fetch-Site", "same-origin")][..], &[("Origin", own.as_str())][..]] {
        let answer = line.send(&marked("POST", "/subnets", &cookie, marks).body(FORM, subnet));
        assert!([201, 422].contains(&answer.expect("it answers").status));
    }
    assert_ne!(world.told(), before, "our own page's form was taken");
}

#[test]
fn another_site_reads_no_answer_and_a_look_changes_nothing() {
    let world = World::new();
    let cookie = world.cookie();
    let mut line = Line::new(world.owner.endpoint().clone(), None);
    let evil = [("Sec-Fetch-Site", "cross-site"), ("Origin", "https://evil.example")];
    let before = world.told();
    for row in &world.rows {
        let path = world.path(row);
        let asked = marked("OPTIONS", &path, &cookie, &evil)
            .header("Access-Control-Request-Method", &row.method)
            .header("Access-Control-Request-Headers", "content-type, authorization");
        let mut answers = vec![line.send(&asked).expect("it answers").expect(405)];
        if !row.changes() {
            for more in ["", "?_method=DELETE", "?_method=POST&name=x"] {
                let request = marked("GET", &format!("{path}{more}"), &cookie, &evil)
                    .header("X-HTTP-Method-Override", "DELETE")
                    .header("X-Method-Override", "POST");
                answers.push(line.send(&request).expect("it answers"));
            }
        }
        for answer in answers {
            let allowed = answer.headers.iter().find(|(name, _)| name.starts_with("access-control-"));
            assert_eq!(allowed, None, "{}", answer.describe());
            assert!(answer.status < 500, "{}", answer.describe());
        }
    }
    assert_eq!(world.told(), before);
    let _ = world.owner.get("/me").expect(200);
}

#[test]
fn pictures_on_another_sites_page_lock_no_network_out_and_write_nothing() {
    let world = World::new();
    // Someone may come back from it.
    let path = format!("/providers/{}", world.ids["providers"]);
    let tag = world.owner.get(&path).expect(200).header("etag").expect("it has a version").to_owned();
    let mut offered = provider();
    offered["enabled"] = true.into();
    let _ = world.owner.put(&path, &tag, &offered).expect(200);
    let from = elsewhere();
    let mut line = Line::new(world.owner.endpoint().clone(), Some(from));
    let mut wrong = world.ids.clone();
    let _ = wrong.insert("reset", "nothing".to_owned());
    let before = world.told();
    let mut tried = 0;
    // More often than wrong ones are taken in a minute.
    for _ in 0..12 {
        for row in world.reading().filter(|row| row.access == "public") {
            for target in row.targets(&path_with(row, &wrong)) {
                for (dest, query) in [("image", ""), ("iframe", "?code=a&state=b"), ("empty", "")] {
                    let request = Request::new("GET", &format!("{target}{query}"))
                        .header("Accept", "*/*")
                        .header("Sec-Fetch-Site", "cross-site")
                        .header("Sec-Fetch-Dest", dest);
                    let answer = line.send(&request).expect("it answers");
                    assert!(answer.status < 500 && answer.status != 429, "{}", answer.describe());
                    tried += 1;
                }
            }
        }
    }
    assert!(tried > 300, "{tried}");
    assert_eq!(world.told(), before, "nobody there tried anything");
    let reader = world.site.visitor().impatient().on_one_line(Some(from));
    let _ = reader.post("/sign-in", &json!({ "name": "owner", "password": PASSWORD })).expect(200);
}
