//! A set of TCP ports.

use std::fmt;

use super::{Error, Range, Ranges, cut, decimal};

/// How many pieces one text may name.
const MAX_PIECES: usize = 65_535;

/// A set of ports from 1 to 65535.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Ports(Ranges);

impl Ports {
    /// Reads `22,80-90,443`; white space around a piece is let pass, order and overlap do not matter.
    ///
    /// # Errors
    /// [`Error::Port`] or [`Error::Reversed`] names the piece; an empty text is refused too.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let mut runs = Vec::new();
        for piece in text.split(',').map(str::trim) {
            if runs.len() == MAX_PIECES {
                return Err(Error::TooMany(MAX_PIECES));
            }
            let port = |text: &str| {
                let port = decimal(text).and_then(|n| u16::try_from(n).ok()).filter(|n| *n > 0);
                port.ok_or_else(|| Error::Port(cut(piece)))
            };
            let (first, last) = piece.split_once('-').unwrap_or((piece, piece));
            let (first, last) = (port(first)?, port(last)?);
            if first > last {
                return Err(Error::Reversed(cut(piece)));
            }
            runs.push((first, last));
        }
        Ok(runs.into_iter().collect())
    }

    /// How many ports.
    pub fn count(&self) -> u32 {
        u32::try_from(self.0.count()).expect("there are 65,535 ports")
    }

    /// Whether there is no port in it.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The port at this place in ascending order, from 0.
    pub fn nth(&self, n: u32) -> Option<u16> {
        self.0.nth(n.into()).map(narrow)
    }

    /// The place of a port in ascending order, if it is in the set.
    pub fn index_of(&self, port: u16) -> Option<u32> {
        self.0.index_of(port.into()).map(|place| u32::try_from(place).expect("there are 65,535 ports"))
    }

    /// How many ports of the set lie from `first` to `last`, both included.
    pub fn count_within(&self, first: u16, last: u16) -> u32 {
        let below = |port: u32| self.0.count_below(port.into());
        let count = below(u32::from(last) + 1).saturating_sub(below(first.into()));
        u32::try_from(count).expect("there are 65,535 ports")
    }

    /// Whether the port is in the set.
    pub fn contains(&self, port: u16) -> bool {
        self.0.contains(port.into())
    }

    /// The runs, first and last included, ascending.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (u16, u16)> + '_ {
        self.0.iter().map(|run| (narrow(run.first), narrow(run.last)))
    }

    /// Every port, ascending.
    pub fn each(&self) -> impl Iterator<Item = u16> + '_ {
        self.iter().flat_map(|(first, last)| first..=last)
    }

    /// Every port of either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        Self(self.0.union(&other.0))
    }
}

/// A number of the set as the port that it is.
fn narrow(number: u128) -> u16 {
    u16::try_from(number).expect("a set of ports has nothing else in it")
}

/// In any order, overlapping or not; port 0 and reversed pairs add nothing.
impl FromIterator<(u16, u16)> for Ports {
    fn from_iter<I: IntoIterator<Item = (u16, u16)>>(runs: I) -> Self {
        let run = |(first, last): (u16, u16)| Range { first: first.max(1).into(), last: last.into() };
        Self(runs.into_iter().map(run).collect())
    }
}

/// `22,80-90,443`.
impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (i, (first, last)) in self.iter().enumerate() {
            let comma = if i > 0 { "," } else { "" };
            if first == last {
                write!(f, "{comma}{first}")?;
            } else {
                write!(f, "{comma}{first}-{last}")?;
            }
        }
        Ok(())
    }
}

impl std::str::FromStr for Ports {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        Self::parse(text)
    }
}

#[cfg(test)]
mod tests {
    use super::super::ranges::tests::LOOKS;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_bad_piece_is_named() {
        for (text, piece) in [
            ("0,70000,http", "0"),
            ("22,70000", "70000"),
            ("http", "http"),
            ("22,,80", ""),
            ("", ""),
            ("+22", "+22"),
        ] {
            assert_eq!(Ports::parse(text), Err(Error::Port(piece.into())), "{text}");
        }
        assert_eq!(Ports::parse("90-80"), Err(Error::Reversed("90-80".into())));
    }

    #[test]
    fn runs_merge_and_are_written_shortest() {
        assert_eq!(Ports::parse("443, 80-85,86-90,22,82").unwrap().to_string(), "22,80-90,443");
        assert_eq!(Ports::parse("1-65535").unwrap().count(), 65535);
    }

    #[test]
    fn a_port_is_found_in_a_list_of_many_pieces_without_walking_it() {
        // Every second port: a results frame has a line for each, and each asks where it stands.
        let ports: Ports = (1..=65_535).step_by(2).map(|port| (port, port)).collect();
        for n in 0..ports.count() {
            LOOKS.set(0);
            let port = ports.nth(n).unwrap();
            assert_eq!((ports.index_of(port), ports.count_within(port, port)), (Some(n), 1));
            // Four searches, each of which halves 32,768 runs until one is left.
            assert!((4..=4 * 17).contains(&LOOKS.get()), "{} looks for port {port}", LOOKS.get());
        }
    }

    proptest! {
        #[test]
        fn it_is_a_set(runs in proptest::collection::vec((any::<u16>(), 0u16..300), 0..10), a: u16, b: u16) {
            let runs: Vec<(u16, u16)> = runs.into_iter().map(|(f, n)| (f, f.saturating_add(n))).collect();
            let naive: BTreeSet<u16> = runs.iter().flat_map(|(f, l)| *f..=*l).filter(|p| *p > 0).collect();
            let ports: Ports = runs.into_iter().collect();
            prop_assert_eq!(ports.each().collect::<Vec<_>>(), naive.iter().copied().collect::<Vec<_>>());
            prop_assert_eq!(ports.count() as usize, naive.len());
            for (i, port) in (0u32..).zip(&naive) {
                prop_assert_eq!(ports.nth(i), Some(*port));
                prop_assert_eq!(ports.index_of(*port), Some(i));
            }
            prop_assert_eq!(ports.nth(ports.count()), None);
            let within = naive.iter().filter(|p| a <= **p && **p <= b).count();
            prop_assert_eq!(ports.count_within(a, b) as usize, within);
            if !naive.is_empty() {
                prop_assert_eq!(Ports::parse(&ports.to_string()), Ok(ports));
            }
        }

        #[test]
        fn reading_never_panics(text in "[0-9, a-]{0,40}") {
            let _ = Ports::parse(&text);
        }
    }
}
