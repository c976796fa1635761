//! Settings as the files that systemd-networkd, -resolved and -timesyncd read: a pure function.

use std::fmt::Write as _;

use super::settings::{Link, LinkName, Settings, V4, V6};

/// A file, by its path below `/run/systemd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct File {
    /// Its path, without a slash at the beginning.
    pub path: String,
    /// All of it.
    pub text: String,
}

/// What every file of ours is called at the beginning of its name: those that are no longer wanted are known by it. It comes
/// before the image's `80-wired.network`, which is for links that nobody set, and after its own servers, of which it has none.
pub const OURS: &str = "50-portolan-";

/// The folders below `/run/systemd` that files go into.
pub const FOLDERS: [&str; 3] = ["network", "resolved.conf.d", "timesyncd.conf.d"];

/// Every section that a file of ours can have.
pub const SECTIONS: [&str; 11] = [
    "[Match]",
    "[Network]",
    "[Link]",
    "[DHCPv4]",
    "[DHCPv6]",
    "[IPv6AcceptRA]",
    "[Route]",
    "[NetDev]",
    "[VLAN]",
    "[Resolve]",
    "[Time]",
];

const HEAD: &str =
    "# From the settings of this machine: made anew at each boot and at each change on the console.\n";

/// The files. Without a decision there is none, and the image's own hold.
#[must_use]
pub fn files(settings: &Settings) -> Vec<File> {
    let mut files = Vec::new();
    let mut names: Vec<&LinkName> = settings.links.keys().collect();
    // A card that is only there for its VLANs.
    let cards = settings.links.values().filter_map(|link| link.vlan.as_ref()).map(|vlan| &vlan.on);
    names.extend(cards.filter(|card| !settings.links.contains_key(card)));
    names.sort();
    names.dedup();
    let alone = Link { ipv4: V4::Off, ipv6: V6::Off, ..Link::default() };
    for name in names {
        let link = settings.links.get(name).unwrap_or(&alone);
        if let Some(vlan) = &link.vlan {
            let text = format!("{HEAD}[NetDev]\nName={name}\nKind=vlan\n\n[VLAN]\nId={}\n", vlan.id);
            files.push(File { path: format!("network/{OURS}{name}.netdev"), text });
        }
        let text = network(settings, name, link);
        files.push(File { path: format!("network/{OURS}{name}.network"), text });
    }
    if !settings.dns.is_empty() {
        let text = format!("{HEAD}[Resolve]\nDNS={}\n", spaced(&settings.dns));
        files.push(File { path: format!("resolved.conf.d/{OURS}dns.conf"), text });
    }
    if !settings.ntp.is_empty() {
        let text = format!("{HEAD}[Time]\nNTP={}\n", spaced(&settings.ntp));
        files.push(File { path: format!("timesyncd.conf.d/{OURS}ntp.conf"), text });
    }
    files
}

