use std::io::Write as _;

use axum::http::Method;
use serde_json::{Value, json};

use super::verify::{Verified, Wrong, verify};
use crate::audit::chain::{Break, Head};
use crate::audit::{Actor, Entry};
use crate::test::TestSite;
use crate::web::csv;

/// What someone types to have it run by whoever opens it.
const FORMULA: &str = "=HYPERLINK(\"https://evil.example\",\"x\")";

/// A site with thirty entries more, every third of them a refusal, one with a formula in each of its texts.
async fn site() -> TestSite {
    let site = TestSite::new().await;
    for n in 0..30 {
        let entry = if n % 3 == 0 {
            Entry::sign_in("sign-in", &json!({ "n": n })).outcome(crate::audit::Outcome::Refused)
        } else {
            Entry::created("subnet", n, &json!({ "note": "one, \"two\"\nthree", "n": n }))
        };
        let actor = Actor::nobody(format!("eve{n}")).with_agent("curl/8");
        site.app.store.change(&actor, move |_| Ok((entry, ()))).await.unwrap();
    }
    let entry = Entry::created(FORMULA, FORMULA, &json!({ FORMULA: FORMULA })).action(FORMULA);
    let actor = Actor::nobody(FORMULA).by(FORMULA).with_agent(FORMULA);
    site.app.store.change(&actor, move |_| Ok((entry, ()))).await.unwrap();
    site
}

async fn export(site: &TestSite, body: Value) -> String {
    let answer = site.send_json(Method::POST, "/audit/export", &body).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let name = "attachment; filename=\"portolan-audit-2026-11-22-";
    assert!(answer.header("content-disposition").starts_with(name));
    answer.text
}

fn check(text: &str) -> Result<Verified, Wrong> {
    verify(text.as_bytes(), None, None)
}

#[tokio::test]
async fn a_whole_export_holds_in_both_forms_and_is_itself_its_last_entry() {
    let site = site().await;
    for format in ["jsonl", "csv"] {
        let text = export(&site, json!({ "format": format })).await;
        let head = site.app.store.audit_head().await.unwrap();
        let found = check(&text).unwrap_or_else(|wrong| panic!("{wrong}: {text}"));
        assert_eq!((found.entry, found.left_out, found.checkpoint.head), (head.seq, 0, head));
        assert_eq!((found.by.as_str(), found.fit), ("ada", head.seq - 1));
        let key = site.app.checkpoints.public();
        assert!(verify(text.as_bytes(), Some(&key), Some(head)).is_ok());
        assert!(matches!(verify(text.as_bytes(), Some(&[1; 32]), None), Err(Wrong::Key(_))));
        let other = Head { seq: 3, hash: [1; 32] };
        assert!(matches!(
            verify(text.as_bytes(), None, Some(other)),
            Err(Wrong::Chain(Break::Known { seq: 3 }))
        ));
        let later = Head { seq: head.seq + 1, hash: [1; 32] };
        assert!(matches!(verify(text.as_bytes(), None, Some(later)), Err(Wrong::Chain(Break::Head { .. }))));
        let entry = site.get(&format!("/audit/{}", head.seq)).await.json();
        assert_eq!(entry["detail"], json!({ "entries": head.seq - 1, "filter": {}, "format": format }));
        assert_eq!((&entry["class"], &entry["action"]), (&json!("access"), &json!("audit.exported")));
    }
}

#[tokio::test]
async fn a_filtered_export_still_leads_to_its_checkpoint_and_says_how_many_fit() {
    let site = site().await;
    for format in ["jsonl", "csv"] {
        for (query, filter) in [
            ("class=sign-in&outcome=refused", json!({ "class": "sign-in", "outcome": "refused" })),
            ("q=two+three", json!({ "q": "two three" })),
            ("actor=nobody+at+all", json!({ "actor": "nobody at all" })),
            ("action=subnet.*&to=2026-11-22", json!({ "action": "subnet.*", "to": "2026-11-22" })),
        ] {
            let fit = site.get(&format!("/audit?{query}")).await.json()["total"].as_u64().unwrap();
            let mut body = filter.clone();
            body["format"] = json!(format);
            let text = export(&site, body).await;
            let found = check(&text).unwrap_or_else(|wrong| panic!("{wrong}: {text}"));
            assert_eq!((found.fit, found.left_out), (fit, found.checkpoint.head.seq - fit - 1), "{filter}");
        }
    }
}

