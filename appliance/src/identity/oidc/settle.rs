//! Which account a person of a provider is here: the one that they were linked to, one with their address, or a new one;
//! and which roles their groups give.

use super::claims::Person;
use super::configure::regiven;
use super::{Provider, store};
use crate::audit::Entry;
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::users::{Fields, Kind, store as users};
use crate::identity::{factors, sessions, statements, tokens};
use rusqlite::Transaction;
use serde_json::{Value, json};
use uuid::Uuid;

/// How a person of a provider becomes a user here, and what was done to get there.
pub struct Settled {
    /// Who it is.
    pub user: Uuid,
    /// What is written down of it.
    pub entries: Vec<Entry>,
}

/// Finds or makes the account of a person, and gives the roles that their groups give now. While an update is on trial only
/// who is known already comes in, with the roles that they have: what was changed would be lost with the trial.
///
/// # Errors
/// `Conflict` with the reason, also where the provider was changed since it was asked; `OnTrial`; any from the database.
pub fn settle(
    tx: &Transaction,
    provider: &Provider,
    person: &Person,
    (new, now): (Uuid, Timestamp),
    on_trial: bool,
) -> Result<Settled> {
    if !store::is_offered_as(tx, provider.id, provider.version)? {
        return Err(changed());
    }
    let mut entries = Vec::new();
    let mappings = &provider.settings.roles;
    let roles: Vec<Uuid> =
        mappings.iter().filter(|one| person.groups.contains(&one.value)).map(|one| one.role).collect();
    let linked = store::linked(tx, provider.id, &person.subject)?;
    let user = match linked {
        Some(user) => user,
        None => found(tx, provider, person, !roles.is_empty(), new, now, &mut entries)?,
    };
    let known = users::known(tx, user)?;
    if known.user.owner {
        return Err(Error::conflict("the owner signs in here, with the password: a provider is not enough"));
    }
    if !known.may_sign_in() {
        return Err(Error::conflict("your account here is disabled: ask an administrator"));
    }
    let before = store::given(tx, user)?;
    store::give(tx, user, provider.id, &roles)?;
    let after = store::given(tx, user)?;
    if before != after {
        entries.push(regiven(user, &before, &after));
    }
    if on_trial && !entries.is_empty() {
        return Err(Error::OnTrial);
    }
    if entries.is_empty() {
        // Nothing changed; the sign-in has its own entry.
        return Ok(Settled {
            user,
            entries: vec![
                Entry::event("user.vouched-for", &json!({ "provider": provider.name })).on("user", user),
            ],
        });
    }
    Ok(Settled { user, entries })
}

/// The account of a person who comes by this provider for the first time: one with their address, or a new one.
fn found(
    tx: &Transaction,
    provider: &Provider,
    person: &Person,
    has_role: bool,
    new: Uuid,
    now: Timestamp,
    entries: &mut Vec<Entry>,
) -> Result<Uuid> {
    let by_email = person.email.as_deref().filter(|_| provider.settings.link_by_email);
    let mut detail = json!({ "provider": provider.name, "subject": person.subject });
    let user = match by_email.map(|email| store::by_email(tx, email)).transpose()?.flatten() {
        Some(user) => {
            detail["taken"] = other_ways_taken(tx, user, now)?;
            user
        }
        None if provider.settings.make_accounts && has_role => {
            let fields = account(tx, person)?;
            let row = users::New { id: new, password_hash: None, owner: false, now };
            users::insert(tx, &row, &fields)?;
            entries.push(Entry::created("user", new, &fields));
            new
        }
        None if provider.settings.make_accounts => {
            return Err(Error::conflict("none of your groups has a role here: ask an administrator"));
        }
        None => return Err(Error::conflict("you have no account here: ask an administrator")),
    };
    store::keep_link(tx, provider.id, &person.subject, user, now)?;
    entries.push(Entry::event("user.linked", &detail).on("user", user));
    Ok(user)
}

/// Takes from an account whatever else could come in as it, and gives what that was. Whoever made it, or may edit it, may
/// have kept a way in for themselves; from now on it does what the person's groups allow.
fn other_ways_taken(tx: &Transaction, user: Uuid, now: Timestamp) -> Result<Value> {
    let had_password = users::known(tx, user)?.password_hash.is_some();
    // Links that would set another go with it.
    users::set_password(tx, user, None, now)?;
    Ok(json!({
        "password": had_password,
        "second_factors": factors::take_all(tx, user)?,
        "tokens": tokens::revoke_all(tx, user, now)?,
        "statements": statements::store::revoke_all(tx, user, now)?,
        "sessions": sessions::store::end_all(tx, user, None)?,
    }))
}

