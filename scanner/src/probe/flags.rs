//! What the command line of `probe` asks for.

use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;
use std::str::FromStr;

use portolan_scanner::net::{Ports, Ranges, top};
use portolan_scanner::wire::{Id, Job, Method, Preset};

use super::guard;
use super::report::output::Format;

/// The most probes that are taken on by hand: 10.0.0.0/8 on every port is within it.
pub const MAX_PROBES: u128 = 2_000_000_000_000;

/// A scan by hand.
#[derive(Debug)]
pub struct Flags {
    /// What is to be probed, and how. Its names are empty: nobody else knows of it.
    pub job: Job,
    /// How results are written.
    pub format: Format,
    /// Lists of what is never scanned, beside the machine's own.
    pub never_scan: Vec<PathBuf>,
    /// Where the scan is kept, to be gone on with.
    pub resume: Option<PathBuf>,
    /// Probe this machine's own addresses too.
    pub own: bool,
}

/// What was asked for instead of a scan.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The help.
    Help,
    /// Something that cannot be done; the sentence names the flag.
    Wrong(String),
}

fn wrong<T>(flag: &str, what: impl Display) -> Result<T, Stop> {
    Err(Stop::Wrong(format!("{flag}: {what}")))
}

/// The flags that have a value, and those that have none.
#[rustfmt::skip]
const VALUED: [&str; 12] = [
    "--resume", "--targets", "--targets-file", "--output", "--exclude", "--never-scan", "--ports", "--preset", "--rate",
    "--host-rate", "--timeout", "--retries",
];
const PLAIN: [&str; 4] = ["--json", "--hints", "--own", "--syn"];

/// What was given: flags and their values, in order.
struct Given<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Given<'a> {
    fn read(arguments: &'a [String]) -> Result<Self, Stop> {
        let mut all = Vec::new();
        let mut rest = arguments.iter().map(String::as_str);
        while let Some(argument) = rest.next() {
            let (flag, value) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
                _ => (argument, None),
            };
            if value.is_none() && ["--help", "-h"].contains(&flag) {
                return Err(Stop::Help);
            } else if value.is_none() && PLAIN.contains(&flag) {
                all.push((flag, ""));
            } else if !VALUED.contains(&flag) {
                return Err(Stop::Wrong(format!("{argument:?} is not a flag of probe; --help lists them")));
            } else if let Some(value) = value.or_else(|| rest.next()) {
                all.push((flag, value));
            } else {
                return wrong(flag, "a value belongs behind it");
            }
        }
        Ok(Self(all))
    }

    fn all(&self, flag: &str) -> impl DoubleEndedIterator<Item = &'a str> {
        self.0.iter().filter(move |(given, _)| *given == flag).map(|(_, value)| *value)
    }

    fn has(&self, flag: &str) -> bool {
        self.all(flag).next().is_some()
    }

    /// The last value of a flag, read; the error names what it is not.
    fn value<T: FromStr>(&self, flag: &str, what: &str) -> Result<Option<T>, Stop> {
        let read =
            |value: &str| value.parse().or_else(|_| wrong(flag, format_args!("{value:?} is not {what}")));
        self.all(flag).next_back().map(read).transpose()
    }

    fn number(&self, flag: &str, least: u32, most: u32) -> Result<Option<u32>, Stop> {
        let what = format!("a number from {least} to {most}");
        match self.value::<u32>(flag, &what)? {
            Some(number) if !(least..=most).contains(&number) => {
                wrong(flag, format_args!("\"{number}\" is not {what}"))
            }
            read => Ok(read),
        }
    }

    /// All addresses behind a flag, each value read by `read`.
    fn ranges<E: Display>(
        &self,
        flag: &str,
        read: impl Fn(&str) -> Result<Ranges, E>,
    ) -> Result<Ranges, Stop> {
        let mut all = self.all(flag);
        all.try_fold(Ranges::new(), |sum, list| {
            read(list).map(|more| sum.union(&more)).or_else(|error| wrong(flag, error))
        })
    }
}

