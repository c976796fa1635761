//! What someone with the whole database could do to the chain, a thousand times over.

use serde_json::json;

use super::chain::{self, Head, Link};
use crate::ids::Random;

/// What someone with the whole database, but without the signing key, can do to it; entries by their place from 0.
#[derive(Clone, Copy, Debug)]
enum Mutation {
    /// One bit of an entry's text.
    Bit { at: usize, byte: usize, bit: u8 },
    /// One bit of an entry's hash.
    HashBit { at: usize, bit: usize },
    /// An entry is gone.
    Drop { at: usize },
    /// Two entries stand in each other's place.
    Swap { at: usize, other: usize },
    /// An entry stands twice.
    Twice { at: usize },
    /// Nothing is left from here on.
    Cut { at: usize },
    /// An entry says something else, and its own hash with it.
    Reseal { at: usize },
    /// An entry says something else, and everything from it on is hashed anew.
    Rewrite { at: usize },
    /// An entry is gone, and everything behind is numbered and hashed anew.
    RewriteWithout { at: usize },
    /// Two neighbours have changed places, and everything from them on is hashed anew.
    RewriteSwapped { at: usize },
}

impl Mutation {
    /// The kinds, in the order in which `draw` makes them.
    const KINDS: [&str; 10] = [
        "a bit of an entry",
        "a bit of a hash",
        "an entry gone",
        "two entries swapped",
        "an entry twice",
        "the end cut off",
        "an entry and its own hash",
        "an entry, all from it on hashed anew",
        "an entry gone, all behind hashed anew",
        "two entries swapped, all hashed anew",
    ];

    /// One of the kind, drawn; `below(n)` draws a number below n.
    fn draw(kind: usize, entries: usize, mut below: impl FnMut(usize) -> usize) -> Self {
        let at = below(entries);
        // To hash thousands of entries anew three hundred times would take minutes: most are near the end.
        let late = if below(20) == 0 { at } else { entries - 2 - below(200) };
        match kind {
            0 => Self::Bit { at, byte: below(4_096), bit: u8::try_from(below(8)).unwrap() },
            1 => Self::HashBit { at, bit: below(256) },
            2 => Self::Drop { at },
            3 => Self::Swap { at, other: (at + 1 + below(entries - 1)) % entries },
            4 => Self::Twice { at },
            5 => Self::Cut { at },
            6 => Self::Reseal { at },
            7 => Self::Rewrite { at: late },
            8 => Self::RewriteWithout { at: late },
            _ => Self::RewriteSwapped { at: late.min(entries - 2) },
        }
    }

    /// Whether it leaves a chain that is whole in itself, so that only a head from outside tells.
    fn needs_a_checkpoint(self, entries: usize) -> bool {
        match self {
            Self::Cut { .. }
            | Self::Rewrite { .. }
            | Self::RewriteWithout { .. }
            | Self::RewriteSwapped { .. } => true,
            // Nothing follows the last entry that would tell.
            Self::Drop { at } | Self::Reseal { at } => at == entries - 1,
            Self::Bit { .. } | Self::HashBit { .. } | Self::Swap { .. } | Self::Twice { .. } => false,
        }
    }

