//! What a script does with the API, in the product's words. Each call panics with the answer when it is refused.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::scanner::{Pins, Scanner};
use crate::site::{PASSWORD, Site};
use crate::wait::wait_until;

/// What a template joins; the rest is left to its preset.
#[derive(Clone, Debug, Default)]
pub struct Template<'a> {
    /// Its name.
    pub name: &'a str,
    /// Ids.
    pub subnets: Vec<String>,
    /// Ids.
    pub port_lists: Vec<String>,
    /// Ids.
    pub scanners: Vec<String>,
    /// Ranges that are left out.
    pub exclusions: &'a str,
    /// Probes per second; the preset's where it is `None`.
    pub rate: Option<u32>,
    /// What open ports say first is noted.
    pub hints: bool,
}

impl Template<'_> {
    /// As the API takes it.
    pub fn json(&self) -> Value {
        let mut body = json!({
            "name": self.name, "subnets": self.subnets, "port_lists": self.port_lists, "scanners": self.scanners,
            "exclusions": self.exclusions, "preset": "fast", "method": "connect",
            // Everything here is on loopback: the scanner's own addresses, and the appliance's.
            "own": true, "hints": self.hints,
        });
        if let Some(rate) = self.rate {
            body["rate"] = json!(rate);
            body["host_rate"] = json!(rate);
        }
        body
    }
}

/// What changed between two scans.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Open in the second only.
    pub opened: BTreeSet<SocketAddr>,
    /// Open in the first only.
    pub closed: BTreeSet<SocketAddr>,
    /// Pairs of address and port in another state that is not open.
    pub changed: u64,
    /// Pairs that one of the two covered.
    pub not_comparable: u64,
    /// Pairs that are as they were.
    pub same: u64,
}

impl Client {
    /// Makes a vantage; its id.
    pub fn vantage(&self, name: &str) -> String {
        id(&self.post("/vantages", &json!({ "name": name })).expect(201).json())
    }

    /// Adds a scanner to a vantage: what its page shows once, the token among it. Who signed in long ago proves first that it
    /// is still they.
    pub fn add_scanner(&self, name: &str, vantage: &str) -> Value {
        let scanner = json!({ "name": name, "vantage": vantage });
        let answer = self.post("/scanners", &scanner);
        if answer.status == 403 && answer.json()["type"] == "/docs/errors#prove" {
            let _ = self.post("/prove", &json!({ "password": PASSWORD })).expect(200);
            return self.post("/scanners", &scanner).expect(201).json();
        }
        answer.expect(201).json()
    }

    /// Adds a scanner, enrols a real one with its token, and starts it; its id comes with it.
    pub fn enrol(&self, site: &Site, name: &str, vantage: &str) -> (String, Scanner) {
        let added = self.add_scanner(name, vantage);
        let token = added["token"].as_str().unwrap_or_else(|| panic!("no token in {added}"));
        let mut scanner = Scanner::enrol(name, site.scanners(), &Pins::of(&added), token);
        scanner.run();
        (id(&added["scanner"]), scanner)
    }

    /// Makes a subnet; its id.
    pub fn subnet(&self, name: &str, cidr: &str) -> String {
        id(&self.post("/subnets", &json!({ "name": name, "cidr": cidr })).expect(201).json())
    }

    /// Makes a port list; its id.
    pub fn port_list(&self, name: &str, ports: &str) -> String {
        id(&self.post("/port-lists", &json!({ "name": name, "ports": ports })).expect(201).json())
    }

    /// Makes a template; its id.
    pub fn template(&self, template: &Template) -> String {
        id(&self.post("/templates", &template.json()).expect(201).json())
    }

    /// Changes a template to this.
    pub fn change_template(&self, template_id: &str, template: &Template) {
        let path = format!("/templates/{template_id}");
        let shown = self.get(&path).expect(200);
        let tag = shown.header("etag").unwrap_or_else(|| panic!("no ETag: {}", shown.describe())).to_owned();
        let _ = self.put(&path, &tag, &template.json()).expect(200);
    }

