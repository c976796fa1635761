//! The routes of statements.

use serde_json::Value;

use super::{IssueInput, Issued, RenewInput, Statement, StatementQuery, ValidateInput, Validity};
use crate::web::Access::{Public, SignedIn};
use crate::web::{Answer, Call, NoInput, Page, Reply, Routes};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("statements", "identity/statements")
        .get("/statements", SignedIn, list)
        .page("identity/statements/list.html")
        .summary("List the statements about oneself; everyone's for who may see tokens; to a token those that it asked for")
        .by_token()
        .post("/statements", SignedIn, issue)
        .summary("Issue a statement about the caller for another system: a JWT, signed with Ed25519")
        .by_token()
        .rate_limited()
        .post("/statements/renew", Public, renew)
        .summary("Replace a statement that still holds by a newer one; the statement itself is the proof")
        .rate_limited()
        .get("/statements/{id}/revoke", SignedIn, ask)
        .page("identity/statements/revoke.html")
        .summary("What revoking a statement would end")
        .post("/statements/{id}/revoke", SignedIn, revoke)
        .summary("Revoke a statement: about oneself, or anyone's for who may manage tokens")
        .by_token()
        .rate_limited()
        .post("/tokens/validate", Public, validate)
        .summary("Whether a statement holds for the system that asks; garbage does not, and is no error")
        .rate_limited()
        .get("/jwks.json", Public, jwks)
        .summary("The public key that statements are checked with, as a JWKS")
        .rate_limited()
}

async fn list(call: Call, query: StatementQuery) -> Answer<Page<Statement>> {
    let reply = Reply::ok(call.app.statements.list(&call, query).await?);
    // Everyone's are not for everyone.
    Ok(if super::sees_all(&call) { reply.viewed("statement") } else { reply })
}

async fn issue(call: Call, input: IssueInput) -> Answer<Issued> {
    Ok(Reply::once(call.app.statements.issue(&call, input).await?))
}

async fn renew(call: Call, input: RenewInput) -> Answer<Issued> {
    Ok(Reply::once(call.app.statements.renew(&call, input).await?))
}

async fn ask(call: Call, _: NoInput) -> Answer<Statement> {
    let statement = call.app.statements.statement(&call, call.id("statement")?).await?;
    let own = call.caller.is(statement.account.id);
    let reply = Reply::ok(statement);
    Ok(if own { reply } else { reply.viewed("statement") })
}

async fn revoke(call: Call, _: NoInput) -> Answer<Statement> {
    let statement = call.app.statements.revoke(&call, call.id("statement")?).await?;
    let own = call.caller.is(statement.account.id);
    let reply = Reply::done("/statements", "The statement is revoked.", statement);
    Ok(if own { reply } else { reply.viewed("statement") })
}

async fn validate(call: Call, input: ValidateInput) -> Answer<Validity> {
    Ok(Reply::ok(call.app.statements.validate(input).await?))
}

async fn jwks(call: Call, _: NoInput) -> Answer<Value> {
    Ok(Reply::ok(call.app.statements.jwks().await?))
}
