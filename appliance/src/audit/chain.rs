//! The audit chain, without a database: what links entries, and how anyone checks the links.
//!
//! An entry's digest is the SHA-256 of its canonical JSON (RFC 8785). Its hash is the SHA-256 over the version tag, the
//! previous entry's hash (32 zero bytes before the first), the sequence number (8 bytes, big-endian) and that digest:
//! so a copy of the chain may leave an entry's text out, give its digest, and still be followed to its end. Sequence
//! numbers start at 1 and have no gaps. Integers beyond 2^53 are strings, since RFC 8785 writes numbers as doubles.

use std::cmp::Reverse;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

/// First bytes of what is hashed: another rule would carry another tag.
pub const TAG: &[u8] = b"portolan-audit-v1\n";
/// The hash "before" the first entry.
pub const GENESIS: [u8; 32] = [0; 32];
/// Largest integer that a double, hence RFC 8785, carries exactly.
const EXACT: u64 = 1 << 53;

/// One link as it is kept: the entry's canonical text and what ties it to its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Link {
    /// Place in the chain, from 1.
    pub seq: u64,
    /// Canonical JSON.
    pub entry: String,
    /// Hash of the link before.
    pub prev: [u8; 32],
    /// Hash of this link.
    pub hash: [u8; 32],
}

/// Where a chain ends: enough to say that nothing was cut off behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Sequence number of the last entry; 0 for an empty chain.
    pub seq: u64,
    /// Its hash; [`GENESIS`] for an empty chain.
    pub hash: [u8; 32],
}

impl Head {
    /// The head of a chain without entries.
    pub const EMPTY: Self = Self { seq: 0, hash: GENESIS };

    /// The link that `entry` makes after this head.
    #[must_use]
    pub fn link(self, entry: String) -> Link {
        let seq = self.seq + 1;
        let hash = hash(&self.hash, seq, &entry);
        Link { seq, entry, prev: self.hash, hash }
    }
}

/// Why a chain is not whole, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Break {
    /// The entry here is not the one that should follow.
    #[error("entry {expected} is missing: entry {found} stands in its place")]
    Sequence {
        /// The number that should come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// The entry does not continue the one before it.
    #[error("entry {seq} does not follow the entry before it")]
    Previous {
        /// Its number.
        seq: u64,
    },
    /// The entry is not what was hashed.
    #[error("entry {seq} was changed: its hash does not match")]
    Hash {
        /// Its number.
        seq: u64,
    },
    /// The entry is not canonical JSON.
    #[error("entry {seq} is not canonical JSON")]
    NotCanonical {
        /// Its number.
        seq: u64,
    },
    /// A column beside the entry says something else than the entry.
    #[error("entry {seq}: its column {column} does not say what the entry says")]
    Column {
        /// Its number.
        seq: u64,
        /// The column.
        column: &'static str,
    },
    /// The entry is whole and follows, but another was known to stand here: the chain was written anew.
    #[error("entry {seq} is not the one that was known: the chain was written anew up to here")]
    Known {
        /// Its number.
        seq: u64,
    },
    /// The chain does not reach a head that was known.
    #[error("entry {expected} was known, but the chain ends at entry {found}: its end was cut off")]
    Head {
        /// Where it should reach.
        expected: u64,
        /// Where it ends.
        found: u64,
    },
}

/// What a whole chain amounts to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Number of entries.
    pub count: u64,
    /// Where it ends.
    pub head: Head,
}

/// The digest of an entry: what stands for its text in the hash.
#[must_use]
pub fn digest(entry: &str) -> [u8; 32] {
    Sha256::digest(entry.as_bytes()).into()
}

/// The hash of one entry in its place.
#[must_use]
pub fn hash(prev: &[u8; 32], seq: u64, entry: &str) -> [u8; 32] {
    placed(prev, seq, &digest(entry))
}

/// As [`hash`], for an entry of which only the digest is known.
#[must_use]
pub fn placed(prev: &[u8; 32], seq: u64, digest: &[u8; 32]) -> [u8; 32] {
    let mut sha = Sha256::new();
    sha.update(TAG);
    sha.update(prev);
    sha.update(seq.to_be_bytes());
    sha.update(digest);
    sha.finalize().into()
}

/// Canonical JSON of a value, numbers that a double does not carry exactly turned into strings first.
///
/// # Errors
/// When a number is not finite, which [`serde_json::Value`] cannot hold.
pub fn canonical(mut value: Value) -> serde_json::Result<String> {
    exact(&mut value);
    serde_json_canonicalizer::to_string(&value)
}

