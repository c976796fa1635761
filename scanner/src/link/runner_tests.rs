//! Jobs from lease to end, with a scripted appliance and a scripted probe.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::session::Session;
use super::super::settings::Settings;
use super::super::testing::{self, Appliance, Request, temporary};
use super::super::{Error, sender};
use super::work;
use crate::crypto::{self, Identity};
use crate::net::{Ports, Ranges, u128_to_addr};
use crate::wire::fields::Fields;
use crate::wire::{Job, Results, hex, seal, split};
use crate::work::clock::Clock;
use crate::work::folder::Folder;

/// Reads the job, then prints the file that belongs to the step it is told to start at.
const PRINT: &str = r#"while read -r word rest; do [ "$word" = start ] && step=$rest; [ "$word" = . ] && break; done; \
    /bin/cat "$0.$step""#;

/// Everything that an appliance was told.
#[derive(Default)]
struct Told {
    /// By block and part: the frames, each time they came.
    results: BTreeMap<(u64, u32), Vec<Results>>,
    end: Option<(String, String)>,
    /// What it answers to renewals, and what it excludes; and whether it keeps that list to itself.
    state: &'static str,
    excluded: &'static str,
    unlisted: bool,
    /// How often it still says that it is busy.
    busy: usize,
}

struct Bench {
    folder: Folder,
    _guard: testing::Guard,
    appliance: Appliance,
    told: Arc<Mutex<Told>>,
    signer: Identity,
    job: Job,
}

impl Bench {
    fn new(name: &str, job: Job) -> Self {
        let (folder, guard) = temporary(name);
        let (appliance, told) = (Appliance::default(), Arc::new(Mutex::new(Told::default())));
        let signer = Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap();
        let bench = Self { folder, _guard: guard, appliance, told, signer, job };
        bench.answer_renewals("go");
        bench
    }

    fn answer_renewals(&self, state: &'static str) {
        self.told.lock().unwrap().state = state;
        let told = Arc::clone(&self.told);
        self.appliance.answer_by(move |request: &Request| match request.path.as_str() {
            "/scanner/v1/renew" if told.lock().unwrap().state == "revoked" => {
                (401, "error: revoked\ndetail: by an administrator\n".into())
            }
            "/scanner/v1/renew" => {
                let told = told.lock().unwrap();
                (200, format!("state: {}\nexclusions: [{}]\n", told.state, told.excluded))
            }
            "/scanner/v1/exclusions" if told.lock().unwrap().unlisted => {
                (503, "error: internal\ndetail: not now\n".into())
            }
            "/scanner/v1/exclusions" => (200, told.lock().unwrap().excluded.into()),
            "/scanner/v1/results" => {
                let results = Results::decode(split(&request.body).unwrap().text).unwrap();
                told.lock().unwrap().results.entry((results.block, results.part)).or_default().push(results);
                (
                    200,
                    format!(
                        "kind: receipt\nframe: {}\naccepted: 1\n",
                        hex::encode(&crypto::sha256(&request.body))
                    ),
                )
            }
            "/scanner/v1/end" if told.lock().unwrap().busy > 0 => {
                let busy = &mut told.lock().unwrap().busy;
                *busy -= 1;
                ([429, 408][*busy % 2], "error: busy\ndetail: too much\n".into())
            }
            "/scanner/v1/end" => {
                let fields = Fields::parse(&request.body).unwrap();
                let field = |key| fields.get(key).unwrap().to_owned();
                told.lock().unwrap().end = Some((field("state"), field("detail")));
                (200, "ok: yes\n".into())
            }
            other => panic!("{other}"),
        });
    }

    /// A session as after a start.
    fn session(&self, script: &str) -> Session {
        let program: Vec<OsString> =
            vec!["/bin/sh".into(), "-c".into(), script.into(), self.folder.path("step").into()];
        let settings = Settings {
            appliance: String::new(),
            scanner: testing::SCANNER,
            vantage: self.job.vantage,
            job_key: self.signer.public_key(),
        };
        Session::for_test(&self.folder, settings, program, Arc::new(self.appliance.clone()))
    }

