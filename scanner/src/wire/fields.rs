//! Bodies of the scanner-facing API: `key: value` lines.

use std::fmt::{Display, Write as _};
use std::str::FromStr;

use super::Error;
use super::error::{line_must, must};

/// The greatest value, in bytes: a certificate in Base64 fits.
const MAX_VALUE: usize = 8192;

/// Lines of `key: value`, each key once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fields(Vec<(String, String)>);

impl Fields {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads a body: LF line ends, keys of `a-z` and `-`, each key once, values of at most 8192 bytes without
    /// control characters. At most 64 lines.
    ///
    /// # Errors
    /// The line that cannot be read.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let text = str::from_utf8(body).map_err(|_| Error::NotUtf8)?;
        let mut fields = Self::new();
        for (i, line) in text.split_terminator('\n').enumerate() {
            let must = line_must(i + 1);
            let (key, value) = line.split_once(": ").unwrap_or_default();
            must(line.contains(": "), "not \"key: value\"")?;
            let letters = key.bytes().all(|b| b.is_ascii_lowercase() || b == b'-');
            must(letters && !key.is_empty(), "a key has letters a-z and hyphens only")?;
            let proper = value.len() <= MAX_VALUE && !value.chars().any(char::is_control);
            must(proper, "a value has at most 8192 bytes and no control characters")?;
            must(i < 64, "at most 64 lines")?;
            must(fields.get(key).is_none(), "this key was there before")?;
            fields.0.push((key.to_owned(), value.to_owned()));
        }
        Ok(fields)
    }

    /// Adds a field; control characters in the value become spaces and what is beyond 8192 bytes is cut.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Display) -> Self {
        let mut value: String =
            value.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        value.truncate(value.floor_char_boundary(MAX_VALUE));
        self.0.push((key.to_owned(), value));
        self
    }

    /// The value of a key, if it is there.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The value of a key that must be there, read.
    ///
    /// # Errors
    /// [`Error::Value`] with an empty value where the key is missing, else with what was written.
    pub fn read<T: FromStr>(&self, key: &'static str) -> Result<T, Error> {
        let written = self.get(key).unwrap_or_default();
        written.parse().map_err(|_| Error::value(key, written))
    }

    /// Fails if there is a key other than these.
    ///
    /// # Errors
    /// [`Error::Inconsistent`].
    pub fn only(&self, keys: &[&str]) -> Result<(), Error> {
        let known = self.0.iter().all(|(key, _)| keys.contains(&key.as_str()));
        must(known, "a field that is not known here")
    }
}

impl Display for Fields {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (key, value) in &self.0 {
            writeln!(f, "{key}: {value}")?;
        }
        Ok(())
    }
}

impl From<Fields> for String {
    fn from(fields: Fields) -> Self {
        let mut text = Self::new();
        write!(text, "{fields}").expect("writing to a String does not fail");
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_body_is_read_strictly() {
        let fields = Fields::parse(b"version: 0.1.0\nclock: -5\n").unwrap();
        assert_eq!(fields.get("version"), Some("0.1.0"));
        assert_eq!(fields.read::<i64>("clock"), Ok(-5));
        assert!(fields.read::<i64>("now").is_err());
        assert!(fields.only(&["version"]).is_err());
        for bad in ["a", "a:b\n", "A: b\n", "a: b\na: c\n", "a: b\r\n", "a: b\n\nc: d\n", ": b\n"] {
            assert!(Fields::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Fields::parse(&[0xff]).is_err());
    }

    #[test]
    fn a_value_cannot_make_another_line() {
        let body = Fields::new().with("detail", "x\nadmin: yes").to_string();
        assert_eq!(body, "detail: x admin: yes\n");
    }

    proptest! {
        #[test]
        fn reading_never_panics(body: Vec<u8>) {
            let _ = Fields::parse(&body);
        }

        #[test]
        fn what_is_written_is_read(value in "\\PC{0,600}") {
            let fields = Fields::new().with("detail", value);
            prop_assert_eq!(Fields::parse(fields.to_string().as_bytes()), Ok(fields));
        }
    }
}
