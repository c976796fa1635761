//! Frames go from the spool into store and evidence exactly once, wherever the loader is killed.

use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};

use portolan_scanner::wire::Reason;

use super::*;
use crate::ingest::spool::Spool;
use crate::results::duckdb::DuckDb;
use crate::results::fixture::{
    JOB_KEY, JobOf, block, frame_signed_by, host, hosts, id, part, public, results, uuid,
};
use crate::results::{Counted, Hinted, HostQuery, Observation, OpenPorts, Part, SeenQuery, Sweep};

/// A store that does its work and is killed before it can say so.
struct Killed<S> {
    store: S,
    now: AtomicBool,
}

impl<S: Store> Store for Killed<S> {
    fn count(&self, frames: &[Proven]) -> Result<Vec<Counted>, crate::results::Error> {
        let counted = self.store.count(frames)?;
        if self.now.swap(false, Ordering::SeqCst) {
            return Err(crate::results::Error::Broken("alive any more"));
        }
        Ok(counted)
    }
    fn parts(&self, scan: Uuid) -> Result<Vec<Part>, crate::results::Error> {
        self.store.parts(scan)
    }
    fn sweeps(&self, scan: Uuid) -> Result<Vec<Sweep>, crate::results::Error> {
        self.store.sweeps(scan)
    }
    fn covered(
        &self,
        scan: Uuid,
        at: Uuid,
    ) -> Result<Vec<portolan_scanner::net::Range>, crate::results::Error> {
        self.store.covered(scan, at)
    }
    fn hosts(&self, query: &HostQuery) -> Result<Vec<Observation>, crate::results::Error> {
        self.store.hosts(query)
    }
    fn hosts_total(&self, query: &HostQuery) -> Result<u64, crate::results::Error> {
        self.store.hosts_total(query)
    }
    fn host(&self, query: &SeenQuery) -> Result<Vec<Observation>, crate::results::Error> {
        self.store.host(query)
    }
    fn host_total(&self, query: &SeenQuery) -> Result<u64, crate::results::Error> {
        self.store.host_total(query)
    }
    fn open_ports(&self, scans: &[Uuid]) -> Result<Vec<OpenPorts>, crate::results::Error> {
        self.store.open_ports(scans)
    }
    fn hints(&self, text: &str, limit: usize) -> Result<Vec<Hinted>, crate::results::Error> {
        self.store.hints(text, limit)
    }
}

pub struct World {
    _root: tempfile::TempDir,
    pub loader: Loader,
    kill: Arc<Killed<DuckDb>>,
}

impl World {
    /// A data folder, an empty store, and scanners 3 and 4, both enrolled.
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let layout = Layout::new(root.path());
        layout.create().unwrap();
        let kill = Arc::new(Killed { store: DuckDb::in_memory().unwrap(), now: AtomicBool::new(false) });
        let key_of: KeyOf = Arc::new(|scanner| {
            let n = scanner.as_bytes()[15];
            Box::pin(std::future::ready(Ok((scanner == uuid(3) || scanner == uuid(4)).then(|| public(n)))))
        });
        let clock = Clock::fixed(Timestamp::from_micros(1_700_000_000_000_000));
        let jobs = Jobs::in_memory().unwrap();
        let (job_key, heart) = (public(JOB_KEY), Heartbeat::default());
        let loader = Loader { jobs, store: kill.clone(), layout, clock, key_of, job_key, heart };
        Self { _root: root, loader, kill }
    }

    async fn give_out(&self, job: &JobFrame) {
        let (hash, text, it) = (job.hash(), job.text().to_owned(), job.job().clone());
        self.loader
            .jobs
            .write(move |tx| {
                tx.execute(
                    "INSERT INTO job (hash, scan, batch, epoch, scanner, vantage, frame, blocks, probes, state, made_at)
                     VALUES (?, ?, ?, ?, ?, ?, ?, 1, 1, 'leased', 0)",
                    params![
                        hash,
                        it.scan.to_string(),
                        it.batch,
                        it.epoch,
                        it.scanner.to_string(),
                        it.vantage.to_string(),
                        text
                    ],
                )?;
                Ok(())
            })
            .await
            .unwrap();
    }

    fn deliver(&self, frame: &Frame) {
        let layout = &self.loader.layout;
        Spool::new(layout.spool_tmp(), layout.spool_new()).put(frame.hash(), frame.bytes()).unwrap();
    }

    async fn rows(&self, sql: &'static str) -> Vec<String> {
        let read = self.loader.jobs.read(move |db| {
            let mut statement = db.prepare(sql)?;
            let rows = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(rows)
        });
        read.await.unwrap()
    }

    fn in_spool(&self) -> usize {
        fs::read_dir(self.loader.layout.spool_new()).unwrap().count()
    }

    fn evidence(&self, job: &JobFrame) -> Vec<String> {
        let folder = self.loader.layout.evidence().join(uuid(1).to_string()).join(job.hash());
        let mut names: Vec<_> =
            fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }
}

