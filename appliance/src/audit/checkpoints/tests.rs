use axum::http::Method;
use rusqlite::Connection;
use serde_json::json;

use super::*;
use crate::sqlite::Opening;
use crate::test::TestSite;

fn service(store: &Store) -> Checkpoints {
    let master = crate::secrets::MasterKey::from_bytes([7; 32].into());
    Checkpoints::new(store.clone(), store.clock().clone(), CheckpointKey::of(&master))
}

async fn fill(store: &Store, count: usize) {
    let entries =
        (0..count).map(|n| Entry::created("subnet", n, &json!({ "note": format!("n{n}") }))).collect();
    store.changes(&Actor::system("manager"), move |_| Ok((entries, ()))).await.unwrap();
}

#[tokio::test]
async fn a_head_is_signed_once_and_an_empty_chain_never() {
    let store = Store::in_memory(Clock::fixed(crate::clock::Timestamp::EPOCH)).unwrap();
    let checkpoints = service(&store);
    assert_eq!(checkpoints.make(Why::Hourly).await.unwrap(), None);
    fill(&store, 3).await;
    let first = checkpoints.make(Why::Hourly).await.unwrap().unwrap();
    assert_eq!((first.head.seq, first.key), (3, checkpoints.public()));
    assert_eq!(checkpoints.make(Why::Shutdown).await.unwrap().unwrap(), first);
    assert_eq!(store.audit_head().await.unwrap().seq, 3, "signing writes no entry");
    let asked = checkpoints.ask(&Actor::system("manager")).await.unwrap().unwrap();
    assert_eq!((asked.head.seq, asked.why.as_str()), (4, Why::Asked.as_str()));
    let (page, total) = checkpoints.list(Some(4), 10).await.unwrap();
    assert_eq!((page, total), (vec![first], 2));
}

#[tokio::test]
async fn checkpoints_are_never_changed_or_deleted() {
    let store = Store::in_memory(Clock::fixed(crate::clock::Timestamp::EPOCH)).unwrap();
    fill(&store, 1).await;
    service(&store).make(Why::Hourly).await.unwrap();
    for sql in ["UPDATE audit_checkpoint SET why = 'x'", "DELETE FROM audit_checkpoint"] {
        assert!(store.note(move |tx| Ok(tx.execute(sql, [])?)).await.is_err(), "{sql}");
    }
}

/// Whoever may only add rows cannot keep a head from being signed by being there first: neither with a checkpoint of
/// his own, nor with one of ours, nor with rubbish.
#[tokio::test]
async fn a_checkpoint_that_was_there_before_its_entry_is_told_and_stops_no_signing() {
    let at = Clock::fixed(Timestamp::EPOCH).now();
    let other = CheckpointKey::of(&crate::secrets::MasterKey::from_bytes([8; 32].into()));
    for (seed, found) in
        [("theirs", "signed with another key"), ("ours", "its column seq"), ("rubbish", "belongs here")]
    {
        let store = Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap();
        let (checkpoints, actor) = (service(&store), Actor::system("manager"));
        fill(&store, 2).await;
        let ours = checkpoints.make(Why::Hourly).await.unwrap().unwrap();
        let text = match seed {
            "theirs" => {
                Checkpoint::sign(Head { seq: 4, hash: [1; 32] }, at, Why::Hourly, &other).text().to_owned()
            }
            "ours" => ours.text().to_owned(),
            _ => "x".to_owned(),
        };
        let sql = "INSERT INTO audit_checkpoint (seq, at, why, text) VALUES (4, 0, 'hourly', ?)";
        store.note(move |tx| Ok(tx.execute(sql, [text])?)).await.unwrap();
        assert_eq!(checkpoints.state().await.unwrap().last, Some(ours), "the pages go on");
        checkpoints.list(None, 10).await.unwrap();
        fill(&store, 2).await;
        checkpoints.make(Why::Hourly).await.unwrap_err();
        let (_, told) = checkpoints.state().await.unwrap().checked.unwrap();
        assert!(told.detail["found"].as_str().unwrap().contains("before there was that entry"), "{told:?}");
        let made = checkpoints.make(Why::Hourly).await.unwrap().unwrap();
        assert_eq!(
            (made.head.seq, made.key),
            (5, checkpoints.public()),
            "the entry that tells it can be signed"
        );
        let seen = checkpoints.check(&actor, None).await.unwrap().unwrap_err().to_string();
        assert!(seen.contains(found), "{seed}: {seen}");
    }
}