    fn frame(&self) -> String {
        seal(self.job.encode(), |text| self.signer.sign(text))
    }

    /// What a probe says that starts at this step and gets as far as the other.
    fn script(&self, from: u64, to: u64) -> String {
        let mut text = String::new();
        for step in from..to {
            let block = u64::try_from(self.job.walk().at(u128::from(step))).unwrap();
            writeln!(text, "progress {step} 0 100\nblock {block} 10 20 6 0 0 0").unwrap();
            for range in self.job.block_targets(block).iter() {
                for address in range.first..=range.last {
                    writeln!(text, "host {} closed refused\nport 80 open syn-ack 7", u128_to_addr(address))
                        .unwrap();
                }
            }
            text.push_str(".\n");
        }
        text
    }

    fn says(&self, step: u64, text: &str) {
        std::fs::write(self.folder.path(&format!("step.{step}")), text).unwrap();
    }

    fn end(&self) -> Option<(String, String)> {
        self.told.lock().unwrap().end.clone()
    }

    /// Every block came exactly once, whole, in one part.
    fn check_all_blocks_once(&self) {
        let told = self.told.lock().unwrap();
        assert_eq!(told.results.len() as u64, self.job.blocks());
        for frames in told.results.values() {
            assert_eq!(frames.len(), 1);
            assert_eq!(frames[0].check_against(&self.job), Ok(()));
            assert_eq!(frames[0].job, crypto::sha256(self.frame().as_bytes()));
        }
    }
}

/// Works on the job while its results are sent.
fn run(session: &Session, frame: &str) -> Result<(), Error> {
    std::thread::scope(|scope| {
        scope.spawn(|| sender::run(session).unwrap());
        let done = work(session, frame.as_bytes());
        session.ended.store(true, Ordering::Relaxed);
        done
    })
}

#[test]
fn a_job_is_done_and_every_result_is_there_before_its_end_is_said() {
    let bench = Bench::new("done", testing::job());
    bench.says(0, &(bench.script(0, bench.job.blocks()) + "end done\n"));
    run(&bench.session(PRINT), &bench.frame()).unwrap();
    bench.check_all_blocks_once();
    assert_eq!(bench.end(), Some(("done".into(), "-".into())));
    let asked = bench.appliance.asked();
    let last = asked.iter().rfind(|asked| asked.path != "/scanner/v1/renew").unwrap();
    assert_eq!(last.path, "/scanner/v1/end");
    assert_eq!(std::fs::read_dir(bench.folder.path("journal")).unwrap().count(), 0);
}

#[test]
fn a_restarted_scanner_goes_on_at_the_next_block() {
    let bench = Bench::new("restart", testing::job());
    // Two blocks, half a third, then nothing.
    let half = bench.script(2, 3).replace(".\n", "");
    bench.says(0, &(bench.script(0, 2) + &half));
    bench.says(2, &(bench.script(2, bench.job.blocks()) + "end done\n"));
    let session = bench.session(&format!("{PRINT}; exec /bin/sleep 60"));
    let stopped = std::thread::scope(|scope| {
        let worker = scope.spawn(|| run(&session, &bench.frame()));
        while bench.told.lock().unwrap().results.len() < 2 {
            std::thread::sleep(Duration::from_millis(20));
        }
        session.ended.store(true, Ordering::Relaxed);
        worker.join().unwrap()
    });
    assert!(matches!(stopped, Err(Error::Stopped)));
    assert_eq!(bench.end(), None);
    run(&bench.session(PRINT), &bench.frame()).unwrap();
    bench.check_all_blocks_once();
    assert_eq!(bench.end(), Some(("done".into(), "-".into())));
}

