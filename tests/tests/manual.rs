//! The scanner's manual page and unit: what they say is what the program does, and what systemd makes of it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use portolan_tests::binaries;

/// The commands whose options the manual page lists, under a heading of the same name.
const COMMANDS: [&str; 5] = ["probe", "enrol", "run", "stick", "upgrade"];

fn scanner(arguments: &[&str]) -> String {
    let output = Command::new(binaries::scanner()).args(arguments).output().expect("the scanner starts");
    assert!(output.status.success(), "{arguments:?}: {}", output.status);
    String::from_utf8(output.stdout).expect("it speaks UTF-8")
}

/// Every word of a text that is an option, `--help` left out.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '-');
    let names = words.filter_map(|word| word.strip_prefix("--")).filter(|name| !name.is_empty());
    names.filter(|name| *name != "help").map(str::to_owned).collect()
}

/// The options that have an entry under this heading of the page.
fn entries(page: &str, heading: &str) -> BTreeSet<String> {
    let begin = format!("\n.Ss {heading}\n");
    let (_, section) = page.split_once(&begin).unwrap_or_else(|| panic!("no section {heading}"));
    let section = section.split("\n.S").next().unwrap_or_default();
    let entry = |line: &str| Some(line.strip_prefix(".It Fl -")?.split(' ').next()?.to_owned());
    section.lines().filter_map(entry).collect()
}

fn found(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn the_manual_page_names_every_command_and_option_and_no_other() {
    let page = scanner(&["--man"]);
    for command in COMMANDS {
        let help = options(&scanner(&[command, "--help"]));
        assert_eq!(
            entries(&page, command),
            help,
            "man/portolan-scanner.1, section {command}, and its --help"
        );
    }
    let help = scanner(&["--help"]);
    let commands = help.lines().filter_map(|line| line.strip_prefix("  ")?.split("  ").next());
    let commands: Vec<&str> = commands.filter(|word| !word.starts_with('-') && !word.is_empty()).collect();
    assert_eq!(commands, COMMANDS, "the commands of --help, and those that this test looks at");
    for option in options(&help).iter().filter(|option| *option != "help") {
        assert!(page.contains(&format!("Fl -{option}")), "--{option} is not on the page");
    }
}

#[test]
fn the_manual_page_is_clean() {
    let page = binaries::repository().join("man/portolan-scanner.1");
    assert_eq!(scanner(&["--man"]), fs::read_to_string(&page).expect("the page is there"));
    if !found("mandoc") {
        eprintln!("mandoc is not here: the page was not checked");
        return;
    }
    let output = Command::new("mandoc").args(["-T", "lint"]).arg(&page).output().expect("mandoc starts");
    let said = said(&output);
    // What other pages this machine has is not the page's fault.
    let lines: Vec<&str> = said.lines().filter(|line| !line.contains("outdated mandoc.db")).collect();
    assert!(lines.is_empty(), "{lines:#?}");
}

/// The unit, with its program replaced by one that is there.
fn unit(folder: &Path, drop_in: bool) {
    let text = scanner(&["--unit"]).replace("/usr/local/bin/portolan-scanner", "/bin/true");
    fs::write(folder.join("portolan-scanner.service"), text).expect("the folder is ours");
    if drop_in {
        let syn = binaries::repository().join("systemd/portolan-scanner-syn.conf");
        fs::create_dir(folder.join("portolan-scanner.service.d")).expect("the folder is ours");
        fs::copy(syn, folder.join("portolan-scanner.service.d/syn.conf")).expect("the drop-in is there");
    }
}

#[test]
fn systemd_takes_the_unit_and_finds_little_exposed() {
    if !found("systemd-analyze") {
        eprintln!("systemd-analyze is not here: the unit was not checked");
        return;
    }
    // In tenths.
    for (drop_in, most) in [(false, 15), (true, 17)] {
        let folder = tempfile::tempdir().expect("a temporary folder can be made");
        unit(folder.path(), drop_in);
        let analyze = |arguments: &[&str]| {
            let mut command = Command::new("systemd-analyze");
            command.args(arguments).arg("./portolan-scanner.service").current_dir(folder.path());
            command.output().expect("systemd-analyze starts")
        };
        let checked = analyze(&["verify", "--man=no"]);
        assert!(checked.status.success() && said(&checked).is_empty(), "{}", said(&checked));
        let most = format!("--threshold={most}");
        let security = analyze(&["security", "--offline=true", &most, "--no-pager"]);
        assert!(security.status.success(), "{}", said(&security));
    }
}

#[test]
fn the_install_script_gives_a_syn_scanner_the_drop_in_that_is_documented() {
    let read = |path: &str| fs::read_to_string(binaries::repository().join(path)).expect("it is there");
    let script = read("scanner/install.sh");
    let lines = read("systemd/portolan-scanner-syn.conf");
    for line in lines.lines().filter(|line| line.contains('=') && !line.starts_with('#')) {
        assert!(script.contains(&format!("\n{line}\n")), "install.sh --syn lacks {line}");
    }
}
