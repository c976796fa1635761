//! How many requests may be under way at once, from one source and in all.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, PoisonError};

/// From one address (of IPv6, one /64). Scanners behind one NAT share it; each has a long poll and little else.
const PER_SOURCE: usize = 128;
/// In all.
const IN_ALL: usize = 1_024;

/// Counts requests. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Limit(Arc<Mutex<HashMap<IpAddr, usize>>>);

/// A request under way; dropped when it is over.
#[derive(Debug)]
pub struct Place {
    limit: Limit,
    source: IpAddr,
}

impl Limit {
    /// A place for one more request from this source, if there is one.
    #[must_use]
    pub fn enter(&self, source: IpAddr) -> Option<Place> {
        let source = network(source);
        let mut under_way = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let in_all: usize = under_way.values().sum();
        let here = under_way.entry(source).or_default();
        if in_all >= IN_ALL || *here >= PER_SOURCE {
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
        let mut under_way = self.limit.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(here) = under_way.get_mut(&self.source) {
            *here -= 1;
            if *here == 0 {
                under_way.remove(&self.source);
            }
        }
    }
}

fn network(source: IpAddr) -> IpAddr {
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
        let limit = Limit::default();
        let source = |text: &str| text.parse().unwrap();
        let places: Vec<_> =
            (0..PER_SOURCE).map(|n| limit.enter(source(&format!("2001:db8::{n:x}"))).unwrap()).collect();
        assert!(limit.enter(source("2001:db8::ffff")).is_none());
        assert!(limit.enter(source("2001:db8:0:1::1")).is_some());
        assert!(limit.enter(source("10.0.0.1")).is_some());
        drop(places);
        assert!(limit.enter(source("2001:db8::ffff")).is_some());
        assert!(limit.0.lock().unwrap().is_empty());
    }

    #[test]
    fn there_is_an_end_to_all() {
        let limit = Limit::default();
        let places: Vec<_> = (0..2 * IN_ALL)
            .filter_map(|n| limit.enter(format!("10.0.{}.{}", n / 256, n % 256).parse().unwrap()))
            .collect();
        assert_eq!(places.len(), IN_ALL);
        assert_eq!(limit.0.lock().unwrap().len(), IN_ALL);
    }
}
