//! Rules that hold for every kind of frame.

use proptest::prelude::*;

use super::*;
use crate::net::{Ports, Range, Ranges};

fn an_id() -> impl Strategy<Value = Id> {
    any::<[u8; 16]>().prop_map(Id::from_bytes)
}

fn ports() -> impl Strategy<Value = Ports> {
    proptest::collection::vec((1u16.., 0u16..50), 1..6)
        .prop_map(|runs| runs.into_iter().map(|(first, more)| (first, first.saturating_add(more))).collect())
}

fn targets() -> impl Strategy<Value = Ranges> {
    let run = (any::<bool>(), any::<u32>(), 0u32..40).prop_map(|(v4, first, more)| {
        let base = if v4 { 0xffff_0000_0000 } else { 0x2001_0db8 << 96 };
        Range { first: base + u128::from(first), last: base + u128::from(first.saturating_add(more)) }
    });
    proptest::collection::vec(run, 1..5).prop_map(|runs| runs.into_iter().collect())
}

prop_compose! {
    fn job()(
        ids in [an_id(), an_id(), an_id(), an_id()],
        (batch, epoch, retries, seed) in any::<(u32, u32, u32, [u8; 16])>(),
        (rate, host_rate, timeout_ms, block_hosts) in (1u32.., 1u32.., 1u32.., 1u32..50),
        issued in any::<i32>(),
        life in 1i64..1_000_000_000,
        preset in proptest::sample::select(&Preset::ALL[..]),
        method in proptest::sample::select(&Method::ALL[..]),
        (hints, own) in any::<(bool, bool)>(),
        targets in targets(),
        ports in ports(),
    ) -> Job {
        let [id, scan, scanner, vantage] = ids;
        let issued = i64::from(issued);
        Job { id, scan, batch, epoch, scanner, vantage, issued, expires: issued + life, preset, method, rate,
            host_rate, timeout_ms, retries, hints: hints && preset != Preset::Gentle, own, seed, block_hosts, targets, ports }
    }
}

fn reason(open: bool) -> impl Strategy<Value = Reason> {
    proptest::sample::select(&Reason::ALL[usize::from(!open)..])
}

fn port_records() -> impl Strategy<Value = Vec<PortRecord>> {
    let steps = proptest::collection::vec((1u16..200, 0u16..20, reason(true), any::<u32>()), 0..8);
    steps.prop_map(|steps| {
        let mut at = 0;
        let step = |(gap, more, reason, rtt_us)| {
            let open = reason == Reason::SynAck;
            let first = at + gap;
            let last = if open { first } else { first + more };
            at = last;
            PortRecord { first, last, reason, rtt_us: if open { rtt_us } else { 0 } }
        };
        steps.into_iter().map(step).collect()
    })
}

fn hosts() -> impl Strategy<Value = Vec<HostRecord>> {
    let said = proptest::collection::vec(proptest::option::of(said()), 8);
    let steps = (1u128..1000, 0u128..20, reason(false), port_records(), said);
    proptest::collection::vec(steps, 0..8).prop_map(|steps| {
        let mut at = 0xffff_0a00_0000;
        let step =
            |(gap, more, base, mut exceptions, mut said): (_, _, _, Vec<PortRecord>, Vec<Option<Said>>)| {
                exceptions.retain(|run| run.reason != base);
                let first = at + gap;
                let last = if exceptions.is_empty() { first + more } else { first };
                at = last;
                let open = exceptions.iter().filter(|run| run.reason == Reason::SynAck);
                let hints = open
                    .zip(&mut said)
                    .filter_map(|(run, said)| Some(Hint { port: run.first, said: said.take()? }));
                let hints = hints.collect();
                HostRecord { first, last, base, exceptions, hints }
            };
        steps.into_iter().map(step).collect()
    })
}

fn text(most: usize) -> impl Strategy<Value = Text> {
    proptest::collection::vec(any::<u8>(), 1..=most)
        .prop_map(move |bytes| Text::escape(&bytes, most).unwrap())
}

