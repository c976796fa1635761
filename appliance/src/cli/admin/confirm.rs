//! A question before what cannot be undone.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use clap::Args;

use super::Failure;

/// How what cannot be undone is confirmed.
#[derive(Args, Clone, Copy, Debug)]
pub struct Confirm {
    /// Do not ask first: for scripts
    #[arg(long)]
    yes: bool,
}

impl Confirm {
    /// Asks whether `what` is to be done; without a terminal only `--yes` does.
    ///
    /// # Errors
    /// [`Failure::Usage`] when it is not confirmed.
    pub fn ask(self, what: &str) -> Result<(), Failure> {
        if self.yes {
            return Ok(());
        }
        if !io::stdin().is_terminal() {
            return Err(Failure::Usage(format!(
                "{what}. This cannot be undone, and nobody is here to ask: say --yes"
            )));
        }
        eprint!("{what}. This cannot be undone. Go on? [y/N] ");
        let mut typed = String::new();
        let read = io::stderr().flush().and_then(|()| io::stdin().lock().read_line(&mut typed));
        read.map_err(Failure::file("standard input"))?;
        if ["y", "yes"].contains(&typed.trim().to_ascii_lowercase().as_str()) {
            return Ok(());
        }
        Err(Failure::Usage("not confirmed: nothing was changed".to_owned()))
    }
}
