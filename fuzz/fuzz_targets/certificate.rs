//! Certificates: see `read_certificate` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portolan_fuzz::read_certificate(bytes));
