//! What is never probed, whatever a job or a command line says.
//!
//! Addresses: those of `/etc/portolan/never-scan`, and of the files that `--never-scan` names beside it. A file holds
//! addresses, ranges and subnets, separated by commas or white space; `#` begins a comment. One that cannot be
//! read or understood ends the scan before it begins: half a list protects nobody.
//!
//! Ports: [`FRAGILE`], with the reason beside each. Preset `gentle` leaves them out, the others warn.
//!
//! What is left out is reported as `not-probed excluded`.

use std::io;
use std::path::Path;

use portolan_scanner::net::{Ports, Range, Ranges};
use portolan_scanner::wire::{Job, Preset};

/// The list that every scan on this machine keeps to; that it is not there is no error.
pub const NEVER_SCAN: &str = "/etc/portolan/never-scan";

/// The most entries of all lists together.
const MAX_ENTRIES: usize = 100_000;

/// Ports behind which a bare connection can do harm.
#[derive(Clone, Copy, Debug)]
pub struct Fragile {
    first: u16,
    last: u16,
    /// What listens there.
    what: &'static str,
}

const fn at(first: u16, last: u16, what: &'static str) -> Fragile {
    Fragile { first, last, what }
}

/// Ascending. Controllers and field gateways have room for a handful of connections: a scan takes them from the
/// plant, and some stop when it does. Printers print what comes, a closed connection included.
#[rustfmt::skip]
pub const FRAGILE: [Fragile; 23] = [
    at(  102,   102, "Siemens S7 and IEC 61850 MMS: few connections, and old CPUs stop on a bad one"),
    at(  104,   104, "DICOM: imaging devices in use on patients"),
    at(  502,   502, "Modbus: one connection at a time on many devices"),
    at(  515,   515, "LPD printing: a connection holds up the queue"),
    at(  789,   789, "Red Lion Crimson: operator panels"),
    at( 1089,  1091, "Foundation Fieldbus HSE: process control"),
    at( 1911,  1911, "Niagara Fox: building control"),
    at( 1962,  1962, "PCWorx: Phoenix Contact controllers"),
    at( 2222,  2222, "EtherNet/IP I/O: drives and remote I/O"),
    at( 2404,  2404, "IEC 60870-5-104: telecontrol, where a second connection can displace the first"),
    at( 2455,  2455, "CODESYS: controllers of many makes"),
    at( 2575,  2575, "HL7 MLLP: clinical messages, often one connection at a time"),
    at( 4840,  4840, "OPC UA: few sessions on small controllers"),
    at( 4911,  4911, "Niagara Fox over TLS: building control"),
    at( 5006,  5007, "MELSEC: Mitsubishi controllers, a fixed number of connections"),
    at( 5094,  5094, "HART-IP: field instruments"),
    at( 9100,  9107, "raw printing: whatever comes is printed"),
    at( 9600,  9600, "OMRON FINS: controllers"),
    at(11112, 11112, "DICOM: imaging devices in use on patients"),
    at(18245, 18246, "GE SRTP: controllers"),
    at(20000, 20000, "DNP3: outstations of power and water, one master at a time"),
    at(34962, 34964, "PROFINET: control traffic in real time"),
    at(44818, 44818, "EtherNet/IP: few connections, shared with the controller"),
];

/// What must not be probed.
#[derive(Clone, Debug, Default)]
pub struct Guard {
    never: Ranges,
}

/// What a guard takes out of one job.
#[derive(Clone, Debug, Default)]
pub struct Spared {
    /// Targets of the job that are never probed.
    pub hosts: Ranges,
    /// Ports that are left out on every host, as places among the job's ports.
    pub ports: Vec<u32>,
}

impl Guard {
    /// Reads the machine's own list and the files given.
    ///
    /// # Errors
    /// A sentence that names the file, and the line where that is what is wrong.
    pub fn load(more: &[String]) -> io::Result<Self> {
        Self::read(Path::new(NEVER_SCAN), more)
    }

    fn read(usual: &Path, more: &[String]) -> io::Result<Self> {
        let mut entries = Vec::new();
        match std::fs::read(usual) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            content => list(usual, content, &mut entries)?,
        }
        for file in more {
            list(file.as_ref(), std::fs::read(file), &mut entries)?;
        }
        Ok(Self { never: entries.into_iter().collect() })
    }

    /// Adds addresses. None is ever taken out.
    pub fn add(&mut self, addresses: &Ranges) {
        self.never = self.never.union(addresses);
    }

    /// What it takes out of a job.
    pub fn spares(&self, job: &Job) -> Spared {
        let ports = if job.preset == Preset::Gentle { fragile_ports(&job.ports) } else { Vec::new() };
        Spared {
            hosts: job.targets.intersect(&self.never),
            ports: ports.into_iter().filter_map(|(port, _)| job.ports.index_of(port)).collect(),
        }
    }

    /// What whoever starts this job should know, one sentence a line.
    pub fn warnings(&self, job: &Job) -> String {
        let mut text = String::new();
        let hosts = job.targets.intersect(&self.never).count();
        if hosts > 0 {
            text += &format!("{hosts} of the hosts are on a list of what is never scanned: left out\n");
        }
        let ports = fragile_ports(&job.ports);
        let Some((_, what)) = ports.first() else { return text };
        let numbers: Vec<String> = ports.iter().map(|(port, _)| port.to_string()).collect();
        let numbers = numbers.join(", ");
        text += &if job.preset == Preset::Gentle {
            format!("left out, as equipment behind them is fragile: ports {numbers}\n")
        } else {
            let first = ports[0].0;
            format!(
                "warning: equipment behind these ports is fragile: {numbers} ({first} is {what}); \
                 preset gentle leaves them out\n"
            )
        };
        text
    }
}

