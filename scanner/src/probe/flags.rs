//! What the command line of `probe` asks for.

use std::collections::hash_map::RandomState;
use std::fmt::Display;
use std::hash::{BuildHasher, Hasher};
use std::ops::RangeInclusive;
use std::path::PathBuf;

use portolan_scanner::args::{Args, Error};
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
    pub never_scan: Vec<String>,
    /// Where the scan is kept, to be gone on with.
    pub resume: Option<PathBuf>,
}

fn wrong<T>(flag: &str, what: impl Display) -> Result<T, Error> {
    Err(Error::of(flag, what))
}

/// The last value of a flag, read; the error names what it is not.
fn last<T>(
    args: &mut Args,
    flag: &str,
    what: &str,
    read: impl Fn(&str) -> Option<T>,
) -> Result<Option<T>, Error> {
    match args.values(flag)?.pop() {
        None => Ok(None),
        Some(value) => match read(&value) {
            None => wrong(flag, format_args!("{value:?} is not {what}")),
            read => Ok(read),
        },
    }
}

fn number(args: &mut Args, flag: &str, bounds: RangeInclusive<u32>) -> Result<Option<u32>, Error> {
    let what = format!("a number from {} to {}", bounds.start(), bounds.end());
    last(args, flag, &what, |value| value.parse().ok().filter(|number| bounds.contains(number)))
}

/// All that the values of a flag come to, each read by `read`.
fn sum<T: Default, E: Display>(
    args: &mut Args,
    flag: &str,
    read: impl Fn(&str) -> Result<T, E>,
    union: fn(&T, &T) -> T,
) -> Result<T, Error> {
    args.values(flag)?.iter().try_fold(T::default(), |sum, list| {
        read(list).map(|more| union(&sum, &more)).or_else(|error| wrong(flag, error))
    })
}

impl Flags {
    /// Reads them.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(mut args: Args) -> Result<Self, Error> {
        let given = &mut args;
        let listed = sum(given, "--targets-file", |file| guard::read_list(file.as_ref()), Ranges::union)?;
        let targets = sum(given, "--targets", Ranges::parse, Ranges::union)?.union(&listed);
        let excluded = sum(given, "--exclude", Ranges::parse, Ranges::union)?;
        let ports = sum(given, "--ports", port_list, Ports::union)?;
        let format = last(given, "--output", "text, jsonl, csv or nmap-xml", Format::named)?;
        let format = if given.flag("--json") { Format::Jsonl } else { format.unwrap_or_default() };
        let preset = last(given, "--preset", "gentle, normal or fast", |name| name.parse().ok())?;
        let preset = preset.unwrap_or(Preset::Normal);
        let rate = number(given, "--rate", 1..=10_000_000)?;
        let host_rate = number(given, "--host-rate", 1..=10_000_000)?;
        let timeout = number(given, "--timeout", 1..=60_000)?;
        let retries = number(given, "--retries", 0..=10)?;
        let (own, hints) = (given.flag("--own"), given.flag("--hints"));
        let method = if given.flag("--syn") { Method::Syn } else { Method::Connect };
        let resume = given.values("--resume")?.pop().map(PathBuf::from);
        let never_scan = given.values("--never-scan")?;
        args.finish()?;
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
            let (hosts, ports) = (targets.count(), ports.count());
            let what =
                format!("{hosts} hosts x {ports} ports are {probes} probes; the limit is {MAX_PROBES}");
            return wrong("--targets", what);
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
            own,
            seed: seed(),
            block_hosts: Job::block_hosts_for(ports.count()),
            targets,
            ports,
        };
        Ok(Self { job, format, never_scan, resume })
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

    fn parse(line: &str) -> Result<Flags, Error> {
        Flags::parse(Args::new(line.split_whitespace().map(String::from)))
    }

    fn complaint(line: &str) -> String {
        parse(line).unwrap_err().to_string()
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
}
