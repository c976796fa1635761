//! What filter programs for the kernel are made of (`linux/bpf_common.h`).

/// `struct sock_filter`: one instruction.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What it does.
    pub code: u16,
    /// How many instructions are skipped if a comparison holds, and if it does not.
    pub yes: u8,
    pub no: u8,
    /// What it does it with.
    pub value: u32,
}

pub const LOAD_32: u16 = 0x20;
pub const LOAD_16: u16 = 0x28;
pub const LOAD_8: u16 = 0x30;
/// The length of the IP header, read from the IPv4 header at a place or known, for the two below: they count from behind it.
pub const HEADER: u16 = 0xB1;
pub const HEADER_IS: u16 = 0x01;
pub const LOAD_16_BEHIND: u16 = 0x48;
pub const LOAD_8_BEHIND: u16 = 0x50;
pub const IF_EQUAL: u16 = 0x15;
pub const IF_MORE: u16 = 0x25;
pub const IF_AT_LEAST: u16 = 0x35;
pub const IF_ANY_BIT: u16 = 0x45;
pub const AND: u16 = 0x54;
pub const RETURN: u16 = 0x06;
