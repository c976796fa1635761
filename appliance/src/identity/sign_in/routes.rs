//! Sign-in, sign-out, and proving again.

use crate::identity::users::Method;
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
        .get("/prove", Access::Pending, prove_page)
        .page("identity/prove.html")
        .summary("Asks again who one is, before what is dangerous")
        .docs("identity/prove")
        .post("/prove", Access::Pending, prove)
        .form("/prove")
        .summary("Prove again who you are, by the password; holds for five minutes")
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
    // The session ends first: it does not wait for a provider that takes its time.
    let parting = call.app.oidc.parting(&call).await?;
    call.app.identity.sign_out(&call).await?;
    let leave = match parting {
        Some(parting) => call.app.oidc.leave(&call, parting).await,
        None => None,
    };
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
    /// Whether the password can be asked for.
    password: bool,
    /// Whether a security key can be asked for.
    key: bool,
    /// The providers that know the caller and can be asked.
    providers: Vec<Link>,
}

async fn prove_page(call: Call, query: NextQuery) -> Answer<ProvePage> {
    let user = call.user()?.clone();
    let (next, methods) =
        (inside(query.next.as_deref(), "/account"), call.app.identity.methods(user.id).await?);
    let has = |method| methods.contains(&method);
    let providers = call.app.oidc.known_by(user.id).await?;
    Ok(Reply::ok(ProvePage {
        next,
        name: user.name,
        password: has(Method::Password),
        key: has(Method::SecurityKey),
        providers,
    }))
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

/// The answer to a proof that gave the session this secret.
pub(in crate::identity) fn proved<T>(token: String, next: Option<&str>, value: T) -> Reply<T> {
    let notice = "Proved, for five minutes. Now do again what you were about to do.";
    Reply::done(inside(next, "/account"), notice, value).start_session(token)
}

async fn prove(call: Call, form: ProveForm) -> Answer<Nothing> {
    let token = call.app.identity.prove(&call, form.password).await?;
    Ok(proved(token, form.next.as_deref(), Nothing {}))
}
