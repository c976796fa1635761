//! One-time codes from an authenticator app: RFC 6238 with what every app knows, SHA-1, six digits, 30 seconds.
//!
//! Pure: the moment is a parameter. SHA-1 is no weakness here: HMAC does not rest on collisions.

use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;

/// Bytes of a new secret: the length of SHA-1's output, as RFC 4226 asks.
pub const SECRET_LEN: usize = 20;
/// Seconds of one step.
pub const STEP: i64 = 30;
/// Steps before and after this one whose codes are taken.
pub const WINDOW: i64 = 1;
/// Steps in which a code is looked for, to tell of clocks that differ. What fits there is never taken.
const SEARCH: i64 = 20;
/// One more than the largest code.
const MODULUS: u32 = 1_000_000;

/// What a typed code is, at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Judged {
    /// The code of a step that may be used now: this many steps from the present one.
    Right {
        /// The step, since 1970.
        step: i64,
        /// How far it is from the present one: -1, 0 or 1.
        away: i64,
    },
    /// The code of a step that was used, or of one before it.
    Used,
    /// The code of a step too far away: the clocks differ by about `away` steps.
    Drifted {
        /// The step, since 1970.
        step: i64,
        /// Positive when the device that made it is ahead of us.
        away: i64,
    },
    /// No code of this secret, as far as was looked.
    Wrong,
}

/// The step of a moment, in seconds since 1970.
#[must_use]
pub const fn step(seconds: i64) -> i64 {
    seconds.div_euclid(STEP)
}

/// Judges a code typed at `seconds` since 1970. A step at or before `last` was used; so is one in `burnt`.
/// Every step is computed whatever fits, so that the time taken tells nothing.
#[must_use]
pub fn judge(secret: &[u8], code: u32, seconds: i64, last: i64, burnt: &[i64]) -> Judged {
    let now = step(seconds);
    let fits: Vec<i64> = (-SEARCH..=SEARCH).filter(|away| code_at(secret, now + away) == code).collect();
    let near = |away: &&i64| away.abs() <= WINDOW;
    let fresh = |away: &&i64| now + **away > last && !burnt.contains(&(now + **away));
    match fits.iter().filter(near).find(fresh) {
        Some(&away) => Judged::Right { step: now + away, away },
        None if fits.iter().any(|away| near(&away)) => Judged::Used,
        // Of several (one in 25,000 wrong codes fits at all), the nearest is the likeliest.
        None => match fits.iter().min_by_key(|away| away.abs()) {
            Some(&away) => Judged::Drifted { step: now + away, away },
            None => Judged::Wrong,
        },
    }
}

/// The code of a step (RFC 4226, section 5.3).
#[must_use]
pub fn code_at(secret: &[u8], step: i64) -> u32 {
    truncated(secret, step) % MODULUS
}

fn truncated(secret: &[u8], step: i64) -> u32 {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret).expect("HMAC takes a key of any length");
    mac.update(&step.to_be_bytes());
    let digest: [u8; 20] = mac.finalize().into_bytes().into();
    let at = usize::from(digest[19] & 0xf);
    u32::from_be_bytes([digest[at], digest[at + 1], digest[at + 2], digest[at + 3]]) & 0x7fff_ffff
}

/// Six digits, white space between them ignored; nothing else is a code.
#[must_use]
pub fn parse(typed: &str) -> Option<u32> {
    let digits: String = typed.chars().filter(|letter| !letter.is_whitespace()).collect();
    (digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// Base32 of RFC 4648 without padding, as apps take a secret that is typed.
#[must_use]
pub fn base32(secret: &[u8]) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for chunk in secret.chunks(5) {
        let mut five = [0; 8];
        five[3..3 + chunk.len()].copy_from_slice(chunk);
        let bits = u64::from_be_bytes(five);
        for letter in 0..(chunk.len() * 8).div_ceil(5) {
            let index = (bits >> (35 - 5 * letter)) & 31;
            text.push(char::from(ALPHABET[usize::try_from(index).expect("below 32")]));
        }
    }
    text
}

/// The address that an app reads from the QR code (Google's key URI format, which all follow). The other parameters
/// are left out: they are what every app assumes, and some read nothing else.
#[must_use]
pub fn uri(secret: &[u8], issuer: &str, account: &str) -> String {
    let issuer = percent(issuer);
    format!("otpauth://totp/{issuer}:{}?secret={}&issuer={issuer}", percent(account), base32(secret))
}

/// Percent-encoding that a path and a query both read (a `+` would be a plus in one of them).
fn percent(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    #[test]
    fn the_codes_are_those_of_rfc_6238() {
        // Appendix B has eight digits.
        for (seconds, code) in [
            (59, 94_287_082),
            (1_111_111_109, 7_081_804),
            (1_111_111_111, 14_050_471),
            (1_234_567_890, 89_005_924),
            (2_000_000_000, 69_279_037),
            (20_000_000_000, 65_353_130),
        ] {
            assert_eq!(truncated(SECRET, step(seconds)) % 100_000_000, code, "{seconds}");
            assert_eq!(code_at(SECRET, step(seconds)), code % 1_000_000, "{seconds}");
        }
        // RFC 4226, appendix D.
        let hotp = [755_224, 287_082, 359_152, 969_429, 338_314, 254_676, 287_922, 162_583, 399_871, 520_489];
        for (count, code) in (0..).zip(hotp) {
            assert_eq!(code_at(SECRET, count), code);
        }
    }

    #[test]
    fn a_code_is_taken_one_step_around_and_once() {
        let seconds = 1_795_341_600;
        let now = step(seconds);
        for away in -1..=1 {
            let code = code_at(SECRET, now + away);
            assert_eq!(judge(SECRET, code, seconds, 0, &[]), Judged::Right { step: now + away, away });
            assert_eq!(judge(SECRET, code, seconds, now + away, &[]), Judged::Used);
            assert_eq!(judge(SECRET, code, seconds, 0, &[now + away]), Judged::Used);
        }
        let before = code_at(SECRET, now - 1);
        assert_eq!(judge(SECRET, before, seconds, now, &[]), Judged::Used, "nor one before a used one");
    }

    #[test]
    fn a_code_of_another_time_is_told_and_not_taken() {
        let seconds = 1_795_341_600;
        let now = step(seconds);
        for away in [-20, -7, -2, 2, 20] {
            let code = code_at(SECRET, now + away);
            assert_eq!(judge(SECRET, code, seconds, 0, &[]), Judged::Drifted { step: now + away, away });
        }
        for away in [-21, 21] {
            assert_eq!(judge(SECRET, code_at(SECRET, now + away), seconds, 0, &[]), Judged::Wrong);
        }
        assert_eq!(judge(SECRET, code_at(b"another secret", now), seconds, 0, &[]), Judged::Wrong);
    }

    #[test]
    fn a_code_is_six_digits_however_they_are_grouped() {
        assert_eq!(parse(" 012 345\n"), Some(12_345));
        for other in ["", "12345", "1234567", "12345a", "+12345", "１２３４５６"] {
            assert_eq!(parse(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_text_of_a_secret_is_that_of_rfc_4648() {
        for (plain, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(plain.as_bytes()), text);
        }
    }

    #[test]
    fn the_address_for_an_app_escapes_names() {
        let uri = uri(b"foobar", "Portolan box:8080", "ada@plant & lab");
        let wanted = "otpauth://totp/Portolan%20box%3A8080:ada%40plant%20%26%20lab?secret=MZXW6YTBOI\
                      &issuer=Portolan%20box%3A8080";
        assert_eq!(uri, wanted);
    }
}
