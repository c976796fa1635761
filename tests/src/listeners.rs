//! Open ports for a scanner to find: real listeners on loopback.

use std::fs::File;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::thread::JoinHandle;

/// An open port that accepts and closes connections until it is dropped.
pub struct Listener {
    address: SocketAddr,
    socket: TcpStream,
    thread: Option<JoinHandle<()>>,
}

impl Listener {
    /// Opens this port; port 0 lets the system choose one.
    pub fn on(address: &str) -> Listener {
        let address = address.parse().unwrap_or_else(|_| panic!("{address} is not an address with a port"));
        Self::bind(address).unwrap_or_else(|error| panic!("cannot listen on {address}: {error}"))
    }

    /// Opens this port, or says why not.
    pub fn bind(address: SocketAddr) -> io::Result<Listener> {
        Self::saying(address, b"")
    }

    /// Opens a port that says this to whoever connects, before it closes the connection.
    pub fn saying(address: SocketAddr, words: &'static [u8]) -> io::Result<Listener> {
        let listener = TcpListener::bind(address)?;
        let address = listener.local_addr()?;
        // The same socket once more, as a type that can be shut down: closing alone would leave the port open as
        // long as a process that is just being started holds a copy.
        let socket = TcpStream::from(OwnedFd::from(listener.try_clone()?));
        let serve = move || {
            while let Ok((mut peer, _)) = listener.accept() {
                // A peer that is gone has heard enough.
                let _ = peer.write_all(words);
            }
        };
        let thread = std::thread::spawn(serve);
        Ok(Listener { address, socket, thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Listener {
    /// The port is closed when this returns.
    fn drop(&mut self) {
        let _ = self.socket.shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Held by whoever opens ports that were picked before: two at a time could pick the same.
pub struct Alone(#[expect(dead_code, reason = "the lock is held as long as the file is open")] File);

/// Waits until no other process of this user plays with listeners on loopback.
pub fn alone() -> Alone {
    let path = std::env::temp_dir().join("portolan-listeners.lock");
    let file = File::options().create(true).append(true).open(&path);
    let file = file.unwrap_or_else(|error| panic!("cannot open {}: {error}", path.display()));
    file.lock().expect("a file can be locked");
    Alone(file)
}

/// The first `count` ports from `from` on which nothing answers at any of the addresses: a service of this
/// machine that listens on every address would be found at 127.77.1.1 as well.
pub fn quiet_ports(addresses: &[IpAddr], from: u16, count: usize) -> Vec<u16> {
    let quiet = |port: &u16| addresses.iter().all(|ip| TcpListener::bind((*ip, *port)).is_ok());
    let ports: Vec<u16> = (from..32_000).filter(quiet).take(count).collect();
    assert_eq!(ports.len(), count, "not enough free ports from {from}");
    ports
}

/// A port that was free on loopback a moment ago, for a process that must be told its port.
pub fn free_port() -> u16 {
    let socket = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("loopback has a free port");
    socket.local_addr().expect("a bound socket has an address").port()
}
