//! `portolan admin schema`.

use std::fs;

use portolan_tests::api::list;
use portolan_tests::{Site, binaries};
use serde_json::json;

use crate::Admin;

#[test]
fn an_older_schema_is_brought_up_to_date_and_a_lost_trigger_is_found() {
    let mut site = Site::start();
    let _ = site.set_up();
    site.stop("all");
    let admin = Admin::of(&site);
    let db = rusqlite::Connection::open(site.data().join("config/config.db")).expect("it opens");
    let last: i64 = db
        .query_row("SELECT max(version) FROM refinery_schema_history", [], |row| row.get(0))
        .expect("there is a history");
    // Take away what the last migration made.
    let sql = fs::read_dir(binaries::repository().join("migrations/config"))
        .expect("the folder is there")
        .flatten()
        .find(|file| file.file_name().to_string_lossy().starts_with(&format!("V{last}__")))
        .map(|file| fs::read_to_string(file.path()).expect("it is text"))
        .expect("the last migration is there");
    let mut made: Vec<(&str, &str)> = sql
        .lines()
        .filter_map(|line| line.strip_prefix("CREATE "))
        .filter_map(|rest| rest.split([' ', '(']).next().zip(rest.split([' ', '(']).nth(1)))
        .collect();
    made.reverse();
    for (kind, name) in made {
        db.execute_batch(&format!("DROP {kind} IF EXISTS {name}"))
            .unwrap_or_else(|error| panic!("{kind} {name}: {error}"));
    }
    db.execute("DELETE FROM refinery_schema_history WHERE version = ?", [last]).expect("it is deleted");
    drop(db);
    admin.run(&["schema", "verify"]).refused(1, &format!("older: schema {}", last - 1));
    admin.run(&["user", "list"]).refused(4, "needs");
    admin.run(&["schema", "migrate"]).refused(2, "say --yes");
    let steps = admin.run(&["--json", "schema", "migrate", "--yes"]).json();
    assert_eq!((&steps["items"][0]["to"], list(&steps, "items").len()), (&json!(last), 1));
    admin.run(&["schema", "verify"]).done();
    assert_eq!(admin.told(0), ["schema.migrated"]);

    let db = rusqlite::Connection::open(site.data().join("config/config.db")).expect("it opens");
    db.execute_batch("DROP TRIGGER audit_entry_no_delete").expect("it is dropped");
    drop(db);
    admin.run(&["schema", "verify"]).refused(1, "trigger audit_entry_no_delete is missing");
}
