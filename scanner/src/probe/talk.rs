//! One connection to an open port: it listens, and if the peer says nothing, asks for its certificate.
//!
//! Nothing is sent but a TLS hello, what a handshake needs after it, and a close; and nothing at all to a peer
//! that speaks first. What is read has bounds in length and in time.

use std::io::{ErrorKind, Read};
use std::net::SocketAddr;

use portolan_scanner::wire::hint::MAX_TEXT;
use portolan_scanner::wire::{Said, Text};

use super::outcome::{Outcome, outcome};
use super::pace::{Instant, SECOND};
use super::preset::Close;
use crate::sys::Socket;

#[cfg(feature = "network")]
pub use super::tls::Config;
#[cfg(feature = "network")]
use super::tls::{Handshake, Step};

/// Without the feature `link` there is no TLS to ask with.
#[cfg(not(feature = "network"))]
pub struct Config;

#[cfg(not(feature = "network"))]
impl Config {
    pub fn new() -> Self {
        Self
    }
}

/// How long connecting and listening may take together, and a handshake after it.
const PATIENCE: u64 = 2 * SECOND;

/// How long the peer is listened to where TLS is usual, before it is asked for its certificate.
const TLS_PATIENCE: u64 = SECOND * 3 / 10;

/// How long more may follow what a peer said first.
const SETTLE: u64 = SECOND / 5;

/// Ports where TLS is usual.
#[rustfmt::skip]
const TLS_PORTS: [u16; 24] = [
    443, 465, 563, 636, 853, 989, 990, 992, 993, 995, 2376, 3269, 4443, 5061, 5671, 5986, 6443, 6514, 6697, 8443, 8883,
    9093, 9443, 10_443,
];

/// A connection.
pub struct Talk {
    socket: Socket,
    target: SocketAddr,
    until: Instant,
    state: State,
}

enum State {
    Connecting,
    Listening(Vec<u8>),
    #[cfg(feature = "network")]
    Asking(Box<Handshake>),
}

impl Talk {
    /// Starts to connect; `None` if this machine has no socket for it.
    pub fn begin(target: SocketAddr, now: Instant) -> Option<Self> {
        let socket = Socket::open(target.is_ipv6()).ok()?;
        let mut talk = Self { socket, target, until: now + PATIENCE, state: State::Connecting };
        talk.connect(now)?;
        Some(talk)
    }

    /// Goes on as far as can be without waiting; once it is over, gives what was said, if anything was.
    #[expect(clippy::option_option, reason = "not over yet, and over without a word")]
    pub fn look(&mut self, now: Instant, config: &Config) -> Option<Option<Said>> {
        if let State::Connecting = self.state
            && self.connect(now).is_none()
        {
            return Some(None);
        }
        if let State::Listening(heard) = &mut self.state {
            let first = heard.is_empty();
            let over = listen(&self.socket, heard);
            if first && !heard.is_empty() {
                self.until = self.until.min(now + SETTLE);
            }
            if over || (now >= self.until && !heard.is_empty()) {
                return Some(Text::escape(heard, MAX_TEXT).map(Said::Banner));
            }
            if now >= self.until && self.ask(now, config).is_none() {
                return Some(None);
            }
        }
        #[cfg(feature = "network")]
        if let State::Asking(handshake) = &mut self.state {
            match handshake.step(&self.socket) {
                Step::Wait => {}
                Step::Over(leaf) => return Some(leaf.map(Said::Certificate)),
            }
        }
        (now >= self.until).then_some(None)
    }

    /// Ends it as the preset wants it.
    pub fn hang_up(&self, close: Close) {
        if close == Close::Reset {
            // Without it the close is an orderly one, which is no harm.
            let _ = self.socket.reset_on_close();
        }
    }

    fn connect(&mut self, now: Instant) -> Option<()> {
        match outcome(self.socket.connect(self.target)) {
            Outcome::Pending => {}
            Outcome::Open if !self.socket.is_connected_to_itself() => {
                let patience = if TLS_PORTS.contains(&self.target.port()) { TLS_PATIENCE } else { PATIENCE };
                self.until = self.until.min(now + patience);
                self.state = State::Listening(Vec::new());
            }
            _ => return None,
        }
        Some(())
    }

    /// The peer was silent.
    #[cfg(feature = "network")]
    fn ask(&mut self, now: Instant, config: &Config) -> Option<()> {
        self.state = State::Asking(Box::new(Handshake::begin(config, self.target.ip())?));
        self.until = now + PATIENCE;
        Some(())
    }

    #[cfg(not(feature = "network"))]
    #[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "there is nothing to ask with")]
    fn ask(&mut self, _now: Instant, _config: &Config) -> Option<()> {
        Some(())
    }
}

/// Reads what is there, and says whether no more is wanted: enough was said, or the peer has ended it.
fn listen(mut socket: &Socket, heard: &mut Vec<u8>) -> bool {
    let mut piece = [0; MAX_TEXT];
    while heard.len() < MAX_TEXT {
        match socket.read(&mut piece[heard.len()..]) {
            Ok(count) if count > 0 => heard.extend_from_slice(&piece[heard.len()..][..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            _ => return true,
        }
    }
    true
}

#[cfg(all(test, feature = "network"))]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_peer_that_cannot_be_asked_for_its_certificate_is_let_go() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut talk = Talk::begin(silent.local_addr().unwrap(), 0).unwrap();
        let later = 2 * PATIENCE;
        assert_eq!((0..1_000).find_map(|_| talk.look(later, &Config::unable())), Some(None));
    }
}
