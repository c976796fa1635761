//! The rules of accounts, through the routes that a person and a script use.

use crate::test::{PASSWORD, TestSite};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

const ADMIN: &str = "00000000-0000-7000-8000-000000000001";
const OPERATOR: &str = "00000000-0000-7000-8000-000000000002";
const VIEWER: &str = "00000000-0000-7000-8000-000000000003";

async fn made(site: &TestSite, body: Value) -> Value {
    let answer = site.send_json(Method::POST, "/users", &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{body}: {}", answer.text);
    answer.json()
}

fn id(account: &Value) -> &str {
    account["id"].as_str().unwrap()
}

fn names(list: &Value) -> Vec<&str> {
    list["items"].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

/// A role that can manage users and see the sessions, and nothing else.
async fn clerk_role(site: &TestSite) {
    let actor = crate::audit::Actor::system("test");
    let sql =
        "INSERT INTO role (id, name, created_at, updated_at) VALUES ('00000000-0000-7000-8000-0000000000aa', 'clerk', 0, 0);
               INSERT INTO role_scope (role, scope) VALUES
                 ('00000000-0000-7000-8000-0000000000aa', 'users:view'),
                 ('00000000-0000-7000-8000-0000000000aa', 'users:manage'),
                 ('00000000-0000-7000-8000-0000000000aa', 'sessions:view')";
    let make = move |tx: &rusqlite::Transaction| {
        tx.execute_batch(sql)?;
        Ok((crate::audit::Entry::event("role.created", &()), ()))
    };
    site.app.store.change(&actor, make).await.unwrap();
}

#[tokio::test]
async fn an_account_is_made_found_changed_and_deleted_and_the_audit_tells() {
    let site = TestSite::new().await;
    let before = site.app.store.audit_head().await.unwrap().seq;
    let grace = made(&site, json!({ "name": "grace", "display": "Grace Hopper", "email": "grace@example.org", "roles": [OPERATOR, VIEWER, VIEWER] })).await;
    assert_eq!(grace["roles"].as_array().unwrap().len(), 2, "a role counts once");
    assert_eq!(
        (&grace["status"], &grace["methods"], &grace["last_seen"]),
        (&json!("active"), &json!([]), &Value::Null)
    );
    let path = format!("/users/{}", id(&grace));
    let edit = json!({ "name": "grace", "display": "Rear Admiral", "roles": [VIEWER], "must_change": true, "version": 1 });
    let changed = site.send_json(Method::PUT, &path, &edit).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.text);
    assert_eq!(changed.json()["display"], "Rear Admiral");
    assert_eq!(changed.json()["email"], "", "what is left out is empty");
    assert_eq!(site.send_json(Method::PUT, &path, &edit).await.status, StatusCode::OK, "the same form twice");
    let stale = json!({ "name": "grace", "version": 1 });
    assert_eq!(site.send_json(Method::PUT, &path, &stale).await.status, StatusCode::PRECONDITION_FAILED);
    assert_eq!(site.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::OK);
    assert_eq!(site.get(&path).await.status, StatusCode::NOT_FOUND);
    let entries = site.get("/audit?resource=user&sort=seq&limit=500").await.json();
    let told: Vec<&str> = entries["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|entry| entry["seq"].as_u64().unwrap() > before)
        .map(|entry| entry["action"].as_str().unwrap())
        .collect();
    // The form that came twice changed nothing: what it was answered with is a look.
    assert_eq!(told, ["user.created", "user.updated", "user.viewed", "user.deleted"]);
}

#[tokio::test]
async fn bad_input_names_its_field_and_comes_back_as_it_was_typed() {
    let site = TestSite::new().await;
    let before = site.app.store.audit_head().await.unwrap().seq;
    for (body, field) in [
        (json!({ "name": "" }), "name"),
        (json!({ "name": "a b" }), "name"),
        (json!({ "name": "ada\r\nSet-Cookie: x=y" }), "name"),
        (json!({ "name": "ADA" }), "name"),
        (json!({ "name": "x".repeat(65) }), "name"),
        (json!({ "name": "g", "display": "a\u{7}b" }), "display"),
        (json!({ "name": "g", "display": "a\u{202e}b" }), "display"),
        (json!({ "name": "g", "display": "x".repeat(101) }), "display"),
        (json!({ "name": "g", "email": "x" }), "email"),
        (json!({ "name": "g", "email": "a@b\r\nBcc: c@d" }), "email"),
        (json!({ "name": "g", "email": "<a@b>" }), "email"),
        (json!({ "name": "g", "roles": ["019aab00-0000-7000-8000-000000000000"] }), "roles"),
        (json!({ "name": "g", "roles": ["x"] }), "roles[0]"),
        (json!({ "name": "g", "kind": "robot" }), "kind"),
        (json!({ "name": "g", "kind": "service", "must_change": true }), "must_change"),
        (json!({ "name": "g", "must_change": true }), "must_change"),
        (json!({ "name": "g", "version": 1 }), "version"),
    ] {
        let answer = site.send_json(Method::POST, "/users", &body).await;
        assert_eq!(
            (answer.status, answer.fields()),
            (StatusCode::UNPROCESSABLE_ENTITY, vec![field.to_owned()]),
            "{body}"
        );
    }
    let again = site.post_form("/users", &[("name", "a b"), ("display", "<Grace>"), ("roles", VIEWER)]).await;
    assert_eq!(again.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(again.text.contains("value=\"&lt;Grace&gt;\""), "{}", again.text);
    assert!(again.text.contains(&format!("value=\"{VIEWER}\" checked")));
    assert_eq!(site.app.store.audit_head().await.unwrap().seq, before, "nothing refused is written down");
}

#[tokio::test]
async fn what_a_body_must_not_set_is_refused_by_name() {
    let site = TestSite::new().await;
    let grace = made(&site, json!({ "name": "grace" })).await;
    let path = format!("/users/{}", id(&grace));
    for (field, value) in [
        ("owner", json!(true)),
        ("is_owner", json!(1)),
        ("id", json!("019aab00-0000-7000-8000-000000000000")),
        ("status", json!("active")),
        ("password", json!("correct horse battery")),
        ("password_hash", json!("x")),
        ("scopes", json!(["users:manage"])),
        ("created_at", json!("2026-01-01T00:00:00Z")),
    ] {
        let mut body = json!({ "name": "eve" });
        body[field] = value.clone();
        assert_eq!(site.send_json(Method::POST, "/users", &body).await.fields(), [field]);
        body["version"] = json!(1);
        assert_eq!(site.send_json(Method::PUT, &path, &body).await.fields(), [field]);
        let form = [("name", "eve"), (field, "1")];
        assert_eq!(site.post_form("/users", &form).await.status, StatusCode::UNPROCESSABLE_ENTITY, "{field}");
    }
    let kind = json!({ "name": "grace", "kind": "service", "version": 1 });
    assert_eq!(site.send_json(Method::PUT, &path, &kind).await.fields(), ["kind"], "a kind is chosen once");
    assert_eq!(site.get(&path).await.json()["owner"], false);
}

#[tokio::test]
async fn the_owner_is_never_disabled_deleted_or_reduced_by_anyone() {
    let site = TestSite::new().await;
    let owner = site.own_id().await;
    let admin = site.person("grace", &["admin"]).await;
    for who in [&site, &admin] {
        let path = format!("/users/{owner}");
        let disabled = who.send_json(Method::POST, &format!("{path}/disable"), &Value::Null).await;
        assert_eq!(disabled.status, StatusCode::CONFLICT, "{}", disabled.text);
        assert_eq!(who.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::CONFLICT);
    }
    let edit = json!({ "name": "eve", "version": 1 });
    assert_eq!(
        admin.send_json(Method::PUT, &format!("/users/{owner}"), &edit).await.status,
        StatusCode::FORBIDDEN
    );
    let link = admin.send_json(Method::POST, &format!("/users/{owner}/reset"), &Value::Null).await;
    assert_eq!(link.status, StatusCode::FORBIDDEN, "an administrator does not become the owner by a link");
    let take =
        admin.send_json(Method::POST, &format!("/users/{}/owner", admin.own_id().await), &Value::Null).await;
    assert_eq!(take.status, StatusCode::FORBIDDEN);
    let reduced = json!({ "name": "ada", "roles": [VIEWER], "version": 1 });
    assert_eq!(site.send_json(Method::PUT, &format!("/users/{owner}"), &reduced).await.fields(), ["roles"]);
    let page = site.page(&format!("/users/{owner}/delete")).await;
    assert!(page.text.contains("cannot be deleted") && !page.text.contains("Delete account"));
    assert_eq!(site.get("/me").await.json()["user"]["owner"], true);
}

#[tokio::test]
async fn the_appliance_is_handed_over_to_someone_who_can_sign_in_and_there_is_one_owner_always() {
    let site = TestSite::new().await;
    let old = site.own_id().await;
    let grace = site.person("grace", &["viewer"]).await;
    let next = grace.own_id().await;
    let bare = made(&site, json!({ "name": "bare" })).await;
    let to = |id: &str| format!("/users/{id}/owner");
    assert_eq!(site.send_json(Method::POST, &to(id(&bare)), &Value::Null).await.status, StatusCode::CONFLICT);
    let done = site.send_json(Method::POST, &to(&next), &Value::Null).await;
    assert_eq!((done.status, &done.json()["owner"]), (StatusCode::OK, &json!(true)), "{}", done.text);
    assert_eq!(site.get(&format!("/users/{old}")).await.json()["roles"][0]["name"], "admin");
    assert_eq!(site.send_json(Method::POST, &to(&old), &Value::Null).await.status, StatusCode::FORBIDDEN);
    let delete = grace.send_json(Method::DELETE, &format!("/users/{next}"), &Value::Null).await;
    assert_eq!(delete.status, StatusCode::CONFLICT, "the new owner is as fast as the old one was");
    assert_eq!(
        grace.send_json(Method::DELETE, &format!("/users/{old}"), &Value::Null).await.status,
        StatusCode::OK
    );
}

#[tokio::test]
async fn of_two_handovers_at_once_one_is_done() {
    let site = TestSite::new().await;
    let one = site.person("grace", &["viewer"]).await.own_id().await;
    let other = site.person("alan", &["viewer"]).await.own_id().await;
    let (one, other) = (format!("/users/{one}/owner"), format!("/users/{other}/owner"));
    let both = tokio::join!(
        site.send_json(Method::POST, &one, &Value::Null),
        site.send_json(Method::POST, &other, &Value::Null)
    );
    let mut codes = [both.0.status, both.1.status];
    codes.sort();
    assert_eq!(codes, [StatusCode::OK, StatusCode::FORBIDDEN]);
    let owners = |db: &rusqlite::Connection| {
        Ok(db.query_row("SELECT count(*) FROM user WHERE is_owner", [], |row| row.get::<_, i64>(0))?)
    };
    assert_eq!(site.app.store.read(owners).await.unwrap(), 1);
    // Nor can the database hold two.
    let second = |tx: &rusqlite::Transaction| {
        tx.execute("UPDATE user SET is_owner = 1", [])?;
        Ok((crate::audit::Entry::event("test.made", &()), ()))
    };
    site.app.store.change(&crate::audit::Actor::system("test"), second).await.unwrap_err();
}

#[tokio::test]
async fn nobody_gives_takes_or_touches_what_they_do_not_hold() {
    let site = TestSite::new().await;
    clerk_role(&site).await;
    let clerk = site.person("clerk", &["clerk"]).await;
    let admin = site.person("grace", &["admin"]).await.own_id().await;
    let viewer = site.person("vera", &["viewer"]).await.own_id().await;
    let own = clerk.own_id().await;
    let put = |id: &str| format!("/users/{id}");
    let raise = json!({ "name": "clerk", "roles": [ADMIN], "version": 2 });
    assert_eq!(clerk.send_json(Method::PUT, &put(&own), &raise).await.fields(), ["roles"], "oneself");
    let friend = json!({ "name": "friend", "roles": [VIEWER] });
    assert_eq!(clerk.send_json(Method::POST, "/users", &friend).await.fields(), ["roles"], "a friend");
    for path in [format!("/users/{admin}"), format!("/users/{viewer}")] {
        let edit = json!({ "name": "x", "version": 2 });
        assert_eq!(clerk.send_json(Method::PUT, &path, &edit).await.status, StatusCode::FORBIDDEN);
        assert_eq!(clerk.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::FORBIDDEN);
        for deed in ["disable", "enable", "unlock", "reset"] {
            let answer = clerk.send_json(Method::POST, &format!("{path}/{deed}"), &Value::Null).await;
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{deed}");
        }
        let page = clerk.page(&path).await;
        assert!(
            page.status == StatusCode::OK && !page.text.contains("Edit</a>"),
            "no button that would be refused"
        );
    }
    let bare =
        made(&clerk, json!({ "name": "bare", "roles": ["00000000-0000-7000-8000-0000000000aa"] })).await;
    let link = clerk.send_json(Method::POST, &format!("/users/{}/reset", id(&bare)), &Value::Null).await;
    assert_eq!(link.status, StatusCode::CREATED, "what they hold themselves they give");
    let form = clerk.get("/users/new").await.json();
    assert_eq!(form["role_options"].as_array().unwrap().len(), 1, "and no more is offered: {form}");
}

#[tokio::test]
async fn nobody_disables_or_deletes_themselves() {
    let site = TestSite::new().await;
    let admin = site.person("grace", &["admin"]).await;
    let path = format!("/users/{}", admin.own_id().await);
    assert_eq!(
        admin.send_json(Method::POST, &format!("{path}/disable"), &Value::Null).await.status,
        StatusCode::CONFLICT
    );
    assert_eq!(admin.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::CONFLICT);
    let fewer = json!({ "name": "grace", "roles": [], "version": 2 });
    assert_eq!(admin.send_json(Method::PUT, &path, &fewer).await.fields(), ["roles"]);
}

#[tokio::test]
async fn a_disabled_account_is_out_at_once_and_comes_back_by_a_new_sign_in() {
    let site = TestSite::new().await;
    let grace = site.person("grace", &["viewer"]).await;
    let path = format!("/users/{}", grace.own_id().await);
    assert_eq!(grace.get("/scans").await.status, StatusCode::OK);
    let off = site.send_json(Method::POST, &format!("{path}/disable"), &Value::Null).await;
    assert_eq!(off.json()["status"], "disabled");
    assert_eq!(grace.get("/me").await.status, StatusCode::UNAUTHORIZED);
    assert_eq!(grace.sign_in("grace", PASSWORD).await.status, StatusCode::UNPROCESSABLE_ENTITY);
    let link = site.send_json(Method::POST, &format!("{path}/reset"), &Value::Null).await;
    assert_eq!(link.status, StatusCode::CONFLICT, "a link would not help");
    site.send_json(Method::POST, &format!("{path}/enable"), &Value::Null).await;
    assert_eq!(grace.get("/me").await.status, StatusCode::UNAUTHORIZED, "the session stays over");
    assert_eq!(grace.sign_in("grace", PASSWORD).await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_caller_holds_the_union_of_their_roles_and_loses_it_with_them() {
    let site = TestSite::new().await;
    clerk_role(&site).await;
    let both = site.person("grace", &["operator", "clerk"]).await;
    let scopes = both.get("/me").await.json()["scopes"].to_string();
    assert!(
        scopes.contains("scans:run") && scopes.contains("users:manage") && !scopes.contains("audit"),
        "{scopes}"
    );
    let id = both.own_id().await;
    let version = site.get(&format!("/users/{id}")).await.json()["version"].clone();
    let none = json!({ "name": "grace", "roles": [], "version": version });
    assert_eq!(site.send_json(Method::PUT, &format!("/users/{id}"), &none).await.status, StatusCode::OK);
    assert_eq!(both.get("/me").await.json()["scopes"], json!([]), "at the next request");
    assert_eq!(both.get("/scans").await.status, StatusCode::FORBIDDEN);
    assert_eq!(both.get("/account").await.status, StatusCode::OK, "their own account is theirs");
}

#[tokio::test]
async fn the_list_is_searched_narrowed_and_sorted_by_what_it_shows() {
    let site = TestSite::new().await;
    site.person("grace", &["operator"]).await;
    let alan =
        made(&site, json!({ "name": "alan", "roles": [VIEWER], "email": "alan@bletchley.example" })).await;
    made(&site, json!({ "name": "robot", "kind": "service" })).await;
    site.send_json(Method::POST, &format!("/users/{}/disable", id(&alan)), &Value::Null).await;
    let mut guesser = site.stranger();
    guesser.source = [198, 51, 100, 7].into();
    for _ in 0..5 {
        guesser.sign_in("grace", "wrong").await;
    }
    for (query, wanted) in [
        ("", vec!["ada", "alan", "grace", "robot"]),
        ("q=bletchley", vec!["alan"]),
        ("status=disabled", vec!["alan"]),
        ("status=locked", vec!["grace"]),
        ("status=active", vec!["ada", "robot"]),
        ("method=password", vec!["ada", "grace"]),
        ("method=none", vec!["alan", "robot"]),
        ("kind=service", vec!["robot"]),
        ("seen=day", vec!["ada", "grace"]),
        ("seen=never", vec!["alan", "robot"]),
        ("seen=longer", vec![]),
        (&format!("role={OPERATOR}"), vec!["grace"]),
        ("sort=-name", vec!["robot", "grace", "alan", "ada"]),
        ("sort=-last_seen&method=password", vec!["grace", "ada"]),
        ("sort=role", vec!["robot", "ada", "grace", "alan"]),
        ("sort=-status", vec!["alan", "robot", "grace", "ada"]),
    ] {
        let list = site.get(&format!("/users?{query}")).await;
        assert_eq!(names(&list.json()), wanted, "{query}");
    }
    let first = site.get("/users?limit=3").await.json();
    let next = first["next"].as_str().unwrap();
    assert_eq!(names(&site.get(&format!("/users?limit=3&cursor={next}")).await.json()), ["robot"]);
    for (bad, field) in
        [("sort=password_hash", "sort"), ("status=x", "status"), ("role=1'--", "role"), ("owner=1", "owner")]
    {
        assert_eq!(site.get(&format!("/users?{bad}")).await.fields(), [field], "{bad}");
    }
    let page = site.page("/users?q=%3Cscript%3E").await;
    assert!(page.text.contains("Nothing matches") && !page.text.contains("<script>"));
}

#[tokio::test]
async fn each_filter_and_each_sort_of_the_list_does_what_it_says() {
    let site = TestSite::new().await;
    let now = site.app.clock.now();
    let ago = |days: u64| (now - std::time::Duration::from_secs(days * 86_400)).micros();
    let mut rows = String::from(
        "INSERT INTO oidc_provider (id, name, settings, created_at, updated_at)
           VALUES ('019aab00-0000-7000-8000-0000000000bb', 'p', '{}', 0, 0);",
    );
    for (number, (name, seen)) in
        [("key", Some(3)), ("sso", Some(10)), ("old", Some(40)), ("new", None)].iter().enumerate()
    {
        let seen = seen.map_or("NULL".to_owned(), |days| ago(days).to_string());
        rows += &format!(
            "INSERT INTO user (id, name, display, created_at, updated_at, last_seen)
               VALUES ('019aab00-0000-7000-8000-00000000000{number}', '{name}', 'D{}', {number}, 0, {seen});",
            9 - number
        );
    }
    rows += "INSERT INTO security_key (id, user, name, credential_id, credential, created_at)
               VALUES ('019aab00-0000-7000-8000-0000000000cc', '019aab00-0000-7000-8000-000000000000', 'k', x'01', '{}', 0);
             INSERT INTO oidc_link (provider, subject, user, created_at)
               VALUES ('019aab00-0000-7000-8000-0000000000bb', 's', '019aab00-0000-7000-8000-000000000001', 0);";
    let make = move |tx: &rusqlite::Transaction| {
        tx.execute_batch(&rows)?;
        Ok((crate::audit::Entry::event("test.made", &()), ()))
    };
    site.app.store.change(&crate::audit::Actor::system("test"), make).await.unwrap();
    for (query, wanted) in [
        ("method=security-key", vec!["key"]),
        ("method=oidc", vec!["sso"]),
        ("method=password", vec!["ada"]),
        ("method=none", vec!["new", "old"]),
        ("seen=day", vec!["ada"]),
        ("seen=week", vec!["ada", "key"]),
        ("seen=month", vec!["ada", "key", "sso"]),
        ("seen=longer", vec!["old"]),
        ("seen=never", vec!["new"]),
        ("kind=person", vec!["ada", "key", "new", "old", "sso"]),
        ("kind=person&seen=week&method=security-key", vec!["key"]),
        ("sort=last_seen", vec!["new", "old", "sso", "key", "ada"]),
        ("sort=-last_seen", vec!["ada", "key", "sso", "old", "new"]),
        ("sort=method&seen=month", vec!["sso", "ada", "key"]),
        ("sort=-method&seen=month", vec!["key", "ada", "sso"]),
        ("sort=created_at&seen=longer", vec!["old"]),
        ("sort=created_at", vec!["key", "sso", "old", "new", "ada"]),
        ("sort=-created_at", vec!["ada", "new", "old", "sso", "key"]),
        ("sort=-display", vec!["ada", "key", "sso", "old", "new"]),
        ("q=D9", vec!["key"]),
    ] {
        let list = site.get(&format!("/users?{query}")).await;
        assert_eq!(names(&list.json()), wanted, "{query}: {}", list.text);
    }
}

#[tokio::test]
async fn the_way_to_hand_the_appliance_over_is_shown_to_who_can_go_it() {
    let site = TestSite::new().await;
    let admin = site.person("grace", &["admin"]).await;
    let viewer = site.person("vera", &["viewer"]).await.own_id().await;
    let bare = made(&site, json!({ "name": "bare" })).await;
    let shows = async |who: &TestSite, id: &str| {
        who.page(&format!("/users/{id}")).await.text.contains("Hand the appliance over")
    };
    assert!(shows(&site, &viewer).await);
    assert!(!shows(&admin, &viewer).await, "only the owner can");
    assert!(!shows(&site, id(&bare)).await, "who cannot sign in by a password cannot own it");
    assert!(!shows(&site, &site.own_id().await).await);
}

#[tokio::test]
async fn no_answer_about_an_account_holds_a_secret_of_it() {
    let site = TestSite::new().await;
    let grace = site.person("grace", &["viewer"]).await.own_id().await;
    let mut texts = vec![];
    for path in [
        "/users".into(),
        format!("/users/{grace}"),
        format!("/users/{grace}/edit"),
        "/account".into(),
        "/sessions".into(),
        "/me".into(),
        "/audit?limit=500".into(),
    ] {
        texts.push(site.get(&path).await.text);
        texts.push(site.page(&path).await.text);
    }
    for text in texts {
        for secret in ["$argon2", "password_hash", "id_hash", PASSWORD] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