impl Flags {
    /// Reads `--flag value` and `--flag=value`.
    ///
    /// # Errors
    /// The wish for help, or the first thing that is wrong.
    pub fn parse(arguments: &[String]) -> Result<Self, Stop> {
        let given = Given::read(arguments)?;
        let listed = given.ranges("--targets-file", |file| guard::read_list(file.as_ref()))?;
        let targets = given.ranges("--targets", Ranges::parse)?.union(&listed);
        let excluded = given.ranges("--exclude", Ranges::parse)?;
        let ports = given.all("--ports").try_fold(Ports::default(), |sum, list| {
            port_list(list).map(|more| sum.union(&more)).or_else(|error| wrong("--ports", error))
        })?;
        let format = given.value("--output", "text, jsonl, csv or nmap-xml")?;
        let format = if given.has("--json") { Format::Jsonl } else { format.unwrap_or_default() };
        let preset = given.value("--preset", "gentle, normal or fast")?.unwrap_or(Preset::Normal);
        let rate = given.number("--rate", 1, 10_000_000)?;
        let host_rate = given.number("--host-rate", 1, 10_000_000)?;
        let timeout = given.number("--timeout", 1, 60_000)?;
        let retries = given.number("--retries", 0, 10)?;
        let (own, hints) = (given.has("--own"), given.has("--hints"));
        let method = if given.has("--syn") { Method::Syn } else { Method::Connect };
        let resume: Option<PathBuf> = given.all("--resume").next_back().map(PathBuf::from);
        let never_scan = given.all("--never-scan").map(PathBuf::from).collect();
        if resume.is_some() && format == Format::NmapXml {
            return wrong("--resume", "nmap's XML has a beginning and an end: choose another --output");
        }
        if hints && preset == Preset::Gentle {
            return wrong(
                "--hints",
                "preset gentle asks nothing of an open port: leave it out, or take --preset normal",
            );
        }
        if targets.is_empty() {
            return wrong("--targets", "say what to probe, for example --targets 10.0.0.0/24");
        }
        if ports.is_empty() {
            return wrong("--ports", "say which ports to probe, for example --ports 22,80-90,443 or top:100");
        }
        let targets = targets.subtract(&excluded);
        if targets.is_empty() {
            return wrong("--exclude", "it leaves nothing of --targets");
        }
        let probes = targets.count().saturating_mul(u128::from(ports.count()));
        if probes > MAX_PROBES {
            return Err(Stop::Wrong(format!(
                "--targets: {} hosts x {} ports are {probes} probes; the limit is {MAX_PROBES}",
                targets.count(),
                ports.count(),
            )));
        }
        let base = preset.timing();
        let nobody = Id::from_bytes([0; 16]);
        let job = Job {
            id: nobody,
            scan: nobody,
            batch: 0,
            epoch: 0,
            scanner: nobody,
            vantage: nobody,
            issued: 0,
            expires: i64::MAX,
            preset,
            rate: rate.unwrap_or(base.rate),
            host_rate: host_rate.unwrap_or(base.host_rate),
            timeout_ms: timeout.unwrap_or(base.timeout_ms),
            retries: retries.unwrap_or(base.retries),
            method,
            hints,
            own: false,
            seed: seed(),
            block_hosts: Job::block_hosts_for(ports.count()),
            targets,
            ports,
        };
        Ok(Self { job, format, never_scan, resume, own })
    }
}

/// Ports and ranges of ports, and lists like `top:100` among them.
fn port_list(text: &str) -> Result<Ports, String> {
    let (lists, rest): (Vec<_>, Vec<_>) = text.split(',').map(str::trim).partition(|p| p.starts_with("top:"));
    let rest = match rest[..] {
        [] => Ports::default(),
        _ => Ports::parse(&rest.join(",")).map_err(|error| error.to_string())?,
    };
    lists.into_iter().try_fold(rest, |all, list| Ok(all.union(&top(list)?)))
}

