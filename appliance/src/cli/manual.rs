//! The manual pages in `man/`, made from the command line's own definition. `UPDATE_SNAPSHOTS=1` writes them.

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use clap::Command;
use clap_mangen::Man;

use super::exit::Exit;

/// A page: its file's name, and its text.
fn pages() -> Vec<(String, String)> {
    let whole = super::definition();
    let commands: Vec<Command> = shown(&whole).cloned().collect();
    let names: Vec<String> =
        commands.iter().map(|command| format!("portolan-{}", command.get_name())).collect();
    let mut pages = vec![("portolan".to_owned(), page(&whole, "portolan", &names))];
    for (command, name) in commands.iter().zip(&names) {
        pages.push((name.clone(), page(command, &name.replacen('-', " ", 1), &["portolan".to_owned()])));
    }
    pages.into_iter().map(|(name, text)| (format!("{name}.1"), text)).collect()
}

fn page(command: &Command, called: &str, others: &[String]) -> String {
    let name = called.replace(' ', "-");
    let man = man(command, called)
        .title(name.to_uppercase())
        .section("1")
        .date("")
        .source("Portolan")
        .manual("Portolan");
    let mut text = Vec::new();
    man.render_title(&mut text).unwrap();
    man.render_name_section(&mut text).unwrap();
    man.render_synopsis_section(&mut text).unwrap();
    man.render_description_section(&mut text).unwrap();
    man.render_options_section(&mut text).unwrap();
    let mut text = String::from_utf8(text).unwrap();
    if command.has_subcommands() {
        text.push_str(".SH COMMANDS\n");
        if called == "portolan" {
            for command in shown(command) {
                let about = command.get_about().map(ToString::to_string).unwrap_or_default();
                writeln!(
                    text,
                    ".TP\n\\fB{}\\fR(1)\n{}",
                    escaped(&format!("portolan-{}", command.get_name())),
                    escaped(&about)
                )
                .unwrap();
            }
        } else {
            sections(&mut text, command, called);
        }
    }
    text.push_str(".SH EXIT STATUS\n");
    for exit in Exit::ALL {
        writeln!(text, ".TP\n\\fB{}\\fR\n{}", exit.code(), escaped(exit.meaning())).unwrap();
    }
    let others: Vec<String> = others.iter().map(|other| format!("\\fB{}\\fR(1)", escaped(other))).collect();
    writeln!(text, ".SH SEE ALSO\n{}", others.join(", ")).unwrap();
    tidy(&text)
}

/// Each section brings what makes apostrophes straight: once is enough. Ends of lines and empty lines mean nothing.
fn tidy(text: &str) -> String {
    let is_prelude = |line: &str| line.starts_with(".ie ") || line.starts_with(".el ");
    let prelude = text.lines().take_while(|line| is_prelude(line));
    let rest = text.lines().map(str::trim_end).filter(|line| !line.is_empty() && !is_prelude(line));
    prelude.chain(rest).fold(String::new(), |text, line| text + line + "\n")
}

/// Each command below, however deep, in a section of its own.
fn sections(text: &mut String, above: &Command, called: &str) {
    for command in shown(above) {
        let called = format!("{called} {}", command.get_name());
        if command.has_subcommands() {
            sections(text, command, &called);
            continue;
        }
        let man = man(command, &called);
        let (mut synopsis, mut description, mut options) = (Vec::new(), Vec::new(), Vec::new());
        man.render_synopsis_section(&mut synopsis).unwrap();
        man.render_description_section(&mut description).unwrap();
        man.render_options_section(&mut options).unwrap();
        writeln!(text, ".SS {}", escaped(&called)).unwrap();
        for part in [synopsis, description, options] {
            // Without the heading that the part would have on a page of its own.
            let part = String::from_utf8(part).unwrap();
            let body: Vec<&str> = part.lines().filter(|line| !line.starts_with(".SH ")).collect();
            if body.iter().any(|line| !line.starts_with(".ie") && !line.starts_with(".el")) {
                writeln!(text, "{}\n.PP", body.join("\n")).unwrap();
            }
        }
    }
}

/// The commands below that are for people.
fn shown(above: &Command) -> impl Iterator<Item = &Command> {
    above.get_subcommands().filter(|command| !command.is_hide_set())
}

/// Help is not worth an entry of every list.
fn man(command: &Command, called: &str) -> Man {
    let command = command.clone().disable_help_flag(true).disable_help_subcommand(true);
    Man::new(command.bin_name(called.to_owned()).display_name(called.replace(' ', "-")))
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('-', "\\-")
}

#[test]
fn the_manual_pages_are_what_the_definition_gives() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../man");
    for (name, text) in pages() {
        let path = folder.join(&name);
        if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
            fs::write(&path, &text).unwrap();
        }
        let kept = fs::read_to_string(&path).unwrap_or_default();
        assert!(kept == text, "man/{name} is not what the definition gives: UPDATE_SNAPSHOTS=1 writes it");
    }
}

#[test]
fn every_command_and_option_is_on_a_page() {
    let pages: Vec<String> = pages().into_iter().map(|(_, text)| text).collect();
    for word in ["portolan admin user set\\-password", "portolan ctl subnets create", "\\-\\-older\\-than"] {
        assert!(pages.iter().any(|page| page.contains(word)), "{word}");
    }
}
