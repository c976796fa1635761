//! What a receiver is sent for an audit entry: JSON with the entry as it was hashed, or `ArcSight`'s CEF; for syslog in a
//! header of RFC 5424.

use std::fmt::Write as _;

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

    /// CEF, version 0 of the format: a header of seven fields and an extension of `key=value`.
    #[must_use]
    pub fn cef(&self) -> String {
        let Record { at, actor, action, resource, resource_id, outcome, .. } = &self.record;
        let mut text = format!(
            "CEF:0|Portolan|Portolan|{}|{}|{}|{}|rt={} outcome={}",
            env!("CARGO_PKG_VERSION"),
            header(action),
            header(action),
            match outcome {
                Outcome::Done => 3,
                Outcome::Refused => 6,
                Outcome::Failed => 7,
            },
            at.micros() / 1_000,
            outcome.as_str(),
        );
        let mut put = |key: &str, value: &str| {
            if !value.is_empty() {
                let _ = write!(text, " {key}={}", extension(value));
            }
        };
        put("suser", &actor.name);
        put("suid", &actor.id);
        put("src", &actor.source.map(|source| source.to_string()).unwrap_or_default());
        put("cs1Label", "resource");
        put("cs1", resource);
        put("cs2Label", "resourceId");
        put("cs2", resource_id);
        put("cs3Label", "hash");
        put("cs3", &self.hash);
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
    fn a_syslog_header_is_that_of_rfc_5424() {
        let refused = Entry::event("sign-in", &()).outcome(Outcome::Refused);
        let text = message(refused, "ada").syslog("chart", "{}");
        assert_eq!(text, "<108>1 2026-11-22T12:00:00.500000Z chart portolan - sign-in - {}");
    }
}