const LOADED: &str = "SELECT block || '-' || part || ' ' || last || ' ' || covered || ' ' || open
     FROM loaded ORDER BY 1";

/// Two blocks of two parts each.
fn delivery(job: &JobFrame) -> Vec<Proven> {
    vec![
        part(job, 0, 0, false, vec![hosts("10.0.0.0", "10.0.0.2", Reason::NoAnswer)]),
        part(job, 0, 1, true, vec![host("10.0.0.3", &[22, 80])]),
        part(job, 1, 0, false, vec![host("10.0.0.4", &[443])]),
        part(job, 1, 1, true, vec![hosts("10.0.0.5", "10.0.0.7", Reason::Cancelled)]),
    ]
}

fn small() -> JobOf {
    JobOf { targets: "10.0.0.0/29", block_hosts: 4, ..JobOf::default() }
}

#[tokio::test]
async fn a_frame_is_counted_told_and_kept() {
    let world = World::new();
    let job = small().frame();
    world.give_out(&job).await;
    let delivery = delivery(&job);
    for frame in &delivery {
        world.deliver(frame.frame());
    }
    let loaded = world.loader.pass().await.unwrap();
    assert_eq!(loaded, Loaded { counted: 4, repeated: 0, bad: 0 });
    assert_eq!(world.in_spool(), 0);
    assert_eq!(world.rows(LOADED).await, ["0-0 0 39 0", "0-1 1 13 2", "1-0 0 13 1", "1-1 1 0 0"]);
    let kept = ["0-0.frame.zst", "0-1.frame.zst", "1-0.frame.zst", "1-1.frame.zst", "job.frame.zst"];
    assert_eq!(world.evidence(&job), kept);
    let folder = world.loader.layout.evidence().join(uuid(1).to_string()).join(job.hash());
    assert_eq!(
        crate::results::evidence::read(&folder.join("1-0.frame.zst")).unwrap(),
        delivery[2].frame().bytes()
    );
    assert_eq!(
        Evidence::new(world.loader.layout.evidence()).job(&job.hash()).unwrap().unwrap().text(),
        job.text()
    );
    assert_eq!(world.loader.pass().await.unwrap(), Loaded::default());
}

#[tokio::test]
async fn killed_between_any_two_steps_nothing_is_lost_and_nothing_counts_twice() {
    for step in 0..4 {
        let world = World::new();
        let job = small().frame();
        world.give_out(&job).await;
        let delivery = delivery(&job);
        for frame in &delivery {
            world.deliver(frame.frame());
        }
        let evidence = world.loader.layout.evidence();
        match step {
            // Counted, but jobs.db was not told.
            0 => world.kill.now.store(true, Ordering::SeqCst),
            // Told, but nothing is kept: there is no evidence folder.
            1 => fs::remove_dir(&evidence).unwrap(),
            // Kept in part: the job's folder is there, the frames cannot be written.
            2 => {
                let folder = evidence.join(uuid(1).to_string()).join(job.hash());
                fs::create_dir_all(folder.join("1-0.frame.new")).unwrap();
            }
            // Kept, but not removed from the spool: it comes again.
            _ => {}
        }
        assert_eq!(world.loader.pass().await.is_err(), step < 3);
        if step < 3 {
            assert_eq!(world.in_spool(), 4, "step {step}: what is not finished is in the spool");
        }
        match step {
            1 => fs::create_dir(&evidence).unwrap(),
            2 => fs::remove_dir(evidence.join(uuid(1).to_string()).join(job.hash()).join("1-0.frame.new"))
                .unwrap(),
            3 => delivery.iter().for_each(|frame| world.deliver(frame.frame())),
            _ => {}
        }
        let loaded = world.loader.pass().await.unwrap();
        assert_eq!((loaded.counted, loaded.repeated), (0, 4), "step {step}");
        assert_eq!(world.in_spool(), 0);
        assert_eq!(world.rows(LOADED).await.len(), 4);
        assert_eq!(world.evidence(&job).len(), 5);
        let parts = world.loader.store.parts(uuid(1)).unwrap();
        assert_eq!(parts.iter().map(|part| part.hosts).sum::<u64>(), 8);
        assert_eq!(world.loader.store.open_ports(&[uuid(1)]).unwrap()[0].open, 3);
    }
}

