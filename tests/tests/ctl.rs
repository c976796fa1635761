//! `portolan ctl` against the running appliance: as the machine's own operator, and with a token from elsewhere.

use std::fs;
use std::process::{Command, Output, Stdio};

use portolan_tests::api::text;
use portolan_tests::{Site, binaries};
use serde_json::{Value, json};

fn ctl(words: &[&str], surroundings: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binaries::portolan());
    command.arg("ctl").args(words).env_remove("PORTOLAN_URL").env_remove("PORTOLAN_PIN").stdin(Stdio::null());
    command.envs(surroundings.iter().copied()).output().expect("it can be started")
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn the_operator_of_the_machine_does_what_the_api_does() {
    let site = Site::start();
    let owner = site.set_up();
    let data = site.data().display().to_string();
    let local = |words: &[&str]| ctl(&[&["--data", &data], words].concat(), &[]);
    let made = local(&["--json", "subnets", "create", "--name", "Plant <A>", "--cidr", "10.20.0.0/16"]);
    assert!(made.status.success(), "{}", said(&made));
    let subnet: Value = serde_json::from_slice(&made.stdout).expect("JSON");
    assert_eq!(owner.get(&format!("/subnets/{}", text(&subnet, "id"))).json()["name"], "Plant <A>");
    // In the audit it is the command line, nobody's account.
    let entry = owner.audit("&action=subnet.created").remove(0);
    assert!(entry.to_string().contains(r#""kind":"cli""#), "{entry}");

    let list = local(&["subnets", "list"]);
    assert!(said(&list).contains("NAME") && said(&list).contains("Plant <A>"), "{}", said(&list));
    for number in 0..60 {
        owner.subnet(&format!("S{number}"), &format!("10.{number}.0.0/16"));
    }
    let all = local(&["--json", "subnets", "list", "--all", "--limit", "20"]);
    let all: Value = serde_json::from_slice(&all.stdout).expect("JSON");
    assert_eq!(all["items"].as_array().map(Vec::len), Some(61));

    // It has no account of its own, and decides on all but the owner's.
    let person = local(&["--json", "users", "create", "--name", "grace"]);
    let person: Value = serde_json::from_slice(&person.stdout).expect("JSON");
    let disabled = local(&["users", "disable", &text(&person, "id")]);
    assert!(disabled.status.success(), "{}", said(&disabled));
    let own = text(&owner.get("/me").json()["user"], "id");
    let refused = local(&["users", "disable", &own]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));

    let refused = local(&["subnets", "create", "--name", "x", "--cidr", "10.20.0.1/16"]);
    assert_eq!(refused.status.code(), Some(1), "{}", said(&refused));
    assert!(said(&refused).contains("--cidr: "), "{}", said(&refused));
    let gone = local(&["subnets", "delete", &text(&subnet, "id")]);
    assert!(gone.status.success(), "{}", said(&gone));
    let missing = local(&["subnets", "show", &text(&subnet, "id")]);
    assert_eq!(missing.status.code(), Some(1), "{}", said(&missing));
}

#[test]
fn a_token_from_elsewhere_is_sent_to_the_pinned_certificate_alone() {
    let site = Site::start();
    let owner = site.set_up();
    let made = owner.post("/tokens", &json!({ "name": "script", "scopes": ["subnets:view"] })).json();
    let token = text(&made, "token");
    let data = site.data();
    let pages = fs::read_to_string(data.join("manager/run/pages")).expect("it runs");
    let (url, pin) = pages.trim().split_once(' ').expect("address and pin");
    let file = data.with_file_name("token.txt");
    fs::write(&file, format!("{token}\n")).expect("it is written");
    let with_token = ["--token", file.to_str().expect("UTF-8")];
    let known = [("PORTOLAN_URL", url), ("PORTOLAN_PIN", pin)];
    let list = ctl(&[&with_token[..], &["subnets", "list"]].concat(), &known);
    assert!(list.status.success(), "{}", said(&list));
    let above = ctl(&[&with_token[..], &["scanners", "list"]].concat(), &known);
    assert_eq!(above.status.code(), Some(3), "{}", said(&above));
    // From standard input, and from nowhere else.
    let mut piped = Command::new(binaries::portolan());
    piped.args(["ctl", "--token", "-", "subnets", "list"]).envs(known);
    piped.stdin(fs::File::open(&file).expect("it is there"));
    let piped = piped.output().expect("it can be started");
    assert!(piped.status.success(), "{}", said(&piped));
    let silent = ctl(&["subnets", "list"], &[&known[..], &[("PORTOLAN_TOKEN", &token)]].concat());
    assert_eq!(silent.status.code(), Some(2), "{}", said(&silent));
    let other = "0".repeat(64);
    let stranger = ctl(
        &[&with_token[..], &["subnets", "list"]].concat(),
        &[("PORTOLAN_URL", url), ("PORTOLAN_PIN", &other)],
    );
    assert_eq!(stranger.status.code(), Some(4), "{}", said(&stranger));
    assert!(said(&stranger).contains("not the one that is pinned"), "{}", said(&stranger));
    let unpinned = ctl(&[&with_token[..], &["--url", url, "subnets", "list"]].concat(), &[]);
    assert_eq!(unpinned.status.code(), Some(2), "{}", said(&unpinned));
    let plain = ctl(&[&with_token[..], &["--url", "http://127.0.0.1:1", "subnets", "list"]].concat(), &known);
    assert!(said(&plain).contains("https:// alone"), "{}", said(&plain));
}

#[test]
fn it_says_what_there_is() {
    let nouns = said(&ctl(&[], &[]));
    assert!(nouns.contains("\n  subnets\n") && nouns.contains("\n  scans\n"), "{nouns}");
    let verbs = said(&ctl(&["scans"], &[]));
    assert!(verbs.contains("scans list") && verbs.contains("scans cancel"), "{verbs}");
    let help = said(&ctl(&["subnets", "create", "--help"], &[]));
    assert!(help.contains("--cidr TEXT") && help.contains("(needed)"), "{help}");
    assert_eq!(ctl(&["subnets", "fly"], &[]).status.code(), Some(2));
}