/// A seed for the random order: two scans by hand go in two orders. The standard library's hash keys are the
/// randomness it offers.
fn seed() -> [u8; 16] {
    let half = || RandomState::new().build_hasher().finish();
    (u128::from(half()) << 64 | u128::from(half())).to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Flags, Stop> {
        Flags::parse(&line.split_whitespace().map(String::from).collect::<Vec<_>>())
    }

    fn complaint(line: &str) -> String {
        match parse(line) {
            Err(Stop::Wrong(sentence)) => sentence,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn a_complaint_names_the_flag() {
        for (line, flag) in [
            ("--targets 10.0.0.0/33 --ports 1", "--targets: "),
            ("--targets 10.0.0.1/24 --ports 1", "--targets: "),
            ("--targets 127.0.0.1 --ports 0,70000,http", "--ports: "),
            ("--targets 127.0.0.1", "--ports: "),
            ("--ports 1", "--targets: "),
            ("--targets 127.0.0.1 --ports 1 --exclude 127.0.0.0/8", "--exclude: "),
            ("--targets 127.0.0.1 --ports 1 --rate 0", "--rate: "),
            ("--targets 127.0.0.1 --ports 1 --timeout=-1", "--timeout: "),
            ("--targets 127.0.0.1 --ports 1 --retries 11", "--retries: "),
            ("--targets 127.0.0.1 --ports 1 --preset wild", "--preset: "),
            ("--targets", "--targets: "),
        ] {
            assert!(complaint(line).starts_with(flag), "{line}: {}", complaint(line));
        }
        assert!(complaint("--target 127.0.0.1").contains("\"--target\" is not a flag"));
    }

    #[test]
    fn gentle_takes_no_hints() {
        let line = "--targets 127.0.0.1 --ports 22 --hints";
        assert!(parse(line).unwrap().job.hints);
        let sentence = complaint(&format!("{line} --preset gentle"));
        assert!(sentence.starts_with("--hints: preset gentle asks nothing"), "{sentence}");
        assert!(!parse("--targets 127.0.0.1 --ports 22").unwrap().job.hints, "they are off by default");
    }

    #[test]
    fn an_absurd_scope_is_refused_with_its_number_and_the_limit() {
        let sentence = complaint("--targets ::/0 --ports 1-65535");
        assert!(sentence.contains("probes; the limit is 2000000000000"), "{sentence}");
        let sentence = complaint("--targets 2001:db8::/64 --ports 1");
        assert!(sentence.contains("18446744073709551616 probes"), "{sentence}");
        assert!(parse("--targets 10.0.0.0/8 --ports 1-65535").is_ok());
    }

    #[test]
    fn what_is_not_asked_for_comes_from_the_preset() {
        let flags =
            parse("--targets=::1,127.0.0.1 --ports 1-10 --ports 5-20 --preset gentle --rate 7").unwrap();
        let gentle = Preset::Gentle.timing();
        assert_eq!((flags.job.rate, flags.job.host_rate), (7, gentle.host_rate));
        assert_eq!((flags.job.hosts(), flags.job.ports.count(), flags.format), (2, 20, Format::Text));
        assert_eq!(flags.job.check(), Ok(()));
    }

    #[test]
    fn lists_of_ports_mix_with_numbers() {
        let of = |text: &str| parse(&format!("--targets ::1 --ports {text}")).unwrap().job.ports.count();
        assert_eq!((of("top:20"), of("1,top:20,22"), of("top:100,top:20")), (20, 21, 100));
        assert!(complaint("--targets ::1 --ports 22,top:50").contains("top:20, top:100 or top:1000"));
        assert!(complaint("--targets ::1 --ports top:20,").starts_with("--ports: "));
    }

    #[test]
    fn exclusions_are_taken_out_of_the_targets() {
        let flags =
            parse("--targets 10.0.0.0/24 --exclude 10.0.0.0/25 --exclude 10.0.0.255 --ports 1 --json")
                .unwrap();
        assert_eq!(
            flags.job.targets.to_string(),
            Ranges::parse("10.0.0.128-10.0.0.254").unwrap().to_string()
        );
        assert_eq!(flags.format, Format::Jsonl);
    }

    #[test]
    fn help_comes_before_complaints_about_what_follows() {
        assert!(matches!(parse("--help --nonsense"), Err(Stop::Help)));
    }
}
