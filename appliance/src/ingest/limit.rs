//! How many requests may be under way at once, from one source and in all. Who shows a client certificate, which our
//! CA must have signed, is counted apart from strangers: those cannot take the places of scanners.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// Counts requests. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Limit {
    under_way: Arc<Mutex<HashMap<IpAddr, usize>>>,
    per_source: usize,
    in_all: usize,
}

/// A request under way; dropped when it is over.
#[derive(Debug)]
pub struct Place {
    limit: Limit,
    source: IpAddr,
}

impl Limit {
    /// For scanners. Those behind one NAT share an address (of IPv6, a /64); each has a long poll and little else.
    #[must_use]
    pub fn on_scanners() -> Self {
        Self { under_way: Arc::default(), per_source: 128, in_all: 1_024 }
    }

    /// For whoever shows no certificate: enrolments, few at a time.
    #[must_use]
    pub fn on_strangers() -> Self {
        Self { under_way: Arc::default(), per_source: 16, in_all: 128 }
    }

    /// A place for one more request from this source, if there is one.
    #[must_use]
    pub fn enter(&self, source: IpAddr) -> Option<Place> {
        let source = network(source);
        let mut under_way = self.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        let in_all: usize = under_way.values().sum();
        let here = under_way.entry(source).or_default();
        if in_all >= self.in_all || *here >= self.per_source {
            if *here == 0 {
                under_way.remove(&source);
            }
            return None;
        }
        *here += 1;
        Some(Place { limit: self.clone(), source })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut under_way = self.limit.under_way.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = under_way.get_mut(&self.source) {
            *here -= 1;
            if *here == 0 {
                under_way.remove(&self.source);
            }
        }
    }
}

/// Whom a source is counted as: an address, of IPv6 its /64, of which one machine may have any address.
pub fn network(source: IpAddr) -> IpAddr {
    match source.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() >> 64 << 64).into(),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_source_fills_its_own_places_only_and_gives_them_back() {
        let limit = Limit::on_scanners();
        let source = |text: &str| text.parse().unwrap();
        let places: Vec<_> =
            (0..128).map(|n| limit.enter(source(&format!("2001:db8::{n:x}"))).unwrap()).collect();
        assert!(limit.enter(source("2001:db8::ffff")).is_none());
        assert!(limit.enter(source("2001:db8:0:1::1")).is_some());
        assert!(limit.enter(source("10.0.0.1")).is_some());
        drop(places);
        assert!(limit.enter(source("2001:db8::ffff")).is_some());
        assert!(limit.under_way.lock().unwrap().is_empty());
    }

    #[test]
    fn there_is_an_end_to_all() {
        for limit in [Limit::on_scanners(), Limit::on_strangers()] {
            let places: Vec<_> = (0..2 * limit.in_all)
                .filter_map(|n| limit.enter(format!("10.0.{}.{}", n / 256, n % 256).parse().unwrap()))
                .collect();
            assert_eq!(places.len(), limit.in_all);
            assert_eq!(limit.under_way.lock().unwrap().len(), limit.in_all);
        }
    }
}
