//! The probe: a child process without keys, fed over a pipe.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc::{Sender, SyncSender, channel};

use super::Error;
use crate::wire::Sample;
use crate::wire::hint::is_hint;
use crate::wire::words::words;

/// The longest line that is read from the probe: an escaped text takes four bytes for one.
const MAX_LINE: u64 = 2048;

/// What the probe says, line by line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// A block is finished; its hosts follow.
    Block(Head),
    /// A line of the block's body.
    Body(String),
    /// The block's body is over.
    Dot,
    /// How far it is.
    Progress {
        /// Pairs of the whole job, those before the first step included.
        done: u64,
        /// Open ports since it was started.
        open: u64,
        /// Attempts a second.
        rate: u64,
    },
    /// A line of what it needs to go on; the last is `.`.
    State(String),
    /// It will say no more.
    End {
        /// How the job ended for it.
        state: EndState,
        /// In words; empty where all is well.
        detail: String,
    },
}

/// The first line of a block.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Head {
    /// Which block of the job.
    pub block: u64,
    /// µs, this machine's clock.
    pub started: i64,
    /// Likewise.
    pub ended: i64,
    /// Connection attempts.
    pub sent: u64,
    /// What a second look at some of it showed.
    pub sample: Sample,
}

/// What comes from a running probe.
#[derive(Debug)]
pub enum Event {
    /// It said something.
    Said(Line),
    /// It said something that cannot be understood.
    Nonsense(String),
    /// It will say no more.
    Silent,
}

words! {
    /// How a job ended, as the protocol spells it.
    EndState, "done, cancelled or failed":
    /// Every block is done.
    Done = "done",
    /// Somebody wanted it to end.
    Cancelled = "cancelled",
    /// It could not go on.
    Failed = "failed",
}

impl Line {
    /// Reads a line, without its line feed.
    pub fn parse(line: &str) -> Option<Self> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut words = rest.split(' ');
        let read = match word {
            "." if line == "." => return Some(Self::Dot),
            word if matches!(word, "host" | "hosts" | "port") || is_hint(word) => {
                return Some(Self::Body(line.to_owned()));
            }
            "state" => return Some(Self::State(rest.to_owned())),
            "end" => {
                let (state, detail) = rest.split_once(' ').unwrap_or((rest, ""));
                return Some(Self::End { state: state.parse().ok()?, detail: detail.to_owned() });
            }
            "block" => Self::Block(Head {
                block: number(words.next())?,
                started: number(words.next())?,
                ended: number(words.next())?,
                sent: number(words.next())?,
                sample: Sample {
                    probed: number(words.next())?,
                    answered: number(words.next())?,
                    missed: number(words.next())?,
                },
            }),
            "progress" => Self::Progress {
                done: number(words.next())?,
                open: number(words.next())?,
                rate: number(words.next())?,
            },
            _ => return None,
        };
        words.next().is_none().then_some(read)
    }
}

fn number<T: std::str::FromStr>(word: Option<&str>) -> Option<T> {
    word?.parse().ok()
}

/// A running probe. It is killed when this goes.
#[derive(Debug)]
pub struct Probe {
    process: Child,
    /// What is to be written to it: by a thread, as it may be long, and a probe that writes does not read.
    input: Sender<String>,
}

impl Probe {
    /// Starts the probe with this as the beginning of its input, whole lines; what it says goes to `events`.
    pub fn start(command: &[OsString], opening: String, events: SyncSender<Event>) -> Result<Self, Error> {
        let failed = |error: io::Error| Error::Probe(format!("it cannot be started: {error}"));
        let (program, words) =
            command.split_first().ok_or_else(|| Error::Probe("no command is known".into()))?;
        let mut process = Command::new(program)
            .args(words)
            .env_clear()
            // A Ctrl-C is for the link: it decides what becomes of the probe.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let pipes = (process.stdin.take(), process.stdout.take());
        let (Some(mut stdin), Some(output)) = pipes else {
            return Err(Error::Probe("it has no pipes".into()));
        };
        let (input, lines) = channel::<String>();
        let probe = Self { process, input };
        let thread = |name: &str| std::thread::Builder::new().name(name.into());
        thread("probe-output").spawn(move || relay(output, &events)).map_err(failed)?;
        // A probe that reads no more is ending: that is seen at its output.
        let write = move || lines.iter().try_for_each(|text| stdin.write_all(text.as_bytes()));
        thread("probe-input").spawn(write).map_err(failed)?;
        _ = probe.input.send(opening);
        Ok(probe)
    }

    /// Sends a control line; one that has ended does not hear it.
    pub fn say(&self, line: &str) {
        _ = self.input.send(format!("{line}\n"));
    }

    /// Waits for it to end, and says how it did.
    pub fn wait(&mut self) -> String {
        match self.process.wait() {
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        }
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.kill();
        self.wait();
    }
}

/// Reads what the probe says until it ends, or says something that cannot be understood.
fn relay(output: ChildStdout, events: &SyncSender<Event>) {
    let mut reader = BufReader::new(output);
    let mut line = Vec::new();
    loop {
        line.clear();
        let read = reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let event = match (read, line.strip_suffix(b"\n")) {
            (Ok(0) | Err(_), _) => Event::Silent,
            (_, Some(text)) => match str::from_utf8(text).ok().and_then(Line::parse) {
                Some(line) => Event::Said(line),
                None => Event::Nonsense(String::from_utf8_lossy(text).into_owned()),
            },
            (_, None) => Event::Nonsense(String::from_utf8_lossy(&line).into_owned()),
        };
        let over = !matches!(event, Event::Said(_));
        if events.send(event).is_err() || over {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_line_of_the_protocol_is_read() {
        let sample = Sample { probed: 3, answered: 2, missed: 1 };
        let block = Line::Block(Head { block: 7, started: 10, ended: 20, sent: 30, sample });
        assert_eq!(Line::parse("block 7 10 20 30 3 2 1"), Some(block));
        assert_eq!(Line::parse("progress 1 2 3"), Some(Line::Progress { done: 1, open: 2, rate: 3 }));
        assert_eq!(Line::parse("."), Some(Line::Dot));
        assert_eq!(Line::parse("state at 1 refused 0"), Some(Line::State("at 1 refused 0".into())));
        let end = |state, detail: &str| Some(Line::End { state, detail: detail.into() });
        assert_eq!(Line::parse("end done"), end(EndState::Done, ""));
        assert_eq!(Line::parse("end failed no more sockets"), end(EndState::Failed, "no more sockets"));
        for body in [
            "port 22 open syn-ack 5",
            "says SSH-2.0 x\\x0a",
            "tls ab",
            "expires 1",
            "subject CN=a b",
            "name a",
        ] {
            assert_eq!(Line::parse(body), Some(Line::Body(body.into())));
        }
        for bad in [
            "",
            " ",
            "block 7 10 20 30",
            "block 7 10 20 30 3 2 1 0",
            "progress 1 2 -3",
            ". ",
            "end well",
            "hello",
        ] {
            assert_eq!(Line::parse(bad), None, "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(block|progress|end|host|\\.| |[0-9-]|\\PC){0,20}") {
            let _ = Line::parse(&text);
        }
    }
}