/// Every line of an export, changed, taken out, doubled or moved, and the cover pointed elsewhere: each is found.
#[tokio::test]
async fn whatever_is_done_to_an_export_is_found() {
    let site = site().await;
    for format in ["jsonl", "csv"] {
        for filter in [json!({}), json!({ "class": "sign-in" })] {
            let mut body = filter.clone();
            body["format"] = json!(format);
            let text = export(&site, body).await;
            assert!(check(&text).is_ok());
            let lines: Vec<&str> = text.split_inclusive('\n').collect();
            let mut tried = 0;
            for at in 0..lines.len() {
                let with = |line: &str| {
                    let mut all: Vec<&str> = lines.clone();
                    all[at] = line;
                    all.concat()
                };
                let mut all = lines.clone();
                all.swap(at, (at + 1) % lines.len());
                for bad in [
                    with(""),
                    with(&lines[at].repeat(2)),
                    with(&lines[at].replacen("eve", "bob", 1)),
                    with(&lines[at].replacen("refused", "done", 1)),
                    with(&lines[at].replacen('1', "2", 1)),
                    with(&lines[at].replacen("sign-in", "change", 1)),
                    with(&lines[at].replacen('A', "B", 1)),
                    lines[..at].concat(),
                    lines[at..].concat(),
                    all.concat(),
                ] {
                    if bad != text {
                        tried += 1;
                        assert!(check(&bad).is_err(), "{format} {filter} line {at}: {bad}");
                    }
                }
            }
            assert!(tried > 50, "{tried}");
            for end in [1, 2, 40, text.len() / 2] {
                assert!(check(&text[..text.len() - end]).is_err());
            }
        }
    }
}

#[tokio::test]
async fn a_forged_entry_with_its_hash_made_anew_is_found_even_before_one_that_is_left_out() {
    let site = site().await;
    let text = export(&site, json!({ "format": "jsonl", "class": "sign-in" })).await;
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    // An entry that is followed by digests: the forger may write whatever hash they like.
    let at = lines.iter().position(|line| line.contains("eve3")).unwrap();
    let line: Value = serde_json::from_str(lines[at]).unwrap();
    let entry = crate::audit::chain::canonical(line["entry"].clone()).unwrap().replace("eve3", "adam");
    let digests: Value = serde_json::from_str(lines[at - 1]).unwrap();
    assert!(digests["digests"].is_string() && lines[at + 1].contains("digests"));
    // The hash before it is not in the file: the forger follows the chain as a verifier does.
    let (prev, seq) = (head_at(&lines[..at]), line["seq"].as_u64().unwrap());
    let forged = super::form::json_line(seq, &crate::audit::chain::hash(&prev, seq, &entry), &entry);
    let mut all = lines.clone();
    all[at] = &forged;
    let wrong = check(&all.concat()).unwrap_err().to_string();
    assert!(wrong.contains("was changed"), "{wrong}");
}

/// The hash of the last entry of these lines of JSON.
fn head_at(lines: &[&str]) -> [u8; 32] {
    let mut verifier = crate::audit::chain::Verifier::towards(None);
    for line in &lines[1..] {
        let line: Value = serde_json::from_str(line).unwrap();
        if let Some(digests) = line["digests"].as_str() {
            for digest in portolan_scanner::wire::base64::decode(digests).unwrap().as_chunks::<32>().0 {
                verifier.left_out(digest).unwrap();
            }
        } else {
            let entry = crate::audit::chain::canonical(line["entry"].clone()).unwrap();
            verifier.next(&verifier.at().link(entry)).unwrap();
        }
    }
    verifier.at().hash
}

#[tokio::test]
async fn no_cell_of_a_table_is_run_by_a_spreadsheet() {
    let site = site().await;
    let text = export(&site, json!({ "format": "csv" })).await;
    let (mut file, mut seen) = (text.as_bytes(), 0);
    while let Some(cells) = csv::read(&mut file, 1_000_000).unwrap() {
        for cell in cells {
            assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{cell}");
            seen += usize::from(cell.starts_with("'=HYPERLINK"));
        }
    }
    assert_eq!(seen, 6, "name, method, agent, action, resource and its id");
}