fn exact(value: &mut Value) {
    match value {
        Value::Number(n) => {
            // Floats as well: RFC 8785 writes 1e17 as an integer, which would not read back as what it was.
            let beyond = n.as_u64().is_some_and(|n| n > EXACT)
                || n.as_i64().is_some_and(|n| n.unsigned_abs() > EXACT)
                || n.as_f64().is_some_and(|n| n.abs() > 9_007_199_254_740_992.0);
            if beyond {
                *value = Value::String(n.to_string());
            }
        }
        Value::Array(items) => items.iter_mut().for_each(exact),
        Value::Object(fields) => fields.values_mut().for_each(exact),
        Value::Null | Value::Bool(_) | Value::String(_) => {}
    }
}

/// Checks a whole chain from its first entry. `heads` come from elsewhere (checkpoints, a colleague's note):
/// the chain must hold each of them, at its end or on the way; without one, a cut tail goes unseen, and so does a
/// chain that was written anew from some entry on.
///
/// # Errors
/// The first break found.
pub fn verify(
    links: impl IntoIterator<Item = Link>,
    heads: impl IntoIterator<Item = Head>,
) -> Result<Summary, Break> {
    let mut verifier = Verifier::towards(heads);
    for link in links {
        verifier.next(&link)?;
    }
    verifier.finish()
}

/// [`verify`] for links that come one by one.
#[derive(Clone, Debug)]
pub struct Verifier {
    at: Head,
    /// Heads that are still to be met, the last of them first.
    known: Vec<Head>,
}

impl Verifier {
    /// At the start of a chain that must hold `heads`, which may come in any order.
    #[must_use]
    pub fn towards(heads: impl IntoIterator<Item = Head>) -> Self {
        let mut known: Vec<Head> = heads.into_iter().filter(|head| *head != Head::EMPTY).collect();
        known.sort_unstable_by_key(|head| Reverse(head.seq));
        Self { at: Head::EMPTY, known }
    }

    /// As [`Verifier::towards`], behind entries that were checked before and end at `at`.
    #[must_use]
    pub fn from(at: Head, heads: impl IntoIterator<Item = Head>) -> Self {
        Self { at, ..Self::towards(heads) }
    }

    /// The next link.
    ///
    /// # Errors
    /// How it breaks the chain.
    pub fn next(&mut self, link: &Link) -> Result<(), Break> {
        self.reach(follow(self.at, link)?)
    }

    /// The next entry is left out: this is its digest.
    ///
    /// # Errors
    /// When another head was known to be here.
    pub fn left_out(&mut self, digest: &[u8; 32]) -> Result<(), Break> {
        let seq = self.at.seq + 1;
        self.reach(Head { seq, hash: placed(&self.at.hash, seq, digest) })
    }

    /// Where it stands: the last link that was checked.
    #[must_use]
    pub fn at(&self) -> Head {
        self.at
    }

    fn reach(&mut self, head: Head) -> Result<(), Break> {
        self.at = head;
        while let Some(known) = self.known.pop_if(|known| known.seq <= head.seq) {
            if known != head {
                return Err(Break::Known { seq: known.seq });
            }
        }
        Ok(())
    }

    /// There are no more links.
    ///
    /// # Errors
    /// When a known head was never met: the tail was cut.
    pub fn finish(self) -> Result<Summary, Break> {
        match self.known.first() {
            Some(known) => Err(Break::Head { expected: known.seq, found: self.at.seq }),
            None => Ok(Summary { count: self.at.seq, head: self.at }),
        }
    }
}

