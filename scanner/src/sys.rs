//! The system calls that the standard library does not offer, each wrapped so that the rest of the
//! scanner is safe code. This file and those in `sys/` are the only ones of the workspace with `unsafe`
//! in them.
//!
//! The declarations are the C library's own (the standard library links it anyway); numbers are those of
//! Linux on x86-64, aarch64 and riscv64, which share them. No memory is handed to the kernel beyond the
//! call it is for, and no descriptor leaves this file except as an [`OwnedFd`], which closes itself.
#![expect(
    unsafe_code,
    reason = "system calls have no safe spelling in the standard library; each block says why it holds"
)]

#[cfg(not(all(
    target_os = "linux",
    any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")
)))]
compile_error!("the constants in sys.rs were checked for Linux on x86-64, aarch64 and riscv64 only");

pub mod bpf;
pub mod confine;
#[cfg(panic = "abort")]
mod lean;
pub mod packet;

use std::ffi::{c_int, c_void};
use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, Ordering};

const AF_UNSPEC: u16 = 0;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;
const SOCK_STREAM: c_int = 1;
const SOCK_NONBLOCK: c_int = 0o4000;
const SOCK_CLOEXEC: c_int = 0o2_000_000;
const SOL_SOCKET: c_int = 1;
const IPPROTO_TCP: c_int = 6;
const TCP_INFO: c_int = 11;
const SO_LINGER: c_int = 13;
const EPOLL_CLOEXEC: c_int = 0o2_000_000;
const EPOLL_CTL_ADD: c_int = 1;
const EPOLL_CTL_DEL: c_int = 2;
const EPOLLIN: u32 = 0x001;
const EPOLLOUT: u32 = 0x004;
const EPOLLET: u32 = 1 << 31;
const RLIMIT_NOFILE: c_int = 7;
const SIGINT: c_int = 2;
const SIGTERM: c_int = 15;
const SIG_DFL: usize = 0;
const SIG_ERR: usize = usize::MAX;

/// The error numbers that a probe tells apart (`errno.h`).
pub mod errno {
    pub const EPERM: i32 = 1;
    pub const EINTR: i32 = 4;
    pub const EAGAIN: i32 = 11;
    pub const ENOMEM: i32 = 12;
    pub const EACCES: i32 = 13;
    pub const EINVAL: i32 = 22;
    pub const ENFILE: i32 = 23;
    pub const EMFILE: i32 = 24;
    pub const ENOSPC: i32 = 28;
    pub const EPIPE: i32 = 32;
    pub const ENOSYS: i32 = 38;
    pub const ENONET: i32 = 64;
    pub const EOPNOTSUPP: i32 = 95;
    pub const EADDRNOTAVAIL: i32 = 99;
    pub const ENETDOWN: i32 = 100;
    pub const ENETUNREACH: i32 = 101;
    pub const ECONNRESET: i32 = 104;
    pub const ENOBUFS: i32 = 105;
    pub const EISCONN: i32 = 106;
    pub const ETIMEDOUT: i32 = 110;
    pub const ECONNREFUSED: i32 = 111;
    pub const EHOSTDOWN: i32 = 112;
    pub const EHOSTUNREACH: i32 = 113;
    pub const EALREADY: i32 = 114;
    pub const EINPROGRESS: i32 = 115;
}

/// `struct sockaddr_in6`, large enough for `sockaddr_in` as well: the IPv4 form lies in its first 16 bytes.
#[repr(C)]
#[derive(Clone, Copy)]
struct RawAddress {
    family: u16,
    port: u16,
    /// IPv4: the address. IPv6: the flow label.
    head: [u8; 4],
    /// IPv4: padding (8 of the 16 bytes). IPv6: the address.
    body: [u8; 16],
    scope: u32,
}

const V4_LENGTH: u32 = 16;
const V6_LENGTH: u32 = 28;

impl RawAddress {
    const ZERO: Self = Self { family: AF_UNSPEC, port: 0, head: [0; 4], body: [0; 16], scope: 0 };

    fn of(address: SocketAddr) -> (Self, u32) {
        match address {
            SocketAddr::V4(v4) => {
                let raw =
                    Self { family: AF_INET, port: v4.port().to_be(), head: v4.ip().octets(), ..Self::ZERO };
                (raw, V4_LENGTH)
            }
            SocketAddr::V6(v6) => {
                let raw = Self {
                    family: AF_INET6,
                    port: v6.port().to_be(),
                    head: [0; 4],
                    body: v6.ip().octets(),
                    scope: v6.scope_id(),
                };
                (raw, V6_LENGTH)
            }
        }
    }
}

