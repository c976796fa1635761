//! Bad input, everywhere: a clear answer that names the field, nothing changed, nothing lost.

use portolan_tests::api::{Template, list, text};
use portolan_tests::http::{Request, Response};
use portolan_tests::{Client, Site};
use serde_json::{Value, json};

fn names(client: &Client, path: &str) -> Vec<String> {
    let page = client.get(&format!("{path}?limit=500")).expect(200).json();
    list(&page, "items").iter().map(|item| text(item, "name")).collect()
}

/// The message that a problem has for this field.
fn refusal(answer: Response, field: &str) -> String {
    let answer = answer.expect(422);
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{}", answer.describe());
    let problem = answer.json();
    let found = list(&problem, "errors").iter().find(|error| error["field"] == field);
    text(found.unwrap_or_else(|| panic!("no {field}: {}", answer.describe())), "message")
}

#[test]
fn a_subnet_that_is_none_is_refused_by_field_and_what_was_typed_stays() {
    let site = Site::start();
    let owner = site.set_up();
    for (cidr, hint) in [
        ("10.0.0.0/33", ""),
        ("10.0.0.1/24", "10.0.0.0/24"),
        ("", ""),
        ("fe80::1%eth0/64", ""),
        ("::ffff:0:0/300", ""),
    ] {
        let said = refusal(owner.post("/subnets", &json!({ "name": "x", "cidr": cidr })), "cidr");
        assert!(said.contains(hint) && !said.is_empty(), "{cidr}: {said}");
        let page = owner.form("/subnets", &[("name", "Plant <1>"), ("cidr", cidr), ("note", "")]).expect(422);
        let page = page.text().replace("&#x2f;", "/");
        assert!(page.contains("Plant &lt;1&gt;"), "what was typed is gone:\n{page}");
        assert!(cidr.is_empty() || page.contains(cidr), "what was typed is gone:\n{page}");
    }
    assert_eq!(names(&owner, "/subnets"), Vec::<String>::new());
    let said = refusal(owner.post("/subnets", &json!({ "name": "", "cidr": "10.0.0.0/24" })), "name");
    assert!(!said.is_empty());
    let _ = owner.subnet("Plant", "10.0.0.0/24");
    let said = refusal(owner.post("/subnets", &json!({ "name": "plant", "cidr": "10.1.0.0/24" })), "name");
    assert!(!said.is_empty());
    assert_eq!(names(&owner, "/subnets"), ["Plant"]);
}

#[test]
fn ports_that_are_none_are_refused_and_named() {
    let site = Site::start();
    let owner = site.set_up();
    for (ports, piece) in [
        ("0,70000,http", "0"),
        ("22,70000", "70000"),
        ("22,no-such-service", "no-such-service"),
        ("90-80", "90-80"),
        ("", ""),
    ] {
        let said = refusal(owner.post("/port-lists", &json!({ "name": "x", "ports": ports })), "ports");
        assert!(said.contains(piece) && !said.is_empty(), "{ports}: {said}");
    }
    let before = names(&owner, "/port-lists");
    let form = [("name", "Web"), ("ports", "80,443"), ("note", "")];
    let _ = owner.form("/port-lists", &form).expect(303);
    // The same form sent twice, as after "back" in a browser: one list, and the second time says why.
    let again = owner.form("/port-lists", &form).expect(422).text();
    assert!(again.contains("Web"), "{again}");
    assert_eq!(names(&owner, "/port-lists").len(), before.len() + 1);
}

#[test]
fn a_scope_that_is_empty_or_too_large_is_refused_with_its_number() {
    let site = Site::start();
    let owner = site.set_up();
    let added = owner.add_scanner("probe", &owner.vantage("Lab"));
    let base = Template {
        name: "Everything",
        subnets: vec![owner.subnet("All of IPv6", "::/0")],
        port_lists: vec![owner.port_list("All", "1-65535")],
        scanners: vec![text(&added["scanner"], "id")],
        ..Template::default()
    };
    let answer = owner.post("/templates", &base.json()).expect(422);
    // 2^128 addresses times 65535 ports: the number, however it is grouped, and a limit.
    let digits: String = answer.text().chars().filter(char::is_ascii_digit).collect();
    let probes = "22300404916163702203072254898040925737";
    assert!(digits.contains(&probes[..12]) || answer.text().contains("2.23"), "{}", answer.describe());
    assert!(answer.text().contains("limit") || answer.text().contains("at most"), "{}", answer.describe());

    let one = owner.subnet("One", "192.0.2.7/32");
    let nothing = Template { subnets: vec![one.clone()], exclusions: "192.0.2.0/24", ..base.clone() };
    let answer = owner.post("/templates", &nothing.json()).expect(422);
    assert!(list(&answer.json(), "errors").len() == 1, "{}", answer.describe());
    for key in ["subnets", "port_lists", "scanners"] {
        let mut body = Template { subnets: vec![one.clone()], ..base.clone() }.json();
        body[key] = json!([]);
        let said = refusal(owner.post("/templates", &body), key);
        assert!(!said.is_empty());
    }
    assert_eq!(names(&owner, "/templates"), Vec::<String>::new());
}

