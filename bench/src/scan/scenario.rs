//! What is scanned: made-up networks of which it is known what is open.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use portolan_scanner::net::{Ports, Ranges, u128_to_addr};

/// A network to be scanned, and what there is to be found.
#[derive(Debug)]
pub struct Scenario {
    /// How it is chosen on the command line.
    pub name: &'static str,
    /// What it is, as the heading of its table.
    pub title: &'static str,
    /// The addresses asked for.
    pub subnet: &'static str,
    /// The ports asked for.
    pub ports: &'static str,
    /// Of this many addresses one has a host; the others are silent.
    pub one_in: u64,
    /// Open ports of each host; the others refuse.
    pub open: usize,
    /// Ten milliseconds away in each direction, and one frame of a hundred is lost in each.
    pub far: bool,
}

/// All of them.
#[rustfmt::skip]
pub const ALL: [Scenario; 5] = [
    Scenario { name: "host",    title: "One host × 65,535 ports, 64 open", subnet: "10.98.0.1/32", ports: "1-65535", one_in: 1, open: 64, far: false },
    Scenario { name: "subnet",  title: "A /24 × 1,000 ports, 8 open on each host", subnet: "10.98.0.0/24", ports: "1-1000", one_in: 1, open: 8, far: false },
    Scenario { name: "sparse",  title: "A /16 × 3 ports, 1 % of the addresses with a host, one port open on each", subnet: "10.98.0.0/16", ports: "22,80,443", one_in: 100, open: 1, far: false },
    Scenario { name: "far",     title: "A /24 × 1,000 ports, 20 ms away, 1 % of the frames lost in each direction", subnet: "10.98.0.0/24", ports: "1-1000", one_in: 1, open: 8, far: true },
    Scenario { name: "subnet6", title: "IPv6: a /120 × 1,000 ports, 8 open on each host", subnet: "fd00:98::/120", ports: "1-1000", one_in: 1, open: 8, far: false },
];

impl Scenario {
    /// The one of this name.
    ///
    /// # Errors
    /// A sentence with the names there are.
    pub fn named(name: &str) -> Result<&'static Self, String> {
        let names = || ALL.map(|scenario| scenario.name).join(", ");
        ALL.iter().find(|s| s.name == name).ok_or_else(|| format!("{name:?} is not a scenario: {}", names()))
    }

    /// How many pairs of address and port.
    pub fn probes(&self) -> u32 {
        u32::try_from(self.addresses().count()).expect("at most a /16") * self.all_ports().count()
    }

    /// Whether its addresses are IPv6.
    pub fn v6(&self) -> bool {
        self.subnet.contains(':')
    }

    /// The addresses that have a host.
    pub fn hosts(&self) -> Vec<IpAddr> {
        let addresses = self.addresses();
        let mut random = Random::new();
        (0..addresses.count())
            .filter(|_| random.below(self.one_in) == 0)
            .filter_map(|n| addresses.nth(n).map(u128_to_addr))
            .collect()
    }

    /// What there is to be found.
    pub fn truth(&self) -> BTreeSet<SocketAddr> {
        let ports = self.all_ports();
        let mut random = Random::new();
        let mut truth = BTreeSet::new();
        for host in self.hosts() {
            let mut open = BTreeSet::new();
            while open.len() < self.open {
                let n = u32::try_from(random.below(ports.count().into())).expect("less than a u32");
                open.extend(ports.nth(n));
            }
            truth.extend(open.into_iter().map(|port| SocketAddr::new(host, port)));
        }
        truth
    }

    fn addresses(&self) -> Ranges {
        Ranges::parse(self.subnet).expect("the table holds subnets")
    }

    /// The ports asked for.
    pub fn all_ports(&self) -> Ports {
        Ports::parse(self.ports).expect("the table holds ports")
    }
}

/// xorshift64: any spread will do, as long as it is the same each time.
pub struct Random(u64);

impl Random {
    /// Always the same sequence.
    pub fn new() -> Self {
        Self(0x2545_f491_4f6c_dd1d)
    }

    /// The next number, less than `limit`.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_host_has_as_many_open_ports_as_the_table_says() {
        for scenario in &ALL {
            let (hosts, truth) = (scenario.hosts(), scenario.truth());
            assert_eq!(truth.len(), hosts.len() * scenario.open, "{}", scenario.name);
            assert!(truth.iter().all(|at| scenario.all_ports().contains(at.port())));
        }
    }

    #[test]
    fn a_sparse_network_has_about_one_host_in_a_hundred() {
        let hosts = Scenario::named("sparse").unwrap().hosts().len();
        assert!((600..700).contains(&hosts), "{hosts}");
        assert_eq!(Scenario::named("subnet").unwrap().hosts().len(), 256);
    }

    #[test]
    fn the_titles_say_how_many_probes() {
        let probes = ALL.map(|scenario| scenario.probes());
        assert_eq!(probes, [65_535, 256_000, 196_608, 256_000, 256_000]);
    }
}
