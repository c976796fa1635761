//! Sockets that send and hear whole Ethernet frames, many at a time, and the socket by which the kernel tells its
//! routes. Both need to be opened before a process is confined; hearing and sending frames needs `CAP_NET_RAW` to
//! open, and nothing after that. Errors are error numbers.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::mem::zeroed;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr::null_mut;
use std::sync::atomic::{AtomicU32, Ordering};

use super::bpf::Instruction;
use super::confine::RawProgram;
use super::{SOCK_NONBLOCK, SOL_SOCKET, bind, done, last_errno, open_socket, set_option, size_u32};

/// How many frames go or come with one call.
pub const BATCH: usize = 64;

/// The most bytes of a frame that are sent, or read.
pub const FRAME: usize = 176;

const AF_NETLINK: c_int = 16;
const AF_PACKET: u16 = 17;
const SOCK_RAW: c_int = 3;
const ETH_P_ALL: u16 = 3;
const SOL_PACKET: c_int = 263;
const PACKET_QDISC_BYPASS: c_int = 20;
const PACKET_RX_RING: c_int = 5;
const PACKET_VERSION: c_int = 10;
const TPACKET_V2: c_int = 1;
const TP_STATUS_KERNEL: u32 = 0;
const TP_STATUS_USER: u32 = 1;
const SO_ATTACH_FILTER: c_int = 26;
const MSG_DONTWAIT: c_int = 0x40;
const PROT_READ_WRITE: c_int = 1 | 2;
const MAP_SHARED: c_int = 1;

/// The ring of frames that came in: so many slots of so many bytes, a header of at most 80 among them, in blocks that
/// are whole pages on every machine.
const SLOTS: usize = 1 << 12;
const SLOT: usize = 256;
const BLOCK: usize = 1 << 16;

/// The beginning of `struct tpacket2_hdr`.
#[repr(C)]
struct RawSlot {
    status: u32,
    length: u32,
    kept: u32,
    start: u16,
}

/// `struct tpacket_req`.
#[repr(C)]
struct RawRing {
    block: u32,
    blocks: u32,
    slot: u32,
    slots: u32,
}

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
    fn mmap(
        place: *mut c_void,
        length: usize,
        access: c_int,
        flags: c_int,
        fd: c_int,
        from: i64,
    ) -> *mut c_void;
    fn munmap(place: *mut c_void, length: usize) -> c_int;
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

/// A socket that sends and hears frames on one interface, without blocking. What comes in the kernel puts into memory
/// that is shared with it (`packet_mmap`, version 2), so that hearing takes no call.
#[derive(Debug)]
pub struct PacketSocket {
    fd: OwnedFd,
    ring: *mut c_void,
    /// The slot that is filled next.
    next: usize,
}

impl PacketSocket {
    /// Opens it on the interface of this number. Only frames that the filter lets through come in, and of them as
    /// many bytes as it says.
    pub fn open(interface: u32, filter: &[Instruction]) -> Result<Self, i32> {
        let fd = open_socket(c_int::from(AF_PACKET), SOCK_RAW | SOCK_NONBLOCK, 0)?;
        // Nothing comes in before it is bound, so that nothing passes the filter by.
        let length = u16::try_from(filter.len()).expect("a filter has few instructions");
        let program = RawProgram { length, instructions: filter.as_ptr() };
        set_option(&fd, SOL_SOCKET, SO_ATTACH_FILTER, &program)?;
        set_option(&fd, SOL_PACKET, PACKET_VERSION, &TPACKET_V2)?;
        let [slot, slots, block] = [SLOT, SLOTS, BLOCK].map(|size| u32::try_from(size).expect("small sizes"));
        let ring = RawRing { block, blocks: slot * slots / block, slot, slots };
        set_option(&fd, SOL_PACKET, PACKET_RX_RING, &ring)?;
        // SAFETY: the kernel chooses a place for the ring that it has just made, of this length; no memory that is in
        // use is touched.
        let ring = unsafe { mmap(null_mut(), SLOTS * SLOT, PROT_READ_WRITE, MAP_SHARED, fd.as_raw_fd(), 0) };
        if ring.addr() == usize::MAX {
            return Err(last_errno());
        }
        let this = Self { fd, ring, next: 0 };
        // Straight to the card, past the queue of everything else; before Linux 3.14 it is not known.
        let _ = set_option(&this.fd, SOL_PACKET, PACKET_QDISC_BYPASS, &1);
        // SAFETY: a sockaddr_ll is numbers alone, for which zero is a value.
        let mut address: RawLinkAddress = unsafe { zeroed() };
        address.family = AF_PACKET;
        address.protocol = ETH_P_ALL.to_be();
        address.interface = interface.cast_signed();
        let place = (&raw const address).cast();
        // SAFETY: bind(2) reads as many bytes from `address` as it is long; it outlives the call.
        done(unsafe { bind(this.fd.as_raw_fd(), place, size_u32::<RawLinkAddress>()) })?;
        Ok(this)
    }

