//! Addresses and ports: see `sets` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portolan_fuzz::sets(bytes));
