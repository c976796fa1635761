//! An answer for a person: a list as a table, a thing as its fields. Scripts take `--json`.

use std::fmt::Write as _;

use serde_json::{Map, Value};

/// The most columns of a table.
const COLUMNS: usize = 7;
/// What an empty list looks like.
const NOTHING: &str = "nothing\n";
/// The widest cell.
const WIDTH: usize = 48;

/// A list as a table of these columns; a column of several has them in one cell.
#[must_use]
pub fn columns(items: &[Value], columns: &[&str]) -> String {
    let columns: Vec<String> = columns.iter().map(|name| (*name).to_owned()).collect();
    if items.is_empty() { NOTHING.to_owned() } else { rows(items, &columns) }
}

/// The answer as text, with an end of line.
#[must_use]
pub fn show(answer: &Value) -> String {
    match answer["items"].as_array() {
        Some(items) => table(items, answer["total"].as_u64()),
        None => match answer {
            Value::Object(fields) => lines(fields),
            other => plain(other) + "\n",
        },
    }
}

fn table(items: &[Value], total: Option<u64>) -> String {
    let Some(first) = items.first().and_then(Value::as_object) else { return NOTHING.to_owned() };
    let simple = |value: &Value| !value.is_object() && !value.is_array();
    let columns: Vec<String> =
        first.iter().filter(|(_, value)| simple(value)).map(|(name, _)| name.clone()).take(COLUMNS).collect();
    let mut text = rows(items, &columns);
    if let Some(total) = total.filter(|total| *total > items.len() as u64) {
        let _ = writeln!(text, "{} of {total}; --all shows every one", items.len());
    }
    text
}

fn rows(items: &[Value], columns: &[String]) -> String {
    let mut rows = vec![columns.iter().map(|name| name.to_uppercase()).collect::<Vec<_>>()];
    rows.extend(
        items.iter().map(|item| columns.iter().map(|name| cut(&plain(&item[name.as_str()]))).collect()),
    );
    let wide = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns.len()).map(wide).collect();
    let mut text = String::new();
    for row in &rows {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}

fn lines(fields: &Map<String, Value>) -> String {
    let wide = fields.keys().map(|name| name.chars().count()).max().unwrap_or(0);
    fields.iter().fold(String::new(), |mut text, (name, value)| {
        let _ = writeln!(text, "{name:wide$}  {}", plain(value));
        text
    })
}

/// A value in one line that no terminal takes for a command.
fn plain(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(plain).collect::<Vec<_>>().join(", "),
        // A link to another thing says its name.
        Value::Object(fields) if fields.get("name").is_some_and(Value::is_string) => plain(&fields["name"]),
        other => other.to_string(),
    };
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

fn cut(text: &str) -> String {
    if text.chars().count() <= WIDTH {
        return text.to_owned();
    }
    text.chars().take(WIDTH - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_list_is_a_table_and_says_what_it_left_out() {
        let list =
            json!({ "items": [{ "id": 1, "name": "a\u{1b}[2J" }, { "id": 22, "name": "b" }], "total": 9 });
        assert_eq!(show(&list), "ID  NAME\n1   a [2J\n22  b\n2 of 9; --all shows every one\n");
        assert_eq!(show(&json!({ "items": [] })), "nothing\n");
    }

    #[test]
    fn a_table_has_the_columns_that_are_asked_for() {
        let items = [json!({ "name": "a", "roles": [{ "id": 1, "name": "x" }, { "id": 2, "name": "y" }] })];
        assert_eq!(columns(&items, &["roles", "name", "gone"]), "ROLES  NAME  GONE\nx, y   a\n");
        assert_eq!(columns(&[], &["name"]), "nothing\n");
    }

    #[test]
    fn a_thing_is_its_fields() {
        assert_eq!(show(&json!({ "id": 1, "name": null })), "id    1\nname  \n");
    }
}
