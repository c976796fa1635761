//! The manifest of an update: see `update` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portolan_fuzz::update(bytes));
