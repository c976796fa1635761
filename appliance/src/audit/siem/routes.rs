//! The routes of receivers.

use super::{Receiver, ReceiverInput, Tested};
use crate::noun::{DeletePage, Deletion, EditPage};
use crate::web::Access::Scope;
use crate::web::{Answer, Call, ListQuery, NoInput, Page, Reply, Routes};

/// The rows.
pub fn routes() -> Routes {
    Routes::of("receivers", "audit/receivers")
        .get("/receivers", Scope("receivers:view"), list)
        .page("audit/receivers/list.html")
        .summary("List where audit entries are sent, and how far each receiver has come")
        .nav("System", "Receivers", "copy", 840)
        .viewed("receiver")
        .get("/receivers/new", Scope("receivers:manage"), new)
        .page("audit/receivers/edit.html")
        .summary("The form of a new receiver")
        .post("/receivers", Scope("receivers:manage"), create)
        .form("/receivers/new")
        .summary("Make a receiver; entries written from now on are sent to it")
        .get("/receivers/{id}", Scope("receivers:view"), show)
        .page("audit/receivers/show.html")
        .summary("One receiver")
        .viewed("receiver")
        .post("/receivers/{id}/test", Scope("receivers:manage"), test)
        .summary("Send one message that is no entry, and hear how that went")
        .get("/receivers/{id}/edit", Scope("receivers:manage"), edit)
        .page("audit/receivers/edit.html")
        .summary("The form of a receiver")
        .viewed("receiver")
        .update("/receivers/{id}", Scope("receivers:manage"), update)
        .form("/receivers/{id}/edit")
        .summary("Change a receiver; its place in the chain stays")
        .get("/receivers/{id}/delete", Scope("receivers:manage"), ask)
        .page("audit/receivers/delete.html")
        .summary("What a receiver's deletion would end")
        .delete("/receivers/{id}", Scope("receivers:manage"), delete)
        .summary("Delete a receiver: nothing more is sent to it")
}

async fn list(call: Call, query: ListQuery) -> Answer<Page<Receiver>> {
    Ok(Reply::ok(call.app.siem.page(query).await?))
}

async fn new(_: Call, _: NoInput) -> Answer<EditPage<Receiver>> {
    Ok(Reply::ok(EditPage { item: None }))
}

async fn create(call: Call, input: ReceiverInput) -> Answer<Receiver> {
    let receiver = call.app.siem.create(&call.actor(), input).await?;
    let version = receiver.version;
    Ok(Reply::created(format!("/receivers/{}", receiver.id), receiver).version(version))
}

async fn show(call: Call, _: NoInput) -> Answer<Receiver> {
    let receiver = call.app.siem.one(call.id("receiver")?).await?;
    let version = receiver.version;
    Ok(Reply::ok(receiver).version(version))
}

async fn test(call: Call, _: NoInput) -> Answer<Tested> {
    let id = call.id("receiver")?;
    let tested = call.app.siem.test(&call.actor(), id).await?;
    Ok(Reply::done(format!("/receivers/{id}"), tested.words.clone(), tested))
}

async fn edit(call: Call, _: NoInput) -> Answer<EditPage<Receiver>> {
    Ok(Reply::ok(EditPage { item: Some(call.app.siem.one(call.id("receiver")?).await?) }))
}

async fn update(call: Call, input: ReceiverInput) -> Answer<Receiver> {
    let receiver = call.app.siem.update(&call.actor(), call.id("receiver")?, input).await?;
    let version = receiver.version;
    Ok(Reply::done(format!("/receivers/{}", receiver.id), "Saved.", receiver).version(version))
}

async fn ask(call: Call, _: NoInput) -> Answer<DeletePage<Receiver>> {
    Ok(Reply::ok(call.app.siem.one_and_uses(call.id("receiver")?).await?))
}

async fn delete(call: Call, input: Deletion) -> Answer<Receiver> {
    let receiver = call.app.siem.delete(&call.actor(), call.id("receiver")?, input.version).await?;
    Ok(Reply::done("/receivers", format!("The receiver “{}” is deleted.", receiver.name), receiver))
}
