//! The published test vectors: what this implementation writes is what they say, and it refuses what must be refused.

use std::fs;
use std::path::PathBuf;

use ed25519_dalek::{Signature, Signer, SigningKey};
use portolan_scanner::net::{Ports, Ranges};
use portolan_scanner::wire::http_signature::{self, Params};
use portolan_scanner::wire::{
    self, Certificate, Enrol, Hint, HostRecord, Id, Job, Method, PortRecord, Preset, Reason, Receipt,
    Results, Said, Sample, Text, hex,
};
use portolan_tests::binaries;
use sha2::{Digest, Sha256};

const NOON: i64 = 1_790_000_000_000_000;

fn path(name: &str) -> PathBuf {
    binaries::repository().join("tests/vectors").join(name)
}

/// Compares with the file; with `VECTORS=write` it writes it.
fn settle(name: &str, text: &str) {
    if std::env::var_os("VECTORS").is_some_and(|value| value == "write") {
        fs::create_dir_all(path(name).parent().expect("it lies in a folder"))
            .expect("the folder can be made");
        fs::write(path(name), text).expect("the vector can be written");
    }
    let kept = fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(String::from_utf8_lossy(&kept), text, "{name}");
}

fn appliance() -> SigningKey {
    SigningKey::from_bytes(&[0x41; 32])
}

fn scanner() -> SigningKey {
    SigningKey::from_bytes(&[0x53; 32])
}

fn id(byte: u8) -> Id {
    Id::from_bytes([0x01, 0x9d, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, byte])
}

fn hash(frame: &str) -> [u8; 32] {
    Sha256::digest(frame).into()
}

fn seal(key: &SigningKey, text: String) -> String {
    wire::seal(text, |covered| key.sign(covered).to_bytes())
}

fn job() -> Job {
    Job {
        id: id(1),
        scan: id(2),
        batch: 0,
        epoch: 1,
        scanner: id(3),
        vantage: id(4),
        issued: NOON,
        expires: NOON + 3_600_000_000,
        preset: Preset::Normal,
        rate: 1000,
        host_rate: 50,
        timeout_ms: 1500,
        retries: 1,
        method: Method::Connect,
        hints: true,
        own: false,
        seed: *b"a seed of 16 by.",
        block_hosts: 12,
        targets: Ranges::parse("10.0.0.1-10.0.0.10, 10.0.1.0/30, 2001:db8::7").expect("they are ranges"),
        ports: Ports::parse("22,80-90,443").expect("they are ports"),
    }
}

fn results(job: &str) -> Results {
    let number = |address: &str| Ranges::parse(address).expect("an address").nth(0).expect("one address");
    let like = |first: &str, last: &str, base| HostRecord {
        first: number(first),
        last: number(last),
        base,
        exceptions: Vec::new(),
        hints: Vec::new(),
    };
    let text = |bytes: &[u8]| Text::escape(bytes, 256).expect("it is not empty");
    let host = HostRecord {
        exceptions: vec![
            PortRecord { first: 22, last: 22, reason: Reason::SynAck, rtt_us: 231 },
            PortRecord { first: 80, last: 90, reason: Reason::NoAnswer, rtt_us: 0 },
            PortRecord { first: 443, last: 443, reason: Reason::SynAck, rtt_us: 305 },
        ],
        hints: vec![
            Hint { port: 22, said: Said::Banner(text(b"SSH-2.0-OpenSSH_9.2\r\n")) },
            Hint {
                port: 443,
                said: Said::Certificate(Certificate {
                    sha256: hash("a certificate"),
                    expires: Some(NOON + 86_400_000_000),
                    subject: Some(text("CN=plc,O=Werft \\\"Süd\\\"".as_bytes())),
                    names: vec![text(b"plc.example"), text(b"10.0.0.10")],
                }),
            },
        ],
        ..like("10.0.0.10", "10.0.0.10", Reason::Refused)
    };
    Results {
        job: hash(job),
        block: 0,
        part: 0,
        last: true,
        scanner: id(3),
        clock: NOON - 86_400_000_000 + 9_000_000,
        offset: 86_400_000_000,
        started: NOON - 86_400_000_000 + 1_000_000,
        ended: NOON - 86_400_000_000 + 8_000_000,
        probes: 12 * 13,
        sent: 171,
        sample: Sample { probed: 8, answered: 3, missed: 1 },
        hosts: vec![
            like("10.0.0.1", "10.0.0.9", Reason::NoAnswer),
            host,
            like("10.0.1.0", "10.0.1.1", Reason::HostUnreachable),
        ],
    }
}

/// The token of the vectors.
const TOKEN: &str = "ptt_a-token-for-tests-only";

fn enrol() -> Enrol {
    let public_key = scanner().verifying_key().to_bytes();
    let proof = hmac_sha256(&hash(TOKEN), Enrol::proven(id(3), &public_key).as_bytes());
    Enrol { scanner: id(3), public_key, proof, clock: NOON }
}

/// RFC 2104, written out, with a key shorter than a block.
fn hmac_sha256(key: &[u8; 32], text: &[u8]) -> [u8; 32] {
    let pad = |with: u8| (0..64).map(|i| key.get(i).unwrap_or(&0) ^ with).collect::<Vec<u8>>();
    let inner = Sha256::digest([pad(0x36).as_slice(), text].concat());
    Sha256::digest([pad(0x5c).as_slice(), &inner].concat()).into()
}

