//! Who says which providers are believed, and that the last way in is not taken with one.

use crate::identity::oidc::tests::{came_by, input, post, sql};
use crate::identity::ways;
use crate::test::{Answered, TestSite};
use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

/// The provider of [`input`], its path, and the input of a change to it as it is.
async fn provider(site: &TestSite) -> (String, String, Value) {
    let made = post(site, "/providers", &input()).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
    let made = made.json();
    let id = made["id"].as_str().unwrap().to_owned();
    let mut edit = input();
    (edit["version"], edit["ca"], edit["client_secret"]) = (json!(1), made["ca"].clone(), json!(""));
    (format!("/providers/{id}"), id, edit)
}

fn with(edit: &Value, field: &str, value: Value) -> Value {
    let mut edit = edit.clone();
    edit[field] = value;
    edit
}

async fn put(site: &TestSite, path: &str, edit: &Value) -> Answered {
    site.send_json(Method::PUT, path, edit).await
}

/// Lets passwords sign in nobody, whoever gets in then.
async fn passwords_off(site: &TestSite) {
    sql(
        site,
        "INSERT OR REPLACE INTO setting (name, value) VALUES ('local-sign-in', '{\"local\":\"off\"}')".into(),
    )
    .await;
}

async fn someone_gets_in(site: &TestSite) -> bool {
    let read = |db: &rusqlite::Connection| crate::identity::users::store::someone_gets_in(db, None);
    site.app.store.read(read).await.unwrap()
}

/// Grace, who came by this provider and holds the role admin by the hand of the owner.
async fn admin_by(site: &TestSite, provider: &str) -> TestSite {
    let grace = came_by(site, provider, "grace").await;
    let id = grace.own_id().await;
    sql(site, format!("INSERT INTO user_role (user, role) SELECT '{id}', id FROM role WHERE name = 'admin'"))
        .await;
    grace
}

#[tokio::test]
async fn only_a_person_who_holds_everything_says_which_providers_are_believed() {
    let site = TestSite::new().await;
    let (path, _, mut edit) = provider(&site).await;
    edit["mapping"] = json!("admins = admin");
    edit = with(&edit, "make_accounts", json!(true));
    assert_eq!(put(&site, &path, &edit).await.status, StatusCode::OK);
    edit["version"] = json!(2);
    let role = json!({ "name": "Identity", "scopes": ["oidc:manage"] });
    let role = post(&site, "/roles", &role).await.json()["id"].as_str().unwrap().parse().unwrap();
    let clerk = site.with_roles("clerk", &[role]).await;
    let token = post(&clerk, "/tokens", &json!({ "name": "t", "scopes": ["oidc:manage"] })).await.json();
    let robot = site.stranger().showing(token["token"].as_str().unwrap());
    let every =
        post(&site, "/tokens", &json!({ "name": "t", "scopes": crate::identity::scopes::every() })).await;
    let every = site.stranger().showing(every.json()["token"].as_str().unwrap());
    // The mapping stays as it is, and the groups are said by someone else.
    let mine = with(&edit, "issuer", json!("https://mine.test/"));
    let mut by_hand = with(&edit, "discovery", json!(false));
    for end in ["authorization_endpoint", "token_endpoint", "jwks_uri"] {
        by_hand[end] = json!("https://mine.test/");
    }
    // Gives no role; but whoever has an address there is who has it here.
    let mut own = with(&input(), "name", json!("Mine"));
    (own["mapping"], own["link_by_email"]) = (json!(""), json!(true));
    for who in [&clerk, &robot, &every] {
        for refused in [
            put(who, &path, &mine).await,
            put(who, &path, &by_hand).await,
            put(who, &path, &with(&edit, "claim", json!("everyone"))).await,
            put(who, &path, &with(&edit, "link_by_email", json!(true))).await,
            post(who, "/providers", &own).await,
            who.send_json(Method::DELETE, &path, &Value::Null).await,
            post(who, "/providers/local", &json!({ "local": "owner-only", "version": 0 })).await,
        ] {
            assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.text);
        }
        assert_eq!(who.get(&path).await.json()["may_change"], false);
        let tried = post(who, &format!("{path}/try"), &json!({})).await;
        assert_eq!(tried.status, StatusCode::SERVICE_UNAVAILABLE, "it may be tried: {}", tried.text);
    }
    assert_eq!(site.get("/providers").await.json()["total"], 1);
    assert_eq!(site.get(&path).await.json()["version"], 2, "nothing of it was done");
    let denied = site.get("/audit?action=access.denied&actor=clerk&outcome=refused").await.json();
    assert_eq!(denied["total"], 8, "each route once, of the person and of the token: {denied}");
    for page in ["/providers", &path] {
        let text = clerk.page(page).await.text;
        assert!(
            text.contains("Site login") && !text.contains("/edit") && !text.contains("/providers/new"),
            "{text}"
        );
    }
    for page in ["/providers/new", "/providers/local", &format!("{path}/edit"), &format!("{path}/delete")] {
        assert_eq!(clerk.page(page).await.status, StatusCode::FORBIDDEN, "{page}");
        assert_eq!(site.page(page).await.status, StatusCode::OK, "{page}");
    }
    let admin = site.person("admin", &["admin"]).await;
    assert_eq!(put(&admin, &path, &with(&edit, "name", json!("Other"))).await.status, StatusCode::OK);
}

