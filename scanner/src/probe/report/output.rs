//! What a scan by hand writes, in the format that was asked for.

use portolan_scanner::net::Ports;
use portolan_scanner::wire::{HostRecord, Job};

use super::{Closing, closing_json, closing_text, csv, host_json, host_text, nmap};

/// How results are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// Lines for people.
    #[default]
    Text,
    /// JSON, one object a line.
    Jsonl,
    /// Comma-separated values with a header.
    Csv,
    /// As nmap writes it.
    NmapXml,
}

impl Format {
    /// The format of this name.
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "text" => Self::Text,
            "jsonl" => Self::Jsonl,
            "csv" => Self::Csv,
            "nmap-xml" => Self::NmapXml,
            _ => return None,
        })
    }
}

/// A report being written.
#[derive(Debug)]
pub struct Output {
    format: Format,
    /// Hosts that a format listed which lists only some.
    up: u128,
}

impl Output {
    /// A report in this format.
    pub fn new(format: Format) -> Self {
        Self { format, up: 0 }
    }

    /// What comes before the first host; `command` is the command line, `now` µs UTC.
    pub fn begin(&self, job: &Job, command: &str, now: i64) -> String {
        let mut text = String::new();
        match self.format {
            Format::Text | Format::Jsonl => {}
            Format::Csv => text.push_str(csv::HEADER),
            Format::NmapXml => nmap::begin(job, command, now, &mut text),
        }
        text
    }

    /// Adds a host or a range of hosts.
    pub fn host(&mut self, host: &HostRecord, ports: &Ports, text: &mut String) {
        match self.format {
            Format::Text => host_text(host, ports, text),
            Format::Jsonl => host_json(host, ports, text),
            Format::Csv => csv::host(host, ports, text),
            Format::NmapXml => self.up += nmap::host(host, ports, text),
        }
    }

    /// What comes behind the last host, and what is said of the whole where the format has no place for that.
    pub fn end(&self, closing: &Closing<'_>, now: i64) -> (String, String) {
        let (mut text, mut aside) = (String::new(), String::new());
        match self.format {
            Format::Text => closing_text(closing, &mut text),
            Format::Jsonl => closing_json(closing, &mut text),
            Format::Csv => closing_text(closing, &mut aside),
            Format::NmapXml => {
                nmap::end(closing, self.up, now, &mut text);
                closing_text(closing, &mut aside);
            }
        }
        (text, aside)
    }
}
