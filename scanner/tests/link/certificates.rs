//! X.509 certificates with Ed25519 keys, just enough of them for a CA, its server and its clients.

use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair};

const ED25519: &[u8] = &[0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70];

/// A key as PKCS #8.
pub fn key() -> Vec<u8> {
    Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("there is randomness").as_ref().to_vec()
}

pub fn pair(pkcs8: &[u8]) -> Ed25519KeyPair {
    Ed25519KeyPair::from_pkcs8(pkcs8).expect("it was made here")
}

/// A CA.
pub struct Authority {
    key: Ed25519KeyPair,
    pub certificate: Vec<u8>,
}

impl Authority {
    pub fn new() -> Self {
        let key = pair(&key());
        let basic = extension(0x13, &sequence(&[tlv(1, &[0xff])]));
        let certificate = certificate("Test CA", key.public_key().as_ref(), &key, basic);
        Self { key, certificate }
    }

    /// A certificate for this key, good for this DNS name.
    pub fn issue(&self, name: &str, public_key: &[u8]) -> Vec<u8> {
        let names = extension(0x11, &sequence(&[tlv(0x82, name.as_bytes())]));
        certificate(name, public_key, &self.key, names)
    }
}

fn certificate(subject: &str, public_key: &[u8], issuer: &Ed25519KeyPair, extension: Vec<u8>) -> Vec<u8> {
    let validity = sequence(&[tlv(0x17, b"700101000000Z"), tlv(0x18, b"99991231235959Z")]);
    let body = sequence(&[
        tlv(0xa0, &tlv(2, &[2])),
        tlv(2, &[1]),
        ED25519.to_vec(),
        name("Test CA"),
        validity,
        name(subject),
        sequence(&[ED25519.to_vec(), bits(public_key)]),
        tlv(0xa3, &sequence(&[extension])),
    ]);
    let signature = bits(issuer.sign(&body).as_ref());
    sequence(&[body, ED25519.to_vec(), signature])
}

fn name(common: &str) -> Vec<u8> {
    let attribute = sequence(&[tlv(6, &[0x55, 4, 3]), tlv(0x0c, common.as_bytes())]);
    sequence(&[tlv(0x31, &attribute)])
}

fn extension(arc: u8, value: &[u8]) -> Vec<u8> {
    sequence(&[tlv(6, &[0x55, 0x1d, arc]), tlv(1, &[0xff]), tlv(4, value)])
}

fn bits(bytes: &[u8]) -> Vec<u8> {
    tlv(3, &[&[0], bytes].concat())
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

fn tlv(tag: u8, value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![tag];
    match value.len() {
        short @ 0..128 => bytes.push(u8::try_from(short).expect("below 128")),
        medium @ 128..256 => bytes.extend([0x81, u8::try_from(medium).expect("below 256")]),
        long => {
            bytes.push(0x82);
            bytes.extend(u16::try_from(long).expect("certificates here are small").to_be_bytes());
        }
    }
    bytes.extend_from_slice(value);
    bytes
}
