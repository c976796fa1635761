//! What the end of a connect says about a port.

use portolan_scanner::wire::Reason;

use crate::sys::errno;

/// How a connect stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It has not ended.
    Pending,
    /// The handshake was completed.
    Open,
    /// It ended with this, which will not be otherwise the next time.
    Answer(Reason),
    /// The kernel gave up waiting.
    NoAnswer,
    /// It did not go out: this machine has no port, memory or descriptor to spare for it at the moment.
    NoRoom,
}

/// Reads what connect(2) said. A reset that comes while a connect is under way is a refusal and has a number of
/// its own; `ECONNRESET` and `EPIPE` are only given once the handshake was complete: the peer accepted and then
/// threw the connection away.
pub fn outcome(result: Result<(), i32>) -> Outcome {
    let Err(number) = result else { return Outcome::Open };
    match number {
        errno::EINPROGRESS | errno::EALREADY | errno::EINTR => Outcome::Pending,
        errno::EISCONN | errno::ECONNRESET | errno::EPIPE => Outcome::Open,
        errno::ECONNREFUSED => Outcome::Answer(Reason::Refused),
        errno::ETIMEDOUT => Outcome::NoAnswer,
        errno::EHOSTUNREACH | errno::EHOSTDOWN => Outcome::Answer(Reason::HostUnreachable),
        errno::ENETUNREACH | errno::ENETDOWN | errno::ENONET => Outcome::Answer(Reason::NetUnreachable),
        errno::EACCES | errno::EPERM => Outcome::Answer(Reason::Prohibited),
        errno::EADDRNOTAVAIL
        | errno::EAGAIN
        | errno::ENOMEM
        | errno::ENOBUFS
        | errno::EMFILE
        | errno::ENFILE
        | errno::ENOSPC => Outcome::NoRoom,
        _ => Outcome::Answer(Reason::OtherError),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use portolan_scanner::wire::State;

    #[test]
    fn only_a_refusal_closes_a_port() {
        for number in 1..140 {
            if let Outcome::Answer(reason) = outcome(Err(number)) {
                assert_eq!(reason.state() == State::Closed, number == errno::ECONNREFUSED, "errno {number}");
            }
        }
    }

    #[test]
    fn a_shortage_of_ones_own_says_nothing_of_the_port() {
        for number in [errno::EADDRNOTAVAIL, errno::EMFILE, errno::ENFILE, errno::ENOBUFS, errno::ENOMEM] {
            assert_eq!(outcome(Err(number)), Outcome::NoRoom);
        }
    }

    #[test]
    fn a_peer_that_accepts_and_resets_is_open() {
        assert_eq!(outcome(Err(errno::ECONNRESET)), Outcome::Open);
    }
}
