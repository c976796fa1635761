use super::*;
use crate::scope::{Manner, Preset, Timing};

const LEASE: Duration = Duration::from_secs(60);
const START: Timestamp = Timestamp::from_micros(1_795_341_600_000_000);

fn scanner(n: u128) -> Uuid {
    Uuid::from_u128(n)
}

fn scan(state: State) -> Scan {
    Scan {
        id: Uuid::from_u128(1),
        template: Uuid::from_u128(2),
        template_name: "t".into(),
        frozen_scope: "f".into(),
        timing: Timing { preset: Preset::Normal, rate: 100, host_rate: 10, timeout_ms: 1000, retries: 1 },
        manner: Manner::default(),
        seed: [0; 16],
        hosts: 10,
        probes: 100,
        state,
        detail: None,
        excluded_since: portolan_scanner::net::Ranges::new(),
        by: "ada".into(),
        created_at: START,
        started_at: Some(START),
        ended_at: None,
    }
}

fn batch(state: BatchState, epoch: u32) -> Batch {
    Batch {
        number: 1,
        vantage: Uuid::from_u128(9),
        first_host: 0,
        hosts: 10,
        probes: 100,
        state,
        epoch,
        scanner: None,
        covered: 0,
        open: 0,
        detail: None,
    }
}

fn job(epoch: u32, state: JobState) -> Job {
    Job {
        hash: format!("job-{epoch}"),
        batch: 1,
        epoch,
        scanner: scanner(7),
        state,
        end: None,
        pause: false,
        cancel: None,
        expires_at: None,
        made_at: START,
        renewed_at: Some(START),
        done: 50,
        open: 3,
        rate: 10,
        blocks: 2,
        loaded_blocks: 1,
        loaded_covered: 50,
        loaded_open: 3,
    }
}

fn whole(epoch: u32, state: JobState) -> Job {
    Job { loaded_blocks: 2, loaded_covered: 100, ..job(epoch, state) }
}

/// What is to be done and, when no batch is open after it, how the scan ends.
fn decide(scan: &Scan, batches: &[Batch], jobs: &[Job], after: Duration) -> (Vec<Action>, Option<Ended>) {
    let scanners = [Assigned { scanner: scanner(7), vantage: Uuid::from_u128(9), vantage_name: "v".into() }];
    let able = BTreeSet::from([scanner(7)]);
    whole_story(&Situation {
        scan,
        batches,
        scanners: &scanners,
        jobs,
        able: &able,
        now: START + after,
        lease: LEASE,
    })
}

type Ended = (State, Option<String>);

fn whole_story(situation: &Situation) -> (Vec<Action>, Option<Ended>) {
    let actions = situation.decide();
    let mut after = situation.batches.to_vec();
    for action in &actions {
        if let Action::Batch(moved) = action {
            after.iter_mut().filter(|batch| batch.number == moved.number).for_each(|b| *b = moved.clone());
        }
    }
    let over = after.iter().all(|batch| !batch.state.is_open());
    let given_up = |batch: &Batch| batch.detail.clone().filter(|_| batch.state == BatchState::GivenUp);
    let tally = Tally {
        batches: after.len() as u64,
        not_done: after.iter().filter(|batch| batch.state != BatchState::Done).count() as u64,
        covered: after.iter().map(|batch| batch.covered).sum(),
        excluded: 0,
        why: after.iter().rev().find_map(given_up),
    };
    (actions, over.then(|| end(situation.scan, &tally)))
}

fn states((actions, ended): &(Vec<Action>, Option<Ended>)) -> Vec<String> {
    let name = |action: &Action| match action {
        Action::Pause(hash, rest) => format!("{} {hash}", if *rest { "pause" } else { "resume" }),
        Action::Lose(hash) => format!("lose {hash}"),
        Action::Cancel(hash) => format!("cancel {hash}"),
        Action::Batch(batch) => format!("batch {}", batch.state.as_str()),
    };
    let end = ended.iter().map(|(state, _)| format!("end {}", state.as_str()));
    actions.iter().map(name).chain(end).collect()
}

/// Why the scan ended so.
fn why((_, ended): &(Vec<Action>, Option<Ended>)) -> String {
    ended.clone().and_then(|(_, why)| why).unwrap_or_default()
}