fn said() -> impl Strategy<Value = Said> {
    use proptest::option::of;
    let names = proptest::collection::vec(text(hint::MAX_NAME), 0..4);
    prop_oneof![
        text(hint::MAX_TEXT).prop_map(Said::Banner),
        (any::<[u8; 32]>(), of(any::<i64>()), of(text(hint::MAX_TEXT)), names).prop_map(
            |(sha256, expires, subject, names)| Said::Certificate(Certificate {
                sha256,
                expires,
                subject,
                names
            })
        ),
    ]
}

prop_compose! {
    fn results()(
        (job, scanner, block, part, last) in (any::<[u8; 32]>(), an_id(), any::<u64>(), any::<u32>(), any::<bool>()),
        (clock, offset, started, ended, probes, sent) in any::<(i64, i64, i64, i64, u64, u64)>(),
        sample in any::<(u64, u64, u64)>(),
        hosts in hosts(),
    ) -> Results {
        let sample = Sample { probed: sample.0, answered: sample.1, missed: sample.2 };
        Results { job, block, part, last, scanner, clock, offset, started, ended, probes, sent, sample, hosts }
    }
}

/// Decodes a whole frame of any kind and encodes it again.
fn again(frame: &[u8]) -> Result<String, Error> {
    let signed = split(frame)?;
    let text = match kind(signed.text)? {
        "job" => Job::decode(signed.text)?.encode(),
        "results" => Results::decode(signed.text)?.encode(),
        "receipt" => Receipt::decode(signed.text)?.encode(),
        "enrol" => Enrol::decode(signed.text)?.encode(),
        other => return Err(Error::Kind(other.to_owned())),
    };
    Ok(seal(text, |_| signed.signature))
}

fn frame() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        job().prop_map(|job| job.encode()),
        results().prop_map(|results| results.encode()),
        any::<([u8; 32], i64)>().prop_map(|(frame, accepted)| Receipt { frame, accepted }.encode()),
        (an_id(), any::<([u8; 32], [u8; 32], i64)>()).prop_map(|(scanner, (public_key, proof, clock))| {
            Enrol { scanner, public_key, proof, clock }.encode()
        }),
    ];
    (text, any::<[u8; 32]>())
        .prop_map(|(text, half)| seal(text, |_| [half, half].concat().try_into().unwrap()))
}

proptest! {
    #[test]
    fn a_job_comes_back(job in job()) {
        prop_assert_eq!(Job::decode(&job.encode()), Ok(job));
    }

    #[test]
    fn results_come_back(results in results()) {
        prop_assert_eq!(Results::decode(&results.encode()), Ok(results));
    }

    #[test]
    fn a_frame_comes_back(frame in frame()) {
        prop_assert_eq!(again(frame.as_bytes()), Ok(frame));
    }

    #[test]
    fn a_changed_byte_is_refused_or_is_the_one_spelling(frame in frame(), at: proptest::sample::Index, byte: u8) {
        let mut bytes = frame.into_bytes();
        *at.get_mut(&mut bytes) = byte;
        if let Ok(text) = again(&bytes) {
            prop_assert_eq!(text.into_bytes(), bytes);
        }
    }

    #[test]
    fn a_frame_cut_or_doubled_is_refused(frame in frame(), at: proptest::sample::Index) {
        let cut = at.index(frame.len());
        prop_assert!(again(&frame.as_bytes()[..cut]).is_err());
        let (doubled, longer) = (frame.repeat(2), frame + "\n");
        prop_assert!(again(doubled.as_bytes()).is_err());
        prop_assert!(again(longer.as_bytes()).is_err());
    }

    #[test]
    fn reading_never_panics(bytes: Vec<u8>, text in "(host|hosts|port|target|ports|says|tls|name| |[0-9.:-]|open|syn-ack|\\\\|\n){0,40}") {
        let _ = again(&bytes);
        let _ = results::parse_hosts(&text);
    }

    #[test]
    fn the_blocks_of_a_job_are_its_hosts(job in job()) {
        let blocks: Vec<Ranges> = (0..job.blocks()).map(|block| job.block_targets(block)).collect();
        prop_assert_eq!(blocks.iter().map(Ranges::count).sum::<u128>(), job.hosts());
        let all: Ranges = blocks.iter().flat_map(|block| block.iter().collect::<Vec<_>>()).collect();
        prop_assert_eq!(&all, &job.targets);
        prop_assert!(job.block_targets(job.blocks()).is_empty());
    }

    #[test]
    fn every_probe_has_one_state(hosts in hosts(), ports in ports()) {
        for host in hosts {
            let counts = host.counts(&ports);
            let mut naive = [0u128; 5];
            for port in ports.each() {
                naive[host.port(port).0.state() as usize] += host.range().count();
            }
            prop_assert_eq!(counts, naive);
        }
    }
}

