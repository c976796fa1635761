//! The image of the tests in a virtual machine, from the first boot to a page and a scan (`make test-image`).

mod data;
mod install;
mod sealed;
mod update;

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use portolan_tests::api::{Template, id, text};
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::units::accounts;
use portolan_tests::vm::{BOOT, Image, Machine, Running, Shown};
use portolan_tests::{Client, Listener, Pins, Scanner};
use serde_json::json;

fn set_up(machine: &Running, shown: &Shown) -> Client {
    let owner = machine.visitor(&shown.certificate);
    let answer = owner.post(
        "/setup",
        &json!({
            "code": shown.code.as_deref().expect("there is no owner yet"), "name": OWNER, "display": "The Owner",
            "password": PASSWORD, "password_again": PASSWORD,
        }),
    );
    assert!(answer.status < 300, "{}", answer.describe());
    owner
}

/// Asks once and at once: a connection that is refused or dropped is no answer.
fn answers(address: SocketAddr) -> bool {
    let Ok(mut socket) = TcpStream::connect_timeout(&address, Duration::from_secs(10)) else { return false };
    // QEMU takes the connection itself, and closes it when the machine does not.
    socket.set_read_timeout(Some(Duration::from_secs(20))).expect("a socket takes a time limit");
    let _ = socket.write_all(b"GET / HTTP/1.0\r\n\r\n");
    match socket.read(&mut [0; 16]) {
        Ok(length) => length > 0,
        Err(error) => {
            assert!(
                [ErrorKind::WouldBlock, ErrorKind::ConnectionReset, ErrorKind::TimedOut]
                    .contains(&error.kind()),
                "{error}"
            );
            false
        }
    }
}

/// Services run as their users; nothing else listens.
fn services_are_as_they_should(machine: &mut Running) {
    for role in ["manager", "ingest", "dispatcher"] {
        let unit = format!("portolan-{role}");
        let state =
            machine.sh(&format!("systemctl is-active {unit}.service || systemctl status {unit}.service"));
        assert_eq!(state, "active", "{unit}");
        let script = format!("stat -c %U /proc/$(systemctl show -p MainPID --value {unit})");
        assert_eq!(machine.sh(&script), unit);
    }
    let sockets =
        machine.sh("ss -Hltnu | while read -r kind _ _ _ at _; do echo \"$kind $at\"; done | sort -u");
    for socket in sockets.lines() {
        let of_the_machine = socket.contains(" 127.0.0.") || socket.contains("%lo");
        let of_a_lease = socket.starts_with("udp ") && (socket.ends_with(":68") || socket.ends_with(":546"));
        assert!(
            ["tcp *:443", "tcp *:8443"].contains(&socket) || of_the_machine || of_a_lease,
            "{socket} is listened on:\n{sockets}"
        );
    }
    let failed = machine.sh("systemctl --no-pager --no-legend --failed");
    assert_eq!(failed, "", "failed units");
}

fn the_root_is_sealed(machine: &mut Running) {
    let root = machine.sh("findmnt -n -o SOURCE,FSTYPE,OPTIONS /");
    assert!(root.starts_with("/dev/mapper/root erofs ro"), "{root}");
    let status = machine.sh("veritysetup status root");
    assert!(status.contains("status:      verified") && status.contains("panic_on_corruption"), "{status}");
    for write in
        ["touch /new", "touch /etc/new", "touch /usr/bin/new", "mount -o remount,rw /", "echo x >/etc/passwd"]
    {
        assert_ne!(machine.try_sh(write).1, 0, "{write} was done");
    }
    for program in
        ["apt", "dpkg", "perl", "bash", "ssh", "sshd", "cc", "gcc", "python3", "su", "login", "agetty"]
    {
        assert_ne!(machine.try_sh(&format!("command -v {program}")).1, 0, "{program} is there");
    }
    assert_eq!(
        machine.sh("find / -xdev -perm /6000 -type f"),
        "",
        "programs with more rights than who starts them"
    );
    assert_eq!(
        machine.sh("cut -d : -f 7 /etc/passwd | sort -u"),
        "/usr/sbin/nologin",
        "shells to sign in with"
    );
    let lockdown = machine.sh("cat /sys/kernel/security/lockdown");
    assert!(lockdown.contains("[integrity]"), "{lockdown}");
    let shared = machine.sh("findmnt -n -o OPTIONS /dev/shm");
    assert!(shared.contains("noexec"), "{shared}");
    let var = machine.sh("findmnt -n -o OPTIONS /var");
    assert!(["nosuid", "nodev", "noexec"].iter().all(|option| var.contains(option)), "{var}");
}