#[tokio::test]
async fn every_column_beside_a_checkpoint_is_compared_with_it() {
    for (column, sql) in [("at", "1, 'hourly'"), ("why", "0, 'asked'")] {
        let store = Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap();
        let checkpoints = service(&store);
        fill(&store, 2).await;
        let head = store.audit_head().await.unwrap();
        let text = Checkpoint::sign(head, Timestamp::EPOCH, Why::Hourly, &checkpoints.key).text().to_owned();
        let sql = format!("INSERT INTO audit_checkpoint (seq, at, why, text) SELECT 2, {sql}, ?");
        store.note(move |tx| Ok(tx.execute(&sql, [text])?)).await.unwrap();
        let found = checkpoints.check(&Actor::system("manager"), None).await.unwrap();
        assert_eq!(found, Err(Wrong::Column(1, column)));
    }
}

#[tokio::test]
async fn one_check_runs_at_a_time_and_the_last_head_is_signed_when_none_does() {
    let store = Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap();
    let (checkpoints, actor) = (service(&store), Actor::system("manager"));
    fill(&store, 3).await;
    let running = checkpoints.begin(actor.clone(), None).unwrap();
    assert!(checkpoints.state().await.unwrap().checking.is_some() || running.is_finished());
    let alone = checkpoints.one.clone().lock_owned().await;
    assert!(running.await.unwrap().unwrap().is_ok());
    assert!(matches!(checkpoints.begin(actor.clone(), None), Err(Error::Conflict(_))));
    drop(alone);
    let (asker, stop) = crate::roles::Stop::channel();
    let kept = tokio::spawn(keep(checkpoints.clone(), stop.asked()));
    while checkpoints.list(None, 1).await.unwrap().1 == 0 {
        tokio::task::yield_now().await;
    }
    fill(&store, 1).await;
    asker.ask();
    kept.await.unwrap();
    let (head, last) = (store.audit_head().await.unwrap(), checkpoints.state().await.unwrap().last.unwrap());
    assert_eq!(
        (last.head, last.why.as_str()),
        (head, Why::Shutdown.as_str()),
        "nothing was written after it"
    );
    assert!(checkpoints.begin(actor, None).is_err(), "no check begins any more");
}

#[tokio::test]
async fn a_check_that_is_given_up_ends_on_the_database_too() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let store = Store::open(&path, Opening::Owner, Clock::fixed(Timestamp::EPOCH)).unwrap();
    let (began, begun) = tokio::sync::oneshot::channel();
    let (told, ended) = tokio::sync::oneshot::channel();
    let forever = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
    let asking = tokio::spawn(async move {
        let ask = move |c: &Connection| {
            began.send(()).unwrap();
            let outcome = c.query_row(forever, [], |row| row.get::<_, i64>(0));
            told.send(outcome.is_err()).unwrap();
            Ok(())
        };
        store.read_long(ask).await
    });
    begun.await.unwrap();
    asking.abort();
    assert!(ended.await.unwrap());
}

#[tokio::test]
async fn a_check_notes_what_it_found() {
    let store = Store::in_memory(Clock::fixed(crate::clock::Timestamp::EPOCH)).unwrap();
    let (checkpoints, actor) = (service(&store), Actor::system("manager"));
    fill(&store, 3).await;
    checkpoints.make(Why::Hourly).await.unwrap();
    assert_eq!(checkpoints.check(&actor, None).await.unwrap().unwrap().count, 3);
    let forged = Head { seq: 2, hash: [1; 32] };
    let found = checkpoints.check(&actor, Some(forged)).await.unwrap();
    assert_eq!(found, Err(Wrong::Chain(Break::Known { seq: 2 })));
    let (seq, record) = checkpoints.state().await.unwrap().checked.unwrap();
    assert_eq!((seq, record.action.as_str(), record.outcome), (5, "audit.broken", Outcome::Failed));
}

