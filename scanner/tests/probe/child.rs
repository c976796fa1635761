//! `portolan-scanner probe --job -`, as the link runs it.

use std::time::{Duration, Instant};

use crate::common::{Block, Link, SCANNER, Said, job, listen};
use portolan_scanner::net::Ports;
use portolan_scanner::wire::{Reason, State};

#[test]
fn a_job_goes_in_and_blocks_come_out_that_answer_it() {
    let (_open, at) = listen("127.82.0.9");
    let (_six, six) = listen("::1");
    let job = job("127.82.0.0/28,::1", &format!("1-100,{},{}", at.port(), six.port()));
    let (blocks, end) = Link::start(&job, "").finish();
    assert_eq!(end, "done");
    assert_eq!(blocks.len(), 5);
    for block in &blocks {
        block.check(&job);
    }
    assert!(blocks.iter().any(|block| block.says(at) == Some(Reason::SynAck)));
    assert!(blocks.iter().any(|block| block.says(six) == Some(Reason::SynAck)));
    assert_eq!(blocks.iter().map(|block| block.sent - block.again).sum::<u64>(), 17 * 102);
    assert!((34..=35).contains(&blocks.iter().map(|block| block.again).sum::<u64>()), "one of fifty");
}

#[test]
fn a_whole_frame_is_read_as_well_as_its_text() {
    let job = job("127.82.1.1,::1", "1-5");
    let frame = portolan_scanner::wire::seal(job.encode(), |_| [0; 64]);
    let (blocks, end) = Link::start_with(&format!("{frame}.\n")).finish();
    assert_eq!((blocks.len(), end.as_str()), (1, "done"));
}

#[test]
fn a_start_goes_on_where_the_walk_stopped() {
    let job = job("127.82.2.0/27,::1", "1-50");
    let (whole, _) = Link::start(&job, "start 0\n").finish();
    let (rest, end) = Link::start(&job, "start 5\n").finish();
    let numbers = |blocks: &[Block]| blocks.iter().map(|block| block.number).collect::<Vec<_>>();
    let walk: Vec<u64> = (0..9).map(|step| u64::try_from(job.walk().at(step)).unwrap()).collect();
    assert_eq!(numbers(&whole), walk);
    assert_eq!(numbers(&rest), walk[5..]);
    assert_eq!(end, "done");
}

/// Runs a probe of one open port of 1,024 hosts and kills it as soon as it has told its state the second time; then
/// another to its end, with that state or without. Gives how many hosts were connected to in vain, and the second's block.
fn killed_and_begun_again(with_state: bool) -> (usize, Block) {
    let listener = std::net::TcpListener::bind("0.0.0.0:0").unwrap();
    let at = listener.local_addr().unwrap();
    let (counted, heard) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Whoever was killed is gone.
            let Ok(local) = stream.and_then(|stream| stream.local_addr()) else { continue };
            if counted.send(local.ip()).is_err() {
                return;
            }
        }
    });
    let mut job = job("127.82.16.0/22", &at.port().to_string());
    (job.rate, job.host_rate, job.block_hosts) = (300, 300, 2_000);
    let mut link = Link::start(&job, "");
    let (mut state, mut whole) = (String::new(), 0);
    while whole < 2 {
        match link.say() {
            Some(Said::State(line)) if line == "." => whole += 1,
            Some(Said::State(line)) if whole == 1 => state += &format!("state {line}\n"),
            Some(Said::State(_) | Said::Progress(_)) => {}
            other => panic!("{other:?}"),
        }
    }
    link.child.kill().unwrap();
    link.child.wait().unwrap();
    let state = if with_state { state } else { String::new() };
    let again = Link::start(&job, &format!("{state}start 0\n"));
    let (mut blocks, end) = again.finish();
    assert_eq!((blocks.len(), end.as_str()), (1, "done"));
    let block = blocks.remove(0);
    block.check(&job);
    let open = block.hosts.iter().filter(|host| host.port(at.port()).0 == Reason::SynAck).count();
    assert_eq!(open, 1_024);
    // What was connected may wait to be accepted.
    let all: Vec<_> = std::iter::from_fn(|| heard.recv_timeout(Duration::from_millis(500)).ok()).collect();
    let different: std::collections::BTreeSet<_> = all.iter().collect();
    assert_eq!(different.len(), 1_024);
    (all.len().saturating_sub(1_024 + usize::try_from(block.again).unwrap()), block)
}

#[test]
fn what_a_killed_probe_had_told_of_its_state_is_not_probed_again() {
    let (repeated, block) = killed_and_begun_again(true);
    assert!(repeated < 300, "{repeated} of some 600");
    assert!(block.sent >= 1_024, "what went before counts: {}", block.sent);
    assert!(block.ended - block.started > 3_000_000, "it was begun by the first");
    let (repeated, _) = killed_and_begun_again(false);
    assert!(repeated > 400, "without, all of it is: {repeated}");
}

#[test]
fn a_state_that_is_not_of_the_job_is_said_and_not_gone_by() {
    let job = job("127.82.11.0/28,::1", "1-5");
    let (blocks, end) = Link::start(&job, "state step 9\nstate .\nstart 0\n").finish();
    assert_eq!((blocks.len(), end.as_str()), (5, "done"));
}

#[test]
fn a_cancel_ends_at_once_and_what_was_begun_is_told() {
    ends_early("cancel", Reason::Cancelled);
}

#[test]
fn a_job_whose_time_is_over_says_so_of_what_was_not_probed() {
    ends_early("expire", Reason::Expired);
}

