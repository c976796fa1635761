//! HTTP answers: see `http` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portolan_fuzz::http(bytes));
