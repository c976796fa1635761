//! How the store writes a reason: a number that never changes its meaning; divided by ten it is the state.

use portolan_scanner::wire::{Reason, State};

/// The number of a reason.
pub const fn of(reason: Reason) -> u8 {
    match reason {
        Reason::SynAck => 10,
        Reason::Refused => 20,
        Reason::NoAnswer => 30,
        Reason::HostUnreachable => 40,
        Reason::NetUnreachable => 41,
        Reason::Prohibited => 42,
        Reason::OtherError => 43,
        Reason::PortUnreachable => 44,
        Reason::Excluded => 50,
        Reason::Cancelled => 51,
        Reason::LocalLimit => 52,
        Reason::Distress => 53,
        Reason::Expired => 54,
        Reason::OpenAll => 55,
    }
}

/// The number of a state.
pub const fn of_state(state: State) -> u8 {
    match state {
        State::Open => 1,
        State::Closed => 2,
        State::Filtered => 3,
        State::Unreachable => 4,
        State::NotProbed => 5,
    }
}

/// The reason of a number; `None` for one this program does not know.
pub fn reason(number: u8) -> Option<Reason> {
    Reason::ALL.into_iter().find(|reason| of(*reason) == number)
}

#[cfg(test)]
mod test {
    use super::*;

    #[test]
    fn a_reason_divided_by_ten_is_its_state() {
        for it in Reason::ALL {
            assert_eq!(of(it) / 10, of_state(it.state()));
            assert_eq!(reason(of(it)), Some(it));
        }
        assert_eq!(reason(0), None);
    }
}