#[test]
fn what_was_kept_is_sent_after_a_restart() {
    let bench = Bench::new("kept", testing::job());
    bench.says(0, &(bench.script(0, bench.job.blocks()) + "end done\n"));
    let session = bench.session(PRINT);
    std::thread::scope(|scope| {
        // Nobody sends: the results wait.
        let worker = scope.spawn(|| work(&session, bench.frame().as_bytes()));
        while (session.spool.waiting().unwrap().len() as u64) < bench.job.blocks() {
            std::thread::sleep(Duration::from_millis(20));
        }
        session.ended.store(true, Ordering::Relaxed);
        assert!(matches!(worker.join().unwrap(), Err(Error::Stopped)));
    });
    assert!(bench.told.lock().unwrap().results.is_empty());
    run(&bench.session("exit 9"), &bench.frame()).unwrap();
    bench.check_all_blocks_once();
}

#[test]
fn a_cancel_reaches_the_probe_and_what_it_had_found_is_kept() {
    let bench = Bench::new("cancel", testing::job());
    bench.answer_renewals("cancel");
    bench.says(0, &bench.script(0, 1));
    let partly = bench.script(1, 2).replace("closed refused", "not-probed cancelled");
    bench.says(9, &(partly + "end cancelled\n"));
    let script = format!("{PRINT}; read -r line; [ \"$line\" = cancel ] && /bin/cat \"$0.9\"");
    run(&bench.session(&script), &bench.frame()).unwrap();
    assert_eq!(bench.end(), Some(("cancelled".into(), "as the appliance asked".into())));
    assert_eq!(bench.told.lock().unwrap().results.len(), 2);
}

#[test]
fn a_probe_rests_while_what_it_found_cannot_be_sent() {
    let bench = Bench::new("rests", testing::job());
    bench.says(0, &bench.script(0, 2));
    bench.says(9, &(bench.script(2, bench.job.blocks()) + "end done\n"));
    let script = format!(
        "{PRINT}; read -r line; [ \"$line\" = pause ] || exit 1; : > \"$0.rests\"; \
         read -r line; [ \"$line\" = resume ] && /bin/cat \"$0.9\""
    );
    let mut session = bench.session(&script);
    session.most_kept = 100;
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| work(&session, bench.frame().as_bytes()));
        while !bench.folder.path("step.rests").exists() {
            assert!(!worker.is_finished(), "it ended without a rest");
            std::thread::sleep(Duration::from_millis(20));
        }
        scope.spawn(|| sender::run(&session).unwrap());
        worker.join().unwrap().unwrap();
        session.ended.store(true, Ordering::Relaxed);
    });
    bench.check_all_blocks_once();
    assert_eq!(bench.end(), Some(("done".into(), "-".into())));
}

/// Writes down every line it hears, until it is told to cancel.
const HEAR: &str = r#"while read -r line; do echo "$line" >> "$0.heard"; [ "$line" = cancel ] && break; done; \
    echo "end cancelled""#;

impl Bench {
    /// Waits until the probe has heard a text.
    fn until_heard(&self, what: &str) -> String {
        for _ in 0..1_000 {
            let heard = std::fs::read_to_string(self.folder.path("step.heard")).unwrap_or_default();
            if heard.contains(what) {
                return heard;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{what:?} was not heard");
    }
}

#[test]
fn exclusions_reach_a_probe_before_its_job_and_while_it_runs_and_pauses_too() {
    let bench = Bench::new("excluded", testing::job());
    bench.told.lock().unwrap().excluded = "127.0.0.3, 10.0.0.0/8";
    let session = bench.session(HEAR);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| run(&session, &bench.frame()));
        let heard = bench.until_heard("\n.\n");
        assert!(heard.starts_with("exclude 127.0.0.3, 127.0.0.9\nstart 0\nportolan-frame: 1\n"), "{heard}");
        bench.told.lock().unwrap().excluded = "127.0.0.2/31";
        bench.until_heard("\nexclude 127.0.0.2/31, 127.0.0.9\n");
        bench.told.lock().unwrap().state = "pause";
        bench.until_heard("\npause\n");
        bench.told.lock().unwrap().state = "go";
        bench.until_heard("\nresume\n");
        bench.told.lock().unwrap().state = "cancel";
        worker.join().unwrap().unwrap();
    });
    let told = bench.appliance.asked().iter().filter(|asked| asked.path == "/scanner/v1/exclusions").count();
    assert_eq!(told, 2, "the list is asked for when it has changed");
}

