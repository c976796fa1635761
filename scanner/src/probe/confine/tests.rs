//! The list of calls, by a small interpreter of it; and what the kernel makes of it, by processes that confine
//! themselves as a probe does and then try what a probe must not.

use std::fs::File;
use std::io::{ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;

use super::*;
use crate::sys::Socket;

/// What the program answers to a call.
fn judge(machine: Machine, name: u32, number: u32, arguments: [u64; 6]) -> u32 {
    judge_by(&program(machine, &[], false), name, number, arguments)
}

fn judge_by(program: &[Instruction], name: u32, number: u32, arguments: [u64; 6]) -> u32 {
    let (mut at, mut held) = (0, 0);
    loop {
        let Instruction { code, yes, no, value } = program[at];
        at += 1;
        let holds = match code {
            LOAD_32 => {
                held = match value {
                    NUMBER => number,
                    MACHINE => name,
                    _ => {
                        let index = usize::try_from((value - ARGUMENTS) / 8).unwrap();
                        u32::try_from(arguments[index] & u64::from(u32::MAX)).unwrap()
                    }
                };
                continue;
            }
            AND => {
                held &= value;
                continue;
            }
            IF_EQUAL => held == value,
            IF_AT_LEAST => held >= value,
            RETURN => return value,
            other => panic!("{other:#x} is not used"),
        };
        at += usize::from(if holds { yes } else { no });
    }
}

const MACHINES: [Machine; 2] = [X86_64, AARCH64];

#[test]
fn every_call_of_the_list_is_allowed_and_no_other_is() {
    for (machine, hints) in MACHINES.into_iter().flat_map(|machine| [(machine, false), (machine, true)]) {
        for called in 0..1_000 {
            let mut as_listed = [0; 6];
            let listed = calls(hints).find(|call| call.1[machine.1] == called);
            for argument in listed.map_or(ANY, |call| call.2) {
                as_listed[usize::from(argument.index)] = u64::from(argument.value);
            }
            let expected = if listed.is_some() { ALLOW } else { REFUSE };
            let judged = judge_by(&program(machine, &[], hints), machine.0, called, as_listed);
            assert_eq!(judged, expected, "{machine:?} {called}");
        }
    }
}

#[test]
fn frames_go_by_the_sockets_given_and_by_no_other() {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let own = u64::try_from(socket.as_fd().as_raw_fd()).unwrap();
    for machine in MACHINES {
        let with = program(machine, &[socket.as_fd()], false);
        let number = SENDMMSG[machine.1];
        let answer = |arguments| judge_by(&with, machine.0, number, arguments);
        assert_eq!(answer([own, 0, 64, 0x40, 0, 0]), ALLOW);
        assert_eq!(answer([own + 1, 0, 64, 0x40, 0, 0]), REFUSE, "another socket");
        assert_eq!(answer([own, 0, 64, 0, 0, 0]), REFUSE, "waiting");
        assert_eq!(judge(machine, machine.0, number, [own, 0, 64, 0x40, 0, 0]), REFUSE);
    }
}

#[test]
fn a_call_with_other_arguments_is_refused() {
    let here = X86_64;
    let answer = |number, arguments| judge(here, here.0, number, arguments);
    let stream = u64::from(STREAM);
    assert_eq!(answer(41, [10, stream, 0, 0, 0, 0]), ALLOW);
    assert_eq!(answer(41, [1, stream, 0, 0, 0, 0]), REFUSE, "UNIX");
    assert_eq!(answer(41, [2, stream + 1, 0, 0, 0, 0]), REFUSE, "UDP");
    assert_eq!(answer(41, [2, stream, 132, 0, 0, 0]), REFUSE, "SCTP");
    assert_eq!(answer(9, [0, 4096, 3, 0x22, 0, 0]), ALLOW);
    assert_eq!(answer(9, [0, 4096, 7, 0x22, 0, 0]), REFUSE, "memory that can be executed");
    assert_eq!(answer(9, [0, 4096, 1, 0x02, 0, 0]), REFUSE, "a file as memory");
    assert_eq!(answer(1, [2, 0, 0, 0, 0, 0]), ALLOW);
    assert_eq!(answer(1, [3, 0, 0, 0, 0, 0]), REFUSE, "to say something to a peer");
    assert_eq!(answer(302, [0, 7, 0, 0, 0, 0]), REFUSE, "its own limit is asked for before");
}

#[test]
fn only_with_hints_is_something_sent_and_only_to_the_peer() {
    let here = X86_64;
    let send = |hints, arguments| judge_by(&program(here, &[], hints), here.0, 44, arguments);
    let to_peer = [9, 4096, 100, 0x4000, 0, 0];
    assert_eq!(send(true, to_peer), ALLOW);
    assert_eq!(send(false, to_peer), REFUSE);
    assert_eq!(send(true, [9, 4096, 100, 0x4000, 4096, 16]), REFUSE, "to an address");
    assert_eq!(send(true, [9, 4096, 100, 0x2000_4000, 0, 0]), REFUSE, "while connecting");
    assert_eq!(judge(here, here.0, 318, [0; 6]), REFUSE, "keys");
}

#[test]
fn a_call_by_another_machines_numbers_ends_the_process() {
    for machine in MACHINES {
        for name in [0x4000_0003, 0xC000_00F3, 0] {
            assert_eq!(judge(machine, name, 0, [0; 6]), KILL);
        }
        assert_eq!(judge(machine, machine.0, X32 + 42, [0; 6]), KILL);
    }
}

#[test]
fn the_numbers_are_those_of_the_kernels_headers() {
    let headers = [
        (X86_64, "/usr/include/x86_64-linux-gnu/asm/unistd_64.h"),
        (AARCH64, "/usr/include/asm-generic/unistd.h"),
    ];
    for (machine, path) in headers {
        let Ok(text) = std::fs::read_to_string(path) else {
            println!("skipped: {path} is not installed here");
            continue;
        };
        for call in calls(true) {
            let listed = text.lines().find_map(|line| {
                let (name, number) =
                    line.strip_prefix("#define __NR")?.trim_start_matches("3264").split_once(' ')?;
                (name.strip_prefix('_')? == call.0).then(|| number.trim().parse::<u32>().ok())?
            });
            assert_eq!(call.1[machine.1], listed.unwrap_or(NONE), "{} in {path}", call.0);
        }
    }
}

#[test]
fn each_version_of_landlock_is_asked_for_all_it_can_forbid() {
    assert_eq!(rules(1), Ruleset { files: 0x1FFF, network: 0, scoped: 0 });
    assert_eq!(rules(4), Ruleset { files: 0x7FFF, network: 1, scoped: 0 });
    assert_eq!(rules(7), Ruleset { files: 0xFFFF, network: 1, scoped: 3 });
    assert_eq!(rules(99), rules(7));
}

/// The environment variable that tells a process what to try.
const TRY: &str = "PORTOLAN_TEST_TRY";

/// Not a test of its own: the process that confines itself and then tries something.
#[test]
fn helper_tries() {
    let Ok(what) = std::env::var(TRY) else { return };
    let peer: SocketAddr = std::env::var("PORTOLAN_TEST_PEER").unwrap().parse().unwrap();
    let stream = TcpStream::connect(peer).unwrap();
    close_inherited(Some(stream.as_fd()));
    match what.split_once(' ').map(|(way, _)| way) {
        Some("landlock-only") => {
            kernel::no_new_privileges().unwrap();
            kernel::landlock(rules(kernel::landlock_version().unwrap())).unwrap();
        }
        Some("without-landlock") => {
            // A kernel that has no Landlock, as far as this process can tell.
            let without = [
                instruction(LOAD_32, NUMBER, 0, 0),
                instruction(IF_EQUAL, 444, 0, 1),
                instruction(RETURN, 0x0005_0000 | errno::ENOSYS.cast_unsigned(), 0, 0),
                instruction(RETURN, ALLOW, 0, 0),
            ];
            kernel::no_new_privileges().unwrap();
            kernel::filter(&without).unwrap();
            confine(&[], false).unwrap();
        }
        Some("hints") => confine(&[], true).unwrap(),
        _ => confine(&[], false).unwrap(),
    }
    let done = attempt(what.rsplit(' ').next().unwrap(), peer, stream);
    let said = done.map_or_else(|error| format!("{:?}", error.kind()), |()| "done".to_owned());
    println!("\ntried: {said}");
    #[expect(
        clippy::disallowed_methods,
        reason = "a confined thread of the test runner could not end by itself"
    )]
    std::process::exit(0);
}

