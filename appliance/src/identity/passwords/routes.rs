//! The ways to a new password: one's own, the one that a sign-in asks for, and by a link.

use super::{NewPassword, ResetLink};
use crate::identity::users::{Account, AccountPage};
use crate::identity::{SignedIn, inside, signed_in};
use crate::web::{Access, Answer, Call, NoInput, Reply, Routes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("passwords", "identity/passwords")
        .get("/account/password", Access::SignedIn, own_page)
        .page("identity/passwords/own.html")
        .summary("The form of one's own new password")
        .post("/account/password", Access::SignedIn, change_own)
        .form("/account/password")
        .summary("Change one's own password; the other sessions end")
        .rate_limited()
        .get("/account/password/delete", Access::SignedIn, ask_own_removal)
        .page("identity/passwords/remove.html")
        .summary("What taking one's own password away would mean")
        .delete("/account/password", Access::SignedIn, remove_own)
        .summary("Take one's own password away, where there is another way in")
        .get("/users/{id}/password/delete", Access::Scope("users:manage"), ask_removal)
        .page("identity/passwords/remove.html")
        .summary("What taking an account's password away would mean")
        .viewed("user")
        .delete("/users/{id}/password", Access::Scope("users:manage"), remove)
        .summary("Take an account's password away, where it has another way in")
        .get("/sign-in/new-password", Access::Pending, replace_page)
        .page("identity/passwords/replace.html")
        .summary("The form of a password that must be replaced before the sign-in is complete")
        .post("/sign-in/new-password", Access::Pending, replace)
        .form("/sign-in/new-password")
        .summary("Replace the password and complete the sign-in")
        .rate_limited()
        .get("/users/{id}/reset", Access::Scope("users:manage"), ask_link)
        .page("identity/passwords/ask.html")
        .summary("What a link that sets a person's password would do")
        .viewed("user")
        .post("/users/{id}/reset", Access::Scope("users:manage"), make_link)
        .page("identity/passwords/link.html")
        .summary("Make a link that sets a person's password, once; shown once")
        .get("/reset/{token}", Access::Public, reset_page)
        .page("identity/passwords/reset.html")
        .summary("The form behind such a link")
        .rate_limited()
        .post("/reset/{token}", Access::Public, reset)
        .form("/reset/{token}")
        .summary("Set the password by such a link")
        .rate_limited()
}

#[derive(Serialize, JsonSchema)]
struct NamePage {
    /// The sign-in name, for a password manager.
    name: String,
    /// Where it leads.
    next: String,
}

#[derive(Serialize, JsonSchema)]
struct Done {}

async fn own_page(call: Call, _: NoInput) -> Answer<NamePage> {
    Ok(Reply::ok(NamePage { name: call.user()?.name.clone(), next: "/account".into() }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct OwnForm {
    /// The password until now.
    #[schemars(extend("format" = "password"))]
    password_now: String,
    #[schemars(extend("format" = "password"))]
    password: String,
    #[schemars(extend("format" = "password"))]
    password_again: String,
}

async fn change_own(call: Call, form: OwnForm) -> Answer<Done> {
    let new = NewPassword { password: form.password, again: form.password_again };
    let token = call.app.identity.change_password(&call, form.password_now, new).await?;
    let notice = "Your password is changed. Your other sessions are over.";
    Ok(Reply::done("/account", notice, Done {}).start_session(token))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NextQuery {
    /// The page to go on to.
    #[serde(default)]
    next: Option<String>,
}

async fn replace_page(call: Call, query: NextQuery) -> Answer<NamePage> {
    Ok(Reply::ok(NamePage { name: call.user()?.name.clone(), next: inside(query.next.as_deref(), "/") }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ReplaceForm {
    #[schemars(extend("format" = "password"))]
    password: String,
    #[schemars(extend("format" = "password"))]
    password_again: String,
    /// The page to go on to.
    #[serde(default)]
    next: Option<String>,
}

async fn replace(call: Call, form: ReplaceForm) -> Answer<SignedIn> {
    let new = NewPassword { password: form.password, again: form.password_again };
    let done = call.app.identity.replace_password(&call, new).await?;
    Ok(signed_in(done, form.next.as_deref()))
}

async fn ask_own_removal(call: Call, _: NoInput) -> Answer<AccountPage> {
    Ok(Reply::ok(call.app.identity.user(&call, call.user()?.id).await?))
}

async fn remove_own(call: Call, _: NoInput) -> Answer<Account> {
    call.held()?;
    let account = call.app.identity.remove_password(&call, call.user()?.id).await?;
    Ok(Reply::done("/account", "Your password is gone. Your other sessions are over.", account))
}

async fn ask_removal(call: Call, _: NoInput) -> Answer<AccountPage> {
    Ok(Reply::ok(call.app.identity.user(&call, call.id("user")?).await?))
}

async fn remove(call: Call, _: NoInput) -> Answer<Account> {
    let account = call.app.identity.remove_password(&call, call.id("user")?).await?;
    let notice = format!("The password of {} is gone, and the sessions are over.", account.name);
    Ok(Reply::done(format!("/users/{}", account.id), notice, account))
}

async fn ask_link(call: Call, _: NoInput) -> Answer<AccountPage> {
    Ok(Reply::ok(call.app.identity.user(&call, call.id("user")?).await?))
}

async fn make_link(call: Call, _: NoInput) -> Answer<ResetLink> {
    Ok(Reply::once(call.app.identity.make_reset_link(&call, call.id("user")?).await?))
}

async fn reset_page(call: Call, _: NoInput) -> Answer<NamePage> {
    let link = call.app.identity.reset_link(&call, call.param("token")).await?;
    Ok(Reply::ok(NamePage { name: link.name, next: "/sign-in".into() }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ResetForm {
    #[schemars(extend("format" = "password"))]
    password: String,
    #[schemars(extend("format" = "password"))]
    password_again: String,
}

async fn reset(call: Call, form: ResetForm) -> Answer<Done> {
    let new = NewPassword { password: form.password, again: form.password_again };
    call.app.identity.reset_password(&call, call.param("token"), new).await?;
    Ok(Reply::done("/sign-in", "Your password is set. Sign in with it.", Done {}))
}
