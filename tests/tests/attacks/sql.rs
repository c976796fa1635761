//! What reads like SQL, or like the language of a search, in every filter of every list and in every path.

use std::collections::BTreeMap;

use portolan_tests::client::encode;
use serde_json::Value;

use crate::world::{Crowd, World};

const PHRASES: [&str; 10] = [
    "' OR '1'='1",
    "x') OR 1=1 --",
    "\"; DROP TABLE subnet; --",
    "1; ATTACH DATABASE '/tmp/x' AS x",
    "' UNION SELECT password_hash FROM user --",
    "%' ESCAPE '%",
    "NEAR(\"x* AND (^name:",
    "a\0b",
    "\\",
    "read_csv('/etc/passwd')",
];

/// How many things each list has.
fn counts(world: &World) -> BTreeMap<String, Value> {
    let lists = world.reading().filter(|row| row.api && !row.path.contains('{') && row.path != "/audit");
    let counted = lists.filter_map(|row| {
        let answer = world.owner.get(&row.path);
        let total = (answer.status == 200 && answer.text().starts_with('{'))
            .then(|| answer.json()["total"].clone())?;
        (!total.is_null()).then(|| (row.path.clone(), total))
    });
    counted.collect()
}

#[test]
fn what_reads_like_sql_in_a_filter_or_a_path_finds_nothing_and_breaks_nothing() {
    let world = World::new();
    let (before, crowd) = (counts(&world), Crowd::of(&world));
    assert!(before.len() > 12, "{before:?}");
    let (mut asked, mut taken) = (0, 0);
    for row in world.reading().filter(|row| row.api) {
        let path = world.path(row);
        let parameters = world.operation(row)["parameters"].as_array().cloned().unwrap_or_default();
        for parameter in parameters.iter().filter(|parameter| parameter["in"] == "query") {
            let name = parameter["name"].as_str().expect("a parameter has a name");
            for phrase in PHRASES {
                let answer = crowd.ask(|client| client.get(&format!("{path}?{name}={}", encode(phrase))));
                asked += 1;
                assert!([200, 401, 404, 409, 422].contains(&answer.status), "{}", answer.describe());
                if answer.status != 200 || !answer.text().starts_with('{') {
                    continue;
                }
                taken += 1;
                let (found, all) = (answer.json()["total"].clone(), before.get(&row.path));
                // A name for a role that is tried out, or the page to go on to, filters nothing.
                let filters = all.is_some() && !found.is_null();
                assert!(!filters || found == 0, "{name}={phrase}: {found} of {all:?}\n{}", answer.describe());
            }
        }
        let Some(at) = row.path.rfind('{') else { continue };
        for phrase in PHRASES {
            let answer = crowd.ask(|client| client.get(&format!("{}{}", &row.path[..at], encode(phrase))));
            assert!([400, 404, 405, 422].contains(&answer.status), "{}", answer.describe());
            asked += 1;
        }
    }
    println!("{asked} asked, {taken} answered by an empty list or with what they do not filter");
    assert_eq!(counts(&world), before);
    let _ = world.owner.get("/audit?limit=1").expect(200);
}