/// Checks that `link` is whole and follows `at`; its own head is returned.
///
/// # Errors
/// How it does not.
pub fn follow(at: Head, link: &Link) -> Result<Head, Break> {
    let seq = link.seq;
    if seq != at.seq + 1 {
        return Err(Break::Sequence { expected: at.seq + 1, found: seq });
    }
    if link.prev != at.hash {
        return Err(Break::Previous { seq });
    }
    if link.hash != hash(&link.prev, seq, &link.entry) {
        return Err(Break::Hash { seq });
    }
    let canonical = serde_json::from_str(&link.entry).ok().and_then(|value| canonical(value).ok());
    if canonical.as_ref() != Some(&link.entry) {
        return Err(Break::NotCanonical { seq });
    }
    Ok(Head { seq, hash: link.hash })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn chain(entries: &[String]) -> (Vec<Link>, Head) {
        let mut head = Head::EMPTY;
        let links = entries
            .iter()
            .map(|text| {
                let link = head.link(canonical(json!({ "text": text })).unwrap());
                head = Head { seq: link.seq, hash: link.hash };
                link
            })
            .collect();
        (links, head)
    }

    #[test]
    fn the_published_example_is_what_we_do() {
        let page = include_str!("../../../docs/formats/audit-chain.md");
        let mut head = Head::EMPTY;
        for value in [json!({ "n": 1 }), json!({ "n": 9_007_199_254_740_993_u64 })] {
            let link = head.link(canonical(value).unwrap());
            let row = format!(
                "| {} | `{}` | `{}` |",
                link.seq,
                link.entry,
                portolan_scanner::wire::hex::encode(&link.hash)
            );
            assert!(page.contains(&row), "not on the page: {row}");
            head = Head { seq: link.seq, hash: link.hash };
        }
    }

    #[test]
    fn integers_beyond_a_double_are_strings() {
        let value = json!({ "b": 9_007_199_254_740_993_u64, "a": [i64::MIN, 1, 9_007_199_254_740_992_u64] });
        let text = canonical(value).unwrap();
        assert_eq!(text, r#"{"a":["-9223372036854775808",1,9007199254740992],"b":"9007199254740993"}"#);
        assert_eq!(canonical(serde_json::from_str(&text).unwrap()).unwrap(), text);
    }

    #[test]
    fn an_empty_chain_is_whole_and_a_head_beyond_it_is_not() {
        assert_eq!(verify([], None).unwrap().count, 0);
        assert_eq!(verify([], Some(Head::EMPTY)).unwrap().count, 0);
        assert!(verify([], Some(Head { seq: 1, hash: [1; 32] })).is_err());
        assert!(verify([], Some(Head { seq: 0, hash: [1; 32] })).is_err());
    }

    #[test]
    fn a_chain_that_grew_past_a_known_head_is_whole() {
        let (links, _) = chain(&["a".into(), "b".into(), "c".into()]);
        let known = Head { seq: 2, hash: links[1].hash };
        assert_eq!(verify(links, Some(known)).unwrap().count, 3);
    }

    #[test]
    fn every_known_head_must_be_met_in_whatever_order_they_come() {
        let (links, head) = chain(&["a".into(), "b".into(), "c".into()]);
        let known = Head { seq: 2, hash: links[1].hash };
        assert_eq!(verify(links.clone(), [head, known, Head::EMPTY, known]).unwrap().count, 3);
        let other = Head { seq: 1, hash: [1; 32] };
        assert_eq!(verify(links.clone(), [head, other, known]), Err(Break::Known { seq: 1 }));
        let later = Head { seq: 9, hash: [1; 32] };
        assert_eq!(verify(links, [later, known]), Err(Break::Head { expected: 9, found: 3 }));
    }

    proptest! {
        #[test]
        fn any_single_changed_removed_inserted_swapped_or_cut_entry_is_found(
            texts in proptest::collection::vec("[a-z]{0,6}", 2..12),
            at in any::<prop::sample::Index>(),
            other in any::<prop::sample::Index>(),
            rehash in any::<bool>(),
        ) {
            let (links, head) = chain(&texts);
            let (at, other) = (at.index(links.len()), other.index(links.len()));
            prop_assert_eq!(verify(links.clone(), Some(head)).unwrap().head, head);

            let mut changed = links.clone();
            changed[at].entry = r#"{"text":"CHANGED"}"#.into();
            if rehash {
                changed[at].hash = hash(&changed[at].prev, changed[at].seq, &changed[at].entry);
            }
            prop_assert!(verify(changed, Some(head)).is_err());

            let mut respelt = links.clone();
            respelt[at].entry.insert(1, ' ');
            prop_assert!(verify(respelt, Some(head)).is_err());

            for field in 0..3 {
                let mut bent = links.clone();
                match field {
                    0 => bent[at].seq += 1,
                    1 => bent[at].prev[0] ^= 1,
                    _ => bent[at].hash[31] ^= 1,
                }
                prop_assert!(verify(bent, Some(head)).is_err());
            }

            let mut removed = links.clone();
            removed.remove(at);
            prop_assert!(verify(removed, Some(head)).is_err());

            let mut inserted = links.clone();
            let before = at.checked_sub(1).map_or(Head::EMPTY, |i| Head { seq: links[i].seq, hash: links[i].hash });
            inserted.insert(at, before.link(r#"{"text":"INSERTED"}"#.into()));
            prop_assert!(verify(inserted, Some(head)).is_err());

            let mut twice = links.clone();
            twice.insert(at, links[at].clone());
            prop_assert!(verify(twice, Some(head)).is_err());

            if at != other {
                let mut swapped = links.clone();
                swapped.swap(at, other);
                prop_assert!(verify(swapped, Some(head)).is_err());
            }

            prop_assert!(verify(links[..at].to_vec(), Some(head)).is_err());
        }
    }
}
