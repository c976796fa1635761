//! Sockets that send and hear whole Ethernet frames, many at a time, and the socket by which the kernel tells its
//! routes. Both need to be opened before a process is confined; hearing and sending frames needs `CAP_NET_RAW` to
//! open, and nothing after that. Errors are error numbers.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::confine::{Instruction, RawProgram};
use super::{SOCK_CLOEXEC, SOCK_NONBLOCK, SOL_SOCKET, bind, last_errno, setsockopt, socket};

/// How many frames go or come with one call.
pub const BATCH: usize = 64;

/// The most bytes of a frame that are sent, or read.
pub const FRAME: usize = 256;

const AF_NETLINK: c_int = 16;
const AF_PACKET: u16 = 17;
const SOCK_RAW: c_int = 3;
const ETH_P_ALL: u16 = 3;
const SOL_PACKET: c_int = 263;
const PACKET_QDISC_BYPASS: c_int = 20;
const SO_RCVBUF: c_int = 8;
const SO_ATTACH_FILTER: c_int = 26;
const SO_RCVBUFFORCE: c_int = 33;
const MSG_DONTWAIT: c_int = 0x40;

/// The room for frames that came and were not read yet, in bytes as the kernel counts them.
const ROOM: c_int = 8 << 20;

/// `struct sockaddr_ll`.
#[repr(C)]
struct RawLinkAddress {
    family: u16,
    protocol: u16,
    interface: c_int,
    hardware: u16,
    kind: u8,
    length: u8,
    address: [u8; 8],
}

/// `struct iovec`.
#[repr(C)]
struct RawPiece {
    base: *mut c_void,
    length: usize,
}

/// `struct msghdr`.
#[repr(C)]
struct RawMessage {
    name: *mut c_void,
    name_length: u32,
    pieces: *mut RawPiece,
    count: usize,
    control: *mut c_void,
    control_length: usize,
    flags: c_int,
}

/// `struct mmsghdr`.
#[repr(C)]
struct RawMessages {
    message: RawMessage,
    length: u32,
}

unsafe extern "C" {
    fn sendmmsg(fd: c_int, messages: *mut RawMessages, count: u32, flags: c_int) -> c_int;
    fn recvmmsg(
        fd: c_int,
        messages: *mut RawMessages,
        count: u32,
        flags: c_int,
        timeout: *mut c_void,
    ) -> c_int;
}

/// Frames, with their lengths.
#[derive(Debug)]
pub struct Frames {
    bytes: Box<[[u8; FRAME]]>,
    lengths: [usize; BATCH],
    count: usize,
}

impl Frames {
    /// None, and room for a batch.
    pub fn new() -> Self {
        Self { bytes: vec![[0; FRAME]; BATCH].into(), lengths: [0; BATCH], count: 0 }
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The one at this place.
    pub fn at(&self, place: usize) -> &[u8] {
        &self.bytes[place][..self.lengths[place].min(FRAME)]
    }

    /// Room for one more, of this length; there must be less than a batch.
    pub fn add(&mut self, length: usize) -> &mut [u8] {
        let place = self.count;
        self.lengths[place] = length;
        self.count += 1;
        &mut self.bytes[place][..length]
    }

    /// Forgets them.
    pub fn clear(&mut self) {
        self.count = 0;
    }
}

/// A socket that sends and hears frames on one interface, without blocking.
#[derive(Debug)]
pub struct PacketSocket(OwnedFd);

impl PacketSocket {
    /// Opens it on the interface of this number. Only frames that the filter lets through come in, and of them as
    /// many bytes as it says.
    pub fn open(interface: u32, filter: &[Instruction]) -> Result<Self, i32> {
        // SAFETY: socket(2) takes three numbers and touches no memory of ours.
        let fd = unsafe { socket(c_int::from(AF_PACKET), SOCK_RAW | SOCK_NONBLOCK | SOCK_CLOEXEC, 0) };
        if fd < 0 {
            return Err(last_errno());
        }
        // SAFETY: the kernel has just made `fd`; nothing else in this process owns it.
        let this = Self(unsafe { OwnedFd::from_raw_fd(fd) });
        // Nothing comes in before it is bound, so that nothing passes the filter by.
        let length = u16::try_from(filter.len()).expect("a filter has few instructions");
        let program = RawProgram { length, instructions: filter.as_ptr() };
        this.set(SOL_SOCKET, SO_ATTACH_FILTER, &program)?;
        // More room than the machine grants everyone takes a capability; without it there is less.
        if this.set(SOL_SOCKET, SO_RCVBUFFORCE, &ROOM).is_err() {
            this.set(SOL_SOCKET, SO_RCVBUF, &ROOM)?;
        }
        // Straight to the card, past the queue of everything else; before Linux 3.14 it is not known.
        let _ = this.set(SOL_PACKET, PACKET_QDISC_BYPASS, &1);
        // SAFETY: a sockaddr_ll is numbers alone, for which zero is a value.
        let mut address: RawLinkAddress = unsafe { zeroed() };
        address.family = AF_PACKET;
        address.protocol = ETH_P_ALL.to_be();
        address.interface = interface.cast_signed();
        // SAFETY: bind(2) reads as many bytes from `address` as it is long; it outlives the call.
        match unsafe { bind(fd, (&raw const address).cast(), size_u32::<RawLinkAddress>()) } {
            0 => Ok(this),
            _ => Err(last_errno()),
        }
    }

