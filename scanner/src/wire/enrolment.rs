//! What a scanner signs to prove that it holds the key it enrols.

use super::hex;

/// The text to be signed. It names the token by its SHA-256, so that who keeps only that can check the proof too.
pub fn enrolment_proof(token_sha256: &[u8; 32]) -> String {
    format!("portolan-enrol-v1\n{}", hex::encode(token_sha256))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_two_lines_without_a_line_feed_at_the_end() {
        assert_eq!(enrolment_proof(&[0xab; 32]), format!("portolan-enrol-v1\n{}", "ab".repeat(32)));
    }
}
