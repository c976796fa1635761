//! Open ports per second from the spool to committed, beside DuckDB's own row appender on the same rows.
//!
//! The frames are what a scanner would send for /24s with some open ports on every host: signed text, one block a
//! frame. `accept` is the door (signature, fsync, rename), `load` the whole way from there: signature again, DuckDB,
//! jobs.db, evidence, out of the spool. The appender gets the same open ports as bare rows, in one transaction, into a
//! table without anything around it: the bound that no loader can pass.

#![expect(clippy::cast_precision_loss, reason = "figures for a table")]

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use duckdb::Connection;
use ed25519_dalek::{Signer, SigningKey};
use portolan::clock::Clock;
use portolan::ingest::accept::{Before, accept};
use portolan::ingest::frame::{Frame, JobFrame};
use portolan::ingest::spool::Spool;
use portolan::jobs::Jobs;
use portolan::layout::Layout;
use portolan::results::Store;
use portolan::results::duckdb::{DuckDb, Limits};
use portolan::results::loader::{KeyOf, Loader};
use portolan::roles::Heartbeat;
use portolan::sqlite::Opening;
use portolan_scanner::net::{Ports, Range, Ranges, addr_to_u128};
use portolan_scanner::wire::{
    HostRecord, Id, Job, Method, PortRecord, Preset, Reason, Results, Sample, hex, seal,
};

/// Hosts of one frame: what 65,536 probes of 1,000 ports come to.
const BLOCK_HOSTS: u32 = 65;
const PORTS: &str = "1-1000";

/// Runs `ingest [--open N] [--per-host N] [--dir DIR]`.
pub fn run(words: &[&str]) -> Result<(), String> {
    let (mut open, mut per_host, mut dir) = (500_000_u64, 8_u16, std::env::temp_dir());
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let value = words.next().ok_or(format!("{word}: a value is missing"))?;
        let number = |what: &str| format!("{word}: {value:?} is not {what}");
        match *word {
            "--open" => open = value.parse().map_err(|_| number("a number of open ports"))?,
            "--per-host" => {
                let ports = value.parse().ok().filter(|ports| (1..=1000).contains(ports));
                per_host = ports.ok_or_else(|| number("from 1 to 1000"))?;
            }
            "--dir" => dir = PathBuf::from(value),
            _ => return Err(format!("{word}: not known")),
        }
    }
    let folder = tempfile::tempdir_in(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| error.to_string())?;
    runtime.block_on(measure(folder.path(), open, per_host)).map_err(|error| error.to_string())
}

type Failure = Box<dyn std::error::Error>;

async fn measure(folder: &Path, open: u64, per_host: u16) -> Result<(), Failure> {
    let hosts = open.div_ceil(per_host.into());
    let (scanner, appliance) = (SigningKey::from_bytes(&[1; 32]), SigningKey::from_bytes(&[2; 32]));
    let job = job(hosts, &appliance)?;
    eprintln!("{} frames are made and signed …", job.job().blocks());
    let frames: Vec<Vec<u8>> =
        (0..job.job().blocks()).map(|block| frame(&job, block, per_host, &scanner).into_bytes()).collect();
    let bytes: usize = frames.iter().map(Vec::len).sum();
    let open = hosts * u64::from(per_host);

    let layout = Layout::new(folder.join("data"));
    layout.create()?;
    let key = scanner.verifying_key().to_bytes();
    let spool = Spool::new(layout.spool_tmp(), layout.spool_new());
    let count = frames.len();
    let started = Instant::now();
    for bytes in frames {
        accept(&spool, Frame::parse(bytes)?, &key, &job, Before::default(), Clock::system().now())?;
    }
    let accepted = started.elapsed().as_secs_f64();

    let store: Arc<DuckDb> = Arc::new(DuckDb::open(&layout.results(), Limits::default())?);
    let jobs = Jobs::open(&layout.jobs_db(), Opening::Owner)?;
    give_out(&jobs, &job).await?;
    let key_of: KeyOf = Arc::new(move |_| Box::pin(std::future::ready(Ok(Some(key)))));
    let job_key = appliance.verifying_key().to_bytes();
    let (clock, heart) = (Clock::system(), Heartbeat::default());
    let loader = Loader { jobs, store: store.clone(), layout, clock, key_of, job_key, heart };
    let started = Instant::now();
    let loaded = loader.pass().await?;
    let load = started.elapsed().as_secs_f64();
    let scan = uuid(&job.job().scan);
    let found: u64 = store.open_ports(&[scan])?.iter().map(|sweep| sweep.open).sum();
    if loaded.counted != count || found != open {
        return Err(format!("{} of {count} frames and {found} of {open} open ports", loaded.counted).into());
    }
    let raw = raw(&folder.join("raw.duckdb"), hosts, per_host)?;

    let mebibytes = bytes as f64 / 1_048_576.0;
    println!("{open} open ports on {hosts} hosts, {count} frames, {mebibytes:.1} MiB, {}", folder.display());
    println!("| step | seconds | open ports/s | frames/s |");
    println!("|---|---|---|---|");
    for (step, seconds) in
        [("accept (proven, on disk, in the spool)", accepted), ("load (spool to committed)", load)]
    {
        println!("| {step} | {seconds:.2} | {:.0} | {:.0} |", open as f64 / seconds, count as f64 / seconds);
    }
    println!("| DuckDB's row appender, the same open ports | {raw:.2} | {:.0} | |", open as f64 / raw);
    println!("load / appender: {:.2}", raw / load);
    Ok(())
}

