//! `portolan completions`: what a shell completes, from the command line's own definition.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{Args, ValueEnum};
use clap_complete::{Shell as Known, generate};

use super::exit::Exit;

/// What `portolan completions` takes.
#[derive(Args, Debug)]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

/// A shell.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Runs the command.
#[must_use]
pub fn run(args: &CompletionsArgs) -> ExitCode {
    // Whoever closes the pipe has read enough.
    let _ = io::stdout().write_all(&script(args.shell));
    Exit::Done.into()
}

fn script(shell: Shell) -> Vec<u8> {
    let shell = match shell {
        Shell::Bash => Known::Bash,
        Shell::Zsh => Known::Zsh,
        Shell::Fish => Known::Fish,
    };
    let mut text = Vec::new();
    generate(shell, &mut super::definition(), "portolan", &mut text);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shell_knows_the_commands_and_what_they_take() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = String::from_utf8(script(shell)).unwrap();
            // For fish, clap knows the commands at every depth, and the options of the first two.
            let deep: &[&str] = if matches!(shell, Shell::Fish) { &[] } else { &["older-than", "cidr"] };
            for word in ["set-password", "master-key", "subnets"].iter().chain(deep) {
                assert!(script.contains(word), "{shell:?} does not know {word}");
            }
        }
    }
}
