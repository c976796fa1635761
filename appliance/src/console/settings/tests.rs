use proptest::prelude::*;

use super::*;

const WHOLE: &str = "\
# A comment.
hostname = Pump-House.site.example
dns = 192.0.2.53, fd00::53
ntp = 192.0.2.123, time.site.example
link.enp1s0.ipv4 = 192.0.2.10/24
link.enp1s0.ipv6 = fd00::10/64
link.enp1s0.gateway = 192.0.2.1, fe80::1
link.enp1s0.routes = 10.0.0.0/8 via 192.0.2.254
link.plant.vlan = 20 on enp1s0
link.plant.ipv4 = 198.51.100.10/28
link.plant.ipv6 = off
";

/// Why a file is refused; panics when it is taken.
fn refused(text: &str) -> String {
    let wrong = parse(text).expect_err("it was taken");
    wrong.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

fn link(lines: &str) -> String {
    lines.lines().map(|line| format!("link.eth0.{line}\n")).collect()
}

#[test]
fn what_was_written_is_read_as_it_was() {
    let settings = parse(WHOLE).unwrap();
    assert_eq!(settings.hostname.as_ref().unwrap().to_string(), "pump-house.site.example");
    assert_eq!(settings.links.len(), 2);
    assert_eq!(parse(&settings.text()).unwrap(), settings);
    assert_eq!(parse("").unwrap(), Settings::default());
}

#[test]
fn what_is_not_understood_is_refused_with_its_line() {
    for (text, why) in [
        ("\nhostnam = x", "line 2: \"hostnam\" is no key"),
        ("hostname", "is not `key = value`"),
        ("dns = 192.0.2.53\ndns = 192.0.2.54", "line 2: dns is there twice"),
        ("dns = 192.0.2.53, 192.0.2.53", "there twice"),
        ("dns = 192.0.2.53,", "\"\" is no address"),
        ("dns = dns.example", "is no address"),
        ("ntp = -time", "is no name of a host"),
        ("ntp = 192.0.2", "is no name of a host"),
        ("ntp = 224.0.1.1", "not the address of a machine"),
        ("hostname = a b", "is no name of a host"),
        ("link.a/b.ipv4 = dhcp", "is no name of a link"),
        ("link.lo.ipv4 = dhcp", "is no name of a link"),
        ("link.eth0.mtu = 9000", "a link has no \"mtu\""),
        ("link.eth0.vlan = 4095 on eth1", "1 to 4094"),
        ("link.eth0.vlan = 20", "20 on NAME-OF-CARD"),
        ("link.eth0.ipv4 = 192.0.2.10", "has no prefix"),
        ("link.eth0.ipv4 = 192.0.2.10/33", "0 to 32"),
        ("link.eth0.ipv4 = 192.0.2.10/+24", "0 to 32"),
        ("link.eth0.ipv4 = 192.0.2.0/24", "is the network itself"),
        ("link.eth0.ipv4 = 192.0.2.255/24", "broadcast"),
        ("link.eth0.ipv4 = 127.0.0.1/8", "not the address of a machine"),
        ("link.eth0.ipv4 = fd00::1/64", "no IPv4 address"),
        ("link.eth0.ipv6 = ::ffff:192.0.2.1/96", "not the address of a machine"),
        ("link.eth0.ipv6 = fe80::1/64", "by itself"),
        ("link.eth0.routes = 10.0.0.1/8 via 192.0.2.1", "bits behind"),
        ("link.eth0.routes = 10.0.0.0/8 via fd00::1", "different families"),
        ("link.eth0.routes = 0.0.0.0/0 via 192.0.2.1", "is the gateway"),
        ("link.eth0.routes = 10.0.0.0/8", "write it as"),
    ] {
        let said = refused(text);
        assert!(said.contains(why), "{text}: {said}");
    }
    assert!(refused(&"#".repeat(MAX_FILE + 1)).contains("larger"));
}

#[test]
fn a_gateway_must_be_reached_from_the_link() {
    let fixed = "ipv4 = 192.0.2.10/24\n";
    parse(&link(&format!("{fixed}gateway = 192.0.2.1"))).unwrap();
    assert!(refused(&link(&format!("{fixed}gateway = 192.0.3.1"))).contains("in no network of this link"));
    assert!(refused(&link(&format!("{fixed}gateway = 192.0.2.10"))).contains("this machine itself"));
    assert!(refused(&link("gateway = 192.0.2.1")).contains("come from DHCP"));
    assert!(refused(&link(&format!("{fixed}gateway = fd00::1"))).contains("come from its routers"));
    assert!(refused(&link(&format!("{fixed}ipv6 = off\ngateway = fe80::1"))).contains("in no network"));
    assert!(
        refused(&link(&format!("{fixed}gateway = 192.0.2.1, 192.0.2.2"))).contains("one gateway for IPv4")
    );
    assert!(refused(&link(&format!("{fixed}routes = 10.0.0.0/8 via 192.0.3.1"))).contains("in no network"));
    // DHCP may give an address in any network.
    parse(&link("routes = 10.0.0.0/8 via 192.0.3.1")).unwrap();
}

#[test]
fn two_links_share_no_network_no_address_and_no_vlan() {
    let two = |second: &str| format!("link.a.ipv4 = 192.0.2.10/24\nlink.b.ipv4 = {second}\n");
    assert!(refused(&two("192.0.2.200/25")).contains("one network on two links"));
    assert!(refused(&two("192.0.2.10/32")).contains("there twice"));
    parse(&two("192.0.3.10/24")).unwrap();
    let vlans = "link.v.vlan = 20 on eth0\nlink.w.vlan = 20 on eth0\n";
    assert!(refused(vlans).contains("the same VLAN"));
    assert!(refused("link.v.vlan = 20 on v").contains("v is none"));
    assert!(refused("link.v.vlan = 20 on w\nlink.w.vlan = 21 on eth0").contains("w is none"));
}

#[test]
fn a_change_is_told_key_by_key() {
    let before = parse(WHOLE).unwrap();
    let mut after = before.clone();
    put(&mut after, "ntp", "").unwrap();
    put(&mut after, "link.plant.ipv4", "dhcp").unwrap();
    assert_eq!(
        difference(&before, &after),
        [
            "- link.plant.ipv4 = 198.51.100.10/28",
            "+ link.plant.ipv4 = dhcp",
            "- ntp = 192.0.2.123, time.site.example",
        ]
    );
    assert!(difference(&before, &before).is_empty());
    // What is refused changes nothing.
    let kept = after.clone();
    put(&mut after, "dns", "192.0.2.53, nobody").unwrap_err();
    put(&mut after, "link.new.ipv4", "nobody").unwrap_err();
    assert_eq!(after, kept);
}

/// Lines that look like settings.
fn line() -> impl Strategy<Value = String> {
    let key = prop_oneof![
        Just("hostname".to_owned()),
        Just("dns".to_owned()),
        Just("ntp".to_owned()),
        ("[a-c]", "vlan|ipv4|ipv6|gateway|routes").prop_map(|(link, what)| format!("link.{link}.{what}")),
    ];
    let value = prop_oneof![
        "(10|192)\\.0\\.[0-3]\\.[0-9]{1,3}(/[0-9]{1,2})?",
        "fd00:[0-3]::[0-9a-f]{1,3}(/[0-9]{1,3})?",
        "dhcp|off|auto|[1-9][0-9]{0,3} on [a-c]",
        "10\\.[0-9]{1,3}\\.0\\.0/16 via 192\\.0\\.[0-3]\\.[1-9]",
        "[a-z0-9.-]{1,20}",
        "\\PC{0,20}",
    ];
    (key, proptest::collection::vec(value, 0..3))
        .prop_map(|(key, values)| format!("{key} = {}", values.join(", ")))
}

proptest! {
    #[test]
    fn no_text_upsets_the_reader_and_what_it_takes_is_written_and_read_the_same(
        lines in proptest::collection::vec(line(), 0..6), noise in "\\PC{0,40}", at in 0_usize..7,
    ) {
        let mut lines = lines;
        if at < lines.len() {
            lines[at].push_str(&noise);
        }
        if let Ok(settings) = parse(&lines.join("\n")) {
            prop_assert_eq!(parse(&settings.text()).expect("what was written is read"), settings.clone());
            for file in crate::console::render::files(&settings) {
                // Nothing that was typed begins a section or a line of its own.
                let sections = file.text.lines().filter(|line| line.starts_with('['));
                for section in sections {
                    prop_assert!(crate::console::render::SECTIONS.contains(&section), "{}", section);
                }
                let control = file.text.chars().any(|c| c.is_control() && c != '\n');
                prop_assert!(!control && !file.path.contains(".."));
            }
        }
    }
}
