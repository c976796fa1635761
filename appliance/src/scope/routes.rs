//! The routes of subnets, port lists, exclusions and templates. Each noun has the same eight rows.

use super::{
    Exclusion, ExclusionInput, ExclusionQuery, PortList, PortListInput, PortListQuery, Subnet, SubnetInput,
    SubnetQuery, Template, TemplateForm, TemplateInput, TemplateQuery,
};
use crate::noun::{DeletePage, Deletion, EditPage};
use crate::web::Access::Scope;
use crate::web::{Answer, Call, NoInput, Page, Reply, Routes};

/// The rows of subnets.
pub fn subnets() -> Routes {
    Routes::of("subnets", "scope/subnets")
        .get("/subnets", Scope("subnets:view"), list_subnets)
        .page("scope/subnets/list.html")
        .summary("List subnets")
        .nav("Scope", "Subnets", "subnets", 200)
        .get("/subnets/new", Scope("subnets:manage"), new_subnet)
        .page("scope/subnets/edit.html")
        .summary("The form of a new subnet")
        .post("/subnets", Scope("subnets:manage"), create_subnet)
        .form("/subnets/new")
        .summary("Make a subnet")
        .get("/subnets/{id}", Scope("subnets:view"), show_subnet)
        .page("scope/subnets/show.html")
        .summary("One subnet")
        .get("/subnets/{id}/edit", Scope("subnets:manage"), edit_subnet)
        .page("scope/subnets/edit.html")
        .summary("The form of a subnet")
        .update("/subnets/{id}", Scope("subnets:manage"), update_subnet)
        .form("/subnets/{id}/edit")
        .summary("Change a subnet")
        .get("/subnets/{id}/delete", Scope("subnets:manage"), ask_subnet)
        .page("scope/subnets/delete.html")
        .summary("What a subnet's deletion would meet")
        .delete("/subnets/{id}", Scope("subnets:manage"), delete_subnet)
        .summary("Delete a subnet that no template names")
}

async fn list_subnets(call: Call, query: SubnetQuery) -> Answer<Page<Subnet>> {
    Ok(Reply::ok(call.app.scope.subnets(query).await?))
}

async fn new_subnet(_: Call, _: NoInput) -> Answer<EditPage<Subnet>> {
    Ok(Reply::ok(EditPage { item: None }))
}

async fn create_subnet(call: Call, input: SubnetInput) -> Answer<Subnet> {
    let subnet = call.app.scope.create_subnet(&call.actor(), input).await?;
    let version = subnet.version;
    Ok(Reply::created(format!("/subnets/{}", subnet.id), subnet).version(version))
}

async fn show_subnet(call: Call, _: NoInput) -> Answer<Subnet> {
    let subnet = call.app.scope.subnet(call.id("subnet")?).await?;
    let version = subnet.version;
    Ok(Reply::ok(subnet).version(version))
}

async fn edit_subnet(call: Call, _: NoInput) -> Answer<EditPage<Subnet>> {
    let subnet = call.app.scope.subnet(call.id("subnet")?).await?;
    Ok(Reply::ok(EditPage { item: Some(subnet) }))
}

async fn update_subnet(call: Call, input: SubnetInput) -> Answer<Subnet> {
    let subnet = call.app.scope.update_subnet(&call.actor(), call.id("subnet")?, input).await?;
    let version = subnet.version;
    Ok(Reply::done(format!("/subnets/{}", subnet.id), "Saved.", subnet).version(version))
}

async fn ask_subnet(call: Call, _: NoInput) -> Answer<DeletePage<Subnet>> {
    Ok(Reply::ok(call.app.scope.subnet_and_uses(call.id("subnet")?).await?))
}

async fn delete_subnet(call: Call, input: Deletion) -> Answer<Subnet> {
    let subnet = call.app.scope.delete_subnet(&call.actor(), call.id("subnet")?, input.version).await?;
    Ok(Reply::done("/subnets", format!("The subnet “{}” is deleted.", subnet.name), subnet))
}

/// The rows of port lists.
pub fn port_lists() -> Routes {
    Routes::of("port-lists", "scope/port-lists")
        .get("/port-lists", Scope("port-lists:view"), list_port_lists)
        .page("scope/port_lists/list.html")
        .summary("List port lists")
        .nav("Scope", "Port lists", "port-lists", 210)
        .get("/port-lists/new", Scope("port-lists:manage"), new_port_list)
        .page("scope/port_lists/edit.html")
        .summary("The form of a new port list")
        .post("/port-lists", Scope("port-lists:manage"), create_port_list)
        .form("/port-lists/new")
        .summary("Make a port list")
        .get("/port-lists/{id}", Scope("port-lists:view"), show_port_list)
        .page("scope/port_lists/show.html")
        .summary("One port list")
        .get("/port-lists/{id}/edit", Scope("port-lists:manage"), edit_port_list)
        .page("scope/port_lists/edit.html")
        .summary("The form of a port list")
        .update("/port-lists/{id}", Scope("port-lists:manage"), update_port_list)
        .form("/port-lists/{id}/edit")
        .summary("Change a port list")
        .get("/port-lists/{id}/delete", Scope("port-lists:manage"), ask_port_list)
        .page("scope/port_lists/delete.html")
        .summary("What a port list's deletion would meet")
        .delete("/port-lists/{id}", Scope("port-lists:manage"), delete_port_list)
        .summary("Delete a port list that no template names")
}

