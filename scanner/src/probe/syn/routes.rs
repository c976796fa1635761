//! The way to each target, found before the first probe: which addresses go by one way is the kernel's tables'
//! division, and which way that is the kernel's own answer, its rules and metrics included.

use std::io;
use std::net::IpAddr;

use portolan_scanner::net::{Range, Ranges};

use super::netlink::{Link, Netlink, Route};

/// The most stretches of addresses that are told apart.
const MOST: usize = 1 << 16;

/// The most links that are used.
const MOST_LINKS: usize = 8;

/// A way by which SYN packets can go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    /// The link, as its place among [`Routes::links`].
    pub link: usize,
    /// The address that packets come from.
    pub source: IpAddr,
    /// The router they go over, if the target is not on the link.
    pub gateway: Option<IpAddr>,
}

/// The ways to the targets of a job.
#[derive(Debug, Default)]
pub struct Routes {
    /// The links in use.
    pub links: Vec<Link>,
    /// Each once.
    pub ways: Vec<Way>,
    /// Ascending, each with the place of its way; what is in none is connected to.
    stretches: Vec<(Range, usize)>,
}

impl Routes {
    /// Finds them.
    ///
    /// # Errors
    /// What asking the kernel says, or that it has more routes than are told apart.
    pub fn find(kernel: &mut Netlink, targets: &Ranges) -> io::Result<Self> {
        let ethernet = kernel.links()?;
        let mut routes = Self::default();
        for stretch in stretches(targets, &kernel.prefixes()?) {
            if routes.stretches.len() > MOST {
                return Err(io::Error::other(format!("the targets take more than {MOST} routes")));
            }
            let Some(Route { link, source, gateway }) = kernel.route(stretch.first)? else { continue };
            let Some(link) = ethernet.iter().find(|ethernet| ethernet.number == link) else { continue };
            let Some(link) = place(&mut routes.links, *link, MOST_LINKS) else { continue };
            let Some(way) = place(&mut routes.ways, Way { link, source, gateway }, MOST) else { continue };
            match routes.stretches.last_mut() {
                Some((last, same)) if *same == way && last.last + 1 == stretch.first => {
                    last.last = stretch.last;
                }
                _ => routes.stretches.push((stretch, way)),
            }
        }
        Ok(routes)
    }

    /// The way to an address, as its place among [`Routes::ways`]; none if it is connected to.
    pub fn way(&self, address: u128) -> Option<usize> {
        let at = self.stretches.partition_point(|(range, _)| range.last < address);
        self.stretches.get(at).filter(|(range, _)| range.first <= address).map(|(_, way)| *way)
    }

    /// The targets of a job that have one.
    pub fn reached(&self) -> Ranges {
        self.stretches.iter().map(|(range, _)| *range).collect()
    }
}

/// The place of a thing in a list, to which it is added if there is room.
fn place<T: PartialEq>(all: &mut Vec<T>, thing: T, most: usize) -> Option<usize> {
    if let Some(at) = all.iter().position(|other| *other == thing) {
        return Some(at);
    }
    (all.len() < most).then(|| all.push(thing))?;
    Some(all.len() - 1)
}

/// The targets, cut wherever a route begins or ends.
fn stretches(targets: &Ranges, prefixes: &[Range]) -> Vec<Range> {
    let mut cuts: Vec<u128> =
        prefixes.iter().flat_map(|range| [Some(range.first), range.last.checked_add(1)]).flatten().collect();
    cuts.sort_unstable();
    cuts.dedup();
    let mut all = Vec::new();
    for target in targets.iter() {
        let from = cuts.partition_point(|cut| *cut <= target.first);
        let mut first = target.first;
        for cut in cuts[from..].iter().take_while(|cut| **cut <= target.last) {
            all.push(Range { first, last: cut - 1 });
            first = *cut;
        }
        all.push(Range { first, last: target.last });
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_are_cut_where_a_route_begins_or_ends() {
        let of = |text: &str| Ranges::parse(text).unwrap().iter().collect::<Vec<_>>();
        let prefixes =
            ["0.0.0.0/0", "10.0.0.0/24", "10.0.0.5", "10.0.1.0/24", "fd00::/64"].map(|text| of(text)[0]);
        let cut = stretches(&Ranges::parse("10.0.0.0/23, 10.9.0.0/30, fd00::1").unwrap(), &prefixes);
        let expected =
            ["10.0.0.0-10.0.0.4", "10.0.0.5", "10.0.0.6-10.0.0.255", "10.0.1.0/24", "10.9.0.0/30", "fd00::1"];
        assert_eq!(cut, expected.map(|text| of(text)[0]));
    }

    #[test]
    fn an_address_goes_by_the_way_of_its_stretch() {
        let range = |text: &str| Ranges::parse(text).unwrap().iter().next().unwrap();
        let routes = Routes {
            stretches: vec![(range("10.0.0.0/24"), 0), (range("10.0.2.0/24"), 1)],
            ..Routes::default()
        };
        let way = |text: &str| routes.way(range(text).first);
        assert_eq!([way("10.0.0.0"), way("10.0.0.255"), way("10.0.2.9")], [Some(0), Some(0), Some(1)]);
        assert_eq!([way("9.9.9.9"), way("10.0.1.0"), way("10.0.3.0"), way("::1")], [None; 4]);
    }
}
