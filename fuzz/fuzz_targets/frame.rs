//! Any bytes as a frame: what is read is written again byte for byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use portolan_scanner::wire::fields::Fields;
use portolan_scanner::wire::{Error, Job, Receipt, Results, kind, results, seal, split};

fn again(frame: &[u8]) -> Result<String, Error> {
    let signed = split(frame)?;
    let text = match kind(signed.text)? {
        "job" => Job::decode(signed.text)?.encode(),
        "results" => Results::decode(signed.text)?.encode(),
        "receipt" => Receipt::decode(signed.text)?.encode(),
        other => return Err(Error::Kind(other.to_owned())),
    };
    Ok(seal(text, |_| signed.signature))
}

fuzz_target!(|bytes: &[u8]| {
    if let Ok(text) = again(bytes) {
        assert_eq!(text.as_bytes(), bytes);
    }
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = results::parse_hosts(text);
    }
    if let Ok(fields) = Fields::parse(bytes) {
        assert_eq!(Fields::parse(fields.to_string().as_bytes()), Ok(fields));
    }
});
