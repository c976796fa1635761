//! How a session begins: on what was checked, where that still stands.

use super::{Limits, SignedIn, Vouched, store};
use crate::audit::{Actor, Entry, Outcome};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::identity::passwords::lockout;
use crate::identity::sign_in::Claimed;
use crate::identity::users::store as users;
use crate::identity::{Identity, Stage, User};
use crate::settings;
use crate::web::Call;
use rusqlite::Transaction;
use serde_json::json;
use std::net::IpAddr;
use uuid::Uuid;

/// What somebody came by, as it was when it was checked. That may be long before the session begins (passwords queue for
/// their work, a provider answers in its own time), and meanwhile it may have been reset, locked or withdrawn, and the
/// sessions of the account ended. So it is asked again in the transaction in which the session begins.
pub(in crate::identity) enum Checked {
    /// The password behind this hash.
    Password(String),
    /// The security key of this id, which verified its user by itself.
    Key(Uuid),
    /// A provider's word.
    Provider {
        /// Whose, and what is kept of it.
        vouched: Vouched,
        /// It stands for a second factor too.
        strong: bool,
    },
}

impl Checked {
    fn method(&self) -> &'static str {
        match self {
            Self::Password(_) => "password",
            Self::Key(_) => "security-key",
            Self::Provider { .. } => "oidc",
        }
    }

    /// The stage of a sign-in that it passes; none right after a name and a password.
    fn passed(&self) -> Option<Stage> {
        match self {
            Self::Password(_) => None,
            Self::Key(_) => Some(Stage::SecondFactor),
            Self::Provider { strong, .. } => strong.then_some(Stage::NewPassword),
        }
    }

    /// Why it no longer signs `user` in from there, for the audit alone; none while it does.
    fn fallen(
        &self,
        tx: &Transaction,
        user: Uuid,
        source: IpAddr,
        now: Timestamp,
    ) -> Result<Option<&'static str>> {
        let known = match users::known(tx, user) {
            Ok(known) if known.may_sign_in() => known,
            Ok(_) | Err(Error::NotFound { .. }) => return Ok(Some("not-active")),
            Err(error) => return Err(error),
        };
        Ok(match self {
            Self::Password(hash) => {
                let claimed = Claimed::of(tx, Some(known), source, now)?;
                let same = claimed.hash().as_ref() == Some(hash);
                let why = claimed.why();
                (!same).then_some(if why == "wrong-password" { "password-changed" } else { why })
            }
            Self::Key(key) => (!store::has_key(tx, user, *key)?).then_some("key-removed"),
            Self::Provider { .. } if known.user.owner => Some("owner"),
            Self::Provider { vouched, .. } => {
                (!store::is_vouched_for(tx, user, vouched.provider)?).then_some("provider-withdrawn")
            }
        })
    }

    /// What its bearer is told then: no more than of one that was wrong.
    fn refused(&self) -> Error {
        match self {
            Self::Password(_) => Error::invalid("password", "does not fit the name"),
            Self::Key(_) => Error::invalid("key", "is not known here"),
            Self::Provider { .. } => {
                Error::conflict("your account or the provider was changed while you signed in: begin again")
            }
        }
    }
}

