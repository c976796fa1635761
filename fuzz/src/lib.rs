//! What each fuzz target does with its input. The test in `tests/corpus.rs` does the same with every file of the
//! corpus, on a stable toolchain.

use portolan_scanner::certificate;
use portolan_scanner::link::http::{Head, MAX_HEAD, read_response};
use portolan_scanner::net::{Cidr, Ports, Range, Ranges, packet};
use portolan_scanner::wire::fields::Fields;
use portolan_scanner::wire::hint::{MAX_NAME, MAX_NAMES, MAX_TEXT};
use portolan_scanner::wire::http_signature::{Params, digest_from_header, signature_from_header};
use portolan_scanner::wire::{
    Enrol, Error, Hint, Job, Receipt, Results, Said, Text, kind, results, seal, split,
};
use portolan_scanner::work::child::Line;

/// The appliance's manifest of an update: the module as it is, without the appliance around it.
#[path = "../../appliance/src/update/manifest.rs"]
pub mod manifest;

/// What a target does with any bytes. It panics if something does not hold.
pub type Target = fn(&[u8]);

/// Every target by its name.
pub const TARGETS: [(&str, Target); 9] = [
    ("banner", banner),
    ("certificate", read_certificate),
    ("child", child),
    ("frame", frame),
    ("http", http),
    ("job", job),
    ("packet", read_packet),
    ("sets", sets),
    ("update", update),
];

fn again(frame: &[u8]) -> Result<String, Error> {
    let signed = split(frame)?;
    let text = match kind(signed.text)? {
        "job" => Job::decode(signed.text)?.encode(),
        "results" => Results::decode(signed.text)?.encode(),
        "receipt" => Receipt::decode(signed.text)?.encode(),
        "enrol" => Enrol::decode(signed.text)?.encode(),
        other => return Err(Error::Kind(other.to_owned())),
    };
    Ok(seal(text, |_| signed.signature))
}

/// A frame, a body of results, `key: value` lines: what is read is written again byte for byte.
pub fn frame(bytes: &[u8]) {
    if let Ok(text) = again(bytes) {
        assert_eq!(text.as_bytes(), bytes);
    }
    if let Ok(text) = str::from_utf8(bytes) {
        let _ = results::parse_hosts(text);
    }
    if let Ok(fields) = Fields::parse(bytes) {
        assert_eq!(Fields::parse(fields.to_string().as_bytes()), Ok(fields));
    }
}

/// A job and what follows from it: its blocks are walked once each, and hold its hosts and no others.
pub fn job(bytes: &[u8]) {
    let Some(job) = str::from_utf8(bytes).ok().and_then(|text| Job::decode(text).ok()) else { return };
    assert_eq!(job.check(), Ok(()));
    let (blocks, walk) = (job.blocks(), job.walk());
    assert_eq!(walk.count(), u128::from(blocks));
    let mut seen = std::collections::BTreeSet::new();
    for step in 0..u128::from(blocks.min(64)) {
        let block = u64::try_from(walk.at(step)).expect("it is below the number of blocks");
        assert!(block < blocks && seen.insert(block));
        let hosts = job.block_targets(block);
        assert!((1..=u128::from(job.block_hosts)).contains(&hosts.count()));
        assert_eq!(hosts.subtract(&job.targets), Ranges::new());
    }
}

/// What a probe says, line by line, and the hosts of its blocks.
pub fn child(bytes: &[u8]) {
    let mut body = String::new();
    for line in bytes.split(|byte| *byte == b'\n').filter_map(|line| str::from_utf8(line).ok()) {
        match Line::parse(line) {
            Some(Line::Body(line)) => body = body + &line + "\n",
            Some(Line::Dot) => read_alike(&std::mem::take(&mut body)),
            _ => {}
        }
    }
}

/// The answer of a server, and the headers of a signed request.
pub fn http(bytes: &[u8]) {
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
}

/// Addresses and ports: what is read is written so that it is read alike.
pub fn sets(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    if let Ok(ranges) = Ranges::parse(text) {
        assert_eq!(Ranges::parse(&ranges.to_string()).as_ref(), Ok(&ranges));
        assert_eq!(ranges.subtract(&ranges), Ranges::new());
        assert_eq!(ranges.slice(0, u128::MAX).count(), ranges.count());
        assert_eq!(ranges.nth(0), ranges.iter().next().map(|run| run.first));
    }
    if let Ok(ports) = Ports::parse(text) {
        assert_eq!(Ports::parse(&ports.to_string()).as_ref(), Ok(&ports));
        assert_eq!(ports.each().count(), ports.count() as usize);
    }
    if let Ok(range) = text.parse::<Range>() {
        assert_eq!(range.to_string().parse(), Ok(range));
    }
    if let Ok(cidr) = Cidr::parse(text) {
        assert_eq!(Cidr::parse(&cidr.to_string()), Ok(cidr));
    }
}

/// A frame off the wire.
pub fn read_packet(bytes: &[u8]) {
    let _ = packet::read(bytes);
}

/// A certificate that a stranger shows: what is read of it stays within its bounds and can stand in a frame.
pub fn read_certificate(bytes: &[u8]) {
    let leaf = certificate::read(bytes, [7; 32]);
    assert!(leaf.names.len() <= MAX_NAMES);
    assert!(leaf.names.iter().all(|name| (1..=MAX_NAME).contains(&name.bytes().len())));
    assert!(leaf.subject.iter().all(|subject| subject.bytes().len() <= MAX_TEXT));
    can_stand_in_a_frame(Hint { port: 443, said: Said::Certificate(leaf) });
}

/// What a stranger says first: it comes back, and nothing of it is shown raw. Then the same bytes as lines of hints.
pub fn banner(bytes: &[u8]) {
    if let Some(text) = Text::escape(bytes, MAX_TEXT) {
        assert!(text.as_str().bytes().all(|byte| (b' '..=b'~').contains(&byte)));
        assert_eq!(text.bytes(), bytes[..bytes.len().min(MAX_TEXT)]);
        can_stand_in_a_frame(Hint { port: 22, said: Said::Banner(text) });
    }
    if let Ok(lines) = str::from_utf8(bytes) {
        read_alike(&format!("host 10.0.0.1 closed refused\nport 22 open syn-ack 1\n{lines}"));
    }
}

fn can_stand_in_a_frame(hint: Hint) {
    let mut body = format!("host 10.0.0.1 closed refused\nport {} open syn-ack 1\n", hint.port);
    hint.write(&mut body);
    assert_eq!(results::parse_hosts(&body).expect("it is a body").remove(0).hints, [hint]);
}

/// The manifest of an update: what is read is written again byte for byte, and names nothing but files beside it.
pub fn update(bytes: &[u8]) {
    if let Ok(manifest) = manifest::Manifest::parse(bytes) {
        assert_eq!(manifest.encode().as_bytes(), bytes);
        assert!(manifest.files().iter().all(|file| manifest::is_name(&file.name) && !file.name.contains('/')));
    }
}

/// A body that can be read is written so that it is read alike.
fn read_alike(body: &str) {
    if let Ok(hosts) = results::parse_hosts(body) {
        let mut again = String::new();
        hosts.iter().for_each(|host| host.write(&mut again));
        assert_eq!(results::parse_hosts(&again), Ok(hosts));
    }
}
