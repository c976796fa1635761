//! Any bytes as what a peer says: they come back, and nothing of them is shown raw.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portolan_scanner::wire::hint::MAX_TEXT;
use portolan_scanner::wire::{Hint, Said, Text, results};

fuzz_target!(|bytes: &[u8]| {
    let heard = &bytes[..bytes.len().min(MAX_TEXT)];
    if let Some(text) = Text::escape(bytes, MAX_TEXT) {
        assert!(text.as_str().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(text.bytes(), heard);
        let hint = Hint { port: 22, said: Said::Banner(text) };
        let mut body = String::from("host 10.0.0.1 closed refused\nport 22 open syn-ack 1\n");
        hint.write(&mut body);
        assert_eq!(results::parse_hosts(&body).expect("it is a body").remove(0).hints, [hint]);
    }
    // The same bytes as the lines of hints themselves.
    if let Ok(lines) = str::from_utf8(bytes) {
        let body = format!("host 10.0.0.1 closed refused\nport 22 open syn-ack 1\n{lines}");
        if let Ok(hosts) = results::parse_hosts(&body) {
            let mut again = String::new();
            hosts.iter().for_each(|host| host.write(&mut again));
            assert_eq!(results::parse_hosts(&again), Ok(hosts));
        }
    }
});
