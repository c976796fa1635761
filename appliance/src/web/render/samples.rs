//! Every page is rendered from its samples, strictly: a name that is not in them fails here, not at a user's desk.
//!
//! `templates/_samples/a/b.json` is the context of `a/b.html`, over what `_base.json` gives to all; so is
//! `a/b.anything.json`, which is how a page is tried empty, refused, or ended.

use super::Pages;
use crate::clock::Clock;
use minijinja::value::{Serde, Value as Jinja};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

fn root(folder: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(folder)
}

/// Every file below `folder` with this ending, as its path from there.
fn files(folder: &Path, ending: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|found| found == ending) {
                found.insert(path.strip_prefix(folder).unwrap().to_str().unwrap().to_owned());
            }
        }
    }
    found
}

fn object(path: &Path) -> Map<String, Value> {
    let text = fs::read_to_string(path).unwrap();
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The page that a sample is for: `scans/show.running.json` is for `scans/show.html`.
fn page_of(sample: &str) -> String {
    let (folder, file) = sample.rsplit_once('/').map_or(("", sample), |(folder, file)| (folder, file));
    let stem = file.split('.').next().unwrap_or(file);
    if folder.is_empty() { format!("{stem}.html") } else { format!("{folder}/{stem}.html") }
}

/// Every sample's page, rendered, by the sample's name.
fn rendered() -> BTreeMap<String, String> {
    let pages = Pages::new(&[], &Clock::system()).unwrap();
    let samples = root("templates/_samples");
    let base = object(&samples.join("_base.json"));
    let mut out = BTreeMap::new();
    for name in files(&samples, "json").into_iter().filter(|name| name != "_base.json") {
        let mut context = base.clone();
        context.extend(object(&samples.join(&name)));
        let can = Jinja::from_function(|_: &str| true);
        let context = minijinja::context! { can, ..Jinja::from(Serde(&context)) };
        let template = pages.environment.get_template(&page_of(&name)).unwrap();
        let html = template.render(context).unwrap_or_else(|error| panic!("{name}: {error:#}"));
        out.insert(name, html);
    }
    out
}

#[test]
fn every_page_renders_from_its_samples_and_has_one() {
    let done: BTreeSet<String> = rendered().keys().map(|sample| page_of(sample)).collect();
    let pages = files(&root("templates"), "html");
    let own = |page: &&String| !page.split('/').any(|part| part.starts_with('_'));
    let without: Vec<&String> = pages.iter().filter(own).filter(|page| !done.contains(*page)).collect();
    assert!(without.is_empty(), "no sample in templates/_samples for {without:?}");
}

/// Of two with one key the later wins, and the earlier is never seen.
#[test]
fn no_table_of_the_macros_has_a_key_twice() {
    let all = files(&root("templates"), "html").into_iter().filter(|page| page.starts_with("_ui/"));
    let all = all.map(|page| fs::read_to_string(root("templates").join(page)).unwrap());
    let text = all.collect::<String>();
    let mut tables = 0;
    for table in text.split("{%- set ").filter_map(|part| part.split_once(" = {\n")) {
        let (name, rest) = table;
        let (mut seen, body) = (BTreeSet::new(), rest.split("} -%}").next().unwrap());
        for key in body.split("\": ").filter_map(|before| before.rsplit_once('"')).map(|(_, key)| key) {
            assert!(seen.insert(key), "{name} has {key} twice");
        }
        assert!(seen.len() > 1, "{name}");
        tables += 1;
    }
    assert!(tables >= 4, "{tables}");
}

#[test]
fn no_page_has_inline_script_or_style_which_the_policy_would_refuse() {
    for (name, html) in rendered() {
        for refused in ["<script>", "<style", " style=\"", " onclick=", " onchange=", "javascript:"] {
            assert!(!html.contains(refused), "{name} has {refused}");
        }
    }
}

#[test]
fn every_icon_is_in_the_sprite() {
    let sprite = fs::read_to_string(root("static/icons.svg")).unwrap();
    for (name, html) in rendered() {
        for piece in html.split("icons.svg#").skip(1) {
            let icon = piece.split('"').next().unwrap_or_default();
            assert!(sprite.contains(&format!("<symbol id=\"{icon}\"")), "{name}: no icon {icon:?}");
        }
    }
}

#[test]
fn what_was_typed_is_escaped() {
    for (name, html) in rendered() {
        for raw in ["<Lovelace>", "<note>", "<ask Grace>", "<like>"] {
            assert!(!html.contains(raw), "{name} has {raw} unescaped");
        }
    }
}

#[test]
fn ids_stand_once_on_a_page() {
    for (name, html) in rendered() {
        let ids: Vec<&str> =
            html.split(" id=\"").skip(1).filter_map(|piece| piece.split('"').next()).collect();
        let once: BTreeSet<&&str> = ids.iter().collect();
        assert_eq!(ids.len(), once.len(), "{name}: an id stands twice in {ids:?}");
    }
}