#[tokio::test]
async fn killed_between_a_hole_and_its_filling_the_dispatcher_hears_of_each_once() {
    for killed in [false, true] {
        let world = World::new();
        let of = |epoch| JobOf { epoch, block_hosts: 8, ..small() }.frame();
        let (old, new) = (of(1), of(2));
        world.give_out(&old).await;
        world.give_out(&new).await;
        let holed = vec![host("10.0.0.0", &[22]), hosts("10.0.0.1", "10.0.0.7", Reason::Cancelled)];
        let frames =
            [block(&old, 0, holed), block(&new, 0, vec![hosts("10.0.0.0", "10.0.0.7", Reason::Refused)])];
        world.deliver(frames[0].frame());
        world.loader.pass().await.unwrap();
        world.deliver(frames[1].frame());
        world.kill.now.store(killed, Ordering::SeqCst);
        assert_eq!(world.loader.pass().await.is_err(), killed);
        world.deliver(frames[1].frame());
        world.loader.pass().await.unwrap();
        let told = "SELECT covered || ' ' || open FROM loaded ORDER BY covered";
        assert_eq!(world.rows(told).await, ["13 1", "91 0"]);
        assert_eq!(world.rows("SELECT CAST(covered AS TEXT) FROM swept").await, ["104"]);
    }
}

#[tokio::test]
async fn what_cannot_be_proven_is_put_aside_with_its_reason_and_the_rest_is_loaded() {
    let world = World::new();
    let job = small().frame();
    let stranger = JobOf { scanner: 7, batch: 2, ..small() }.frame();
    let forged = JobOf { batch: 3, ..small() }.signed_by(66);
    for job in [&job, &stranger, &forged] {
        world.give_out(job).await;
    }
    let good = &delivery(&job)[0];
    let seen = || vec![hosts("10.0.0.0", "10.0.0.3", Reason::NoAnswer)];
    let bad = [
        frame_signed_by(4, &results(&job, 0, 0, true, seen())),
        frame_signed_by(7, &results(&stranger, 0, 0, true, seen())),
        frame_signed_by(3, &results(&forged, 0, 0, true, seen())),
        frame_signed_by(3, &results(&JobOf { batch: 4, ..small() }.frame(), 0, 0, true, seen())),
    ];
    bad.iter().chain([good.frame()]).for_each(|frame| world.deliver(frame));
    fs::write(world.loader.layout.spool_new().join("junk"), "junk").unwrap();
    assert_eq!(world.loader.pass().await.unwrap(), Loaded { counted: 1, repeated: 0, bad: 5 });
    assert_eq!(world.in_spool(), 0);
    let refused =
        "SELECT reason || ' ' || scanner || ' ' || count FROM refusal WHERE source = 'spool' ORDER BY 1";
    let three = id(3);
    let seven = id(7);
    assert_eq!(
        world.rows(refused).await,
        [
            format!("bad-signature {three} 1"),
            "malformed  1".to_owned(),
            format!("unknown-job {three} 2"),
            format!("unknown-scanner {seven} 1"),
        ]
    );
    let aside = world.loader.layout.spool_bad();
    assert_eq!(fs::read_dir(&aside).unwrap().count(), 10);
    let kept = aside.join(portolan_scanner::wire::hex::encode(&bad[0].hash()));
    assert_eq!(fs::read(&kept).unwrap(), bad[0].bytes());
    assert!(fs::read_to_string(kept.with_extension("reason")).unwrap().contains("signature"));
}

