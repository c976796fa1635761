//! What a new password must be: long enough, and none that everybody tries first.

use crate::noun::Refusals;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Fewest characters of a password.
pub const MIN: usize = 12;
/// Most bytes of a password.
pub const MAX: usize = 256;

/// The commonest passwords, in lower case. The file says where it is from.
static COMMON: LazyLock<HashSet<&'static str>> = LazyLock::new(|| {
    include_str!("common.txt").lines().filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
});

/// Checks a new password of `name` and its repetition, under the names of their fields.
pub fn check(refusals: &mut Refusals, name: &str, password: &str, again: &str) {
    if let Some(message) = refusal(name, password) {
        refusals.say("password", message);
    } else if password != again {
        refusals.say("password_again", "is not the same as the password");
    }
}

/// What is wrong with a new password of the account `name`, in words.
#[must_use]
pub fn refusal(name: &str, password: &str) -> Option<String> {
    let length = password.chars().count();
    if length < MIN {
        return Some(format!("has {length} characters; {MIN} is the least"));
    }
    if password.len() > MAX {
        return Some(format!("is longer than {MAX} bytes"));
    }
    let lower = password.to_lowercase();
    let core = unit(lower.trim_matches(|letter: char| !letter.is_alphabetic()));
    if !name.is_empty() && (core == name.to_lowercase() || core == "portolan") {
        return Some("is little more than a name that stands on the page".to_owned());
    }
    let spelt = unspelt(core);
    if [lower.as_str(), unit(&lower), core, spelt.as_str()].iter().any(|form| COMMON.contains(form))
        || steps(&lower)
    {
        return Some("is one of those that are tried first; three or four words do better".to_owned());
    }
    None
}

/// The shortest piece of which `text` is a repetition; all of it, if it is none.
fn unit(text: &str) -> &str {
    let bytes = text.as_bytes();
    (1..=bytes.len() / 2)
        .filter(|length| bytes.len().is_multiple_of(*length) && text.is_char_boundary(*length))
        .find(|length| bytes.chunks(*length).all(|piece| piece == &bytes[..*length]))
        .map_or(text, |length| &text[..length])
}

/// The letters that digits and signs commonly stand for.
fn unspelt(text: &str) -> String {
    let letter = |letter| match letter {
        '0' => 'o',
        '1' | '!' => 'i',
        '3' => 'e',
        '4' | '@' => 'a',
        '5' | '$' => 's',
        '7' => 't',
        other => other,
    };
    text.chars().map(letter).collect()
}

/// Whether each character follows from the one before by the same step: `aaaa…`, `1234…`, `zyxw…`.
fn steps(text: &str) -> bool {
    let codes: Vec<i64> = text.chars().map(|letter| i64::from(u32::from(letter))).collect();
    let step = |pair: &[i64]| pair[1] - pair[0];
    let mut pairs = codes.windows(2);
    pairs.next().map(step).is_some_and(|first| first.abs() <= 1 && pairs.all(|pair| step(pair) == first))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_refused_by_its_length() {
        assert!(refusal("ada", "short").unwrap().contains("5 characters"));
        assert!(refusal("ada", &"x y".repeat(100)).unwrap().contains("256 bytes"));
        assert_eq!(refusal("ada", "twelve chars"), None);
        assert_eq!(refusal("ada", "zwölf Zeichen"), None, "characters count, not bytes");
    }

    #[test]
    fn what_everybody_tries_first_is_refused_however_it_is_dressed() {
        for common in [
            "123456789012",
            "PasswordPassword",
            "Password1234!",
            "p@ssw0rd2024!!",
            "qwertyuiop[]",
            "1q2w3e4r5t6y",
            "aaaaaaaaaaaaaa",
            "abcdefghijklm",
            "Sunshine20252025",
            "ilovemyfamily1",
            "lkjihgfedcba",
        ] {
            assert!(refusal("ada", common).is_some(), "{common}");
        }
        assert!(refusal("Ada.Lovelace", "ada.lovelace2026").is_some());
        assert!(refusal("ada", "Portolan-2026!").is_some());
        for good in
            ["correct horse battery", "tide table harbour", "xK4#vq9Lm2Zp", "sunshine over the harbour"]
        {
            assert_eq!(refusal("ada", good), None, "{good}");
        }
    }

    #[test]
    fn the_list_has_thousands_each_once_in_lower_case() {
        let lines: Vec<&str> =
            include_str!("common.txt").lines().filter(|line| !line.starts_with('#')).collect();
        assert!(lines.len() > 3_000, "{}", lines.len());
        assert_eq!(lines.len(), COMMON.len());
        assert!(lines.iter().all(|line| line.to_lowercase() == *line && line.trim() == *line));
    }
}
