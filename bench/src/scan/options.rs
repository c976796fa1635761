//! What the command line of `scan` asks for.

use std::path::PathBuf;

use super::scenario::{self, Scenario};
use super::tools::{self, Tool};

/// What `scan` takes.
pub const HELP: &str = "\
  scan [options]    probes per CPU-second and recall of `portolan-scanner probe`, beside other scanners (as root)
    --scenario LIST   host, subnet, sparse, far, subnet6 (all of them)
    --tools LIST      the beginnings of names: portolan,nmap,masscan,zmap,rustscan (all of them)
    --runs N          of each program on each scenario (5)
    --same N          instead of comparing programs: run Portolan's N times and compare its answers
    --write FILE      put the tables into this page too
";

/// A comparison.
pub struct Options {
    /// On what.
    pub scenarios: Vec<&'static Scenario>,
    /// Of what.
    pub tools: Vec<&'static Tool>,
    /// How often.
    pub runs: usize,
    /// Compare the answers of so many runs instead.
    pub same: Option<usize>,
    /// The page that is written.
    pub write: Option<PathBuf>,
}

impl Options {
    /// Reads `--name value` and `--name=value`.
    ///
    /// # Errors
    /// A sentence that names what is wrong.
    pub fn parse(words: &[&str]) -> Result<Self, String> {
        let mut options = Self {
            scenarios: scenario::ALL.iter().collect(),
            tools: tools::ALL.iter().collect(),
            runs: 5,
            same: None,
            write: None,
        };
        let mut rest = words.iter();
        while let Some(word) = rest.next() {
            let (name, given) = word.split_once('=').map_or((*word, None), |(n, v)| (n, Some(v)));
            let value =
                given.or_else(|| rest.next().copied()).ok_or(format!("{name}: a value belongs behind it"))?;
            let count = || match value.parse() {
                Ok(count @ 1..=100) => Ok(count),
                _ => Err(format!("{name}: {value:?} is not a number from 1 to 100")),
            };
            match name {
                "--scenario" => {
                    options.scenarios = value.split(',').map(Scenario::named).collect::<Result<_, _>>()?;
                }
                "--tools" => {
                    let chosen = |tool: &&Tool| value.split(',').any(|begin| tool.name.starts_with(begin));
                    options.tools = tools::ALL.iter().filter(chosen).collect();
                    if options.tools.is_empty() {
                        return Err(format!("--tools: nothing begins like {value:?}"));
                    }
                }
                "--runs" => options.runs = count()?,
                "--same" => options.same = Some(count()?),
                "--write" => options.write = Some(value.into()),
                _ => return Err(format!("{name:?} is not an option of scan\n{HELP}")),
            }
        }
        Ok(options)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_choice_names_what_there_is() {
        let options =
            Options::parse(&["--scenario", "far,host", "--tools=portolan,nmap -sS", "--runs", "2"]).unwrap();
        assert_eq!(options.scenarios.iter().map(|s| s.name).collect::<Vec<_>>(), ["far", "host"]);
        let names: Vec<_> = options.tools.iter().map(|tool| tool.name).collect();
        assert_eq!((names.as_slice(), options.runs), (&[tools::OWN, tools::OWN_SYN, "nmap -sS"][..], 2));
        for wrong in
            [&["--runs", "0"][..], &["--scenario", "wan"], &["--tools", "x"], &["--fast"], &["--runs"]]
        {
            assert!(Options::parse(wrong).is_err(), "{wrong:?}");
        }
    }
}