fn spaced<T: ToString>(values: &[T]) -> String {
    values.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

fn network(settings: &Settings, name: &LinkName, link: &Link) -> String {
    let mut text = format!("{HEAD}[Match]\nName={name}\n\n[Network]\n");
    let mut say = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).and_then(|()| text.write_char('\n')).expect("a string takes every line");
    };
    for (vlan, other) in &settings.links {
        if other.vlan.as_ref().is_some_and(|is| is.on == *name) {
            say(format_args!("VLAN={vlan}"));
        }
    }
    let (dhcp, auto) = (link.ipv4 == V4::Dhcp, link.ipv6 == V6::Auto);
    // Where routers are listened to, they may say that a DHCPv6 server knows more: networkd then asks it by itself.
    say(format_args!("DHCP={}", if dhcp { "ipv4" } else { "no" }));
    say(format_args!("IPv6AcceptRA={}", if auto { "yes" } else { "no" }));
    say(format_args!("LinkLocalAddressing={}", if link.ipv6 == V6::Off { "no" } else { "ipv6" }));
    say(format_args!("LLMNR=no\nMulticastDNS=no\nLLDP=no\nEmitLLDP=no"));
    if let V4::Static(nets) = &link.ipv4 {
        for net in nets {
            say(format_args!("Address={net}"));
        }
    }
    if let V6::Static(nets) = &link.ipv6 {
        for net in nets {
            say(format_args!("Address={net}"));
        }
    }
    for gateway in &link.gateway {
        say(format_args!("Gateway={gateway}"));
    }
    let no_addresses = link.ipv4 == V4::Off && link.ipv6 == V6::Off;
    if no_addresses {
        say(format_args!("\n[Link]\nRequiredForOnline=no"));
    }
    // Servers of names that were named here are asked alone; time comes from nobody who was not named.
    let use_dns = if settings.dns.is_empty() { "yes" } else { "no" };
    // A lease is a card's own: boards of one kind may have one identity, and two of them would get one address.
    if dhcp {
        say(format_args!("\n[DHCPv4]\nClientIdentifier=mac\nUseDNS={use_dns}\nUseDomains=no\nUseNTP=no"));
    }
    if auto {
        say(format_args!(
            "\n[DHCPv6]\nDUIDType=link-layer\nUseDNS={use_dns}\nUseNTP=no\n\n[IPv6AcceptRA]\nUseDNS={use_dns}"
        ));
    }
    for route in &link.routes {
        say(format_args!("\n[Route]\nDestination={}\nGateway={}", route.to, route.via));
    }
    text
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::PathBuf;

    use super::*;
    use crate::console::settings::parse;

    /// Every file that these settings give, one after the other.
    fn given(text: &str) -> String {
        let settings = parse(text).expect("the settings are good");
        files(&settings).into_iter().map(|file| format!("==> {}\n{}", file.path, file.text)).collect()
    }

    #[test]
    fn the_files_are_those_that_were_read_and_found_good() {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/console/golden");
        for (name, settings) in [
            ("dhcp", "link.enp1s0.ipv4 = dhcp\nlink.enp1s0.ipv6 = auto\n"),
            (
                "dhcp-own-dns",
                "dns = 192.0.2.53\nntp = 192.0.2.123, time.site.example\nlink.enp1s0.ipv4 = dhcp\n",
            ),
            (
                "static",
                "hostname = pump-house\ndns = 192.0.2.53, fd00::53\nlink.enp1s0.ipv4 = 192.0.2.10/24, 192.0.2.11/24\n\
                 link.enp1s0.ipv6 = fd00::10/64\nlink.enp1s0.gateway = 192.0.2.1, fd00::1\n",
            ),
            (
                "vlan",
                "link.plant.vlan = 20 on enp1s0\nlink.plant.ipv4 = 198.51.100.10/28\nlink.plant.ipv6 = off\n\
                 link.office.vlan = 30 on enp2s0\nlink.enp2s0.ipv4 = 192.0.2.10/24\n",
            ),
            (
                "routes",
                "link.enp1s0.ipv4 = 192.0.2.10/24\nlink.enp1s0.ipv6 = off\n\
                 link.enp1s0.routes = 10.0.0.0/8 via 192.0.2.254, 172.16.0.0/12 via 192.0.2.253\n",
            ),
            ("nothing", ""),
        ] {
            let path = folder.join(format!("{name}.txt"));
            let text = given(settings);
            if std::env::var_os("UPDATE_SNAPSHOTS").is_some() {
                fs::write(&path, &text).unwrap();
            }
            assert_eq!(
                text,
                fs::read_to_string(&path).unwrap_or_default(),
                "{name}: UPDATE_SNAPSHOTS=1 writes it"
            );
        }
    }

    #[test]
    fn servers_of_names_that_were_named_are_asked_alone() {
        assert!(given("link.a.ipv4 = dhcp").contains("UseDNS=yes"));
        let own = given("dns = 192.0.2.53\nlink.a.ipv4 = dhcp");
        assert!(own.contains("DNS=192.0.2.53\n") && own.contains("UseDNS=no") && !own.contains("UseDNS=yes"));
    }
}
