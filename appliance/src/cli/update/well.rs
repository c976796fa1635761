//! What has to be well before an update stays, and for how long: the databases, the three roles, and a scan of this machine by
//! itself. Looked at twice, some time apart: a role that answers once and dies again is not well.

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::super::ctl;
use super::FilesArgs;
use super::gate::GateArgs;
use crate::layout::Layout;
use crate::outward;
use crate::sqlite::{Schema, open_read_only};
use crate::{jobs, store, tls};

/// How long a handshake of ingest may take.
const HANDSHAKE: Duration = Duration::from_secs(20);

/// What was seen when all was well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// How far the dispatcher has counted its steps.
    steps: String,
}

/// Whether it stays well.
#[derive(Debug)]
pub struct Twice {
    pause: Duration,
    first: Option<(Instant, Seen)>,
}

impl Twice {
    /// Well at two looks that are at least this far apart, and at every one between them.
    #[must_use]
    pub fn apart(pause: Duration) -> Self {
        Self { pause, first: None }
    }

    /// What a look found; why it is not well yet, or none once it has been long enough.
    ///
    /// # Errors
    /// In words, what is missing.
    pub fn look(&mut self, now: Instant, found: Result<Seen, String>) -> Result<(), String> {
        let seen = found.inspect_err(|_| self.first = None)?;
        let (begun, first) = self.first.get_or_insert_with(|| (now, seen.clone()));
        if now.duration_since(*begun) < self.pause {
            return Err(format!("all is well, and is looked at again for {} s", self.pause.as_secs()));
        }
        if first.steps == seen.steps {
            return Err("the dispatcher has done nothing since".to_owned());
        }
        Ok(())
    }
}

/// Everything that has to be well, the cheapest first.
///
/// # Errors
/// The first that is not, in words.
pub fn look(files: &FilesArgs, args: &GateArgs) -> Result<Seen, String> {
    let layout = Layout::new(&files.data);
    databases(&layout)?;
    let pages = pages(files)?;
    ingest(&layout, args.scanner_port(), HANDSHAKE)?;
    let path = args.dispatcher();
    let steps =
        fs::read_to_string(path).map_err(|error| format!("the dispatcher: {}: {error}", path.display()))?;
    canary(args, pages)?;
    Ok(Seen { steps })
}

/// The files are whole and as this version made them.
fn databases(layout: &Layout) -> Result<(), String> {
    let look = |name: &str,
                path: PathBuf,
                schema: fn(&rusqlite::Connection) -> crate::error::Result<Schema>| {
        let found =
            open_read_only(&path).and_then(|db| schema(&db)).map_err(|error| format!("{name}: {error}"))?;
        match found {
            Schema { found, known, .. } if found != known => {
                Err(format!("{name} has schema {found}, and this version makes {known}"))
            }
            Schema { wrong, .. } if !wrong.is_empty() => Err(format!("{name}: {}", wrong.join("; "))),
            _ => Ok(()),
        }
    };
    look("config.db", layout.config_db(), store::schema)?;
    look("jobs.db", layout.jobs_db(), jobs::schema)
}

/// The pages answer this machine's own operator, out of config.db and out of the results, which the manager alone has
/// open. The port they answer on.
fn pages(files: &FilesArgs) -> Result<u16, String> {
    for path in ["/scans", "/hosts/127.0.0.1"] {
        ctl::look(&files.data, path).map_err(|why| format!("the pages do not answer {path}: {why}"))?;
    }
    let said = fs::read_to_string(Layout::new(&files.data).operator_pages());
    let said = said.map_err(|error| format!("where the pages are: {error}"))?;
    let url = said.split(' ').next().unwrap_or_default();
    url.rsplit(':').next().and_then(|port| port.parse().ok()).ok_or_else(|| format!("{url} has no port"))
}

/// Ingest has its own certificate and the key of it. systemd holds the port, and answers no handshake; a request would be a
/// refusal in the audit.
fn ingest(layout: &Layout, port: u16, patience: Duration) -> Result<(), String> {
    let work = || -> io::Result<()> {
        let leaf = fs::read(layout.ingest_leaf())?;
        let der = leaf_der(&leaf).ok_or_else(|| io::Error::other("its certificate cannot be read"))?;
        let config = outward::pinned(&tls::fingerprint(&der)).map_err(io::Error::other)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let address = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port).to_string();
        let asked = async { tokio::time::timeout(patience, outward::secured(&address, &config)).await };
        runtime.block_on(asked).unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())).map(drop)
    };
    work().map_err(|error| format!("ingest does not answer: {error}"))
}

