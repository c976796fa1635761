//! The eight rows that each noun of the configuration has in the route table, with their handlers.

use std::future::Future;

use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use super::{DeletePage, Deletion, EditPage, Use};
use crate::app::App;
use crate::audit::Actor;
use crate::error::Result;
use crate::web::Access::Scope;
use crate::web::{Answer, Call, Nav, NoInput, Page, Reply, Routes};

/// A kind of thing that people keep: they list it, make it, look at it, change it and delete it. Its room says what
/// differs from kind to kind; rows, handlers and answers are the same for all.
pub trait Noun: Serialize + JsonSchema + Send + Sized + 'static {
    /// The service of its room.
    type Room: Sync;
    /// What its list takes.
    type Query: DeserializeOwned + JsonSchema + Send + 'static;
    /// It, as it is made or changed.
    type Input: DeserializeOwned + JsonSchema + Send + 'static;
    /// The page with its form.
    type Form: Serialize + JsonSchema + 'static;
    /// Where it stands and what it is called.
    const WORDS: Words;

    /// The service, among all of them.
    fn room(app: &App) -> &Self::Room;

    /// Its id and version.
    fn kept(&self) -> (Uuid, i64);

    /// What is said when it was deleted.
    fn gone(&self) -> String;

    /// One page of them.
    ///
    /// # Errors
    /// `Invalid` on the query's fields; any from the database.
    fn page(room: &Self::Room, query: Self::Query) -> impl Future<Output = Result<Page<Self>>> + Send;

    /// One of them.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    fn one(room: &Self::Room, id: Uuid) -> impl Future<Output = Result<Self>> + Send;

    /// The form of one, or of a new one. [`edit_page`] is the one without anything to choose from.
    ///
    /// # Errors
    /// `NotFound`; any from the database.
    fn form(room: &Self::Room, id: Option<Uuid>) -> impl Future<Output = Result<Self::Form>> + Send;

    /// What keeps one from being deleted: nothing, if its room says no more.
    ///
    /// # Errors
    /// Any from the database.
    fn uses(_: &Self::Room, _: Uuid) -> impl Future<Output = Result<Vec<Use>>> + Send {
        async { Ok(vec![]) }
    }

    /// What must hold of whoever makes one, or changes this one, beside the scope of the row: nothing, if its room says no
    /// more.
    ///
    /// # Errors
    /// `NotFound`, `Forbidden`, `Prove`; any from the database.
    fn admit(_: &Call, _: Option<Uuid>, _: &Self::Input) -> impl Future<Output = Result<()>> + Send {
        async { Ok(()) }
    }

    /// Makes one.
    ///
    /// # Errors
    /// `Invalid`, also on a field that another one has so already; any from the database.
    fn create(
        room: &Self::Room,
        actor: &Actor,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self>> + Send;

    /// Changes one.
    ///
    /// # Errors
    /// `NotFound`, `Stale`, `Invalid`; any from the database.
    fn update(
        room: &Self::Room,
        actor: &Actor,
        id: Uuid,
        input: Self::Input,
    ) -> impl Future<Output = Result<Self>> + Send;

    /// Deletes one, and gives what it was.
    ///
    /// # Errors
    /// `NotFound`, `InUse`, `Stale`; any from the database.
    fn delete(
        room: &Self::Room,
        actor: &Actor,
        id: Uuid,
        version: Option<i64>,
    ) -> impl Future<Output = Result<Self>> + Send;
}

