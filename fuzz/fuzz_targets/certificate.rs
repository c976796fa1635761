//! Any bytes as a certificate: what is read of it stays within its bounds and can stand in a frame.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portolan_scanner::certificate;
use portolan_scanner::wire::hint::{MAX_NAME, MAX_NAMES, MAX_TEXT};
use portolan_scanner::wire::{Hint, Said, results};

fuzz_target!(|bytes: &[u8]| {
    let leaf = certificate::read(bytes, [7; 32]);
    assert!(leaf.names.len() <= MAX_NAMES);
    assert!(leaf.names.iter().all(|name| (1..=MAX_NAME).contains(&name.bytes().len())));
    assert!(leaf.subject.iter().all(|subject| subject.bytes().len() <= MAX_TEXT));
    let hint = Hint { port: 443, said: Said::Certificate(leaf) };
    let mut body = String::from("host 10.0.0.1 closed refused\nport 443 open syn-ack 1\n");
    hint.write(&mut body);
    assert_eq!(results::parse_hosts(&body).expect("it is a body").remove(0).hints, [hint]);
});
