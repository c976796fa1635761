//! An appliance in use: after the demo's story, one of everything that a page can show, in each of its states. For
//! whoever looks at every page, be it a person at pictures or axe-core.

mod pages;
mod people;

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use serde_json::{Value, json};

pub use pages::{Page, Who};

use crate::api::{Template, id, list, text};
use crate::client::Client;
use crate::listeners::{Listener, free_port};
use crate::scanner::Scanner;
use crate::site::Site;
use crate::story::{self, Told};
use crate::wait::{PATIENCE, wait_until};

/// A name as long as they come, with nowhere to break it but at its hyphens.
const LONG: &str = "Propulsion-control-cell-4-starboard-behind-the-second-firewall-of-the-engine-room";

/// What there is, by the ids that pages are found by.
pub struct InUse {
    /// The two scans of the story, each other's before and after.
    scans: (String, String),
    /// The owner, signed in.
    pub owner: Client,
    /// The owner's password.
    password: String,
    ids: Ids,
    people: people::People,
    _scanners: Vec<Scanner>,
    _listener: Listener,
    _log_server: UdpSocket,
}

#[derive(Default)]
struct Ids {
    scanner: String,
    scanner_unused: String,
    scanner_revoked: String,
    vantage: String,
    subnet: String,
    subnet_unused: String,
    port_list: String,
    port_list_unused: String,
    port_list_few: String,
    template: String,
    template_unused: String,
    exclusion: String,
    template_busy: String,
    subnet_busy: String,
    scan_hints: String,
    scan_running: String,
    scan_paused: String,
    scan_queued: String,
    scan_cancelled: String,
    role: String,
    role_held: String,
    provider: String,
    receiver: String,
    receiver_failing: String,
    token: String,
    token_revoked: String,
    statement: String,
    checkpoint: String,
    entry: String,
}

impl InUse {
    /// Fills this site; its owner has this password. Takes about half a minute.
    pub fn fill(site: &Site, owner: Client, password: &str) -> InUse {
        let mut ids = Ids::default();
        scope(&owner, &mut ids);
        let mut scanners = fleet(site, &owner, &mut ids);
        let listener = hints(site, &owner, &mut ids);
        // What it listens on is let go with the lock on it: others wait for that, and the pictures take minutes.
        let Told { first, second, scanner, .. } = story::tell(site, &owner, |_| {});
        scanners.push(scanner);
        scans(&owner, &mut ids);
        let log_server = sending(&owner, &mut ids);
        prove(&owner, password);
        let people = people::fill(site, &owner, &mut ids);
        record(&owner, &mut ids);
        InUse {
            scans: (first, second),
            owner,
            password: password.to_owned(),
            ids,
            people,
            _scanners: scanners,
            _listener: listener,
            _log_server: log_server,
        }
    }

    /// The owner's password.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// Every page to look at, as whom, and what to do there first.
    pub fn pages(&self) -> Vec<Page> {
        pages::all(self)
    }
}

/// Says the password once more: what is dangerous asks for it when five minutes have gone by.
fn prove(client: &Client, password: &str) {
    let _ = client.post("/prove", &json!({ "password": password })).expect(200);
}

fn made(owner: &Client, path: &str, body: &Value) -> String {
    id(&owner.post(path, body).expect(201).json())
}

fn scope(owner: &Client, ids: &mut Ids) {
    let note = "Controllers of line 2. Ask the shift lead before anything faster than gentle.";
    ids.subnet =
        made(owner, "/subnets", &json!({ "name": "Plant north", "cidr": "10.20.0.0/16", "note": note }));
    owner.subnet("Plant north, hall 2", "10.20.128.0/20");
    owner.subnet(LONG, "fd00:20:3:4:5:6:7:8/128");
    ids.subnet_unused = owner.subnet("Site, IPv6", "fd00:20::/32");
    ids.port_list = owner.port_list(
        "Industrial control",
        "102,502,1089-1091,1911,2222,2404,4840,4911,9600,20000,34962-34964,44818,47808,55000-55003",
    );
    ids.port_list_unused = owner.port_list("Everything", "1-65535");
    let exclusion = json!({ "addresses": "10.20.3.0/24, 10.20.4.1-10.20.4.9, 10.20.5.20, 10.20.5.22, fd00:20::7, fd00:20:0:3::/64",
        "reason": "Safety controllers: they stop the line when they are connected to twice (ticket 4711)", "expires_on": "2031-12-31" });
    ids.exclusion = made(owner, "/exclusions", &exclusion);
    made(owner, "/exclusions", &json!({ "addresses": "10.20.9.9", "reason": "Old printer" }));
}

fn fleet(site: &Site, owner: &Client, ids: &mut Ids) -> Vec<Scanner> {
    let note = "Behind the second firewall; its switch port is 14 on sw-er-2.";
    ids.vantage = made(owner, "/vantages", &json!({ "name": LONG, "note": note }));
    let (scanner, running) = owner.enrol(site, "turbine-probe-1.engine-room.starboard.example", &ids.vantage);
    ids.scanner = scanner;
    ids.scanner_unused = text(&owner.add_scanner("spare-probe", &ids.vantage)["scanner"], "id");
    ids.scanner_revoked = text(&owner.add_scanner("lost-laptop", &ids.vantage)["scanner"], "id");
    let _ = owner.post(&format!("/scanners/{}/revoke", ids.scanner_revoked), &json!({})).expect(200);
    vec![running]
}