fn small_job() -> Job {
    Job {
        id: Id::from_bytes([1; 16]),
        scan: Id::from_bytes([2; 16]),
        batch: 0,
        epoch: 0,
        scanner: Id::from_bytes([3; 16]),
        vantage: Id::from_bytes([4; 16]),
        issued: 0,
        expires: 1,
        preset: Preset::Normal,
        rate: 100,
        host_rate: 10,
        timeout_ms: 500,
        retries: 1,
        method: Method::Connect,
        hints: false,
        own: false,
        seed: [5; 16],
        block_hosts: 4,
        targets: Ranges::parse("10.0.0.0-10.0.0.9").unwrap(),
        ports: Ports::parse("22,80-90").unwrap(),
    }
}

fn block_0() -> Results {
    let body = "hosts 10.0.0.0-10.0.0.2 filtered no-answer\nhost 10.0.0.3 closed refused\nport 22 open syn-ack 231\n";
    Results {
        job: [0; 32],
        block: 0,
        part: 0,
        last: true,
        scanner: Id::from_bytes([3; 16]),
        clock: 10,
        offset: 0,
        started: 1,
        ended: 2,
        probes: 48,
        sent: 60,
        sample: Sample { probed: 6, answered: 4, missed: 1 },
        hosts: results::parse_hosts(body).unwrap(),
    }
}

#[test]
fn an_unknown_version_is_refused_by_name() {
    let text = small_job().encode().replace("portolan-frame: 1", "portolan-frame: 2");
    assert_eq!(Job::decode(&text), Err(Error::Version("2".into())));
    assert_eq!(split(b"hello\n"), Err(Error::NotAFrame));
}

#[test]
fn a_frame_of_another_kind_is_refused() {
    assert_eq!(Results::decode(&small_job().encode()), Err(Error::Kind("job".into())));
}

#[test]
fn a_frame_too_large_is_refused_unread() {
    assert_eq!(split(&vec![b'x'; MAX_FRAME + 1]), Err(Error::TooLarge(MAX_FRAME + 1)));
}