fn leaf_der(pem: &[u8]) -> Option<rustls::pki_types::CertificateDer<'static>> {
    use rustls::pki_types::pem::PemObject as _;
    rustls::pki_types::CertificateDer::from_pem_slice(pem).ok()
}

/// The scanner that came along finds this machine's own two ports open, and one that nobody has closed.
fn canary(args: &GateArgs, pages: u16) -> Result<(), String> {
    // Bound and let go: nobody else has it now.
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr());
    let free = free.map_err(|error| format!("a port of this machine: {error}"))?.port();
    let ports = [pages, args.scanner_port(), free].map(|port| port.to_string()).join(",");
    let said = scan(args.scanner(), &ports)?;
    let found = open(&said);
    let mut wanted = vec![pages, args.scanner_port()];
    wanted.sort_unstable();
    if found == wanted {
        return Ok(());
    }
    Err(format!("the scan of this machine by itself found {found:?} open, and not {wanted:?}"))
}

fn scan(scanner: &Path, ports: &str) -> Result<String, String> {
    let said = Command::new(scanner)
        .args([
            "probe",
            "--targets",
            "127.0.0.1",
            "--ports",
            ports,
            "--output",
            "jsonl",
            "--preset",
            "normal",
        ])
        .output()
        .map_err(|error| format!("{}: {error}", scanner.display()))?;
    if !said.status.success() {
        let why = String::from_utf8_lossy(&said.stderr);
        return Err(format!("the scan of this machine by itself ended with {}: {}", said.status, why.trim()));
    }
    Ok(String::from_utf8_lossy(&said.stdout).into_owned())
}

/// The ports that a scanner's JSON lines say are open.
fn open(lines: &str) -> Vec<u16> {
    let lines = lines.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let open = lines.filter(|line| line["type"] == "port" && line["state"] == "open");
    let mut ports: Vec<u16> =
        open.filter_map(|line| line["port"].as_u64().and_then(|port| port.try_into().ok())).collect();
    ports.sort_unstable();
    ports
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Random;
    use crate::tls::Ca;

    #[test]
    fn open_ports_are_read_from_what_the_scanner_prints() {
        let lines = r#"{"type":"port","address":"127.0.0.1","port":8443,"state":"open","reason":"syn-ack","rtt_us":30}
{"type":"port","address":"127.0.0.1","port":443,"state":"open","reason":"syn-ack","rtt_us":30}
{"type":"port","address":"127.0.0.1","port":444,"state":"filtered","reason":"no-answer"}
{"type":"summary","end":"done","open":2}
no JSON"#;
        assert_eq!(open(lines), [443, 8443]);
    }

    #[test]
    fn well_is_what_is_well_at_two_looks_and_at_all_between() {
        let begin = Instant::now();
        let at = |seconds| begin + Duration::from_secs(seconds);
        let seen = |steps: u32| Ok(Seen { steps: steps.to_string() });
        let mut twice = Twice::apart(Duration::from_secs(20));
        assert!(twice.look(at(0), seen(1)).is_err(), "once is not enough");
        assert!(twice.look(at(19), seen(2)).is_err());
        assert!(twice.look(at(20), Err("gone".to_owned())).is_err());
        assert!(twice.look(at(21), seen(3)).is_err(), "it begins anew");
        assert!(twice.look(at(41), seen(3)).unwrap_err().contains("dispatcher"), "a role that hangs");
        assert_eq!(twice.look(at(42), seen(4)), Ok(()));
    }

    #[test]
    fn a_port_that_nobody_behind_it_answers_is_no_ingest() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        layout.create().unwrap();
        let ca = Ca::make(&Random::seeded(1)).unwrap();
        ca.provide_ingest(&layout).unwrap();
        // As systemd holds it: open, and silent.
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = held.local_addr().unwrap().port();
        let said = ingest(&layout, port, Duration::from_millis(100)).unwrap_err();
        assert!(said.contains("timed out"), "{said}");
    }
}