/// What the provider was asked for is not what it is asked for now.
pub fn changed() -> Error {
    Error::conflict("the provider was changed or switched off in the meantime: begin again")
}

/// The fields of a new account: a name that nobody has.
fn account(tx: &Transaction, person: &Person) -> Result<Fields> {
    let mut name = person.name.clone();
    let mut more = 2;
    while store::name_is_taken(tx, &name)? {
        name = format!("{}-{more}", person.name);
        more += 1;
        if more > 99 {
            return Err(Error::conflict(
                "there are too many accounts of this name here: ask an administrator",
            ));
        }
    }
    Ok(Fields {
        name,
        display: person.display.clone(),
        email: person.email.clone().unwrap_or_default(),
        kind: Kind::Person,
        must_change: false,
        roles: vec![],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::Actor;
    use crate::identity::oidc::{Mapping, Settings};
    use crate::test::{PASSWORD, TestSite};
    use axum::http::{Method, StatusCode};

    const OPERATOR: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0002);
    /// What is kept of a security key.
    const CREDENTIAL: &str =
        r#"{"key":{"algorithm":"es256","point":"AA"},"count":0,"site":"x","transports":[]}"#;
    const VIEWER: Uuid = Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0003);

    fn provider(id: Uuid) -> Provider {
        let map = |value: &str, role| Mapping { value: value.to_owned(), role };
        Provider {
            id,
            name: "Site login".into(),
            enabled: true,
            has_secret: false,
            settings: Settings {
                roles: vec![map("ops", OPERATOR), map("all", VIEWER)],
                ..Settings::default()
            },
            mapping: String::new(),
            redirect_uri: String::new(),
            people: 0,
            holders: 0,
            only_way: 0,
            sessions: 0,
            may_change: true,
            version: 1,
            updated_at: Timestamp::EPOCH,
        }
    }

    fn person(subject: &str, email: Option<&str>, groups: &[&str]) -> Person {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        let email = email.map(str::to_owned);
        Person { subject: subject.to_owned(), email, name: "grace".into(), display: "Grace".into(), groups }
    }

    /// A site with the provider, and people: grace and two twins with one address, alan who is disabled.
    async fn site() -> (TestSite, Provider) {
        let site = TestSite::new().await;
        let id = site.app.ids.new();
        let row = |name: &str, email: &str, status: &str| {
            format!(
                "INSERT INTO user (id, name, email, status, created_at, updated_at)
                   VALUES ('{}', '{name}', '{email}', '{status}', 0, 0);",
                site.app.ids.new()
            )
        };
        let rows = [
            format!("INSERT INTO oidc_provider (id, name, settings, created_at, updated_at) VALUES ('{id}', 'p', '{{}}', 0, 0);"),
            "UPDATE user SET email = 'ada@plant.test' WHERE is_owner;".into(),
            row("grace", "Grace@plant.test", "active"),
            row("twin1", "twin@plant.test", "active"),
            row("twin2", "twin@plant.test", "active"),
            row("alan", "alan@plant.test", "disabled"),
        ]
        .concat();
        let make = move |tx: &Transaction| {
            tx.execute_batch(&rows)?;
            Ok((Entry::event("test.made", &()), ()))
        };
        site.app.store.change(&Actor::system("test"), make).await.unwrap();
        (site, provider(id))
    }

    type Who = std::result::Result<(String, Vec<String>), String>;

    /// Who it is and which roles they have then, or why not.
    async fn comes(site: &TestSite, provider: &Provider, person: Person) -> Who {
        comes_while(site, provider, person, false).await
    }

    async fn comes_while(site: &TestSite, provider: &Provider, person: Person, on_trial: bool) -> Who {
        let (provider, new) = (provider.clone(), site.app.ids.new());
        let settle = move |tx: &Transaction| {
            let Settled { user, entries } =
                settle(tx, &provider, &person, (new, Timestamp::EPOCH), on_trial)?;
            let name = users::known(tx, user)?.user.name;
            let roles = store::given(tx, user)?.into_iter().map(|role| role.name).collect();
            Ok((entries, (name, roles)))
        };
        site.app.store.changes(&Actor::system("test"), settle).await.map_err(|error| error.to_string())
    }

    #[tokio::test]
    async fn while_an_update_is_on_trial_who_is_known_comes_in_as_they_are_and_nothing_changes() {
        let (site, mut provider) = site().await;
        provider.settings.link_by_email = true;
        provider.settings.make_accounts = true;
        let trial = async |person: Person| comes_while(&site, &provider, person, true).await;
        let kept = async || {
            let ask = "SELECT (SELECT count(*) FROM user) || (SELECT count(*) FROM oidc_link) || (SELECT count(*) FROM user_role)";
            site.app
                .store
                .read(move |db| Ok(db.query_row(ask, [], |row| row.get::<_, String>(0))?))
                .await
                .unwrap()
        };
        let before = kept().await;
        let by_address = trial(person("s", Some("grace@plant.test"), &["ops"])).await;
        let new = trial(person("n", None, &["ops"])).await;
        for refused in [by_address, new] {
            assert!(refused.unwrap_err().contains("on trial"));
        }
        assert_eq!(kept().await, before);
        let known = person("s", Some("grace@plant.test"), &["ops"]);
        comes(&site, &provider, known.clone()).await.unwrap();
        let before = kept().await;
        assert_eq!(trial(known.clone()).await.unwrap().0, "grace", "nothing would change");
        assert!(
            trial(person("s", None, &["all"])).await.unwrap_err().contains("on trial"),
            "another role would"
        );
        assert_eq!(kept().await, before);
        assert_eq!(comes(&site, &provider, known).await.unwrap().1, ["operator"]);
    }

    #[tokio::test]
    async fn an_account_is_linked_by_a_verified_address_only_where_that_is_wished_and_never_the_owners() {
        let (site, mut provider) = site().await;
        let mail = |email| person("s", Some(email), &["ops"]);
        let off = comes(&site, &provider, mail("grace@plant.test")).await;
        assert!(off.unwrap_err().contains("no account here"), "off unless it is switched on");
        provider.settings.link_by_email = true;
        for (email, why) in [
            ("ada@plant.test", "the owner's"),
            ("twin@plant.test", "that of two"),
            ("alan@plant.test", "of one who is disabled"),
            ("nobody@plant.test", "of nobody"),
        ] {
            let refused = comes(&site, &provider, mail(email)).await;
            assert!(
                refused.as_ref().is_err_and(|said| said.contains("no account here")),
                "{why}: {refused:?}"
            );
        }
        let nameless = comes(&site, &provider, person("s", None, &["ops"])).await;
        assert!(nameless.is_err(), "an address that is not verified is none");
        let linked = comes(&site, &provider, mail("grace@PLANT.test")).await.unwrap();
        assert_eq!(linked, ("grace".to_owned(), vec!["operator".to_owned()]));
        let later = comes(&site, &provider, person("s", Some("other@plant.test"), &[])).await.unwrap();
        assert_eq!(later, ("grace".to_owned(), vec![]), "from then on the subject says who it is");
    }

    #[tokio::test]
    async fn groups_give_their_roles_at_each_sign_in_and_an_account_is_made_only_for_who_gets_one() {
        let (site, mut provider) = site().await;
        let come = async |provider: &Provider, groups: &[&str]| {
            comes(&site, provider, person("s", None, groups)).await
        };
        assert!(come(&provider, &["ops"]).await.is_err(), "nobody is made unless that is wished");
        provider.settings.make_accounts = true;
        let none = come(&provider, &["unknown"]).await;
        assert!(none.unwrap_err().contains("none of your groups has a role here"));
        let both = come(&provider, &["ops", "all", "unknown"]).await.unwrap();
        assert_eq!(
            both,
            ("grace-2".to_owned(), vec!["operator".to_owned(), "viewer".to_owned()]),
            "a name is free"
        );
        assert_eq!(come(&provider, &["all"]).await.unwrap().1, ["viewer"]);
        assert_eq!(come(&provider, &[]).await.unwrap().1, Vec::<String>::new());
    }

    #[tokio::test]
    async fn a_link_by_address_takes_whatever_else_could_come_in_as_the_account() {
        let (site, mut provider) = site().await;
        provider.settings.link_by_email = true;
        let clerk = site.person("prepared", &["viewer"]).await;
        let id = clerk.own_id().await;
        let token = json!({ "name": "mine", "scopes": ["scans:view"] });
        let token = clerk.send_json(Method::POST, "/tokens", &token).await;
        assert_eq!(token.status, StatusCode::CREATED, "{}", token.text);
        let link = site.send_json(Method::POST, &format!("/users/{id}/reset"), &Value::Null).await;
        let link = link.json()["url"].as_str().unwrap().to_owned();
        let rows = format!(
            "UPDATE user SET email = 'bob@plant.test' WHERE id = '{id}';
             INSERT INTO security_key (id, user, name, credential_id, credential, alone, created_at)
               VALUES ('{}', '{id}', 'mine', x'01', '{CREDENTIAL}', 1, 0);
             INSERT INTO totp (user, sealed, confirmed_at) VALUES ('{id}', x'01', 0)",
            site.app.ids.new()
        );
        let make = move |tx: &Transaction| {
            tx.execute_batch(&rows)?;
            Ok((Entry::event("test.made", &()), ()))
        };
        site.app.store.change(&Actor::system("test"), make).await.unwrap();
        let who = comes(&site, &provider, person("bob", Some("bob@plant.test"), &["ops"])).await.unwrap();
        assert_eq!(who, ("prepared".to_owned(), vec!["operator".to_owned()]));
        assert_eq!(clerk.get("/me").await.status, StatusCode::UNAUTHORIZED, "its sessions are over");
        let bearer = site.stranger().showing(token.json()["token"].as_str().unwrap());
        assert_eq!(bearer.get("/me").await.status, StatusCode::UNAUTHORIZED, "its tokens are void");
        let again = site.stranger().sign_in("prepared", PASSWORD).await;
        assert_eq!(again.fields(), ["password"], "its password is none");
        let reset = site.stranger().get(&link[link.find("/reset").unwrap()..]).await;
        assert_eq!(reset.status, StatusCode::NOT_FOUND, "nor does a link set another");
        assert_eq!(site.get(&format!("/users/{id}")).await.json()["methods"], json!(["oidc"]));
        let entries = site.get(&format!("/audit?resource_id={id}&action=user.linked")).await.json();
        let entry = site.get(&format!("/audit/{}", entries["items"][0]["seq"])).await.json();
        let taken = json!({ "password": true, "second_factors": { "app": true, "keys": 1, "codes": 0 },
                            "tokens": 1, "statements": 0, "sessions": 1 });
        assert_eq!(entry["detail"]["taken"], taken, "{entry}");
    }

    #[tokio::test]
    async fn no_link_by_address_is_made_to_an_account_that_a_provider_knows() {
        let (site, mut provider) = site().await;
        provider.settings.link_by_email = true;
        let rows = format!(
            "UPDATE user SET email = 'bob@plant.test' WHERE name = 'grace';
             INSERT INTO oidc_link (provider, subject, user, created_at)
               SELECT '{}', 'clerk', id, 0 FROM user WHERE name = 'grace'",
            provider.id
        );
        let make = move |tx: &Transaction| {
            tx.execute_batch(&rows)?;
            Ok((Entry::event("test.made", &()), ()))
        };
        site.app.store.change(&Actor::system("test"), make).await.unwrap();
        let come = comes(&site, &provider, person("bob", Some("bob@plant.test"), &["ops"])).await;
        assert!(
            come.is_err() || come.unwrap().0 != "grace",
            "whoever comes as “clerk” would hold bob's roles"
        );
    }

    #[tokio::test]
    async fn what_a_provider_said_counts_only_while_it_is_what_it_was_when_it_was_asked() {
        let (site, provider) = site().await;
        let link = format!(
            "INSERT INTO oidc_link (provider, subject, user, created_at)
               SELECT '{}', 's', id, 0 FROM user WHERE name = 'grace'",
            provider.id
        );
        let off = "UPDATE oidc_provider SET enabled = 0";
        let other = "UPDATE oidc_provider SET enabled = 1, version = version + 1";
        let mut come = comes(&site, &provider, person("s", None, &["ops"])).await;
        assert!(come.is_err(), "not linked yet");
        for (change, refused) in [(link.as_str(), false), (off, true), (other, true)] {
            let change = change.to_owned();
            let make = move |tx: &Transaction| Ok((Entry::event("test.made", &()), tx.execute(&change, [])?));
            site.app.store.change(&Actor::system("test"), make).await.unwrap();
            come = comes(&site, &provider, person("s", None, &["ops"])).await;
            assert_eq!(come.is_err(), refused, "{come:?}");
        }
        assert!(come.unwrap_err().contains("in the meantime"));
    }

    #[tokio::test]
    async fn a_provider_never_speaks_for_the_owner_nor_for_who_is_disabled() {
        let (site, provider) = site().await;
        for (name, why) in [("ada", "the owner signs in here"), ("alan", "is disabled")] {
            let link = format!(
                "INSERT INTO oidc_link (provider, subject, user, created_at)
                   SELECT '{}', '{name}', id, 0 FROM user WHERE name = '{name}'",
                provider.id
            );
            let make = move |tx: &Transaction| Ok((Entry::event("test.made", &()), tx.execute(&link, [])?));
            site.app.store.change(&Actor::system("test"), make).await.unwrap();
            let refused = comes(&site, &provider, person(name, None, &["ops"])).await;
            assert!(refused.as_ref().is_err_and(|said| said.contains(why)), "{refused:?}");
        }
    }
}
