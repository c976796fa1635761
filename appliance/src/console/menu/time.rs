//! The time: by servers that are named, or by hand.

use std::io;

use serde_json::json;

use super::{Console, chosen, numbered};
use crate::clock::Timestamp;
use crate::console::settings::{Settings, put};
use crate::console::talk::Talk;

pub fn menu(console: &Console, talk: &mut Talk<'_>) -> io::Result<()> {
    let Some(before) = console.settings(talk)? else { return Ok(()) };
    let servers: Vec<String> = before.ntp.iter().map(ToString::to_string).collect();
    let by = if servers.is_empty() { "by hand".to_owned() } else { format!("by {}", servers.join(", ")) };
    talk.say(&format!("  It is {} (UTC), set {by}.", console.clock.now()))?;
    talk.say(&numbered(&["Servers of time (NTP)", "Set the clock by hand"]))?;
    match chosen(&talk.ask("Number, or Enter to go back:")?, 2) {
        Some(0) => servers_of_time(console, talk, &before),
        Some(_) if servers.is_empty() => by_hand(console, talk),
        Some(_) => talk.say("  Servers set the clock: take them back first, with - for none."),
        None => Ok(()),
    }
}

fn servers_of_time(console: &Console, talk: &mut Talk<'_>, before: &Settings) -> io::Result<()> {
    loop {
        let typed = talk.ask("Addresses or names with commas between, - for none, Enter to leave it:")?;
        if typed.is_empty() {
            return Ok(());
        }
        let mut after = before.clone();
        match put(&mut after, "ntp", if typed == "-" { "" } else { &typed }) {
            Ok(()) => return console.settle(talk, before, &after).map(drop),
            Err(why) => talk.say(&format!("  {why}"))?,
        }
    }
}

/// `2026-11-23 06:30` or with seconds, in UTC.
fn read(typed: &str) -> Option<Timestamp> {
    let (day, time) = typed.split_once([' ', 'T'])?;
    let seconds = if time.matches(':').count() == 1 { ":00" } else { "" };
    Timestamp::parse(&format!("{day}T{}{seconds}Z", time.trim().trim_end_matches('Z'))).ok()
}

fn by_hand(console: &Console, talk: &mut Talk<'_>) -> io::Result<()> {
    let at = loop {
        let typed = talk.ask("The time in UTC, as 2026-11-23 06:30:00, or Enter to go back:")?;
        if typed.is_empty() {
            return Ok(());
        }
        match read(&typed) {
            Some(at) => break at,
            None => talk.say(&format!("  {typed:?} is no time: year-month-day hour:minute, in UTC."))?,
        }
    };
    let now = console.clock.now();
    talk.say(&format!("  The clock goes from {now} to {at}."))?;
    if at < now {
        talk.say("  ! That is back: what was recorded in between stands in the audit with a later time than what comes.")?;
    }
    if !talk.agreed("Sessions, tokens and running scans go by this clock.")? {
        return talk.say("  Not confirmed: the clock goes on.");
    }
    if let Err(why) = console.note("machine.clock-set", json!({ "from": now, "to": at }), None) {
        return talk.say(&format!("  {why}"));
    }
    let set = console.machine.run("date", &["-u", "-s", &format!("@{}", at.seconds())]);
    if set.done {
        // What the board keeps while it is off.
        let kept = console.machine.run("hwclock", &["--systohc", "--utc"]);
        talk.say("  Done.")?;
        if !kept.done {
            talk.say(&format!("  ! It may be lost when the machine is off: {}", kept.err))?;
        }
    } else {
        talk.say(&format!("  ! {}", set.err))?;
    }
    console.recorded();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_with_and_without_seconds_and_nothing_else_is_one() {
        let at = Timestamp::parse("2026-11-23T06:30:00Z").unwrap();
        for typed in ["2026-11-23 06:30", "2026-11-23 06:30:00", "2026-11-23T06:30:00Z"] {
            assert_eq!(read(typed), Some(at), "{typed}");
        }
        for typed in [
            "06:30",
            "2026-11-23",
            "2026-13-01 00:00",
            "2026-11-23 25:00",
            "yesterday noon",
            "2026-11-23 06:30:00+01:00",
        ] {
            assert_eq!(read(typed), None, "{typed}");
        }
    }
}
