//! Security keys: what the browser needs to make and to use one, and what it brings back.
//!
//! The forms are filled by `static/js/keys.js`; without it, or without a key, they say so.

use super::{Answered, NewKey, ToMake, ToUse};
use crate::error::Error;
use crate::identity::factors::{NewCodes, Own};
use crate::identity::sign_in::routes::proved;
use crate::identity::{SignedIn, inside, signed_in};
use crate::web::{Access, Answer, Call, NoInput, Reply, Routes};
use schemars::JsonSchema;
use serde::Serialize;

/// The rows.
pub fn routes() -> Routes {
    Routes::of("security keys", "identity/security-keys")
        .post("/sign-in/key/options", Access::Public, alone_options)
        .summary("What a browser needs to sign in with a security key alone")
        .rate_limited()
        .post("/sign-in/key", Access::Public, alone)
        .form("/sign-in")
        .summary("Sign in with a security key alone; the answer sets the session cookie")
        .rate_limited()
        .post("/prove/key/options", Access::Pending, prove_options)
        .summary("What a browser needs to ask for one's security key, to prove again who one is")
        .docs("identity/prove")
        .rate_limited()
        .post("/prove/key", Access::Pending, prove)
        .form("/prove")
        .summary("Prove again who you are, by a security key; holds for five minutes")
        .docs("identity/prove")
        .rate_limited()
        .post("/sign-in/second-factor/key/options", Access::Pending, second_options)
        .summary("What a browser needs to ask for one's security key")
        .rate_limited()
        .post("/sign-in/second-factor/key", Access::Pending, second)
        .form("/sign-in/second-factor")
        .summary("Give a security key's answer as the second factor")
        .rate_limited()
        .post("/sign-in/second-factor/keys/options", Access::Pending, make_options)
        .summary("What a browser needs to make a key, for one who must have a second factor")
        .rate_limited()
        .post("/sign-in/second-factor/keys", Access::Pending, make)
        .page("identity/factors/first_codes.html")
        .form("/sign-in/second-factor")
        .summary("Keep the key that the browser made, and go on; the answer has the recovery codes")
        .rate_limited()
        .get("/account/second-factor/keys/new", Access::SignedIn, new)
        .page("identity/factors/key.html")
        .summary("The form to add a security key")
        .post("/account/second-factor/keys/options", Access::SignedIn, make_options)
        .summary("What a browser needs to make a key")
        .post("/account/second-factor/keys", Access::SignedIn, make)
        .page("identity/factors/codes.html")
        .form("/account/second-factor/keys/new")
        .summary("Keep the key that the browser made")
        .get("/account/second-factor/keys/{id}/delete", Access::SignedIn, one)
        .page("identity/factors/remove_key.html")
        .summary("The question whether to remove a security key")
        .delete("/account/second-factor/keys/{id}", Access::SignedIn, remove)
        .summary("Remove a security key")
}

async fn alone_options(call: Call, _: NoInput) -> Answer<ToUse> {
    Ok(Reply::ok(call.app.factors.key_alone(&call)?))
}

async fn alone(call: Call, answered: Answered) -> Answer<SignedIn> {
    let done = call.app.factors.sign_in_by_key(&call, &answered).await?;
    Ok(signed_in(done, answered.next.as_deref()))
}

async fn prove_options(call: Call, _: NoInput) -> Answer<ToUse> {
    Ok(Reply::ok(call.app.factors.key_to_prove(&call).await?))
}

async fn prove(call: Call, answered: Answered) -> Answer<Nothing> {
    let token = call.app.factors.prove_by_key(&call, &answered).await?;
    Ok(proved(token, answered.next.as_deref(), Nothing {}))
}

async fn second_options(call: Call, _: NoInput) -> Answer<ToUse> {
    Ok(Reply::ok(call.app.factors.key_to_use(&call).await?))
}

async fn second(call: Call, answered: Answered) -> Answer<SignedIn> {
    let done = call.app.factors.second_by_key(&call, &answered).await?;
    Ok(signed_in(done, answered.next.as_deref()))
}

async fn make_options(call: Call, _: NoInput) -> Answer<ToMake> {
    Ok(Reply::ok(call.app.factors.key_to_make(&call).await?))
}

async fn make(call: Call, new: NewKey) -> Answer<NewCodes> {
    let next = inside(new.next.as_deref(), "/");
    let (codes, done) = call.app.factors.add_key(&call, new).await?;
    if let Some(done) = done {
        return Ok(Reply::once(NewCodes { next, ..codes }).start_session(done.token));
    }
    let codes = NewCodes { next: "/account/second-factor".to_owned(), ..codes };
    // Without new codes there is nothing to show once.
    Ok(if codes.codes.is_empty() {
        Reply::done("/account/second-factor", "The security key is added.", codes)
    } else {
        Reply::once(codes)
    })
}

async fn new(call: Call, _: NoInput) -> Answer<Own> {
    let user = call.user()?.id;
    Ok(Reply::ok(call.app.factors.of(user).await?))
}

#[derive(Serialize, JsonSchema)]
struct One {
    item: super::Key,
}

async fn one(call: Call, _: NoInput) -> Answer<One> {
    let (id, user) = (call.id("security key")?, call.user()?.id);
    let own = call.app.factors.of(user).await?;
    let item = own.keys.into_iter().find(|key| key.id == id);
    Ok(Reply::ok(One { item: item.ok_or(Error::not_found("security key", id))? }))
}

#[derive(Serialize, JsonSchema)]
struct Nothing {}

async fn remove(call: Call, _: NoInput) -> Answer<Nothing> {
    let id = call.id("security key")?;
    call.app.factors.remove_key(&call, id).await?;
    Ok(Reply::done("/account/second-factor", "The security key is removed.", Nothing {}))
}