    fn set<T>(&self, level: c_int, name: c_int, value: &T) -> Result<(), i32> {
        // SAFETY: the kernel reads as many bytes from `value` as it is long, and for a filter the instructions that
        // it names; both outlive the call.
        let done = unsafe {
            let value = (&raw const *value).cast::<c_void>();
            setsockopt(self.0.as_raw_fd(), level, name, value, size_u32::<T>())
        };
        if done == 0 { Ok(()) } else { Err(last_errno()) }
    }

    /// Sends the frames from a place on and returns how many went, at least one.
    pub fn send(&self, frames: &mut Frames, from: usize) -> Result<usize, i32> {
        let Frames { bytes, lengths, count } = frames;
        let lengths = *lengths;
        with_messages(
            &mut bytes[from..*count],
            |at| lengths[from + at],
            |messages| {
                // SAFETY: `with_messages` gives as many messages as it says, whose pieces point to whole frames that
                // outlive the call; the kernel reads the frames and writes the messages' lengths.
                unsafe {
                    sendmmsg(self.0.as_raw_fd(), messages.as_mut_ptr(), count_u32(messages), MSG_DONTWAIT)
                }
            },
        )
    }

    /// Fills `frames` with what came in; none is the error number of "try again".
    pub fn receive(&self, frames: &mut Frames) -> Result<(), i32> {
        frames.count = 0;
        let Frames { bytes, lengths, count } = frames;
        *count = with_messages(
            bytes,
            |_| FRAME,
            |messages| {
                // SAFETY: as for sending; the kernel writes at most FRAME bytes to each piece, which is that long.
                let got = unsafe {
                    let none = std::ptr::null_mut();
                    recvmmsg(
                        self.0.as_raw_fd(),
                        messages.as_mut_ptr(),
                        count_u32(messages),
                        MSG_DONTWAIT,
                        none,
                    )
                };
                for (length, message) in lengths.iter_mut().zip(messages) {
                    *length = message.length as usize;
                }
                got
            },
        )?;
        Ok(())
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn size_u32<T>() -> u32 {
    u32::try_from(size_of::<T>()).expect("a small structure")
}

fn count_u32<T>(all: &[T]) -> u32 {
    u32::try_from(all.len()).expect("at most a batch")
}

/// Calls the kernel with a message for each buffer, with so many bytes of it, and returns what it says.
fn with_messages(
    buffers: &mut [[u8; FRAME]],
    length: impl Fn(usize) -> usize,
    call: impl FnOnce(&mut [RawMessages]) -> c_int,
) -> Result<usize, i32> {
    let count = buffers.len().min(BATCH);
    // SAFETY: both are numbers and pointers, for which zero is a value.
    let (mut pieces, mut messages) =
        unsafe { (zeroed::<[RawPiece; BATCH]>(), zeroed::<[RawMessages; BATCH]>()) };
    for (at, buffer) in buffers.iter_mut().enumerate().take(count) {
        pieces[at] = RawPiece { base: buffer.as_mut_ptr().cast(), length: length(at).min(FRAME) };
        messages[at].message.pieces = &raw mut pieces[at];
        messages[at].message.count = 1;
    }
    usize::try_from(call(&mut messages[..count])).map_err(|_| last_errno())
}

/// Opens the socket by which the kernel is asked for its links, routes and neighbours (rtnetlink(7)): each write is
/// a question, each read a piece of an answer.
pub fn routes() -> Result<File, i32> {
    const NETLINK_ROUTE: c_int = 0;
    // SAFETY: socket(2) takes three numbers and touches no memory of ours.
    let fd = unsafe { socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE) };
    if fd < 0 {
        return Err(last_errno());
    }
    // SAFETY: the kernel has just made `fd`; nothing else in this process owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) }.into())
}