/// Whether equipment behind this port is fragile: nothing is asked there beyond whether it is open.
pub fn is_fragile(port: u16) -> bool {
    FRAGILE.iter().any(|entry| (entry.first..=entry.last).contains(&port))
}

/// The ports of a list behind which a connection can do harm, with what listens there.
pub fn fragile_ports(ports: &Ports) -> Vec<(u16, &'static str)> {
    let each = FRAGILE.iter().flat_map(|entry| (entry.first..=entry.last).map(|port| (port, entry.what)));
    each.filter(|(port, _)| ports.contains(*port)).collect()
}

/// Reads a list of targets, written as a never-scan list is.
///
/// # Errors
/// A sentence that names the file, and the line where that is what is wrong.
pub fn read_list(file: &Path) -> io::Result<Ranges> {
    let mut entries = Vec::new();
    list(file, std::fs::read(file), &mut entries)?;
    Ok(entries.into_iter().collect())
}

/// Reads a list into `entries`.
fn list(file: &Path, content: io::Result<Vec<u8>>, entries: &mut Vec<Range>) -> io::Result<()> {
    let wrong = |what: String| {
        let what = format!("{}{what}; nothing is probed without it", file.display());
        io::Error::new(io::ErrorKind::InvalidData, what)
    };
    let content = content.map_err(|error| wrong(format!(" cannot be read: {error}")))?;
    for (line, number) in content.split(|byte| *byte == b'\n').zip(1..) {
        let line = str::from_utf8(line).map_err(|_| wrong(format!(", line {number}: not UTF-8")))?;
        let (line, _) = line.split_once('#').unwrap_or((line, ""));
        let ranges = Ranges::parse(line).map_err(|error| wrong(format!(", line {number}: {error}")))?;
        entries.extend(ranges.iter());
        if entries.len() > MAX_ENTRIES {
            return Err(wrong(format!(", line {number}: more than {MAX_ENTRIES} entries in all lists")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::probe::testing::job;

    fn read(content: &[u8]) -> Result<Ranges, String> {
        let mut entries = Vec::new();
        list(Path::new("never"), Ok(content.to_vec()), &mut entries).map_err(|error| error.to_string())?;
        Ok(entries.into_iter().collect())
    }

    #[test]
    fn a_list_holds_addresses_ranges_subnets_and_comments() {
        let content = b"# the plant\n10.0.0.0/24 10.0.1.7 # the press\n\n10.0.2.1-10.0.2.9, fd00::/64\r\n";
        assert_eq!(read(content).unwrap().to_string(), "10.0.0.0/24, 10.0.1.7, 10.0.2.1-10.0.2.9, fd00::/64");
    }

    #[test]
    fn a_list_with_a_mistake_is_refused_by_its_line() {
        for (content, what) in [
            (&b"10.0.0.1\nten\n"[..], "never, line 2: \"ten\" is not an IPv4 or IPv6 address"),
            (b"\n\n10.0.0.1/24\n", "never, line 3: \"10.0.0.1/24\" has bits beyond its prefix"),
            (b"10.0.0.9-10.0.0.1", "never, line 1: "),
            (b"10.0.0.1\n\xff\n", "never, line 2: not UTF-8"),
        ] {
            let error = read(content).unwrap_err();
            assert!(error.starts_with(what) && error.ends_with("nothing is probed without it"), "{error}");
        }
    }

    #[test]
    fn only_the_usual_list_may_be_missing() {
        let nowhere = Path::new("/nonexistent/never-scan");
        assert!(Guard::read(nowhere, &[]).unwrap().never.is_empty());
        let error = Guard::read(nowhere, &[nowhere.to_str().unwrap().to_owned()]).unwrap_err().to_string();
        assert!(error.starts_with("/nonexistent/never-scan cannot be read: "), "{error}");
        let error = Guard::read(Path::new("/"), &[]).unwrap_err().to_string();
        assert!(error.starts_with("/ cannot be read: "), "{error}");
    }

    #[test]
    fn only_gentle_leaves_fragile_ports_out_and_the_others_warn() {
        let mut job = job("10.0.0.0/30", "80,502,9099-9101");
        assert_eq!(Guard::default().spares(&job).ports, [0; 0]);
        let said = Guard::default().warnings(&job);
        assert!(said.starts_with("warning: ") && said.contains("502, 9100, 9101 (502 is Modbus"), "{said}");
        job.preset = Preset::Gentle;
        assert_eq!(Guard::default().spares(&job).ports, [1, 3, 4]);
    }

    #[test]
    fn the_table_ascends_and_says_why() {
        assert!(FRAGILE.windows(2).all(|pair| pair[0].last < pair[1].first));
        assert!(FRAGILE.iter().all(|entry| entry.first <= entry.last && entry.what.contains(": ")));
        for port in [102, 502, 515, 2222, 4840, 9100, 20000, 44818] {
            assert!(FRAGILE.iter().any(|entry| (entry.first..=entry.last).contains(&port)), "{port}");
        }
    }
}