fn ends_early(order: &str, reason: Reason) {
    let mut job = job("127.82.3.0/24,::1", "1-1000");
    (job.rate, job.block_hosts) = (2_000, 8);
    let mut link = Link::start(&job, "");
    let mut done = 0;
    while let Some(said) = link.say() {
        if let Said::Progress(numbers) = said {
            done = numbers[0];
            break;
        }
    }
    assert!((500..4_000).contains(&done), "{done} after a second");
    let asked = Instant::now();
    link.order(order);
    let (blocks, end) = link.finish();
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert!(end.starts_with("cancelled"), "{end}");
    for block in &blocks {
        block.check(&job);
    }
    let mut counts = [0u128; 5];
    for host in blocks.iter().flat_map(|block| &block.hosts) {
        for (sum, count) in counts.iter_mut().zip(host.counts(&job.ports)) {
            *sum += count;
        }
    }
    assert!(counts[State::Closed as usize] >= u128::from(done), "what was found is not lost");
    assert!(counts[State::NotProbed as usize] > 0, "what was begun and not done says so");
    let runs = blocks.iter().flat_map(|block| &block.hosts).flat_map(|host| &host.exceptions);
    assert!(runs.filter(|run| run.reason.state() == State::NotProbed).all(|run| run.reason == reason));
}

#[test]
fn a_pause_holds_and_a_resume_goes_on() {
    let mut job = job("127.82.4.0/28,::1", "1-200");
    job.rate = 2_000;
    let mut link = Link::start(&job, "pause\n");
    let mut heard = Vec::new();
    while heard.len() < 2 {
        match link.say() {
            Some(Said::Progress(numbers)) => heard.push(numbers),
            Some(Said::State(_)) => {}
            other => panic!("nothing but progress while it pauses: {other:?}"),
        }
    }
    assert_eq!(heard, [[0, 0, 0], [0, 0, 0]]);
    link.order("resume");
    let (blocks, end) = link.finish();
    assert_eq!((blocks.len(), end.as_str()), (5, "done"));
}

#[test]
fn an_exclusion_holds_from_the_first_probe_on_and_from_the_moment_it_comes() {
    let mut job = job("127.82.8.0/27,::1", "1-200");
    job.rate = 2_000;
    let (first, one) = listen("127.82.8.1");
    let (second, two) = listen("127.82.8.31");
    let (third, six) = listen("::1");
    for listener in [&first, &second, &third] {
        listener.set_nonblocking(true).unwrap();
    }
    job.ports = Ports::parse(&format!("1-200,{},{},{}", one.port(), two.port(), six.port())).unwrap();
    let mut link = Link::start(&job, "exclude 127.82.8.1\npause\n");
    link.order("exclude 127.82.8.31, 127.82.8.16-127.82.8.20, ::1");
    link.order("resume");
    let (blocks, end) = link.finish();
    assert_eq!((blocks.len(), end.as_str()), (9, "done"));
    for block in &blocks {
        block.check(&job);
    }
    let excluded = blocks.iter().flat_map(|block| &block.hosts).filter(|host| host.base == Reason::Excluded);
    assert_eq!(excluded.map(|host| host.last - host.first + 1).sum::<u128>(), 8);
    assert!([first, second, third].iter().all(|open| open.accept().is_err()), "nobody connected");
}

#[test]
fn an_exclusion_that_cannot_be_read_ends_the_scan() {
    let job = job("127.82.9.0/27", "1-200");
    for input in
        [format!("exclude ten\n{}.\n", job.encode()), format!("{}.\nexclude 10.0.0.1/8\n", job.encode())]
    {
        let (blocks, end) = Link::start_with(&input).finish();
        assert!(blocks.is_empty() && end.starts_with("failed an exclusion cannot be read"), "{end}");
    }
}

#[test]
fn a_scan_that_nobody_controls_ends() {
    let mut job = job("127.82.5.0/24,::1", "1-1000");
    job.rate = 1_000;
    let mut link = Link::start(&job, "");
    drop(link.orders.take());
    let begun = Instant::now();
    let (_, end) = link.finish();
    assert!(end.starts_with("cancelled"), "{end}");
    assert!(begun.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_file_as_input_runs_to_its_end() {
    let job = job("127.82.6.0/28,::1", "1-50");
    let folder = std::env::temp_dir().join(format!("portolan-probe-{}", std::process::id()));
    std::fs::write(&folder, format!("start 1\n{}.\n", job.encode())).unwrap();
    let input = std::fs::File::open(&folder).unwrap();
    let output =
        std::process::Command::new(SCANNER).args(["probe", "--job", "-"]).stdin(input).output().unwrap();
    std::fs::remove_file(&folder).unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.ends_with("end done\n"), "{text}");
    assert_eq!(text.lines().filter(|line| line.starts_with("block ")).count(), 4);
}

#[test]
fn what_is_not_a_job_is_refused_by_what_is_wrong_with_it() {
    let good = job("127.82.7.1", "1").encode();
    let mut large = job("127.82.0.0/16", "1-65535");
    large.block_hosts = 60_000;
    for (input, what) in [
        (".\n".to_owned(), "ended before the line"),
        ("hello\n.\n".to_owned(), "the job cannot be read"),
        (
            good.replace("portolan-frame: 1", "portolan-frame: 9") + ".\n",
            "frame version \"9\" is not known here",
        ),
        (good.replace("rate: 100000", "rate: 0") + ".\n", "the job cannot be read"),
        (format!("{}.\n", large.encode()), "block-hosts: a block of 60000 hosts x 65535 ports"),
    ] {
        let mut link = Link::start_with(&input);
        drop(link.orders.take());
        let (blocks, end) = link.finish();
        assert!(blocks.is_empty());
        assert!(end.starts_with("failed ") && end.contains(what), "{end}");
    }
}
