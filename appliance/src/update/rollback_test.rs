use super::*;
use crate::clock::{Clock, Timestamp};
use crate::sqlite::Opening;
use crate::update::fixture::version;
use refinery::{Migration, Runner};
use rusqlite::Transaction;
use tempfile::TempDir;

/// The migrations of this program and one that only a later one has, which takes something away as well.
fn later() -> Runner {
    let mut all = crate::store::migrations().get_migrations().clone();
    let sql = "CREATE TABLE later (x); ALTER TABLE setting ADD COLUMN later TEXT;";
    all.push(Migration::unapplied("V900__later", sql).unwrap());
    Runner::new(&all)
}

struct Site {
    folder: TempDir,
    layout: Layout,
}

impl Site {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path().join("data"));
        layout.create().unwrap();
        std::fs::create_dir(folder.path().join("run")).unwrap();
        Self { folder, layout }
    }

    fn run(&self) -> std::path::PathBuf {
        self.folder.path().join("run")
    }

    /// The manager of this version starts in this boot, up to where it opens config.db.
    fn start(&self, running: &str, boot: &str) -> Result<Option<Undone>> {
        let (run, running) = (self.run(), version(running));
        let known = if running < version("0.2.0") { crate::store::known_schema() } else { 900 };
        let start = Start {
            layout: &self.layout,
            run: &run,
            running: &running,
            boot,
            config_schema: known,
            jobs_schema: crate::jobs::known_schema(),
        };
        start.settle(|| Uuid::from_u128(7))
    }

    fn open(&self, running: &str) -> Store {
        let runner = if version(running) < version("0.2.0") { crate::store::migrations() } else { later() };
        Store::open_with(&self.layout.config_db(), Opening::Owner, Clock::fixed(Timestamp::EPOCH), &runner)
            .unwrap()
    }
}

async fn set(store: &Store, name: &'static str) {
    let set = move |tx: &Transaction| {
        tx.execute("INSERT INTO setting (name, value) VALUES (?, '1')", [name])?;
        Ok((Entry::created("setting", name, &json!({ "value": 1 })), ()))
    };
    store.change(&Actor::system("test"), set).await.unwrap();
}

async fn names(store: &Store) -> Vec<String> {
    let none: [u8; 0] = [];
    let sql = "SELECT name FROM setting ORDER BY name";
    store.read(move |db| crate::listing::rows(db, sql, none, |row| row.get(0))).await.unwrap()
}

async fn actions(store: &Store) -> Vec<String> {
    let none: [u8; 0] = [];
    let sql = "SELECT action FROM audit_entry ORDER BY seq";
    store.read(move |db| crate::listing::rows(db, sql, none, |row| row.get(0))).await.unwrap()
}

fn pending(boot: &str) -> Pending {
    Pending {
        id: Uuid::from_u128(5),
        version: version("0.2.0"),
        from: Some(version("0.1.0")),
        boot: boot.to_owned(),
        restored: None,
    }
}

#[tokio::test]
async fn a_rollback_puts_the_configuration_back_and_the_audit_stays_one_chain() {
    let site = Site::new();
    assert_eq!(site.start("0.1.0", "one").unwrap(), None);
    let store = site.open("0.1.0");
    set(&store, "before").await;
    pending("one").write(&site.layout).unwrap();
    assert_eq!(site.start("0.1.0", "one").unwrap(), None, "it is not tried before the next boot");
    drop(store);
    // The trial: the schema rises, the audit and a head are written, the configuration is as well.
    trial::begin(&site.run(), &version("0.2.0")).unwrap();
    assert_eq!(site.start("0.2.0", "two").unwrap(), None);
    let store = site.open("0.2.0");
    set(&store, "in the trial").await;
    let head = store.audit_head().await.unwrap();
    let checkpoint = "INSERT INTO audit_checkpoint (seq, at, why, text) VALUES (2, 0, 'x', 'y')";
    store.note(move |tx| Ok(tx.execute(checkpoint, [])?)).await.unwrap();
    drop(store);
    trial::end(&site.run()).unwrap();
    // The old one again. Killed after the copy was put back, and again after the entry: it ends the same.
    let undone = site.start("0.1.0", "three").unwrap().unwrap();
    assert_eq!(undone.restored, Some(1));
    let again = site.start("0.1.0", "three").unwrap().unwrap();
    assert_eq!(again.restored, Some(1), "it is put back already, and that is what is told");
    let store = site.open("0.1.0");
    assert_eq!(names(&store).await, ["before"]);
    for _ in 0..2 {
        tell(&store, &site.layout, &version("0.1.0"), undone.clone()).await.unwrap();
        pending("one").write(&site.layout).unwrap();
    }
    Pending::forget(&site.layout).unwrap();
    assert_eq!(actions(&store).await, ["setting.created", "setting.created", "system.rolled-back"]);
    let whole = store.read(move |db| audit::store::verify(db, [head])).await.unwrap().unwrap();
    assert_eq!(whole.count, 3);
    let heads = "SELECT count(*) FROM audit_checkpoint WHERE seq = 2";
    let heads: i64 = store.read(move |db| Ok(db.query_row(heads, [], |row| row.get(0))?)).await.unwrap();
    assert_eq!(heads, 1);
    let schema = store.read(crate::store::schema).await.unwrap();
    assert_eq!(schema.wrong, [""; 0]);
    drop(store);
    assert_eq!(site.start("0.1.0", "four").unwrap(), None);
}