fn attempt(what: &str, peer: SocketAddr, mut stream: TcpStream) -> io::Result<()> {
    match what {
        "probe" => {
            let socket = Socket::open(false).map_err(io::Error::from_raw_os_error)?;
            while let Err(number) = socket.connect(peer) {
                assert!([errno::EINPROGRESS, errno::EALREADY].contains(&number), "{number}");
            }
            Ok(())
        }
        "open-file" => File::open("/etc/passwd").map(drop),
        "make-file" => File::create(std::env::temp_dir().join("portolan-confined")).map(drop),
        "execute" => Command::new("/bin/true").status().map(drop),
        "udp" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "unix" => UnixStream::connect("/run/dbus/system_bus_socket").map(drop),
        "unix-listen" => UnixListener::bind(std::env::temp_dir().join("portolan-confined.sock")).map(drop),
        "tcp-listen" => TcpListener::bind("127.0.0.1:0").map(drop),
        "send" => stream.write_all(b"hello"),
        "write" => File::from(OwnedFd::from(stream)).write_all(b"hello"),
        "thread" => std::thread::Builder::new().spawn(|| ()).map(drop),
        "panic" => {
            let caught = std::panic::catch_unwind(|| panic!("said in confinement"));
            caught.map_err(|_| io::Error::from(ErrorKind::Other))
        }
        other => unreachable!("{other}"),
    }
}

