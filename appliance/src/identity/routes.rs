//! Setup, sign-in, sign-out and the theme switch.

use super::{NewOwner, User};
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
        .get("/sign-in", Access::Public, sign_in_page)
        .page("identity/sign_in.html")
        .summary("The sign-in page")
        .post("/sign-in", Access::Public, sign_in)
        .form("/sign-in")
        .summary("Sign in; the answer sets the session cookie")
        .rate_limited()
        .post("/sign-out", Access::Public, sign_out)
        .summary("End this session")
        .get("/me", Access::SignedIn, me)
        .summary("Who is signed in, with which scopes")
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

async fn setup(call: Call, form: SetupForm) -> Answer<User> {
    let SetupForm { code, name, display, password, password_again } = form;
    let new = NewOwner { code, name, display, password, password_again };
    let (user, token) = call.app.identity.set_up(&call, new).await?;
    Ok(Reply::done("/", "Welcome. This account owns the appliance.", user).start_session(token))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignInQuery {
    /// The page to go on to.
    #[serde(default)]
    next: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct SignInPage {
    next: String,
}

async fn sign_in_page(_: Call, query: SignInQuery) -> Answer<SignInPage> {
    Ok(Reply::ok(SignInPage { next: inside(query.next.as_deref()) }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct SignInForm {
    name: String,
    #[schemars(extend("format" = "password"))]
    password: String,
    /// The page to go on to.
    #[serde(default)]
    next: Option<String>,
}

async fn sign_in(call: Call, form: SignInForm) -> Answer<User> {
    let (user, token) = call.app.identity.sign_in(&call, form.name, form.password).await?;
    Ok(Reply::redirect(inside(form.next.as_deref()), user).start_session(token))
}

/// A path of this site; anything else leads to the overview.
fn inside(next: Option<&str>) -> String {
    let fits = |path: &&str| {
        path.starts_with('/')
            && !path.starts_with("//")
            && !path.contains('\\')
            && !path.contains(char::is_control)
    };
    next.filter(fits).unwrap_or("/").to_owned()
}

#[derive(Serialize, JsonSchema)]
struct Nothing {}

async fn sign_out(call: Call, _: NoInput) -> Answer<Nothing> {
    call.app.identity.sign_out(&call).await?;
    Ok(Reply::done("/sign-in", "Signed out.", Nothing {}).end_session())
}

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
    Ok(Reply::redirect(inside(form.next.as_deref()), Nothing {}).theme(theme))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sign_in_leads_to_this_site_only() {
        for outside in ["https://evil", "//evil", "/\\evil", "evil", "/a\nb"] {
            assert_eq!(inside(Some(outside)), "/");
        }
        assert_eq!(inside(Some("/scans?x=1")), "/scans?x=1");
    }
}