#[test]
fn what_signs_in_is_not_as_it_was_before_the_trial() {
    let site = Site::new();
    drop(site.open("0.1.0"));
    let write = |sql: &str| {
        let db = Connection::open(site.layout.config_db()).unwrap();
        db.pragma_update(None, "foreign_keys", false).unwrap();
        db.execute_batch(sql).unwrap();
    };
    write(
        "INSERT INTO recovery_code (user, hash) VALUES ('u', x'01'), ('u', x'02');
         INSERT INTO totp (user, sealed, last_step) VALUES ('u', x'00', 5);
         INSERT INTO session (id_hash, user, created_at, last_seen, expires_at, source, agent)
           VALUES (x'aa', 'u', 0, 0, 9, '', '');",
    );
    pending("one").write(&site.layout).unwrap();
    trial::begin(&site.run(), &version("0.2.0")).unwrap();
    site.start("0.2.0", "two").unwrap();
    drop(site.open("0.2.0"));
    // All sessions are ended; one code and one step are used.
    write(
        "DELETE FROM session; UPDATE recovery_code SET used_at = 7 WHERE hash = x'02';
         UPDATE totp SET last_step = 6, burnt = '[8]';",
    );
    trial::end(&site.run()).unwrap();
    site.start("0.1.0", "three").unwrap().unwrap();
    let db = Connection::open(site.layout.config_db()).unwrap();
    let one = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!(one("SELECT count(*) FROM session"), 0, "it was ended, and does not come back");
    assert_eq!(one("SELECT used_at FROM recovery_code WHERE hash = x'02'"), 7);
    assert_eq!(one("SELECT count(*) FROM recovery_code WHERE used_at IS NULL"), 1);
    assert_eq!(one("SELECT last_step FROM totp WHERE burnt = '[8]'"), 6);
}

#[test]
fn boots_that_nothing_tells_apart_are_two() {
    let site = Site::new();
    drop(site.open("0.1.0"));
    pending("").write(&site.layout).unwrap();
    assert!(site.start("0.1.0", "").unwrap().is_some());
}

#[tokio::test]
async fn a_trial_that_ends_well_leaves_nothing_to_undo() {
    let site = Site::new();
    drop(site.open("0.1.0"));
    pending("one").write(&site.layout).unwrap();
    trial::begin(&site.run(), &version("0.2.0")).unwrap();
    site.start("0.2.0", "two").unwrap();
    drop(site.open("0.2.0"));
    trial::end(&site.run()).unwrap();
    assert_eq!(site.start("0.2.0", "two").unwrap(), None);
    assert_eq!(Pending::read(&site.layout).unwrap(), None);
}

#[tokio::test]
async fn a_version_that_never_booted_is_told_of_and_nothing_is_put_back() {
    let site = Site::new();
    let store = site.open("0.1.0");
    set(&store, "before").await;
    pending("one").write(&site.layout).unwrap();
    let undone = site.start("0.1.0", "two").unwrap().unwrap();
    assert_eq!(undone.restored, None);
    tell(&store, &site.layout, &version("0.1.0"), undone).await.unwrap();
    assert_eq!(actions(&store).await, ["setting.created", "system.rolled-back"]);
    assert_eq!(Pending::read(&site.layout).unwrap(), None);
}

#[tokio::test]
async fn a_trial_that_nobody_noted_notes_itself() {
    let site = Site::new();
    drop(site.open("0.1.0"));
    trial::begin(&site.run(), &version("0.2.0")).unwrap();
    site.start("0.2.0", "two").unwrap();
    drop(site.open("0.2.0"));
    trial::end(&site.run()).unwrap();
    let undone = site.start("0.1.0", "three").unwrap().unwrap();
    assert_eq!((undone.pending.id, undone.restored), (Uuid::from_u128(7), Some(0)));
}

#[tokio::test]
async fn a_copy_from_another_audit_is_not_put_back() {
    let site = Site::new();
    let store = site.open("0.1.0");
    set(&store, "before").await;
    drop(store);
    pending("one").write(&site.layout).unwrap();
    trial::begin(&site.run(), &version("0.2.0")).unwrap();
    site.start("0.2.0", "two").unwrap();
    let copy = site.layout.manager().join("before-0.2.0/config.db");
    let other = Site::new();
    let store = other.open("0.1.0");
    set(&store, "another").await;
    drop(store);
    std::fs::copy(other.layout.config_db(), copy).unwrap();
    drop(site.open("0.2.0"));
    trial::end(&site.run()).unwrap();
    assert!(site.start("0.1.0", "three").is_err());
}
