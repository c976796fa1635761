//! Under systemd, as its protocols have it: the socket is given, readiness means that it answers, signs of life go on, a
//! reload and a restart drop no connection.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use portolan_tests::binaries;
use portolan_tests::http::{Endpoint, Request};
use portolan_tests::process::Process;
use portolan_tests::supervisor::Supervisor;
use portolan_tests::tls;
use portolan_tests::wait::PATIENCE;
use portolan_tests::wait_until;
use tempfile::TempDir;

/// Signs of life at least so often: long, as the machine may be busy.
const WATCHDOG: Duration = Duration::from_secs(6);

fn folder() -> TempDir {
    TempDir::with_prefix("portolan-").expect("a temporary folder can be made")
}

fn start(supervisor: &Supervisor, folder: &TempDir, role: &str) -> Process {
    let data = folder.path().join("data");
    let arguments = ["serve", "--data", data.to_str().expect("UTF-8"), "--role", role];
    match role {
        "dispatcher" => supervisor.start_without(&arguments, WATCHDOG),
        _ => supervisor.start(&arguments, WATCHDOG),
    }
}

#[test]
fn a_second_address_that_nobody_would_serve_is_told_of_at_the_start() {
    let folder = folder();
    let data = folder.path().join("data");
    let data = data.to_str().expect("UTF-8");
    for role in ["manager", "ingest"] {
        let supervisor = Supervisor::new(folder.path(), role);
        let mut process = supervisor.start_with_two(&["serve", "--data", data, "--role", role], WATCHDOG);
        let status = wait_until("it to give up", PATIENCE, || process.ended());
        assert!(!status.success(), "{role}");
        assert!(
            process.log_text().contains("systemd gives 2 sockets where 1 can be served"),
            "{}",
            process.log_text()
        );
    }
}

/// How the pages are reached, once their certificate was printed.
fn pages(supervisor: &Supervisor, manager: &mut Process) -> Endpoint {
    let sha256 = manager.line_after("portolan: certificate sha256 ", PATIENCE);
    Endpoint { address: supervisor.address(), tls: Some((tls::pinned(&sha256), "127.0.0.1".into())) }
}

#[test]
fn systemd_hears_that_each_role_answers_goes_on_reloads_and_stops() {
    let folder = folder();
    let roles = ["manager", "ingest", "dispatcher"];
    let supervisors = roles.map(|role| Supervisor::new(folder.path(), role));
    let mut processes = Vec::new();
    for (role, supervisor) in roles.into_iter().zip(&supervisors) {
        processes.push(start(supervisor, &folder, role));
        supervisor.hear("READY=1");
    }
    let pages = pages(&supervisors[0], &mut processes[0]);
    let answer = pages.send(&Request::new("GET", "/setup")).expect("it said that it answers");
    assert_eq!(answer.status, 200, "{}", answer.describe());
    for supervisor in &supervisors {
        supervisor.hear("WATCHDOG=1");
        supervisor.hear("WATCHDOG=1");
    }
    for (process, supervisor) in processes.iter().zip(&supervisors) {
        // As ExecReload= does.
        let mut reload = Command::new(binaries::portolan());
        let status = reload.arg("reload").arg(process.id().to_string()).status().expect("it starts");
        assert!(status.success(), "{status}");
        supervisor.hear("RELOADING=1");
        supervisor.hear("READY=1");
    }
    let answer = pages.send(&Request::new("GET", "/setup")).expect("it goes on with the same certificate");
    assert_eq!(answer.status, 200, "{}", answer.describe());
    for (mut process, supervisor) in processes.into_iter().zip(&supervisors).rev() {
        let status = process.stop(PATIENCE);
        assert!(status.success(), "{status}\n{}", process.log_text());
        supervisor.hear("STOPPING=1");
    }
}

#[test]
fn a_restart_drops_no_connection() {
    let folder = folder();
    let supervisor = Supervisor::new(folder.path(), "manager");
    let mut manager = start(&supervisor, &folder, "manager");
    supervisor.hear("READY=1");
    let pages = pages(&supervisor, &mut manager);
    let (done, answers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let visitors: Vec<_> = (0..4)
        .map(|_| {
            let (pages, done, answers) = (pages.clone(), done.clone(), answers.clone());
            thread::spawn(move || {
                while !done.load(Ordering::Relaxed) {
                    match pages.send(&Request::new("GET", "/setup")) {
                        Ok(answer) if answer.status == 200 => answers.fetch_add(1, Ordering::Relaxed),
                        other => return Err(format!("{other:?}")),
                    };
                }
                Ok(())
            })
        })
        .collect();
    let more = |before: usize| {
        wait_until("visitors to be answered", PATIENCE, || {
            (answers.load(Ordering::Relaxed) > before + 8).then_some(())
        });
    };
    for _ in 0..3 {
        more(answers.load(Ordering::Relaxed));
        let status = manager.stop(PATIENCE);
        assert!(status.success(), "{status}\n{}", manager.log_text());
        // Nobody listens for a while; who comes now waits.
        thread::sleep(Duration::from_millis(300));
        manager = start(&supervisor, &folder, "manager");
        supervisor.hear("READY=1");
    }
    more(answers.load(Ordering::Relaxed));
    done.store(true, Ordering::Relaxed);
    for visitor in visitors {
        visitor.join().expect("a visitor does not panic").expect("every request is answered");
    }
}
