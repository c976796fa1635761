//! What the command line of `probe` asks for.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::PathBuf;

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

fn wrong<T>(flag: &str, what: impl std::fmt::Display) -> Result<T, Stop> {
    Err(Stop::Wrong(format!("{flag}: {what}")))
}

/// The flags that have a value.
const KNOWN: [&str; 12] = [
    "--resume",
    "--targets",
    "--targets-file",
    "--output",
    "--exclude",
    "--never-scan",
    "--ports",
    "--preset",
    "--rate",
    "--host-rate",
    "--timeout",
    "--retries",
];

impl Flags {
    /// Reads `--flag value` and `--flag=value`.
    ///
    /// # Errors
    /// The wish for help, or the first thing that is wrong.
    pub fn parse(arguments: &[String]) -> Result<Self, Stop> {
        let mut targets = Ranges::new();
        let mut excluded = Ranges::new();
        let mut ports: Option<Ports> = None;
        let mut preset = Preset::Normal;
        let [mut rate, mut host_rate, mut timeout, mut retries] = [None; 4];
        let (mut never_scan, mut resume) = (Vec::new(), None);
        let (mut format, mut own, mut hints) = (Format::default(), false, false);
        let mut method = Method::Connect;
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            let (flag, given) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag, Some(value)),
                _ => (argument.as_str(), None),
            };
            match (flag, given) {
                ("--help" | "-h", None) => return Err(Stop::Help),
                ("--json", None) => {
                    format = Format::Jsonl;
                    continue;
                }
                ("--hints", None) => {
                    hints = true;
                    continue;
                }
                ("--own", None) => {
                    own = true;
                    continue;
                }
                ("--syn", None) => {
                    method = Method::Syn;
                    continue;
                }
                _ => {}
            }
            if !KNOWN.contains(&flag) {
                return Err(Stop::Wrong(format!("{argument:?} is not a flag of probe; --help lists them")));
            }
            let Some(value) = given.or_else(|| rest.next().map(String::as_str)) else {
                return wrong(flag, "a value belongs behind it");
            };
            match flag {
                "--targets" => targets = targets.union(&ranges(flag, value)?),
                "--targets-file" => {
                    let list = guard::read_list(value.as_ref()).or_else(|error| wrong(flag, error))?;
                    targets = targets.union(&list);
                }
                "--output" => {
                    let unknown =
                        |()| wrong(flag, format_args!("{value:?} is not text, jsonl, csv or nmap-xml"));
                    format = value.parse().or_else(unknown)?;
                }
                "--exclude" => excluded = excluded.union(&ranges(flag, value)?),
                "--resume" => resume = Some(value.into()),
                "--never-scan" => never_scan.push(value.into()),
                "--ports" => {
                    let more = port_list(value).or_else(|error| wrong(flag, error))?;
                    ports = Some(ports.map_or(more.clone(), |before| before.union(&more)));
                }
                "--preset" => {
                    let unknown = |_| wrong(flag, format_args!("{value:?} is not gentle, normal or fast"));
                    preset = value.parse().or_else(unknown)?;
                }
                "--rate" => rate = Some(number(flag, value, 1, 10_000_000)?),
                "--host-rate" => host_rate = Some(number(flag, value, 1, 10_000_000)?),
                "--timeout" => timeout = Some(number(flag, value, 1, 60_000)?),
                _ => retries = Some(number(flag, value, 0, 10)?),
            }
        }
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
        let Some(ports) = ports else {
            return wrong("--ports", "say which ports to probe, for example --ports 22,80-90,443 or top:100");
        };
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

fn ranges(flag: &str, value: &str) -> Result<Ranges, Stop> {
    Ranges::parse(value).or_else(|error| wrong(flag, error))
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

fn number(flag: &str, value: &str, least: u32, most: u32) -> Result<u32, Stop> {
    let read = value.parse().ok().filter(|number| (least..=most).contains(number));
    read.map_or_else(|| wrong(flag, format_args!("{value:?} is not a number from {least} to {most}")), Ok)
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