#[tokio::test]
async fn who_has_the_file_but_not_the_key_is_found_by_the_checkpoints_in_it() {
    let rewrite = "UPDATE audit_entry SET entry = replace(entry, 'n1', 'n9') WHERE seq = 2";
    let key = service(&Store::in_memory(Clock::fixed(crate::clock::Timestamp::EPOCH)).unwrap()).public();
    for (sql, found) in [
        (rewrite, "entry 2 was changed"),
        ("DELETE FROM audit_entry WHERE seq > 1", "its end was cut off"),
        ("UPDATE audit_checkpoint SET text = replace(text, 'hourly', 'asked')", "signature does not hold"),
        ("UPDATE audit_checkpoint SET text = 'x'", "belongs here"),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.db");
        let store = Store::open(&path, Opening::Owner, Clock::fixed(crate::clock::Timestamp::EPOCH)).unwrap();
        fill(&store, 3).await;
        service(&store).make(Why::Hourly).await.unwrap();
        let intruder = Connection::open(&path).unwrap();
        intruder
            .execute_batch(
                "DROP TRIGGER audit_entry_no_update; DROP TRIGGER audit_entry_no_delete;
                 DROP TRIGGER audit_checkpoint_no_update;",
            )
            .unwrap();
        intruder.execute_batch(sql).unwrap();
        let seen = store.read(move |c| check(c, Some(&key), None)).await.unwrap().unwrap_err().to_string();
        assert!(seen.contains(found), "{sql}: {seen}");
    }
}

