//! The real scanner program against an appliance on loopback: enrolment, a job, kills, signals.
#![cfg(feature = "link")]
#![expect(clippy::unwrap_used, reason = "a test's panic is its report, its helpers' too")]

mod appliance;
mod certificates;

use std::io::Write;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use appliance::{Appliance, SCANNER, TOKEN, results};
use portolan_scanner::net::{Ports, Ranges};
use portolan_scanner::wire::{Id, Job, Method, Preset, Reason, base64};

/// An empty folder; removed when it goes.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("portolan-link-process-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&path);
        Self(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn enrol(appliance: &Appliance, dir: &Path, pin: &str, token: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_portolan-scanner"))
        .args(["enrol", "--appliance", &appliance.address.to_string(), "--ca-sha256", pin])
        .args(["--job-key", &base64::encode(&appliance.job_key()), "--token-file", "-", "--dir"])
        .arg(dir)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{token}").unwrap();
    child.wait_with_output().unwrap()
}

fn enrolled(name: &str) -> (Appliance, Folder) {
    enrolled_at("127.0.0.1", name)
}

fn enrolled_at(address: &str, name: &str) -> (Appliance, Folder) {
    let (appliance, folder) = (Appliance::start_at(address, "portolan-ingest"), Folder::new(name));
    let output = enrol(&appliance, &folder.0, &appliance.ca_sha256(), TOKEN);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    (appliance, folder)
}

/// A running scanner; killed when it goes.
struct Running(Child);

impl Running {
    fn start(folder: &Folder) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_portolan-scanner"));
        Self(command.args(["run", "--dir"]).arg(&folder.0).stderr(Stdio::null()).spawn().unwrap())
    }

    fn signal(&self, name: &str) {
        let id = self.0.id().to_string();
        assert!(
            Command::new("/bin/sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap().success()
        );
    }

    /// Waits for its end: how long that took, and whether all went well.
    fn ended(&mut self) -> (Duration, bool) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return (start.elapsed(), status.success());
            }
            assert!(start.elapsed() < Duration::from_secs(30), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn job(targets: &str, ports: &str, rate: u32) -> Job {
    Job {
        id: Id::from_bytes([1; 16]),
        scan: Id::from_bytes([2; 16]),
        batch: 0,
        epoch: 1,
        scanner: SCANNER,
        vantage: Id::from_bytes([4; 16]),
        issued: 0,
        expires: i64::MAX,
        preset: Preset::Fast,
        rate,
        host_rate: rate,
        timeout_ms: 500,
        retries: 0,
        method: Method::Connect,
        hints: false,
        own: false,
        seed: [9; 16],
        block_hosts: 4,
        targets: Ranges::parse(targets).unwrap(),
        ports: Ports::parse(ports).unwrap(),
    }
}

/// Every block is there, each part as one and the same frame however often it came, and it fits the job.
fn check_coverage(appliance: &Appliance, job: &Job) {
    let state = appliance.state();
    assert_eq!(state.frames.len() as u64, job.blocks());
    for frames in state.frames.values() {
        assert!(frames.iter().all(|frame| *frame == frames[0]), "one frame a part, the same each time");
        assert_eq!(results(&state, &frames[0]).check_against(job), Ok(()));
    }
}

#[test]
fn an_appliance_that_is_not_the_pinned_one_is_refused() {
    let said = |output: Output| {
        assert!(!output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    let folder = Folder::new("refused");
    let appliance = Appliance::start("portolan-ingest");
    let other = Appliance::start("portolan-ingest").ca_sha256();
    let error = said(enrol(&appliance, &folder.0, &other, TOKEN));
    assert!(error.contains("another CA than the one that is pinned"), "{error}");
    let error = said(enrol(&appliance, &folder.0, &appliance.ca_sha256(), "ptt_wrong"));
    assert!(error.contains("make a new one"), "{error}");
    let misnamed = Appliance::start("another-server");
    let error = said(enrol(&misnamed, &folder.0, &misnamed.ca_sha256(), TOKEN));
    assert!(error.contains("certificate"), "{error}");
    assert!(!folder.0.join("link.conf").exists());
}

#[test]
fn a_folder_is_enrolled_once() {
    let (appliance, folder) = enrolled("once");
    let output = enrol(&appliance, &folder.0, &appliance.ca_sha256(), TOKEN);
    assert!(String::from_utf8_lossy(&output.stderr).contains("enrolled here already"));
    assert_eq!(std::fs::read(folder.0.join("ca.der")).unwrap(), appliance.authority.certificate);
}

#[test]
fn a_job_is_done_while_the_lease_is_renewed_and_the_clock_is_learnt() {
    let (appliance, folder) = enrolled("job");
    let listener = TcpListener::bind("127.81.0.3:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let job = job("127.81.0.0/28,::1", &format!("1-400,{port}"), 1500);
    appliance.state().job = Some(appliance.sign(&job));
    appliance.state().ahead = 86_400_000_000;
    let mut running = Running::start(&folder);
    appliance.until("the end", |state| !state.ends.is_empty());
    assert_eq!(appliance.state().ends, [("done".to_owned(), "-".to_owned())]);
    check_coverage(&appliance, &job);
    {
        let state = appliance.state();
        let seen: Vec<_> = state.frames.values().map(|frames| results(&state, &frames[0])).collect();
        let host = portolan_scanner::net::addr_to_u128("127.81.0.3".parse().unwrap());
        let host =
            seen.iter().flat_map(|part| &part.hosts).find(|record| record.range().contains(host)).unwrap();
        assert_eq!(host.port(port).0, Reason::SynAck);
        assert!(seen.iter().all(|part| (part.offset - 86_400_000_000).abs() < 5_000_000));
        let longest = state.renewals.windows(2).map(|two| two[1] - two[0]).max().unwrap();
        assert!(longest < Duration::from_secs(2), "{longest:?}");
    }
    running.signal("TERM");
    let (took, well) = running.ended();
    assert!(well && took < Duration::from_secs(2), "{took:?}");
}

#[test]
fn an_appliance_that_names_another_job_key_is_not_obeyed() {
    let (appliance, folder) = (Appliance::start("portolan-ingest"), Folder::new("job-key"));
    // The listener is taken over: it tells its own key, and gives out jobs that this key signed.
    let intruder = Appliance::start("portolan-ingest");
    appliance.state().says_job_key = Some(intruder.job_key());
    let output = enrol(&appliance, &folder.0, &appliance.ca_sha256(), TOKEN);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let job = job("127.84.0.0/30", "1-10", 1000);
    appliance.state().job = Some(intruder.sign(&job));
    let _running = Running::start(&folder);
    appliance.until("the refusal", |state| !state.ends.is_empty());
    {
        let state = appliance.state();
        assert_eq!(state.ends[0].0, "failed");
        assert!(state.ends[0].1.contains("not signed by the key"), "{}", state.ends[0].1);
        assert!(state.frames.is_empty());
    }
    appliance.state().job = Some(appliance.sign(&job));
    appliance.until("the end", |state| state.ends.len() >= 2);
    assert_eq!(appliance.state().ends[1].0, "done");
}

#[test]
fn killed_at_any_moment_every_block_still_comes_exactly_once() {
    let (appliance, folder) = enrolled("kill");
    let job = job("127.82.0.0/26,::1", "1-200", 6000);
    appliance.state().job = Some(appliance.sign(&job));
    // The moments: a fixed list, so that a failure can be had again.
    let mut seed = 2_026_u64;
    for _ in 0..20 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let mut running = Running::start(&folder);
        std::thread::sleep(Duration::from_millis(50 + (seed >> 33) % 300));
        running.0.kill().unwrap();
        running.ended();
    }
    let mut running = Running::start(&folder);
    appliance.until("the end", |state| !state.ends.is_empty());
    assert_eq!(appliance.state().ends[0].0, "done");
    check_coverage(&appliance, &job);
    running.signal("TERM");
    assert!(running.ended().1);
}

#[test]
fn a_stopped_scanner_resumes_and_a_cancelled_job_says_so() {
    let (appliance, folder) = enrolled_at("::1", "stop");
    let job = job("127.83.0.0/26,::1", "1-200", 2000);
    appliance.state().job = Some(appliance.sign(&job));
    let mut running = Running::start(&folder);
    appliance.until("a few blocks", |state| state.frames.len() >= 2);
    running.signal("TERM");
    let (took, well) = running.ended();
    assert!(well && took < Duration::from_secs(2), "{took:?}");
    assert!(appliance.state().ends.is_empty());
    let mut running = Running::start(&folder);
    appliance.until("more blocks", |state| state.frames.len() >= 4);
    appliance.state().renew = Some("cancel");
    appliance.until("the end", |state| !state.ends.is_empty());
    assert_eq!(appliance.state().ends[0].0, "cancelled");
    assert!((appliance.state().frames.len() as u64) < job.blocks());
    running.signal("INT");
    assert!(running.ended().1);
}

#[test]
fn a_revoked_scanner_ends_and_says_what_to_do() {
    let (appliance, folder) = enrolled("revoked");
    appliance.state().refuse = Some("revoked");
    let output =
        Command::new(env!("CARGO_BIN_EXE_portolan-scanner")).args(["run", "--dir"]).arg(&folder.0).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("enrol it anew"));
}

#[test]
fn an_exclusion_reaches_a_running_probe_and_a_pause_holds_it() {
    let (appliance, folder) = enrolled("excluded");
    let job = job("127.84.1.0/26,::1", "1-200", 2000);
    appliance.state().excluded = "127.84.1.1";
    appliance.state().job = Some(appliance.sign(&job));
    let _running = Running::start(&folder);
    appliance.until("a block", |state| !state.frames.is_empty());
    appliance.state().renew = Some("pause");
    let renewals = appliance.state().renewals.len();
    appliance.until("the pause is heard", |state| state.renewals.len() > renewals + 1);
    let blocks = appliance.state().frames.len();
    appliance.until("two renewals", |state| state.renewals.len() > renewals + 3);
    assert_eq!(appliance.state().frames.len(), blocks, "nothing comes while it rests");
    appliance.state().excluded = "127.84.1.0/24, ::1";
    appliance.state().renew = None;
    appliance.until("the end", |state| !state.ends.is_empty());
    check_coverage(&appliance, &job);
    let state = appliance.state();
    let hosts: Vec<_> = state.frames.values().flat_map(|frames| results(&state, &frames[0]).hosts).collect();
    let count = |reason: Reason| {
        let is =
            |host: &&portolan_scanner::wire::HostRecord| host.base == reason && host.exceptions.is_empty();
        hosts.iter().filter(is).map(|host| host.last - host.first + 1).sum::<u128>()
    };
    assert!(count(Reason::Refused) >= 4, "what was settled before stays");
    assert!(count(Reason::Excluded) >= 32, "{}", count(Reason::Excluded));
}
