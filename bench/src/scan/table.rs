//! The figures of a scenario as a section of a Markdown page.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use super::scenario::Scenario;
use super::{Row, judge, tools};
use crate::measure::{Run, median};

/// The section of a scenario: a table, and the command lines behind it.
pub fn section(scenario: &Scenario, rows: &[Row], machine: &str) -> String {
    let truth = scenario.truth();
    let (probes, open) = (scenario.probes(), truth.len());
    let mut text = format!(
        "### {}\n\n{probes} probes, {open} open ports. Medians; missed and wrong are those of the worst run.\n\
         {machine}\n\n\
         | program | runs | probes per CPU-second | ours is × | CPU s | wall s | peak MiB | missed | recall | wrong |\n\
         |---|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n",
        scenario.title
    );
    let rate = |row: &Row| f64::from(probes) / middle(row, |run| run.cpu);
    let own = |row: &&Row| row.tool.name == tools::OWN && row.failed.is_none();
    let own = rows.iter().find(own).map(rate);
    for row in rows {
        let name = row.tool.name;
        if let Some(why) = &row.failed {
            let why = why.replace('|', "/").replace('\n', " ");
            line(&mut text, format_args!("| {name} | | {why} | | | | | | | |"));
            continue;
        }
        let judged: Vec<_> =
            row.runs.iter().map(|run| judge(&(row.tool.found)(&run.output), &truth)).collect();
        let missed = judged.iter().map(|(missed, _)| *missed).max().unwrap_or(0);
        let wrong = judged.iter().map(|(_, wrong)| *wrong).max().unwrap_or(0);
        let ratio = own.map_or(String::new(), |own| format!("{:.2}", own / rate(row)));
        line(
            &mut text,
            format_args!(
                "| {name} | {} | {} | {ratio} | {:.2} | {:.2} | {:.1} | {missed} | {:.2} % | {wrong} |",
                row.runs.len(),
                thousands(rate(row)),
                middle(row, |run| run.cpu),
                middle(row, |run| run.wall),
                middle(row, |run| mib(run.peak)),
                percent(open - missed, open),
            ),
        );
    }
    text.push_str("\n```\n");
    for row in rows.iter().filter(|row| row.failed.is_none()) {
        for command in row.lines.iter().take(1) {
            let more = match row.lines.len() {
                1 => String::new(),
                n => format!("    # and so for each of {n} ports"),
            };
            line(&mut text, format_args!("{} {command}{more}", row.tool.program));
        }
    }
    text + "```\n\n"
}

/// Where the scenarios stand on the page.
pub const SCANNING: &str = "## Scanning beside other scanners\n";
/// Where the audit's figures stand.
#[cfg(feature = "ingest")]
pub const AUDIT: &str = "## The audit\n";
/// Where those of signing in stand.
#[cfg(feature = "ingest")]
pub const SIGN_IN: &str = "## Signing in\n";

/// Puts a section into a page, in place of the one with the same heading, else at the end of this chapter of the page,
/// which a page without it gets.
///
/// # Errors
/// A sentence, if the page cannot be read or written.
pub fn write(page: &Path, chapter: &str, section: &str) -> Result<(), String> {
    let failed = |error: std::io::Error| format!("{}: {error}", page.display());
    let before = fs::read_to_string(page).map_err(failed)?;
    fs::write(page, placed(&before, chapter, section)).map_err(failed)
}

fn placed(page: &str, chapter: &str, section: &str) -> String {
    let heading = section.split_inclusive('\n').next().unwrap_or_default();
    let next = |from: usize, marks: &[&str]| {
        let ends = marks.iter().filter_map(|mark| page[from..].find(mark)).min();
        ends.map_or(page.len(), |at| from + at + 1)
    };
    let (start, end) = if let Some(start) = page.find(heading) {
        (start, next(start, &["\n## ", "\n### "]))
    } else if let Some(start) = page.find(chapter) {
        let end = next(start, &["\n## "]);
        (end, end)
    } else {
        return format!("{}\n\n{chapter}\n{section}", page.trim_end());
    };
    let placed = format!("{}{section}{}", &page[..start], &page[end..]);
    placed.trim_end().to_owned() + "\n"
}

/// The machine and how busy it is, in a sentence: to be asked before anything runs.
pub fn machine() -> String {
    let read = |file: &str| fs::read_to_string(file).unwrap_or_default();
    let model = read("/proc/cpuinfo");
    let model = model.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": a CPU");
    let load = read("/proc/loadavg");
    format!(
        "{} × {}, Linux {}; load {} before the first run.",
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        model.trim_start_matches([' ', '\t', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
        load.split(' ').next().unwrap_or("unknown"),
    )
}

fn middle(row: &Row, value: fn(&Run) -> f64) -> f64 {
    median(row.runs.iter().map(value).collect())
}

fn mib(kib: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a program's memory in KiB is far below 2^52")]
    let kib = kib as f64;
    kib / 1_024.0
}

/// A share in percent.
pub fn percent(part: usize, whole: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "a few thousand")]
    let (part, whole) = (part as f64, whole as f64);
    100.0 * part / whole
}

/// `240,000`
pub fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn line(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    writeln!(text, "{arguments}").expect("writing to a String does not fail");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_takes_the_place_of_its_like_and_leaves_the_rest() {
        let page = "# Benchmarks\n\ntext\n\n## Scanning beside other scanners\n\nmore\n\n### A\n\nold\n\n### B\n\nb\n\n## io_uring\n\nkept\n";
        let new = placed(page, SCANNING, "### A\n\nnew\n\n");
        assert_eq!(new, page.replace("old", "new"));
        let third = placed(&new, SCANNING, "### C\n\nc\n\n");
        assert_eq!(third, new.replace("## io_uring", "### C\n\nc\n\n## io_uring"));
        let fresh = placed("# Benchmarks\n", SCANNING, "### A\n\nnew\n\n");
        assert!(fresh.starts_with("# Benchmarks\n\n## Scanning beside other scanners\n\n### A\n"), "{fresh}");
    }

    #[test]
    fn large_numbers_are_cut_in_threes() {
        assert_eq!(
            [7.0, 240_000.4, 1_234_567.0].map(thousands),
            ["7", "240,000", "1,234,567"].map(String::from)
        );
    }
}
