//! What a probe gives up before it sends anything to a target, so that one who took it over through an answer could
//! do little but go on connecting.
//!
//! In this order:
//! 1. Every descriptor that it inherited is closed, but standard input, output and error, and that of its orders; then
//!    it opens what it will need.
//! 2. No program it executed could gain privileges (`no_new_privs`), and its capabilities are dropped, all of them.
//!    Its user stays: a root without capabilities, files and calls has nothing of root's left to use, and an id
//!    like `nobody` is shared with whatever else runs under it.
//! 3. Landlock: no access to any file, no listening on TCP, no signal and no abstract UNIX socket beyond itself.
//! 4. seccomp: only the calls of [`CALLS`], with the arguments named there; and those of [`HINT_CALLS`], if open ports
//!    are to be asked what they are.
//!
//! A call that is not in the list fails with EPERM rather than ending the process: it gets one who makes it nowhere,
//! the kernel's audit log names it, and a scan does not die of a call that only a C library on another machine makes.
//! A call by another machine's numbers, in which the list means something else, ends the process.
//!
//! What a kernel does not have is said in a line and the rest is done; any other failure ends the probe before it
//! sent anything.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use crate::sys::bpf::{AND, IF_AT_LEAST, IF_EQUAL, Instruction, LOAD_32, RETURN};
use crate::sys::confine::{self as kernel, Ruleset};
use crate::sys::errno;

/// Closes what was inherited. To be called when every file has been read, and no descriptor is owned but the one to
/// keep.
pub fn close_inherited(keep: Option<BorrowedFd<'_>>) {
    kernel::close_inherited(keep);
}

