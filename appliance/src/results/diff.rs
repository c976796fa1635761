//! What changed between two scans, seen from one vantage. Pure: two ordered streams of host states in, changes out.
//!
//! Both streams run along the addresses; where both cover an address, their states are compared port by port, but a
//! run of hosts or ports in one state is never taken apart unless a port opened or closed in it. A port that only one
//! side covered is *not comparable*: it is never called closed (or opened) for want of a look. A port that was not
//! probed counts as not covered, and one that neither side covered is no news at all.

use std::collections::BTreeMap;
use std::ops::Add;
use std::sync::Arc;

use portolan_scanner::net::{Ports, Range};
use portolan_scanner::wire::State;
use serde::{Deserialize, Serialize};

use super::portset::{self, Run};

/// Hosts `first..=last` of one scan, all with the same states.
#[derive(Clone, Debug)]
pub struct Seen {
    /// First address.
    pub first: u128,
    /// Last address, itself included.
    pub last: u128,
    /// The ports that the scan asked about.
    pub ports: Arc<Ports>,
    /// State of every port of `ports` that no exception names.
    pub base: State,
    /// Runs of ports in another state, ascending and disjoint; empty unless `first == last`.
    pub exceptions: Vec<(Run, State)>,
}

/// What became of a port.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, schemars::JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Covered and not open before, open now.
    Opened,
    /// Open before, covered and not open now.
    Closed,
    /// Covered and not open both times, in different states.
    Changed,
    /// Covered by one of the two only.
    NotComparable,
}

/// One line of a diff. Opened and closed name one address and one port; the others may name many of both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What became of these ports.
    pub kind: Kind,
    /// The hosts, one address after the other.
    pub hosts: Range,
    /// The ports of each of these hosts.
    pub ports: Ports,
    /// State in the earlier scan; `None` when that scan brought nothing about them.
    pub before: Option<State>,
    /// State in the later scan.
    pub after: Option<State>,
}

/// How many (address, port) pairs; exact, also for whole networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Opened.
    pub opened: u128,
    /// Closed.
    pub closed: u128,
    /// Changed between two states that are not open.
    pub changed: u128,
    /// Covered both times, in the same state.
    pub same: u128,
    /// Covered by the earlier scan only.
    pub only_before: u128,
    /// Covered by the later scan only.
    pub only_after: u128,
}

impl Counts {
    /// Pairs covered by one of the two scans only.
    pub fn not_comparable(&self) -> u128 {
        self.only_before + self.only_after
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            opened: self.opened + other.opened,
            closed: self.closed + other.closed,
            changed: self.changed + other.changed,
            same: self.same + other.same,
            only_before: self.only_before + other.only_before,
            only_after: self.only_after + other.only_after,
        }
    }
}

/// Compares two streams, each ascending and disjoint, and hands every change to `emit`, ascending by address.
///
/// # Errors
/// The first error of a stream or of `emit`.
pub fn diff<E>(
    before: impl Iterator<Item = Result<Seen, E>>,
    after: impl Iterator<Item = Result<Seen, E>>,
    emit: impl FnMut(Change) -> Result<(), E>,
) -> Result<Counts, E> {
    let mut before = Cursor::new(before)?;
    let mut after = Cursor::new(after)?;
    let mut out = Writer { emit, counts: Counts::default(), pending: None, pair: None };
    loop {
        let (a, b) = (before.head.as_ref(), after.head.as_ref());
        let Some(first) = a.iter().chain(&b).map(|seen| seen.first).min() else { break };
        // The segment ends where one of the two ends, or before the one that has not begun yet begins.
        let a = a.filter(|seen| seen.first == first);
        let b = b.filter(|seen| seen.first == first);
        let ends = a.iter().chain(&b).map(|seen| seen.last);
        let begins = [&before.head, &after.head].into_iter().flatten().filter(|seen| seen.first > first);
        let last = ends.chain(begins.map(|seen| seen.first - 1)).min().expect("one of the two starts here");
        out.segment(Range { first, last }, a, b)?;
        before.advance(last)?;
        after.advance(last)?;
    }
    out.flush()?;
    Ok(out.counts)
}

/// The head of a stream, cut as the merge goes along.
struct Cursor<I> {
    stream: I,
    head: Option<Seen>,
}

