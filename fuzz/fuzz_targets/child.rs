//! What a probe says: see `child` in the library.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| portolan_fuzz::child(bytes));
