//! The demo's story, told once for people and once for a test: two scans of a small harbour on loopback, between
//! which a few ports open and close and the scope changes.

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use serde_json::Value;

use crate::api::{Diff, Template, text};
use crate::client::Client;
use crate::listeners::{Alone, Listener, alone, quiet_ports};
use crate::scanner::Scanner;
use crate::site::Site;

const LONG: Duration = Duration::from_secs(180);
const PORTS: usize = 16;

/// Where the story stands, for whoever watches.
pub enum Step<'a> {
    /// Something was done.
    Did(String),
    /// A scan is under way: the scan as the API shows it.
    Scanning(&'a Value),
}

/// How the story ended.
pub struct Told {
    /// The first scan's id.
    pub first: String,
    /// The second scan's id.
    pub second: String,
    /// What the appliance says changed.
    pub found: Diff,
    /// What was changed in truth.
    pub truth: Diff,
    /// The scanner, still running.
    pub scanner: Scanner,
    /// The ports that are open at the end; dropping them closes them.
    pub listeners: Vec<Listener>,
    /// Keeps other stories off these ports.
    pub alone: Alone,
}

impl Told {
    /// Whether the appliance found exactly what was changed.
    pub fn exact(&self) -> bool {
        self.found == self.truth
    }
}

/// Tells it on this site, signed in as the owner.
pub fn tell(site: &Site, owner: &Client, mut watch: impl FnMut(Step)) -> Told {
    let alone = alone();
    let everywhere = [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)];
    let ports = quiet_ports(&everywhere, 7700, PORTS);
    let at = |host: &str, port: usize| -> SocketAddr {
        SocketAddr::new(host.parse().expect("the story's addresses are addresses"), ports[port])
    };
    let (first, stays, goes, comes) = (
        [at("127.77.3.1", 0)],
        [at("127.77.1.1", 0), at("127.77.1.2", 0), at("127.77.1.5", 3), at("127.77.2.1", 0), at("::1", 0)],
        [at("127.77.1.1", 1), at("127.77.2.3", 7), at("::1", 2)],
        [at("127.77.1.2", 4), at("127.77.2.6", 1), at("::1", 5)],
    );

    let vantage = owner.vantage("This machine");
    let (scanner_id, scanner) = owner.enrol(site, "demo-scanner", &vantage);
    watch(Step::Did(
        "enrolled a scanner: it made its own key, and has a certificate from the appliance".into(),
    ));

    let east = owner.subnet("East quay", "127.77.1.0/29");
    let west = owner.subnet("West quay", "127.77.2.0/29");
    let north = owner.subnet("North mole", "127.77.3.0/30");
    let south = owner.subnet("South mole", "127.77.4.0/30");
    let six = owner.subnet("Lighthouse", "::1/128");
    let list: Vec<String> = ports.iter().map(u16::to_string).collect();
    let services = owner.port_list("Demo services", &list.join(","));
    let template = Template {
        name: "The harbour",
        subnets: vec![east.clone(), west.clone(), six.clone(), north],
        port_lists: vec![services],
        scanners: vec![scanner_id],
        ..Template::default()
    };
    let template_id = owner.template(&template);
    watch(Step::Did(format!("defined five subnets, a port list ({}) and a template", list.join(","))));

    let open = |address: &SocketAddr| {
        Listener::bind(*address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"))
    };
    let mut staying: Vec<Listener> = stays.iter().map(open).collect();
    let going: Vec<Listener> = goes.iter().chain(&first).map(open).collect();
    watch(Step::Did(format!("opened {} ports on 127.77.1-3.x and ::1", staying.len() + going.len())));
    let before = scan(owner, &template_id, &mut watch);
    let expected: BTreeSet<_> = stays.iter().chain(&goes).chain(&first).copied().collect();
    assert_eq!(
        owner.open_ports(&before),
        expected,
        "the first scan finds the open ports, all and only these"
    );

    drop(going);
    staying.extend(comes.iter().map(open));
    let without_north = Template { subnets: vec![east, west, six, south], ..template };
    owner.change_template(&template_id, &without_north);
    watch(Step::Did(format!(
        "closed {} ports, opened {}, took the North mole out of the template and the South mole in",
        goes.len() + first.len(),
        comes.len()
    )));
    let after = scan(owner, &template_id, &mut watch);

    let found = owner.diff(&before, &after);
    // The moles were covered by one scan each: 4 addresses with every port. The rest was covered by both.
    let shared = (8 + 8 + 1) * PORTS as u64;
    let truth = Diff {
        opened: comes.into_iter().collect(),
        closed: goes.into_iter().collect(),
        changed: 0,
        not_comparable: 2 * 4 * PORTS as u64,
        same: shared - (comes.len() + goes.len()) as u64,
    };
    Told { first: before, second: after, found, truth, scanner, listeners: staying, alone }
}

fn scan(owner: &Client, template: &str, watch: &mut impl FnMut(Step)) -> String {
    let scan = owner.launch(template);
    let ended = owner.ended(&scan, LONG, |now| watch(Step::Scanning(now)));
    assert_eq!(text(&ended, "state"), "completed", "{ended}");
    scan
}
