//! The documentation, embedded: one page of `docs/` a web page, and the help inside a page cut from it.

pub mod routes;

use pulldown_cmark::{Alignment, CowStr, Event, Options, Parser, Tag, html};
use rust_embed::RustEmbed;
use schemars::JsonSchema;
use serde::Serialize;
use std::collections::BTreeMap;

#[derive(RustEmbed)]
#[folder = "../docs"]
#[include = "*.md"]
struct Sources;

/// One page.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Doc {
    /// Its path below `docs/`, without `.md`.
    pub key: String,
    /// Its first heading.
    pub title: String,
    /// The whole page.
    pub html: String,
}

/// What a web page shows of its documentation: what stands before the second heading.
#[derive(Clone, Debug, Serialize)]
pub struct Help {
    /// The page's title.
    pub title: String,
    /// Its first paragraphs.
    pub html: String,
    /// The whole of it.
    pub path: String,
}

/// Every page, rendered once.
pub struct Docs {
    pages: BTreeMap<String, (Doc, Help)>,
}

impl Docs {
    /// Renders the embedded pages.
    #[must_use]
    pub fn embedded() -> Self {
        let pages = Sources::iter()
            .filter_map(|name| {
                let text = String::from_utf8_lossy(&Sources::get(&name)?.data).into_owned();
                let key = name.trim_end_matches(".md").to_owned();
                Some((key.clone(), render(key, &text)))
            })
            .collect();
        Self { pages }
    }

    /// The page of this key.
    #[must_use]
    pub fn page(&self, key: &str) -> Option<&Doc> {
        self.pages.get(key).map(|(doc, _)| doc)
    }

    /// The help cut from the page of this key.
    #[must_use]
    pub fn help(&self, key: &str) -> Option<&Help> {
        self.pages.get(key).map(|(_, help)| help)
    }

    /// Every page, by key.
    pub fn all(&self) -> impl Iterator<Item = &Doc> {
        self.pages.values().map(|(doc, _)| doc)
    }
}

fn render(key: String, text: &str) -> (Doc, Help) {
    let (title, body) = match text.strip_prefix("# ").and_then(|rest| rest.split_once('\n')) {
        Some((title, body)) => (title.trim().to_owned(), body),
        None => (key.clone(), text),
    };
    let intro = body.split("\n## ").next().unwrap_or_default();
    let help = Help { title: title.clone(), html: to_html(&key, intro), path: format!("/docs/{key}") };
    let html = to_html(&key, body);
    (Doc { key, title, html }, help)
}

fn to_html(key: &str, markdown: &str) -> String {
    let options = Options::ENABLE_TABLES | Options::ENABLE_HEADING_ATTRIBUTES;
    let events = Parser::new_ext(markdown, options).map(|event| match event {
        // An alignment would become an inline style, which the pages' policy forbids.
        Event::Start(Tag::Table(columns)) => Event::Start(Tag::Table(vec![Alignment::None; columns.len()])),
        Event::Start(Tag::Link { link_type, dest_url, title, id }) => {
            Event::Start(Tag::Link { link_type, dest_url: target(key, dest_url), title, id })
        }
        other => other,
    });
    let mut out = String::new();
    html::push_html(&mut out, events);
    out
}

/// `../scans/scans.md#x`, as it works in a repository browser, is `/docs/scans/scans#x` here.
fn target<'a>(key: &str, link: CowStr<'a>) -> CowStr<'a> {
    let (path, anchor) = link.split_once('#').unwrap_or((&link, ""));
    let Some(path) = path.strip_suffix(".md").filter(|path| !path.contains("://")) else { return link };
    let mut parts: Vec<&str> = key.split('/').collect();
    parts.pop();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    let anchor = if anchor.is_empty() { String::new() } else { format!("#{anchor}") };
    format!("/docs/{}{anchor}", parts.join("/")).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn help_is_what_stands_before_the_second_heading() {
        let (doc, help) = render(
            "scope/subnets".into(),
            "# Subnets\n\nRanges. See [scans](../scans/scans.md#end).\n\n## Fields\n\nMore.\n",
        );
        assert_eq!(doc.title, "Subnets");
        assert!(help.html.contains("Ranges") && !help.html.contains("More"));
        assert!(doc.html.contains("/docs/scans/scans#end"), "{}", doc.html);
    }

    #[test]
    fn a_table_has_no_inline_style_which_the_policy_of_pages_forbids() {
        let (doc, _) = render("a/b".into(), "# A\n\n| what | how many |\n|---|---:|\n| ports | 3 |\n");
        assert!(doc.html.contains("<td>3</td>") && !doc.html.contains("style"), "{}", doc.html);
    }
}
