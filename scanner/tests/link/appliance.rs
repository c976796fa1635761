//! An appliance as far as a scanner sees it: TLS, the calls of the API, and what it was told.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use portolan_scanner::wire::fields::Fields;
use portolan_scanner::wire::http_signature::{self, Params};
use portolan_scanner::wire::{Id, Job, Results, base64, enrolment_proof, hex, seal, split};
use ring::digest::{SHA256, digest};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};

use crate::certificates::{self, Authority};

pub const SCANNER: Id = Id::from_bytes([3; 16]);
pub const TOKEN: &str = "ptt_0123456789";
const API_KEY: &str = "pts_0123456789";

/// What the appliance knows and what it was told.
#[derive(Default)]
pub struct State {
    /// The frame of the job that waits or is leased.
    pub job: Option<String>,
    /// What renewals are answered.
    pub renew: Option<&'static str>,
    pub refuse: Option<&'static str>,
    /// What is excluded.
    pub excluded: &'static str,
    /// By block and part: each frame that came.
    pub frames: BTreeMap<(u64, u32), Vec<Vec<u8>>>,
    pub ends: Vec<(String, String)>,
    pub leases: usize,
    pub renewals: Vec<Instant>,
    /// How far the appliance's clock is ahead, in µs.
    pub ahead: i64,
    /// What this appliance says at an enrolment, unasked, of the key that signs jobs.
    pub says_job_key: Option<[u8; 32]>,
    public_key: Vec<u8>,
    nonces: Vec<String>,
}

/// A running appliance.
pub struct Appliance {
    pub address: SocketAddr,
    pub authority: Arc<Authority>,
    job_key: Ed25519KeyPair,
    state: Arc<Mutex<State>>,
}

pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().expect("32 bytes")
}

impl Appliance {
    /// Starts one whose certificate carries this name.
    pub fn start(name: &str) -> Self {
        Self::start_at("127.0.0.1", name)
    }

    /// Likewise, at this address.
    pub fn start_at(address: &str, name: &str) -> Self {
        let authority = Arc::new(Authority::new());
        let key = certificates::key();
        let leaf = authority.issue(name, certificates::pair(&key).public_key().as_ref());
        let ca = CertificateDer::from(authority.certificate.clone());
        let mut roots = RootCertStore::empty();
        roots.add(ca.clone()).expect("our CA is proper");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let clients = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let config = ServerConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .expect("TLS 1.3 is there")
            .with_client_cert_verifier(clients.allow_unauthenticated().build().expect("a verifier"))
            .with_single_cert(vec![leaf.into(), ca], PrivatePkcs8KeyDer::from(key).into())
            .expect("our certificate is proper");
        let listener = TcpListener::bind((address, 0)).expect("loopback has ports");
        let appliance = Self {
            address: listener.local_addr().expect("it is bound"),
            authority,
            job_key: certificates::pair(&certificates::key()),
            state: Arc::new(Mutex::new(State::default())),
        };
        let door = Door { authority: Arc::clone(&appliance.authority), state: Arc::clone(&appliance.state) };
        let (door, config) = (Arc::new(door), Arc::new(config));
        std::thread::spawn(move || {
            for tcp in listener.incoming().flatten() {
                let (door, config) = (Arc::clone(&door), Arc::clone(&config));
                std::thread::spawn(move || door.serve(tcp, config));
            }
        });
        appliance
    }

    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// A job under this appliance's key.
    pub fn sign(&self, job: &Job) -> String {
        seal(job.encode(), |text| self.job_key.sign(text).as_ref().try_into().expect("64 bytes"))
    }

    pub fn ca_sha256(&self) -> String {
        hex::encode(&sha256(&self.authority.certificate))
    }

    /// The key that signs jobs, public.
    pub fn job_key(&self) -> [u8; 32] {
        self.job_key.public_key().as_ref().try_into().expect("32 bytes")
    }

