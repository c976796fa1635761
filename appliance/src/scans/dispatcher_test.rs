use super::*;
use crate::clock::{Clock, Hand};
use crate::ids::Random;
use crate::scans::Assigned;
use crate::scope::{Manner, Method, Preset, Timing};
use portolan_scanner::net::{Ports, Ranges};

struct Bench {
    dispatcher: Dispatcher,
    hand: Hand,
    scan: Uuid,
}

const SCANNER: Uuid = Uuid::from_u128(7);
const VANTAGE: Uuid = Uuid::from_u128(9);

impl Bench {
    /// One scan of 2 hosts x 50 ports from one vantage: one batch.
    async fn new() -> Self {
        let (clock, hand) = Clock::settable(Timestamp::parse("2026-11-22T12:00:00Z").unwrap());
        let random = Random::seeded(3);
        let dispatcher = Dispatcher {
            store: Store::in_memory(clock.clone()).unwrap(),
            jobs: Jobs::in_memory().unwrap(),
            ids: Ids::with(clock.clone(), random.clone()),
            key: JobKey::make(&random),
            lease: Duration::from_secs(60),
            clock,
        };
        let scan = dispatcher.ids.new();
        let bench = Self { dispatcher, hand, scan };
        bench.launch().await;
        bench
            .config(
                "INSERT INTO vantage (id, name, created_at, updated_at) VALUES (?, 'Hall', 0, 0)",
                [VANTAGE],
            )
            .await;
        bench.enrol(SCANNER).await;
        bench.project().await;
        bench
    }

    async fn enrol(&self, scanner: Uuid) {
        let sql = "INSERT INTO scanner (id, name, vantage, public_key, certificate_sha256, api_key_sha256, created_at,
                   updated_at, enrolled_at) VALUES (?1, ?1, ?2, '', '', '', 0, 0, 1)";
        self.config(sql, [scanner, VANTAGE]).await;
    }

    /// One more scanner in the vantage, which the scan may use.
    async fn second(&self) -> Uuid {
        let second = Uuid::from_u128(8);
        self.enrol(second).await;
        let sql = "INSERT INTO scan_scanner (scan, scanner, vantage, vantage_name) VALUES (?, ?, ?, 'Hall')";
        self.config(sql, [self.scan, second, VANTAGE]).await;
        second
    }

    /// What the manager does with its scanners.
    async fn project(&self) {
        let sql = "INSERT INTO scanner (id, vantage, api_key_sha256, certificate_sha256, public_key)
                   VALUES (?, ?, '', '', '')";
        self.sql(sql, (SCANNER.to_string(), VANTAGE.to_string())).await;
    }

    async fn config<const N: usize>(&self, sql: &'static str, values: [Uuid; N]) {
        let values = values.map(|id| id.to_string());
        let change = move |tx: &rusqlite::Transaction| {
            tx.execute(sql, rusqlite::params_from_iter(values))?;
            Ok((Entry::event("test", &json!({})), ()))
        };
        self.dispatcher.store.change(&actor(), change).await.unwrap();
    }

    async fn launch(&self) {
        let frozen = Frozen {
            targets: Ranges::parse("10.0.0.1,10.0.0.9").unwrap(),
            excluded: Ranges::new(),
            ports: Ports::parse("1-50").unwrap(),
        };
        let scan = Scan {
            id: self.scan,
            template: Uuid::from_u128(2),
            template_name: "Plant".into(),
            frozen_scope: frozen.name(),
            timing: Timing { preset: Preset::Normal, rate: 100, host_rate: 10, timeout_ms: 1000, retries: 1 },
            manner: Manner { method: Method::Syn, hints: true, own: true },
            seed: [5; 16],
            hosts: 2,
            probes: 100,
            state: State::Queued,
            detail: None,
            excluded_since: Ranges::new(),
            by: "ada".into(),
            created_at: self.dispatcher.clock.now(),
            started_at: None,
            ended_at: None,
        };
        let scanners = [Assigned { scanner: SCANNER, vantage: VANTAGE, vantage_name: "Hall".into() }];
        let cuts = crate::scans::plan::cut(2, 50, 100, &[VANTAGE]);
        let change = move |tx: &rusqlite::Transaction| {
            store::insert(tx, &scan, &frozen, "ada", None)?;
            store::insert_scanners(tx, scan.id, &scanners)?;
            store::insert_batches(tx, scan.id, &cuts, 50)?;
            Ok((Entry::event("scan.launched", &json!({})).on("scan", scan.id), ()))
        };
        self.dispatcher.store.change(&actor(), change).await.unwrap();
    }

    async fn sql(&self, sql: &'static str, values: impl rusqlite::Params + Send + 'static) {
        self.dispatcher.jobs.write(move |tx| Ok(tx.execute(sql, values)?)).await.unwrap();
    }

    /// The scanner asks for work.
    async fn want(&self) {
        let until = self.dispatcher.clock.now() + Duration::from_secs(30);
        self.sql("INSERT OR REPLACE INTO want (scanner, until) VALUES (?, ?)", (SCANNER.to_string(), until))
            .await;
    }

    async fn step(&self) {
        self.dispatcher.step().await.unwrap();
    }

    async fn state(&self) -> (State, BatchState, u32) {
        let id = self.scan;
        let read = move |db: &rusqlite::Connection| {
            Ok((store::scan(db, id)?.unwrap(), store::batches(db, id)?.remove(0)))
        };
        let (scan, batch) = self.dispatcher.store.read(read).await.unwrap();
        (scan.state, batch.state, batch.epoch)
    }

    async fn frames(&self) -> Vec<String> {
        let read = |db: &rusqlite::Connection| {
            let mut statement = db.prepare("SELECT frame FROM job ORDER BY epoch")?;
            Ok(statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?)
        };
        self.dispatcher.jobs.read(read).await.unwrap()
    }

    /// Every block of the last job is in the results, and its scanner said so.
    async fn finish(&self) {
        self.sql(
            "INSERT INTO loaded (job_hash, block, part, last, covered, open, at)
             SELECT hash, 0, 0, 1, probes, 2, 0 FROM job ORDER BY epoch DESC LIMIT 1",
            [],
        )
        .await;
        self.sql("UPDATE job SET state = 'ended', end_state = 'done', end_detail = ''", []).await;
    }
}

