//! A site without a way out: the whole of it works there, and nothing is sent to anywhere but the site.
//!
//! The appliance, its scanners and everything a page can show run in a network namespace, at first without any route.
//! Then there is one to everywhere, all is started anew, and whatever leaves for an address that is not the site's is
//! recorded. A packet that the test sends there itself shows that the record has eyes.

use std::env;
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, Output};

use portolan_tests::api::{Template, list, text};
use portolan_tests::in_use::{InUse, Who};
use portolan_tests::process::Process;
use portolan_tests::site::{PASSWORD, ROLES};
use portolan_tests::wait::PATIENCE;
use portolan_tests::{Client, Scanner, Site, wait_until};

/// What the site has beside loopback.
const NETWORK: &str = "10.20.0.0/16";
/// Where the test itself sends something: TEST-NET-1 (RFC 5737), which nobody has.
const OUTSIDE: &str = "192.0.2.1";
/// Set for the process in the namespace: a folder of the test's.
const FOLDER: &str = "PORTOLAN_TEST_FOLDER";

#[test]
fn nothing_is_sent_to_anywhere_but_the_site() {
    let folder = tempfile::TempDir::with_prefix("portolan-way-out-").expect("a temporary folder can be made");
    let this = env::current_exe().expect("a process knows its program");
    let mut inside = Command::new("unshare");
    inside.args(["--net", "--"]).arg(this).args([
        "--exact",
        "the_site_in_its_namespace",
        "--ignored",
        "--nocapture",
    ]);
    let output = inside.env(FOLDER, folder.path()).output().expect("unshare starts");
    assert!(output.status.success(), "{}{}", said(&output.stdout), said(&output.stderr));
    assert!(
        said(&output.stdout).contains("1 passed"),
        "the test in the namespace ran: {}",
        said(&output.stdout)
    );
}

#[test]
#[ignore = "run in a namespace by the test above"]
fn the_site_in_its_namespace() {
    let folder = env::var_os(FOLDER).expect("the test above names the folder");
    let folder = Path::new(&folder);
    ip("link set lo up");
    // A cable whose far end is nobody; without ARP what is sent leaves although nobody answers for the address.
    ip("link add site arp off type veth peer name far");
    ip(&format!("address add {} dev site", NETWORK.replace(".0/", ".1/")));
    ip("link set site up");
    ip("link set far up");
    let record = folder.join("left.pcap");
    let mut eyes = eyes(&record, &folder.join("tcpdump.log"));

    assert!(
        UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"?", (OUTSIDE, 9))).is_err(),
        "no route"
    );
    let mut site = Site::start_roles();
    let in_use = InUse::fill(&site, site.set_up(), PASSWORD);
    look_at_every_page(&in_use);
    let _scanner = scan_the_network(&site, &in_use.owner);
    assert_eq!(left(&record), "", "without a route");

    ip("route add default dev site");
    ip("-6 route add default dev site");
    for role in ROLES {
        site.stop(role);
    }
    for role in ROLES {
        site.run(role);
    }
    look_at_every_page(&in_use);
    scan_again(&in_use.owner);
    verify(&site);
    for role in ROLES {
        site.stop(role);
    }
    let control = UdpSocket::bind("0.0.0.0:0").and_then(|socket| socket.send_to(b"?", (OUTSIDE, 9)));
    control.expect("there is a route now");
    wait_until("the test's own packet in the record", PATIENCE, || (!left(&record).is_empty()).then_some(()));
    eyes.stop(PATIENCE);
    let left = left(&record);
    assert!(left.lines().count() == 1 && left.contains(OUTSIDE), "with a route to everywhere:\n{left}");
}

/// Every page of the owner's, and what its address answers to a program.
fn look_at_every_page(in_use: &InUse) {
    let pages = in_use.pages();
    let of_the_owner: Vec<_> = pages.iter().filter(|page| page.who == Who::Owner).collect();
    assert!(of_the_owner.len() > 20, "there are many pages");
    for page in of_the_owner {
        let answer = in_use.owner.page(&page.path);
        assert!(answer.status < 500, "{}: {}", page.path, answer.describe());
    }
}

/// A scan of what lies beyond the machine.
fn scan_the_network(site: &Site, owner: &Client) -> Scanner {
    // One of its own: those of the filled appliance are at work, or rest.
    let (scanner, running) = owner.enrol(site, "quay-probe", &owner.vantage("The quay's switch"));
    let subnet = owner.subnet("Quay", "10.20.77.0/30");
    let ports = owner.port_list("Two ports", "80,443");
    let (subnets, port_lists) = (vec![subnet], vec![ports]);
    let quay =
        Template { name: "The quay", subnets, port_lists, scanners: vec![scanner], ..Template::default() };
    let _ = owner.template(&quay);
    scan_again(owner);
    running
}

fn scan_again(owner: &Client) {
    let template = text(&list(&owner.get("/templates?q=quay").json(), "items")[0], "id");
    let ended = owner.ended(&owner.launch(&template), PATIENCE * 3, |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}");
}

/// What the command line does with the site's files.
fn verify(site: &Site) {
    let mut command = Command::new(site.program());
    let output =
        command.args(["audit", "verify", "--data"]).arg(site.data()).output().expect("portolan starts");
    assert!(output.status.success(), "{}", said(&output.stderr));
}

/// Records every packet to an address that is not the site's, and every question for a name. What a Linux host tells
/// its link by itself (router solicitation, multicast listener report) is not what is asked about.
fn eyes(record: &Path, log: &Path) -> Process {
    let site = format!("dst net 127.0.0.0/8 or dst net {NETWORK} or dst host ::1 or dst net fd00:20::/32");
    let link = "dst host ff02::2 or dst host ff02::16 or dst net ff02::1:ff00:0/104";
    let filter = format!("outbound and (((ip or ip6) and not ({site} or {link})) or port 53 or port 5353)");
    let mut command = Command::new("tcpdump");
    // Packet by packet into the file, whichever the interface; as root, whose folder it is.
    command.args(["-i", "any", "-n", "-U", "--immediate-mode", "-Z", "root", "-w"]).arg(record).arg(filter);
    let process = Process::start("tcpdump", &mut command, log);
    wait_until("tcpdump to listen", PATIENCE, || process.log_text().contains("listening on").then_some(()));
    process
}

/// The recorded packets, one a line.
fn left(record: &Path) -> String {
    let output =
        Command::new("tcpdump").args(["-n", "-q", "-t", "-r"]).arg(record).output().expect("tcpdump starts");
    assert!(output.status.success(), "{}", said(&output.stderr));
    said(&output.stdout)
}

fn ip(arguments: &str) {
    let output: Output = Command::new("ip").args(arguments.split(' ')).output().expect("ip starts");
    assert!(output.status.success(), "ip {arguments}: {}", said(&output.stderr));
}

fn said(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
