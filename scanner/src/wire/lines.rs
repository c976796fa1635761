//! Reading and writing the lines of a frame.

use std::fmt::{Display, Write as _};
use std::str::FromStr;

use super::error::line_must;
use super::{Error, MAGIC, MAX_FRAME, MAX_VALUE, VERSION};
use crate::net::cut;

/// The lines of a text, each of which must end in a line feed.
pub(super) struct Lines<'a> {
    rest: &'a str,
    number: usize,
}

impl<'a> Lines<'a> {
    pub fn new(text: &'a str) -> Self {
        Self { rest: text, number: 0 }
    }

    /// The lines of a frame's text, behind the first two lines, which must name this version and this kind.
    pub fn of_kind(text: &'a str, kind: &'static str) -> Result<Self, Error> {
        if text.len() > MAX_FRAME {
            return Err(Error::TooLarge(text.len()));
        }
        let named = super::kind(text)?;
        if named != kind {
            return Err(Error::Kind(cut(named)));
        }
        let mut lines = Self::new(text);
        lines.line()?;
        lines.line()?;
        Ok(lines)
    }

    /// The next line without its line feed; `None` at the end.
    pub fn next(&mut self) -> Result<Option<&'a str>, Error> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (line, rest) = self.rest.split_once('\n').ok_or(Error::Truncated)?;
        self.rest = rest;
        self.number += 1;
        Ok(Some(line))
    }

    fn line(&mut self) -> Result<&'a str, Error> {
        self.next()?.ok_or(Error::Truncated)
    }

    /// The value of the next line, which must be `key: value`, the value in its one spelling.
    pub fn header<T: FromStr + Display>(&mut self, key: &'static str) -> Result<T, Error> {
        let line = self.line()?;
        let written = line.strip_prefix(key).and_then(|rest| rest.strip_prefix(": "));
        value(key, written.ok_or(Error::Header { line: self.number, key })?)
    }

    /// The blank line between header and body.
    pub fn blank(&mut self) -> Result<(), Error> {
        line_must(0)(self.line()?.is_empty(), "a blank line belongs before it")
    }

    /// The blank line behind the header of a kind that has no body.
    pub fn no_body(&mut self) -> Result<(), Error> {
        self.blank()?;
        line_must(1)(self.rest.is_empty(), "this kind has no body")
    }

    /// What is left.
    pub fn rest(&self) -> &'a str {
        self.rest
    }
}

/// A value in its one spelling: what it writes itself as.
pub(super) fn value<T: FromStr + Display>(key: &'static str, written: &str) -> Result<T, Error> {
    let proper = if written.len() > MAX_VALUE { None } else { written.parse::<T>().ok() };
    proper.filter(|read| read.to_string() == written).ok_or_else(|| Error::value(key, written))
}

/// The first two lines of a frame.
pub(super) fn begin(kind: &str) -> String {
    format!("{MAGIC}: {VERSION}\nkind: {kind}\n")
}

/// Adds a header line.
pub(super) fn header(text: &mut String, key: &str, value: impl Display) {
    line(text, format_args!("{key}: {value}"));
}

/// Adds a line.
pub(super) fn line(text: &mut String, args: std::fmt::Arguments<'_>) {
    writeln!(text, "{args}").expect("writing to a String does not fail");
}

/// `yes` or `no`.
pub(super) struct YesNo(pub bool);

impl Display for YesNo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0 { "yes" } else { "no" })
    }
}

impl FromStr for YesNo {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "yes" => Ok(Self(true)),
            "no" => Ok(Self(false)),
            _ => Err(()),
        }
    }
}
