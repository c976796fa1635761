//! What `systemd/` says of users, groups and folders: a test holds the program to it, and to no copy of it.

use std::collections::BTreeMap;
use std::fs;

use crate::binaries::repository;

/// A folder that tmpfiles makes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folder {
    /// Its path.
    pub path: String,
    /// Its mode.
    pub mode: u32,
    /// Who owns it.
    pub owner: String,
    /// Whose group it has.
    pub group: String,
}

/// A file of `systemd/`.
pub fn text(name: &str) -> String {
    let path = repository().join("systemd").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The words of each line that is no comment.
fn lines(name: &str) -> Vec<Vec<String>> {
    let text = text(name);
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
}

/// Every user and group of sysusers, each with a number that no user of this machine is likely to have.
pub fn accounts() -> BTreeMap<String, u32> {
    let named = lines("portolan.sysusers").into_iter().filter(|line| ["u", "g"].contains(&line[0].as_str()));
    named.zip(64_001..).map(|(line, id)| (line[1].clone(), id)).collect()
}

/// The folders of tmpfiles, in its order; what else it makes is links.
pub fn folders() -> Vec<Folder> {
    let folder = |line: Vec<String>| {
        let mode = u32::from_str_radix(&line[2], 8).expect("a mode in octal");
        Folder { path: line[1].clone(), mode, owner: line[3].clone(), group: line[4].clone() }
    };
    let made = lines("portolan.tmpfiles").into_iter();
    made.filter(|line| line[0] != "L")
        .inspect(|line| assert_eq!(line[0], "d", "{line:?}"))
        .map(folder)
        .collect()
}

/// What a unit sets a directive to, line by line.
pub fn directive(unit: &str, name: &str) -> Vec<String> {
    let begin = format!("{name}=");
    text(unit).lines().filter_map(|line| line.strip_prefix(&begin)).map(str::to_owned).collect()
}

/// The arguments of `setpriv` by which a process gets the user and the groups of this unit.
pub fn runs_as(unit: &str) -> String {
    let accounts = accounts();
    let one = |name: &str| {
        let values = directive(unit, name);
        assert_eq!(values.len(), 1, "{name}= in {unit}");
        accounts[&values[0]]
    };
    let group = one("Group");
    let mut groups = vec![group];
    groups.extend(
        directive(unit, "SupplementaryGroups")
            .iter()
            .flat_map(|line| line.split(' '))
            .map(|name| accounts[name]),
    );
    let groups: Vec<String> = groups.iter().map(u32::to_string).collect();
    format!(
        "--reuid={} --regid={group} --groups={} --inh-caps=-all --no-new-privs",
        one("User"),
        groups.join(",")
    )
}