#[tokio::test]
async fn a_scan_goes_from_queued_over_a_signed_job_to_completed() {
    let bench = Bench::new().await;
    let before = bench.dispatcher.store.audit_head().await.unwrap();
    bench.step().await;
    assert_eq!(bench.state().await, (State::Queued, BatchState::Waiting, 0), "nobody wants work");
    bench.want().await;
    bench.step().await;
    assert_eq!(bench.state().await, (State::Running, BatchState::Running, 1));
    let frame = bench.frames().await.remove(0);
    let signed = wire::split(frame.as_bytes()).unwrap();
    let key = bench.dispatcher.key.public();
    assert!(crate::secrets::signing::verify(&key, signed.text.as_bytes(), &signed.signature));
    let job = wire::Job::decode(signed.text).unwrap();
    assert_eq!(
        (job.targets.to_string().as_str(), job.ports.count(), job.epoch),
        ("10.0.0.1, 10.0.0.9", 50, 1)
    );
    assert_eq!((job.method, job.hints, job.own), (wire::Method::Syn, true, true), "as frozen at the launch");
    bench.want().await;
    bench.step().await;
    assert_eq!(bench.frames().await.len(), 1, "a scanner has one job at a time");
    bench.finish().await;
    bench.step().await;
    assert_eq!(bench.state().await, (State::Completed, BatchState::Done, 1));
    bench.step().await;
    let audit = bench.dispatcher.store.audit_head().await.unwrap();
    assert_eq!(audit.seq - before.seq, 3, "job signed, batch done, scan completed: each once");
}

#[tokio::test]
async fn a_paused_scan_gives_out_nothing_and_its_scanners_are_told_until_it_goes_on() {
    let bench = Bench::new().await;
    let id = bench.scan;
    let set = async |state: State| {
        let set = move |tx: &rusqlite::Transaction| {
            store::pause(tx, id, state)?;
            Ok((Entry::event("test", &json!({})), ()))
        };
        bench.dispatcher.store.change(&actor(), set).await.unwrap();
        bench.step().await;
    };
    let told = async || {
        let read =
            |db: &rusqlite::Connection| Ok(db.query_row("SELECT pause FROM job", [], |row| row.get(0))?);
        bench.dispatcher.jobs.read(read).await.unwrap()
    };
    bench.want().await;
    set(State::Paused).await;
    assert_eq!(bench.frames().await.len(), 0);
    set(State::Queued).await;
    assert_eq!((bench.frames().await.len(), told().await), (1, false));
    bench.sql("UPDATE job SET state = 'leased'", []).await;
    set(State::Paused).await;
    assert!(told().await);
    set(State::Running).await;
    assert!(!told().await);
    set(State::Paused).await;
    bench.finish().await;
    bench.step().await;
    assert_eq!(bench.state().await.0, State::Completed, "what is done while it rests is done");
}