#[repr(C)]
struct RawLinger {
    on: c_int,
    seconds: c_int,
}

#[repr(C)]
struct RawLimit {
    soft: u64,
    hard: u64,
}

/// One readiness report. The kernel packs it on x86-64 and nowhere else.
#[repr(C)]
#[cfg_attr(target_arch = "x86_64", repr(packed))]
#[derive(Clone, Copy, Debug)]
pub struct Event {
    flags: u32,
    token: u64,
}

impl Event {
    /// What an unused place in a list of events holds.
    pub const NONE: Self = Self { flags: 0, token: 0 };

    /// The number under which the descriptor was added.
    pub fn token(&self) -> u64 {
        self.token
    }
}

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(fd: c_int, address: *const RawAddress, length: u32) -> c_int;
    fn bind(fd: c_int, address: *const c_void, length: u32) -> c_int;
    fn read(fd: c_int, bytes: *mut c_void, room: usize) -> isize;
    fn setsockopt(fd: c_int, level: c_int, name: c_int, value: *const c_void, length: u32) -> c_int;
    fn getsockopt(fd: c_int, level: c_int, name: c_int, value: *mut c_void, length: *mut u32) -> c_int;
    fn epoll_create1(flags: c_int) -> c_int;
    fn epoll_ctl(epoll: c_int, operation: c_int, fd: c_int, event: *mut Event) -> c_int;
    fn epoll_wait(epoll: c_int, events: *mut Event, room: c_int, timeout_ms: c_int) -> c_int;
    fn getrlimit(resource: c_int, limit: *mut RawLimit) -> c_int;
    fn setrlimit(resource: c_int, limit: *const RawLimit) -> c_int;
    fn signal(number: c_int, handler: usize) -> usize;
}

fn last_errno() -> i32 {
    io::Error::last_os_error().raw_os_error().unwrap_or(0)
}

/// What a call said that gives 0, or else has set the error number.
fn done(code: c_int) -> Result<(), i32> {
    if code == 0 { Ok(()) } else { Err(last_errno()) }
}

/// What a call said that gives how much was done, or a negative number and has set the error number.
fn count(code: isize) -> io::Result<usize> {
    usize::try_from(code).map_err(|_| io::Error::last_os_error())
}

