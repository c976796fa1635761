//! What the console shows by itself: where the pages are and how one knows them, and how the machine is.

use super::machine::Machine;
use crate::cli::admin::{Files, FilesArgs};
use crate::layout::Layout;
use crate::told::{self, Told};

/// The parts of the appliance, as systemd calls them.
pub const SERVICES: [&str; 3] = ["manager", "ingest", "dispatcher"];

/// How the machine is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// What the machine calls itself.
    pub hostname: String,
    /// Where the pages are.
    pub pages: Vec<String>,
    /// SHA-256 of their certificate, hex; none before the first start.
    pub certificate: Option<String>,
    /// Each part of the appliance, and what systemd says of it.
    pub services: Vec<(String, String)>,
    /// Whether there is no owner yet; unknown while the database does not open.
    pub needs_setup: Option<bool>,
    /// The one-time code by which the first owner is made.
    pub code: Option<String>,
    /// Whether the data are encrypted, where the image says so.
    pub data: String,
}

/// Looks at the machine.
#[must_use]
pub fn look(machine: &Machine, data: &FilesArgs) -> Status {
    let layout = Layout::new(&data.data);
    let told = Told::read(&layout).ok();
    let needs_setup =
        Files::open(data).ok().and_then(|files| files.wait(files.identity().needs_setup()).ok());
    let port = told.as_ref().and_then(|told| port(&told.facts.pages)).unwrap_or_default();
    let page = |(_, net): (String, String)| {
        let address = net.split('/').next().unwrap_or_default().to_owned();
        if address.contains(':') {
            format!("https://[{address}]{port}/")
        } else {
            format!("https://{address}{port}/")
        }
    };
    let units: Vec<String> = SERVICES.iter().map(|name| format!("portolan-{name}.service")).collect();
    let mut words = vec!["is-active"];
    words.extend(units.iter().map(String::as_str));
    let said = machine.run("systemctl", &words).out;
    let mut said = said.lines();
    let services = SERVICES
        .iter()
        .map(|name| ((*name).to_owned(), said.next().unwrap_or("unknown").trim().to_owned()))
        .collect();
    Status {
        hostname: machine.hostname(),
        pages: machine.addresses().into_iter().map(page).collect(),
        certificate: told.map(|told| told.certificate),
        services,
        needs_setup,
        code: told::setup_code(&layout).filter(|_| needs_setup != Some(false)),
        data: Machine::says(&machine.run.join("portolan-image/state")),
    }
}

/// The port of `https://name:port`, with its colon.
fn port(url: &str) -> Option<String> {
    let (_, port) = url.rsplit_once(':')?;
    port.bytes().all(|byte| byte.is_ascii_digit()).then(|| format!(":{port}"))
}

/// A line across the screen.
pub const RULE: &str = "------------------------------------------------------------------------------";

impl Status {
    /// The same, for a screen of 80 columns.
    #[must_use]
    pub fn shown(&self) -> String {
        let title = concat!("  Portolan ", env!("CARGO_PKG_VERSION"));
        let mut lines =
            vec![RULE.to_owned(), format!("{title}{:>1$}", self.hostname, 76 - title.len()), RULE.to_owned()];
        let mut say = |what: &str, values: &[String]| {
            for (at, value) in values.iter().enumerate() {
                lines.push(format!("  {:<13} {value}", if at == 0 { what } else { "" }));
            }
        };
        if self.pages.is_empty() {
            say("Pages", &["no address yet: see Network below".to_owned()]);
        } else {
            say("Pages", &self.pages);
        }
        match &self.certificate {
            Some(sha256) => say("Certificate", &in_pairs(sha256)),
            None => say("Certificate", &["is made at the first start".to_owned()]),
        }
        let services: Vec<String> =
            self.services.iter().map(|(name, state)| format!("{name} {state}")).collect();
        say("Services", &[services.join(", ")]);
        match self.data.as_str() {
            "encrypted" => say("Data", &["encrypted; the TPM of this machine opens them".to_owned()]),
            "plain" => say("Data", &["NOT ENCRYPTED: this machine has no TPM 2.0".to_owned()]),
            _ => {}
        }
        match (self.needs_setup, &self.code) {
            (Some(false), _) => say("Setup", &["done".to_owned()]),
            (_, Some(code)) => {
                say("Setup", &[format!("open the pages, compare the certificate, enter {code}")]);
            }
            _ => say("Setup", &["the appliance is not started yet".to_owned()]),
        }
        lines.push(RULE.to_owned());
        lines.join("\n")
    }
}

/// SHA-256 as browsers show it, in two lines.
fn in_pairs(hex: &str) -> Vec<String> {
    let pairs: Vec<String> =
        hex.as_bytes().chunks(2).map(|two| String::from_utf8_lossy(two).to_uppercase()).collect();
    let mut lines: Vec<String> = pairs.chunks(16).map(|line| line.join(":")).collect();
    if let Some(first) = lines.first_mut() {
        first.insert_str(0, "SHA-256 ");
    }
    for line in lines.iter_mut().skip(1) {
        line.insert_str(0, "        ");
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status() -> Status {
        Status {
            hostname: "pump-house".into(),
            pages: vec!["https://192.0.2.10/".into(), "https://[fd00::10]/".into()],
            certificate: Some("3f".repeat(32)),
            services: vec![("manager".into(), "active".into()), ("ingest".into(), "failed".into())],
            needs_setup: Some(true),
            code: Some("ABCD-EFGH-JKLM".into()),
            data: "plain".into(),
        }
    }

    #[test]
    fn the_screen_has_what_a_person_needs_and_is_80_wide() {
        let text = status().shown();
        for part in
            ["https://[fd00::10]/", "3F:3F", "ABCD-EFGH-JKLM", "ingest failed", "NOT ENCRYPTED", "pump-house"]
        {
            assert!(text.contains(part), "{part}\n{text}");
        }
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
        assert!(text.lines().count() <= 14, "{text}");
    }

    #[test]
    fn the_code_goes_when_there_is_an_owner() {
        let done = Status { needs_setup: Some(false), ..status() };
        assert!(!done.shown().contains("ABCD") && done.shown().contains("done"));
        let fresh = Status { certificate: None, code: None, needs_setup: None, ..status() };
        assert!(fresh.shown().contains("not started yet"));
    }

    #[test]
    fn a_port_is_kept_where_there_is_one() {
        assert_eq!(port("https://a.example:8000").as_deref(), Some(":8000"));
        assert_eq!(port("https://a.example"), None);
        assert_eq!(port("https://[fd00::5]"), None);
    }
}
