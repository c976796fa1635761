//! Any text as addresses and ports: what is read is written so that it is read alike.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portolan_scanner::net::{Cidr, Ports, Range, Ranges};

fuzz_target!(|text: &str| {
    if let Ok(ranges) = Ranges::parse(text) {
        assert_eq!(Ranges::parse(&ranges.to_string()).as_ref(), Ok(&ranges));
        assert_eq!(ranges.subtract(&ranges), Ranges::new());
        assert_eq!(ranges.slice(0, u128::MAX).count(), ranges.count());
        assert_eq!(ranges.nth(0), ranges.iter().next().map(|run| run.first));
    }
    if let Ok(ports) = Ports::parse(text) {
        assert_eq!(Ports::parse(&ports.to_string()).as_ref(), Ok(&ports));
        assert_eq!(ports.each().count(), ports.count() as usize);
    }
    if let Ok(range) = text.parse::<Range>() {
        assert_eq!(range.to_string().parse(), Ok(range));
    }
    if let Ok(cidr) = Cidr::parse(text) {
        assert_eq!(Cidr::parse(&cidr.to_string()), Ok(cidr));
    }
});
