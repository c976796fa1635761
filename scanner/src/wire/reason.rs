//! What a probe learned, and from what.

use super::words::words;

words! {
    /// The five states of a port.
    State, "a known state":
    /// Something listens.
    Open = "open",
    /// Refused: covered, and nothing listens.
    Closed = "closed",
    /// No answer.
    Filtered = "filtered",
    /// The network said that it cannot be reached.
    Unreachable = "unreachable",
    /// Not covered: says nothing about the port.
    NotProbed = "not-probed",
}

words! {
    /// Why a port has its state; each reason belongs to one state.
    Reason, "a known reason":
    /// The handshake was answered (by connect as by SYN).
    SynAck = "syn-ack",
    /// A reset came at once.
    Refused = "refused",
    /// Nothing came in time, retries included.
    NoAnswer = "no-answer",
    /// ICMP or the local stack: no such host.
    HostUnreachable = "host-unreachable",
    /// ICMP or the local stack: no way to that network.
    NetUnreachable = "net-unreachable",
    /// Administratively prohibited (EACCES, EPERM, ICMP).
    Prohibited = "prohibited",
    /// ICMP from the host itself: no such port. Seen in SYN scans; a connect sees a refusal.
    PortUnreachable = "port-unreachable",
    /// Another error of the network.
    OtherError = "other-error",
    /// On a never-scan list.
    Excluded = "excluded",
    /// The scan was cancelled first.
    Cancelled = "cancelled",
    /// The scanner's own machine was at a limit.
    LocalLimit = "local-limit",
    /// Left alone because the host showed distress.
    Distress = "distress",
    /// The job's time was over first.
    Expired = "expired",
    /// The host takes connections on every port, as a SYN proxy or a tarpit does: what stands behind it on this one
    /// was not learned.
    OpenAll = "open-all",
}

impl Reason {
    /// The state that follows from it.
    pub const fn state(self) -> State {
        use Reason as R;
        match self {
            R::SynAck => State::Open,
            R::Refused => State::Closed,
            R::NoAnswer => State::Filtered,
            R::HostUnreachable | R::NetUnreachable | R::Prohibited | R::PortUnreachable | R::OtherError => {
                State::Unreachable
            }
            R::Excluded | R::Cancelled | R::LocalLimit | R::Distress | R::Expired | R::OpenAll => {
                State::NotProbed
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_reads_back_and_every_state_has_one() {
        for reason in Reason::ALL {
            assert_eq!(reason.as_str().parse(), Ok(reason));
        }
        for state in State::ALL {
            assert!(Reason::ALL.iter().any(|reason| reason.state() == state), "{state}");
        }
    }
}