#[tokio::test]
async fn with_another_issuer_go_the_links_if_that_is_said() {
    let site = TestSite::new().await;
    let (path, id, edit) = provider(&site).await;
    let unasked = put(&site, &path, &with(&edit, "forget_links", json!(true))).await;
    assert_eq!(unasked.fields(), ["forget_links"], "{}", unasked.text);
    let grace = came_by(&site, &id, "grace").await;
    let user = grace.own_id().await;
    let page = site.page(&format!("{path}/edit")).await.text;
    assert!(
        page.contains("1 account loses its link; 1 loses the roles that it gave, and 1 session ends."),
        "{page}"
    );
    let mut other = with(&edit, "issuer", json!("https://other.test/"));
    let refused = put(&site, &path, &other).await;
    assert_eq!(refused.fields(), ["forget_links"]);
    assert!(refused.text.contains("the 1 account that it knows would be forgotten"), "{}", refused.text);
    assert_eq!(site.get(&path).await.json()["people"], 1, "nothing of it was done");
    other["forget_links"] = json!(true);
    let done = put(&site, &path, &other).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    let counts = ["people", "holders", "sessions"].map(|name| done.json()[name].clone());
    assert_eq!(counts, [json!(0), json!(0), json!(0)]);
    assert_eq!(
        grace.get("/me").await.status,
        StatusCode::UNAUTHORIZED,
        "her session was by the other's word"
    );
    assert_eq!(site.get(&format!("/users/{user}")).await.json()["provider_roles"], json!([]));
    let entries = site.get(&format!("/audit?resource_id={id}&action=provider.links-forgotten")).await.json();
    let entry = site.get(&format!("/audit/{}", entries["items"][0]["seq"])).await.json();
    assert_eq!(entry["detail"], json!({ "accounts": 1, "issuer": "https://127.0.0.1:1/" }));
    let mut again = with(&other, "issuer", json!("https://third.test/"));
    (again["version"], again["forget_links"]) = (json!(2), json!(false));
    assert_eq!(put(&site, &path, &again).await.status, StatusCode::OK, "there is nobody to forget");
}

#[tokio::test]
async fn while_no_password_signs_in_the_last_provider_stays_as_it_is() {
    let site = TestSite::new().await;
    let (path, id, edit) = provider(&site).await;
    admin_by(&site, &id).await;
    passwords_off(&site).await;
    let elsewhere = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap().cert.pem();
    let mut moved = with(&edit, "issuer", json!("https://127.0.0.1:2/"));
    moved["forget_links"] = json!(true);
    for refused in [
        site.send_json(Method::DELETE, &path, &Value::Null).await,
        put(&site, &path, &with(&edit, "enabled", json!(false))).await,
        put(&site, &path, &moved).await,
        put(&site, &path, &with(&edit, "client_id", json!("someone"))).await,
        put(&site, &path, &with(&edit, "client_secret", json!("another"))).await,
        put(&site, &path, &with(&edit, "ca", json!(elsewhere))).await,
        put(&site, &path, &with(&edit, "claim", json!("nothing"))).await,
        put(&site, &path, &with(&edit, "mapping", json!(""))).await,
    ] {
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
        assert!(refused.text.contains("the last way in"), "{}", refused.text);
    }
    let kept = site.get(&path).await.json();
    assert_eq!((&kept["version"], &kept["people"]), (&json!(1), &json!(1)), "nothing of it was done");
    let mut harmless = with(&edit, "name", json!("Plant login"));
    harmless["make_accounts"] = json!(true);
    assert_eq!(put(&site, &path, &harmless).await.status, StatusCode::OK);
    // Another that is offered is no way in before someone who may do everything came by it.
    let second = post(&site, "/providers", &with(&input(), "name", json!("Another"))).await.json();
    let gone = site.send_json(Method::DELETE, &path, &Value::Null).await;
    assert_eq!(gone.status, StatusCode::CONFLICT, "{}", gone.text);
    let link = "INSERT INTO oidc_link (provider, subject, user, created_at) SELECT '{}', 'g', id, 0 FROM user WHERE name = 'grace'";
    sql(&site, link.replace("{}", second["id"].as_str().unwrap())).await;
    assert_eq!(site.send_json(Method::DELETE, &path, &Value::Null).await.status, StatusCode::OK);
}

