//! A small reader of command lines: `--name value`, `--name=value` and `--name`.

use std::fmt;

/// The words of a command line that were not yet asked for.
#[derive(Debug)]
pub struct Args {
    left: Vec<String>,
}

/// What is wrong with a command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Error {
    /// An option that must be given is not.
    Missing(&'static str),
    /// An option is given without its value.
    NoValue(&'static str),
    /// An option is given twice.
    Twice(&'static str),
    /// A word that nobody asked for.
    Unknown(String),
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing(name) => write!(f, "{name} is missing; --help shows the options"),
            Self::NoValue(name) => write!(f, "{name} needs a value"),
            Self::Twice(name) => write!(f, "{name} is given twice; give it once"),
            Self::Unknown(word) => write!(f, "{word:?} is not known here; --help shows the options"),
        }
    }
}

impl std::error::Error for Error {}

impl Args {
    /// The words behind the program's name and the subcommand.
    pub fn new(words: impl IntoIterator<Item = String>) -> Self {
        Self { left: words.into_iter().collect() }
    }

    /// The first word, if it is no option.
    pub fn word(&mut self) -> Option<String> {
        let first = self.left.first()?;
        (!first.starts_with('-')).then(|| self.left.remove(0))
    }

    /// Whether a flag is given.
    pub fn flag(&mut self, name: &str) -> bool {
        let before = self.left.len();
        self.left.retain(|word| word != name);
        self.left.len() < before
    }

    /// The value of an option, if it is given.
    ///
    /// # Errors
    /// It is given without a value, or twice.
    pub fn value(&mut self, name: &'static str) -> Result<Option<String>, Error> {
        let attached = |word: &String| word.strip_prefix(name).is_some_and(|rest| rest.starts_with('='));
        let Some(at) = self.left.iter().position(|word| word == name || attached(word)) else {
            return Ok(None);
        };
        let word = self.left.remove(at);
        let value = match word.split_once('=') {
            Some((_, value)) => value.to_owned(),
            None if self.left.get(at).is_some_and(|next| !next.starts_with("--")) => self.left.remove(at),
            None => return Err(Error::NoValue(name)),
        };
        if self.left.iter().any(|word| word == name || attached(word)) {
            return Err(Error::Twice(name));
        }
        Ok(Some(value))
    }

    /// The value of an option that must be given.
    ///
    /// # Errors
    /// It is not given, or as [`Args::value`].
    pub fn required(&mut self, name: &'static str) -> Result<String, Error> {
        self.value(name)?.ok_or(Error::Missing(name))
    }

    /// Refuses what is left.
    ///
    /// # Errors
    /// The first word that nobody asked for.
    pub fn finish(self) -> Result<(), Error> {
        self.left.into_iter().next().map_or(Ok(()), |word| Err(Error::Unknown(word)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn args(line: &str) -> Args {
        Args::new(line.split(' ').filter(|word| !word.is_empty()).map(str::to_owned))
    }

    #[test]
    fn options_come_in_any_order_and_both_spellings() {
        let mut args = args("--token - --dir=/tmp/x --json --empty=");
        assert_eq!(args.required("--dir"), Ok("/tmp/x".into()));
        assert_eq!(args.value("--token"), Ok(Some("-".into())));
        assert_eq!(args.value("--empty"), Ok(Some(String::new())));
        assert!(args.flag("--json"));
        assert!(!args.flag("--json"));
        assert_eq!(args.value("--ca"), Ok(None));
        assert_eq!(args.finish(), Ok(()));
    }

    #[test]
    fn a_word_comes_first_and_is_no_option() {
        let mut args = args("run --dir init");
        assert_eq!(args.word(), Some("run".into()));
        assert_eq!(args.word(), None);
        assert_eq!(args.value("--dir"), Ok(Some("init".into())));
        assert_eq!(args.word(), None);
    }

    #[test]
    fn what_is_wrong_is_named() {
        assert_eq!(args("").required("--dir"), Err(Error::Missing("--dir")));
        assert_eq!(args("--dir").required("--dir"), Err(Error::NoValue("--dir")));
        assert_eq!(args("--dir --json").required("--dir"), Err(Error::NoValue("--dir")));
        assert_eq!(args("--dir a --dir=b").required("--dir"), Err(Error::Twice("--dir")));
        assert_eq!(args("--dirt a").value("--dir"), Ok(None));
        assert_eq!(args("--wrong").finish(), Err(Error::Unknown("--wrong".into())));
    }
}