#[test]
fn while_the_exclusions_cannot_be_had_nothing_is_probed_and_the_appliance_is_obeyed() {
    let bench = Bench::new("unlisted", testing::job());
    let session = bench.session(HEAR);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| run(&session, &bench.frame()));
        bench.until_heard("\n.\n");
        (bench.told.lock().unwrap().excluded, bench.told.lock().unwrap().unlisted) = ("127.0.0.3", true);
        bench.until_heard("\npause\n");
        bench.told.lock().unwrap().unlisted = false;
        let heard = bench.until_heard("\nresume\n");
        assert!(heard.contains("\nexclude 127.0.0.3, 127.0.0.9\n"), "{heard}");
        (bench.told.lock().unwrap().excluded, bench.told.lock().unwrap().unlisted) = ("127.0.0.4", true);
        bench.told.lock().unwrap().state = "cancel";
        bench.until_heard("\ncancel\n");
        worker.join().unwrap().unwrap();
    });
    // Nor is a job begun before it is known, and a cancel is heard then too.
    let bench = Bench::new("unlisted-first", testing::job());
    bench.told.lock().unwrap().unlisted = true;
    bench.answer_renewals("cancel");
    run(&bench.session("exit 9"), &bench.frame()).unwrap();
    assert_eq!(bench.end(), Some(("cancelled".into(), "as the appliance asked".into())));
}

#[test]
fn a_job_whose_time_is_over_is_told_with_what_it_had_found() {
    let job = Job { expires: Clock::default().now() + 2_000_000, ..testing::job() };
    let bench = Bench::new("expired", job);
    bench.says(0, &bench.script(0, 1));
    let partly = bench.script(1, 2).replace("closed refused", "not-probed expired");
    bench.says(9, &(partly + "end cancelled\n"));
    let script = format!("{PRINT}; read -r line; [ \"$line\" = expire ] && /bin/cat \"$0.9\"");
    run(&bench.session(&script), &bench.frame()).unwrap();
    assert_eq!(bench.end(), Some(("failed".into(), "the job's time was over".into())));
    assert_eq!(bench.told.lock().unwrap().results.len(), 2);
}

#[test]
fn a_job_that_says_so_may_probe_the_appliance() {
    let bench = Bench::new("own", Job { own: true, ..testing::job() });
    let session = bench.session(HEAR);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| run(&session, &bench.frame()));
        let heard = bench.until_heard("\n.\n");
        assert!(heard.starts_with("start 0\nportolan-frame: 1\n"), "{heard}");
        bench.told.lock().unwrap().state = "cancel";
        worker.join().unwrap().unwrap();
    });
}

#[test]
fn no_probe_starts_before_it_is_known_what_to_leave_alone() {
    let bench = Bench::new("unknown", testing::job());
    bench.appliance.answer_by(|_| (200, "state: go\n".into()));
    let session = bench.session(HEAR);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| run(&session, &bench.frame()));
        while bench.appliance.asked().len() < 2 {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert!(!bench.folder.path("step.heard").exists());
        bench.answer_renewals("go");
        bench.until_heard("\n.\n");
        bench.told.lock().unwrap().state = "cancel";
        worker.join().unwrap().unwrap();
    });
}

#[test]
fn a_probe_of_a_revoked_scanner_ends_at_once() {
    let bench = Bench::new("revoked", testing::job());
    let session = bench.session(HEAR);
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| run(&session, &bench.frame()));
        bench.until_heard("\n.\n");
        let begun = std::time::Instant::now();
        bench.told.lock().unwrap().state = "revoked";
        worker.join().unwrap().unwrap();
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    });
    assert_eq!(bench.end(), None);
}

#[test]
fn an_appliance_that_is_busy_is_told_the_end_again() {
    let bench = Bench::new("busy", testing::job());
    bench.told.lock().unwrap().busy = 2;
    bench.says(0, &(bench.script(0, bench.job.blocks()) + "end done\n"));
    run(&bench.session(PRINT), &bench.frame()).unwrap();
    assert_eq!(bench.end(), Some(("done".into(), "-".into())));
}

