//! Providers as they are configured, and signing in by one.

use super::local::LocalSignIn;
use super::sign_in::{Arrived, Back};
use super::{Provider, ProviderInput, ProviderQuery};
use crate::error::Error;
use crate::identity::sign_in::routes::proved;
use crate::identity::{SignedIn, inside, signed_in};
use crate::noun::{DeletePage, Deletion, EditPage};
use crate::settings::Current;
use crate::web::Access::{Pending, Public, Scope};
use crate::web::{Answer, Call, NoInput, Page, Reply, Routes};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("providers", "identity/providers")
        .get("/providers", Scope("oidc:manage"), list)
        .page("identity/providers/list.html")
        .summary("List providers, and whether passwords still sign in")
        .viewed("provider")
        .nav("Accounts", "Providers", "providers", 830)
        .get("/providers/new", Scope("oidc:manage"), new)
        .page("identity/providers/edit.html")
        .summary("The form of a new provider")
        .post("/providers", Scope("oidc:manage"), create)
        .form("/providers/new")
        .summary("Configure a provider")
        .get("/providers/local", Scope("oidc:manage"), local)
        .page("identity/providers/local.html")
        .summary("Whether passwords still sign in")
        .viewed("provider")
        .post("/providers/local", Scope("oidc:manage"), set_local)
        .form("/providers/local")
        .summary("Let passwords sign in for all, for the owner, or for nobody")
        .get("/providers/{id}", Scope("oidc:manage"), show)
        .page("identity/providers/show.html")
        .summary("One provider")
        .viewed("provider")
        .get("/providers/{id}/edit", Scope("oidc:manage"), edit)
        .page("identity/providers/edit.html")
        .summary("The form of a provider")
        .viewed("provider")
        .update("/providers/{id}", Scope("oidc:manage"), update)
        .form("/providers/{id}/edit")
        .summary("Change a provider")
        .post("/providers/{id}/try", Scope("oidc:manage"), try_out)
        .summary("Ask a provider for its ends and keys, as a sign-in would")
        .get("/providers/{id}/delete", Scope("oidc:manage"), ask_delete)
        .page("identity/providers/delete.html")
        .summary("What a provider's deletion would mean")
        .viewed("provider")
        .delete("/providers/{id}", Scope("oidc:manage"), delete)
        .summary("Delete a provider")
        .post("/sign-in/provider/{id}", Public, begin)
        .page("identity/providers/go.html")
        .summary("Begin to sign in by a provider; the answer has the address to go to")
        .rate_limited()
        .post("/prove/provider/{id}", Pending, begin_proof)
        .page("identity/providers/go.html")
        .summary("Begin to prove by a provider who one is; the answer has the address to go to")
        .docs("identity/prove")
        .rate_limited()
        .get("/sign-in/provider/{id}/back", Public, back)
        .leads_on()
        .summary("Where a provider sends the browser back to")
        .rate_limited()
}

#[derive(Serialize, JsonSchema)]
struct List {
    #[serde(flatten)]
    page: Page<Provider>,
    /// Who signs in by a password.
    local: super::local::Local,
    /// Whether the caller may change any of it: only a person who holds everything.
    may_change: bool,
}

async fn list(call: Call, query: ProviderQuery) -> Answer<List> {
    let page = call.app.oidc.providers(&call, query).await?;
    let local = call.app.oidc.local().await?.value.local;
    let may_change = call.app.oidc.may_configure(&call).is_ok();
    Ok(Reply::ok(List { page, local, may_change }))
}

async fn new(call: Call, _: NoInput) -> Answer<EditPage<Provider>> {
    call.app.oidc.may_configure(&call)?;
    Ok(Reply::ok(EditPage { item: None }))
}

async fn create(call: Call, input: ProviderInput) -> Answer<Provider> {
    let provider = call.app.oidc.create(&call, input).await?;
    let version = provider.version;
    Ok(Reply::created(path(&provider), provider).version(version))
}

async fn show(call: Call, _: NoInput) -> Answer<Provider> {
    let provider = call.app.oidc.provider(&call, call.id("provider")?).await?;
    let version = provider.version;
    Ok(Reply::ok(provider).version(version))
}

