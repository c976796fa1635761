//! ARCHITECTURE.md names every folder that holds source, and none that is gone.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use portolan_tests::binaries::repository;

/// Where folders are named one by one; below them a parent stands for its children.
const MAPPED: [&str; 4] = ["", "appliance/src", "scanner/src", "migrations"];

fn folders() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for parent in MAPPED {
        for entry in fs::read_dir(repository().join(parent)).expect("the folder is there") {
            let entry = entry.expect("the folder can be read");
            let name = entry.file_name().into_string().expect("names are UTF-8");
            if entry.path().is_dir() && !name.starts_with('.') && name != "target" {
                found
                    .insert(Path::new(parent).join(name).to_str().expect("names are UTF-8").to_owned() + "/");
            }
        }
    }
    found
}

/// What stands in code marks and ends with a slash.
fn named(text: &str) -> BTreeSet<String> {
    let marked = text.split('`').skip(1).step_by(2);
    marked.filter(|mark| mark.ends_with('/') && !mark.contains(' ')).map(str::to_owned).collect()
}

#[test]
fn the_map_names_every_folder_and_none_that_is_gone() {
    let text = fs::read_to_string(repository().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md is there");
    let named = named(&text);
    let unnamed: Vec<_> = folders().into_iter().filter(|folder| !named.contains(folder)).collect();
    assert!(unnamed.is_empty(), "not in ARCHITECTURE.md: {unnamed:?}");
    let gone: Vec<_> = named.iter().filter(|folder| !repository().join(folder).is_dir()).collect();
    assert!(gone.is_empty(), "in ARCHITECTURE.md, but not there: {gone:?}");
}

#[test]
fn the_readme_leads_to_pages_that_are_there() {
    for page in
        ["README.md", "INSTALL.md", "ARCHITECTURE.md", "SECURITY.md", "CONTRIBUTING.md", "CHANGELOG.md"]
    {
        let text =
            fs::read_to_string(repository().join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
        for link in links.filter(|link| !link.contains("://") && !link.starts_with('#')) {
            let target = link.split('#').next().unwrap_or(link);
            assert!(repository().join(target).exists(), "{page} leads to {target}, which is not there");
        }
    }
}

#[test]
fn links_between_docs_pages_lead_somewhere() {
    let docs = repository().join("docs");
    let mut folders = vec![docs.clone()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).expect("docs can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "md") {
                continue;
            }
            let text = fs::read_to_string(&path).expect("a page is text");
            for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
                let target = link.split('#').next().unwrap_or(link);
                let there = target.contains("://")
                    || target.is_empty()
                    || target.starts_with('/')
                    || folder.join(target).exists();
                assert!(there, "{} leads to {target}, which is not there", path.display());
            }
        }
    }
}