    /// Sends the frames from a place on and returns how many went, at least one.
    pub fn send(&self, frames: &mut Frames, from: usize) -> Result<usize, i32> {
        // SAFETY: both are numbers and pointers, for which zero is a value.
        let (mut pieces, mut messages) =
            unsafe { (zeroed::<[RawPiece; BATCH]>(), zeroed::<[RawMessages; BATCH]>()) };
        let waiting = frames.bytes[from..frames.count].iter_mut().zip(&frames.lengths[from..]);
        for ((frame, length), (piece, message)) in waiting.zip(pieces.iter_mut().zip(&mut messages)) {
            *piece = RawPiece { base: frame.as_mut_ptr().cast(), length: *length };
            (message.message.pieces, message.message.count) = (piece, 1);
        }
        let count = u32::try_from(frames.count - from).expect("at most a batch");
        // SAFETY: `count` of the messages are filled in above; their pieces point to whole frames that outlive the
        // call. The kernel reads the frames and writes the messages' lengths.
        let sent = unsafe { sendmmsg(self.fd.as_raw_fd(), messages.as_mut_ptr(), count, MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| last_errno())
    }

    /// The next frame that came in, copied to `into`, and its length; `None` if there is none.
    pub fn receive(&mut self, into: &mut [u8; FRAME]) -> Option<usize> {
        let slot = self.ring.wrapping_byte_add(self.next * SLOT);
        let head = slot.cast::<RawSlot>();
        // SAFETY: the ring is mapped as long as this lives, and `next` is below SLOTS. The status is the word by which
        // the kernel and we hand the slot to each other; neither reads or writes it but as a whole.
        let status = unsafe { AtomicU32::from_ptr(&raw mut (*head).status) };
        if status.load(Ordering::Acquire) & TP_STATUS_USER == 0 {
            return None;
        }
        // SAFETY: the slot is ours until its status says otherwise, and begins with a header.
        let (length, start) = unsafe { ((*head).kept, (*head).start) };
        let start = usize::from(start).min(SLOT);
        let length = (length as usize).min(SLOT - start).min(FRAME);
        // SAFETY: `start + length` is within the slot, and `length` within `into`; they do not overlap.
        unsafe { slot.cast::<u8>().add(start).copy_to_nonoverlapping(into.as_mut_ptr(), length) };
        status.store(TP_STATUS_KERNEL, Ordering::Release);
        self.next = (self.next + 1) % SLOTS;
        Some(length)
    }
}

impl Drop for PacketSocket {
    fn drop(&mut self) {
        // SAFETY: the ring was mapped with this length when this was made, and nothing points into it any more.
        unsafe { munmap(self.ring, SLOTS * SLOT) };
    }
}

impl AsFd for PacketSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Opens the socket by which the kernel is asked for its links, routes and neighbours (rtnetlink(7)): each write is
/// a question, each read a piece of an answer.
pub fn routes() -> Result<File, i32> {
    const NETLINK_ROUTE: c_int = 0;
    Ok(open_socket(AF_NETLINK, SOCK_RAW, NETLINK_ROUTE)?.into())
}