#[test]
fn the_vectors_are_what_is_written_today() {
    for (name, key) in [("appliance.key", appliance()), ("scanner.key", scanner())] {
        let public = hex::encode(key.verifying_key().as_bytes());
        settle(name, &format!("seed: {}\npublic: {public}\n", hex::encode(key.as_bytes())));
    }
    let job_frame = seal(&appliance(), job().encode());
    let results_frame = seal(&scanner(), results(&job_frame).encode());
    let receipt = Receipt { frame: hash(&results_frame), accepted: NOON + 9_500_000 };
    let receipt_frame = seal(&appliance(), receipt.encode());
    let enrol_frame = seal(&scanner(), enrol().encode());
    settle("enrol.frame", &enrol_frame);
    settle("job.frame", &job_frame);
    settle("results.frame", &results_frame);
    settle("receipt.frame", &receipt_frame);
    let sum = |name: &str, frame: &str| format!("{}  {name}\n", hex::encode(&hash(frame)));
    let sums = [
        sum("job.frame", &job_frame),
        sum("results.frame", &results_frame),
        sum("receipt.frame", &receipt_frame),
        sum("enrol.frame", &enrol_frame),
    ];
    settle("SHA256SUMS", &sums.concat());
}

#[test]
fn the_vectors_are_read_and_their_signatures_hold() {
    let read = |name: &str| fs::read(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let verified = |name: &str, key: &SigningKey| {
        let frame = read(name);
        let signed = wire::split(&frame).expect("a frame");
        let signature = Signature::from_bytes(&signed.signature);
        key.verifying_key().verify_strict(signed.text.as_bytes(), &signature).expect("the signature holds");
        signed.text.to_owned()
    };
    let job = Job::decode(&verified("job.frame", &appliance())).expect("a job");
    let results = Results::decode(&verified("results.frame", &scanner())).expect("results");
    assert_eq!(results.check_against(&job), Ok(()));
    assert_eq!(hex::encode(&results.job), hex::encode(&Sha256::digest(read("job.frame"))));
    assert_eq!(Enrol::decode(&verified("enrol.frame", &scanner())), Ok(enrol()));
    let receipt = Receipt::decode(&verified("receipt.frame", &appliance())).expect("a receipt");
    assert_eq!(hex::encode(&receipt.frame), hex::encode(&Sha256::digest(read("results.frame"))));
}

#[test]
fn the_signed_request_is_what_is_written_today() {
    let body = "version: 0.1.0\nclock: 1789913600000000\n";
    let digest = http_signature::digest_to_header(&hash(body));
    let params = Params { created: NOON / 1_000_000, nonce: "AbCdEfGhIjKlMnOpQrStUv".into(), keyid: id(3) };
    let base = http_signature::base("POST", "/scanner/v1/heartbeat", None, &digest, &params);
    let signature = http_signature::signature_to_header(&scanner().sign(base.as_bytes()).to_bytes());
    let text = format!(
        "# headers\nContent-Digest: {digest}\nSignature-Input: {}\nSignature: {signature}\n\n\
         # signature base (no line feed at its end)\n{base}\n\n# body\n{body}",
        params.to_header()
    );
    settle("request.txt", &text);
}

#[test]
fn what_must_be_refused_is_refused() {
    let job = seal(&appliance(), job().encode());
    let job_hash = hex::encode(&hash(&job));
    let frame = seal(&scanner(), results(&job).encode());
    let changed = |from: &str, to: &str| {
        assert!(frame.contains(from), "{from:?} is not in the frame");
        frame.replacen(from, to, 1)
    };
    let refused = [
        ("version-2", changed("portolan-frame: 1", "portolan-frame: 2")),
        ("carriage-return", changed("\n", "\r\n")),
        ("leading-zero", changed("block: 0", "block: 00")),
        ("upper-case-hex", changed(&job_hash, &job_hash.to_uppercase())),
        ("unknown-header", changed("block: 0", "colour: blue\nblock: 0")),
        ("header-twice", changed("block: 0\n", "block: 0\nblock: 0\n")),
        ("hosts-out-of-order", changed("hosts 10.0.1.0-10.0.1.1", "hosts 10.0.0.0-10.0.0.1")),
        ("open-range", changed("port 22 open syn-ack 231", "port 22-23 open syn-ack 231")),
        ("state-and-reason-disagree", changed("closed refused", "closed no-answer")),
        ("hint-not-escaped", changed("S\\xc3\\xbcd", "Süd")),
        ("hint-escaped-otherwise", changed("OpenSSH_9", "OpenSSH\\x5f9")),
        (
            "hint-of-no-open-port",
            changed("port 80-90 filtered no-answer\n", "port 80-90 filtered no-answer\nsays a\n"),
        ),
        ("no-signature", frame[..frame.rfind("signature").expect("it has one")].to_owned()),
        ("signature-not-padded", changed("==\n", "\n")),
    ];
    for (name, text) in refused {
        settle(&format!("refused/{name}.frame"), &text);
        let read = wire::split(text.as_bytes()).and_then(|signed| Results::decode(signed.text));
        assert!(read.is_err(), "{name} was taken");
    }
}
