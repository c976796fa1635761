//! The system calls by which a process gives up what it may do. What is given up, and why, is in
//! `probe/confine.rs`; here is only how the kernel is told. Errors are error numbers.
//!
//! All but [`close_inherited`] are for the calling thread and what it starts: they are called before there is a
//! second one.

use std::ffi::{c_int, c_long, c_uint, c_ulong, c_void};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::bpf::Instruction;
use super::{RLIMIT_NOFILE, RawLimit, done, errno, getrlimit, last_errno};

const PR_CAPBSET_DROP: c_int = 24;
const PR_SET_NO_NEW_PRIVS: c_int = 38;
const PR_CAP_AMBIENT: c_int = 47;
const PR_CAP_AMBIENT_CLEAR_ALL: c_ulong = 4;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;
const SECCOMP_SET_MODE_FILTER: c_uint = 1;
/// What the filter refuses is told to the system's audit log, where there is one.
const SECCOMP_FILTER_FLAG_LOG: c_uint = 1 << 1;
const LANDLOCK_CREATE_RULESET_VERSION: c_uint = 1;

// Calls that not every C library wraps. Those of 424 and above have one number on every machine.
const SYS_SECCOMP: c_long = if cfg!(target_arch = "x86_64") { 317 } else { 277 };
const SYS_CLOSE_RANGE: c_long = 436;
const SYS_LANDLOCK_CREATE_RULESET: c_long = 444;
const SYS_LANDLOCK_RESTRICT_SELF: c_long = 446;

/// The first descriptor that is not standard input, output or error.
const FIRST: c_int = 3;

/// The most descriptors that are closed one by one, where the kernel cannot close a range (before Linux 5.9).
const ONE_BY_ONE: u64 = 1 << 16;