#[tokio::test]
async fn while_no_password_signs_in_the_last_who_may_do_everything_stays() {
    let site = TestSite::new().await;
    let (_, id, _) = provider(&site).await;
    let grace = admin_by(&site, &id).await;
    let path = format!("/users/{}", grace.own_id().await);
    passwords_off(&site).await;
    let account = site.get(&path).await.json();
    let reduced = json!({ "name": "grace", "roles": [], "version": account["version"] });
    for refused in [
        post(&site, &format!("{path}/disable"), &json!({})).await,
        site.send_json(Method::DELETE, &path, &Value::Null).await,
        put(&site, &path, &reduced).await,
        post(&site, &format!("{path}/owner"), &json!({})).await,
    ] {
        assert_eq!(refused.status, StatusCode::CONFLICT, "{}", refused.text);
        assert!(refused.text.contains("the last way in"), "{}", refused.text);
    }
    assert!(someone_gets_in(&site).await);
    sql(&site, "DELETE FROM setting".into()).await;
    assert_eq!(put(&site, &path, &reduced).await.status, StatusCode::OK, "with passwords the owner gets in");
}

#[tokio::test]
async fn passwords_off_and_the_provider_off_at_once_leave_one_of_them() {
    for turn in [false, true] {
        let site = TestSite::new().await;
        let (path, id, edit) = provider(&site).await;
        let grace = admin_by(&site, &id).await;
        let (off, edit) = (json!({ "local": "off", "version": 0 }), with(&edit, "enabled", json!(false)));
        let passwords = post(&grace, "/providers/local", &off);
        let provider = put(&site, &path, &edit);
        let (passwords, provider) = if turn {
            let (provider, passwords) = tokio::join!(provider, passwords);
            (passwords, provider)
        } else {
            tokio::join!(passwords, provider)
        };
        let done = [&passwords, &provider].map(|answer| answer.status == StatusCode::OK);
        assert_eq!(done.iter().filter(|done| **done).count(), 1, "{}\n{}", passwords.text, provider.text);
        assert!(someone_gets_in(&site).await);
    }
}

#[tokio::test]
async fn passwords_are_switched_off_by_one_who_can_come_by_a_provider_now() {
    let site = TestSite::new().await;
    let (_, id, _) = provider(&site).await;
    let grace = admin_by(&site, &id).await;
    let off = |version: i64| json!({ "local": "off", "version": version });
    sql(&site, "UPDATE oidc_provider SET enabled = 0".into()).await;
    assert_eq!(
        post(&grace, "/providers/local", &off(0)).await.fields(),
        ["local"],
        "her session is from before"
    );
    sql(&site, "UPDATE oidc_provider SET enabled = 1".into()).await;
    let done = post(&grace, "/providers/local", &off(0)).await;
    assert_eq!(done.status, StatusCode::OK, "{}", done.text);
    assert!(someone_gets_in(&site).await);
}

#[tokio::test]
async fn what_counts_as_a_way_in_is_what_lets_one_in() {
    let site = TestSite::new().await;
    let (_, id, _) = provider(&site).await;
    let grace = came_by(&site, &id, "grace").await.own_id().await.parse().unwrap();
    let owner = site.own_id().await.parse().unwrap();
    let ways_of = async |user: uuid::Uuid| {
        let read =
            move |db: &rusqlite::Connection| Ok((ways::any(db, user)?, ways::beside_password(db, user)?));
        site.app.store.read(read).await.unwrap()
    };
    for (local, hers, owners) in [
        ("on", (true, true), (true, false)),
        ("owner-only", (true, true), (true, false)),
        ("off", (true, true), (false, false)),
    ] {
        let set = format!(
            "INSERT OR REPLACE INTO setting (name, value) VALUES ('local-sign-in', '{{\"local\":\"{local}\"}}')"
        );
        sql(&site, set).await;
        assert_eq!((ways_of(grace).await, ways_of(owner).await), (hers, owners), "{local}");
    }
    // No provider speaks for the owner.
    sql(
        &site,
        format!(
            "INSERT INTO oidc_link (provider, subject, user, created_at) VALUES ('{id}', 'ada', '{owner}', 0)"
        ),
    )
    .await;
    assert_eq!(ways_of(owner).await, (false, false));
    sql(&site, "UPDATE oidc_provider SET enabled = 0".into()).await;
    assert_eq!(ways_of(grace).await, (false, false));
    let key = "INSERT INTO security_key (id, user, name, credential_id, credential, alone, created_at) VALUES ('k', '{}', 'k', x'01', '{}', 0, 0)";
    sql(&site, key.replacen("{}", &owner.to_string(), 1)).await;
    assert_eq!(ways_of(owner).await, (false, false), "nobody knows yet that the key can");
    sql(&site, "UPDATE security_key SET alone = 1".into()).await;
    assert_eq!(ways_of(owner).await, (true, true));
}
