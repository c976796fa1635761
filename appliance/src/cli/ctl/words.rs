//! What was typed, made into a request's path and input.

use std::fs;
use std::io::{self, Read as _};

use serde_json::{Map, Value, json};

use super::commands::{Command, Field, Kind};
use crate::cli::password;

/// A request that was typed.
#[derive(Debug, PartialEq)]
pub struct Typed {
    /// The path below `/api/v1`, its places filled.
    pub path: String,
    /// The options that were given.
    pub input: Map<String, Value>,
    /// `--all`: every page of a list.
    pub all: bool,
}

/// Reads the words behind noun and verb.
///
/// # Errors
/// A sentence that names the word.
pub fn read(command: &Command, words: &[String]) -> Result<Typed, String> {
    let (mut places, mut input, mut all) = (Vec::new(), Map::new(), false);
    let mut words = words.iter();
    while let Some(word) = words.next() {
        let Some(option) = word.strip_prefix("--") else {
            places.push(encoded(word));
            continue;
        };
        let (name, mut value) = match option.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (option, None),
        };
        if name == "all" && value.is_none() && command.pages() {
            all = true;
            continue;
        }
        let wanted = format!("--{name}");
        let field = command.fields.iter().find(|field| field.option() == wanted);
        let field = field.ok_or_else(|| unknown(command, &wanted))?;
        if value.is_none() && field.kind != Kind::Boolean {
            value = Some(words.next().ok_or_else(|| format!("{wanted}: a value belongs behind it"))?.clone());
        }
        take(&mut input, field, value.as_deref().unwrap_or("true"))?;
    }
    if places.len() != command.places.len() {
        let wanted: Vec<String> = command.places.iter().map(|place| place.to_ascii_uppercase()).collect();
        let wanted = if wanted.is_empty() { "nothing".to_owned() } else { wanted.join(" ") };
        return Err(format!("{} {} takes {wanted} beside its options", command.noun, command.verb));
    }
    let missing: Vec<&Field> =
        command.fields.iter().filter(|field| field.required && !input.contains_key(&field.name)).collect();
    for field in missing {
        if field.kind != Kind::Secret {
            return Err(format!("{} is needed: {}", field.option(), field.about));
        }
        let typed = password::ask(&field.name.replace('_', " ")).map_err(|error| error.to_string())?;
        input.insert(field.name.clone(), json!(typed.as_str()));
    }
    let mut path = command.path.clone();
    for (place, value) in command.places.iter().zip(places) {
        path = path.replace(&format!("{{{place}}}"), &value);
    }
    Ok(Typed { path, input, all })
}

fn take(input: &mut Map<String, Value>, field: &Field, text: &str) -> Result<(), String> {
    let wrong = |what: &str| format!("{}: {text:?} is not {what}", field.option());
    let value = match field.kind {
        Kind::Text => json!(text),
        Kind::Integer => json!(text.parse::<i64>().map_err(|_| wrong("a whole number"))?),
        Kind::Boolean => json!(text.parse::<bool>().map_err(|_| wrong("true or false"))?),
        Kind::Json => serde_json::from_str(text).map_err(|_| wrong("JSON"))?,
        Kind::Secret => json!(secret(text).map_err(|error| format!("{}: {text}: {error}", field.option()))?),
        Kind::List => {
            let list = input.entry(&field.name).or_insert_with(|| json!([]));
            if let Some(list) = list.as_array_mut() {
                list.push(json!(text));
            }
            return Ok(());
        }
    };
    if input.insert(field.name.clone(), value).is_some() {
        return Err(format!("{} was given twice", field.option()));
    }
    Ok(())
}

/// The first line of a file, or of standard input for `-`.
fn secret(path: &str) -> io::Result<String> {
    let mut text = String::new();
    if path == "-" {
        io::stdin().take(64 * 1024).read_to_string(&mut text)?;
    } else {
        fs::File::open(path)?.take(64 * 1024).read_to_string(&mut text)?;
    }
    Ok(text.lines().next().unwrap_or_default().to_owned())
}

fn unknown(command: &Command, option: &str) -> String {
    let known: Vec<String> = command.fields.iter().map(Field::option).collect();
    if known.is_empty() {
        return format!("{option}: {} {} takes no options", command.noun, command.verb);
    }
    format!("{option} is no option of {} {}; there are {}", command.noun, command.verb, known.join(", "))
}

/// A word as one part of a path: what is not unreserved (RFC 3986) is percent-encoded.
fn encoded(word: &str) -> String {
    word.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        let field =
            |name: &str, kind, required| Field { name: name.into(), kind, required, about: "x".into() };
        Command {
            noun: "things".into(),
            verb: "list".into(),
            method: "GET".into(),
            path: "/things/{id}".into(),
            summary: String::new(),
            places: vec!["id".into()],
            fields: vec![
                field("host_rate", Kind::Integer, true),
                field("on", Kind::Boolean, false),
                field("names", Kind::List, false),
                field("cursor", Kind::Text, false),
            ],
        }
    }

    fn typed(words: &str) -> Result<Typed, String> {
        let words: Vec<String> = words.split(' ').map(str::to_owned).collect();
        read(&command(), &words)
    }

    #[test]
    fn words_become_a_path_and_an_input() {
        let read = typed("a/b --host-rate=5 --on --names x --names y --all").unwrap();
        assert_eq!(read.path, "/things/a%2Fb");
        assert_eq!(Value::Object(read.input), json!({ "host_rate": 5, "on": true, "names": ["x", "y"] }));
        assert!(read.all);
    }

    #[test]
    fn what_is_wrong_is_said_by_its_name() {
        for (words, said) in [
            ("a", "--host-rate is needed"),
            ("a --host-rate many", "\"many\" is not a whole number"),
            ("a --host-rate 1 --host-rate 2", "--host-rate was given twice"),
            (
                "a --rate 1",
                "--rate is no option of things list; there are --host-rate, --on, --names, --cursor",
            ),
            ("--host-rate 1", "takes ID"),
            ("a --host-rate", "a value belongs behind it"),
        ] {
            let error = typed(words).unwrap_err();
            assert!(error.contains(said), "{words}: {error}");
        }
    }

    #[test]
    fn only_what_comes_in_pages_takes_all() {
        let mut whole = command();
        whole.fields.retain(|field| field.name != "cursor");
        let words = ["a", "--host-rate", "1", "--all"].map(str::to_owned);
        assert!(read(&command(), &words).unwrap().all);
        assert!(read(&whole, &words).unwrap_err().contains("--all is no option"));
    }
}
