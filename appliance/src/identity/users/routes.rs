//! The rows of accounts.

use super::{Account, AccountForm, AccountInput, AccountList, AccountPage, AccountQuery};
use crate::noun::Deletion;
use crate::web::Access::Scope;
use crate::web::{Answer, Call, NoInput, Reply, Routes};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("users", "identity/users")
        .get("/users", Scope("users:view"), list)
        .page("identity/users/list.html")
        .summary("List accounts")
        .viewed("user")
        .nav("Accounts", "Users", "user", 800)
        .get("/users/new", Scope("users:manage"), new)
        .page("identity/users/edit.html")
        .summary("The form of a new account")
        .post("/users", Scope("users:manage"), create)
        .form("/users/new")
        .summary("Make an account")
        .get("/users/{id}", Scope("users:view"), show)
        .page("identity/users/show.html")
        .summary("One account")
        .viewed("user")
        .get("/users/{id}/edit", Scope("users:manage"), edit)
        .page("identity/users/edit.html")
        .summary("The form of an account")
        .viewed("user")
        .update("/users/{id}", Scope("users:manage"), update)
        .form("/users/{id}/edit")
        .summary("Change an account and its roles")
        .post("/users/{id}/disable", Scope("users:manage"), disable)
        .summary("Disable an account: its sessions end, it signs in no more")
        .post("/users/{id}/enable", Scope("users:manage"), enable)
        .summary("Enable an account again")
        .post("/users/{id}/unlock", Scope("users:manage"), unlock)
        .summary("Let an account take passwords again from everywhere")
        .get("/users/{id}/owner", Scope("users:manage"), ask_owner)
        .page("identity/users/owner.html")
        .summary("What handing the appliance over would mean")
        .viewed("user")
        .post("/users/{id}/owner", Scope("users:manage"), hand_over)
        .summary("Make this account the owner; only the owner may")
        .get("/users/{id}/delete", Scope("users:manage"), ask_delete)
        .page("identity/users/delete.html")
        .summary("What an account's deletion would take away")
        .viewed("user")
        .delete("/users/{id}", Scope("users:manage"), delete)
        .summary("Delete an account; what it did stays in the audit")
}

async fn list(call: Call, query: AccountQuery) -> Answer<AccountList> {
    Ok(Reply::ok(call.app.identity.users(&call, query).await?))
}

async fn new(call: Call, _: NoInput) -> Answer<AccountForm> {
    Ok(Reply::ok(call.app.identity.user_form(&call, None).await?))
}

async fn create(call: Call, input: AccountInput) -> Answer<Account> {
    let account = call.app.identity.create_user(&call, input).await?;
    let version = account.version;
    Ok(Reply::created(path(&account), account).version(version))
}

async fn show(call: Call, _: NoInput) -> Answer<AccountPage> {
    let page = call.app.identity.user(&call, call.id("user")?).await?;
    let version = page.account.version;
    Ok(Reply::ok(page).version(version))
}

async fn edit(call: Call, _: NoInput) -> Answer<AccountForm> {
    Ok(Reply::ok(call.app.identity.user_form(&call, Some(call.id("user")?)).await?))
}

async fn update(call: Call, input: AccountInput) -> Answer<Account> {
    let account = call.app.identity.update_user(&call, call.id("user")?, input).await?;
    Ok(changed(account, "Saved."))
}

async fn disable(call: Call, _: NoInput) -> Answer<Account> {
    let account = call.app.identity.set_user_active(&call, call.id("user")?, false).await?;
    Ok(changed(account, "The account is disabled, and its sessions are over."))
}

async fn enable(call: Call, _: NoInput) -> Answer<Account> {
    let account = call.app.identity.set_user_active(&call, call.id("user")?, true).await?;
    Ok(changed(account, "The account is enabled."))
}

async fn unlock(call: Call, _: NoInput) -> Answer<Account> {
    let account = call.app.identity.unlock_user(&call, call.id("user")?).await?;
    Ok(changed(account, "The account takes passwords from everywhere again."))
}

async fn ask_owner(call: Call, _: NoInput) -> Answer<AccountPage> {
    Ok(Reply::ok(call.app.identity.user(&call, call.id("user")?).await?))
}

async fn hand_over(call: Call, _: NoInput) -> Answer<Account> {
    let account = call.app.identity.hand_over(&call, call.id("user")?).await?;
    let notice = format!("{} owns this appliance now. You keep the role admin.", account.display);
    Ok(changed(account, &notice))
}

async fn ask_delete(call: Call, _: NoInput) -> Answer<AccountPage> {
    Ok(Reply::ok(call.app.identity.user(&call, call.id("user")?).await?))
}

async fn delete(call: Call, input: Deletion) -> Answer<Account> {
    let account = call.app.identity.delete_user(&call, call.id("user")?, input.version).await?;
    Ok(Reply::done("/users", format!("The account “{}” is deleted.", account.name), account))
}

fn path(account: &Account) -> String {
    format!("/users/{}", account.id)
}

fn changed(account: Account, notice: &str) -> Reply<Account> {
    let version = account.version;
    Reply::done(path(&account), notice, account).version(version)
}
