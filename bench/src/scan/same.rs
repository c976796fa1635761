//! Whether the scanner says the same each time.

use std::collections::BTreeMap;

use super::scenario::Scenario;
use super::space::Space;
use super::table::percent;
use super::{Options, Row, judge, once, tools};

/// Runs Portolan's scanner so many times and compares all that it said of every port; a section of a page.
///
/// # Errors
/// A sentence, if a run fails.
pub fn section(space: &Space, scenario: &Scenario, options: &Options, runs: usize) -> Result<String, String> {
    let truth = scenario.truth();
    let mut text = format!(
        "### The same answer {runs} times: {}\n\n\
         | program | runs | the same open ports | the same state of every port | recall, worst run | wrong, all runs |\n\
         |---|---:|---:|---:|---:|---:|\n",
        scenario.title
    );
    for tool in options.tools.iter().filter(|tool| [tools::OWN, tools::OWN_SYN].contains(&tool.name)) {
        let row = Row::new(tool, scenario);
        if let Some(why) = row.failed {
            text.push_str(&format!("| {} | {why} | | | | |\n", tool.name));
            continue;
        }
        let mut opened: BTreeMap<_, usize> = BTreeMap::new();
        let mut answers: BTreeMap<String, usize> = BTreeMap::new();
        let (mut worst, mut all_wrong) = (0, 0);
        for run in 1..=runs {
            eprintln!("{}, run {run} of {runs}: {}", scenario.name, tool.name);
            let output = once(space, tool, &row.lines)?.output;
            let found = (tool.found)(&output);
            let (missed, wrong) = judge(&found, &truth);
            worst = worst.max(missed);
            all_wrong += wrong;
            *opened.entry(found).or_default() += 1;
            *answers.entry(answer(&output)).or_default() += 1;
        }
        let (open, all) = (commonest(&opened), commonest(&answers));
        let recall = percent(truth.len() - worst, truth.len());
        text.push_str(&format!(
            "| {} | {runs} | {open} | {all} | {recall:.2} % | {all_wrong} |\n",
            tool.name
        ));
    }
    Ok(text + "\n")
}

/// How often the commonest answer came.
fn commonest<T>(answers: &BTreeMap<T, usize>) -> usize {
    answers.values().max().copied().unwrap_or(0)
}

/// What was said of hosts and ports: without the times, in one order. The last two lines are left out: how large the
/// random sample for the recall was, and the summary, which counts repeated attempts.
fn answer(output: &str) -> String {
    let lines: Vec<&str> = output.lines().collect();
    let hosts = &lines[..lines.len().saturating_sub(2)];
    let mut said: Vec<&str> =
        hosts.iter().map(|line| line.split_once(" open ").map_or(*line, |(socket, _)| socket)).collect();
    said.sort_unstable();
    said.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_order_make_no_other_answer_but_states_do() {
        let one = "10.98.0.1:22 open 0.1 ms\n10.98.0.1: 1 open, 9 closed\n10.98.0.2: every port closed (rst)\nrecall ≥ 9 %\nsum\n";
        let two = "10.98.0.2: every port closed (rst)\n10.98.0.1:22 open 0.9 ms\n10.98.0.1: 1 open, 9 closed\nrecall ≥ 8 %\nmus\n";
        assert_eq!(answer(one), answer(two));
        assert_ne!(answer(one), answer(&two.replace("9 closed", "8 closed, 1 filtered")));
    }
}
