//! Tables as CSV (RFC 4180).

use std::borrow::Cow;
use std::io::{self, BufRead, Read as _};

/// One line. Cells that a spreadsheet would run as a formula are defused by an apostrophe, as OWASP advises.
#[must_use]
pub fn line(cells: &[&str]) -> String {
    let cell = |text: &&str| {
        let safe = defused(text);
        if matches!(safe, Cow::Borrowed(_)) && !text.contains(['"', ',', '\r', '\n']) {
            safe.into_owned()
        } else {
            format!("\"{}\"", safe.replace('"', "\"\""))
        }
    };
    let mut line = cells.iter().map(cell).collect::<Vec<_>>().join(",");
    line.push_str("\r\n");
    line
}

/// Beginnings that one spreadsheet or another takes for a formula's, or drops from in front of one (OWASP's CSV Injection,
/// ASVS 5 1.2.10). The last four are what East Asian keyboards type for the first four.
const FORMULA: [char; 12] =
    ['=', '+', '-', '@', '\t', '\r', '\n', '\0', '\u{ff1d}', '\u{ff0b}', '\u{ff0d}', '\u{ff20}'];

/// What a cell of this text holds: itself, behind an apostrophe if a spreadsheet would run it.
#[must_use]
pub fn defused(text: &str) -> Cow<'_, str> {
    if text.starts_with(FORMULA) { Cow::Owned(format!("'{text}")) } else { Cow::Borrowed(text) }
}

/// The cells of the next line, which is at most `most` bytes long; none at the end. Line ends may be CR LF or LF.
///
/// # Errors
/// What reading gives; `InvalidData` for what is no line of a table.
pub fn read(file: &mut impl BufRead, most: u64) -> io::Result<Option<Vec<String>>> {
    let (mut text, mut inside) = (String::new(), false);
    loop {
        let before = text.len();
        let left = u64::try_from(before).map_or(0, |before| most.saturating_sub(before));
        file.take(left).read_line(&mut text)?;
        let piece = &text[before..];
        if text.is_empty() {
            return Ok(None);
        }
        if !piece.ends_with('\n') {
            return Err(invalid("its last line is not whole, or too long"));
        }
        inside ^= piece.matches('"').count() % 2 == 1;
        if !inside {
            break;
        }
    }
    let line = text.trim_end_matches('\n').trim_end_matches('\r');
    cells(line).map(Some).ok_or_else(|| invalid("has a quote where none belongs"))
}

fn cells(line: &str) -> Option<Vec<String>> {
    let (mut cells, mut rest) = (Vec::new(), line);
    loop {
        let mut cell = String::new();
        if let Some(quoted) = rest.strip_prefix('"') {
            rest = quoted;
            loop {
                let (part, behind) = rest.split_once('"')?;
                cell.push_str(part);
                rest = behind;
                let Some(more) = rest.strip_prefix('"') else { break };
                cell.push('"');
                rest = more;
            }
        } else {
            let end = rest.find(',').unwrap_or(rest.len());
            cell.push_str(&rest[..end]);
            rest = &rest[end..];
            if cell.contains('"') {
                return None;
            }
        }
        cells.push(cell);
        if rest.is_empty() {
            return Some(cells);
        }
        rest = rest.strip_prefix(',')?;
    }
}

fn invalid(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_a_spreadsheet_would_run_is_defused_and_what_would_break_a_line_is_quoted() {
        let cells = [
            "=HYPERLINK(\"x\")",
            "+1",
            "-1",
            "@x",
            "\tx",
            "\rx",
            "\nx",
            "＝1",
            "a,b",
            "a\"b",
            "a\nb",
            "plain",
            "",
        ];
        let written = line(&cells);
        let defused =
            "\"'=HYPERLINK(\"\"x\"\")\",\"'+1\",\"'-1\",\"'@x\",\"'\tx\",\"'\rx\",\"'\nx\",\"'＝1\"";
        assert_eq!(written, format!("{defused},\"a,b\",\"a\"\"b\",\"a\nb\",plain,\r\n"));
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let read = |text: &str| super::read(&mut text.as_bytes(), 20);
        assert_eq!(read("").unwrap(), None);
        assert_eq!(read("a,\"b\nc\",\n").unwrap().unwrap(), ["a", "b\nc", ""]);
        for bad in [
            "a",
            "\"a\n",
            "a\"b\"\n",
            "\"a\"b\n",
            &"a".repeat(21),
            "\"\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\n\"",
        ] {
            assert!(read(bad).is_err(), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_defused(cells in proptest::collection::vec("[a\",\r\n=+ é＠-]{0,6}", 1..6)) {
            let cells: Vec<&str> = cells.iter().map(String::as_str).collect();
            let written = line(&cells);
            let read = read(&mut written.as_bytes(), 1_000).unwrap().unwrap();
            let defused: Vec<String> = cells.iter().map(|cell| defused(cell).into_owned()).collect();
            prop_assert_eq!(read, defused);
        }
    }
}