/// Gives everything else up. To be called when all is open that will be needed, while there is one thread. Whole
/// frames can be sent by the sockets given, and by no other. With `hints` it can say something to the peers of its
/// connections.
///
/// # Errors
/// When the kernel has the means and refuses it.
pub fn confine(packets: &[BorrowedFd<'_>], hints: bool) -> io::Result<()> {
    give_up_privileges()?;
    match kernel::landlock_version() {
        Ok(version) => step("Landlock", kernel::landlock(rules(version)))?,
        // Whatever the number: asking takes no permission, but a container may answer in the kernel's place.
        Err(number) => lacks("Landlock", number),
    }
    let Some(machine) = HERE else {
        say("its system calls are not filtered: their numbers on this kind of machine are not known here");
        return Ok(());
    };
    step("seccomp", kernel::filter(&program(machine, packets, hints)))
}

/// Gives up privileges, but neither files nor system calls: for a scan by hand that keeps a file of how far it is.
/// Says so.
///
/// # Errors
/// As [`confine`].
pub fn confine_but_for_files() -> io::Result<()> {
    give_up_privileges()?;
    say("not confined by Landlock and seccomp: --resume writes a file");
    Ok(())
}

fn give_up_privileges() -> io::Result<()> {
    step("no_new_privs", kernel::no_new_privileges())?;
    step("dropping capabilities", kernel::drop_capabilities())
}

fn say(sentence: &str) {
    crate::say!("portolan-scanner probe: {sentence}");
}

fn lacks(what: &str, number: i32) {
    let error = io::Error::from_raw_os_error(number);
    say(&format!("not confined by {what}, which this kernel does not offer ({error})"));
}

/// Says of a step that failed that the kernel lacks it, if that is the reason.
fn step(what: &str, done: Result<(), i32>) -> io::Result<()> {
    let Err(number) = done else { return Ok(()) };
    if [errno::ENOSYS, errno::EOPNOTSUPP, errno::EINVAL].contains(&number) {
        lacks(what, number);
        return Ok(());
    }
    let error = io::Error::from_raw_os_error(number);
    Err(io::Error::new(error.kind(), format!("it cannot be confined: {what}: {error}")))
}

/// What a version of Landlock can forbid: all of it, but to connect.
fn rules(version: u32) -> Ruleset {
    let files = match version {
        0 | 1 => 13, // execute, read, write, list, remove and make every kind of file
        2 => 14,     // move between folders
        3 | 4 => 15, // truncate
        _ => 16,     // ioctl on devices
    };
    Ruleset {
        files: (1 << files) - 1,
        network: u64::from(version >= 4), // bind a TCP port; bit 1 would be to connect
        scoped: if version >= 6 { 0b11 } else { 0 }, // abstract UNIX sockets, signals
    }
}

/// A kind of machine: the kernel's name for it (`AUDIT_ARCH_…`), and which of the numbers in [`CALLS`] are its own.
type Machine = (u32, usize);
const X86_64: Machine = (0xC000_003E, 0);
const AARCH64: Machine = (0xC000_00B7, 1);

/// That which this program is for.
const HERE: Option<Machine> = match () {
    () if cfg!(target_arch = "x86_64") => Some(X86_64),
    () if cfg!(target_arch = "aarch64") => Some(AARCH64),
    () => None,
};

/// A call that a probe makes: its name, its number on each machine, and what must hold of its arguments; one that is not
/// named may be anything.
type Call<'a> = (&'a str, [u32; 2], &'a [Argument]);

/// The number of a call that a machine does not have.
const NONE: u32 = u32::MAX;

/// The lower 32 bits of an argument of a call: with the bits of the mask, they are the value.
struct Argument {
    index: u8,
    mask: u32,
    value: u32,
}

const fn is(index: u8, value: u32) -> Argument {
    Argument { index, mask: u32::MAX, value }
}

const fn bits(index: u8, mask: u32, value: u32) -> Argument {
    Argument { index, mask, value }
}

const ANY: &[Argument] = &[];
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
/// A TCP socket that does not block and is closed on exec: the only kind that `sys.rs` opens.
const STREAM: u32 = 1 | 0o4000 | 0o2_000_000;
const PROT_EXEC: u32 = 4;
const MAP_ANONYMOUS: u32 = 0x20;
const MSG_DONTWAIT: u32 = 0x40;

/// The calls every probe makes, as seen with strace; those it makes most come first. Nothing that sends on a socket is
/// among them: without hints, a probe connects and hangs up.
#[rustfmt::skip]
const CALLS: &[Call<'_>] = &[
    //   name           x86-64 aarch64  only if                                  what for
    ("connect",       [ 42, 203], ANY),                                    // start a probe, and hear how it ended
    ("epoll_wait",    [232, NONE], ANY),                              // wait for answers and orders;
    ("epoll_pwait",   [281,  22], ANY),                                    //   so it is called elsewhere
    ("clock_gettime", [228, 113], ANY),                                    // where the clock is no vDSO's
    ("close",         [  3,  57], ANY),                                    // hang up
    ("socket",        [ 41, 198], &[is(0, AF_INET), is(1, STREAM), is(2, 0)]),  // a TCP socket
    ("socket",        [ 41, 198], &[is(0, AF_INET6), is(1, STREAM), is(2, 0)]), // over IPv6
    ("epoll_ctl",     [233,  21], &[is(1, 1)]),                            // EPOLL_CTL_ADD: watch it
    ("epoll_ctl",     [233,  21], &[is(1, 2)]),                            // EPOLL_CTL_DEL: no longer
    ("getsockname",   [ 51, 204], ANY),                                    // is it connected
    ("getpeername",   [ 52, 205], ANY),                                    //   with itself?
    ("getsockopt",    [ 55, 209], &[is(1, 6), is(2, 11)]),                 // TCP_INFO: the round trip
    ("setsockopt",    [ 54, 208], &[is(1, 1), is(2, 13)]),                 // SO_LINGER: close by a reset
    ("write",         [  1,  64], &[is(0, 1)]),                            // results
    ("write",         [  1,  64], &[is(0, 2)]),                            // progress, complaints
    ("read",          [  0,  63], ANY),                                    // orders
    ("brk",           [ 12, 214], ANY),                                    // memory: more, less,
    ("mmap",          [  9, 222], &[bits(2, PROT_EXEC, 0), bits(3, MAP_ANONYMOUS, MAP_ANONYMOUS)]), // a large piece,
    ("mremap",        [ 25, 216], ANY),                                    //   a larger one,
    ("munmap",        [ 11, 215], ANY),                                    //   and none;
    ("mprotect",      [ 10, 226], &[bits(2, PROT_EXEC, 0)]),               //   musl's own bookkeeping
    ("rt_sigaction",  [ 13, 134], ANY),                                    // the handler of Ctrl-C takes itself out,
    ("rt_sigreturn",  [ 15, 139], ANY),                                    //   and returns
    ("sigaltstack",   [131, 132], ANY),                                    // the standard library, at the end
    ("futex",         [202,  98], ANY),                                    // a panic is told: the unwinder's locks,
    ("gettid",        [186, 178], ANY),                                    //   the thread's number,
    ("writev",        [ 20,  66], &[is(0, 2)]),                            //   the C library's last words
    ("fcntl",         [ 72,  25], &[is(1, 1)]),                            // F_GETFD: a check of debug builds
    ("exit_group",    [231,  94], ANY),                                    // the end
];

/// What it takes beside them to ask an open port for its certificate. What is sent goes to the peer that the socket is
/// connected to: an address of another length than 0 is refused, and so is every flag but the one, TCP Fast Open's
/// among them.
#[rustfmt::skip]
const HINT_CALLS: &[Call<'_>] = &[
    ("sendto",        [ 44, 206], &[is(3, 0x4000), is(5, 0)]),             // a handshake, with MSG_NOSIGNAL
    ("getrandom",     [318, 278], ANY),                                    // its keys
];

fn calls(hints: bool) -> impl Iterator<Item = &'static Call<'static>> {
    CALLS.iter().chain(HINT_CALLS.iter().filter(move |_| hints))
}

// What the program answers with (`linux/seccomp.h`).
const ALLOW: u32 = 0x7FFF_0000;
const REFUSE: u32 = 0x0005_0000 | errno::EPERM.cast_unsigned();
const KILL: u32 = 0x8000_0000;

// Where `struct seccomp_data` has what.
const NUMBER: u32 = 0;
const MACHINE: u32 = 4;
const ARGUMENTS: u32 = 16;

/// On x86-64, the numbers from here on are those of the x32 ABI.
const X32: u32 = 0x4000_0000;

const fn instruction(code: u16, value: u32, yes: u8, no: u8) -> Instruction {
    Instruction { code, yes, no, value }
}

/// The call that is allowed on each socket that sends whole frames, on both machines: its first argument is the
/// socket, and it does not wait. What comes in takes no call.
const SENDMMSG: [u32; 2] = [307, 269];

/// The list of calls as a program for the kernel: one block a call, which allows it or goes on to the next.
fn program(machine: Machine, packets: &[BorrowedFd<'_>], hints: bool) -> Vec<Instruction> {
    let mut all = vec![
        instruction(LOAD_32, MACHINE, 0, 0),
        instruction(IF_EQUAL, machine.0, 1, 0),
        instruction(RETURN, KILL, 0, 0),
        instruction(LOAD_32, NUMBER, 0, 0),
        instruction(IF_AT_LEAST, X32, 0, 1),
        instruction(RETURN, KILL, 0, 0),
    ];
    for packet in packets {
        let own = packet.as_raw_fd().cast_unsigned();
        let when = [is(0, own), is(3, MSG_DONTWAIT)];
        allow(machine, &("sendmmsg", SENDMMSG, &when), &mut all);
    }
    for call in calls(hints) {
        allow(machine, call, &mut all);
    }
    all.push(instruction(RETURN, REFUSE, 0, 0));
    all
}

/// Adds the block of a call.
fn allow(machine: Machine, (_, numbers, when): &Call<'_>, all: &mut Vec<Instruction>) {
    let number = numbers[machine.1];
    if number == NONE {
        return;
    }
    // Each argument takes three instructions, and behind the last one is the block's end.
    let mut left = u8::try_from(3 * when.len() + 1).expect("a call has at most six arguments");
    all.push(instruction(LOAD_32, NUMBER, 0, 0));
    all.push(instruction(IF_EQUAL, number, 0, left));
    for argument in *when {
        left -= 3;
        all.push(instruction(LOAD_32, ARGUMENTS + 8 * u32::from(argument.index), 0, 0));
        all.push(instruction(AND, argument.mask, 0, 0));
        all.push(instruction(IF_EQUAL, argument.value, 0, left));
    }
    all.push(instruction(RETURN, ALLOW, 0, 0));
}

#[cfg(test)]
mod tests;
