//! Any bytes as the answer of a server, and as the headers of a signed request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portolan_scanner::link::http::{Head, MAX_HEAD, read_response};
use portolan_scanner::wire::http_signature::{Params, digest_from_header, signature_from_header};

fuzz_target!(|bytes: &[u8]| {
    let max_body = 1 << 10;
    if let Ok(response) = read_response(&mut &*bytes, max_body) {
        assert!((200..600).contains(&response.status));
        assert!(response.body.len() <= max_body);
    }
    if Head::parse(bytes).is_ok() {
        assert!(bytes.len() <= MAX_HEAD);
    }
    if let Ok(text) = str::from_utf8(bytes) {
        if let Ok(params) = Params::from_header(text) {
            assert_eq!(params.to_header(), text);
        }
        let _ = (digest_from_header(text), signature_from_header(text));
    }
});