impl Identity {
    /// Begins a session for `user`, who just proved to be it by what was `checked`, as far as that goes. One that the same
    /// browser held before ends.
    ///
    /// # Errors
    /// What a wrong one is told, where what was checked no longer stands; any from the database.
    pub(in crate::identity) async fn begin(
        &self,
        call: &Call,
        user: &User,
        checked: Checked,
    ) -> Result<SignedIn> {
        let minted = self.0.tokens.mint(&self.0.random);
        let before = call.session_token().and_then(|token| self.0.tokens.read(token));
        let (now, id, source, agent) = (self.0.clock.now(), user.id, call.source, call.agent.clone());
        let (method, passed) = (checked.method(), checked.passed());
        let actor = call.acting(Actor::user(user.id, user.name.clone()).by(method));
        let begin = move |tx: &Transaction| {
            if let Some(why) = checked.fallen(tx, id, source, now)? {
                let entry = Entry::sign_in("sign-in", &json!({ "why": why })).on("user", id);
                return Ok((entry.outcome(Outcome::Refused), Err(checked.refused())));
            }
            let stage = Stage::after(tx, id, passed)?;
            let limits = settings::current::<Limits>(tx)?.value;
            if let Some(before) = before {
                store::end(tx, &before)?;
            }
            let source = source.to_canonical();
            // Wrong ones are forgotten by a whole sign-in: else a known password would set back the count of wrong codes.
            if stage != Stage::SecondFactor {
                lockout::forget(tx, id, Some(source))?;
            }
            let new = store::NewSession {
                hash: minted.hash,
                user: id,
                stage,
                // Whatever passed the second factor's stage stands for one.
                strong: passed.is_some(),
                method,
                now,
                expires_at: now + limits.absolute(),
                source: &source.to_string(),
                agent: &agent,
            };
            store::insert(tx, &new)?;
            if let Checked::Provider { vouched, .. } = &checked {
                store::keep_origin(tx, &minted.hash, vouched)?;
            }
            store::seen(tx, &minted.hash, id, now)?;
            Ok((Entry::sign_in("sign-in", &json!({ "stage": stage })).on("user", id), Ok(stage)))
        };
        let stage = self.0.store.change(&actor, begin).await??;
        Ok(SignedIn { user: user.clone(), stage, token: minted.token })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test::TestSite;

    /// Grace, with a key and a provider that knows her, and what she comes by.
    async fn grace(site: &TestSite) -> (User, [Checked; 3]) {
        let id: Uuid = site.person("grace", &["viewer"]).await.own_id().await.parse().unwrap();
        let (key, provider) = (Uuid::from_u128(1), Uuid::from_u128(2));
        site.sql(&format!(
            "INSERT INTO security_key (id, user, name, credential_id, credential, created_at)
               VALUES ('{key}', '{id}', 'blue', x'01', '{{}}', 0);
             INSERT INTO oidc_provider (id, name, settings, created_at, updated_at)
               VALUES ('{provider}', 'sso', '{{}}', 0, 0);
             INSERT INTO oidc_link (provider, subject, user, created_at) VALUES ('{provider}', 's', '{id}', 0);
             DELETE FROM session WHERE user = '{id}'"
        ))
        .await;
        let known = site.app.store.read(move |db| users::known(db, id)).await.unwrap();
        let vouched = Vouched { provider, id_token: None };
        let ways = [
            Checked::Password(known.password_hash.unwrap()),
            Checked::Key(key),
            Checked::Provider { vouched, strong: true },
        ];
        (known.user, ways)
    }

    async fn sessions(site: &TestSite, user: &User) -> u64 {
        let list = site.get(&format!("/sessions?user={}", user.id)).await.json();
        list["total"].as_u64().unwrap()
    }

    #[tokio::test]
    async fn a_session_begins_on_what_still_stands() {
        let site = TestSite::new().await;
        let (user, ways) = grace(&site).await;
        for (count, way) in (1..).zip(ways) {
            site.app.identity.begin(&site.call(), &user, way).await.unwrap();
            assert_eq!(sessions(&site, &user).await, count);
        }
    }

    #[tokio::test]
    async fn what_was_taken_away_since_it_was_checked_begins_no_session() {
        for (meanwhile, whys) in [
            ("UPDATE user SET status = 'disabled' WHERE name = 'grace'", ["not-active"; 3]),
            ("DELETE FROM user WHERE name = 'grace'", ["not-active"; 3]),
            (
                "UPDATE user SET password_hash = (SELECT password_hash FROM user WHERE is_owner) WHERE name = 'grace'",
                ["password-changed", "", ""],
            ),
            ("UPDATE user SET password_hash = NULL WHERE name = 'grace'", ["no-password", "", ""]),
            (
                "INSERT INTO lockout SELECT id, '192.0.2.1', 5, 9000000000000000000 FROM user WHERE name = 'grace'",
                ["locked", "", ""],
            ),
            (
                "INSERT INTO setting (name, value) VALUES ('local-sign-in', '{\"local\":\"owner-only\"}')",
                ["passwords-off", "", ""],
            ),
            ("DELETE FROM security_key", ["", "key-removed", ""]),
            ("UPDATE oidc_provider SET enabled = 0", ["", "", "provider-withdrawn"]),
            ("DELETE FROM oidc_link", ["", "", "provider-withdrawn"]),
            (
                "UPDATE user SET is_owner = 0 WHERE is_owner = 1; UPDATE user SET is_owner = 1 WHERE name = 'grace'",
                ["", "", "owner"],
            ),
        ] {
            let site = TestSite::new().await;
            let (user, ways) = grace(&site).await;
            site.sql(meanwhile).await;
            for (way, why) in ways.into_iter().zip(whys) {
                let method = way.method();
                let before = site.app.store.audit_head().await.unwrap().seq;
                let begun = site.app.identity.begin(&site.call(), &user, way).await;
                assert_eq!(begun.is_ok(), why.is_empty(), "{meanwhile}: {method}: {:?}", begun.err());
                let after = site.app.store.audit_head().await.unwrap().seq;
                assert_eq!(after - before, 1, "{meanwhile}: {method}: an entry, either way");
            }
            let wanted: Vec<&str> = whys.into_iter().filter(|why| !why.is_empty()).collect();
            let told = crate::identity::factors::tests::audit_of(&site).await;
            assert_eq!(told.matches("\"why\":").count(), wanted.len(), "{meanwhile}: {told}");
            for why in wanted {
                assert!(told.contains(&format!("\"why\":\"{why}\"")), "{meanwhile}: {why}: {told}");
            }
        }
    }
}