    /// The first place that it touches, and the chain from there on after it.
    fn of(self, links: &[Link]) -> (usize, Vec<Link>) {
        let from = |at: usize| links[at..].to_vec();
        let anew = |at: usize, entries: &mut dyn Iterator<Item = String>| {
            let mut head = head_before(links, at);
            let link = |entry| {
                let link = head.link(entry);
                head = Head { seq: link.seq, hash: link.hash };
                link
            };
            (at, entries.map(link).collect())
        };
        let texts = |at: usize| links[at..].iter().map(|link| link.entry.clone());
        let forged = || r#"{"forged":true}"#.to_owned();
        match self {
            Self::Bit { at, byte, bit } => {
                let mut tail = from(at);
                let mut bytes = std::mem::take(&mut tail[0].entry).into_bytes();
                let place = byte % bytes.len();
                bytes[place] ^= 1 << bit;
                tail[0].entry = String::from_utf8_lossy(&bytes).into_owned();
                (at, tail)
            }
            Self::HashBit { at, bit } => {
                let mut tail = from(at);
                tail[0].hash[bit / 8] ^= 1 << (bit % 8);
                (at, tail)
            }
            Self::Drop { at } => (at, from(at + 1)),
            Self::Swap { at, other } => {
                let first = at.min(other);
                let mut tail = from(first);
                tail.swap(at - first, other - first);
                (first, tail)
            }
            Self::Twice { at } => (at + 1, from(at)),
            Self::Cut { at } => (at, Vec::new()),
            Self::Reseal { at } => {
                let mut tail = from(at);
                tail[0] = head_before(links, at).link(forged());
                (at, tail)
            }
            Self::Rewrite { at } => anew(at, &mut std::iter::once(forged()).chain(texts(at).skip(1))),
            Self::RewriteWithout { at } => anew(at, &mut texts(at).skip(1)),
            Self::RewriteSwapped { at } => {
                let mut entries: Vec<String> = texts(at).collect();
                entries.swap(0, 1);
                anew(at, &mut entries.into_iter())
            }
        }
    }
}

fn head_before(links: &[Link], at: usize) -> Head {
    at.checked_sub(1).map_or(Head::EMPTY, |before| Head { seq: links[before].seq, hash: links[before].hash })
}

/// A thousand seeded mutations of a chain of 10,000 entries: each is found when a checkpoint from outside is given;
/// without one, exactly those go unseen that leave a chain whole in itself, which is what a checkpoint is for. One from
/// the middle of the chain tells of everything up to it.
#[test]
fn a_thousand_mutations_are_found_with_a_checkpoint_and_those_that_need_one_are_known() {
    const ENTRIES: usize = 10_000;
    let mut head = Head::EMPTY;
    let links: Vec<Link> = (0..ENTRIES)
        .map(|n| {
            let link = head.link(chain::canonical(json!({ "n": n, "note": "as it was" })).unwrap());
            head = Head { seq: link.seq, hash: link.hash };
            link
        })
        .collect();
    assert!(chain::verify(links.clone(), Some(head)).is_ok());
    let middle = head_before(&links, ENTRIES / 2);
    let random = Random::seeded(4);
    let below = |n: usize| usize::try_from(u64::from_be_bytes(random.bytes()) % n as u64).unwrap();
    // Of each kind: how many there were, were found without a checkpoint, by one of the middle, and by the last.
    let mut found = [[0_u32; 4]; Mutation::KINDS.len()];
    for round in 0..1_000 {
        let kind = round % Mutation::KINDS.len();
        let mutation = Mutation::draw(kind, ENTRIES, below);
        let (first, tail) = mutation.of(&links);
        // What lies before it was checked above.
        let broken = |known: Option<Head>| {
            let known = known.filter(|known| known.seq > first as u64);
            let mut verifier = chain::Verifier::from(head_before(&links, first), known);
            tail.iter().try_for_each(|link| verifier.next(link)).and_then(|()| verifier.finish()).is_err()
        };
        let needs = mutation.needs_a_checkpoint(ENTRIES);
        let seen = [broken(None), broken(Some(middle)), broken(Some(head))];
        assert_eq!(seen, [!needs, !needs || first < ENTRIES / 2, true], "round {round}: {mutation:?}");
        found[kind][0] += 1;
        (0..3).for_each(|with| found[kind][with + 1] += u32::from(seen[with]));
    }
    println!("| mutation | made | found without a checkpoint | by one of the middle | by the last |");
    for (kind, [made, without, middle, last]) in Mutation::KINDS.into_iter().zip(found) {
        println!("| {kind} | {made} | {without} | {middle} | {last} |");
    }
    let all: u32 = found
        .iter()
        .map(|[made, .., last]| {
            assert_eq!(made, last);
            last
        })
        .sum();
    assert_eq!(all, 1_000);
}