#[repr(C)]
struct RawCapabilityHeader {
    version: u32,
    pid: c_int,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct RawCapabilities {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// `struct landlock_ruleset_attr` as of ABI 6. An older kernel takes it as long as what it does not know is zero.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// What is forbidden in the file system.
    pub files: u64,
    /// What is forbidden in the network.
    pub network: u64,
    /// What does not reach beyond this process and its children.
    pub scoped: u64,
}

/// `struct sock_fprog`.
#[repr(C)]
pub(super) struct RawProgram {
    pub(super) length: u16,
    pub(super) instructions: *const Instruction,
}

unsafe extern "C" {
    fn prctl(option: c_int, ...) -> c_int;
    fn capset(header: *mut RawCapabilityHeader, data: *const RawCapabilities) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn close(fd: c_int) -> c_int;
}

/// `prctl(2)` with an option all of whose arguments are numbers.
fn control(option: c_int, first: c_ulong) -> Result<(), i32> {
    const NONE: c_ulong = 0;
    // SAFETY: the options used in this file take numbers alone and touch no memory of ours.
    done(unsafe { prctl(option, first, NONE, NONE, NONE) })
}

/// Closes every descriptor but standard input, output and error, and the one to keep. Whoever calls it owns no
/// other; what is closed here came with the process.
pub fn close_inherited(keep: Option<BorrowedFd<'_>>) {
    match keep.map(|fd| fd.as_raw_fd()) {
        Some(keep) if keep >= FIRST => {
            close_from_to(FIRST, keep - 1);
            close_from_to(keep + 1, c_int::MAX);
        }
        _ => close_from_to(FIRST, c_int::MAX),
    }
}

/// Closes the descriptors from the first to the last, both included.
fn close_from_to(first: c_int, last: c_int) {
    const NO_FLAGS: c_uint = 0;
    if first > last {
        return;
    }
    // SAFETY: close_range(2) takes three numbers. No descriptor is closed under its owner: the caller of
    // `close_inherited` owns none of these.
    if unsafe { syscall(SYS_CLOSE_RANGE, first.cast_unsigned(), last.cast_unsigned(), NO_FLAGS) } == 0 {
        return;
    }
    let mut limit = RawLimit { soft: 0, hard: 0 };
    // SAFETY: getrlimit(2) writes into `limit`, which outlives the call.
    let known = unsafe { getrlimit(RLIMIT_NOFILE, &raw mut limit) } == 0;
    let end = if known { limit.soft.min(ONE_BY_ONE) } else { ONE_BY_ONE };
    for fd in first..=last.min(c_int::try_from(end).unwrap_or(c_int::MAX)) {
        // SAFETY: close(2) takes a number, and nothing here owns the descriptor, as above.
        unsafe { close(fd) };
    }
}

/// From here on no program that is executed gains privileges.
pub fn no_new_privileges() -> Result<(), i32> {
    control(PR_SET_NO_NEW_PRIVS, 1)
}

/// Gives up every capability, and, where this process may, the possibility to get one back.
pub fn drop_capabilities() -> Result<(), i32> {
    // The bounding set ends where the kernel knows no further capability. Whoever may not change it has nothing
    // that it would bound.
    for capability in 0..64 {
        if control(PR_CAPBSET_DROP, capability).is_err() {
            break;
        }
    }
    // Before Linux 4.3 there are none; else they fall with the permitted ones below.
    let _ = control(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL);
    let mut header = RawCapabilityHeader { version: CAPABILITY_VERSION_3, pid: 0 };
    let none = [RawCapabilities { effective: 0, permitted: 0, inheritable: 0 }; 2];
    // SAFETY: version 3 wants a header and two structures of data; both outlive the call. The kernel writes to the
    // header alone, and only a version.
    done(unsafe { capset(&raw mut header, none.as_ptr()) })
}

/// Which version of Landlock this kernel has.
pub fn landlock_version() -> Result<u32, i32> {
    let nothing = std::ptr::null::<c_void>();
    // SAFETY: asked for its version, the kernel looks at no structure: none is given.
    let version =
        unsafe { syscall(SYS_LANDLOCK_CREATE_RULESET, nothing, 0usize, LANDLOCK_CREATE_RULESET_VERSION) };
    if version < 0 { Err(last_errno()) } else { Ok(u32::try_from(version).unwrap_or(u32::MAX)) }
}

/// Forbids by Landlock what the rules name, without exception.
pub fn landlock(rules: Ruleset) -> Result<(), i32> {
    const NO_FLAGS: c_uint = 0;
    // SAFETY: the kernel reads as many bytes from `rules` as it is long; it outlives the call.
    let made =
        unsafe { syscall(SYS_LANDLOCK_CREATE_RULESET, &raw const rules, size_of::<Ruleset>(), NO_FLAGS) };
    if made < 0 {
        return Err(last_errno());
    }
    let fd = c_int::try_from(made).expect("a descriptor is an int");
    // SAFETY: the kernel has just made `fd`; nothing else in this process owns it.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: the call takes two numbers.
    if unsafe { syscall(SYS_LANDLOCK_RESTRICT_SELF, fd.as_raw_fd(), NO_FLAGS) } == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

/// Has every further system call judged by a program.
pub fn filter(program: &[Instruction]) -> Result<(), i32> {
    let length = u16::try_from(program.len()).map_err(|_| errno::EINVAL)?;
    let program = RawProgram { length, instructions: program.as_ptr() };
    let mut last = 0;
    // Before Linux 4.14 there is no such flag.
    for flags in [SECCOMP_FILTER_FLAG_LOG, 0] {
        // SAFETY: `program` names as many instructions as there are, in the kernel's layout, and outlives the
        // call together with them; the kernel copies and checks them.
        if unsafe { syscall(SYS_SECCOMP, SECCOMP_SET_MODE_FILTER, flags, &raw const program) } == 0 {
            return Ok(());
        }
        last = last_errno();
        if last != errno::EINVAL {
            break;
        }
    }
    Err(last)
}
