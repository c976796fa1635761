//! How far a template reaches: its targets and ports as sets, and the limit on their product.

use portolan_scanner::net::{Cidr, Ports, Ranges};
use rusqlite::Connection;
use uuid::Uuid;

use super::{Count, Manner, Timing, in_force, store};
use crate::clock::Timestamp;
use crate::error::{Error, Result};
use crate::noun::{Link, Use};

/// The most probes of one template as seen from one vantage: 2^40, just above a /8 with every port.
pub const PROBES_MAX: u128 = 1 << 40;

/// A template's scope at one moment, ready to be frozen into a scan.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// The template.
    pub template: Link,
    /// Its version at that moment.
    pub version: i64,
    /// Every address of its subnets, each once, minus the exclusions.
    pub targets: Ranges,
    /// What the site's exclusions took out of that.
    pub excluded: Ranges,
    /// Every port of its port lists, each once.
    pub ports: Ports,
    /// How many addresses.
    pub hosts: u128,
    /// How many probes from one vantage: hosts times ports, at most [`PROBES_MAX`].
    pub probes: u128,
    /// Its scanners, revoked ones too.
    pub scanners: Vec<Link>,
    /// How fast and how patiently.
    pub timing: Timing,
    /// What is done to a port, and to whose.
    pub manner: Manner,
}

/// What a template covers now. For the transaction of another room that freezes it.
///
/// # Errors
/// `NotFound`; `Invalid` on `template` when nothing is left of its scope, as when the site's exclusions cover it, or it
/// outgrew the limit, which no change made here lets happen; any from the database.
pub fn resolve(db: &Connection, template: Uuid, now: Timestamp) -> Result<Resolved> {
    let kept = store::template(db, template)?;
    let mut extent = Extent::of_template(db, template)?;
    if let Some((_, message)) = extent.refusal() {
        return Err(Error::invalid("template", message));
    }
    let excluded = extent.targets.intersect(&in_force(db, now)?);
    extent.targets = extent.targets.subtract(&excluded);
    if extent.targets.is_empty() {
        return Err(Error::invalid(
            "template",
            "nothing is left to scan: every address of it is excluded from scans",
        ));
    }
    let limit = "a refusal was given above the limit";
    Ok(Resolved {
        template: Link { id: kept.id, name: kept.fields.name },
        version: kept.version,
        hosts: extent.hosts().as_u128().expect(limit),
        probes: extent.probes().as_u128().expect(limit),
        targets: extent.targets,
        excluded,
        ports: extent.ports,
        scanners: kept.fields.scanners,
        timing: kept.fields.timing.timing(),
        manner: kept.fields.manner,
    })
}

/// Targets and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub targets: Ranges,
    pub ports: Ports,
}

impl Extent {
    /// The union of the subnets minus the exclusions, and the union of the port lists.
    pub fn of(subnets: &[Cidr], exclusions: &Ranges, port_lists: &[Ports]) -> Self {
        let all: Ranges = subnets.iter().map(Cidr::range).collect();
        let ports = port_lists.iter().flat_map(Ports::iter).collect();
        Self { targets: all.subtract(exclusions), ports }
    }

    /// Of a template as the database has it.
    pub fn of_template(db: &Connection, template: Uuid) -> Result<Self> {
        let (subnets, port_lists) = (store::cidrs_of(db, template)?, store::ports_of(db, template)?);
        Ok(Self::of(&subnets, &store::template(db, template)?.fields.exclusions, &port_lists))
    }

    pub fn hosts(&self) -> Count {
        Count::of(&self.targets)
    }

    pub fn probes(&self) -> Count {
        self.hosts().times(self.ports.count())
    }

    /// Why it cannot be scanned, with the field of the template to blame.
    pub fn refusal(&self) -> Option<(&'static str, String)> {
        if self.targets.is_empty() {
            return Some((
                "exclusions",
                "nothing is left to scan: the exclusions cover every subnet".to_owned(),
            ));
        }
        if self.ports.is_empty() {
            return Some(("port_lists", "at least one port is needed".to_owned()));
        }
        let probes = self.probes();
        (probes > Count::from(PROBES_MAX)).then(|| {
            let (hosts, ports) = (self.hosts(), Count::from(u128::from(self.ports.count())));
            let limit = Count::from(PROBES_MAX);
            let message = format!(
                "{hosts:#} hosts with {ports:#} ports each are {probes:#} probes; the limit is {limit:#}"
            );
            ("subnets", message)
        })
    }
}

