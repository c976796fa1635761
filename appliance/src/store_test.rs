//! What of config.db holds by construction.

use serde_json::json;

use super::*;

fn store() -> Store {
    Store::in_memory(Clock::fixed(Timestamp::EPOCH)).unwrap()
}

fn set(tx: &Transaction, name: &str) -> Result<usize> {
    Ok(tx.execute("INSERT INTO setting (name, value) VALUES (?, '1')", [name])?)
}

async fn settings(store: &Store) -> i64 {
    store.read(|c| Ok(c.query_row("SELECT count(*) FROM setting", [], |r| r.get(0))?)).await.unwrap()
}

#[tokio::test]
async fn a_change_and_its_entry_come_together_or_not_at_all() {
    let store = store();
    let actor = Actor::system("manager");
    let refused = store.change(&actor, |tx| {
        set(tx, "a")?;
        Err::<(Entry, ()), _>(Error::conflict("no"))
    });
    refused.await.unwrap_err();
    assert_eq!((settings(&store).await, store.audit_head().await.unwrap()), (0, Head::EMPTY));

    let done = store.change(&actor, |tx| {
        set(tx, "a")?;
        Ok((Entry::created("setting", "a", &json!({ "value": 1 })), ()))
    });
    done.await.unwrap();
    assert_eq!((settings(&store).await, store.audit_head().await.unwrap().seq), (1, 1));
}

#[tokio::test]
async fn a_change_without_an_entry_is_refused_and_no_change_needs_none() {
    let store = store();
    let actor = Actor::system("manager");
    let silent = store.changes(&actor, |tx| Ok((vec![], set(tx, "a")?))).await;
    assert!(matches!(silent, Err(Error::Internal(_))));
    assert_eq!(settings(&store).await, 0);
    store.changes(&actor, |_| Ok((vec![], ()))).await.unwrap();
    assert_eq!(store.audit_head().await.unwrap(), Head::EMPTY);
}

#[tokio::test]
async fn a_note_reaches_sessions_and_nothing_else() {
    let store = store();
    store.note(|tx| Ok(tx.execute("DELETE FROM session", [])?)).await.unwrap();
    store.note(|tx| Ok(tx.execute("UPDATE user SET last_seen = 1", [])?)).await.unwrap();
    for sql in [
        "UPDATE user SET is_owner = 1",
        "UPDATE user SET last_seen = 1, status = 'active'",
        "INSERT INTO setting (name, value) VALUES ('a', '1')",
        "DELETE FROM user",
        "DROP TABLE session",
        "PRAGMA foreign_keys = off",
    ] {
        assert!(store.note(move |tx| Ok(tx.execute_batch(sql)?)).await.is_err(), "{sql}");
    }
    store.note(|_| -> Result<()> { panic!("on purpose") }).await.unwrap_err();
    let actor = Actor::system("manager");
    let entry = |tx: &Transaction| Ok((Entry::event("x.y", &json!(null)), set(tx, "a")?));
    store.change(&actor, entry).await.unwrap();
}

#[tokio::test]
async fn while_an_update_is_on_trial_people_change_nothing_and_are_written_down() {
    let folder = tempfile::tempdir().unwrap();
    let flag = folder.path().join("trial");
    let store = store().unless_on_trial(flag.clone());
    let change = |name: &'static str| {
        move |tx: &Transaction| {
            set(tx, name)?;
            Ok((Entry::created("setting", name, &json!({ "value": 1 })), ()))
        }
    };
    let person = Actor::cli("admin");
    store.change(&person, change("a")).await.unwrap();
    std::fs::write(&flag, "").unwrap();
    let refused = store.change(&person, change("b")).await;
    assert!(matches!(refused, Err(Error::OnTrial)), "{refused:?}");
    let told = |tx: &Transaction| {
        tx.execute("UPDATE user SET last_seen = 1", [])?;
        tx.execute("UPDATE totp SET last_step = 1", [])?;
        tx.execute("DELETE FROM session", [])?;
        Ok((Entry::sign_in("sign-in", &json!({ "words": "to be found" })), ()))
    };
    store.change(&person, told).await.unwrap();
    let found = "SELECT count(*) FROM audit_text WHERE audit_text MATCH 'found'";
    let found: i64 = store.read(move |c| Ok(c.query_row(found, [], |row| row.get(0))?)).await.unwrap();
    assert_eq!(found, 1);
    store.change(&Actor::system("dispatcher"), change("c")).await.unwrap();
    std::fs::remove_file(&flag).unwrap();
    store.change(&person, change("d")).await.unwrap();
    assert_eq!((settings(&store).await, store.audit_head().await.unwrap().seq), (3, 4));
}

#[tokio::test]
async fn the_audit_refuses_update_delete_replace_and_gaps() {
    let store = store();
    let actor = Actor::system("manager");
    for _ in 0..2 {
        store.change(&actor, |_| Ok((Entry::event("x.y", &json!(null)), ()))).await.unwrap();
    }
    for sql in [
        "UPDATE audit_entry SET action = 'z'",
        "DELETE FROM audit_entry",
        "REPLACE INTO audit_entry SELECT * FROM audit_entry WHERE seq = 1",
        "INSERT OR REPLACE INTO audit_entry SELECT * FROM audit_entry WHERE seq = 2",
        "INSERT INTO audit_entry SELECT 9, at, class, actor_kind, actor_id, actor_name, method, agent, source,
           action, resource, resource_id, outcome, entry, hash, hash FROM audit_entry WHERE seq = 2",
        "INSERT INTO audit_entry SELECT NULL, at, class, actor_kind, actor_id, actor_name, method, agent,
           source, action, resource, resource_id, outcome, entry, hash, hash FROM audit_entry WHERE seq = 2",
    ] {
        let tried = store.change(&actor, move |tx| {
            tx.execute_batch(sql)?;
            Ok((Entry::event("x.y", &json!(null)), ()))
        });
        assert!(tried.await.is_err(), "{sql}");
    }
    let whole = store.read(|c| audit::store::verify(c, None)).await.unwrap().unwrap();
    assert_eq!(whole.count, 2);
}

#[tokio::test]
async fn two_openings_of_one_file_keep_one_chain() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("config.db");
    let clock = Clock::fixed(Timestamp::EPOCH);
    let manager = Store::open(&path, Opening::Owner, clock.clone()).unwrap();
    let dispatcher = Store::wait(&path, clock, Duration::ZERO).await.unwrap();
    let both = [("manager", manager.clone()), ("dispatcher", dispatcher)].map(|(name, store)| {
        tokio::spawn(async move {
            for _ in 0..20 {
                let entry = |_: &Transaction| Ok((Entry::event("x.y", &json!(null)), ()));
                store.change(&Actor::system(name), entry).await.unwrap();
            }
        })
    });
    for one in both {
        one.await.unwrap();
    }
    let head = manager.audit_head().await.unwrap();
    let whole = manager.read(move |c| audit::store::verify(c, Some(head))).await.unwrap().unwrap();
    assert_eq!(whole.count, 40);
}