impl<E, I: Iterator<Item = Result<Seen, E>>> Cursor<I> {
    fn new(mut stream: I) -> Result<Self, E> {
        let head = stream.next().transpose()?;
        Ok(Self { stream, head })
    }

    /// Everything up to `last` is done with.
    fn advance(&mut self, last: u128) -> Result<(), E> {
        match &mut self.head {
            Some(seen) if seen.last <= last => self.head = self.stream.next().transpose()?,
            Some(seen) if seen.first <= last => seen.first = last + 1,
            _ => {}
        }
        Ok(())
    }
}

/// The ports of two scans, parted: computed once for all hosts that share them.
struct Pair {
    of: (Option<Arc<Ports>>, Option<Arc<Ports>>),
    both: Vec<Run>,
    only_before: Vec<Run>,
    only_after: Vec<Run>,
}

type States = (Option<State>, Option<State>);

/// Ports that have the same two states.
type Group = (States, Vec<Run>);

struct Writer<F> {
    emit: F,
    counts: Counts,
    /// The last segment without a port that opened or closed; it grows while its neighbours say the same.
    pending: Option<(Range, Vec<Group>)>,
    pair: Option<Pair>,
}

impl<E, F: FnMut(Change) -> Result<(), E>> Writer<F> {
    fn segment(&mut self, hosts: Range, a: Option<&Seen>, b: Option<&Seen>) -> Result<(), E> {
        let groups = self.groups(hosts, a, b);
        let mut runs = Vec::new();
        let mut singles = Vec::new();
        for (states, ports) in groups {
            match kind(states) {
                Some(Kind::Opened | Kind::Closed) => {
                    singles.extend(ports.iter().flat_map(|run| run.0..=run.1).map(|port| (port, states)));
                }
                Some(_) => runs.push((states, ports)),
                None => {}
            }
        }
        if !singles.is_empty() {
            self.flush()?;
            singles.sort_unstable();
            for address in hosts.first..=hosts.last {
                for &(port, states) in &singles {
                    self.line(Range { first: address, last: address }, &[(port, port)], states)?;
                }
            }
        }
        match &mut self.pending {
            Some((range, same)) if range.last.checked_add(1) == Some(hosts.first) && *same == runs => {
                range.last = hosts.last;
            }
            _ => {
                self.flush()?;
                if !runs.is_empty() {
                    self.pending = Some((hosts, runs));
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), E> {
        if let Some((hosts, runs)) = self.pending.take() {
            for (states, ports) in runs {
                self.line(hosts, &ports, states)?;
            }
        }
        Ok(())
    }

    fn line(&mut self, hosts: Range, ports: &[Run], states: States) -> Result<(), E> {
        let kind = kind(states).expect("only groups that are news are kept");
        (self.emit)(Change { kind, hosts, ports: portset::ports(ports), before: states.0, after: states.1 })
    }

    /// The ports of a segment by their two states, counted; those that are no news are left out.
    fn groups(&mut self, hosts: Range, a: Option<&Seen>, b: Option<&Seen>) -> BTreeMap<States, Vec<Run>> {
        let many = (hosts.last - hosts.first).saturating_add(1);
        let pair = match &mut self.pair {
            Some(pair) if pair.is_for(a, b) => pair,
            slot => slot.insert(Pair::new(a, b)),
        };
        let steps = steps(a, b);
        let mut groups: BTreeMap<States, Vec<Run>> = BTreeMap::new();
        for (set, in_a, in_b) in
            [(&pair.both, true, true), (&pair.only_before, true, false), (&pair.only_after, false, true)]
        {
            let a = a.filter(|_| in_a).map(|seen| seen.base);
            let b = b.filter(|_| in_b).map(|seen| seen.base);
            let mut rest = portset::count(set);
            let mut cut = Vec::new();
            for step in &steps {
                for run in portset::within(set, step.run) {
                    rest -= portset::count(&[run]);
                    cut.push(run);
                    let states = (a.map(|base| step.a.unwrap_or(base)), b.map(|base| step.b.unwrap_or(base)));
                    self.counts.note(states, many * u128::from(portset::count(&[run])));
                    if kind(states).is_some() {
                        groups.entry(states).or_default().push(run);
                    }
                }
            }
            self.counts.note((a, b), many * u128::from(rest));
            if rest > 0 && kind((a, b)).is_some() {
                groups.entry((a, b)).or_default().extend(portset::subtract(set, &cut));
            }
        }
        for ports in groups.values_mut() {
            portset::normalise(ports);
        }
        groups
    }
}

impl Counts {
    fn note(&mut self, states: States, many: u128) {
        let slot = match (kind(states), states) {
            (Some(Kind::Opened), _) => &mut self.opened,
            (Some(Kind::Closed), _) => &mut self.closed,
            (Some(Kind::Changed), _) => &mut self.changed,
            (Some(Kind::NotComparable), (a, _)) if covered(a).is_some() => &mut self.only_before,
            (Some(Kind::NotComparable), _) => &mut self.only_after,
            (None, (a, _)) if covered(a).is_some() => &mut self.same,
            (None, _) => return,
        };
        *slot += many;
    }
}

impl Pair {
    fn new(a: Option<&Seen>, b: Option<&Seen>) -> Self {
        let of = (a.map(|seen| seen.ports.clone()), b.map(|seen| seen.ports.clone()));
        let before = of.0.as_deref().map(portset::runs).unwrap_or_default();
        let after = of.1.as_deref().map(portset::runs).unwrap_or_default();
        let only_before = portset::subtract(&before, &after);
        let only_after = portset::subtract(&after, &before);
        Self { both: portset::subtract(&before, &only_before), only_before, only_after, of }
    }

    fn is_for(&self, a: Option<&Seen>, b: Option<&Seen>) -> bool {
        let same = |mine: &Option<Arc<Ports>>, theirs: Option<&Seen>| match (mine, theirs) {
            (None, None) => true,
            (Some(mine), Some(theirs)) => Arc::ptr_eq(mine, &theirs.ports),
            _ => false,
        };
        same(&self.of.0, a) && same(&self.of.1, b)
    }
}

/// A run of ports that is an exception in at least one of the two.
struct Step {
    run: Run,
    a: Option<State>,
    b: Option<State>,
}

/// Both lists of exceptions laid over each other: ascending, disjoint.
fn steps(a: Option<&Seen>, b: Option<&Seen>) -> Vec<Step> {
    let mut a = a.map_or(&[][..], |seen| &seen.exceptions).iter().copied();
    let mut b = b.map_or(&[][..], |seen| &seen.exceptions).iter().copied();
    let (mut head_a, mut head_b) = (a.next(), b.next());
    let mut steps = Vec::new();
    while let Some(first) = [head_a, head_b].into_iter().flatten().map(|(run, _)| run.0).min() {
        let here = |head: Option<(Run, State)>| head.filter(|(run, _)| run.0 == first);
        let later = |head: Option<(Run, State)>| head.filter(|(run, _)| run.0 > first);
        let ends = [here(head_a), here(head_b)].into_iter().flatten().map(|(run, _)| run.1);
        let begins = [later(head_a), later(head_b)].into_iter().flatten().map(|(run, _)| run.0 - 1);
        let last = ends.chain(begins).min().expect("one of the two starts here");
        steps.push(Step { run: (first, last), a: here(head_a).map(|h| h.1), b: here(head_b).map(|h| h.1) });
        advance(&mut head_a, &mut a, last);
        advance(&mut head_b, &mut b, last);
    }
    steps
}

/// Everything up to port `last` is done with.
fn advance(head: &mut Option<(Run, State)>, rest: &mut impl Iterator<Item = (Run, State)>, last: u16) {
    match head {
        Some((run, _)) if run.1 <= last => *head = rest.next(),
        Some((run, _)) if run.0 <= last => run.0 = last + 1,
        _ => {}
    }
}

/// A state that says something about the port.
fn covered(state: Option<State>) -> Option<State> {
    state.filter(|state| *state != State::NotProbed)
}

/// What two states make of a port; `None` when that is no news.
fn kind((before, after): States) -> Option<Kind> {
    match (covered(before), covered(after)) {
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => Some(Kind::NotComparable),
        (Some(before), Some(after)) if before == after => None,
        (Some(_), Some(State::Open)) => Some(Kind::Opened),
        (Some(State::Open), Some(_)) => Some(Kind::Closed),
        (Some(_), Some(_)) => Some(Kind::Changed),
    }
}

#[cfg(test)]
#[path = "diff_test.rs"]
mod test;
