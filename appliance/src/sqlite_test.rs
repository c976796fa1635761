//! How a file is opened, by whom, and what is refused.

use refinery::Migration;

use super::*;

fn migrations(up_to: i32) -> Runner {
    let all: Vec<_> = (1..=up_to)
        .map(|v| Migration::unapplied(&format!("V{v}__t"), &format!("CREATE TABLE t{v} (x) ")).unwrap())
        .collect();
    Runner::new(&all)
}

fn sentence(result: Result<Database>) -> String {
    match result {
        Err(Error::Unavailable(sentence)) => sentence,
        other => panic!("not Unavailable: {other:?}"),
    }
}

#[test]
fn a_newer_file_is_refused_and_both_versions_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    Database::open(&path, Kind::Lasting, Opening::Owner, &migrations(3)).unwrap();
    let said = sentence(Database::open(&path, Kind::Lasting, Opening::Owner, &migrations(2)));
    assert!(said.contains("schema 3") && said.contains("up to 2"), "{said}");
}

#[test]
fn a_guest_neither_makes_nor_migrates() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    sentence(Database::open(&path, Kind::Lasting, Opening::Guest, &migrations(1)));
    assert!(!path.exists());
    Database::open(&path, Kind::Lasting, Opening::Owner, &migrations(1)).unwrap();
    let said = sentence(Database::open(&path, Kind::Lasting, Opening::Guest, &migrations(2)));
    assert!(said.contains("schema 1") && said.contains("needs 2"), "{said}");
    Database::open(&path, Kind::Lasting, Opening::Guest, &migrations(1)).unwrap();
}

#[tokio::test]
async fn the_group_may_write_the_file_and_its_side_files() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    let database = Database::open(&path, Kind::Lasting, Opening::Owner, &migrations(1)).unwrap();
    database.with_writer(|c| Ok(c.execute_batch("INSERT INTO t1 VALUES (1)")?)).await.unwrap();
    for name in ["a.db", "a.db-wal", "a.db-shm"] {
        let mode = std::fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o660, "{name}");
    }
}

#[test]
fn a_schema_that_someone_shaped_is_found() {
    let mut db = Connection::open_in_memory().unwrap();
    prepare(&db).unwrap();
    bring_up_to(&mut db, "it", Opening::Owner, &migrations(2)).unwrap();
    let schema = |db: &Connection, up_to| Schema::of(db, &migrations(up_to)).unwrap();
    assert_eq!(schema(&db, 2), Schema { found: 2, known: 2, wrong: vec![] });
    assert_eq!(schema(&db, 3), Schema { found: 2, known: 3, wrong: vec![] }, "only older");
    assert_eq!(schema(&db, 1).wrong, ["schema 2 is of a newer Portolan"]);
    db.execute_batch("DROP TABLE t1; CREATE TABLE t2b (x); ALTER TABLE t2 ADD COLUMN y").unwrap();
    let wrong = schema(&db, 2).wrong;
    assert_eq!(wrong, ["table t1 is missing", "table t2 is another one", "table t2b is not of this program"]);
}

#[test]
fn an_empty_file_is_left_to_its_owner() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a.db");
    make_file(&path).unwrap();
    assert!(
        sentence(Database::open(&path, Kind::Lasting, Opening::Guest, &migrations(1)))
            .contains("not made yet")
    );
    assert_eq!(std::fs::metadata(&path).unwrap().len(), 0);
}

#[test]
fn a_file_that_is_only_read_is_not_changed_nor_made() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("50%?#.db");
    assert!(open_read_only(&path).is_err());
    assert!(!path.exists());
    drop(Database::open(&path, Kind::Lasting, Opening::Owner, &migrations(1)).unwrap());
    for connection in [open_read_only(&path).unwrap(), open_unchanging(&path).unwrap()] {
        assert_eq!(schema_version(&connection).unwrap(), 1);
        assert!(connection.execute("INSERT INTO t1 VALUES (1)", []).is_err());
    }
    std::fs::write(&path, "garbage garbage garbage").unwrap();
    assert!(open_read_only(&path).is_err());
}

#[tokio::test]
async fn a_reader_cannot_write() {
    let folder = tempfile::tempdir().unwrap();
    let on_disk =
        Database::open(&folder.path().join("a.db"), Kind::Lasting, Opening::Owner, &migrations(1)).unwrap();
    for database in [on_disk, Database::in_memory(&migrations(1)).unwrap()] {
        let refused = database.read(|c| Ok(c.execute("INSERT INTO t1 VALUES (1)", [])?)).await;
        assert!(refused.is_err());
        database.with_writer(|c| Ok(c.execute("INSERT INTO t1 VALUES (1)", [])?)).await.unwrap();
        let count =
            database.read(|c| Ok(c.query_row("SELECT count(*) FROM t1", [], |r| r.get::<_, i64>(0))?));
        assert_eq!(count.await.unwrap(), 1);
    }
}

#[tokio::test]
async fn a_panic_in_a_write_leaves_nothing_and_the_next_write_works() {
    let database = Database::in_memory(&migrations(1)).unwrap();
    let broken = database
        .with_writer::<()>(|c| {
            let tx = c.transaction()?;
            tx.execute("INSERT INTO t1 VALUES (1)", [])?;
            panic!("on purpose")
        })
        .await;
    assert!(matches!(broken, Err(Error::Internal(_))));
    let count =
        database.with_writer(|c| Ok(c.query_row("SELECT count(*) FROM t1", [], |r| r.get::<_, i64>(0))?));
    assert_eq!(count.await.unwrap(), 0);
}

#[test]
fn a_link_in_the_place_of_the_file_is_not_followed_and_one_to_its_folder_is() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    drop(Database::open(&at("config.db"), Kind::Lasting, Opening::Owner, &migrations(1)).unwrap());
    std::os::unix::fs::symlink(at("config.db"), at("jobs.db")).unwrap();
    for (kind, opening) in [(Kind::Transient, Opening::Owner), (Kind::Transient, Opening::Guest)] {
        Database::open(&at("jobs.db"), kind, opening, &migrations(1)).unwrap_err();
    }
    open_read_only(&at("jobs.db")).unwrap_err();
    std::os::unix::fs::symlink(folder.path(), at("moved")).unwrap();
    Database::open(&at("moved/config.db"), Kind::Lasting, Opening::Guest, &migrations(1)).unwrap();
    open_read_only(&at("moved/config.db")).unwrap();
}
