//! The route table: one row a route. Router, OpenAPI document, access matrix and navigation are folds over it.

use super::call::Call;
use super::input::Shape;
use super::reply::{Answer, Outcome};
use crate::error::Error;
use axum::http::Method;
use schemars::{JsonSchema, SchemaGenerator};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt::{self, Display};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// Who may call a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Anyone, signed in or not.
    Public,
    /// Whoever began to sign in, complete or not.
    Pending,
    /// Whoever is signed in.
    SignedIn,
    /// Whoever holds this scope (`resource:action`), declared in [`crate::identity::scopes`].
    Scope(&'static str),
}

impl Access {
    /// Whether someone who is signed in with these scopes is let in.
    #[must_use]
    pub fn admits(self, scopes: &BTreeSet<String>) -> bool {
        match self {
            Self::Public | Self::Pending | Self::SignedIn => true,
            Self::Scope(scope) => scopes.contains(scope),
        }
    }
}

/// As the access matrix spells it: `public`, `pending`, `signed-in`, or the scope.
impl Display for Access {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Public => "public",
            Self::Pending => "pending",
            Self::SignedIn => "signed-in",
            Self::Scope(scope) => scope,
        })
    }
}

/// A place in the navigation rail.
#[derive(Clone, Copy, Debug)]
pub struct Nav {
    /// The heading it stands under.
    pub group: &'static str,
    /// What the link says.
    pub title: &'static str,
    /// The symbol's name in `static/icons.svg`.
    pub icon: &'static str,
    /// Position; lower is higher up.
    pub order: u16,
}

type Future1 = Pin<Box<dyn Future<Output = Result<Outcome, Error>> + Send>>;
/// A handler with its types erased: a call and its input as JSON.
pub(super) type Erased = dyn Fn(Call, Value) -> Future1 + Send + Sync;
/// Adds a type's schema to a document and returns a reference to it.
pub(super) type SchemaOf = fn(&mut SchemaGenerator) -> schemars::Schema;

/// One row of the table.
#[derive(Clone)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a property of its own, set by a word of the builder"
)]
pub struct Route {
    /// HTTP method.
    pub method: Method,
    /// Path with `{name}` parameters; also served under `/api/v1`, as JSON only.
    pub path: String,
    /// Who may call it.
    pub access: Access,
    /// The page of `docs/` that explains it.
    pub docs: &'static str,
    /// The noun it belongs to; groups the OpenAPI document.
    pub tag: &'static str,
    /// One line for the OpenAPI document.
    pub summary: &'static str,
    /// The template of a page; without one the route answers JSON (or a file) only.
    pub template: Option<Cow<'static, str>>,
    /// On a changing route: the page whose form is shown again when the input is invalid.
    pub form: Option<Cow<'static, str>>,
    /// Its place in the navigation rail.
    pub nav: Option<Nav>,
    /// A second spelling for HTML forms (POST for PUT, POST …/delete for DELETE): left out of the OpenAPI document.
    pub twin: bool,
    /// A GET without a page that leads a browser on to one.
    pub leads_on: bool,
    /// Open to everyone while there is no user yet.
    pub before_setup: bool,
    /// Sign-in and its like: limited by source.
    pub rate_limited: bool,
    /// A row without a scope that changes something: open to API tokens too, which its handler bounds by itself.
    pub by_token: bool,
    /// Other media types this route can answer in (a file), for the OpenAPI document.
    pub media: &'static [&'static str],
    /// What it shows is not for everyone: a look at it is an entry of the audit, about this kind of thing.
    pub viewed: Option<&'static str>,
    pub(super) shape: Arc<Shape>,
    pub(super) input: SchemaOf,
    pub(super) output: SchemaOf,
    pub(super) handler: Arc<Erased>,
}

impl Route {
    /// Method and path, as the audit names it.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// A room's rows. The builder's adjectives ([`Routes::page`], [`Routes::nav`] …) apply to the last row added.
pub struct Routes {
    tag: &'static str,
    docs: &'static str,
    rows: Vec<Route>,
}

impl Routes {
    /// Rows about the noun `tag`, explained by the page `docs/<docs>.md`.
    #[must_use]
    pub fn of(tag: &'static str, docs: &'static str) -> Self {
        Self { tag, docs, rows: Vec::new() }
    }

    /// Reads; its input comes from the query.
    #[must_use]
    pub fn get<F, R, I, O>(self, path: &str, access: Access, handler: F) -> Self
    where
        F: Fn(Call, I) -> R + Send + Sync + 'static,
        R: Future<Output = Answer<O>> + Send + 'static,
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + 'static,
    {
        self.row(Method::GET, path, access, handler)
    }

    /// Creates or acts; its input is a form or JSON.
    #[must_use]
    pub fn post<F, R, I, O>(self, path: &str, access: Access, handler: F) -> Self
    where
        F: Fn(Call, I) -> R + Send + Sync + 'static,
        R: Future<Output = Answer<O>> + Send + 'static,
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + 'static,
    {
        self.row(Method::POST, path, access, handler)
    }