/// One that notes what open ports say: the appliance's own, and one that greets like SSH.
fn hints(site: &Site, owner: &Client, ids: &mut Ids) -> Listener {
    let here = owner.subnet("This appliance", "127.0.0.1/32");
    let ssh = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), free_port());
    let said = b"SSH-2.0-OpenSSH_9.2p1 Debian-2+deb12u3\r\n";
    let listener = Listener::saying(ssh, said).expect("a port that was free a moment ago");
    let pages = site.url().rsplit(':').next().map(|port| port.trim_end_matches('/').to_owned());
    let pages = pages.expect("an address has a port");
    ids.port_list_few =
        owner.port_list("Own services", &format!("{pages},{},{}", site.scanners().port(), ssh.port()));
    let named = on("Own services, with hints", &here, &ids.port_list_few, &ids.scanner);
    ids.template = owner.template(&Template { hints: true, ..named });
    ids.scan_hints = owner.launch(&ids.template);
    owner.ended(&ids.scan_hints, PATIENCE, |_| {});
    listener
}

/// Scans that are cancelled, that rest, that run and that wait.
fn scans(owner: &Client, ids: &mut Ids) {
    ids.subnet_busy = owner.subnet("Inner harbour", "127.78.1.0/29");
    let quay = ids.subnet_busy.clone();
    let many = owner.port_list("Low ports", "1-4096");
    let slow = |name: &'static str, scanner: &str| {
        owner.template(&Template { rate: Some(40), ..on(name, &quay, &many, scanner) })
    };
    ids.template_busy = slow("A long, slow walk around the inner harbour", &ids.scanner);
    // A scan that rests keeps its scanner: another one, for the one that runs.
    let others = owner.get("/scanners?q=demo-scanner").json();
    let resting = slow("Rests until the night", &text(&list(&others, "items")[0], "id"));
    ids.template_unused = owner.template(&on("Never launched", &quay, &ids.port_list_few, &ids.scanner));

    ids.scan_cancelled = under_way(owner, &ids.template_busy);
    let _ = owner.post(&format!("/scans/{}/cancel", ids.scan_cancelled), &json!({}));
    owner.ended(&ids.scan_cancelled, PATIENCE, |_| {});
    ids.scan_paused = under_way(owner, &resting);
    let _ = owner.post(&format!("/scans/{}/pause", ids.scan_paused), &json!({}));
    ids.scan_running = under_way(owner, &ids.template_busy);
    ids.scan_queued = owner.launch(&ids.template_busy);
}

fn on<'a>(name: &'a str, subnet: &str, ports: &str, scanner: &str) -> Template<'a> {
    Template {
        name,
        subnets: vec![subnet.to_owned()],
        port_lists: vec![ports.to_owned()],
        scanners: vec![scanner.to_owned()],
        ..Template::default()
    }
}

/// Launches a scan, and waits until its scanner is at it.
fn under_way(owner: &Client, template: &str) -> String {
    let scan = owner.launch(template);
    wait_until("a scanner to begin", PATIENCE, || {
        (text(&owner.scan(&scan), "state") == "running").then_some(())
    });
    scan
}

/// Receivers of the audit: one that takes everything, one that is not there, one that is off.
fn sending(owner: &Client, ids: &mut Ids) -> UdpSocket {
    let server = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    let address = server.local_addr().expect("a bound socket has an address").to_string();
    let receiver = |name: &str, kind: &str, address: &str, enabled: bool| {
        let body =
            json!({ "name": name, "kind": kind, "address": address, "body": "json", "enabled": enabled });
        made(owner, "/receivers", &body)
    };
    ids.receiver = receiver("Log server, control room", "syslog-udp", &address, true);
    ids.receiver_failing =
        receiver("SIEM of the head office", "syslog-tcp", &format!("127.0.0.1:{}", free_port()), true);
    receiver("Old collector", "syslog-udp", "[fd00:20:3:4:5:6:7:8]:514", false);
    wait_until("the first try in vain", PATIENCE, || {
        let path = format!("/receivers/{}", ids.receiver_failing);
        owner.get(&path).json()["state"]["failing_since"].is_string().then_some(())
    });
    server
}

/// What the audit is looked at for: a refusal, a change with a difference, a signed head.
fn record(owner: &Client, ids: &mut Ids) {
    let path = format!("/subnets/{}", ids.subnet);
    let tag = owner.get(&path).header("etag").expect("configuration has a tag").to_owned();
    let changed =
        json!({ "name": "Plant north", "cidr": "10.20.0.0/15", "note": "Two halls since the spring." });
    let _ = owner.put(&path, &tag, &changed).expect(200);
    let entry = owner.audit("&action=subnet.updated").remove(0);
    ids.entry = entry["seq"].to_string();
    ids.checkpoint = owner.post("/audit/checkpoints", &json!({})).expect(201).json()["seq"].to_string();
}
