//! What a spreadsheet would run, in every table that people take away.

use portolan_tests::http::Request;
use portolan_tests::site::{OWNER, PASSWORD};
use serde_json::json;

use crate::world::World;

/// Beginnings that one spreadsheet or another takes for a formula, the wide ones of East Asian keyboards among them.
const FORMULAS: [&str; 8] = ["=", "+", "-", "@", "\u{ff1d}", "\u{ff0b}", "\u{ff0d}", "\u{ff20}"];

/// The cells of a table (RFC 4180).
fn cells(table: &str) -> Vec<String> {
    let (mut cells, mut cell, mut inside) = (Vec::new(), String::new(), false);
    for letter in table.chars() {
        match letter {
            // A doubled quote ends and begins again: the quote itself does not matter here.
            '"' => inside = !inside,
            ',' | '\n' if !inside => cells.push(std::mem::take(&mut cell)),
            '\r' if !inside => {}
            letter => cell.push(letter),
        }
    }
    cells
}

#[test]
fn no_cell_of_a_table_begins_as_a_formula_does() {
    let world = World::new();
    for (at, begin) in FORMULAS.into_iter().enumerate() {
        let name = format!("{begin}cmd|' /C calc'!A{at}");
        let vantage = world.owner.vantage(&name);
        let _ = world.owner.add_scanner(&name, &vantage);
        let _ = world.owner.subnet(&name, &format!("10.1{at}.0.0/16"));
        let user = json!({ "name": format!("u{at}"), "display": name });
        let _ = world.owner.post("/users", &user).expect(201);
        // What a browser calls itself is in the audit as it came.
        let sign_in = Request::new("POST", "/api/v1/sign-in").header("User-Agent", &name);
        let body = json!({ "name": OWNER, "password": PASSWORD }).to_string();
        let _ = world.visitor().send(sign_in.body("application/json", body)).expect(200);
        let token = json!({ "name": name, "scopes": ["scans:view"] });
        let _ = world.owner.post("/tokens", &token);
    }
    let mut tables = vec![world.owner.post("/audit/export", &json!({ "format": "csv" })).expect(200)];
    for row in world.reading().filter(|row| row.path.contains(".csv")) {
        tables.push(world.owner.send(Request::new("GET", &world.path(row)).header("Accept", "text/csv")));
    }
    assert!(tables.len() > 2);
    let mut defused = 0;
    for table in tables.iter().filter(|table| table.status == 200) {
        for cell in cells(&table.text()) {
            let runs = |cell: &str| {
                FORMULAS.iter().any(|begin| cell.starts_with(begin)) || cell.starts_with(['\t', '\r', '\n'])
            };
            assert!(!runs(&cell), "{}: {cell:?}", table.asked);
            defused += usize::from(cell.strip_prefix('\'').is_some_and(runs));
        }
    }
    println!("{defused} cells begin with an apostrophe");
    assert!(defused >= FORMULAS.len(), "there was something to defuse");
}
