//! What a program costs, read from /proc.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Clock ticks a second, as /proc counts CPU time: Linux shows 100 to every program.
const TICKS: f64 = 100.0;

/// What one run of a program took and said.
#[derive(Debug)]
pub struct Run {
    /// Seconds from its start to its end.
    pub wall: f64,
    /// Seconds of CPU, its own and the kernel's on its behalf.
    pub cpu: f64,
    /// The most memory it held, in KiB.
    pub peak: u64,
    /// Its standard output.
    pub output: String,
}

/// Runs a program of a single process to its end.
///
/// # Errors
/// A sentence, if it cannot be started or does not end well.
pub fn run(mut command: Command) -> Result<Run, String> {
    let name = format!("{command:?}");
    let failed = |what: &dyn std::fmt::Display| format!("{name}: {what}");
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(|error| failed(&error))?;
    let mut stdout = child.stdout.take().ok_or_else(|| failed(&"no output"))?;
    let reader = thread::spawn(move || {
        let mut output = String::new();
        stdout.read_to_string(&mut output).map(|_| output)
    });
    let process = format!("/proc/{}", child.id());
    let (mut peak, mut wall);
    peak = 0;
    // A process that has ended keeps its times until it is waited for.
    let cpu = loop {
        let stat = fs::read_to_string(format!("{process}/stat")).map_err(|error| failed(&error))?;
        wall = started.elapsed();
        let (ended, cpu) = times(&stat).ok_or_else(|| failed(&"/proc cannot be read"))?;
        if ended {
            break cpu;
        }
        peak = peak
            .max(fs::read_to_string(format!("{process}/status")).ok().and_then(|s| high(&s)).unwrap_or(0));
        thread::sleep(Duration::from_millis(5));
    };
    let status = child.wait().map_err(|error| failed(&error))?;
    let output = reader.join().map_err(|_| failed(&"its reader failed"))?.map_err(|error| failed(&error))?;
    if !status.success() {
        return Err(failed(&status));
    }
    Ok(Run { wall: wall.as_secs_f64(), cpu, peak, output })
}

/// Whether the process has ended, and its CPU seconds, from /proc/PID/stat.
fn times(stat: &str) -> Option<(bool, f64)> {
    // The name may hold anything but ends at the last parenthesis.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let ticks = |field: usize| fields.get(field)?.parse::<f64>().ok();
    Some((matches!(*fields.first()?, "Z" | "X"), (ticks(11)? + ticks(12)?) / TICKS))
}

/// The peak of its memory in KiB, from /proc/PID/status.
fn high(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix(" kB")?.parse().ok()
}

/// The one in the middle.
pub fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match values.len() {
        0 => f64::NAN,
        odd if odd % 2 == 1 => values[middle],
        _ => f64::midpoint(values[middle - 1], values[middle]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_an_ended_process_are_read_past_its_name() {
        let stat = "12 (a) R (b) Z 1 2 3 4 5 6 7 8 9 10 150 25 0 0";
        assert_eq!(times(stat), Some((true, 1.75)));
        assert_eq!(times(""), None);
    }

    #[test]
    fn a_program_is_measured_to_its_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i"]);
        let run = run(command).unwrap();
        assert_eq!(run.output, "200000\n");
        assert!(run.cpu > 0.0 && run.wall >= run.cpu * 0.5 && run.peak > 0, "{run:?}");
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 9.0]) - 3.0).abs() < f64::EPSILON);
        assert!((median(vec![3.0, 1.0, 9.0, 4.0]) - 3.5).abs() < f64::EPSILON);
    }
}