#[tokio::test]
async fn a_scan_that_is_stopped_while_a_job_is_made_for_it_stays_so() {
    for state in [State::Paused, State::Cancelling] {
        let bench = Bench::new().await;
        let (id, now) = (bench.scan, bench.dispatcher.clock.now());
        bench.want().await;
        let looked_at = bench.dispatcher.store.read(open).await.unwrap();
        let stop = move |tx: &rusqlite::Transaction| {
            store::set_state(tx, id, state, None, None)?;
            Ok((Entry::event("test", &json!({})), ()))
        };
        bench.dispatcher.store.change(&actor(), stop).await.unwrap();
        bench.dispatcher.give_work(SCANNER, &looked_at, &[SCANNER], now).await.unwrap();
        assert_eq!((bench.state().await.0, bench.frames().await.len()), (state, 0));
    }
}

#[tokio::test]
async fn the_scanners_of_a_vantage_share_its_rate() {
    let bench = Bench::new().await;
    let second = bench.second().await;
    bench.want().await;
    bench.step().await;
    let rate = async || {
        let frame = bench.frames().await.pop().unwrap();
        let job = wire::Job::decode(wire::split(frame.as_bytes()).unwrap().text).unwrap();
        (job.rate, job.host_rate)
    };
    assert_eq!(rate().await, (50, 10), "of 100");
    // One that was revoked has no share.
    bench.config("UPDATE scanner SET revoked_at = 1 WHERE id = ?", [second]).await;
    bench.sql("DELETE FROM job", []).await;
    bench.step().await;
    bench.want().await;
    bench.step().await;
    assert_eq!(rate().await, (100, 10));
}

#[tokio::test]
async fn a_scan_that_ends_says_what_was_excluded_meanwhile() {
    let bench = Bench::new().await;
    bench.want().await;
    bench.step().await;
    let sql =
        "INSERT INTO exclusion (id, addresses, first, reason, expires_at, by_name, created_at, updated_at)
               VALUES (?, '10.0.0.9', printf('%032d', 0), 'press', 253402300799999999, 'ada', 0, 0)";
    bench.config(sql, [Uuid::from_u128(1)]).await;
    let sql = "INSERT INTO loaded (job_hash, block, part, last, covered, open, at)
               SELECT hash, 0, 0, 1, probes / 2, 2, 0 FROM job";
    bench.sql(sql, []).await;
    bench.sql("UPDATE job SET state = 'ended', end_state = 'done', end_detail = ''", []).await;
    bench.step().await;
    let id = bench.scan;
    let scan = bench.dispatcher.store.read(move |db| Ok(store::scan(db, id)?.unwrap())).await.unwrap();
    assert_eq!((scan.state, scan.excluded_since.to_string().as_str()), (State::Partial, "10.0.0.9"));
    assert!(scan.detail.unwrap().contains("1 of 2 hosts were excluded after the launch"));
}

#[tokio::test]
async fn a_scan_that_is_to_stop_does_not_run_again() {
    let bench = Bench::new().await;
    let (id, now) = (bench.scan, bench.dispatcher.clock.now());
    // Cancelled between the dispatcher's look at it and its first job.
    for state in [State::Cancelling, State::Running] {
        let set = move |tx: &rusqlite::Transaction| {
            store::set_state(tx, id, state, None, Some(now))?;
            Ok((Entry::event("test", &json!({})), ()))
        };
        bench.dispatcher.store.change(&actor(), set).await.unwrap();
    }
    assert_eq!(bench.state().await.0, State::Cancelling);
    bench.step().await;
    assert_eq!(bench.state().await.0, State::Cancelled);
}

#[tokio::test]
async fn a_lost_jobs_db_means_the_batch_is_signed_anew() {
    let bench = Bench::new().await;
    bench.want().await;
    bench.step().await;
    bench.sql("DELETE FROM job", []).await;
    bench.step().await;
    assert_eq!(bench.state().await, (State::Running, BatchState::Waiting, 1));
    bench.want().await;
    bench.step().await;
    assert_eq!(bench.state().await, (State::Running, BatchState::Running, 2));
}