#[test]
fn a_scan_completes_only_when_every_probe_is_in_the_results() {
    let running = [batch(BatchState::Running, 1)];
    let now = Duration::from_secs(1);
    let ended = Job { end: Some((JobEnd::Done, String::new())), ..job(1, JobState::Ended) };
    assert!(decide(&scan(State::Running), &running, &[ended], now).0.is_empty(), "the loader may be behind");
    let all = decide(&scan(State::Running), &running, &[whole(1, JobState::Ended)], now);
    assert_eq!(states(&all), ["batch done", "end completed"]);
    let short = Job { loaded_covered: 99, ..whole(1, JobState::Ended) };
    let actions = decide(&scan(State::Running), &running, &[short], now);
    assert_eq!(states(&actions), ["batch done", "end partial"]);
    assert!(why(&actions).contains("1 of 100 probes"));
}

#[test]
fn a_silent_scanner_loses_its_job_and_the_batch_waits_for_another() {
    let running = [batch(BatchState::Running, 1)];
    let jobs = [job(1, JobState::Leased)];
    assert!(decide(&scan(State::Running), &running, &jobs, Duration::from_secs(59)).0.is_empty());
    let late = decide(&scan(State::Running), &running, &jobs, LEASE);
    assert_eq!(states(&late), ["lose job-1", "batch waiting"]);
    let never_fetched = decide(&scan(State::Running), &running, &[job(1, JobState::Ready)], LEASE);
    assert_eq!(states(&never_fetched), ["lose job-1", "batch waiting"]);
}

#[test]
fn what_a_lost_job_brought_late_still_finishes_the_batch() {
    let jobs = [whole(1, JobState::Lost), job(2, JobState::Leased)];
    let actions =
        decide(&scan(State::Running), &[batch(BatchState::Running, 2)], &jobs, Duration::from_secs(1));
    assert_eq!(states(&actions), ["lose job-2", "batch done", "end completed"]);
}

#[test]
fn a_batch_is_given_up_after_its_last_try_and_the_scan_says_so() {
    let running = [batch(BatchState::Running, MOST_EPOCHS)];
    let jobs = [Job { end: Some((JobEnd::Failed, "no route".into())), ..job(MOST_EPOCHS, JobState::Ended) }];
    let actions = decide(&scan(State::Running), &running, &jobs, Duration::from_secs(1));
    assert_eq!(states(&actions), ["batch given-up", "end partial"]);
    assert!(why(&actions).contains("no route"), "{actions:?}");
    let nothing = [Job { loaded_covered: 0, ..jobs[0].clone() }];
    assert_eq!(states(&decide(&scan(State::Running), &running, &nothing, LEASE))[1], "end failed");
}

#[test]
fn acknowledged_results_are_waited_for_while_nothing_loads_them() {
    let running = [batch(BatchState::Running, 1)];
    let done = [Job { end: Some((JobEnd::Done, String::new())), ..job(1, JobState::Ended) }];
    assert!(
        decide(&scan(State::Running), &running, &done, LEASE * 30).0.is_empty(),
        "the manager is stopped"
    );
    assert_eq!(states(&decide(&scan(State::Running), &running, &done, LOADING)), ["batch waiting"]);
}

#[test]
fn what_an_earlier_job_brought_counts_when_the_batch_is_given_up() {
    let failed = Some((JobEnd::Failed, "no route".to_owned()));
    let jobs = [
        Job { loaded_covered: 90, loaded_open: 7, ..job(1, JobState::Lost) },
        Job { end: failed, loaded_covered: -10, loaded_open: -2, ..job(MOST_EPOCHS, JobState::Ended) },
    ];
    let running = [batch(BatchState::Running, MOST_EPOCHS)];
    let actions = decide(&scan(State::Running), &running, &jobs, Duration::from_secs(1));
    let Action::Batch(given_up) = &actions.0[0] else { panic!("{actions:?}") };
    assert_eq!((given_up.covered, given_up.open), (80, 5), "less what was replaced");
    assert_eq!(states(&actions), ["batch given-up", "end partial"]);
}

#[test]
fn a_batch_without_its_job_waits_again() {
    let actions = decide(&scan(State::Running), &[batch(BatchState::Running, 1)], &[], Duration::ZERO);
    assert_eq!(states(&actions), ["batch waiting"]);
}

