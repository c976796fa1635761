//! The rows of sessions: one's own on the page of the account, all of them, and how long they last.

use super::{Limits, Session, SessionQuery};
use crate::identity::users::{Account, AccountPage};
use crate::settings::Current;
use crate::web::Access::{Scope, SignedIn};
use crate::web::{Answer, Call, NoInput, Page, Reply, Routes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("sessions", "identity/sessions")
        .get("/account", SignedIn, account)
        .page("identity/account.html")
        .summary("One's own account and sessions")
        .docs("identity/account")
        .delete("/account/sessions/{id}", SignedIn, end_own)
        .summary("End one of one's own sessions")
        .docs("identity/account")
        .post("/account/sessions/end-others", SignedIn, end_others)
        .summary("End all of one's own sessions but this one")
        .docs("identity/account")
        .get("/sessions", Scope("sessions:view"), list)
        .page("identity/sessions/list.html")
        .summary("List the sessions of everyone")
        .viewed("session")
        .nav("Accounts", "Sessions", "sessions", 850)
        .delete("/sessions/{id}", Scope("sessions:manage"), end)
        .summary("End a session")
        .post("/users/{id}/end-sessions", Scope("sessions:manage"), end_all)
        .summary("End all sessions of an account, but not the one that asks")
        .get("/settings/sessions", Scope("settings:view"), limits)
        .page("identity/sessions/limits.html")
        .summary("How long sessions last")
        .viewed("setting")
        .nav("Accounts", "Session limits", "settings", 860)
        .get("/settings/sessions/edit", Scope("settings:manage"), limits)
        .page("identity/sessions/edit.html")
        .summary("The form of how long sessions last")
        .viewed("setting")
        .update("/settings/sessions", Scope("settings:manage"), set_limits)
        .form("/settings/sessions/edit")
        .summary("Change how long sessions last, also those that go on")
}

/// One's own account.
#[derive(Serialize, JsonSchema)]
struct AccountView {
    /// The account.
    account: Account,
    /// What it may do.
    scopes: Vec<String>,
    /// Whether its password can be taken away: it has another way in, and is not the owner's.
    password_may_go: bool,
    /// Its sessions.
    sessions: Page<Session>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OwnQuery {
    /// `last_seen`, `created_at`, `method` or `source`; `-` in front turns it round.
    sort: Option<String>,
    /// Rows an answer holds, 1 to 500; 50 when absent.
    limit: Option<u32>,
    /// Where the last page ended.
    cursor: Option<String>,
}

async fn account(call: Call, query: OwnQuery) -> Answer<AccountView> {
    let OwnQuery { sort, limit, cursor } = query;
    let id = call.user()?.id;
    let query = SessionQuery { user: Some(id), sort, limit, cursor, q: None };
    let sessions = call.app.identity.sessions(&call, query).await?;
    let AccountPage { account, password_may_go, .. } = call.app.identity.user(&call, id).await?;
    let scopes = call.caller.scopes.iter().cloned().collect();
    Ok(Reply::ok(AccountView { account, scopes, password_may_go, sessions }))
}

async fn end_own(call: Call, _: NoInput) -> Answer<Session> {
    let own = call.user()?.id;
    let session = call.app.identity.revoke_session(&call, call.param("id").to_owned(), Some(own)).await?;
    Ok(Reply::done("/account", "The session is over.", session))
}

/// How many sessions ended.
#[derive(Serialize, JsonSchema)]
struct Ended {
    ended: usize,
}

async fn end_others(call: Call, _: NoInput) -> Answer<Ended> {
    let ended = call.app.identity.revoke_sessions_of(&call, call.user()?.id).await?;
    Ok(Reply::done("/account", told(ended), Ended { ended }))
}

async fn list(call: Call, query: SessionQuery) -> Answer<Page<Session>> {
    Ok(Reply::ok(call.app.identity.sessions(&call, query).await?))
}

async fn end(call: Call, _: NoInput) -> Answer<Session> {
    let session = call.app.identity.revoke_session(&call, call.param("id").to_owned(), None).await?;
    Ok(Reply::done("/sessions", format!("The session of {} is over.", session.user.name), session))
}

async fn end_all(call: Call, _: NoInput) -> Answer<Ended> {
    let id = call.id("user")?;
    call.app.identity.user(&call, id).await?;
    let ended = call.app.identity.revoke_sessions_of(&call, id).await?;
    Ok(Reply::done(format!("/users/{id}"), told(ended), Ended { ended }))
}

fn told(ended: usize) -> String {
    match ended {
        0 => "There was no other session.".to_owned(),
        1 => "One session is over.".to_owned(),
        many => format!("{many} sessions are over."),
    }
}

async fn limits(call: Call, _: NoInput) -> Answer<Current<Limits>> {
    let limits = call.app.identity.limits().await?;
    let version = limits.version;
    Ok(Reply::ok(limits).version(version))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LimitsForm {
    /// Minutes after which a session ends that nobody used.
    idle_minutes: u32,
    /// Hours after which every session ends.
    absolute_hours: u32,
    /// The version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    version: Option<i64>,
}

async fn set_limits(call: Call, form: LimitsForm) -> Answer<Current<Limits>> {
    let LimitsForm { idle_minutes, absolute_hours, version } = form;
    let limits = Limits { idle_minutes, absolute_hours };
    let limits = call.app.identity.set_limits(&call, version, limits).await?;
    let version = limits.version;
    Ok(Reply::done("/settings/sessions", "Saved. It holds for sessions that go on, too.", limits)
        .version(version))
}
