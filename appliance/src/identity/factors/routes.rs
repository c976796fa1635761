//! The pages of second factors: the second step of a sign-in, one's own, and an administrator's reset.

use super::{Clocks, NewCodes, Own, Reset, Shown};
use crate::error::Error;
use crate::identity::{SignedIn, Stage, inside, signed_in};
use crate::noun::Link;
use crate::web::{Access, Answer, Call, NoInput, Reply, Routes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rows.
pub fn routes() -> Routes {
    own(second(Routes::of("second factors", "identity/factors")))
        .get("/users/{id}/second-factor", Access::Scope("users:manage"), of_another)
        .page("identity/factors/reset.html")
        .summary("What second factors a user has, and the question whether to take them away")
        .viewed("user")
        .delete("/users/{id}/second-factor", Access::Scope("users:manage"), reset)
        .summary("Take all second factors from a user who has lost them")
        .get("/settings/time", Access::Scope("settings:view"), clocks)
        .page("identity/factors/time.html")
        .summary("The appliance's time, and how far the clocks of apps and scanners are from it")
        .docs("identity/time")
        .viewed("setting")
        .nav("System", "Time", "running", 891)
}

/// For a session that waits for its second factor.
fn second(routes: Routes) -> Routes {
    routes
        .get("/sign-in/second-factor", Access::Pending, second_page)
        .page("identity/factors/second.html")
        .summary("The second step of a sign-in")
        .post("/sign-in/second-factor", Access::Pending, second_step)
        .form("/sign-in/second-factor")
        .summary("Give the second factor; the answer sets a new session cookie")
        .rate_limited()
        .get("/sign-in/second-factor/app", Access::Pending, app_page)
        .page("identity/factors/first_app.html")
        .summary("The secret for an authenticator app, for one who must have a second factor")
        .post("/sign-in/second-factor/app", Access::Pending, begin)
        .summary("Make a secret for an authenticator app, for one who must have a second factor")
        .rate_limited()
        .post("/sign-in/second-factor/app/confirm", Access::Pending, confirm)
        .page("identity/factors/first_codes.html")
        .form("/sign-in/second-factor/app")
        .summary("Confirm the app by a code, and go on; the answer has the recovery codes")
        .rate_limited()
}

/// For whoever is signed in.
fn own(routes: Routes) -> Routes {
    routes
        .get("/account/second-factor", Access::SignedIn, own_page)
        .page("identity/factors/own.html")
        .summary("One's own second factors")
        .get("/account/second-factor/app", Access::SignedIn, app_page)
        .page("identity/factors/app.html")
        .summary("The secret for an authenticator app, until a code of it has come")
        .post("/account/second-factor/app", Access::SignedIn, begin)
        .summary("Make a secret for an authenticator app")
        .post("/account/second-factor/app/confirm", Access::SignedIn, confirm)
        .page("identity/factors/codes.html")
        .form("/account/second-factor/app")
        .summary("Confirm the app by a code; the answer has the recovery codes")
        .rate_limited()
        .get("/account/second-factor/app/delete", Access::SignedIn, own_page)
        .page("identity/factors/remove_app.html")
        .summary("The question whether to remove the authenticator app")
        .delete("/account/second-factor/app", Access::SignedIn, remove_app)
        .summary("Remove the authenticator app")
        .post("/account/second-factor/recovery-codes", Access::SignedIn, renew)
        .page("identity/factors/codes.html")
        .summary("Make new recovery codes in place of the old ones")
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NextQuery {
    /// The page to go on to.
    #[serde(default)]
    next: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct SecondPage {
    /// There is no factor yet, and a role asks for one: it must be set up now.
    to_set_up: bool,
    /// An authenticator app can be asked.
    app: bool,
    /// A security key can be asked.
    key: bool,
    /// The page to go on to.
    next: String,
}

async fn second_page(call: Call, query: NextQuery) -> Answer<SecondPage> {
    let user = super::waiting(&call)?.id;
    let own = call.app.factors.of(user).await?;
    let (app, key) = (own.app.is_some(), !own.keys.is_empty());
    if !app && !key {
        call.app.identity.proved(&call)?;
    }
    Ok(Reply::ok(SecondPage { to_set_up: !app && !key, app, key, next: inside(query.next.as_deref(), "/") }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct CodeForm {
    /// Six digits of the app, or a recovery code.
    #[schemars(extend("format" = "password"))]
    code: String,
    /// The page to go on to.
    #[serde(default)]
    next: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Nothing {}

async fn second_step(call: Call, form: CodeForm) -> Answer<SignedIn> {
    let done = call.app.factors.second(&call, &form.code).await?;
    Ok(signed_in(done, form.next.as_deref()))
}

#[derive(Serialize, JsonSchema)]
struct AppPage {
    #[serde(flatten)]
    shown: Shown,
    /// The page to go on to.
    next: String,
}

async fn app_page(call: Call, query: NextQuery) -> Answer<AppPage> {
    let shown = call.app.factors.shown(&call).await?;
    Ok(Reply::ok(AppPage { shown, next: inside(query.next.as_deref(), "/") }))
}

async fn begin(call: Call, form: NextQuery) -> Answer<Nothing> {
    call.app.factors.begin(&call).await?;
    let next = inside(form.next.as_deref(), "/");
    let query: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
    let page = if call.held()?.stage == Stage::Full { "/account" } else { "/sign-in" };
    Ok(Reply::redirect(format!("{page}/second-factor/app?next={query}"), Nothing {}))
}

async fn confirm(call: Call, form: CodeForm) -> Answer<NewCodes> {
    let (codes, done) = call.app.factors.confirm(&call, &form.code).await?;
    let next = inside(form.next.as_deref(), "/");
    Ok(match done {
        // A session that still lacks something is led there by whatever page it asks for.
        Some(done) => Reply::once(NewCodes { codes, next }).start_session(done.token),
        None => Reply::once(NewCodes { codes, next: "/account/second-factor".to_owned() }),
    })
}

async fn own_page(call: Call, _: NoInput) -> Answer<Own> {
    let user = call.user()?.id;
    Ok(Reply::ok(call.app.factors.of(user).await?))
}

async fn remove_app(call: Call, _: NoInput) -> Answer<Nothing> {
    call.app.factors.remove_app(&call).await?;
    Ok(Reply::done("/account/second-factor", "The authenticator app is removed.", Nothing {}))
}

async fn renew(call: Call, _: NoInput) -> Answer<NewCodes> {
    let codes = call.app.factors.renew_codes(&call).await?;
    Ok(Reply::once(NewCodes { codes, next: "/account/second-factor".to_owned() }))
}

async fn clocks(call: Call, _: NoInput) -> Answer<Clocks> {
    Ok(Reply::ok(call.app.factors.clocks(&call).await?))
}

#[derive(Serialize, JsonSchema)]
struct OfAnother {
    user: Link,
    #[serde(flatten)]
    own: Own,
}

async fn of_another(call: Call, _: NoInput) -> Answer<OfAnother> {
    let id = call.id("user")?;
    let name = call.app.factors.name(id).await?.ok_or(Error::not_found("user", id))?;
    Ok(Reply::ok(OfAnother { user: Link { id, name }, own: call.app.factors.of(id).await? }))
}

async fn reset(call: Call, _: NoInput) -> Answer<Reset> {
    let id = call.id("user")?;
    let done = call.app.factors.reset(&call, id).await?;
    let said = if done.last_way {
        "The second factors are taken away. A key among them was the account's last way in: it has none now."
    } else {
        "The second factors are taken away."
    };
    Ok(Reply::done(format!("/users/{id}"), said, done))
}