    /// Launches a scan; its id.
    pub fn launch(&self, template: &str) -> String {
        id(&self.post("/scans", &json!({ "template": template })).expect(201).json())
    }

    /// A scan as its page shows it.
    pub fn scan(&self, scan: &str) -> Value {
        self.get(&format!("/scans/{scan}")).expect(200).json()
    }

    /// Waits until the scan has ended, telling its state on the way; the scan as it is then.
    pub fn ended(&self, scan: &str, within: Duration, mut tell: impl FnMut(&Value)) -> Value {
        wait_until(&format!("scan {scan} to end"), within, || {
            let now = self.scan(scan);
            tell(&now);
            let ended =
                ["completed", "partial", "cancelled", "failed"].contains(&text(&now, "state").as_str());
            ended.then_some(now)
        })
    }

    /// Every open port that a scan found.
    pub fn open_ports(&self, scan: &str) -> BTreeSet<SocketAddr> {
        let mut open = BTreeSet::new();
        let mut path = format!("/scans/{scan}/hosts?state=open&limit=500");
        loop {
            let page = self.get(&path).expect(200).json();
            for host in list(&page, "items") {
                let address: IpAddr = text(host, "hosts").parse().expect("an open port is of one host");
                for port in list(host, "open") {
                    let port = port["port"].as_u64().and_then(|port| u16::try_from(port).ok());
                    open.insert(SocketAddr::new(address, port.expect("a port is a number")));
                }
            }
            match page["next"].as_str() {
                Some(next) => path = format!("/scans/{scan}/hosts?state=open&limit=500&cursor={next}"),
                None => return open,
            }
        }
    }

    /// What changed between two scans.
    pub fn diff(&self, before: &str, after: &str) -> Diff {
        let diff = self.get(&format!("/diff?a={before}&b={after}")).expect(200).json();
        let count = |key: &str| number(&diff["counts"][key]);
        let found = Diff {
            opened: sockets(&diff, "opened"),
            closed: sockets(&diff, "closed"),
            changed: count("changed"),
            not_comparable: count("not_comparable"),
            same: count("same"),
        };
        assert_eq!(found.opened.len() as u64, count("opened"), "{diff}");
        assert_eq!(found.closed.len() as u64, count("closed"), "{diff}");
        found
    }

    /// The newest audit entries, newest first.
    pub fn audit(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/audit?limit=500{query}")).expect(200).json();
        list(&page, "items").clone()
    }
}

/// The `id` of an answer.
pub fn id(answer: &Value) -> String {
    text(answer, "id")
}

/// A text in an answer.
pub fn text(answer: &Value, key: &str) -> String {
    answer[key].as_str().unwrap_or_else(|| panic!("no text {key} in {answer}")).to_owned()
}

/// A list in an answer.
pub fn list<'a>(answer: &'a Value, key: &str) -> &'a Vec<Value> {
    answer[key].as_array().unwrap_or_else(|| panic!("no list {key} in {answer}"))
}

/// A number in an answer: beyond 2^53 they are texts.
pub fn number(value: &Value) -> u64 {
    let number = value.as_u64().or_else(|| value.as_str().and_then(|text| text.parse().ok()));
    number.unwrap_or_else(|| panic!("{value} is not a number"))
}

fn sockets(diff: &Value, key: &str) -> BTreeSet<SocketAddr> {
    let one = |change: &Value| {
        let address: IpAddr = text(change, "hosts").parse().expect("such a change is of one host");
        let ports = text(change, "ports");
        let ports =
            ports.split(',').map(|port| port.parse::<u16>().expect("such a change names single ports"));
        ports.map(|port| SocketAddr::new(address, port)).collect::<Vec<_>>()
    };
    list(diff, key).iter().flat_map(one).collect()
}
