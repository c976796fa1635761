//! What is linked into the scanner is what its supply-chain page and the lists beside its binaries say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::process::Command;

use portolan_tests::binaries::{repository, static_scanner};
use serde_json::Value;

/// Cargo's options for each flavour, by the heading of its table.
const FLAVOURS: [(&str, &[&str]); 4] = [
    ("link", &[]),
    ("usb", &["--no-default-features", "--features", "usb"]),
    ("pq", &["--no-default-features", "--features", "pq"]),
    ("none", &["--no-default-features"]),
];

/// Each third-party crate that is linked: name and version, and its licence.
fn linked(options: &[&str]) -> BTreeMap<String, String> {
    let output = Command::new("cargo")
        .args(["tree", "--offline", "--locked", "-p", "portolan-scanner", "-e", "normal"])
        .args(["--prefix", "none", "--format", "{p}|{l}"])
        .args(options)
        .current_dir(repository())
        .output()
        .expect("cargo can be started");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).expect("text");
    let crates = text.lines().map(|line| {
        let (name, licence) = line.trim_end_matches(" (*)").split_once('|').expect("as the format says");
        (name.replace(" v", " "), licence.replace('/', " OR "))
    });
    crates.filter(|(name, _)| !name.starts_with("portolan-scanner ")).collect()
}

/// The rows of the table below a heading, without its first two lines; cells trimmed.
fn table(page: &str, heading: &str) -> Vec<Vec<String>> {
    let section = page.split(&format!("\n## {heading}")).nth(1).unwrap_or_else(|| panic!("no ## {heading}"));
    let section = section.split("\n## ").next().unwrap_or_default();
    let rows = section.lines().filter(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect())
        .collect()
}

#[test]
fn the_page_lists_what_is_linked() {
    let page = fs::read_to_string(repository().join("scanner/SUPPLY-CHAIN.md")).expect("the page is there");
    for (flavour, options) in FLAVOURS {
        let linked = linked(options);
        assert!(linked.len() <= 12, "{flavour}: {linked:?}");
        let listed = table(&page, &format!("Crates of `{flavour}`"));
        let listed: BTreeMap<String, String> =
            listed.iter().map(|row| (format!("{} {}", row[0], row[1]), row[2].clone())).collect();
        assert_eq!(listed, linked, "{flavour}");
    }
}

#[test]
fn the_list_beside_a_binary_is_cyclonedx_and_whole() {
    let names = ["", "-usb", "-pq", "-none"].map(|end| format!("portolan-scanner{end}"));
    for (name, (_, options)) in names.iter().zip(FLAVOURS) {
        let text = fs::read(static_scanner(&format!("{name}.cdx.json"))).expect("it can be read");
        let list: Value = serde_json::from_slice(&text).expect("it is JSON");
        assert_eq!((&list["bomFormat"], &list["specVersion"]), (&"CycloneDX".into(), &"1.5".into()));
        assert_eq!(list["version"], 1);
        let this = &list["metadata"]["component"];
        assert_eq!((&this["type"], &this["name"]), (&"application".into(), &"portolan-scanner".into()));
        let time = list["metadata"]["timestamp"].as_str().expect("a time");
        assert!(time.len() == 20 && time.ends_with('Z'), "{time}");
        let binary = fs::read(static_scanner(name)).expect("it can be read");
        let sum: String =
            <sha2::Sha256 as sha2::Digest>::digest(binary).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(this["hashes"][0]["content"], sum);

        let components = list["components"].as_array().expect("components");
        let cargo: BTreeMap<String, String> = components
            .iter()
            .filter(|component| component["purl"].as_str().is_some_and(|purl| purl.starts_with("pkg:cargo/")))
            .map(|component| {
                assert_eq!(component["type"], "library");
                assert_eq!(component["hashes"][0]["alg"], "SHA-256");
                assert_eq!(component["hashes"][0]["content"].as_str().map(str::len), Some(64));
                let word = |key: &str| component[key].as_str().expect("a word").to_owned();
                let licence = component["licenses"][0]["expression"].as_str().expect("a licence").to_owned();
                (format!("{} {}", word("name"), word("version")), licence)
            })
            .collect();
        assert_eq!(cargo, linked(options), "{name}");
        let others: BTreeSet<&str> =
            components.iter().filter_map(|component| component["name"].as_str()).collect();
        assert!(others.contains("glibc") && others.contains("rust-std"));

        // Every reference leads to something that is listed, and each thing listed has its line.
        let mut known: BTreeSet<&str> = components.iter().filter_map(|one| one["bom-ref"].as_str()).collect();
        known.insert(this["bom-ref"].as_str().expect("a name"));
        assert_eq!(known.len(), components.len() + 1);
        let edges = list["dependencies"].as_array().expect("dependencies");
        let from: BTreeSet<&str> = edges.iter().filter_map(|edge| edge["ref"].as_str()).collect();
        assert_eq!(from, known);
        for to in edges.iter().flat_map(|edge| edge["dependsOn"].as_array().expect("a list")) {
            assert!(known.contains(to.as_str().expect("a name")), "{to}");
        }
    }
}
