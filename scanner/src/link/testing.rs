//! What several unit tests of the link need.

use std::collections::VecDeque;
use std::io::{self, Cursor, Read, Write};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::api::{Client, Credentials};
use super::connection::{Dial, Stream};
use super::{Error, http};
use crate::crypto::{self, Identity};
use crate::net::Ranges;
use crate::wire::http_signature::{self, Params};
use crate::work::clock::Clock;
pub use crate::work::testing::{Guard, SCANNER, job, temporary};

/// What a client asked.
#[derive(Debug, Clone)]
pub struct Request {
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(key, _)| key == name).map_or("", |(_, value)| value)
    }
}

type Handler = Box<dyn FnMut(&Request) -> (u16, String) + Send>;

#[derive(Default)]
struct Script {
    answers: VecDeque<Option<(u16, String)>>,
    handler: Option<Handler>,
    asked: Vec<Request>,
    dialled: usize,
}

/// An appliance without a network: it answers from a script, or by a function.
#[derive(Clone, Default)]
pub struct Appliance(Arc<Mutex<Script>>);

impl Appliance {
    /// Answers the next request so.
    pub fn answer(&self, status: u16, body: &str) {
        self.0.lock().unwrap().answers.push_back(Some((status, body.to_owned())));
    }

    /// Closes the connection instead of answering the next request.
    pub fn close(&self) {
        self.0.lock().unwrap().answers.push_back(None);
    }

    /// Answers every request by this function.
    pub fn answer_by(&self, handler: impl FnMut(&Request) -> (u16, String) + Send + 'static) {
        self.0.lock().unwrap().handler = Some(Box::new(handler));
    }

    pub fn asked(&self) -> Vec<Request> {
        self.0.lock().unwrap().asked.clone()
    }

    pub fn dialled(&self) -> usize {
        self.0.lock().unwrap().dialled
    }
}

impl Dial for Appliance {
    fn dial(&self, _deadline: Instant) -> Result<Box<dyn Stream>, Error> {
        self.0.lock().unwrap().dialled += 1;
        Ok(Box::new(Pipe { script: Arc::clone(&self.0), request: Vec::new(), answer: Cursor::default() }))
    }

    /// One of the targets of [`job`].
    fn appliance(&self) -> Ranges {
        Ranges::parse("127.0.0.9").unwrap()
    }
}

struct Pipe {
    script: Arc<Mutex<Script>>,
    request: Vec<u8>,
    answer: Cursor<Vec<u8>>,
}

impl Write for Pipe {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.request.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Read for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.request.is_empty() {
            let request = read_request(&std::mem::take(&mut self.request));
            let mut script = self.script.lock().unwrap();
            script.asked.push(request.clone());
            let answer = match &mut script.handler {
                Some(handler) => Some(handler(&request)),
                None => script.answers.pop_front().expect("an answer is in the script"),
            };
            let Some((status, body)) = answer else { return Ok(0) };
            let answer = format!("HTTP/1.1 {status} X\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            self.answer = Cursor::new(answer.into_bytes());
        }
        self.answer.read(into)
    }
}

impl Stream for Pipe {
    fn set_deadline(&mut self, _deadline: Instant) {}
}

fn read_request(bytes: &[u8]) -> Request {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").expect("a head") + 4;
    let (line, rest) =
        str::from_utf8(&bytes[..end]).expect("text").split_once("\r\n").expect("a request line");
    let path = line.strip_prefix("POST ").and_then(|rest| rest.strip_suffix(" HTTP/1.1")).expect("a POST");
    let head = http::Head::parse(format!("HTTP/1.1 200\r\n{rest}").as_bytes()).expect("headers");
    Request { path: path.to_owned(), headers: head.headers, body: bytes[end..].to_vec() }
}

/// A client, its appliance, and the key it signs with.
pub fn client() -> (Appliance, Client, Arc<Credentials>) {
    let appliance = Appliance::default();
    let credentials = credentials();
    let dial: Arc<dyn Dial> = Arc::new(appliance.clone());
    let client = Client::new(dial, Arc::new(Clock::default()), Some(Arc::clone(&credentials)));
    (appliance, client, credentials)
}

pub fn credentials() -> Arc<Credentials> {
    let identity = Identity::from_pkcs8(&Identity::generate().unwrap()).unwrap();
    Arc::new(Credentials { scanner: SCANNER, api_key: "pts_test".into(), identity })
}

/// Checks a request as an appliance would.
pub fn check_signature(request: &Request, credentials: &Credentials) {
    let digest = http_signature::digest_from_header(request.header("content-digest")).unwrap();
    assert_eq!(digest, crypto::sha256(&request.body));
    let params = Params::from_header(request.header("signature-input")).unwrap();
    assert_eq!(params.keyid, credentials.scanner);
    let base = http_signature::base("POST", &request.path, None, request.header("content-digest"), &params);
    let signature = http_signature::signature_from_header(request.header("signature")).unwrap();
    assert!(crypto::verify(&credentials.identity.public_key(), base.as_bytes(), &signature));
}