    /// Waits until something is so.
    pub fn until(&self, what: &str, so: impl Fn(&State) -> bool) {
        let start = Instant::now();
        while !so(&self.state()) {
            assert!(start.elapsed() < Duration::from_secs(60), "waited for: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// The results in a frame, whose signature by the scanner's key is checked.
pub fn results(state: &State, frame: &[u8]) -> Results {
    let signed = split(frame).expect("a frame");
    let key = UnparsedPublicKey::new(&ED25519, &state.public_key);
    key.verify(signed.text.as_bytes(), &signed.signature).expect("the scanner's signature");
    Results::decode(signed.text).expect("results")
}

struct Door {
    authority: Arc<Authority>,
    state: Arc<Mutex<State>>,
}

struct Request {
    path: String,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Request {
    fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

impl Door {
    fn serve(&self, tcp: TcpStream, config: Arc<ServerConfig>) {
        let tls = ServerConnection::new(config).expect("a connection");
        let mut stream = StreamOwned::new(tls, tcp);
        let mut bytes = Vec::new();
        while let Some(request) = read(&mut stream, &mut bytes) {
            let known = stream.conn.peer_certificates().is_some();
            let (status, body) = match request.path.as_str() {
                "/scanner/v1/enrol" => self.enrol(&request),
                _ => match self.check(&request, known) {
                    Ok(()) => self.answer(&request),
                    Err(slug) => (401, format!("error: {slug}\ndetail: in this test\nnow: {}\n", self.now())),
                },
            };
            let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {}\r\n\r\n", body.len());
            if stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).is_err() {
                return;
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "a test's appliance has a real clock")]
    fn now(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is past 1970");
        i64::try_from(since.as_micros()).expect("and before 292277") + self.state.lock().unwrap().ahead
    }

    fn enrol(&self, request: &Request) -> (u16, String) {
        let fields = Fields::parse(&request.body).expect("fields");
        if fields.get("token") != Some(TOKEN) {
            return (403, "error: token-unknown\ndetail: there is no such token\n".into());
        }
        let public: [u8; 32] =
            base64::decode_array(fields.get("public-key").expect("a key")).expect("32 bytes");
        let proof: [u8; 64] = base64::decode_array(fields.get("proof").expect("a proof")).expect("64 bytes");
        let said = enrolment_proof(digest(&SHA256, TOKEN.as_bytes()).as_ref().try_into().expect("32 bytes"));
        UnparsedPublicKey::new(&ED25519, &public).verify(said.as_bytes(), &proof).expect("the proof holds");
        self.state.lock().unwrap().public_key = public.to_vec();
        let mut answer = Fields::new()
            .with("scanner", SCANNER)
            .with("vantage", Id::from_bytes([4; 16]))
            .with("api-key", API_KEY)
            .with("certificate", base64::encode(&self.authority.issue("scanner", &public)))
            .with("now", self.now());
        if let Some(key) = self.state.lock().unwrap().says_job_key {
            answer = answer.with("job-key", base64::encode(&key));
        }
        (200, answer.into())
    }

    fn check(&self, request: &Request, certificate: bool) -> Result<(), &'static str> {
        let now = self.now();
        let mut state = self.state.lock().unwrap();
        if let Some(slug) = state.refuse {
            return Err(slug);
        }
        assert!(certificate, "a client certificate is shown");
        assert_eq!(request.header("authorization"), format!("Bearer {API_KEY}"));
        let digest = request.header("content-digest");
        assert_eq!(http_signature::digest_from_header(digest), Ok(sha256(&request.body)));
        let params = Params::from_header(request.header("signature-input")).expect("the one form");
        let base = http_signature::base("POST", &request.path, None, digest, &params);
        let signature =
            http_signature::signature_from_header(request.header("signature")).expect("a signature");
        let key = UnparsedPublicKey::new(&ED25519, &state.public_key);
        key.verify(base.as_bytes(), &signature).expect("the signature holds");
        assert!(!state.nonces.contains(&params.nonce), "a nonce is used once");
        state.nonces.push(params.nonce);
        if (params.created - now / 1_000_000).abs() > 60 { Err("clock") } else { Ok(()) }
    }

    fn answer(&self, request: &Request) -> (u16, String) {
        let fields = || Fields::parse(&request.body).expect("fields");
        match request.path.as_str() {
            "/scanner/v1/heartbeat" => (200, format!("now: {}\n", self.now())),
            "/scanner/v1/lease" => {
                self.state.lock().unwrap().leases += 1;
                for _ in 0..50 {
                    if let Some(job) = self.state.lock().unwrap().job.clone() {
                        return (200, job);
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                (204, String::new())
            }
            "/scanner/v1/renew" => {
                let mut state = self.state.lock().unwrap();
                state.renewals.push(Instant::now());
                (200, format!("state: {}\nexclusions: [{}]\n", state.renew.unwrap_or("go"), state.excluded))
            }
            "/scanner/v1/exclusions" => (200, self.state.lock().unwrap().excluded.into()),
            "/scanner/v1/results" => {
                let mut state = self.state.lock().unwrap();
                let results = results(&state, &request.body);
                state.frames.entry((results.block, results.part)).or_default().push(request.body.clone());
                (200, format!("kind: receipt\nframe: {}\naccepted: 1\n", hex::encode(&sha256(&request.body))))
            }
            "/scanner/v1/end" => {
                let mut state = self.state.lock().unwrap();
                let field = |key| fields().get(key).expect("it is said").to_owned();
                state.ends.push((field("state"), field("detail")));
                state.job = None;
                (200, "ok: yes\n".into())
            }
            other => panic!("{other} is no call"),
        }
    }
}

/// Reads one request; what came behind it stays in `bytes`.
fn read(stream: &mut impl Read, bytes: &mut Vec<u8>) -> Option<Request> {
    let mut piece = [0; 1 << 14];
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = str::from_utf8(&bytes[..at]).expect("text").to_owned();
            let mut lines = head.split("\r\n");
            let path = lines.next()?.strip_prefix("POST ")?.strip_suffix(" HTTP/1.1")?.to_owned();
            let header = |line: &str| line.split_once(": ").map(|(k, v)| (k.to_lowercase(), v.to_owned()));
            let headers: Vec<(String, String)> = lines.filter_map(header).collect();
            let request = Request { path, headers, body: Vec::new() };
            let length: usize = request.header("content-length").parse().expect("a length");
            if bytes.len() >= at + 4 + length {
                let body = bytes[at + 4..at + 4 + length].to_vec();
                bytes.drain(..at + 4 + length);
                return Some(Request { body, ..request });
            }
        }
        let count = stream.read(&mut piece).ok().filter(|count| *count > 0)?;
        bytes.extend_from_slice(&piece[..count]);
    }
}
