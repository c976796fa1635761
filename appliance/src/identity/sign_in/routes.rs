//! Sign-in, sign-out, and proving again.

use crate::error::Error;
use crate::identity::{SignedIn, Stage, inside};
use crate::noun::Link;
use crate::web::{Access, Answer, Call, NoInput, Reply, Routes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("sign-in", "identity/sign-in")
        .get("/sign-in", Access::Public, sign_in_page)
        .page("identity/sign_in.html")
        .summary("The sign-in page")
        .post("/sign-in", Access::Public, sign_in)
        .form("/sign-in")
        .summary("Sign in; the answer sets the session cookie and says what is still missing")
        .rate_limited()
        .post("/sign-out", Access::Public, sign_out)
        .page("identity/providers/left.html")
        .summary("End this session")
        .get("/prove", Access::SignedIn, prove_page)
        .page("identity/prove.html")
        .summary("Asks again for the password, before what is dangerous")
        .docs("identity/prove")
        .post("/prove", Access::SignedIn, prove)
        .form("/prove")
        .summary("Prove again who you are; holds for five minutes")
        .docs("identity/prove")
        .rate_limited()
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct NextQuery {
    /// The page to go on to.
    #[serde(default)]
    next: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct SignInPage {
    next: String,
    /// The providers that people sign in by.
    providers: Vec<Link>,
}

async fn sign_in_page(call: Call, query: NextQuery) -> Answer<SignInPage> {
    let next = inside(query.next.as_deref(), "/");
    Ok(Reply::ok(SignInPage { next, providers: call.app.oidc.offered().await? }))
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

async fn sign_in(call: Call, form: SignInForm) -> Answer<SignedIn> {
    let done = call.app.identity.sign_in(&call, form.name, form.password).await?;
    Ok(signed_in(done, form.next.as_deref()))
}

/// The answer to a sign-in, or to a step of it: the cookie, and the way on.
pub fn signed_in(done: SignedIn, next: Option<&str>) -> Reply<SignedIn> {
    let next = inside(next, "/");
    let to = match done.stage {
        Stage::Full => next,
        stage if next == "/" => stage.page().to_owned(),
        stage => {
            let next: String = form_urlencoded::byte_serialize(next.as_bytes()).collect();
            format!("{}?next={next}", stage.page())
        }
    };
    let token = done.token.clone();
    Reply::redirect(to, done).start_session(token)
}

#[derive(Serialize, JsonSchema)]
struct Nothing {}

#[derive(Serialize, JsonSchema)]
struct Left {
    /// What the provider is called, where the session came from one.
    provider: String,
    /// Where the browser signs out there too; may be empty.
    location: String,
}

async fn sign_out(call: Call, _: NoInput) -> Answer<Left> {
    let leave = call.app.oidc.leave(&call).await;
    call.app.identity.sign_out(&call).await?;
    let (provider, location) = leave.unwrap_or_default();
    let reply = match location.as_str() {
        "" => Reply::done("/sign-in", "Signed out.", Left { provider, location }),
        // A redirect from a form to elsewhere would be refused by our own policy: a page leads there.
        _ => Reply::ok(Left { provider, location }),
    };
    Ok(reply.end_session())
}

#[derive(Serialize, JsonSchema)]
struct ProvePage {
    /// Where it leads.
    next: String,
    /// The sign-in name.
    name: String,
    /// The providers by which one can sign in again instead.
    providers: Vec<Link>,
}

async fn prove_page(call: Call, query: NextQuery) -> Answer<ProvePage> {
    let name = call.user()?.name.clone();
    let providers = call.app.oidc.offered().await?;
    Ok(Reply::ok(ProvePage { next: inside(query.next.as_deref(), "/account"), name, providers }))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct ProveForm {
    #[schemars(extend("format" = "password"))]
    password: String,
    /// The page to go on to.
    #[serde(default)]
    next: Option<String>,
}

async fn prove(call: Call, form: ProveForm) -> Answer<Nothing> {
    if call.caller.session.is_none() {
        return Err(Error::conflict("there is no session here to prove"));
    }
    let token = call.app.identity.prove(&call, form.password).await?;
    let next = inside(form.next.as_deref(), "/account");
    Ok(Reply::done(next, "Proved, for five minutes. Now do again what you were about to do.", Nothing {})
        .start_session(token))
}