#[test]
fn a_cancelled_scan_ends_once_its_scanners_have_stopped() {
    let scan = scan(State::Cancelling);
    let now = Duration::from_secs(1);
    assert_eq!(
        states(&decide(&scan, &[batch(BatchState::Waiting, 0)], &[], now)),
        ["batch cancelled", "end cancelled"]
    );
    let running = [batch(BatchState::Running, 1)];
    assert_eq!(states(&decide(&scan, &running, &[job(1, JobState::Leased)], now)), ["cancel job-1"]);
    let told = Job { cancel: Some(START), ..job(1, JobState::Leased) };
    assert!(decide(&scan, &running, std::slice::from_ref(&told), now).0.is_empty());
    assert_eq!(
        states(&decide(&scan, &running, &[told], LEASE)),
        ["lose job-1", "batch cancelled", "end cancelled"]
    );
    let stopped = Job { end: Some((JobEnd::Cancelled, String::new())), ..job(1, JobState::Ended) };
    // What it sent last may lie in the spool still.
    assert!(decide(&scan, &running, std::slice::from_ref(&stopped), now).0.is_empty());
    assert_eq!(states(&decide(&scan, &running, &[stopped], SETTLING)), ["batch cancelled", "end cancelled"]);
}

#[test]
fn a_vantage_whose_scanners_are_all_revoked_is_given_up() {
    let scan = scan(State::Running);
    let scanners = [Assigned { scanner: scanner(7), vantage: Uuid::from_u128(9), vantage_name: "v".into() }];
    let none = BTreeSet::new();
    let batches = [batch(BatchState::Waiting, 0)];
    let situation = Situation {
        scan: &scan,
        batches: &batches,
        scanners: &scanners,
        jobs: &[],
        able: &none,
        now: START,
        lease: LEASE,
    };
    assert_eq!(states(&whole_story(&situation)), ["batch given-up", "end failed"]);
}

#[test]
fn a_scanner_that_never_ends_loses_its_job_when_its_time_is_over() {
    let running = [batch(BatchState::Running, 1)];
    let end = START + Duration::from_secs(3600);
    let alive = |after: u64| Job {
        expires_at: Some(end),
        renewed_at: Some(START + Duration::from_secs(after)),
        ..job(1, JobState::Leased)
    };
    let at =
        |after: u64| decide(&scan(State::Running), &running, &[alive(after)], Duration::from_secs(after));
    assert!(at(3659).0.is_empty(), "it may deliver what it has");
    assert_eq!(states(&at(3660)), ["lose job-1", "batch waiting"]);
}

#[test]
fn a_scan_that_rests_past_the_time_of_its_jobs_goes_on_with_new_ones_however_often() {
    let rested = |epoch| {
        let running = [batch(BatchState::Running, epoch)];
        let late = Duration::from_secs(90_000);
        let resting = Job {
            pause: true,
            expires_at: Some(START + Duration::from_secs(86_400)),
            renewed_at: Some(START + late),
            ..job(epoch, JobState::Leased)
        };
        let failed = Some((JobEnd::Failed, "the job's time was over".to_owned()));
        let said_so = Job { end: failed, ..job(epoch, JobState::Ended) };
        let scan = scan(State::Paused);
        [
            decide(&scan, &running, &[resting], late),
            decide(&scan, &running, &[said_so], Duration::from_secs(1)),
        ]
    };
    for epoch in [1, MOST_EPOCHS] {
        let [resting, said_so] = rested(epoch);
        assert_eq!(states(&resting), [format!("lose job-{epoch}"), "batch waiting".to_owned()]);
        assert_eq!(states(&said_so), ["batch waiting"]);
    }
}

#[test]
fn a_scanner_that_does_not_stop_holds_no_cancelled_scan_open() {
    let running = [batch(BatchState::Running, 1)];
    let deaf =
        |after| Job { cancel: Some(START), renewed_at: Some(START + after), ..job(1, JobState::Leased) };
    let at = |after| decide(&scan(State::Cancelling), &running, &[deaf(after)], after);
    assert!(at(STOPPING / 2).0.is_empty());
    assert_eq!(states(&at(STOPPING)), ["lose job-1", "batch cancelled", "end cancelled"]);
}