/// Refuses on `field` a change after which one of these templates could not be scanned.
///
/// # Errors
/// `Invalid`, naming the template; any from the database.
pub(super) fn still_fit(db: &Connection, field: &str, templates: &[Use]) -> Result<()> {
    for template in templates {
        if let Some((_, message)) = Extent::of_template(db, template.id)?.refusal() {
            return Err(Error::invalid(
                field,
                format!("the template “{}” uses this: {message}", template.name),
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use portolan_scanner::net::{Range, addr_to_u128};
    use proptest::prelude::*;

    use super::*;

    fn extent(subnets: &[&str], exclusions: &str, ports: &[&str]) -> Extent {
        let subnets: Vec<Cidr> = subnets.iter().map(|text| Cidr::parse(text).unwrap()).collect();
        let ports: Vec<Ports> = ports.iter().map(|text| Ports::parse(text).unwrap()).collect();
        Extent::of(&subnets, &Ranges::parse(exclusions).unwrap(), &ports)
    }

    #[test]
    fn overlapping_subnets_and_port_lists_count_once() {
        let extent = extent(&["10.0.0.0/24", "10.0.0.128/25", "::1/128"], "10.0.0.0/28", &["22,80", "80-90"]);
        assert_eq!(extent.targets.to_string(), "::1, 10.0.0.16-10.0.0.255");
        assert_eq!((extent.hosts(), extent.ports.to_string().as_str()), (Count::from(241), "22,80-90"));
        assert_eq!(extent.probes(), Count::from(241 * 12));
        assert_eq!(extent.refusal(), None);
    }

    #[test]
    fn all_of_ipv6_is_refused_with_its_probes_and_the_limit() {
        let (field, message) = extent(&["::/0"], "", &["1-65535"]).refusal().unwrap();
        assert_eq!(field, "subnets");
        assert!(
            message.contains("22,300,404,916,163,702,203,072,254,898,040,929,737,768,960 probes"),
            "{message}"
        );
        assert!(message.contains("the limit is 1,099,511,627,776"), "{message}");
    }

    #[test]
    fn a_slash_8_with_every_port_fits_and_one_address_more_does_not() {
        let eight = extent(&["10.0.0.0/8"], "", &["1-65535"]);
        assert_eq!((eight.refusal(), eight.probes()), (None, Count::from((1 << 24) * 65_535)));
        assert!(extent(&["10.0.0.0/8", "11.0.0.0/24"], "", &["1-65535"]).refusal().is_none());
        assert!(extent(&["10.0.0.0/8", "11.0.0.0/23"], "", &["1-65535"]).refusal().is_some());
    }

    #[test]
    fn an_empty_scope_is_refused() {
        assert_eq!(extent(&["10.0.0.0/24"], "10.0.0.0/8", &["1"]).refusal().unwrap().0, "exclusions");
        assert_eq!(extent(&["10.0.0.0/24"], "", &[]).refusal().unwrap().0, "port_lists");
    }

    /// Near the start of IPv4, so that a naive set of addresses stays small.
    fn subnet() -> impl Strategy<Value = Cidr> {
        let base = addr_to_u128("10.0.0.0".parse().unwrap());
        (0u128..300, 121u8..=128).prop_map(move |(offset, prefix)| Cidr::holding(base + offset, prefix))
    }

    fn hole() -> impl Strategy<Value = Range> {
        let base = addr_to_u128("10.0.0.0".parse().unwrap());
        (0u128..300, 0u128..40)
            .prop_map(move |(from, more)| Range { first: base + from, last: base + from + more })
    }

    fn list() -> impl Strategy<Value = BTreeSet<u16>> {
        proptest::collection::btree_set(1u16..100, 1..20)
    }

    proptest! {
        #[test]
        fn a_scope_is_the_naive_set_of_its_pairs(
            subnets in proptest::collection::vec(subnet(), 0..6),
            holes in proptest::collection::vec(hole(), 0..4),
            lists in proptest::collection::vec(list(), 0..4),
        ) {
            let mut addresses: BTreeSet<u128> = BTreeSet::new();
            for subnet in &subnets {
                addresses.extend(subnet.range().first..=subnet.range().last);
            }
            addresses.retain(|address| !holes.iter().any(|hole| hole.contains(*address)));
            let ports: BTreeSet<u16> = lists.iter().flatten().copied().collect();

            let kept: Vec<Ports> = lists.iter().map(|list| list.iter().map(|port| (*port, *port)).collect()).collect();
            let extent = Extent::of(&subnets, &holes.into_iter().collect(), &kept);
            let targets: Vec<u128> = extent.targets.iter().flat_map(|run| run.first..=run.last).collect();
            prop_assert_eq!(targets, addresses.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(extent.ports.each().collect::<Vec<_>>(), ports.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(extent.probes(), Count::from(addresses.len() as u128 * ports.len() as u128));
            prop_assert_eq!(extent.refusal().is_some(), addresses.is_empty() || ports.is_empty());
        }
    }
}