#[tokio::test]
async fn a_jobs_db_made_anew_gives_no_scan_up_before_the_manager_has_filled_it() {
    let bench = Bench::new().await;
    bench.sql("DELETE FROM scanner", []).await;
    bench.step().await;
    assert_eq!(bench.state().await, (State::Queued, BatchState::Waiting, 0));
    bench.project().await;
    bench.want().await;
    bench.step().await;
    assert_eq!(bench.state().await, (State::Running, BatchState::Running, 1));
}

#[tokio::test]
async fn a_silent_scanner_loses_its_lease_and_may_take_the_batch_again() {
    let bench = Bench::new().await;
    bench.want().await;
    bench.step().await;
    bench.hand.advance(Duration::from_secs(61));
    bench.step().await;
    assert_eq!(bench.state().await, (State::Running, BatchState::Waiting, 1));
    bench.want().await;
    bench.step().await;
    bench.finish().await;
    bench.step().await;
    assert_eq!(bench.state().await, (State::Completed, BatchState::Done, 2));
}

#[tokio::test]
async fn a_revoked_scanner_gets_nothing() {
    let bench = Bench::new().await;
    bench.config("UPDATE scanner SET revoked_at = 2 WHERE id = ?", [SCANNER]).await;
    bench.want().await;
    bench.step().await;
    assert_eq!(bench.state().await, (State::Failed, BatchState::GivenUp, 0));
    assert!(bench.frames().await.is_empty());
}

#[tokio::test]
async fn jobs_are_forgotten_a_month_after_their_scan_ended_and_not_before() {
    let bench = Bench::new().await;
    bench.want().await;
    bench.step().await;
    bench.hand.advance(LATE * 2);
    bench.dispatcher.forget().await.unwrap();
    assert_eq!(bench.frames().await.len(), 1, "its scan has not ended");
    bench.finish().await;
    bench.step().await;
    bench.hand.advance(LATE);
    bench.dispatcher.forget().await.unwrap();
    assert_eq!(bench.frames().await.len(), 1);
    bench.hand.advance(Duration::from_secs(1));
    bench.dispatcher.forget().await.unwrap();
    assert!(bench.frames().await.is_empty());
    assert_eq!(bench.state().await.0, State::Completed);
}

#[tokio::test]
async fn large_scans_idle_scanners_and_a_long_history_do_not_make_a_step_large() {
    let bench = Bench::new().await;
    let change = |tx: &rusqlite::Transaction| {
        // Of the scan, 8,192 more batches: all but a few done. Ten thousand scans that ended, a hundred that wait.
        tx.execute_batch(
            "WITH RECURSIVE n(i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM n WHERE i < 8193)
             INSERT INTO batch (scan, number, vantage, first_host, hosts, probes, state, epoch)
             SELECT scan, i, vantage, 0, 2, 100, iif(i < 6000, 'done', iif(i < 6020, 'running', 'waiting')), i < 6020
             FROM n, batch;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 10100)
             INSERT INTO scan (id, template, template_name, frozen_scope, preset, rate, host_rate, timeout_ms, retries,
               seed, hosts, probes, state, by_id, by_name, created_at, ended_at)
             SELECT printf('00000000-0000-0000-0000-%012d', i), template, 't', frozen_scope, preset, rate, host_rate,
               timeout_ms, retries, seed, hosts, probes, iif(i > 100, 'completed', 'queued'), 'a', 'a', i,
               iif(i > 100, 5, NULL) FROM n, scan;
             INSERT INTO scan_scanner SELECT id, scanner, vantage, 'v' FROM scan, scan_scanner WHERE id LIKE '00000000-%';
             INSERT INTO batch (scan, number, vantage, first_host, hosts, probes, state)
             SELECT scan, 1, vantage, 0, 2, 100, iif(ended_at IS NULL, 'waiting', 'done')
             FROM scan_scanner JOIN scan ON id = scan WHERE id LIKE '00000000-%';",
        )?;
        Ok((Entry::event("test", &json!({})), ()))
    };
    bench.dispatcher.store.change(&actor(), change).await.unwrap();
    let now = bench.dispatcher.clock.now();
    let fill = move |tx: &rusqlite::Transaction| {
        tx.execute_batch(&format!(
            "WITH RECURSIVE n(i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM n WHERE i < 6019)
             INSERT INTO job (hash, scan, batch, epoch, scanner, vantage, frame, blocks, probes, state, made_at,
               renewed_at)
             SELECT printf('%064d', i), (SELECT id FROM open), i, 1, 'x', 'v', '', 300, 100, 'leased', {now}, {now} FROM n;
             WITH RECURSIVE n(i) AS (VALUES (0) UNION ALL SELECT i + 1 FROM n WHERE i < 98)
             INSERT INTO loaded SELECT hash, i, 0, 1, 1, 0, 0 FROM n, job;
             WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 100)
             INSERT INTO scanner SELECT printf('00000000-0000-0000-0000-%012d', i + 1000), 'v', '', '', '', '', 0 FROM n;
             INSERT INTO want SELECT id, {now} + 60000000 FROM scanner;",
            now = now.micros()
        ))?;
        Ok(())
    };
    let scan = bench.scan.to_string();
    bench
        .dispatcher
        .jobs
        .write(move |tx| {
            tx.execute_batch(&format!("CREATE TABLE open AS SELECT '{scan}' AS id"))?;
            fill(tx)
        })
        .await
        .unwrap();
    bench.step().await;
    let [config, jobs] = [bench.dispatcher.store.database().clone(), bench.dispatcher.jobs.database()];
    let work = [config.count_work().await, jobs.count_work().await];
    bench.step().await;
    // Thousands of instructions of SQLite's virtual machine. To look once at each of the 600,000 loaded blocks would be
    // many thousands.
    let work: Vec<u64> = work.iter().map(|count| count.load(std::sync::atomic::Ordering::Relaxed)).collect();
    assert!(work[0] < 500 && work[1] < 1_000, "{work:?}");
}

