//! The documentation's pages.

use super::Doc;
use crate::error::Error;
use crate::web::{Access, Answer, Call, NoInput, Reply, Routes};
use schemars::JsonSchema;
use serde::Serialize;

/// The rows.
pub fn routes() -> Routes {
    Routes::of("docs", "index")
        .get("/docs", Access::Public, index)
        .page("docs/index.html")
        .summary("Every page of the documentation")
        .nav("", "Documentation", "book", 900)
        .get("/docs/{*key}", Access::Public, show)
        .page("docs/page.html")
        .summary("One page of the documentation")
}

#[derive(Serialize, JsonSchema)]
struct Index {
    items: Vec<Link>,
}

#[derive(Serialize, JsonSchema)]
struct Link {
    key: String,
    title: String,
}

/// The folders in the order of the work; what is not named comes last.
const FOLDERS: [&str; 7] = ["", "scope", "fleet", "scans", "results", "audit", "identity"];

async fn index(call: Call, _: NoInput) -> Answer<Index> {
    let mut items: Vec<Link> =
        call.app.docs.all().map(|doc| Link { key: doc.key.clone(), title: doc.title.clone() }).collect();
    items.sort_by_key(|link| {
        let folder = link.key.split_once('/').map_or("", |(folder, _)| folder);
        let place = FOLDERS.iter().position(|known| *known == folder).unwrap_or(FOLDERS.len());
        (place, folder.to_owned(), link.key != "index", link.title.to_lowercase())
    });
    Ok(Reply::ok(Index { items }))
}

async fn show(call: Call, _: NoInput) -> Answer<Doc> {
    let key = call.param("key");
    let doc = call.app.docs.page(key).ok_or_else(|| Error::not_found("page", format!("docs/{key}")))?;
    Ok(Reply::ok(doc.clone()))
}