fn job(hosts: u64, key: &SigningKey) -> Result<JobFrame, Failure> {
    let id = |n| Id::from_bytes([n; 16]);
    let first = address(0);
    let job = Job {
        id: id(1),
        scan: id(2),
        batch: 1,
        epoch: 1,
        scanner: id(3),
        vantage: id(4),
        issued: 0,
        expires: 1,
        preset: Preset::Fast,
        rate: 1,
        host_rate: 1,
        timeout_ms: 1,
        retries: 0,
        method: Method::Connect,
        hints: false,
        own: false,
        seed: [0; 16],
        block_hosts: BLOCK_HOSTS,
        targets: Ranges::from(Range { first, last: first + u128::from(hosts) - 1 }),
        ports: Ports::parse(PORTS)?,
    };
    Ok(JobFrame::parse(&seal(job.encode(), |text| key.sign(text).to_bytes()))?)
}

/// Host `n` of the scan.
fn address(n: u64) -> u128 {
    addr_to_u128([10, 0, 0, 0].into()) + u128::from(n)
}

/// The open ports of host `n`: spread over the list, other ones on each host; with round-trip times (µs) that differ
/// as real ones do.
fn open_ports(n: u64, per_host: u16) -> impl Iterator<Item = (u16, u32)> {
    let step = 1000 / per_host;
    let shift = u16::try_from(n % u64::from(step)).expect("less than the step");
    (0..per_host).map(move |k| {
        let port = k * step + shift + 1;
        let mixed = (n ^ u64::from(port)).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
        (port, 200 + u32::try_from(mixed % 1_000).expect("below 1,000"))
    })
}

fn frame(job: &JobFrame, block: u64, per_host: u16, key: &SigningKey) -> String {
    let first = block * u64::from(BLOCK_HOSTS);
    let hosts = u64::try_from(job.job().block_targets(block).count()).expect("a block is small");
    let open = |(port, rtt_us)| PortRecord { first: port, last: port, reason: Reason::SynAck, rtt_us };
    let host = |n: u64| HostRecord {
        first: address(n),
        last: address(n),
        base: Reason::Refused,
        exceptions: open_ports(n, per_host).map(open).collect(),
        hints: Vec::new(),
    };
    let results = Results {
        job: hex::decode(&job.hash()).expect("a hash is hexadecimal"),
        block,
        part: 0,
        last: true,
        scanner: job.job().scanner,
        clock: 0,
        offset: 0,
        started: 0,
        ended: 0,
        probes: hosts * u64::from(job.job().ports.count()),
        sent: 0,
        sample: Sample::default(),
        hosts: (first..first + hosts).map(host).collect(),
    };
    seal(results.encode(), |text| key.sign(text).to_bytes())
}

async fn give_out(jobs: &Jobs, job: &JobFrame) -> Result<(), Failure> {
    let (hash, frame) = (job.hash(), job.text().to_owned());
    jobs.write(move |tx| {
        tx.execute(
            "INSERT INTO job (hash, scan, batch, epoch, scanner, vantage, frame, blocks, probes, state, made_at)
             VALUES (?, '', 1, 1, '', '', ?, 1, 1, 'leased', 0)",
            [hash, frame],
        )?;
        Ok(())
    })
    .await?;
    Ok(())
}

fn uuid(id: &Id) -> uuid::Uuid {
    uuid::Uuid::from_bytes(*id.as_bytes())
}

/// The same open ports as rows of the same kind, through the appender alone; seconds until they are committed.
fn raw(path: &Path, hosts: u64, per_host: u16) -> Result<f64, Failure> {
    let mut connection = Connection::open(path)?;
    connection.execute_batch(
        "CREATE TABLE open_port (sweep INTEGER NOT NULL, part INTEGER NOT NULL, high UBIGINT NOT NULL,
           low UBIGINT NOT NULL, port USMALLINT NOT NULL, rtt UINTEGER NOT NULL)",
    )?;
    let started = Instant::now();
    let transaction = connection.transaction()?;
    let mut rows = transaction.appender("open_port")?;
    for n in 0..hosts {
        let (low, part) = (u64::try_from(address(n))?, i32::try_from(n / u64::from(BLOCK_HOSTS))?);
        for (port, rtt) in open_ports(n, per_host) {
            rows.append_row((1_i32, part, 0_u64, low, port, rtt))?;
        }
    }
    rows.flush()?;
    drop(rows);
    transaction.commit()?;
    Ok(started.elapsed().as_secs_f64())
}