#[tokio::test]
async fn a_batch_that_a_scanner_failed_goes_to_another_that_works_beside_it() {
    let bench = Bench::new().await;
    let other = bench.second().await;
    bench.sql("INSERT INTO scanner VALUES (?, 'v', '', '', '', '', 0)", [other.to_string()]).await;
    let want = |scanner: Uuid| {
        let until = bench.dispatcher.clock.now() + Duration::from_secs(30);
        bench.sql("INSERT OR REPLACE INTO want VALUES (?, ?)", (scanner.to_string(), until))
    };
    let fail = || bench.sql("UPDATE job SET state = 'ended', end_state = 'failed', end_detail = 'no'", []);
    want(SCANNER).await;
    bench.step().await;
    fail().await;
    bench.step().await;
    // Both want it now; the first one is asked first, and would fail it again and again.
    want(SCANNER).await;
    bench.hand.advance(Duration::from_secs(1));
    want(other).await;
    bench.step().await;
    assert_eq!(bench.state().await.2, 2);
    let last = "SELECT scanner FROM job ORDER BY epoch DESC LIMIT 1";
    let has = || bench.dispatcher.jobs.read(|db| Ok(db.query_row(last, [], |row| row.get::<_, String>(0))?));
    assert_eq!(has().await.unwrap(), other.to_string());
    // With nobody else there, it may try again.
    fail().await;
    bench.step().await;
    bench.sql("DELETE FROM want", []).await;
    want(other).await;
    bench.step().await;
    assert_eq!((bench.state().await.2, has().await.unwrap()), (3, other.to_string()));
}

#[tokio::test]
async fn a_large_scan_is_cancelled_in_one_go_and_in_few_words() {
    let bench = Bench::new().await;
    let change = |tx: &rusqlite::Transaction| {
        tx.execute_batch(
            "WITH RECURSIVE n(i) AS (VALUES (2) UNION ALL SELECT i + 1 FROM n WHERE i < 4096)
             INSERT INTO batch (scan, number, vantage, first_host, hosts, probes)
             SELECT scan, i, vantage, 0, 2, 100 FROM n, batch;
             UPDATE scan SET state = 'cancelling'",
        )?;
        Ok((Entry::event("test", &json!({})), ()))
    };
    bench.dispatcher.store.change(&actor(), change).await.unwrap();
    let before = bench.dispatcher.store.audit_head().await.unwrap().seq;
    bench.step().await;
    assert_eq!(bench.state().await, (State::Cancelled, BatchState::Cancelled, 0));
    let after = bench.dispatcher.store.audit_head().await.unwrap().seq;
    assert_eq!(after - before, 2, "the batches in one entry, the scan in another");
    let told = |db: &Connection| {
        let sql = "SELECT entry ->> '$.detail.batches' FROM audit_entry WHERE action = 'batch.cancelled'";
        Ok(db.query_row(sql, [], |row| row.get::<_, String>(0))?)
    };
    assert_eq!(bench.dispatcher.store.read(told).await.unwrap(), "1-4096");
    assert_eq!(runs(&[1, 2, 3, 5, 7, 8]), "1-3,5,7-8");
}