async fn edit(call: Call, _: NoInput) -> Answer<EditPage<Provider>> {
    call.app.oidc.may_configure(&call)?;
    let item = call.app.oidc.provider(&call, call.id("provider")?).await?;
    Ok(Reply::ok(EditPage { item: Some(item) }))
}

async fn update(call: Call, input: ProviderInput) -> Answer<Provider> {
    let provider = call.app.oidc.update(&call, call.id("provider")?, input).await?;
    let version = provider.version;
    Ok(Reply::done(path(&provider), "Saved.", provider).version(version))
}

async fn try_out(call: Call, _: NoInput) -> Answer<Provider> {
    let provider = call.app.oidc.try_out(&call, call.id("provider")?).await?;
    Ok(Reply::done(path(&provider), "It answers, and its keys are there.", provider))
}

async fn ask_delete(call: Call, _: NoInput) -> Answer<DeletePage<Provider>> {
    call.app.oidc.may_configure(&call)?;
    let item = call.app.oidc.provider(&call, call.id("provider")?).await?;
    Ok(Reply::ok(DeletePage { item, in_use: vec![] }))
}

async fn delete(call: Call, deletion: Deletion) -> Answer<Nothing> {
    call.app.oidc.delete(&call, call.id("provider")?, deletion.version).await?;
    Ok(Reply::done("/providers", "The provider is deleted.", Nothing {}))
}

#[derive(Serialize, JsonSchema)]
struct Nothing {}

fn path(provider: &Provider) -> String {
    format!("/providers/{}", provider.id)
}

async fn local(call: Call, _: NoInput) -> Answer<Current<LocalSignIn>> {
    call.app.oidc.may_configure(&call)?;
    Ok(Reply::ok(call.app.oidc.local().await?))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct LocalForm {
    /// `on`, `owner-only` or `off`.
    local: super::local::Local,
    /// The version that was read (JSON may say it as `If-Match`).
    #[serde(default)]
    version: Option<i64>,
}

async fn set_local(call: Call, form: LocalForm) -> Answer<Current<LocalSignIn>> {
    let now = call.app.oidc.set_local(&call, form.version, LocalSignIn { local: form.local }).await?;
    Ok(Reply::done("/providers", "Saved.", now))
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Begin {
    /// The page to go on to.
    #[serde(default)]
    next: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct Go {
    /// What the provider is called.
    provider: String,
    /// The address to go to.
    location: String,
}

async fn begin(call: Call, form: Begin) -> Answer<Go> {
    let next = inside(form.next.as_deref(), "/");
    let (provider, location, trip) = call.app.oidc.begin(&call, call.id("provider")?, next).await?;
    Ok(Reply::ok(Go { provider: provider.name, location }).trip(Some(trip)))
}

async fn begin_proof(call: Call, form: Begin) -> Answer<Go> {
    let next = inside(form.next.as_deref(), "/account");
    let (provider, location, trip) = call.app.oidc.begin_proof(&call, call.id("provider")?, next).await?;
    Ok(Reply::ok(Go { provider: provider.name, location }).trip(Some(trip)))
}

#[derive(Deserialize, JsonSchema)]
struct BackQuery {
    /// What is exchanged for tokens.
    #[serde(default)]
    code: Option<String>,
    /// To which question this is the answer.
    #[serde(default)]
    state: Option<String>,
    /// Why the provider refused.
    #[serde(default)]
    error: Option<String>,
}

async fn back(call: Call, query: BackQuery) -> Answer<SignedIn> {
    let BackQuery { code, state, error } = query;
    let id = call.id("provider")?;
    let done = call.app.oidc.come_back(&call, id, Back { code, state, error }).await;
    let Arrived { done, next, proof } = done.map_err(|error| match error {
        // Said on the sign-in page's own words: the reason is for whoever reads it.
        Error::Invalid(fields) => Error::Conflict(fields.into_iter().map(|field| field.message).collect()),
        other => other,
    })?;
    let reply =
        if proof { proved(done.token.clone(), Some(&next), done) } else { signed_in(done, Some(&next)) };
    Ok(reply.trip(None))
}
