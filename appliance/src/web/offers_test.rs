//! A page offers its reader nothing that would be refused: every link and every form of every page, as each of the
//! program's roles sees it, is looked up in the table.

use std::collections::BTreeSet;

use axum::http::{Method, StatusCode};

use super::credentials_test::{filled, paths};
use crate::identity::scopes::Builtin;
use crate::listing::rows;
use crate::test::TestSite;
use crate::web::Route;

/// What a page leads to: by which method, and where.
fn offers(html: &str) -> BTreeSet<(String, String)> {
    let tags = html.split('<').filter_map(|rest| rest.split_once('>')).map(|(tag, _)| tag);
    let attribute = |tag: &str, name: &str| {
        let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
        let text = rest.split('"').next()?.replace("&#x2f;", "/").replace("&amp;", "&");
        let path = text.split(['?', '#']).next().unwrap_or_default();
        // Beside the table there is what is open to everyone.
        let beside = path.starts_with("/static/") || path == "/api/v1/openapi.json";
        (path.starts_with('/') && !beside).then(|| path.strip_prefix("/api/v1").unwrap_or(path).to_owned())
    };
    let mut found = BTreeSet::new();
    for tag in tags {
        let post = tag.contains(" method=\"post\"");
        if let Some(path) = attribute(tag, "action") {
            found.insert((if post { "POST" } else { "GET" }.to_owned(), path));
        } else if tag.starts_with("a ") {
            found.extend(attribute(tag, "href").map(|path| ("GET".to_owned(), path)));
        }
    }
    found
}

/// The row that such a request comes to: of several, the one with the fewest parameters.
fn row<'a>(site: &'a TestSite, method: &str, path: &str) -> Option<&'a Route> {
    let fits = |row: &&Route| {
        let (mut wanted, mut given) = (row.path.split('/'), path.split('/'));
        loop {
            match (wanted.next(), given.next()) {
                (None, None) => return true,
                (Some(part), Some(_)) if part.starts_with("{*") => return true,
                (Some(part), Some(here)) if part == here || part.starts_with('{') => {}
                _ => return false,
            }
        }
    };
    let rows = site.site.rows().filter(|row| row.method.as_str() == method).filter(fits);
    rows.min_by_key(|row| row.path.matches('{').count())
}

#[tokio::test]
async fn no_page_offers_its_reader_what_would_be_refused() {
    let (site, _) = filled().await;
    let one_of_each = |db: &rusqlite::Connection| {
        let none: [u8; 0] = [];
        let tables = "SELECT m.name FROM sqlite_master m JOIN pragma_table_info(m.name) c
                      WHERE m.type = 'table' AND c.name = 'id'";
        let tables: Vec<String> = rows(db, tables, none, |row| row.get(0))?;
        let mut ids = Vec::new();
        for table in tables {
            let sql = format!("SELECT CAST(id AS TEXT) FROM {table} ORDER BY id DESC LIMIT 1");
            ids.extend(rows(db, &sql, none, |row| row.get::<_, String>(0))?);
        }
        Ok(ids)
    };
    let ids = site.app.store.read(one_of_each).await.unwrap();
    let (mut refused, mut looked) = (BTreeSet::new(), 0);
    for role in Builtin::ALL {
        let reader = site.with_roles(role.name(), &[role.id()]).await;
        let pages = site.site.rows().filter(|row| row.method == Method::GET && row.template.is_some());
        let open = pages.filter(|row| row.access.admits(&role.scopes()) && !row.path.contains("{seq}"));
        for path in open.flat_map(|row| paths(&row.path, &ids)) {
            let page = reader.page(&path).await;
            if page.status != StatusCode::OK {
                continue;
            }
            looked += 1;
            for (method, to) in offers(&page.text) {
                match row(&site, &method, &to) {
                    Some(row) if row.access.admits(&role.scopes()) => {}
                    Some(row) => {
                        refused.insert(format!(
                            "{path} offers {} {method} {to}: {}",
                            role.name(),
                            row.access
                        ));
                    }
                    None => {
                        refused.insert(format!("{path} offers {method} {to}, which is nowhere"));
                    }
                }
            }
        }
    }
    assert!(looked > 150, "{looked} pages");
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn links_and_forms_are_found_as_they_are_written() {
    let page =
        "<a class=\"x\" href=\"&#x2f;a?b=1\">..</a><form method=\"post\" action=\"/c\"><form action=\"/d\">
                <a href=\"https://e\"><link href=\"/static/f\"><a href=\"#g\">";
    let found: Vec<String> = offers(page).iter().map(|(method, path)| format!("{method} {path}")).collect();
    assert_eq!(found, ["GET /a", "GET /d", "POST /c"]);
}