/// Opens a socket of any kind, which is closed on exec.
fn open_socket(family: c_int, kind: c_int, protocol: c_int) -> Result<OwnedFd, i32> {
    // SAFETY: socket(2) takes three numbers and touches no memory of ours.
    let fd = unsafe { socket(family, kind | SOCK_CLOEXEC, protocol) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made `fd`; nothing else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Sets an option of a socket.
fn set_option<T>(fd: &impl AsRawFd, level: c_int, name: c_int, value: &T) -> Result<(), i32> {
    let value = (&raw const *value).cast::<c_void>();
    // SAFETY: the kernel reads as many bytes from `value` as it is long, and for a filter the instructions that it
    // names; both outlive the call.
    done(unsafe { setsockopt(fd.as_raw_fd(), level, name, value, size_u32::<T>()) })
}

fn size_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("a small structure")
}

/// A TCP socket that never blocks.
#[derive(Debug)]
pub struct Socket {
    /// For what the standard library does have: names of both ends, sending, and closing.
    stream: TcpStream,
    v6: bool,
}

impl Socket {
    /// Opens a socket for addresses of the family of IPv6 or IPv4. The error is the error number.
    pub fn open(v6: bool) -> Result<Self, i32> {
        let family = c_int::from(if v6 { AF_INET6 } else { AF_INET });
        Ok(Self { stream: open_socket(family, SOCK_STREAM | SOCK_NONBLOCK, 0)?.into(), v6 })
    }

    /// Gives it this address and port as its own, for good. The error is the error number.
    pub fn bind(&self, own: SocketAddr) -> Result<(), i32> {
        let (raw, length) = RawAddress::of(own);
        // SAFETY: `raw` lives through the call and is at least `length` bytes; the kernel only reads it.
        done(unsafe { bind(self.stream.as_raw_fd(), (&raw const raw).cast::<c_void>(), length) })
    }

    /// Whether it is for IPv6.
    pub fn is_v6(&self) -> bool {
        self.v6
    }

    /// Starts to connect, or asks how an earlier start ended: Linux answers a second call with the outcome
    /// of the first, and after a failed outcome the socket can connect anew. The error is the error number.
    pub fn connect(&self, address: SocketAddr) -> Result<(), i32> {
        let (raw, length) = RawAddress::of(address);
        self.connect_raw(&raw, length)
    }

    /// Gives up whatever the socket is doing, so that it can connect anew. Nothing is sent for a
    /// connection that was not yet there.
    pub fn disconnect(&self) -> Result<(), i32> {
        self.connect_raw(&RawAddress::ZERO, V4_LENGTH)
    }

    fn connect_raw(&self, raw: &RawAddress, length: u32) -> Result<(), i32> {
        // SAFETY: `raw` lives through the call and is at least `length` bytes (28 ≥ 16); the kernel only reads it.
        done(unsafe { connect(self.stream.as_raw_fd(), raw, length) })
    }

    /// Whether the socket is connected to itself, as a connect to an unused local port can end up when the
    /// kernel picks that very port as the source (a simultaneous open with oneself).
    pub fn is_connected_to_itself(&self) -> bool {
        self.stream.peer_addr().is_ok_and(|peer| self.stream.local_addr().is_ok_and(|own| own == peer))
    }

    /// The kernel's own measure of the round trip of a connected socket, in microseconds.
    pub fn round_trip(&self) -> Option<u32> {
        /// Where `tcpi_rtt` is in `struct tcp_info`: behind eight bytes and fifteen numbers of four.
        const RTT: usize = (8 + 15 * 4) / 4;
        let mut info = [0u32; RTT + 1];
        let (fd, place) = (self.stream.as_raw_fd(), (&raw mut info).cast::<c_void>());
        let mut length = size_u32::<[u32; RTT + 1]>();
        // SAFETY: the kernel writes at most `length` bytes into `info`, which is that long and outlives the
        // call; it cuts the structure short to fit.
        let done = unsafe { getsockopt(fd, IPPROTO_TCP, TCP_INFO, place, &raw mut length) };
        (done == 0 && info[RTT] > 0).then_some(info[RTT])
    }

    /// Makes the close a reset: nothing lingers on either side.
    pub fn reset_on_close(&self) -> Result<(), i32> {
        set_option(&self.stream, SOL_SOCKET, SO_LINGER, &RawLinger { on: 1, seconds: 0 })
    }
}

impl io::Read for &Socket {
    fn read(&mut self, bytes: &mut [u8]) -> io::Result<usize> {
        // SAFETY: the kernel writes at most `bytes.len()` bytes into `bytes`, which outlives the call.
        count(unsafe { read(self.stream.as_raw_fd(), bytes.as_mut_ptr().cast::<c_void>(), bytes.len()) })
    }
}

impl io::Write for &Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&self.stream).write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A set of descriptors that are watched for readiness.
#[derive(Debug)]
pub struct Epoll(OwnedFd);

impl Epoll {
    /// Makes an empty set.
    pub fn new() -> io::Result<Self> {
        // SAFETY: epoll_create1(2) takes a number and touches no memory of ours.
        let fd = unsafe { epoll_create1(EPOLL_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made `fd`; nothing else in this process owns it.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Watches a socket for the end of its connects; each end is reported once. Closing it ends the watch.
    pub fn watch_socket(&self, socket: &Socket, token: u64) -> Result<(), i32> {
        self.control(EPOLL_CTL_ADD, socket.stream.as_raw_fd(), Event { flags: EPOLLOUT | EPOLLET, token })
    }

    /// Watches a descriptor for something to read, for as long as there is something.
    pub fn watch_input(&self, input: BorrowedFd<'_>, token: u64) -> io::Result<()> {
        self.control(EPOLL_CTL_ADD, input.as_raw_fd(), Event { flags: EPOLLIN, token })
            .map_err(io::Error::from_raw_os_error)
    }

    /// Ends the watch over a descriptor.
    pub fn unwatch(&self, input: BorrowedFd<'_>) -> io::Result<()> {
        self.control(EPOLL_CTL_DEL, input.as_raw_fd(), Event::NONE).map_err(io::Error::from_raw_os_error)
    }

    fn control(&self, operation: c_int, fd: c_int, mut event: Event) -> Result<(), i32> {
        // SAFETY: `event` outlives the call, in the layout that the kernel wants; it is only read.
        done(unsafe { epoll_ctl(self.0.as_raw_fd(), operation, fd, &raw mut event) })
    }

    /// Waits at most `timeout_ms` and returns how many places of `events` were filled, from the first on.
    /// A signal ends the wait early, with 0.
    pub fn wait(&self, events: &mut [Event], timeout_ms: u32) -> io::Result<usize> {
        let room = c_int::try_from(events.len()).unwrap_or(c_int::MAX);
        let timeout = c_int::try_from(timeout_ms).unwrap_or(c_int::MAX);
        // SAFETY: the kernel writes at most `room` events into `events`, which has that many, and any
        // bytes are a valid Event.
        let filled = unsafe { epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), room, timeout) };
        match count(filled as isize) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            other => other,
        }
    }
}

