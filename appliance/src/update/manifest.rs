//! The manifest of an update: what it is, what it may follow, and every byte of it by its hash. It is the only thing that is
//! signed, so it is the only thing that has to be.
//!
//! Text, as our other signed texts: `key: value` lines, each key once, in one order; what reads is written again byte for
//! byte. The first line names the form. Nothing here touches a file; the fuzz target reads this module as it is.

use std::fmt::{self, Display};
use std::str::FromStr;

use portolan_scanner::wire::fields::Fields;
use portolan_scanner::wire::hex;

/// The form of the text.
pub const FORM: &str = "portolan-update-1";
/// The longest text that is read, in bytes.
pub const MAX: usize = 4 << 10;
/// The largest file of an update, in bytes.
pub const MAX_FILE: u64 = 4 << 30;

const KEYS: [&str; 13] = [
    "form",
    "product",
    "version",
    "architecture",
    "from-at-least",
    "config-schema",
    "jobs-schema",
    "results-schema",
    "root-hash",
    "root-uuid",
    "verity-uuid",
    "root",
    "verity",
];
const UKI: &str = "uki";

/// Why a text is no manifest, in words for whoever has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreadable(String);

impl Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unreadable {}

fn unreadable(why: impl Into<String>) -> Unreadable {
    Unreadable(why.into())
}

/// A version: up to four numbers with dots between, compared number by number; `1.2` and `1.2.0` are two spellings and
/// one place in the order, so they are equal and only the first is ever written.
#[derive(Clone, Debug, Eq)]
pub struct Version(Vec<u32>);

impl Version {
    fn places(&self) -> [u32; 4] {
        let mut places = [0; 4];
        places.iter_mut().zip(&self.0).for_each(|(place, number)| *place = *number);
        places
    }
}

impl PartialEq for Version {
    fn eq(&self, other: &Self) -> bool {
        self.places() == other.places()
    }
}

impl Ord for Version {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.places().cmp(&other.places())
    }
}

impl PartialOrd for Version {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl FromStr for Version {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let numbers: Option<Vec<u32>> = text
            .split('.')
            .map(|part| {
                // One spelling of each number, and few enough digits for a partition's label.
                let proper = (1..=4).contains(&part.len()) && (part == "0" || !part.starts_with('0'));
                let digits = part.bytes().all(|byte| byte.is_ascii_digit());
                (proper && digits).then(|| part.parse().ok()).flatten()
            })
            .collect();
        let numbers = numbers.filter(|numbers| numbers.len() <= 4);
        numbers.map(Self).ok_or_else(|| unreadable(format!("{text:?} is no version, as 1.2.3 is")))
    }
}

impl Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let numbers: Vec<String> = self.0.iter().map(u32::to_string).collect();
        f.write_str(&numbers.join("."))
    }
}

/// The id of a partition, as GPT tools and `/dev/disk/by-partuuid` spell it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PartUuid(pub [u8; 16]);

impl Display for PartUuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = hex::encode(&self.0);
        write!(f, "{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
    }
}

/// The hash at the top of the verity tree, over every block of a root: the kernel finds root and tree by its halves, which
/// are the ids of their partitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RootHash(pub [u8; 32]);

impl RootHash {
    /// The ids of root and tree.
    #[must_use]
    pub fn partitions(&self) -> (PartUuid, PartUuid) {
        let (mut root, mut verity) = ([0; 16], [0; 16]);
        root.copy_from_slice(&self.0[..16]);
        verity.copy_from_slice(&self.0[16..]);
        (PartUuid(root), PartUuid(verity))
    }
}

impl FromStr for RootHash {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        hex::decode(text)
            .map(Self)
            .map_err(|_| unreadable("a root hash is 64 digits of lower-case hexadecimal"))
    }
}

impl Display for RootHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

/// One file of an update: `size sha256 name`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// In bytes; from 1 to [`MAX_FILE`].
    pub size: u64,
    /// Of its bytes.
    pub sha256: [u8; 32],
    /// Its name beside the manifest: a name alone, no path.
    pub name: String,
}

impl FromStr for Listed {
    type Err = Unreadable;