/// Users keep their numbers from one version to the next: /var is full of files of theirs.
fn users_have_their_numbers(machine: &mut Running) {
    let found = machine.sh("cut -d : -f 1,3 /etc/passwd; cut -d : -f 1,3 /etc/group");
    let wanted = include_str!("../../../image/mkosi.extra/usr/lib/sysusers.d/00-portolan-image.conf");
    for name in accounts().keys() {
        assert!(wanted.contains(&format!(" {name} ")), "{name} has no number of its own");
    }
    for line in found.lines() {
        let (name, number) = line.split_once(':').expect("a name and a number");
        let number: u32 = number.parse().expect("a number");
        let known = |line: &str| line.split_whitespace().skip(1).take(2).eq([name, &number.to_string()]);
        assert!(!(101..65_534).contains(&number) || wanted.lines().any(known), "{name} {number}");
    }
}

/// A scanner of this machine enrols through the forwarded port, and scans listeners of its own.
fn a_scanner_scans(machine: &Running, owner: &Client) {
    let listener = Listener::on("127.82.0.1:0");
    let vantage = owner.vantage("Lab");
    let added = owner.add_scanner("one", &vantage);
    let mut scanner = Scanner::enrol("one", machine.scanners(), &Pins::of(&added), &text(&added, "token"));
    scanner.run();
    let port = listener.address().port();
    let scan = owner.launch(&owner.template(&Template {
        name: "Few",
        subnets: vec![owner.subnet("Lab", "127.82.0.0/30")],
        port_lists: vec![owner.port_list("One", &format!("{port}"))],
        scanners: vec![id(&added["scanner"])],
        ..Template::default()
    }));
    let ended = owner.ended(&scan, BOOT, |_| {});
    assert_eq!(text(&ended, "state"), "completed", "{ended}\n{}", scanner.log());
    assert_eq!(owner.open_ports(&scan).into_iter().collect::<Vec<_>>(), [listener.address()]);
}

#[test]
#[ignore = "it takes an image and a virtual machine: make test-image"]
fn the_image_boots_to_its_page_and_a_scanner_scans() {
    let Some(image) = Image::of_tests() else { return };
    let machine = Machine::flashed(&image);
    let mut running = machine.start();
    let shown = running.look();
    assert!(shown.data.contains("NOT ENCRYPTED"), "without a TPM it says so: {shown:?}");
    services_are_as_they_should(&mut running);
    the_root_is_sealed(&mut running);
    users_have_their_numbers(&mut running);
    assert!(answers(running.pages()), "443 answers");
    assert!(!answers(running.other()), "22 is dropped");
    let labels = running.sh("lsblk -no PARTLABEL /dev/vda | sort");
    let version = image.version();
    let wanted = [
        "_empty",
        "_empty",
        "esp",
        &format!("portolan_{version}"),
        &format!("portolan_{version}_verity"),
        "var",
    ];
    assert_eq!(labels.lines().filter(|line| !line.trim().is_empty()).collect::<Vec<_>>(), wanted, "{labels}");
    let owner = set_up(&running, &shown);
    a_scanner_scans(&running, &owner);
    let page = owner.page("/").expect(200).text();
    assert!(page.contains("Portolan"), "{page}");
}