#[test]
fn a_body_that_is_no_input_is_refused_whole() {
    let site = Site::start();
    let owner = site.set_up();
    let entries = owner.audit("&class=change").len();
    let send = |kind: &str, body: Vec<u8>| {
        owner.send(Request::new("POST", "/api/v1/subnets").body(kind, body)).status
    };
    assert_eq!(send("application/json", vec![b'x'; 10 * 1024 * 1024]), 413);
    assert_eq!(send("application/x-www-form-urlencoded", vec![b'x'; 10 * 1024 * 1024]), 413);
    let refused = |status: u16| [400, 415, 422].contains(&status);
    assert!(refused(send("application/json", b"{\"name\":\"\xff\xfe\",\"cidr\":\"10.0.0.0/8\"}".to_vec())));
    assert!(refused(send("application/x-www-form-urlencoded", b"name=%ff%fe&cidr=10.0.0.0%2F8".to_vec())));
    assert!(refused(send("application/json", b"{\"name\":\"x\",".to_vec())));
    assert!(refused(send("application/json", b"[]".to_vec())));
    assert!(refused(send("text/plain", b"name=x".to_vec())));
    assert!(refused(send(
        "application/json",
        br#"{"name":"x","cidr":"10.0.0.0/8","colour":"blue"}"#.to_vec()
    )));
    let unknown = owner.post("/subnets", &json!({ "name": "x", "cidr": "10.0.0.0/8", "colour": "blue" }));
    assert!(unknown.text().contains("colour"), "{}", unknown.describe());
    assert_eq!(names(&owner, "/subnets"), Vec::<String>::new());
    assert_eq!(owner.audit("&class=change").len(), entries, "a refused input changes nothing");
}

#[test]
fn a_list_refuses_what_it_did_not_offer() {
    let site = Site::start();
    let owner = site.set_up();
    for n in 0..5 {
        let _ = owner.subnet(&format!("Subnet {n}"), &format!("10.{n}.0.0/16"));
        let _ = owner.port_list(&format!("List {n}"), &format!("{}", 80 + n));
    }
    let page = owner.get("/subnets?limit=2&sort=name").expect(200).json();
    let cursor = text(&page, "next");
    let second = owner.get(&format!("/subnets?limit=2&sort=name&cursor={cursor}")).expect(200).json();
    assert_ne!(page["items"], second["items"]);
    for path in [
        format!("/port-lists?limit=2&cursor={cursor}"),
        format!("/subnets?limit=2&sort=-name&cursor={cursor}"),
        "/subnets?cursor=nonsense".into(),
        "/subnets?limit=0".into(),
        "/subnets?limit=100000".into(),
        "/subnets?sort=colour".into(),
        "/subnets?colour=blue".into(),
    ] {
        let answer = owner.get(&path);
        assert!([400, 422].contains(&answer.status), "{path}: {}", answer.describe());
    }
    let missing = owner.get("/subnets/00000000-0000-7000-8000-000000000000").expect(404).json();
    assert!(missing["title"].is_string() && missing.get("detail") != Some(&Value::Null), "{missing}");
    let _ = owner.get("/subnets/not-an-id").expect(404);
}

#[test]
fn an_edit_of_something_changed_meanwhile_is_refused() {
    let site = Site::start();
    let owner = site.set_up();
    let id = owner.subnet("Plant", "10.0.0.0/24");
    let path = format!("/subnets/{id}");
    let shown = owner.get(&path).expect(200);
    let tag = shown.header("etag").unwrap_or_else(|| panic!("{}", shown.describe())).to_owned();
    let edit = |note: &str| json!({ "name": "Plant", "cidr": "10.0.0.0/24", "note": note });
    let _ = owner.put(&path, &tag, &edit("first")).expect(200);
    let stale = owner.put(&path, &tag, &edit("second"));
    assert!([409, 412].contains(&stale.status), "{}", stale.describe());
    assert_eq!(text(&owner.get(&path).expect(200).json(), "note"), "first");
    let without = owner.json("PUT", &path, &edit("third"));
    assert!([412, 422, 428].contains(&without.status), "{}", without.describe());
}

#[test]
fn a_changing_request_from_another_site_is_refused() {
    let site = Site::start();
    let owner = site.set_up();
    let body = json!({ "name": "x", "cidr": "10.0.0.0/8" }).to_string();
    for origin in ["cross-site", "same-site", "none"] {
        let request = Request::new("POST", "/api/v1/subnets").header("Sec-Fetch-Site", origin);
        let answer = owner.send(request.body("application/json", body.clone()));
        assert_eq!(answer.status, 403, "{origin}: {}", answer.describe());
    }
    assert_eq!(names(&owner, "/subnets"), Vec::<String>::new());
    let _ = site.visitor().post("/subnets", &json!({ "name": "x", "cidr": "10.0.0.0/8" })).expect(401);
}