    fn from_str(text: &str) -> Result<Self, Unreadable> {
        let parts: Vec<&str> = text.split(' ').collect();
        let [size, sha256, name] = parts[..] else { return Err(unreadable("a file is `size sha256 name`")) };
        let number: Option<u64> = size.parse().ok();
        let number = number.filter(|number| (1..=MAX_FILE).contains(number) && number.to_string() == size);
        let size = number.ok_or_else(|| unreadable(format!("{size:?} is no size from 1 to {MAX_FILE}")))?;
        let sha256 = hex::decode(sha256);
        let sha256 = sha256.map_err(|_| unreadable("a SHA-256 is 64 digits of lower-case hexadecimal"))?;
        if !is_name(name) {
            return Err(unreadable(format!("{name:?} is no name of a file of an update")));
        }
        Ok(Self { size, sha256, name: name.to_owned() })
    }
}

impl Display for Listed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {}", self.size, hex::encode(&self.sha256), self.name)
    }
}

/// Letters, digits and `._+-`, at most 100 of them, the first a letter or digit: no path, no hidden file, no option.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let proper = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    (1..=100).contains(&name.len()) && name.bytes().all(proper) && name.as_bytes()[0].is_ascii_alphanumeric()
}

/// What an update is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manifest {
    /// What it is an update of.
    pub product: String,
    /// What it brings.
    pub version: Version,
    /// For which machines: `x86-64`.
    pub architecture: String,
    /// The oldest version that may go over to it.
    pub from_at_least: Version,
    /// The schema of config.db that it knows.
    pub config_schema: u32,
    /// That of jobs.db.
    pub jobs_schema: u32,
    /// That of the results store.
    pub results_schema: u32,
    /// Over every block of the root.
    pub root_hash: RootHash,
    /// The root.
    pub root: Listed,
    /// Its verity tree.
    pub verity: Listed,
    /// Kernel, initrd and command line, with the root hash in it.
    pub uki: Listed,
}

impl Manifest {
    /// Reads a text, strictly: it is as [`Manifest::encode`] writes it, or it is none.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &[u8]) -> Result<Self, Unreadable> {
        if text.len() > MAX {
            return Err(unreadable(format!("a manifest has at most {MAX} bytes")));
        }
        let fields = Fields::parse(text).map_err(|error| unreadable(error.to_string()))?;
        let of = |key: &str| fields.get(key).ok_or_else(|| unreadable(format!("there is no {key:?}")));
        let form = of("form")?;
        if form != FORM {
            return Err(unreadable(format!("it is of the form {form:?}; this program reads {FORM:?}")));
        }
        let word = |key: &str| {
            let word = of(key)?;
            let proper = is_name(word) && word.len() <= 32;
            proper.then(|| word.to_owned()).ok_or_else(|| unreadable(format!("{key}: {word:?} is no word")))
        };
        let schema = |key: &str| {
            let number = of(key)?;
            let read = number.parse::<u32>().ok().filter(|read| *read <= 9_999);
            read.ok_or_else(|| unreadable(format!("{key}: {number:?} is no number of a schema")))
        };
        let manifest = Self {
            product: word("product")?,
            version: of("version")?.parse()?,
            architecture: word("architecture")?,
            from_at_least: of("from-at-least")?.parse()?,
            config_schema: schema("config-schema")?,
            jobs_schema: schema("jobs-schema")?,
            results_schema: schema("results-schema")?,
            root_hash: of("root-hash")?.parse()?,
            root: of("root")?.parse()?,
            verity: of("verity")?.parse()?,
            uki: of(UKI)?.parse()?,
        };
        let (root, verity) = manifest.root_hash.partitions();
        if of("root-uuid")? != root.to_string() || of("verity-uuid")? != verity.to_string() {
            return Err(unreadable("the ids of the partitions are not the halves of the root hash"));
        }
        let names = [&manifest.root.name, &manifest.verity.name, &manifest.uki.name];
        if names[0] == names[1] || names[1] == names[2] || names[0] == names[2] {
            return Err(unreadable("two files have one name"));
        }
        if manifest.encode().as_bytes() != text {
            return Err(unreadable("its lines are not those of a manifest, in their order and spelling"));
        }
        Ok(manifest)
    }

    /// The text.
    #[must_use]
    pub fn encode(&self) -> String {
        let (root, verity) = self.root_hash.partitions();
        let values: [&dyn Display; 13] = [
            &FORM,
            &self.product,
            &self.version,
            &self.architecture,
            &self.from_at_least,
            &self.config_schema,
            &self.jobs_schema,
            &self.results_schema,
            &self.root_hash,
            &root,
            &verity,
            &self.root,
            &self.verity,
        ];
        let fields =
            KEYS.iter().zip(values).fold(Fields::new(), |fields, (key, value)| fields.with(key, value));
        fields.with(UKI, &self.uki).to_string()
    }

    /// Its files, in the order in which they are written to disk: what boots comes last.
    #[must_use]
    pub fn files(&self) -> [&Listed; 3] {
        [&self.verity, &self.root, &self.uki]
    }
}

