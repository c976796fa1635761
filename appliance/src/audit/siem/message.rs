//! What a receiver is sent for an audit entry: JSON with the entry as it was hashed, or `ArcSight`'s CEF; for syslog in a
//! header of RFC 5424.

use std::fmt::Write as _;
use std::net::IpAddr;

use serde_json::Value;

use crate::audit::chain::Link;
use crate::audit::{Outcome, Record};
use crate::error::Result;

/// Facility 13 of RFC 5424: log audit.
const FACILITY: u8 = 13;
/// What the header calls this program.
const PROGRAM: &str = "portolan";

/// An entry on its way.
#[derive(Clone, Debug)]
pub struct Message {
    /// Place in the chain; 0 for a test, which is in no chain.
    pub seq: u64,
    /// What the entry says.
    pub record: Record,
    /// Canonical JSON, as it was hashed.
    pub entry: String,
    /// Hash of the link, hex; empty for a test.
    pub hash: String,
}

impl Message {
    /// The message of an entry of the chain.
    ///
    /// # Errors
    /// When its text is not that of an entry.
    pub fn of(link: Link) -> Result<Self> {
        let record = serde_json::from_str(&link.entry)?;
        let hash = portolan_scanner::wire::hex::encode(&link.hash);
        Ok(Self { seq: link.seq, record, entry: link.entry, hash })
    }

    /// `{"seq": …, "hash": …, "entry": …}` in one line. The entry is byte for byte what its hash covers.
    #[must_use]
    pub fn json(&self) -> String {
        format!(r#"{{"seq":{},"hash":"{}","entry":{}}}"#, self.seq, self.hash, self.entry)
    }

    /// CEF, version 0 of the format: a header of seven fields and an extension of `key=value`. The keys are those of
    /// `ArcSight`'s dictionary; what it has no word for goes in the custom strings, each with its label.
    #[must_use]
    pub fn cef(&self) -> String {
        let Record { at, class, actor, action, resource, resource_id, outcome, .. } = &self.record;
        let mut text = format!(
            "CEF:0|Portolan|Portolan|{}|{}|{}|{}|rt={} cat={} outcome={}",
            env!("CARGO_PKG_VERSION"),
            header(action),
            header(action),
            match outcome {
                Outcome::Done => 3,
                Outcome::Refused => 6,
                Outcome::Failed => 7,
            },
            at.micros() / 1_000,
            class.as_str(),
            outcome.as_str(),
        );
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                let _ = write!(text, " {key}={}", extension(value));
            }
        };
        put("act", action);
        put("suser", &actor.name);
        put("suid", &actor.id);
        match actor.source {
            Some(IpAddr::V4(source)) => put("src", &source.to_string()),
            // `src` is for IPv4 alone.
            Some(IpAddr::V6(source)) => {
                put("c6a2Label", "Source IPv6 Address");
                put("c6a2", &source.to_string());
            }
            None => {}
        }
        put("requestClientApplication", &actor.agent);
        // The route of a look or of what was refused: `GET /scanners`.
        let route = self.record.detail["route"].as_str().and_then(|route| route.split_once(' '));
        if let Some((method, path)) = route {
            put("requestMethod", method);
            put("request", path);
        }
        let labelled = [
            ("resource", resource.as_str()),
            ("resourceId", resource_id),
            ("hash", &self.hash),
            ("actorKind", actor.kind.as_str()),
            ("authenticatedBy", &actor.method),
        ];
        for ((label, value), number) in
            labelled.into_iter().zip(1..).filter(|((_, value), _)| !value.is_empty())
        {
            put(&format!("cs{number}Label"), label);
            put(&format!("cs{number}"), value);
        }
        put("cn1Label", "seq");
        put("cn1", &self.seq.to_string());
        let more = serde_json::json!({ "changes": self.record.changes, "detail": self.record.detail });
        if !(self.record.changes.is_empty() && self.record.detail == Value::Null) {
            put("msg", &more.to_string());
        }
        text
    }

    /// A syslog message (RFC 5424): header, no structured data, and this body. The body is UTF-8 without control
    /// characters, so the byte order mark is left out, as section 6.4 allows for what is not MSG-UTF8.
    #[must_use]
    pub fn syslog(&self, host: &str, body: &str) -> String {
        let severity = match self.record.outcome {
            Outcome::Done => 6,
            Outcome::Refused => 4,
            Outcome::Failed => 3,
        };
        // MSGID: up to 32 printable characters.
        let name: String = self.record.action.chars().filter(char::is_ascii_graphic).take(32).collect();
        let name = if name.is_empty() { "-" } else { &name };
        format!("<{}>1 {} {host} {PROGRAM} - {name} - {body}", FACILITY * 8 + severity, self.record.at)
    }
}

