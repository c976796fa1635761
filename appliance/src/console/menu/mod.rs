//! The menu: what is shown, what can be chosen, and that nothing happens that was not said and agreed to.

mod network;
mod power;
mod time;

use std::collections::BTreeMap;
use std::io;

use serde_json::{Value, json};

use super::machine::Machine;
use super::settings::{Settings, difference};
use super::talk::Talk;
use super::{apply, checks, journal, status};
use crate::cli::admin::FilesArgs;
use crate::clock::Clock;
use journal::Deed;

/// What the console works on.
pub struct Console {
    /// The machine.
    pub machine: Machine,
    /// The files of the appliance.
    pub data: FilesArgs,
    /// Tells the time.
    pub clock: Clock,
    /// What the terminal is called, for the audit.
    pub terminal: String,
}

/// What can be chosen: its word, and what it does.
type Choice = (&'static str, fn(&Console, &mut Talk<'_>) -> io::Result<()>);

const CHOICES: [Choice; 6] = [
    ("Network", network::menu),
    ("Time", time::menu),
    ("Test network and disk", tests),
    ("Logs", logs),
    ("Restart", power::restart),
    ("Power off", power::off),
];
/// What only the image has.
const RESET: Choice = ("Factory reset", power::factory_reset);

impl Console {
    /// Shows the machine and does what is chosen, until nobody is there any more.
    ///
    /// # Errors
    /// Those of the terminal.
    pub fn run(&self, talk: &mut Talk<'_>) -> io::Result<()> {
        let ended = loop {
            if let Err(error) = self.once(talk) {
                break error;
            }
        };
        if ended.kind() == io::ErrorKind::UnexpectedEof { Ok(()) } else { Err(ended) }
    }

    fn choices(&self) -> Vec<Choice> {
        let mut choices = CHOICES.to_vec();
        if self.machine.of_image(power::RESET_PROGRAM).is_some() {
            choices.push(RESET);
        }
        choices
    }

    fn once(&self, talk: &mut Talk<'_>) -> io::Result<()> {
        // Without a database it waits; the screen says that there is none.
        let recorded = journal::record(&self.machine.settings, &self.data);
        talk.say(&status::look(&self.machine, &self.data).shown())?;
        if let (Err(why), true) = (recorded, self.machine.unrecorded().exists()) {
            talk.say(&format!("  Not in the audit yet, and kept until it can be: {why}"))?;
        }
        let choices = self.choices();
        let words: Vec<&str> = choices.iter().map(|(word, _)| *word).collect();
        talk.say(&numbered(&words))?;
        let typed = talk.ask("Number, or Enter to look again:")?;
        match chosen(&typed, choices.len()) {
            Some(at) => choices[at].1(self, talk),
            None if typed.is_empty() => Ok(()),
            None => talk.say(&format!("  {typed:?} is none of these numbers.")),
        }
    }

    /// Writes down what is about to be done.
    fn note(&self, action: &str, detail: Value, change: Option<(Value, Value)>) -> Result<(), String> {
        let deed = Deed {
            at: self.clock.now(),
            on: self.terminal.clone(),
            action: action.to_owned(),
            detail,
            change,
        };
        journal::note(&self.machine.settings, &deed).map_err(|error| {
            format!(
                "{}: {error}: it could not be written down, so it was not done",
                self.machine.unrecorded().display()
            )
        })
    }

    /// Brings what was noted to the audit; what cannot be is told of on the first screen.
    fn recorded(&self) {
        let _ = journal::record(&self.machine.settings, &self.data);
    }

