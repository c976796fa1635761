//! A dialogue by lines: for a screen, a serial line, and a test. No colours, no cursor, nothing wider than 80 columns of our own.

use std::io::{self, BufRead, Read as _, Write};

/// The most bytes of an answer that are taken.
const MOST: u64 = 2048;
/// Lines of a page: a screen has 24, and two are for the question.
const PAGE: usize = 21;

/// Who is talked to.
pub struct Talk<'a> {
    from: &'a mut dyn BufRead,
    to: &'a mut dyn Write,
}

impl<'a> Talk<'a> {
    /// Lines come from here and go there.
    pub fn new(from: &'a mut dyn BufRead, to: &'a mut dyn Write) -> Self {
        Self { from, to }
    }

    /// Says this; what is not fit for a terminal is a question mark.
    ///
    /// # Errors
    /// When nobody is there any more.
    pub fn say(&mut self, text: &str) -> io::Result<()> {
        let fit = |c: char| if c.is_control() && c != '\n' { '?' } else { c };
        let text: String = text.chars().map(fit).collect();
        writeln!(self.to, "{text}")?;
        self.to.flush()
    }

    /// Asks, and gives the answer without white space around it.
    ///
    /// # Errors
    /// When nobody is there any more.
    pub fn ask(&mut self, question: &str) -> io::Result<String> {
        write!(self.to, "{question} ")?;
        self.to.flush()?;
        let mut line = Vec::new();
        let count = (&mut *self.from).take(MOST).read_until(b'\n', &mut line)?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut last = line.last().copied();
        // The rest of what is too long for any answer.
        while last != Some(b'\n') {
            let mut rest = Vec::new();
            if (&mut *self.from).take(MOST).read_until(b'\n', &mut rest)? == 0 {
                break;
            }
            last = rest.last().copied();
        }
        let text = String::from_utf8_lossy(&line);
        Ok(text.trim().chars().filter(|c| !c.is_control()).collect())
    }

    /// Whether the answer is the whole word yes.
    ///
    /// # Errors
    /// When nobody is there any more.
    pub fn agreed(&mut self, question: &str) -> io::Result<bool> {
        Ok(self.ask(&format!("{question} Type yes to go on:"))?.eq_ignore_ascii_case("yes"))
    }

    /// Shows a long text a page at a time.
    ///
    /// # Errors
    /// When nobody is there any more.
    pub fn pages(&mut self, text: &str) -> io::Result<()> {
        let lines: Vec<&str> = text.lines().collect();
        for (at, page) in lines.chunks(PAGE).enumerate() {
            self.say(&page.join("\n"))?;
            let last = (at + 1) * PAGE >= lines.len();
            if !last && self.ask("-- Enter: more, q: back --")?.eq_ignore_ascii_case("q") {
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_line_of_some_length_and_without_control_characters() {
        let typed = format!("  a\u{1b}[31mb \n{}\nnext\n", "x".repeat(10_000));
        let (mut from, mut to) = (typed.as_bytes(), Vec::new());
        let mut talk = Talk::new(&mut from, &mut to);
        assert_eq!(talk.ask("?").unwrap(), "a[31mb");
        assert_eq!(talk.ask("?").unwrap().len(), 2048);
        assert_eq!(talk.ask("?").unwrap(), "next");
        assert_eq!(talk.ask("?").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn what_is_said_moves_no_cursor_and_a_long_text_waits() {
        let (mut from, mut to) = ("\nq\n".as_bytes(), Vec::new());
        let mut talk = Talk::new(&mut from, &mut to);
        talk.say("one\u{1b}[2Jtwo").unwrap();
        let long: String = (0..100).map(|number| format!("line {number}\n")).collect();
        talk.pages(&long).unwrap();
        let said = String::from_utf8(to).unwrap();
        assert!(said.starts_with("one?[2Jtwo\n"));
        assert!(said.contains("line 41\n") && !said.contains("line 42\n"), "{said}");
    }
}
