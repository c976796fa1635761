//! A QR code as the parts of an inline SVG: the page draws one path, no image is loaded, no style is inline.

use qrcode::{Color, EcLevel, QrCode};
use schemars::JsonSchema;
use serde::Serialize;

/// Light modules around the code, which readers need (ISO/IEC 18004 asks for four).
const QUIET: usize = 4;

/// A QR code, to be drawn dark on light: `<svg viewBox="0 0 size size"><path d="path"/></svg>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Qr {
    /// Modules on a side, the quiet zone included.
    pub size: usize,
    /// The dark modules: runs of a row, each one module high.
    pub path: String,
}

/// The code of a text; none when it is longer than a QR code takes (about 2,300 bytes).
#[must_use]
pub fn of(text: &str) -> Option<Qr> {
    let code = QrCode::with_error_correction_level(text, EcLevel::M).ok()?;
    let width = code.width();
    let mut path = String::new();
    for (y, row) in code.to_colors().chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|a, b| a == b) {
            if run.first() == Some(&Color::Dark) {
                let (left, top, length) = (x + QUIET, y + QUIET, run.len());
                path.push_str(&format!("M{left} {top}h{length}v1h-{length}z"));
            }
            x += run.len();
        }
    }
    Some(Qr { size: width + 2 * QUIET, path })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_draws_every_dark_module_once() {
        let text = "otpauth://totp/Portolan:ada?secret=MZXW6YTBOI&issuer=Portolan";
        let qr = of(text).unwrap();
        let code = QrCode::with_error_correction_level(text, EcLevel::M).unwrap();
        let dark = code.to_colors().iter().filter(|color| **color == Color::Dark).count();
        let drawn: usize = qr
            .path
            .split('h')
            .skip(1)
            .step_by(2)
            .map(|piece| piece.split('v').next().unwrap().parse::<usize>().unwrap())
            .sum();
        assert_eq!(drawn, dark);
        assert_eq!(qr.size, code.width() + 8);
        assert!(qr.path.starts_with("M4 4h7v1h-7z"), "a finder pattern is in the corner: {}", qr.path);
    }

    #[test]
    fn a_text_too_long_has_no_code() {
        assert_eq!(of(&"x".repeat(5_000)), None);
    }
}
