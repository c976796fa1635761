//! The diff against a naive model: every (address, port) pair by itself.

use std::collections::BTreeMap;
use std::convert::Infallible;

use proptest::prelude::*;

use super::*;

const STATES: [State; 5] =
    [State::Open, State::Closed, State::Filtered, State::Unreachable, State::NotProbed];

type Model = BTreeMap<(u128, u16), State>;

fn seen(first: u128, last: u128, ports: &str, base: State, exceptions: &[(Run, State)]) -> Seen {
    let ports = Arc::new(Ports::parse(ports).unwrap());
    Seen { first, last, ports, base, exceptions: exceptions.to_vec() }
}

fn model(stream: &[Seen]) -> Model {
    let mut model = Model::new();
    for seen in stream {
        for address in seen.first..=seen.last {
            for port in portset::runs(&seen.ports).into_iter().flat_map(|run| run.0..=run.1) {
                let exception = seen.exceptions.iter().find(|(run, _)| run.0 <= port && port <= run.1);
                model.insert((address, port), exception.map_or(seen.base, |(_, state)| *state));
            }
        }
    }
    model
}

fn run(before: &[Seen], after: &[Seen]) -> (Counts, Vec<Change>) {
    let mut changes = Vec::new();
    let counts =
        diff::<Infallible>(before.iter().cloned().map(Ok), after.iter().cloned().map(Ok), |change| {
            changes.push(change);
            Ok(())
        })
        .unwrap();
    (counts, changes)
}

type Changes = BTreeMap<(u128, u16), (Kind, States)>;

/// What the diff must say of every pair, straight from the definitions.
fn naive(before: &Model, after: &Model) -> (Counts, Changes) {
    let (mut counts, mut changes) = (Counts::default(), BTreeMap::new());
    let mut pairs: Vec<_> = before.keys().chain(after.keys()).copied().collect();
    pairs.sort_unstable();
    pairs.dedup();
    for pair in pairs {
        let states = (before.get(&pair).copied(), after.get(&pair).copied());
        let looked = |state: Option<State>| state.is_some_and(|state| state != State::NotProbed);
        let kind = match (looked(states.0), looked(states.1)) {
            (false, false) => continue,
            (true, false) => {
                counts.only_before += 1;
                Kind::NotComparable
            }
            (false, true) => {
                counts.only_after += 1;
                Kind::NotComparable
            }
            (true, true) if states.0 == states.1 => {
                counts.same += 1;
                continue;
            }
            (true, true) if states.1 == Some(State::Open) => {
                counts.opened += 1;
                Kind::Opened
            }
            (true, true) if states.0 == Some(State::Open) => {
                counts.closed += 1;
                Kind::Closed
            }
            (true, true) => {
                counts.changed += 1;
                Kind::Changed
            }
        };
        changes.insert(pair, (kind, states));
    }
    (counts, changes)
}

fn state() -> impl Strategy<Value = State> {
    prop::sample::select(&STATES[..])
}

/// An ordered stream over addresses 0..40 and a few port lists, with gaps, neighbours and exceptions.
fn stream() -> impl Strategy<Value = Vec<Seen>> {
    let exceptions = prop::collection::btree_map(0_u16..12, state(), 0..6);
    let lists = ["1-10", "1,3,5,7,9", "4-6,65534-65535", "10"];
    let ports = prop::sample::select(lists.to_vec()).prop_map(|list| Arc::new(Ports::parse(list).unwrap()));
    let item = (0_u128..3, 0_u128..4, prop::sample::select(&STATES[1..]), exceptions, any::<bool>());
    (ports, prop::collection::vec(item, 0..10)).prop_map(|(ports, items)| {
        let mut next = 0;
        let mut stream = Vec::new();
        for (gap, more, base, exceptions, single) in items {
            let first = next + gap;
            let last = if single { first } else { first + more };
            let exceptions = exceptions.into_iter().map(|(port, state)| ((port, port), state));
            let exceptions = if first == last { exceptions.collect() } else { Vec::new() };
            stream.push(Seen { first, last, ports: ports.clone(), base, exceptions });
            next = last + 1;
        }
        stream
    })
}

proptest! {
    #[test]
    fn every_pair_gets_exactly_what_the_naive_model_says(before in stream(), after in stream()) {
        let (counts, changes) = run(&before, &after);
        let (expected_counts, expected) = naive(&model(&before), &model(&after));
        prop_assert_eq!(counts, expected_counts);
        let mut told = BTreeMap::new();
        let mut at = 0;
        for change in changes {
            prop_assert!(change.hosts.first >= at, "ascending by address");
            at = change.hosts.first;
            if matches!(change.kind, Kind::Opened | Kind::Closed) {
                prop_assert_eq!((change.hosts.last - change.hosts.first, change.ports.count()), (0, 1));
            }
            for address in change.hosts.first..=change.hosts.last {
                for port in portset::runs(&change.ports).into_iter().flat_map(|run| run.0..=run.1) {
                    let line = (change.kind, (change.before, change.after));
                    prop_assert_eq!(told.insert((address, port), line), None, "each pair once");
                }
            }
        }
        prop_assert_eq!(told, expected);
    }

    #[test]
    fn a_scan_compared_with_itself_changes_nothing(stream in stream()) {
        let (counts, changes) = run(&stream, &stream);
        prop_assert!(changes.is_empty());
        prop_assert_eq!(Counts { same: counts.same, ..Counts::default() }, counts);
    }
}

#[test]
fn a_port_outside_coverage_is_never_closed() {
    let before = [seen(5, 5, "22,80", State::Closed, &[((22, 22), State::Open)])];
    for after in [
        vec![],
        vec![seen(5, 5, "80", State::Closed, &[])],
        vec![seen(5, 5, "22,80", State::Closed, &[((22, 22), State::NotProbed)])],
    ] {
        let (counts, changes) = run(&before, &after);
        assert_eq!(counts.closed, 0);
        let line = changes.iter().find(|change| change.ports.contains(22)).unwrap();
        assert_eq!((line.kind, line.before), (Kind::NotComparable, Some(State::Open)));
    }
}

#[test]
fn a_whole_network_is_one_line_and_counted_exactly() {
    let (first, last) = (1 << 64, (2 << 64) - 1);
    let before = [seen(first, last, "1-65535", State::Filtered, &[])];
    let after = [seen(first, first + 9, "1-65535", State::Unreachable, &[]), {
        seen(first + 10, last, "1-65535", State::Unreachable, &[])
    }];
    let (counts, changes) = run(&before, &after);
    assert_eq!(counts.changed, (1_u128 << 64) * 65535);
    assert_eq!(changes.len(), 1, "neighbouring hosts that say the same are one line");
    assert_eq!(changes[0].hosts, Range { first, last });
}

#[test]
fn opened_and_closed_name_one_address_and_one_port() {
    let before = [seen(1, 9, "20-25", State::Filtered, &[])];
    let after = [
        seen(1, 3, "20-25", State::Filtered, &[]),
        seen(4, 4, "20-25", State::Closed, &[((21, 22), State::Open)]),
        seen(5, 9, "20-25", State::Filtered, &[]),
    ];
    let (counts, changes) = run(&before, &after);
    let lines: Vec<_> = changes.iter().map(|c| (c.kind, c.hosts.first, c.ports.to_string())).collect();
    assert_eq!(
        lines,
        [
            (Kind::Opened, 4, "21".to_owned()),
            (Kind::Opened, 4, "22".to_owned()),
            (Kind::Changed, 4, "20,23-25".to_owned()),
        ]
    );
    assert_eq!(counts, Counts { opened: 2, changed: 4, same: 48, ..Counts::default() });
}
