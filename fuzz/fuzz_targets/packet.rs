//! What comes off the wire in a SYN scan: whatever it is, it is read without a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let _ = portolan_scanner::net::packet::read(data);
});