    /// Replaces: `PUT path` as JSON, `POST path` from a form.
    #[must_use]
    pub fn update<F, R, I, O>(self, path: &str, access: Access, handler: F) -> Self
    where
        F: Fn(Call, I) -> R + Send + Sync + 'static,
        R: Future<Output = Answer<O>> + Send + 'static,
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + 'static,
    {
        self.row(Method::PUT, path, access, handler).twin(Method::POST, path.to_owned())
    }

    /// Deletes: `DELETE path` as JSON, `POST path/delete` from a form.
    #[must_use]
    pub fn delete<F, R, I, O>(self, path: &str, access: Access, handler: F) -> Self
    where
        F: Fn(Call, I) -> R + Send + Sync + 'static,
        R: Future<Output = Answer<O>> + Send + 'static,
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + 'static,
    {
        self.row(Method::DELETE, path, access, handler).twin(Method::POST, format!("{path}/delete"))
    }

    /// The last row is a page, rendered from this template.
    #[must_use]
    pub fn page(self, template: impl Into<Cow<'static, str>>) -> Self {
        let template = template.into();
        self.edit(|row| row.template = Some(template.clone()))
    }

    /// When the last row's input is invalid, the form on this page (a GET row) is shown again.
    #[must_use]
    pub fn form(self, page: impl Into<Cow<'static, str>>) -> Self {
        let page = page.into();
        self.edit(|row| row.form = Some(page.clone()))
    }

    /// What the last row does, in one line.
    #[must_use]
    pub fn summary(self, summary: &'static str) -> Self {
        self.edit(|row| row.summary = summary)
    }

    /// The last row stands in the navigation rail.
    #[must_use]
    pub fn nav(self, group: &'static str, title: &'static str, icon: &'static str, order: u16) -> Self {
        self.edit(|row| row.nav = Some(Nav { group, title, icon, order }))
    }

    /// The last row has no page and leads a browser on to one; a script gets its answer.
    #[must_use]
    pub fn leads_on(self) -> Self {
        self.edit(|row| row.leads_on = true)
    }

    /// The last row answers while there is no user yet.
    #[must_use]
    pub fn before_setup(self) -> Self {
        self.edit(|row| row.before_setup = true)
    }

    /// The last row is limited by source: it takes secrets.
    #[must_use]
    pub fn rate_limited(self) -> Self {
        self.edit(|row| row.rate_limited = true)
    }

    /// The last row, which asks for no scope and changes something, is open to API tokens too: its handler bounds what one
    /// may do there. Without this word it is a person's alone, since no scope of a token bounds it.
    #[must_use]
    pub fn by_token(self) -> Self {
        self.edit(|row| row.by_token = true)
    }

    /// The last row can also answer in these media types.
    #[must_use]
    pub fn media(self, media: &'static [&'static str]) -> Self {
        self.edit(|row| row.media = media)
    }

    /// What the last row shows is not for everyone: who looks at it leaves an entry `<resource>.viewed`, once in ten
    /// minutes for the same actor and thing (the path's `id`, if there is one).
    #[must_use]
    pub fn viewed(self, resource: &'static str) -> Self {
        self.edit(|row| row.viewed = Some(resource))
    }

    /// The last row is explained on another page of `docs/` than the rest.
    #[must_use]
    pub fn docs(self, docs: &'static str) -> Self {
        self.edit(|row| row.docs = docs)
    }

    /// The rows.
    #[must_use]
    pub fn into_rows(self) -> Vec<Route> {
        self.rows
    }

    fn row<F, R, I, O>(mut self, method: Method, path: &str, access: Access, handler: F) -> Self
    where
        F: Fn(Call, I) -> R + Send + Sync + 'static,
        R: Future<Output = Answer<O>> + Send + 'static,
        I: DeserializeOwned + JsonSchema + Send + 'static,
        O: Serialize + JsonSchema + 'static,
    {
        let handler: Arc<Erased> = Arc::new(move |call, input| match super::input::typed::<I>(input) {
            Ok(input) => {
                let answer = handler(call, input);
                Box::pin(async move { answer.await?.erase() })
            }
            Err(error) => Box::pin(async move { Err(error) }),
        });
        self.rows.push(Route {
            method,
            path: path.to_owned(),
            access,
            docs: self.docs,
            tag: self.tag,
            summary: "",
            template: None,
            form: None,
            nav: None,
            twin: false,
            leads_on: false,
            before_setup: false,
            rate_limited: false,
            by_token: false,
            media: &[],
            viewed: None,
            shape: Arc::new(Shape::of::<I>()),
            input: |generator| generator.subschema_for::<I>(),
            output: |generator| generator.subschema_for::<O>(),
            handler,
        });
        self
    }

    fn twin(mut self, method: Method, path: String) -> Self {
        if let Some(row) = self.rows.last().cloned() {
            let at = self.rows.len() - 1;
            self.rows.insert(at, Route { method, path, twin: true, ..row });
        }
        self
    }

    /// Applies to the last row and to its twin, which stands before it.
    fn edit(mut self, change: impl Fn(&mut Route)) -> Self {
        if let Some((last, before)) = self.rows.split_last_mut() {
            change(last);
            if let Some(twin) =
                before.last_mut().filter(|row| row.twin && Arc::ptr_eq(&row.handler, &last.handler))
            {
                change(twin);
            }
        }
        self
    }
}
