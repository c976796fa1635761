//! A long and bad cable: carries frames between two interfaces, late and not all of them. Linux has netem for this,
//! but not every kernel is built with it, and its loss differs from run to run.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockProtocol, SockType, sockopt};

use super::scenario::Random;
use super::until_input_ends;

/// How long a frame takes.
pub const DELAY: Duration = Duration::from_millis(10);
/// One frame of this many is lost.
pub const ONE_LOST_IN: u64 = 100;

/// Frames that came, and those of them that were lost.
#[derive(Debug, Default)]
struct Count {
    came: AtomicU64,
    lost: AtomicU64,
}

/// Joins the interfaces `near` and `far` of this network namespace until the standard input ends; says `ready` when
/// they are joined, and at the end how much was lost.
///
/// # Errors
/// A sentence, if the interfaces cannot be opened (that takes root).
pub fn join() -> Result<(), String> {
    let open = |name: &str| open(name).map_err(|error| format!("{name}: {error}"));
    let (near, far) = (open("near")?, open("far")?);
    let count = Arc::new(Count::default());
    for (from, to) in [(&near, &far), (&far, &near)] {
        let again = |file: &File| file.try_clone().map_err(|error| format!("a descriptor: {error}"));
        carry(again(from)?, again(to)?, Arc::clone(&count));
    }
    println!("ready");
    let _ = until_input_ends().recv();
    let [came, lost] = [&count.came, &count.lost].map(|count| count.load(Ordering::Relaxed));
    println!("{came} frames, {lost} lost");
    Ok(())
}

/// A socket that reads and writes whole frames of an interface, and holds some ten thousand of them: a scanner that
/// sends faster than they can be carried loses more.
fn open(name: &str) -> Result<File, String> {
    let said = |error: nix::Error| error.to_string();
    let mut links = getifaddrs().map_err(said)?.filter(|link| link.interface_name == name);
    let address = links.find_map(|link| link.address.and_then(|address| address.as_link_addr().copied()));
    let address = address.ok_or("no such interface")?;
    let socket =
        socket::socket(AddressFamily::Packet, SockType::Raw, SockFlag::SOCK_CLOEXEC, SockProtocol::EthAll)
            .map_err(said)?;
    socket::setsockopt(&socket, sockopt::RcvBufForce, &(8 << 20)).map_err(said)?;
    socket::bind(socket.as_raw_fd(), &address).map_err(said)?;
    Ok(File::from(socket))
}

/// Carries one direction until either end is gone. The frames of both directions lose by the same sequence of
/// numbers, but each counts for itself.
fn carry(mut from: File, mut to: File, count: Arc<Count>) {
    let (late, due) = mpsc::channel::<(Instant, Box<[u8]>)>();
    thread::spawn(move || {
        let mut random = Random::new();
        let mut frame = vec![0; 65_536];
        while let Ok(length) = from.read(&mut frame) {
            count.came.fetch_add(1, Ordering::Relaxed);
            if random.below(ONE_LOST_IN) == 0 {
                count.lost.fetch_add(1, Ordering::Relaxed);
            } else if late.send((Instant::now() + DELAY, frame[..length].into())).is_err() {
                return;
            }
        }
    });
    thread::spawn(move || {
        for (at, frame) in due {
            let wait = at.saturating_duration_since(Instant::now());
            if !wait.is_zero() {
                thread::sleep(wait);
            }
            // A full queue drops a frame, as a cable's end would.
            let _ = to.write(&frame);
        }
    });
}
