//! Restart, power off, and back to how the machine was made.

use std::io;

use serde_json::json;

use super::Console;
use crate::console::talk::Talk;

/// The image's program that marks the data to be made anew and starts the machine again.
pub const RESET_PROGRAM: &str = "factory-reset";
/// The unit that runs it.
const RESET_UNIT: &str = "portolan-factory-reset.service";

pub fn restart(console: &Console, talk: &mut Talk<'_>) -> io::Result<()> {
    end(console, talk, ("restarts", "machine.restarted", "reboot"))
}

pub fn off(console: &Console, talk: &mut Talk<'_>) -> io::Result<()> {
    end(console, talk, ("is switched off", "machine.powered-off", "poweroff"))
}

fn end(console: &Console, talk: &mut Talk<'_>, (what, action, verb): (&str, &str, &str)) -> io::Result<()> {
    if !talk.agreed(&format!("The machine {what}; scans go on where they were when it is back."))? {
        return talk.say("  Not confirmed: it runs on.");
    }
    if let Err(why) = console.note(action, json!({}), None) {
        return talk.say(&format!("  {why}"));
    }
    console.recorded();
    let ran = console.machine.run("systemctl", &[verb]);
    talk.say(&if ran.done { format!("  The machine {what} …") } else { format!("  ! {}", ran.err) })
}

pub fn factory_reset(console: &Console, talk: &mut Talk<'_>) -> io::Result<()> {
    let name = console.machine.hostname();
    talk.say(
        "  Everything that this appliance knows goes: accounts, configuration, results, evidence, the audit and every\n  \
         key, and its address. Its scanners will not know it any more. Nothing brings it back but a copy that you have.",
    )?;
    if name.is_empty() || talk.ask(&format!("Type the name of this machine, {name}, to erase it:"))? != name {
        return talk.say("  That is not its name: all is as it was.");
    }
    // The data go, and the entry with them; receivers that entries are sent to may have it by then.
    if let Err(why) = console.note("machine.factory-reset", json!({ "name": name }), None) {
        return talk.say(&format!("  {why}"));
    }
    console.recorded();
    // In a unit of its own: this one may not do what that takes.
    let ran = console.machine.run("systemctl", &["start", "--no-block", RESET_UNIT]);
    talk.say(&if ran.done {
        "  The machine restarts as it was made …".to_owned()
    } else {
        format!("  ! {}", ran.err)
    })
}