fn header(text: &str) -> String {
    one_line(text).replace('\\', "\\\\").replace('|', "\\|")
}

fn extension(text: &str) -> String {
    text.replace('\\', "\\\\")
        .replace('=', "\\=")
        .replace('\n', "\\n")
        .replace('\r', "\\r")
        .chars()
        .map(|letter| if letter.is_control() { ' ' } else { letter })
        .collect()
}

fn one_line(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::audit::chain::{Head, canonical};
    use crate::audit::{Actor, Entry};
    use crate::clock::Timestamp;

    fn message(entry: Entry, name: &str) -> Message {
        let actor = Actor::nobody(name).seen_from("10.0.0.7".parse().unwrap());
        let record = entry.record(&actor, Timestamp::parse("2026-11-22T12:00:00.5Z").unwrap());
        let text = canonical(serde_json::to_value(&record).unwrap()).unwrap();
        Message::of(Head::EMPTY.link(text)).unwrap()
    }

    #[test]
    fn json_holds_the_entry_as_it_was_hashed() {
        let message = message(Entry::event("sign-in", &json!({ "x": 1 })), "ada");
        let told: Value = serde_json::from_str(&message.json()).unwrap();
        assert_eq!((told["seq"].as_u64(), told["hash"].as_str()), (Some(1), Some(message.hash.as_str())));
        assert!(message.json().contains(&message.entry));
    }

    #[test]
    fn nothing_that_a_name_holds_breaks_out_of_its_field() {
        let message =
            message(Entry::event("a|b\\c", &json!({ "note": "x=1\ny" })), "eve\nCEF:0|x| outcome=done");
        let cef = message.cef();
        assert!(
            cef.starts_with("CEF:0|Portolan|Portolan|0.1.0|a\\|b\\\\c|a\\|b\\\\c|3|rt=1795348800500 "),
            "{cef}"
        );
        assert!(!cef.contains('\n') && cef.contains("suser=eve\\nCEF:0|x| outcome\\=done"), "{cef}");
    }

    #[test]
    fn cef_tells_a_sign_in_from_a_look_and_who_came_with_what() {
        let actor = Actor::user(uuid::Uuid::nil(), "ada")
            .by("session")
            .with_agent("curl/8=x")
            .seen_from("10.0.0.7".parse().unwrap());
        let told = |entry: Entry| {
            let record = entry.record(&actor, Timestamp::EPOCH);
            let text = canonical(serde_json::to_value(&record).unwrap()).unwrap();
            Message::of(Head::EMPTY.link(text)).unwrap().cef()
        };
        let sign_in = told(Entry::sign_in("sign-in.done", &()).on("user", "1"));
        let look = told(Entry::access("scanner.viewed", &json!({ "route": "GET /scanners/{id}" })));
        for (text, parts) in [
            (&sign_in, ["|sign-in.done|", " cat=sign-in ", " cs4Label=actorKind cs4=user "]),
            (&look, [" cat=access ", " requestMethod=GET request=/scanners/{id} ", " act=scanner.viewed "]),
        ] {
            for part in parts.into_iter().chain([
                " suser=ada ",
                " src=10.0.0.7 requestClientApplication=curl/8\\=x ",
                " cs5Label=authenticatedBy cs5=session ",
                " outcome=done ",
            ]) {
                assert!(text.contains(part), "{part}: {text}");
            }
        }
        assert!(!sign_in.contains("requestMethod"), "{sign_in}");
    }

    #[test]
    fn a_syslog_header_is_that_of_rfc_5424() {
        let refused = Entry::event("sign-in", &()).outcome(Outcome::Refused);
        let text = message(refused, "ada").syslog("chart", "{}");
        assert_eq!(text, "<108>1 2026-11-22T12:00:00.500000Z chart portolan - sign-in - {}");
    }
}