#[tokio::test]
async fn the_pages_sign_show_and_test() {
    let site = TestSite::new().await;
    let empty = site.page("/audit/checkpoints").await;
    assert!(empty.text.contains("None yet"), "{}", empty.text);
    let made = site.send_json(Method::POST, "/audit/checkpoints", &json!({})).await;
    assert_eq!(made.status, 201, "{}", made.text);
    let made = made.json();
    let (seq, text) = (made["seq"].as_u64().unwrap(), made["text"].as_str().unwrap());
    let shown = site.page(&format!("/audit/checkpoints/{seq}")).await;
    assert!(shown.text.contains("portolan-checkpoint: 1"));
    let tested =
        site.send_json(Method::POST, "/audit/checkpoints/test", &json!({ "checkpoint": text })).await.json();
    assert_eq!((&tested["whole"], &tested["against"]["seq"]), (&json!(true), &json!(seq)));
    assert!(site.page("/audit/checkpoints").await.text.contains("Whole"));
    for (bad, what) in [
        (text.replace("entries: ", "entries: 1"), "signature does not hold"),
        ("hello".into(), "belongs here"),
    ] {
        let answer =
            site.send_json(Method::POST, "/audit/checkpoints/test", &json!({ "checkpoint": bad })).await;
        assert_eq!((answer.status.as_u16(), answer.fields()), (422, vec!["checkpoint".to_owned()]));
        assert!(answer.text.contains(what), "{}", answer.text);
    }
    let other = Checkpoint::sign(
        Head { seq: 1, hash: [1; 32] },
        crate::clock::Timestamp::EPOCH,
        Why::Asked,
        &CheckpointKey::of(&crate::secrets::MasterKey::from_bytes([8; 32].into())),
    );
    let answer =
        site.send_json(Method::POST, "/audit/checkpoints/test", &json!({ "checkpoint": other.text() })).await;
    assert!(answer.status == 422 && answer.text.contains("another appliance"), "{}", answer.text);
    for path in ["/audit/checkpoints/0", "/audit/checkpoints/x"] {
        assert_eq!(site.get(path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn compliance_tests_a_checkpoint_and_reads_no_raw_audit() {
    let site = TestSite::new().await;
    let signed = site.send_json(Method::POST, "/audit/checkpoints", &json!({})).await.json();
    let grace = site.person("grace", &["compliance"]).await;
    let given = json!({ "checkpoint": signed["text"] });
    let tested = grace.send_json(Method::POST, "/audit/checkpoints/test", &given).await;
    assert_eq!((tested.status.as_u16(), &tested.json()["whole"]), (200, &json!(true)), "{}", tested.text);
    for page in
        ["/audit/checkpoints", "/audit/checkpoints/test", &format!("/audit/checkpoints/{}", signed["seq"])]
    {
        let shown = grace.page(page).await;
        assert_eq!(shown.status.as_u16(), 200, "{page}: {}", shown.text);
        let raw = ["href=\"/audit\"".to_owned(), format!("href=\"/audit/{}\"", signed["seq"])];
        assert!(
            !raw.iter().any(|link| shown.text.contains(link.as_str())),
            "{page}: no link that is refused"
        );
    }
    assert!(grace.page("/audit/compliance").await.text.contains("/audit/checkpoints"));
    for refused in ["/audit", "/audit/1", "/audit/export"] {
        assert_eq!(grace.get(refused).await.status.as_u16(), 403, "{refused}");
    }
    let sign = grace.send_json(Method::POST, "/audit/checkpoints", &json!({})).await;
    assert_eq!(sign.status.as_u16(), 403, "nor does it sign");
    for other in ["operator", "viewer"] {
        let who = site.person(other, &[other]).await;
        assert_eq!(who.get("/audit/checkpoints").await.status.as_u16(), 403, "{other}");
    }
}

/// The chain says whose signature a head must have: neither the old key signs after its renewal, nor one that somebody wrote
/// an entry about.
#[tokio::test]
async fn after_a_renewal_old_checkpoints_count_and_the_old_key_signs_no_more() {
    let store = Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap();
    let master = crate::secrets::MasterKey::from_bytes([7; 32].into());
    let (random, actor) = (crate::ids::Random::seeded(1), Actor::cli("admin"));
    fill(&store, 2).await;
    let before = service(&store).make(Why::Hourly).await.unwrap().unwrap();
    keys::renew(&store, &master, &random, &actor).await.unwrap();
    let opened = master.clone();
    let with_new = store.read(move |db| crate::secrets::keyring::with_lasting(db, &opened)).await.unwrap();
    let new = CheckpointKey::of(&with_new);
    let checkpoints = Checkpoints::new(store.clone(), store.clock().clone(), new.clone());
    assert_ne!(new.public(), service(&store).public());
    let last = checkpoints.state().await.unwrap().last.unwrap();
    assert_eq!((last.head, last.key), (store.audit_head().await.unwrap(), new.public()));
    assert!(checkpoints.signed(&before).await.unwrap() && checkpoints.signed(&last).await.unwrap());
    assert!(checkpoints.check(&actor, Some(before.head)).await.unwrap().is_ok());
    assert_eq!(service(&store).check(&actor, None).await.unwrap(), Err(Wrong::Renewal(3)), "by the old key");

    // Whoever has the old key signs a head of after it.
    let head = store.audit_head().await.unwrap();
    let text =
        Checkpoint::sign(head, Timestamp::EPOCH, Why::Hourly, &CheckpointKey::of(&master)).text().to_owned();
    let sql = "INSERT INTO audit_checkpoint (seq, at, why, text) VALUES (?, 0, 'hourly', ?)";
    store.note(move |tx| Ok(tx.execute(sql, (head.seq, text))?)).await.unwrap();
    assert_eq!(checkpoints.check(&actor, None).await.unwrap(), Err(Wrong::OtherKey(head.seq)));

    // Whoever may append entries says that the key was renewed once more, to theirs.
    let theirs = portolan_scanner::wire::base64::encode(&[9; 32]);
    let ours = portolan_scanner::wire::base64::encode(&new.public());
    let entry = Entry::event(keys::RENEWED, &json!({ "old": ours, "new": theirs }));
    store.change(&actor, move |_| Ok((entry, ()))).await.unwrap();
    let seq = store.audit_head().await.unwrap().seq;
    assert_eq!(checkpoints.check(&actor, None).await.unwrap(), Err(Wrong::Renewal(seq)));
}
