//! The routes of roles, and the page of who may do what.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Role, RoleInput, RoleQuery};
use crate::app;
use crate::identity::scopes::{self, Group};
use crate::noun::{DeletePage, Deletion};
use crate::web::Access::Scope;
use crate::web::{Answer, Call, Matrix, NoInput, Page, Reply, Route, Routes, Sight};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("roles", "identity/roles")
        .get("/roles", Scope("roles:view"), list)
        .page("identity/roles/list.html")
        .summary("List roles")
        .nav("Accounts", "Roles", "roles", 810)
        .get("/roles/new", Scope("roles:manage"), new)
        .page("identity/roles/edit.html")
        .summary("The form of a new role, and the scopes it may give")
        .get("/roles/preview", Scope("roles:view"), preview)
        .page("identity/roles/preview.html")
        .summary("What a role of these scopes would see")
        .post("/roles", Scope("roles:manage"), create)
        .form("/roles/new")
        .summary("Make a role of scopes that the caller holds")
        .get("/roles/{id}", Scope("roles:view"), show)
        .page("identity/roles/show.html")
        .summary("One role, what it gives, and what it sees")
        .get("/roles/{id}/edit", Scope("roles:manage"), edit)
        .page("identity/roles/edit.html")
        .summary("The form of a role, and the scopes it may give")
        .update("/roles/{id}", Scope("roles:manage"), update)
        .form("/roles/{id}/edit")
        .summary("Change a role; who holds it has what it gives at once")
        .get("/roles/{id}/delete", Scope("roles:manage"), ask)
        .page("identity/roles/delete.html")
        .summary("What a role's deletion would meet")
        .delete("/roles/{id}", Scope("roles:manage"), delete)
        .summary("Delete a role that nobody holds")
        .get("/access", Scope("access:view"), access)
        .page("access.html")
        .summary("Which scope each route needs, and which roles have it")
        .docs("identity/access")
        .nav("Accounts", "Access", "access", 820)
}

/// Every scope there is, by resource.
fn every(call: &Call) -> Vec<Group> {
    scopes::groups(|_| true, |name| call.caller.may(name))
}

/// These scopes, by resource.
fn given(call: &Call, given: &BTreeSet<String>) -> Vec<Group> {
    scopes::groups(|name| given.contains(name), |name| call.caller.may(name))
}

fn table() -> Vec<Route> {
    app::tables().into_iter().flat_map(Routes::into_rows).collect()
}

async fn list(call: Call, query: RoleQuery) -> Answer<Page<Role>> {
    Ok(Reply::ok(call.app.roles.roles(query).await?))
}

#[derive(Serialize, JsonSchema)]
struct RoleForm {
    /// The role as it is; none for a new one.
    item: Option<Role>,
    /// Every scope there is, by resource.
    groups: Vec<Group>,
}

async fn new(call: Call, _: NoInput) -> Answer<RoleForm> {
    Ok(Reply::ok(RoleForm { item: None, groups: every(&call) }))
}

async fn edit(call: Call, _: NoInput) -> Answer<RoleForm> {
    let role = call.app.roles.role(call.id("role")?).await?;
    Ok(Reply::ok(RoleForm { item: Some(role), groups: every(&call) }))
}

async fn create(call: Call, input: RoleInput) -> Answer<Role> {
    let role = call.app.roles.create(&call, input).await?;
    let version = role.version;
    Ok(Reply::created(format!("/roles/{}", role.id), role).version(version))
}

#[derive(Serialize, JsonSchema)]
struct RolePage {
    #[serde(flatten)]
    role: Role,
    /// What it gives, by resource.
    groups: Vec<Group>,
    /// What someone sees who holds it alone.
    sees: Sight,
}

async fn show(call: Call, _: NoInput) -> Answer<RolePage> {
    let role = call.app.roles.role(call.id("role")?).await?;
    let version = role.version;
    let sees = Sight::of(&table(), &role.scopes);
    Ok(Reply::ok(RolePage { groups: given(&call, &role.scopes), role, sees }).version(version))
}

async fn update(call: Call, input: RoleInput) -> Answer<Role> {
    let role = call.app.roles.update(&call, call.id("role")?, input).await?;
    let version = role.version;
    Ok(Reply::done(format!("/roles/{}", role.id), "Saved.", role).version(version))
}

async fn ask(call: Call, _: NoInput) -> Answer<DeletePage<Role>> {
    Ok(Reply::ok(call.app.roles.role_and_holders(call.id("role")?).await?))
}

async fn delete(call: Call, input: Deletion) -> Answer<Role> {
    let role = call.app.roles.delete(&call, call.id("role")?, input.version).await?;
    Ok(Reply::done("/roles", format!("The role “{}” is deleted.", role.name), role))
}

/// What the preview takes: the scopes; the other fields are those of a role's form, which asks for it before it is sent.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct PreviewQuery {
    /// What the role would give.
    #[serde(default)]
    scopes: BTreeSet<String>,
    /// What it would be called; only shown.
    #[serde(default)]
    name: Option<String>,
    #[serde(default, rename = "description")]
    _description: Option<String>,
    #[serde(default, rename = "second_factor")]
    _second_factor: Option<String>,
    #[serde(default, rename = "version")]
    _version: Option<String>,
}

#[derive(Serialize, JsonSchema)]
struct PreviewPage {
    name: Option<String>,
    /// What it would give, by resource. What is not a scope gives nothing.
    groups: Vec<Group>,
    /// What someone would see who holds it alone.
    sees: Sight,
}

async fn preview(call: Call, query: PreviewQuery) -> Answer<PreviewPage> {
    let sees = Sight::of(&table(), &query.scopes);
    Ok(Reply::ok(PreviewPage { groups: given(&call, &query.scopes), name: query.name, sees }))
}

async fn access(call: Call, _: NoInput) -> Answer<Matrix> {
    let roles = call.app.roles.all().await?;
    let roles: Vec<_> = roles.into_iter().map(|role| (role.name, role.scopes)).collect();
    Ok(Reply::ok(Matrix::of(&table(), &roles)))
}