    /// Shows what changes and what that means, asks, and makes it so.
    fn settle(&self, talk: &mut Talk<'_>, before: &Settings, after: &Settings) -> io::Result<bool> {
        let lines = difference(before, after);
        if lines.is_empty() {
            talk.say("  Nothing is changed.")?;
            return Ok(true);
        }
        let wrong = super::settings::check(after);
        if !wrong.is_empty() {
            talk.say("  This does not fit together, and was not set:")?;
            talk.say(&wrong.iter().map(|why| format!("  - {why}")).collect::<Vec<_>>().join("\n"))?;
            return Ok(false);
        }
        talk.say("  This changes:")?;
        talk.pages(&lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n"))?;
        for told in apply::consequences(&self.machine, after) {
            talk.say(&format!("  ! {told}"))?;
        }
        if !talk.agreed("It takes effect at once, and connections may break.")? {
            talk.say("  Not confirmed: all is as it was.")?;
            return Ok(false);
        }
        // A screen and a serial line are two consoles.
        if apply::kept(&self.machine).is_ok_and(|now| now != *before) {
            talk.say(
                "  Another console has changed the settings meanwhile: look at them again. Nothing was set.",
            )?;
            return Ok(false);
        }
        let change = Some((as_json(before), as_json(after)));
        if let Err(why) = self.note("machine.settings-changed", json!({}), change) {
            talk.say(&format!("  {why}"))?;
            return Ok(false);
        }
        let done = apply::keep(&self.machine, after).and_then(|()| apply::write(&self.machine, after));
        match done {
            Ok(changed) => {
                for trouble in apply::reload(&self.machine, before, after, &changed) {
                    talk.say(&format!("  ! {trouble}"))?;
                }
                talk.say("  Done.")?;
            }
            Err(error) => talk.say(&format!("  ! {error}"))?,
        }
        self.recorded();
        Ok(true)
    }

    /// The settings to begin from. Those that cannot be read are told of, and are replaced as a whole if that is wanted.
    fn settings(&self, talk: &mut Talk<'_>) -> io::Result<Option<Settings>> {
        match apply::kept(&self.machine) {
            Ok(settings) => Ok(Some(settings)),
            Err(why) => {
                talk.say(&format!(
                    "  The settings that are kept cannot be read, and are not in force:\n  {why}"
                ))?;
                let anew = talk.agreed("Begin with none, and put what you set in their place?")?;
                Ok(anew.then(Settings::default))
            }
        }
    }
}

fn tests(console: &Console, talk: &mut Talk<'_>) -> io::Result<()> {
    talk.say("  Asking the network, some seconds …")?;
    let settings = apply::kept(&console.machine).unwrap_or_default();
    let lines = checks::network(&console.machine, &settings, &console.clock);
    talk.pages(&indented(&lines))?;
    talk.say("  Reading all data …")?;
    talk.pages(&indented(&checks::disks(&console.data.data)))?;
    talk.ask("Enter: back").map(drop)
}

fn logs(console: &Console, talk: &mut Talk<'_>) -> io::Result<()> {
    const WHOSE: [(&str, &[&str]); 3] = [
        ("The appliance", &["-u", "portolan-*"]),
        (
            "The network and the time",
            &["-u", "systemd-networkd", "-u", "systemd-resolved", "-u", "systemd-timesyncd"],
        ),
        ("Warnings and errors of all", &["-p", "warning"]),
    ];
    talk.say(&numbered(&WHOSE.map(|(word, _)| word)))?;
    let Some(at) = chosen(&talk.ask("Number, or Enter to go back:")?, WHOSE.len()) else { return Ok(()) };
    // The newest first: that is what somebody who stands here looks for.
    let mut words = vec!["--no-pager", "-q", "-r", "-b", "-o", "short-iso", "-n", "1000"];
    words.extend(WHOSE[at].1);
    let ran = console.machine.run("journalctl", &words);
    match (ran.done, ran.out.is_empty()) {
        (false, _) => talk.say(&format!("  {}", ran.err)),
        (true, true) => talk.say("  Nothing since the machine was started."),
        (true, false) => talk.pages(&ran.out),
    }
}

fn as_json(settings: &Settings) -> Value {
    settings.pairs().into_iter().collect::<BTreeMap<_, _>>().into_iter().collect()
}

fn indented(lines: &[String]) -> String {
    lines.iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

/// A menu: a number before each.
fn numbered(words: &[&str]) -> String {
    let lines: Vec<String> =
        words.iter().zip(1..).map(|(word, number)| format!("  {number}  {word}")).collect();
    lines.join("\n")
}

/// The place of what was chosen by its number.
fn chosen(typed: &str, count: usize) -> Option<usize> {
    typed.parse::<usize>().ok().and_then(|number| number.checked_sub(1)).filter(|at| *at < count)
}

#[cfg(test)]
#[path = "../menu_test.rs"]
mod tests_of_the_dialogue;