/// Has a process try something; what came of it, and its standard error.
fn tried(what: &str) -> (String, String) {
    let peer = TcpListener::bind("127.0.0.1:0").unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "probe::confine::tests::helper_tries", "--nocapture", "--test-threads=1"])
        .env(TRY, what)
        .env("PORTOLAN_TEST_PEER", peer.local_addr().unwrap().to_string())
        .env("RUST_BACKTRACE", "1")
        .output()
        .unwrap();
    let (text, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let said = text.lines().find_map(|line| line.strip_prefix("tried: "));
    let said = said.unwrap_or_else(|| panic!("{what}: {}\n{text}{errors}", output.status));
    (said.to_owned(), errors.into_owned())
}

#[test]
fn a_confined_probe_can_connect() {
    assert_eq!(tried("probe"), ("done".to_owned(), String::new()));
}

#[test]
fn a_confined_probe_can_do_nothing_else() {
    for what in
        ["open-file", "make-file", "execute", "udp", "unix", "unix-listen", "tcp-listen", "write", "thread"]
    {
        assert_eq!(tried(what).0, "PermissionDenied", "{what}");
        assert_eq!(tried(&format!("hints {what}")).0, "PermissionDenied", "{what}, with hints");
    }
    assert_eq!(tried("send").0, "PermissionDenied");
    assert_eq!(tried("hints send").0, "done");
}

#[test]
fn landlock_alone_keeps_it_from_files() {
    if let Err(number) = kernel::landlock_version() {
        println!("skipped: no Landlock here ({})", io::Error::from_raw_os_error(number));
        return;
    }
    for what in ["open-file", "make-file", "execute", "unix-listen"] {
        assert_eq!(tried(&format!("landlock-only {what}")).0, "PermissionDenied", "{what}");
    }
    assert_eq!(tried("landlock-only udp").0, "done", "it is not the other filter that was seen");
}

#[test]
fn a_kernel_without_landlock_is_said_and_the_rest_holds() {
    let (said, errors) = tried("without-landlock open-file");
    assert_eq!(said, "PermissionDenied");
    assert_eq!(
        errors,
        "portolan-scanner probe: not confined by Landlock, which this kernel does not offer \
         (Function not implemented (os error 38))\n"
    );
    assert_eq!(tried("without-landlock probe").0, "done");
}

#[test]
fn a_panic_in_confinement_is_still_told() {
    let (said, errors) = tried("panic");
    assert_eq!(said, "Other");
    assert!(errors.contains("said in confinement"), "{errors}");
}
