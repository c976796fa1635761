//! A small reader of command lines: `--name value`, `--name=value` and `--name`.

use std::fmt;

/// The words of a command line that were not yet asked for.
#[derive(Debug)]
pub struct Args {
    left: Vec<String>,
}

/// What is wrong with a command line: the option, and a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error(String);

impl Error {
    /// Says what is wrong with an option.
    pub fn of(option: &str, what: impl fmt::Display) -> Self {
        Self(format!("{option}: {what}"))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
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

    /// The values of an option that may be given often.
    ///
    /// # Errors
    /// It is given without a value.
    pub fn values(&mut self, name: &str) -> Result<Vec<String>, Error> {
        let mut values = Vec::new();
        let is_it = |word: &String| word.split_once('=').map_or(&**word, |(name, _)| name) == name;
        while let Some(at) = self.left.iter().position(is_it) {
            let word = self.left.remove(at);
            values.push(match word.split_once('=') {
                Some((_, value)) => value.to_owned(),
                None if self.left.get(at).is_some_and(|next| !next.starts_with("--")) => self.left.remove(at),
                None => return Err(Error::of(name, "a value belongs behind it")),
            });
        }
        Ok(values)
    }

    /// The value of an option, if it is given.
    ///
    /// # Errors
    /// It is given without a value, or twice.
    pub fn value(&mut self, name: &str) -> Result<Option<String>, Error> {
        let mut values = self.values(name)?;
        if values.len() > 1 {
            Err(Error::of(name, "it is given twice; give it once"))
        } else {
            Ok(values.pop())
        }
    }

    /// The value of an option that must be given.
    ///
    /// # Errors
    /// It is not given, or as [`Args::value`].
    pub fn required(&mut self, name: &str) -> Result<String, Error> {
        self.value(name)?.ok_or_else(|| Error::of(name, "it must be given; --help shows the options"))
    }

    /// Refuses what is left.
    ///
    /// # Errors
    /// The first word that nobody asked for.
    pub fn finish(self) -> Result<(), Error> {
        match self.left.first() {
            Some(word) => Err(Error(format!("{word:?} is not a flag here; --help lists them"))),
            None => Ok(()),
        }
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
        let mut args = args("--token-file - --dir=/tmp/x --json --empty=");
        assert_eq!(args.required("--dir"), Ok("/tmp/x".into()));
        assert_eq!(args.value("--token-file"), Ok(Some("-".into())));
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
        let said = |wrong: Result<String, Error>| wrong.unwrap_err().to_string();
        assert!(said(args("").required("--dir")).starts_with("--dir: it must be given"));
        assert_eq!(said(args("--dir").required("--dir")), "--dir: a value belongs behind it");
        assert_eq!(said(args("--dir --json").required("--dir")), "--dir: a value belongs behind it");
        assert_eq!(said(args("--dir a --dir=b").required("--dir")), "--dir: it is given twice; give it once");
        assert_eq!(args("--dirt a").value("--dir"), Ok(None));
        assert!(args("--wrong").finish().unwrap_err().to_string().starts_with("\"--wrong\" is not a flag"));
    }

    #[test]
    fn an_option_that_may_be_given_often_keeps_its_order() {
        let mut args = args("--ports 1 --json --ports=2 --ports 3");
        assert_eq!(args.values("--ports"), Ok(["1", "2", "3"].map(String::from).into()));
        assert!(args.flag("--json"));
        assert_eq!(args.finish(), Ok(()));
    }
}
