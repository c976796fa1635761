//! How a scope is cut into batches. Pure: the same scan is always cut the same way. How a batch falls into blocks is
//! the wire's (`Job::block_hosts_for`).

use uuid::Uuid;

/// A batch lasts about this long at the scan's rate: short enough that little is lost with a scanner.
const BATCH_SECONDS: u64 = 300;
/// A scan has at most about this many batches a vantage, however large it is.
const MOST_BATCHES: u64 = 4096;
/// A run of hosts of the scope, in ascending order, for the scanners of one vantage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Its number in the scan, from 1.
    pub number: u32,
    /// From where.
    pub vantage: Uuid,
    /// Place of its first host in the scope.
    pub first_host: u64,
    /// How many hosts.
    pub hosts: u64,
}

/// Cuts `hosts` hosts of `ports` ports each, once for every vantage.
#[must_use]
pub fn cut(hosts: u64, ports: u32, rate: u32, vantages: &[Uuid]) -> Vec<Cut> {
    let probes = u64::from(rate).saturating_mul(BATCH_SECONDS);
    let size = (probes / u64::from(ports.max(1))).max(hosts.div_ceil(MOST_BATCHES)).max(1);
    let mut cuts = Vec::new();
    // All of one vantage's batches would come before the next one's: take turns instead.
    for first_host in (0..hosts).step_by(usize::try_from(size).unwrap_or(usize::MAX)) {
        for &vantage in vantages {
            let number = u32::try_from(cuts.len()).unwrap_or(u32::MAX).saturating_add(1);
            cuts.push(Cut { number, vantage, first_host, hosts: size.min(hosts - first_host) });
        }
    }
    cuts
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_vantage_gets_every_host_exactly_once(hosts in 1_u64..100_000, ports in 1_u32..=65_535, rate in 1_u32..100_000, places in 1_usize..4) {
            let vantages: Vec<Uuid> = (0..places).map(|n| Uuid::from_u128(n as u128)).collect();
            let cuts = cut(hosts, ports, rate, &vantages);
            for vantage in &vantages {
                let mut next = 0;
                for cut in cuts.iter().filter(|cut| cut.vantage == *vantage) {
                    prop_assert_eq!(cut.first_host, next);
                    prop_assert!(cut.hosts > 0);
                    next += cut.hosts;
                }
                prop_assert_eq!(next, hosts);
            }
            prop_assert!(cuts.iter().enumerate().all(|(at, cut)| cut.number as usize == at + 1));
            prop_assert!(cuts.len() as u64 <= (MOST_BATCHES + 1) * places as u64);
        }
    }
}
