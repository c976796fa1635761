//! Setup, who one is, and the theme switch.

use super::{NewOwner, SignedIn, User, inside};
use crate::error::Error;
use crate::web::{Access, Answer, Call, NoInput, Reply, Routes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("identity", "identity/sign-in")
        .get("/setup", Access::Public, setup_page)
        .page("identity/setup.html")
        .summary("The setup wizard, while there is no user")
        .docs("identity/setup")
        .before_setup()
        .post("/setup", Access::Public, setup)
        .form("/setup")
        .summary("Make the owner, once, with the code that the start printed")
        .docs("identity/setup")
        .before_setup()
        .rate_limited()
        .get("/me", Access::SignedIn, me)
        .summary("Who is signed in, with which scopes")
        .by_token()
        .post("/theme", Access::Public, theme)
        .summary("Choose light, dark, or what the system wishes")
        .before_setup()
}

#[derive(Serialize, JsonSchema)]
struct SetupPage {}

async fn setup_page(call: Call, _: NoInput) -> Answer<SetupPage> {
    if !call.app.identity.needs_setup().await? {
        return Err(Error::not_found("page", "setup"));
    }
    Ok(Reply::ok(SetupPage {}))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SetupForm {
    /// The one-time code from the console.
    code: String,
    /// The name to sign in with.
    name: String,
    /// The name to show.
    #[serde(default)]
    display: String,
    #[schemars(extend("format" = "password"))]
    password: String,
    #[schemars(extend("format" = "password"))]
    password_again: String,
}

async fn setup(call: Call, form: SetupForm) -> Answer<SignedIn> {
    let SetupForm { code, name, display, password, password_again } = form;
    let new = NewOwner { code, name, display, password, password_again };
    let done = call.app.identity.set_up(&call, new).await?;
    let token = done.token.clone();
    Ok(Reply::done("/", "Welcome. This account owns the appliance.", done).start_session(token))
}

#[derive(Serialize, JsonSchema)]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
struct Me {
    user: Option<User>,
    scopes: Vec<String>,
}

async fn me(call: Call, _: NoInput) -> Answer<Me> {
    Ok(Reply::ok(Me { user: call.caller.user, scopes: call.caller.scopes.into_iter().collect() }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ThemeForm {
    theme: Theme,
    /// The page to go back to.
    #[serde(default)]
    next: Option<String>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
enum Theme {
    Auto,
    Light,
    Dark,
}

async fn theme(_: Call, form: ThemeForm) -> Answer<Nothing> {
    let theme = match form.theme {
        Theme::Auto => "auto",
        Theme::Light => "light",
        Theme::Dark => "dark",
    };
    Ok(Reply::redirect(inside(form.next.as_deref(), "/"), Nothing {}).theme(theme))
}