#[test]
fn a_lost_job_is_dropped_without_a_word() {
    let bench = Bench::new("lost", testing::job());
    bench.answer_renewals("lost");
    bench.says(0, &bench.script(0, 1));
    run(&bench.session(&format!("{PRINT}; exec /bin/sleep 60")), &bench.frame()).unwrap();
    assert_eq!(bench.end(), None);
}

#[test]
fn a_probe_that_fails_is_started_again_and_given_up_when_nothing_comes_of_it() {
    let bench = Bench::new("fails", testing::job());
    bench.says(0, &(bench.script(0, 1) + "end failed out of sockets\n"));
    bench.says(1, &(bench.script(1, 2) + "nonsense\n"));
    // A block of other hosts than the job's.
    let third = bench.job.walk().at(2);
    bench.says(2, &format!("block {third} 1 2 3 0 0 0\nhost 10.9.9.9 closed refused\n.\nend done\n"));
    run(&bench.session(PRINT), &bench.frame()).unwrap();
    let (state, detail) = bench.end().unwrap();
    assert_eq!(state, "failed");
    assert!(detail.contains("not in the block"), "{detail}");
    assert_eq!(bench.told.lock().unwrap().results.len(), 2);
}

#[test]
fn a_probe_stopped_from_outside_leaves_no_half_block() {
    let bench = Bench::new("outside", testing::job());
    for why in ["cancelled", "expired"] {
        let partly = bench.script(0, 1).replace("closed refused", &format!("not-probed {why}"));
        bench.says(0, &(partly + "end cancelled\n"));
        run(&bench.session(PRINT), &bench.frame()).unwrap();
        assert!(bench.told.lock().unwrap().results.is_empty());
        assert_eq!(bench.end().unwrap().0, "failed");
    }
}

#[test]
fn a_job_that_is_not_for_us_is_not_begun() {
    let mut job = testing::job();
    job.scanner = job.scan;
    let bench = Bench::new("other", job);
    let session = bench.session("exit 9");
    session.ended.store(true, Ordering::Relaxed);
    work(&session, bench.frame().as_bytes()).unwrap();
    assert!(bench.end().unwrap().1.contains("another scanner's"));
    // A proper signature, by a key that is not the one of the enrolment.
    let other = Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap();
    let forged = seal(testing::job().encode(), |text| other.sign(text));
    work(&session, forged.as_bytes()).unwrap();
    assert!(bench.end().unwrap().1.contains("not signed by the key"));
    let mut late = testing::job();
    late.expires = 1;
    let late = seal(late.encode(), |text| bench.signer.sign(text));
    work(&session, late.as_bytes()).unwrap();
    assert!(bench.end().unwrap().1.contains("time was over"));
}

#[test]
fn a_large_block_goes_in_parts_of_whole_hosts() {
    let job = Job {
        targets: Ranges::parse("127.0.0.1-127.0.0.3").unwrap(),
        ports: Ports::parse("1-65535").unwrap(),
        block_hosts: 3,
        ..testing::job()
    };
    let bench = Bench::new("large", job);
    let mut text = String::from("block 0 1 2 196605 0 0 0\n");
    for host in 1..=3 {
        writeln!(text, "host 127.0.0.{host} closed refused").unwrap();
        for port in 1..=60_000 {
            writeln!(text, "port {port} open syn-ack 123456").unwrap();
        }
    }
    bench.says(0, &(text + ".\nend done\n"));
    run(&bench.session(PRINT), &bench.frame()).unwrap();
    let told = bench.told.lock().unwrap();
    let parts: Vec<&Results> = told.results.values().flatten().collect();
    assert_eq!(
        parts.iter().map(|part| (part.part, part.last)).collect::<Vec<_>>(),
        [(0, false), (1, false), (2, true)]
    );
    assert_eq!(parts.iter().map(|part| part.sent).sum::<u64>(), 196_605);
    assert!(parts.iter().all(|part| part.probes == 65_535 && part.check_against(&bench.job).is_ok()));
}
