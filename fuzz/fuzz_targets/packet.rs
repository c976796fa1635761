//! Frames off the wire: see `read_packet` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portolan_fuzz::read_packet(bytes));