#[tokio::test]
async fn what_a_hostile_ingest_leaves_in_the_spool_stops_nothing() {
    let world = World::new();
    let job = small().frame();
    world.give_out(&job).await;
    let new = world.loader.layout.spool_new();
    // Petabytes, as far as the file system says; and what never ends when it is read.
    let huge = fs::File::create(new.join("huge")).unwrap();
    huge.set_len(1 << 42).unwrap();
    fs::create_dir(new.join("folder")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", new.join("link")).unwrap();
    assert!(std::process::Command::new("mkfifo").arg(new.join("pipe")).status().unwrap().success());
    world.deliver(delivery(&job)[0].frame());
    let pass = tokio::time::timeout(std::time::Duration::from_secs(60), world.loader.pass());
    assert_eq!(pass.await.unwrap().unwrap(), Loaded { counted: 1, repeated: 0, bad: 1 });
    assert_eq!(world.rows("SELECT reason FROM refusal").await, ["too-large"]);
    assert_eq!(world.loader.pass().await.unwrap(), Loaded::default());
}

#[tokio::test]
async fn a_line_torn_by_a_kill_does_not_tear_the_next() {
    let world = World::new();
    let job = small().frame();
    world.give_out(&job).await;
    let delivery = delivery(&job);
    world.deliver(delivery[0].frame());
    world.loader.pass().await.unwrap();
    let scan = world.loader.layout.evidence().join(uuid(1).to_string());
    let mut counted = fs::read(scan.join("counted")).unwrap();
    counted.extend_from_slice(b"0000000002 ab");
    fs::write(scan.join("counted"), counted).unwrap();
    world.deliver(delivery[1].frame());
    world.loader.pass().await.unwrap();
    let numbers = crate::results::evidence::numbers(&scan).unwrap();
    let of =
        |frame: &Proven| numbers.get(&portolan_scanner::wire::hex::encode(&frame.frame().hash())).copied();
    assert_eq!((of(&delivery[0]), of(&delivery[1])), (Some(1), Some(2)));
}

#[tokio::test]
async fn a_second_frame_under_one_key_is_kept_and_counts_nothing() {
    let world = World::new();
    let job = small().frame();
    world.give_out(&job).await;
    let first = block(&job, 0, vec![hosts("10.0.0.0", "10.0.0.3", Reason::NoAnswer)]);
    let second = block(&job, 0, vec![hosts("10.0.0.0", "10.0.0.3", Reason::Refused)]);
    world.deliver(first.frame());
    world.loader.pass().await.unwrap();
    world.deliver(second.frame());
    assert_eq!(world.loader.pass().await.unwrap(), Loaded { counted: 0, repeated: 1, bad: 0 });
    let hash = portolan_scanner::wire::hex::encode(&second.frame().hash());
    let other = format!("0-0.{}.frame.zst", &hash[..16]);
    assert_eq!(
        world.evidence(&job),
        ["0-0.frame.zst".to_owned(), other, "job.frame.zst".to_owned()]
            .into_iter()
            .collect::<std::collections::BTreeSet<_>>()
            .into_iter()
            .collect::<Vec<_>>()
    );
    assert_eq!(world.rows(LOADED).await, ["0-0 1 52 0"]);
}

#[tokio::test]
async fn a_lost_jobs_database_does_not_stop_what_has_begun() {
    let mut world = World::new();
    let job = small().frame();
    world.give_out(&job).await;
    let delivery = delivery(&job);
    world.deliver(delivery[0].frame());
    world.loader.pass().await.unwrap();
    world.loader.jobs = Jobs::in_memory().unwrap();
    world.deliver(delivery[1].frame());
    assert_eq!(world.loader.pass().await.unwrap().counted, 1, "the job is in the evidence");
}