#[test]
fn a_job_that_cannot_be_done_is_refused() {
    for (from, to) in [
        ("rate: 100", "rate: 0"),
        ("block-hosts: 4", "block-hosts: 0"),
        ("expires: 1", "expires: 0"),
        ("target 10.0.0.0-10.0.0.9", "target ::-ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
        ("target 10.0.0.0-10.0.0.9", "target 10.0.0.0-10.0.0.3\ntarget 10.0.0.4-10.0.0.9"),
        ("target 10.0.0.0-10.0.0.9\n", ""),
        ("ports 22,80-90", "ports 22,80-90,85"),
        ("ports 22,80-90", "ports 22, 80-90"),
        ("batch: 0", "batch: 00"),
        ("batch: 0\n", "batch: 0\nbatch: 0\n"),
        ("batch: 0\n", "batch: 0\r\n"),
    ] {
        let text = small_job().encode();
        let bad = text.replacen(from, to, 1);
        assert_ne!(text, bad);
        assert!(Job::decode(&bad).is_err(), "{to}");
    }
}

#[test]
fn results_must_fit_their_job() {
    let job = small_job();
    assert_eq!(block_0().check_against(&job), Ok(()));
    let refused = |change: fn(&mut Results)| {
        let mut results = block_0();
        change(&mut results);
        results.check_against(&job).unwrap_err().to_string()
    };
    assert!(refused(|r| r.scanner = Id::from_bytes([9; 16])).contains("another scanner"));
    assert!(refused(|r| r.block = 3).contains("no such block"));
    assert!(refused(|r| r.block = 1).contains("not in the block"));
    assert!(refused(|r| r.probes = 47).contains("hosts times ports"));
    assert!(refused(|r| r.hosts[1].exceptions[0].first = 21).contains("not among the job's"));
    assert!(refused(|r| r.hosts.truncate(1)).contains("all its hosts"));
    assert!(refused(|r| r.sample.probed = 49).contains("the sample"));
    assert!(refused(|r| r.sample.answered = 7).contains("the sample"));
    assert!(refused(|r| r.sample.missed = 5).contains("the sample"));
    assert!(refused(|r| r.ended = 0).contains("before it began"));
    let hint = Hint { port: 22, said: Said::Banner(Text::escape(b"SSH-2.0", 9).unwrap()) };
    let mut hinted = block_0();
    hinted.hosts[1].hints.push(hint);
    assert!(hinted.check_against(&job).unwrap_err().to_string().contains("no hints"));
    assert_eq!(hinted.check_against(&Job { hints: true, ..job.clone() }), Ok(()));
    let mut first_part = block_0();
    (first_part.last, first_part.probes) = (false, 36);
    first_part.hosts.truncate(1);
    assert_eq!(first_part.check_against(&job), Ok(()));
    first_part.part = 3;
    assert!(first_part.check_against(&job).unwrap_err().to_string().contains("the sample"));
    first_part.sample = Sample::default();
    assert_eq!(first_part.check_against(&job), Ok(()));
    first_part.part = 4;
    assert!(first_part.check_against(&job).unwrap_err().to_string().contains("no more parts"));
    assert!(refused(|r| (r.last, r.probes, r.hosts) = (false, 0, vec![])).contains("at least one host"));
}

#[test]
fn a_receipt_has_one_spelling() {
    let text = Receipt { frame: [1; 32], accepted: 5 }.encode();
    assert!(Receipt::decode(&text).is_ok());
    for bad in [text.replace("receipt\n", "receipt\r\n"), text.replace('5', "05"), text.clone() + "\n"] {
        assert!(Receipt::decode(&bad).is_err(), "{bad:?}");
    }
}

#[test]
fn a_body_line_that_cannot_stand_is_refused() {
    for bad in [
        "host 10.0.0.1 open syn-ack\n",
        "host 10.0.0.1 closed no-answer\n",
        "hosts 10.0.0.1 closed refused\n",
        "host 10.0.0.1-10.0.0.2 closed refused\n",
        "hosts 10.0.0.1-10.0.0.2 closed refused\nport 22 open syn-ack 1\n",
        "port 22 open syn-ack 1\n",
        "host 10.0.0.1 closed refused\nport 22-23 open syn-ack 1\n",
        "host 10.0.0.1 closed refused\nport 22 open syn-ack\n",
        "host 10.0.0.1 closed refused\nport 22 filtered no-answer 1\n",
        "host 10.0.0.1 closed refused\nport 22 closed refused\n",
        "host 10.0.0.1 closed refused\nport 22 open syn-ack 1\nport 22 filtered no-answer\n",
        "host 10.0.0.2 closed refused\nhost 10.0.0.1 closed refused\n",
        "host 10.0.0.1 closed refused",
        "host  10.0.0.1 closed refused\n",
        "\n",
    ] {
        assert!(results::parse_hosts(bad).is_err(), "{bad:?}");
    }
}

#[test]
fn the_published_vectors_are_read_and_the_refused_ones_refused() {
    let folder = std::path::Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/vectors"));
    for name in ["job", "results", "receipt", "enrol"] {
        let frame = std::fs::read(folder.join(name).with_extension("frame")).unwrap();
        assert_eq!(again(&frame).map(String::into_bytes), Ok(frame), "{name}");
    }
    let refused: Vec<_> = std::fs::read_dir(folder.join("refused")).unwrap().collect();
    assert!(!refused.is_empty());
    for entry in refused {
        let path = entry.unwrap().path();
        assert!(again(&std::fs::read(&path).unwrap()).is_err(), "{}", path.display());
    }
}