#[tokio::test]
async fn the_page_counts_and_refuses_by_name() {
    let site = site().await;
    let page = site.page("/audit/export?class=sign-in&outcome=refused").await;
    assert!(page.status.is_success() && page.text.contains("10"), "{}", page.text);
    for (body, field) in [
        (json!({}), "format"),
        (json!({ "format": "xml" }), "format"),
        (json!({ "format": "csv", "from": "x" }), "from"),
        (json!({ "format": "csv", "source": "x" }), "source"),
        (json!({ "format": "csv", "q": "a ".repeat(20) }), "q"),
        (json!({ "format": "csv", "limit": 1 }), "limit"),
    ] {
        let before = site.app.store.audit_head().await.unwrap();
        let answer = site.send_json(Method::POST, "/audit/export", &body).await;
        assert_eq!((answer.status.as_u16(), answer.fields()), (422, vec![field.to_owned()]), "{body}");
        assert_eq!(site.app.store.audit_head().await.unwrap(), before, "{body}");
    }
    let again =
        site.post_form("/audit/export", &[("format", "csv"), ("from", "<b>x"), ("actor", "ada")]).await;
    assert!(again.status == 422 && again.text.contains("value=\"&lt;b&gt;x\""), "{}", again.text);
    let form = [("format", "csv"), ("class", ""), ("actor", ""), ("from", "")];
    let file = site.post_form("/audit/export", &form).await;
    assert!(check(&file.text).is_ok(), "what a form leaves empty is not asked");
}

#[test]
fn what_is_no_export_is_told_apart_from_one_that_was_changed() {
    for other in ["", "hello\n", "{\"a\":1}\n", "a,b\n", "\u{feff}x\n"] {
        assert!(matches!(check(other), Err(Wrong::Other | Wrong::Cover)), "{other:?}: {:?}", check(other));
    }
    let mut packed = Vec::new();
    packed.write_all(b"\x1f\x8b\xff\n").unwrap();
    assert!(matches!(verify(packed.as_slice(), None, None), Err(Wrong::Read(_))));
}

#[test]
fn the_published_example_is_what_we_write() {
    use super::form::{Cover, Format, Speller, VERSION};
    use crate::audit::chain::{canonical, digest};
    use crate::audit::checkpoint::{Checkpoint, Why};
    use crate::audit::filter::Filter;
    use crate::audit::{Class, Outcome, Record};
    use crate::clock::Timestamp;
    use crate::secrets::MasterKey;
    use crate::secrets::signing::CheckpointKey;

    let page = include_str!("../../../../docs/formats/audit-export.md");
    let at = Timestamp::parse("2026-11-22T10:00:00Z").unwrap();
    let filter = Filter { class: Some(Class::SignIn), ..Filter::default() };
    let actor = Actor::user("01932f8e-7a10-7c41-9b2e-000000000001".parse().unwrap(), "ada").by("session");
    let record = |class: Class, action: &str, detail: Value| Record {
        at,
        class,
        actor: actor.clone(),
        action: action.into(),
        resource: "audit".into(),
        resource_id: String::new(),
        outcome: Outcome::Done,
        changes: Vec::new(),
        detail,
    };
    let told = json!({ "entries": 1, "filter": filter, "format": "jsonl" });
    let mut head = Head::EMPTY;
    let links = [
        record(Class::SignIn, "sign-in", json!(null)),
        record(Class::Change, "audit.verified", json!(null)),
        record(Class::Access, "audit.exported", told),
    ]
    .map(|record| {
        let link = head.link(canonical(serde_json::to_value(record).unwrap()).unwrap());
        head = Head { seq: link.seq, hash: link.hash };
        link
    });
    let key = CheckpointKey::of(&MasterKey::from_bytes([7; 32].into()));
    let signed = Checkpoint::sign(head, at, Why::Export, &key);
    let (checkpoint, key) = (signed.text().to_owned(), portolan_scanner::wire::base64::encode(&signed.key));
    let cover = Cover { checkpoint, entry: 3, filter, key, version: VERSION };
    let mut speller = Speller::new(Format::Jsonl, &cover).unwrap();
    let mut text = speller.begin();
    text += &speller.entry(&links[0]).unwrap();
    text += &speller.left_out(2, digest(&links[1].entry));
    text += &speller.entry(&links[2]).unwrap();
    text += &speller.end();
    assert_eq!(check(&text).unwrap().left_out, 1);
    assert!(page.contains(&format!("```\n{text}```")), "not on the page:\n{text}");
}
