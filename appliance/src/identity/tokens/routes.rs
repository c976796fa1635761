//! The routes of API tokens: one's own, and everyone's for who may see them.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;

use super::{MadeToken, Token, TokenInput, TokenQuery, TokenUse};
use crate::identity::scopes::{self, Group};
use crate::noun::Link;
use crate::web::Access::{Scope, SignedIn};
use crate::web::{Answer, Call, NoInput, Page, Reply, Routes};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("tokens", "identity/tokens")
        .get("/tokens", SignedIn, own)
        .page("identity/tokens/list.html")
        .summary("List one's own API tokens; a token sees itself, unless it may see everyone's")
        .by_token()
        .nav("Accounts", "Tokens", "key", 840)
        .get("/tokens/all", Scope("tokens:view"), all)
        .page("identity/tokens/list.html")
        .summary("List everyone's API tokens")
        .viewed("token")
        .get("/tokens/new", SignedIn, new)
        .page("identity/tokens/new.html")
        .summary("The form of a new token, and the scopes it may have")
        .post("/tokens", SignedIn, make)
        .page("identity/tokens/made.html")
        .form("/tokens/new")
        .summary("Make a token; the answer is the only time that it is told")
        .rate_limited()
        .get("/tokens/{id}", SignedIn, show)
        .page("identity/tokens/show.html")
        .summary("One token: one's own, or anyone's for who may see them")
        .by_token()
        .get("/tokens/{id}/revoke", SignedIn, ask)
        .page("identity/tokens/revoke.html")
        .summary("What revoking a token would end")
        .post("/tokens/{id}/revoke", SignedIn, revoke)
        .summary("Revoke a token: one's own, or anyone's for who may manage them")
        .by_token()
        .rate_limited()
}

#[derive(Serialize, JsonSchema)]
struct TokenList {
    #[serde(flatten)]
    page: Page<Token>,
    /// Whether these are everyone's.
    everyone: bool,
}

async fn own(call: Call, query: TokenQuery) -> Answer<TokenList> {
    Ok(Reply::ok(TokenList { page: call.app.tokens.own(&call, query).await?, everyone: false }))
}

async fn all(call: Call, query: TokenQuery) -> Answer<TokenList> {
    Ok(Reply::ok(TokenList { page: call.app.tokens.all(query).await?, everyone: true }))
}

#[derive(Serialize, JsonSchema)]
struct TokenForm {
    /// What the caller holds, by resource.
    groups: Vec<Group>,
    /// Service accounts that the caller may make tokens for.
    accounts: Vec<Link>,
}

async fn new(call: Call, _: NoInput) -> Answer<TokenForm> {
    let accounts = call.app.tokens.service_accounts(&call).await?;
    let held = |name: &str| call.caller.may(name);
    Ok(Reply::ok(TokenForm { groups: scopes::groups(held, held), accounts }))
}

async fn make(call: Call, input: TokenInput) -> Answer<MadeToken> {
    Ok(Reply::once(call.app.tokens.make(&call, input).await?))
}

#[derive(Serialize, JsonSchema)]
struct TokenPage {
    #[serde(flatten)]
    token: Token,
    /// Of its scopes those that its account holds now.
    counts: BTreeSet<String>,
    /// Networks that it was used from, the last first.
    uses: Vec<TokenUse>,
    /// Whether the caller may revoke it.
    may_revoke: bool,
}

async fn show(call: Call, _: NoInput) -> Answer<TokenPage> {
    let (token, uses, counts) = call.app.tokens.token(&call, call.id("token")?).await?;
    let own = call.caller.is(token.account.id);
    let may_revoke = token.revoked_at.is_none() && (own || call.caller.may("tokens:manage"));
    Ok(look(own, TokenPage { token, counts, uses, may_revoke }))
}

async fn ask(call: Call, _: NoInput) -> Answer<Token> {
    let (token, ..) = call.app.tokens.token(&call, call.id("token")?).await?;
    let own = call.caller.is(token.account.id);
    Ok(look(own, token))
}

/// Another's token is not for everyone.
fn look<T>(own: bool, value: T) -> Reply<T> {
    let reply = Reply::ok(value);
    if own { reply } else { reply.viewed("token") }
}

async fn revoke(call: Call, _: NoInput) -> Answer<Token> {
    let token = call.app.tokens.revoke(&call, call.id("token")?).await?;
    let back = format!("/tokens/{}", token.id);
    let own = call.caller.is(token.account.id);
    let reply = Reply::done(back, format!("The token “{}” is revoked.", token.name), token);
    Ok(if own { reply } else { reply.viewed("token") })
}