/// How many descriptors this process may have open, after asking for `wanted`: the soft limit is raised as
/// far as the hard one lets it.
pub fn descriptor_limit(wanted: u64) -> io::Result<u64> {
    let mut limit = RawLimit { soft: 0, hard: 0 };
    // SAFETY: getrlimit(2) fills the two numbers of `limit`, which outlives the call.
    if unsafe { getrlimit(RLIMIT_NOFILE, &raw mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.soft < wanted && limit.soft < limit.hard {
        let raised = RawLimit { soft: wanted.min(limit.hard), hard: limit.hard };
        // SAFETY: setrlimit(2) only reads `raised`, which outlives the call.
        if unsafe { setrlimit(RLIMIT_NOFILE, &raw const raised) } == 0 {
            return Ok(raised.soft);
        }
    }
    Ok(limit.soft)
}

static STOP: AtomicBool = AtomicBool::new(false);

/// Takes the first SIGINT or SIGTERM as a wish to end in order; a second one ends at once.
pub fn stop_on_signals() -> io::Result<()> {
    extern "C" fn note(number: c_int) {
        STOP.store(true, Ordering::Relaxed);
        // SAFETY: signal(2) is among the functions that a signal handler may call; it takes two numbers.
        unsafe { signal(number, SIG_DFL) };
    }
    for number in [SIGINT, SIGTERM] {
        // SAFETY: `note` has the signature of a handler, lives as long as the program, and does only what a
        // handler may: it stores to an atomic and calls signal(2).
        if unsafe { signal(number, note as *const () as usize) } == SIG_ERR {
            return Err(io::Error::last_os_error());
        }
    }
    Ok(())
}

/// Whether a signal asked this process to stop.
pub fn stop_requested() -> bool {
    STOP.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_refused_socket_connects_again() {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let socket = Socket::open(false).unwrap();
        for _ in 0..3 {
            assert_eq!(outcome(&socket, closed), Err(errno::ECONNREFUSED));
        }
        assert_eq!(outcome(&socket, open.local_addr().unwrap()), Ok(()));
        assert!(!socket.is_connected_to_itself());
        assert!(socket.round_trip().is_some_and(|micros| micros < 1_000_000));
        socket.reset_on_close().unwrap();
    }

    #[test]
    fn a_socket_that_waits_for_an_answer_can_be_disconnected_and_used_again() {
        let open = TcpListener::bind("[::1]:0").unwrap();
        let socket = Socket::open(true).unwrap();
        assert_eq!(socket.disconnect(), Ok(()));
        assert_eq!(outcome(&socket, open.local_addr().unwrap()), Ok(()));
    }

    #[test]
    fn a_watched_socket_reports_its_end_under_its_token() {
        let open = TcpListener::bind("127.0.0.1:0").unwrap();
        let epoll = Epoll::new().unwrap();
        let socket = Socket::open(false).unwrap();
        let _ = socket.connect(open.local_addr().unwrap());
        epoll.watch_socket(&socket, 77).unwrap();
        let mut events = [Event::NONE; 4];
        assert_eq!(epoll.wait(&mut events, 5_000).unwrap(), 1);
        assert_eq!(events[0].token(), 77);
    }

    #[test]
    fn a_socket_connected_to_itself_is_recognised() {
        let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let socket = Socket::open(false).unwrap();
        let (raw, length) = RawAddress::of(free);
        // SAFETY: `raw` outlives the call and is at least `length` bytes; the kernel only reads it.
        assert_eq!(unsafe { bind(socket.stream.as_raw_fd(), (&raw const raw).cast(), length) }, 0);
        assert_eq!(outcome(&socket, free), Ok(()), "Linux connects a socket with itself");
        assert!(socket.is_connected_to_itself());
    }

    #[test]
    fn the_descriptor_limit_is_known() {
        assert!(descriptor_limit(64).unwrap() >= 64);
    }

    fn outcome(socket: &Socket, address: SocketAddr) -> Result<(), i32> {
        loop {
            match socket.connect(address) {
                Err(errno::EINPROGRESS | errno::EALREADY) => std::thread::yield_now(),
                other => return other,
            }
        }
    }

    #[test]
    fn std_and_we_agree_on_who_is_connected_to_whom() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let socket = Socket { stream, v6: false };
        assert!(!socket.is_connected_to_itself());
    }
}