/// What a noun is called.
#[derive(Clone, Copy, Debug)]
pub struct Words {
    /// One of them, in words: `port list`.
    pub one: &'static str,
    /// Their tag and path: `port-lists`.
    pub many: &'static str,
    /// Their page in `docs/`: `scope/port-lists`.
    pub docs: &'static str,
    /// The folder of their templates: `scope/port_lists`.
    pub templates: &'static str,
    /// The scope to look at them, and the scope to change them.
    pub scopes: [&'static str; 2],
    /// Their place in the navigation rail.
    pub nav: Nav,
    /// Whether a look at them is an entry of the audit, and about what.
    pub viewed: Option<&'static str>,
    /// What the rows do.
    pub does: Does,
}

/// What each row does, in one line.
#[derive(Clone, Copy, Debug)]
pub struct Does {
    /// The list.
    pub list: &'static str,
    /// The page of one.
    pub show: &'static str,
    /// The form of a new one.
    pub new: &'static str,
    /// Making one.
    pub create: &'static str,
    /// The form of one that is there.
    pub edit: &'static str,
    /// Changing one.
    pub update: &'static str,
    /// The question before a deletion.
    pub ask: &'static str,
    /// Deleting one.
    pub delete: &'static str,
}

/// The rows of a noun.
#[must_use]
pub fn rows<N: Noun>() -> Routes {
    let Words { many, docs, templates, scopes: [view, manage], nav, viewed, does, .. } = N::WORDS;
    let path = format!("/{many}");
    let below = |rest: &str| format!("{path}/{rest}");
    let page = |name: &str| format!("{templates}/{name}.html");
    let seen = |routes: Routes| match viewed {
        Some(resource) => routes.viewed(resource),
        None => routes,
    };
    let routes = Routes::of(many, docs)
        .get(&path, Scope(view), list::<N>)
        .page(page("list"))
        .summary(does.list)
        .nav(nav.group, nav.title, nav.icon, nav.order);
    let routes = seen(routes)
        .get(&below("new"), Scope(manage), new::<N>)
        .page(page("edit"))
        .summary(does.new)
        .post(&path, Scope(manage), create::<N>)
        .form(below("new"))
        .summary(does.create)
        .get(&below("{id}"), Scope(view), show::<N>)
        .page(page("show"))
        .summary(does.show);
    let routes =
        seen(routes).get(&below("{id}/edit"), Scope(manage), edit::<N>).page(page("edit")).summary(does.edit);
    let routes = seen(routes)
        .update(&below("{id}"), Scope(manage), update::<N>)
        .form(below("{id}/edit"))
        .summary(does.update)
        .get(&below("{id}/delete"), Scope(manage), ask::<N>)
        .page(page("delete"))
        .summary(does.ask);
    seen(routes).delete(&below("{id}"), Scope(manage), delete::<N>).summary(does.delete)
}

/// The form of a noun that has nothing to choose from.
///
/// # Errors
/// As [`Noun::one`].
pub async fn edit_page<N: Noun>(room: &N::Room, id: Option<Uuid>) -> Result<EditPage<N>> {
    let item = match id {
        Some(id) => Some(N::one(room, id).await?),
        None => None,
    };
    Ok(EditPage { item })
}

fn id<N: Noun>(call: &Call) -> Result<Uuid> {
    call.id(N::WORDS.one)
}

async fn list<N: Noun>(call: Call, query: N::Query) -> Answer<Page<N>> {
    Ok(Reply::ok(N::page(N::room(&call.app), query).await?))
}

async fn new<N: Noun>(call: Call, _: NoInput) -> Answer<N::Form> {
    Ok(Reply::ok(N::form(N::room(&call.app), None).await?))
}

async fn create<N: Noun>(call: Call, input: N::Input) -> Answer<N> {
    N::admit(&call, None, &input).await?;
    let made = N::create(N::room(&call.app), &call.actor(), input).await?;
    let (id, version) = made.kept();
    Ok(Reply::created(format!("/{}/{id}", N::WORDS.many), made).version(version))
}

async fn show<N: Noun>(call: Call, _: NoInput) -> Answer<N> {
    let shown = N::one(N::room(&call.app), id::<N>(&call)?).await?;
    let (_, version) = shown.kept();
    Ok(Reply::ok(shown).version(version))
}

async fn edit<N: Noun>(call: Call, _: NoInput) -> Answer<N::Form> {
    Ok(Reply::ok(N::form(N::room(&call.app), Some(id::<N>(&call)?)).await?))
}

async fn update<N: Noun>(call: Call, input: N::Input) -> Answer<N> {
    let id = id::<N>(&call)?;
    N::admit(&call, Some(id), &input).await?;
    let changed = N::update(N::room(&call.app), &call.actor(), id, input).await?;
    let (id, version) = changed.kept();
    Ok(Reply::done(format!("/{}/{id}", N::WORDS.many), "Saved.", changed).version(version))
}

async fn ask<N: Noun>(call: Call, _: NoInput) -> Answer<DeletePage<N>> {
    let (room, id) = (N::room(&call.app), id::<N>(&call)?);
    Ok(Reply::ok(DeletePage { item: N::one(room, id).await?, in_use: N::uses(room, id).await? }))
}

async fn delete<N: Noun>(call: Call, input: Deletion) -> Answer<N> {
    let gone = N::delete(N::room(&call.app), &call.actor(), id::<N>(&call)?, input.version).await?;
    Ok(Reply::done(format!("/{}", N::WORDS.many), gone.gone(), gone))
}
