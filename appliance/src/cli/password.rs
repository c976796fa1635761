//! A password, typed without being shown. Never from the command line, where every user of the machine reads it.

use std::io::{self, BufRead, IsTerminal, Write};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use zeroize::Zeroizing;

/// Asks at the terminal; without one, takes the next line of standard input.
///
/// # Errors
/// Standard input's, or that it has ended.
pub fn ask(prompt: &str) -> io::Result<Zeroizing<String>> {
    if !io::stdin().is_terminal() {
        return line();
    }
    eprint!("{prompt}: ");
    io::stderr().flush()?;
    let hidden = Hidden::start()?;
    let typed = line();
    drop(hidden);
    eprintln!();
    typed
}

/// Asks for a new password: twice at a terminal.
///
/// # Errors
/// As [`ask`]; that it is empty, or that the second is another.
pub fn ask_new(prompt: &str) -> io::Result<Zeroizing<String>> {
    let first = ask(prompt)?;
    if first.is_empty() {
        return Err(io::Error::other(
            "an empty password protects nothing: --no-password says that on purpose",
        ));
    }
    if io::stdin().is_terminal() && ask("Once more")? != first {
        return Err(io::Error::other("the two passwords differ"));
    }
    Ok(first)
}

fn line() -> io::Result<Zeroizing<String>> {
    let mut line = Zeroizing::new(String::new());
    if io::stdin().lock().read_line(&mut line)? == 0 {
        return Err(io::Error::other("standard input ended before the password"));
    }
    let end = line.trim_end_matches(['\n', '\r']).len();
    line.truncate(end);
    Ok(line)
}

/// As long as it lives, the terminal does not show what is typed.
struct Hidden(Termios);

impl Hidden {
    fn start() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes -= LocalModes::ECHO;
        tcsetattr(io::stdin(), OptionalActions::Flush, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Hidden {
    fn drop(&mut self) {
        // A terminal that is gone needs no echo.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
    }
}