async fn list_port_lists(call: Call, query: PortListQuery) -> Answer<Page<PortList>> {
    Ok(Reply::ok(call.app.scope.port_lists(query).await?))
}

async fn new_port_list(_: Call, _: NoInput) -> Answer<EditPage<PortList>> {
    Ok(Reply::ok(EditPage { item: None }))
}

async fn create_port_list(call: Call, input: PortListInput) -> Answer<PortList> {
    let list = call.app.scope.create_port_list(&call.actor(), input).await?;
    let version = list.version;
    Ok(Reply::created(format!("/port-lists/{}", list.id), list).version(version))
}

async fn show_port_list(call: Call, _: NoInput) -> Answer<PortList> {
    let list = call.app.scope.port_list(call.id("port list")?).await?;
    let version = list.version;
    Ok(Reply::ok(list).version(version))
}

async fn edit_port_list(call: Call, _: NoInput) -> Answer<EditPage<PortList>> {
    let list = call.app.scope.port_list(call.id("port list")?).await?;
    Ok(Reply::ok(EditPage { item: Some(list) }))
}

async fn update_port_list(call: Call, input: PortListInput) -> Answer<PortList> {
    let list = call.app.scope.update_port_list(&call.actor(), call.id("port list")?, input).await?;
    let version = list.version;
    Ok(Reply::done(format!("/port-lists/{}", list.id), "Saved.", list).version(version))
}

async fn ask_port_list(call: Call, _: NoInput) -> Answer<DeletePage<PortList>> {
    Ok(Reply::ok(call.app.scope.port_list_and_uses(call.id("port list")?).await?))
}

async fn delete_port_list(call: Call, input: Deletion) -> Answer<PortList> {
    let list = call.app.scope.delete_port_list(&call.actor(), call.id("port list")?, input.version).await?;
    Ok(Reply::done("/port-lists", format!("The port list “{}” is deleted.", list.name), list))
}

/// The rows of exclusions.
pub fn exclusions() -> Routes {
    Routes::of("exclusions", "scope/exclusions")
        .get("/exclusions", Scope("exclusions:view"), list_exclusions)
        .page("scope/exclusions/list.html")
        .summary("List what is never scanned")
        .nav("Scope", "Exclusions", "stop", 220)
        .get("/exclusions/new", Scope("exclusions:manage"), new_exclusion)
        .page("scope/exclusions/edit.html")
        .summary("The form of a new exclusion")
        .post("/exclusions", Scope("exclusions:manage"), create_exclusion)
        .form("/exclusions/new")
        .summary("Exclude addresses from every scan, also from those that run")
        .get("/exclusions/{id}", Scope("exclusions:view"), show_exclusion)
        .page("scope/exclusions/show.html")
        .summary("One exclusion")
        .get("/exclusions/{id}/edit", Scope("exclusions:manage"), edit_exclusion)
        .page("scope/exclusions/edit.html")
        .summary("The form of an exclusion")
        .update("/exclusions/{id}", Scope("exclusions:manage"), update_exclusion)
        .form("/exclusions/{id}/edit")
        .summary("Change an exclusion; what it adds holds for scans that run, too")
        .get("/exclusions/{id}/delete", Scope("exclusions:manage"), ask_exclusion)
        .page("scope/exclusions/delete.html")
        .summary("What an exclusion's deletion would set free")
        .delete("/exclusions/{id}", Scope("exclusions:manage"), delete_exclusion)
        .summary("Delete an exclusion: its addresses may be scanned again")
}

async fn list_exclusions(call: Call, query: ExclusionQuery) -> Answer<Page<Exclusion>> {
    Ok(Reply::ok(call.app.scope.exclusions(query).await?))
}

async fn new_exclusion(_: Call, _: NoInput) -> Answer<EditPage<Exclusion>> {
    Ok(Reply::ok(EditPage { item: None }))
}

async fn create_exclusion(call: Call, input: ExclusionInput) -> Answer<Exclusion> {
    let exclusion = call.app.scope.create_exclusion(&call.actor(), input).await?;
    let version = exclusion.version;
    Ok(Reply::created(format!("/exclusions/{}", exclusion.id), exclusion).version(version))
}