#[cfg(test)]
pub(super) fn sample() -> Manifest {
    let listed = |size, byte, name: &str| Listed { size, sha256: [byte; 32], name: name.to_owned() };
    Manifest {
        product: "portolan".into(),
        version: "0.2.0".parse().unwrap(),
        architecture: "x86-64".into(),
        from_at_least: "0.1.0".parse().unwrap(),
        config_schema: 7,
        jobs_schema: 1,
        results_schema: 1,
        root_hash: RootHash(std::array::from_fn(|at| u8::try_from(at).unwrap())),
        root: listed(4096, 1, "portolan_0.2.0.root.raw"),
        verity: listed(512, 2, "portolan_0.2.0.verity.raw"),
        uki: listed(300, 3, "portolan_0.2.0.efi"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_written_is_read_and_every_other_spelling_is_refused() {
        let text = sample().encode();
        assert_eq!(Manifest::parse(text.as_bytes()), Ok(sample()));
        let changed = |from: &str, to: &str| {
            assert!(text.contains(from), "{from}");
            Manifest::parse(text.replacen(from, to, 1).as_bytes()).unwrap_err().to_string()
        };
        assert!(changed("update-1", "update-2").contains("this program reads"));
        assert!(changed("version: 0.2.0", "version: 00.2.0").contains("no version"));
        assert!(changed("version: 0.2.0", "version: 0.2.0-rc1").contains("no version"));
        assert!(changed("root: 4096", "root: 04096").contains("no size"));
        assert!(changed("root: 4096", "root: 0").contains("no size"));
        assert!(changed("root: 4096", "root: 4294967297").contains("no size"));
        assert!(changed("portolan_0.2.0.efi", "../portolan.efi").contains("no name"));
        assert!(changed("portolan_0.2.0.efi", "portolan_0.2.0.root.raw").contains("one name"));
        assert!(changed("root-uuid: 0001", "root-uuid: 0002").contains("halves"));
        assert!(changed("config-schema: 7", "config-schema: 07").contains("order and spelling"));
        assert!(changed("jobs-schema: 1\n", "").contains("no \"jobs-schema\""));
        assert!(changed("uki: ", "note: x\nuki: ").contains("order and spelling"));
        assert!(
            changed("product: portolan\nversion: 0.2.0\n", "version: 0.2.0\nproduct: portolan\n")
                .contains("order")
        );
        assert!(Manifest::parse(&text.as_bytes()[..text.len() - 1]).is_err(), "the last line has an end");
        assert!(Manifest::parse(&[b'a'; MAX + 1]).unwrap_err().to_string().contains("at most"));
    }

    #[test]
    fn versions_are_compared_by_their_numbers() {
        let version = |text: &str| text.parse::<Version>().unwrap();
        assert!(version("0.10.0") > version("0.9.9"));
        assert!(version("1") > version("0.9999"));
        assert_eq!(version("1.2"), version("1.2.0"));
        for bad in ["", ".", "1.", "1.2.3.4.5", "12345", "1.+2", "v1", "1 "] {
            assert!(bad.parse::<Version>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn the_ids_of_the_partitions_are_the_halves_of_the_root_hash() {
        let (root, verity) = sample().root_hash.partitions();
        assert_eq!(root.to_string(), "00010203-0405-0607-0809-0a0b0c0d0e0f");
        assert_eq!(verity.to_string(), "10111213-1415-1617-1819-1a1b1c1d1e1f");
    }

    proptest! {
        #[test]
        fn reading_never_panics(text: Vec<u8>) {
            let _ = Manifest::parse(&text);
        }
    }
}
