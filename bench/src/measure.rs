//! What a program costs.

use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike;

/// What one run of a program took and said; of several programs, one after the other, all together.
#[derive(Debug, Default)]
pub struct Run {
    /// Seconds from its start to its end.
    pub wall: f64,
    /// Seconds of CPU, its own and the kernel's on its behalf, of all its processes.
    pub cpu: f64,
    /// The most memory it held, in KiB; its first process alone.
    pub peak: u64,
    /// Its standard output.
    pub output: String,
}

/// Runs a program to its end. No other child of this process may end meanwhile.
///
/// # Errors
/// A sentence, if it cannot be started, does not end well, or not within `limit`, when it is killed.
pub fn run(mut command: Command, limit: Duration) -> Result<Run, String> {
    let failed = |what: &dyn std::fmt::Display| what.to_string();
    let before = of_children()?;
    let started = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(&error))?;
    let read = |pipe: Option<Box<dyn Read + Send>>| {
        thread::spawn(move || {
            let mut output = Vec::new();
            // What cannot be read is missing from the output, and shows as missed.
            let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut output));
            String::from_utf8_lossy(&output).into_owned()
        })
    };
    let out = read(child.stdout.take().map(|pipe| Box::new(pipe) as _));
    let complaints = read(child.stderr.take().map(|pipe| Box::new(pipe) as _));
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let (ended, wall) = loop {
        peak = peak.max(fs::read_to_string(&status).ok().and_then(|status| high(&status)).unwrap_or(0));
        if let Some(ended) = child.try_wait().map_err(|error| failed(&error))? {
            break (ended, started.elapsed());
        }
        if started.elapsed() > limit {
            child.kill().and_then(|()| child.wait()).map_err(|error| failed(&error))?;
            return Err(failed(&format_args!("not done within {} s", limit.as_secs())));
        }
        thread::sleep(Duration::from_millis(5));
    };
    let cpu = of_children()? - before;
    let [output, complaints] = [out, complaints].map(|reader| reader.join().unwrap_or_default());
    if !ended.success() {
        return Err(failed(&format_args!("{ended}: {}", complaints.trim())));
    }
    Ok(Run { wall: wall.as_secs_f64(), cpu, peak, output })
}

/// The CPU seconds of all children that have ended, and of theirs.
fn of_children() -> Result<f64, String> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).map_err(|error| format!("getrusage: {error}"))?;
    let micros = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(micros.unsigned_abs()).as_secs_f64())
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

/// The value that this part of them lies below; the nearest of them.
#[cfg(feature = "ingest")]
pub fn quantile(values: &[f64], part: f64) -> f64 {
    let mut values = values.to_vec();
    values.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a place among a few thousand"
    )]
    let at = (part * (values.len().saturating_sub(1)) as f64).round() as usize;
    values.get(at).copied().unwrap_or(f64::NAN)
}

/// How likely one of `these` is larger than one of `those`, ties counting half: 0.5 where they cannot be told apart
/// (Mann and Whitney's U, divided by the number of pairs).
#[cfg(feature = "ingest")]
pub fn slower(these: &[f64], those: &[f64]) -> f64 {
    let pair = |one: f64, other: f64| if one > other { 1.0 } else { f64::from(u8::from(one >= other)) / 2.0 };
    let won: f64 = these.iter().flat_map(|one| those.iter().map(move |other| pair(*one, *other))).sum();
    #[expect(clippy::cast_precision_loss, reason = "a few million pairs")]
    let pairs = (these.len() * those.len()) as f64;
    won / pairs
}

/// Numbers drawn from a seed (`SplitMix64`), the same in each run.
#[cfg(feature = "ingest")]
pub struct Draws(u64);

#[cfg(feature = "ingest")]
impl Draws {
    /// From this seed.
    pub fn seeded(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `n`, which is above 0.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % n as u64).expect("it is below a usize")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_measured_to_its_end() {
        let mut command = Command::new("sh");
        command.args(["-c", "i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; echo $i"]);
        let run = run(command, Duration::from_secs(60)).unwrap();
        assert_eq!(run.output, "200000\n");
        assert!(run.cpu > 0.0 && run.wall >= run.cpu * 0.5 && run.peak > 0, "{run:?}");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let mut command = Command::new("sleep");
        command.arg("60");
        let said = run(command, Duration::from_millis(50)).unwrap_err();
        assert!(said.contains("not done within"), "{said}");
    }

    #[cfg(feature = "ingest")]
    #[test]
    fn what_is_slower_is_told_from_what_is_not() {
        let times = |from: f64| (0..100).map(|n| from + f64::from(n)).collect::<Vec<_>>();
        let close = |one: f64, other: f64| (one - other).abs() < 1e-9;
        assert!(close(slower(&times(0.0), &times(0.0)), 0.5));
        assert!(
            close(slower(&times(200.0), &times(0.0)), 1.0) && close(slower(&times(0.0), &times(200.0)), 0.0)
        );
        assert!(slower(&times(10.0), &times(0.0)) > 0.55);
        assert!(close(quantile(&times(0.0), 0.95), 94.0) && close(quantile(&[3.0], 0.5), 3.0));
        let mut draws = Draws::seeded(1);
        let drawn: Vec<usize> = (0..1_000).map(|_| draws.below(10)).collect();
        assert!((0..10).all(|n| (60..150).contains(&drawn.iter().filter(|d| **d == n).count())), "{drawn:?}");
    }

    #[test]
    fn the_median_lies_in_the_middle() {
        assert!((median(vec![3.0, 1.0, 9.0]) - 3.0).abs() < f64::EPSILON);
        assert!((median(vec![3.0, 1.0, 9.0, 4.0]) - 3.5).abs() < f64::EPSILON);
    }
}