async fn show_exclusion(call: Call, _: NoInput) -> Answer<Exclusion> {
    let exclusion = call.app.scope.exclusion(call.id("exclusion")?).await?;
    let version = exclusion.version;
    Ok(Reply::ok(exclusion).version(version))
}

async fn edit_exclusion(call: Call, _: NoInput) -> Answer<EditPage<Exclusion>> {
    let exclusion = call.app.scope.exclusion(call.id("exclusion")?).await?;
    Ok(Reply::ok(EditPage { item: Some(exclusion) }))
}

async fn update_exclusion(call: Call, input: ExclusionInput) -> Answer<Exclusion> {
    let exclusion = call.app.scope.update_exclusion(&call.actor(), call.id("exclusion")?, input).await?;
    let version = exclusion.version;
    Ok(Reply::done(format!("/exclusions/{}", exclusion.id), "Saved.", exclusion).version(version))
}

async fn ask_exclusion(call: Call, _: NoInput) -> Answer<DeletePage<Exclusion>> {
    Ok(Reply::ok(call.app.scope.exclusion_and_uses(call.id("exclusion")?).await?))
}

async fn delete_exclusion(call: Call, input: Deletion) -> Answer<Exclusion> {
    let id = call.id("exclusion")?;
    let exclusion = call.app.scope.delete_exclusion(&call.actor(), id, input.version).await?;
    Ok(Reply::done("/exclusions", "The exclusion is deleted: its addresses may be scanned again.", exclusion))
}

/// The rows of templates.
pub fn templates() -> Routes {
    Routes::of("templates", "scope/templates")
        .get("/templates", Scope("templates:view"), list_templates)
        .page("scope/templates/list.html")
        .summary("List templates")
        .nav("Scanning", "Templates", "templates", 120)
        .get("/templates/new", Scope("templates:manage"), new_template)
        .page("scope/templates/edit.html")
        .summary("The form of a new template, and what it may name")
        .post("/templates", Scope("templates:manage"), create_template)
        .form("/templates/new")
        .summary("Make a template")
        .get("/templates/{id}", Scope("templates:view"), show_template)
        .page("scope/templates/show.html")
        .summary("One template, with how far it reaches")
        .get("/templates/{id}/edit", Scope("templates:manage"), edit_template)
        .page("scope/templates/edit.html")
        .summary("The form of a template, and what it may name")
        .update("/templates/{id}", Scope("templates:manage"), update_template)
        .form("/templates/{id}/edit")
        .summary("Change a template; its scans keep the scope they had")
        .get("/templates/{id}/delete", Scope("templates:manage"), ask_template)
        .page("scope/templates/delete.html")
        .summary("What a template's deletion would meet")
        .delete("/templates/{id}", Scope("templates:manage"), delete_template)
        .summary("Delete a template; its scans stay")
}

async fn list_templates(call: Call, query: TemplateQuery) -> Answer<Page<Template>> {
    Ok(Reply::ok(call.app.scope.templates(query).await?))
}

async fn new_template(call: Call, _: NoInput) -> Answer<TemplateForm> {
    Ok(Reply::ok(call.app.scope.template_form(None).await?))
}

async fn create_template(call: Call, input: TemplateInput) -> Answer<Template> {
    let template = call.app.scope.create_template(&call.actor(), input).await?;
    let version = template.version;
    Ok(Reply::created(format!("/templates/{}", template.id), template).version(version))
}

async fn show_template(call: Call, _: NoInput) -> Answer<Template> {
    let template = call.app.scope.template(call.id("template")?).await?;
    let version = template.version;
    Ok(Reply::ok(template).version(version))
}

async fn edit_template(call: Call, _: NoInput) -> Answer<TemplateForm> {
    let id = call.id("template")?;
    Ok(Reply::ok(call.app.scope.template_form(Some(id)).await?))
}

async fn update_template(call: Call, input: TemplateInput) -> Answer<Template> {
    let template = call.app.scope.update_template(&call.actor(), call.id("template")?, input).await?;
    let version = template.version;
    Ok(Reply::done(format!("/templates/{}", template.id), "Saved.", template).version(version))
}

async fn ask_template(call: Call, _: NoInput) -> Answer<DeletePage<Template>> {
    Ok(Reply::ok(call.app.scope.template_and_uses(call.id("template")?).await?))
}

async fn delete_template(call: Call, input: Deletion) -> Answer<Template> {
    let template = call.app.scope.delete_template(&call.actor(), call.id("template")?, input.version).await?;
    Ok(Reply::done("/templates", format!("The template “{}” is deleted.", template.name), template))
}
