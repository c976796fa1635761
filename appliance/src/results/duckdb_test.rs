//! What every store must do, here on DuckDB; and what only DuckDB can get wrong.

use portolan_scanner::wire::{Reason, State};

use super::*;
use crate::clock::Timestamp;
use crate::results::diff::{Counts, Kind};
use crate::results::fixture::{
    JobOf, address as at, block, frame_signed_by, host, hosts, part, public, results, says, shows, uuid,
};
use crate::results::{Brought, Certificate, Hint, OpenPort, Place, Said, diff_scans};

fn store() -> DuckDb {
    DuckDb::in_memory().unwrap()
}

/// What was ever seen of a host.
fn of_host(store: &DuckDb, address: &str) -> Result<Vec<Observation>, Error> {
    let query = SeenQuery::of(at(address), 100);
    let found = store.host(&query)?;
    assert_eq!(store.host_total(&query)?, found.len() as u64);
    Ok(found)
}

/// Scan 1: a /24 with two living hosts; .3 has one port that stays silent.
fn first_scan() -> (crate::ingest::frame::JobFrame, Proven) {
    let job = JobOf::default().frame();
    let mut third = host("10.0.0.3", &[22, 443]);
    let silent =
        portolan_scanner::wire::PortRecord { first: 8000, last: 8004, reason: Reason::NoAnswer, rtt_us: 0 };
    third.exceptions.push(silent);
    let seen = vec![
        hosts("10.0.0.0", "10.0.0.2", Reason::NoAnswer),
        third,
        host("10.0.0.4", &[80]),
        hosts("10.0.0.5", "10.0.0.255", Reason::HostUnreachable),
    ];
    let frame = block(&job, 0, seen);
    (job, frame)
}

#[test]
fn a_scanner_that_boasts_spoils_no_page() {
    let (store, job) = (store(), JobOf { block_hosts: 128, ..JobOf::default() }.frame());
    let boast = |number, first, last| {
        let seen = vec![hosts(first, last, Reason::NoAnswer)];
        let said = portolan_scanner::wire::Results {
            sent: u64::MAX,
            started: i64::MIN,
            ended: i64::MAX,
            offset: i64::MAX,
            ..results(&job, number, 0, true, seen)
        };
        frame_signed_by(3, &said).prove(&public(3), &job).unwrap()
    };
    let frames = [boast(0, "10.0.0.0", "10.0.0.127"), boast(1, "10.0.0.128", "10.0.0.255")];
    store.count(&frames).unwrap();
    let [sweep] = &store.sweeps(uuid(1)).unwrap()[..] else { panic!("one vantage") };
    assert_eq!((sweep.hosts, sweep.sent), (256, u64::MAX));
    assert!(sweep.started <= sweep.ended);
    assert_eq!(store.hosts(&HostQuery::of(uuid(1))).unwrap().len(), 2);
}

#[test]
fn every_probe_is_counted_once_and_in_its_state() {
    let store = store();
    let (job, frame) = first_scan();
    let counted = store.count(std::slice::from_ref(&frame)).unwrap();
    let brought = counted[0].brought;
    assert_eq!(counted, [Counted { new: true, same: true, number: 1, brought }]);
    let again = store.count(&[frame.clone(), frame.clone()]).unwrap();
    assert_eq!(again, [Counted { new: false, same: true, number: 1, brought }; 2]);
    store.writer().forget();
    assert_eq!(store.count(std::slice::from_ref(&frame)).unwrap(), again[..1], "read back from the file");

    let [sweep] = &store.sweeps(uuid(1)).unwrap()[..] else { panic!("one vantage") };
    assert_eq!((sweep.vantage, sweep.hosts, sweep.sent), (uuid(2), 256, 17));
    let of = |state| sweep.in_state(state);
    assert_eq!((brought.hosts, brought.replaced, brought.open), (256, 0, 3));
    let covered =
        [State::Open, State::Closed, State::Filtered, State::Unreachable].map(of).iter().sum::<u128>();
    assert_eq!(u128::try_from(brought.covered), Ok(covered));
    assert_eq!(of(State::Open), 3);
    assert_eq!(of(State::Closed), (13 - 2 - 5) + (13 - 1));
    assert_eq!(of(State::Filtered), 3 * 13 + 5);
    assert_eq!(of(State::Unreachable), 251 * 13);
    assert_eq!(of(State::NotProbed), 0);
    assert_eq!(
        (sweep.started.micros(), sweep.ended.micros()),
        (1_001_000, 1_004_000),
        "the appliance's clock"
    );

    let [part] = &store.parts(uuid(1)).unwrap()[..] else { panic!("one part") };
    assert_eq!((part.job.clone(), part.block, part.part, part.last), (job.hash(), 0, 0, true));
    assert_eq!(
        store.covered(uuid(1), uuid(2)).unwrap(),
        [Range { first: at("10.0.0.0"), last: at("10.0.0.255") }]
    );
    let open = store.open_ports(&[uuid(1), uuid(8)]).unwrap();
    assert_eq!(open, [OpenPorts { scan: uuid(1), vantage: uuid(2), open: 3, hosts: 2 }]);
}

#[test]
fn a_scan_without_an_open_port_is_a_zero_and_not_missing() {
    let store = store();
    let job = JobOf::default().frame();
    store.count(&[block(&job, 0, vec![hosts("10.0.0.0", "10.0.0.255", Reason::Refused)])]).unwrap();
    let open = store.open_ports(&[uuid(1)]).unwrap();
    assert_eq!(open, [OpenPorts { scan: uuid(1), vantage: uuid(2), open: 0, hosts: 0 }]);
}

#[test]
fn the_first_delivery_of_a_host_counts_whichever_job_brings_it() {
    let store = store();
    let old = JobOf { block_hosts: 16, ..JobOf::default() }.frame();
    let new = JobOf { block_hosts: 32, epoch: 2, scanner: 4, ..JobOf::default() }.frame();
    let elsewhere = JobOf { vantage: 5, ..JobOf::default() }.frame();
    let frames = [
        block(&old, 0, vec![host("10.0.0.0", &[22]), hosts("10.0.0.1", "10.0.0.15", Reason::NoAnswer)]),
        block(
            &new,
            0,
            vec![
                hosts("10.0.0.0", "10.0.0.15", Reason::Refused),
                host("10.0.0.16", &[80]),
                hosts("10.0.0.17", "10.0.0.31", Reason::Refused),
            ],
        ),
        part(&elsewhere, 0, 0, false, vec![hosts("10.0.0.0", "10.0.0.1", Reason::Prohibited)]),
    ];
    let hosts =
        |counted: Vec<Counted>| counted.iter().map(|counted| counted.brought.hosts).collect::<Vec<_>>();
    assert_eq!(hosts(store.count(&frames).unwrap()), [16, 16, 2], "a vantage has hosts of its own");
    // What the second delivery left out stays out, and comes in when it is new: also after a restart.
    store.writer().forget();
    let late = block(
        &old,
        1,
        vec![
            host("10.0.0.16", &[22, 80]),
            super::super::fixture::hosts("10.0.0.17", "10.0.0.31", Reason::NoAnswer),
        ],
    );
    let late = store.count(&[late]).unwrap();
    assert_eq!(late[0].brought, Brought::default(), "said twice, it stands for nothing that was left out");
    assert_eq!(hosts(late), [0]);
    assert_eq!(store.parts(uuid(1)).unwrap().len(), 4, "all four stand as delivered");
    let query = HostQuery { vantage: Some(uuid(2)), state: Some(State::Open), ..HostQuery::of(uuid(1)) };
    let open: Vec<_> =
        store.hosts(&query).unwrap().into_iter().map(|it| (it.hosts.first, it.open.len())).collect();
    assert_eq!(open, [(at("10.0.0.0"), 1), (at("10.0.0.16"), 1)]);
    let sweeps = store.sweeps(uuid(1)).unwrap();
    assert_eq!(sweeps.iter().map(|sweep| sweep.hosts).collect::<Vec<_>>(), [32, 2]);
    let total: u128 = sweeps[0].reasons.iter().map(|of| of.probes).sum();
    assert_eq!(total, 32 * 13);
}

#[test]
fn another_frame_under_a_taken_key_changes_nothing() {
    let store = store();
    let (job, frame) = first_scan();
    store.count(&[frame]).unwrap();
    let other = block(&job, 0, vec![hosts("10.0.0.0", "10.0.0.255", Reason::NoAnswer)]);
    for remembered in [true, false] {
        if !remembered {
            store.writer().forget();
        }
        let counted = store.count(std::slice::from_ref(&other)).unwrap();
        assert_eq!((counted[0].new, counted[0].same, counted[0].number), (false, false, 1));
        assert_eq!(counted[0].brought.open, 3, "of what stands there");
    }
    assert_eq!(store.open_ports(&[uuid(1)]).unwrap()[0].open, 3);
}

#[test]
fn hosts_are_found_by_subnet_port_and_state() {
    let store = store();
    store.count(&[first_scan().1]).unwrap();
    let find = |query: HostQuery| {
        let found = store.hosts(&query).unwrap();
        assert_eq!(store.hosts_total(&query).unwrap(), found.len() as u64);
        found.iter().map(|it| it.hosts.to_string()).collect::<Vec<_>>().join(" ")
    };
    let of = || HostQuery::of(uuid(1));
    let all = "10.0.0.0-10.0.0.2 10.0.0.3 10.0.0.4 10.0.0.5-10.0.0.255";
    assert_eq!(find(of()), all);
    assert_eq!(find(HostQuery { scan: uuid(8), ..of() }), "");
    assert_eq!(find(HostQuery { vantage: Some(uuid(2)), ..of() }), all);
    assert_eq!(find(HostQuery { vantage: Some(uuid(8)), ..of() }), "");
    let within = Range { first: at("10.0.0.2"), last: at("10.0.0.3") };
    assert_eq!(find(HostQuery { within: Some(within), ..of() }), "10.0.0.0-10.0.0.2 10.0.0.3");
    assert_eq!(find(HostQuery { within: Some(Range { first: 0, last: u128::MAX }), ..of() }), all);
    let state = |state| find(HostQuery { state: Some(state), ..of() });
    assert_eq!(state(State::Open), "10.0.0.3 10.0.0.4");
    assert_eq!(state(State::Closed), "10.0.0.3 10.0.0.4");
    assert_eq!(state(State::Filtered), "10.0.0.0-10.0.0.2 10.0.0.3");
    assert_eq!(state(State::Unreachable), "10.0.0.5-10.0.0.255");
    assert_eq!(state(State::NotProbed), "");
    let port = |port, state| find(HostQuery { port: Some(port), state, ..of() });
    assert_eq!(port(80, None), all);
    assert_eq!(port(81, None), "", "nobody was asked about it");
    assert_eq!(port(80, Some(State::Open)), "10.0.0.4");
    assert_eq!(port(80, Some(State::Closed)), "10.0.0.3");
    assert_eq!(port(22, Some(State::Closed)), "10.0.0.4");
    assert_eq!(port(8004, Some(State::Filtered)), "10.0.0.0-10.0.0.2 10.0.0.3");
    assert_eq!(port(8004, Some(State::Closed)), "10.0.0.4");
    assert_eq!(port(8005, Some(State::Filtered)), "10.0.0.0-10.0.0.2");
}

#[test]
fn what_the_samples_showed_is_summed_over_the_parts_whose_hosts_count() {
    use portolan_scanner::wire::{Results, Sample};
    let store = store();
    let job = JobOf { block_hosts: 128, ..JobOf::default() }.frame();
    let sampled = |job: &crate::ingest::frame::JobFrame, number, sample, first, last| {
        let seen = vec![hosts(first, last, Reason::Refused)];
        let said = Results { sample, ..results(job, number, 0, true, seen) };
        frame_signed_by(3, &said).prove(&public(3), job).unwrap()
    };
    let sample = |probed, answered, missed| Sample { probed, answered, missed };
    let frames = [
        sampled(&job, 0, sample(10, 8, 1), "10.0.0.0", "10.0.0.127"),
        sampled(&job, 1, sample(7, 7, 0), "10.0.0.128", "10.0.0.255"),
    ];
    store.count(&frames).unwrap();
    store.count(&frames).unwrap();
    let again = JobOf { block_hosts: 128, epoch: 2, ..JobOf::default() }.frame();
    store.count(&[sampled(&again, 0, sample(9, 9, 9), "10.0.0.0", "10.0.0.127")]).unwrap();
    assert_eq!(store.sweeps(uuid(1)).unwrap()[0].sample, sample(17, 15, 1));
}

#[test]
fn what_open_ports_say_is_kept_once_shown_and_found() {
    let store = store();
    let job = |scan, vantage| JobOf { scan, vantage, ..JobOf::default() }.frame();
    let rest = || hosts("10.0.0.1", "10.0.0.255", Reason::NoAnswer);
    let server = says(host("10.0.0.0", &[22, 80, 443]), 22, b"SSH-2.0-OpenSSH_9.2\r\n<b>\x1b");
    let server = shows(server, 443, "CN=PLC,O=Werft", &["plc.example", "10.0.0.0"], 7);
    let first = block(&job(1, 2), 0, vec![server, rest()]);
    store.count(std::slice::from_ref(&first)).unwrap();
    store.count(&[first]).unwrap();
    let all = HostQuery { hints: true, ..HostQuery::of(uuid(1)) };
    let [seen, _] = &store.hosts(&all).unwrap()[..] else { panic!("two entries") };
    let banner = Hint { port: 22, said: Said::Banner("SSH-2.0-OpenSSH_9.2\\x0d\\x0a<b>\\x1b".into()) };
    let leaf = Certificate {
        sha256: "bb".repeat(32),
        expires: Some(Timestamp::from_micros(7)),
        subject: Some("CN=PLC,O=Werft".into()),
        names: vec!["plc.example".into(), "10.0.0.0".into()],
    };
    let tls = Hint { port: 443, said: Said::Certificate(leaf) };
    assert_eq!(seen.hints, [banner.clone(), tls.clone()]);
    assert_eq!((seen.hint(22), seen.hint(80)), (Some(&banner), None));
    assert_eq!(of_host(&store, "10.0.0.0").unwrap()[0].hints, seen.hints);
    let unasked = store.hosts(&HostQuery::of(uuid(1))).unwrap();
    assert!(unasked[0].hints.is_empty(), "who does not want them does not get them");

    let renewed = says(host("10.0.0.0", &[22]), 22, b"SSH-2.0-OpenSSH_10");
    let elsewhere = says(host("10.0.0.0", &[22]), 22, b"SSH-2.0-dropbear");
    let frames = [block(&job(6, 2), 0, vec![renewed, rest()]), block(&job(6, 5), 0, vec![elsewhere, rest()])];
    store.count(&frames).unwrap();
    let find = |text: &str, limit| {
        let found = store.hints(text, limit).unwrap();
        found.iter().map(|it| (it.scan, it.vantage, it.address, it.hint.port)).collect::<Vec<_>>()
    };
    let here = |scan, vantage, port| (uuid(scan), uuid(vantage), at("10.0.0.0"), port);
    assert_eq!(
        find("openssh_", 10),
        [here(6, 2, 22)],
        "of one port the newest word, and what it said before is not it"
    );
    assert_eq!(find("ssh-2.0", 10), [here(6, 2, 22), here(6, 5, 22)], "each vantage has its own");
    assert_eq!(find("ssh-2.0", 1).len(), 1);
    for text in ["werft", "PLC.example", &"bb".repeat(32)] {
        assert_eq!(find(text, 10), [here(1, 2, 443)], "{text}");
    }
    assert_eq!(find("%", 10), [], "no wildcard");
    assert_eq!(store.hints("werft", 10).unwrap()[0].hint, tls);
}

/// A host that takes connections on every port, one that was left alone in the middle, one that was not asked.
fn odd_hosts() -> Proven {
    let run = |first, last, reason| portolan_scanner::wire::PortRecord { first, last, reason, rtt_us: 0 };
    let mut spared = host("10.0.0.2", &[22]);
    spared.exceptions.push(run(443, 443, Reason::PortUnreachable));
    spared.exceptions.push(run(8000, 8004, Reason::Distress));
    spared.exceptions.push(run(8006, 8009, Reason::Distress));
    let seen = vec![
        hosts("10.0.0.0", "10.0.0.1", Reason::OpenAll),
        spared,
        hosts("10.0.0.3", "10.0.0.255", Reason::Excluded),
    ];
    block(&JobOf { scan: 6, ..JobOf::default() }.frame(), 0, seen)
}

#[test]
fn hosts_are_counted_and_found_by_the_reason_they_are_not_probed_for() {
    let store = store();
    store.count(&[odd_hosts()]).unwrap();
    let [sweep] = &store.sweeps(uuid(6)).unwrap()[..] else { panic!("one vantage") };
    let hosts = [Reason::OpenAll, Reason::Distress, Reason::PortUnreachable, Reason::SynAck, Reason::Expired];
    assert_eq!(hosts.map(|reason| sweep.hosts_for(reason)), [2, 1, 1, 1, 0]);
    assert_eq!(sweep.in_state(State::NotProbed), 2 * 13 + 9 + 253 * 13);
    assert_eq!(sweep.in_state(State::Unreachable), 1);
    let find = |query: HostQuery| {
        let found = store.hosts(&query).unwrap();
        found.iter().map(|it| it.hosts.to_string()).collect::<Vec<_>>().join(" ")
    };
    let of = |reason| HostQuery { reason: Some(reason), ..HostQuery::of(uuid(6)) };
    assert_eq!(find(of(Reason::OpenAll)), "10.0.0.0-10.0.0.1");
    assert_eq!(find(of(Reason::Distress)), "10.0.0.2");
    assert_eq!(find(of(Reason::PortUnreachable)), "10.0.0.2");
    assert_eq!(find(of(Reason::SynAck)), "10.0.0.2");
    assert_eq!(find(HostQuery { port: Some(8000), ..of(Reason::Distress) }), "10.0.0.2");
    assert_eq!(find(HostQuery { port: Some(8005), ..of(Reason::Distress) }), "");
    assert_eq!(find(HostQuery { port: Some(8005), ..of(Reason::Refused) }), "10.0.0.2");
    assert_eq!(find(HostQuery { state: Some(State::Open), ..of(Reason::Distress) }), "10.0.0.2");
    assert_eq!(find(HostQuery { state: Some(State::Open), ..of(Reason::OpenAll) }), "");
}

#[test]
fn a_host_that_is_open_on_every_port_or_in_distress_closes_nothing() {
    let store = store();
    let before = block(
        &JobOf::default().frame(),
        0,
        vec![
            host("10.0.0.0", &[22, 80]),
            host("10.0.0.1", &[]),
            host("10.0.0.2", &[443, 8000]),
            hosts("10.0.0.3", "10.0.0.255", Reason::NoAnswer),
        ],
    );
    store.count(&[before, odd_hosts()]).unwrap();
    let mut closed = Vec::new();
    let counts = diff_scans(&store, uuid(1), uuid(6), |_, change| {
        if change.kind == Kind::Closed {
            closed.push((change.hosts.to_string(), change.ports.to_string(), change.after));
        }
        Ok(())
    })
    .unwrap();
    let said_so = ("10.0.0.2".to_owned(), "443".to_owned(), Some(State::Unreachable));
    assert_eq!(closed, [said_so], "8000 was left alone, .0 is open on everything: neither is word of a port");
    assert_eq!((counts[0].1.opened, counts[0].1.closed), (1, 1));
    assert_eq!(counts[0].1.only_before, 2 * 13 + 9 + 253 * 13);
}

#[test]
fn a_scanner_whose_clock_is_wrong_moves_nothing_out_of_its_jobs_time() {
    for (started, ended, kept) in [
        (-9_000_000_000_000, 4_000, (1_000_000, 1_004_000)),
        (1_000, 9_000_000_000_000, (1_001_000, 62_000_000)),
    ] {
        let (store, job) = (store(), JobOf::default().frame());
        let mut said = results(&job, 0, 0, true, vec![hosts("10.0.0.0", "10.0.0.255", Reason::NoAnswer)]);
        (said.started, said.ended) = (started, ended);
        let frame = frame_signed_by(3, &said).prove(&public(3), &job).unwrap();
        store.count(&[frame]).unwrap();
        let [sweep] = &store.sweeps(uuid(1)).unwrap()[..] else { panic!("one vantage") };
        assert_eq!((sweep.started.micros(), sweep.ended.micros()), kept);
    }
}

#[test]
fn a_host_says_each_port_once() {
    let store = store();
    store.count(&[first_scan().1]).unwrap();
    let [seen] = &of_host(&store, "10.0.0.3").unwrap()[..] else { panic!("seen once") };
    let words: Vec<_> = seen.by_reason().iter().map(|(reason, ports)| format!("{reason} {ports}")).collect();
    assert_eq!(words, ["syn-ack 22,443", "refused 80,8005-8009", "no-answer 8000-8004"]);
    assert_eq!(seen.open[1], OpenPort { port: 443, rtt_us: 443 });
    let [dead] = &of_host(&store, "10.0.0.200").unwrap()[..] else { panic!("seen once") };
    assert_eq!(dead.hosts, Range::single(at("10.0.0.200")), "cut out of its range");
    assert_eq!(dead.by_reason().len(), 1);
    assert!(of_host(&store, "10.0.1.0").unwrap().is_empty());
}

#[test]
fn of_a_host_a_page_is_read_and_no_more_newest_first() {
    let store = store();
    for scan in 1..=9 {
        // Each has the port of its scan open, and two scans end at the same time.
        let frame = |vantage| {
            let job = JobOf { scan, vantage, targets: "10.0.0.7", ports: "1-99", ..JobOf::default() }.frame();
            let seen = vec![host("10.0.0.7", &[u16::from(scan)])];
            let ended = 4_000 + i64::from(scan / 2);
            let said = portolan_scanner::wire::Results { ended, ..results(&job, 0, 0, true, seen) };
            frame_signed_by(3, &said).prove(&public(3), &job).unwrap()
        };
        store.count(&[frame(2), frame(5)]).unwrap();
    }
    let all = of_host(&store, "10.0.0.7").unwrap();
    assert_eq!(all.len(), 18);
    assert!(all.windows(2).all(|pair| (pair[0].ended, pair[0].sweep) > (pair[1].ended, pair[1].sweep)));
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let page = store.host(&SeenQuery { after, ..SeenQuery::of(at("10.0.0.7"), 4) }).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.moment());
        assert!(page.len() <= 4);
        paged.extend(page);
    }
    assert_eq!(paged, all, "without gap or repeat");
    let of_one = SeenQuery { scan: Some(uuid(4)), ..SeenQuery::of(at("10.0.0.7"), 9) };
    assert_eq!((store.host(&of_one).unwrap().len(), store.host_total(&of_one).unwrap()), (2, 2));
    let newest = SeenQuery { newest: true, ..SeenQuery::of(at("10.0.0.7"), 9) };
    let newest = store.host(&newest).unwrap();
    assert_eq!(newest.iter().map(|it| (it.scan, it.open[0].port)).collect::<Vec<_>>(), [(uuid(9), 9); 2]);
}

#[test]
fn pages_follow_each_other_without_gap_or_repeat() {
    let store = store();
    store.count(&[first_scan().1]).unwrap();
    store
        .count(&[block(
            &JobOf { vantage: 5, ..JobOf::default() }.frame(),
            0,
            vec![host("10.0.0.0", &[443]), hosts("10.0.0.1", "10.0.0.255", Reason::NoAnswer)],
        )])
        .unwrap();
    let all = store.hosts(&HostQuery::of(uuid(1))).unwrap();
    let (mut paged, mut after): (Vec<_>, Option<Place>) = (Vec::new(), None);
    loop {
        let page = store.hosts(&HostQuery { after, limit: 1, ..HostQuery::of(uuid(1)) }).unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.place());
        paged.extend(page);
    }
    assert_eq!((paged.len(), paged), (6, all));
}

#[test]
fn ipv6_is_kept_whole_also_across_the_half() {
    let store = store();
    let job = JobOf { targets: "2001:db8::ffff:ffff:ffff:fff0-2001:db8:0:1::f", ..JobOf::default() }.frame();
    let all = hosts("2001:db8::ffff:ffff:ffff:fff0", "2001:db8:0:1::f", Reason::NoAnswer);
    store.count(&[block(&job, 0, vec![all.clone()])]).unwrap();
    assert_eq!(store.sweeps(uuid(1)).unwrap()[0].hosts, 32);
    assert_eq!(store.covered(uuid(1), uuid(2)).unwrap(), [all.range()]);
    assert_eq!(store.hosts(&HostQuery::of(uuid(1))).unwrap().len(), 2);
    assert_eq!(of_host(&store, "2001:db8:0:1::").unwrap().len(), 1);
}

#[test]
fn two_scans_are_compared_vantage_by_vantage() {
    let store = store();
    store.count(&[first_scan().1]).unwrap();
    let job = JobOf { scan: 6, ..JobOf::default() }.frame();
    let second = block(
        &job,
        0,
        vec![
            hosts("10.0.0.0", "10.0.0.2", Reason::NoAnswer),
            host("10.0.0.3", &[22, 80]),
            hosts("10.0.0.4", "10.0.0.4", Reason::Cancelled),
            hosts("10.0.0.5", "10.0.0.255", Reason::HostUnreachable),
        ],
    );
    let elsewhere = JobOf { scan: 6, vantage: 5, targets: "10.0.0.7", ..JobOf::default() }.frame();
    store.count(&[second, block(&elsewhere, 0, vec![host("10.0.0.7", &[])])]).unwrap();
    let mut lines = Vec::new();
    let counts = diff_scans(&store, uuid(1), uuid(6), |vantage, change| {
        lines.push((vantage, change.kind, change.hosts.to_string(), change.ports.to_string()));
        Ok(())
    })
    .unwrap();
    let same = 3 * 13 + 6 + 251 * 13;
    let here = Counts { opened: 1, closed: 1, changed: 5, same, only_before: 13, only_after: 0 };
    assert_eq!(counts, [(uuid(2), here), (uuid(5), Counts { only_after: 13, ..Counts::default() })]);
    let line =
        |vantage: u8, kind, host: &str, ports: &str| (uuid(vantage), kind, host.to_owned(), ports.to_owned());
    assert_eq!(
        lines,
        [
            line(2, Kind::Opened, "10.0.0.3", "80"),
            line(2, Kind::Closed, "10.0.0.3", "443"),
            line(2, Kind::Changed, "10.0.0.3", "8000-8004"),
            line(2, Kind::NotComparable, "10.0.0.4", "80"),
            line(2, Kind::NotComparable, "10.0.0.4", "22,443,8000-8009"),
            line(5, Kind::NotComparable, "10.0.0.7", "22,80,443,8000-8009"),
        ]
    );
}

#[test]
fn a_store_reopened_goes_on_where_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("results.duckdb");
    let (job, frame) = first_scan();
    let store = DuckDb::open(&path, Limits::default()).unwrap();
    assert!(matches!(DuckDb::open(&path, Limits::default()), Err(Error::Locked(_))));
    store.count(std::slice::from_ref(&frame)).unwrap();
    drop(store);
    let store = DuckDb::open(&path, Limits::default()).unwrap();
    assert!(!store.count(&[frame]).unwrap()[0].new);
    let more = JobOf { batch: 1, targets: "10.0.7.0/24", ..JobOf::default() }.frame();
    let counted =
        store.count(&[block(&more, 0, vec![hosts("10.0.7.0", "10.0.7.255", Reason::Expired)])]).unwrap();
    assert_eq!((counted[0].new, counted[0].number, counted[0].brought.hosts), (true, 2, 256));
    assert_eq!(store.parts(uuid(1)).unwrap()[0].job, job.hash());
}

#[test]
fn the_store_touches_nothing_but_its_file_and_stays_so() {
    let store = store();
    let connection = store.reader().unwrap();
    for refused in [
        "COPY span TO '/tmp/portolan-must-not-be-written'",
        "SELECT * FROM read_csv('/etc/passwd')",
        "ATTACH '/tmp/portolan-must-not-be-written.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '64GB'",
    ] {
        assert!(connection.execute_batch(refused).is_err(), "{refused}");
    }
}

#[test]
fn a_reader_sees_a_batch_whole_or_not_at_all() {
    let store = store();
    let reader = store.reader().unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM part").unwrap();
    store.count(&[first_scan().1]).unwrap();
    let count = |sql: &str| reader.query_row(sql, [], |row| row.get::<_, u64>(0)).unwrap();
    assert_eq!((count("SELECT count(*) FROM part"), count("SELECT count(*) FROM span")), (0, 0));
    reader.execute_batch("COMMIT").unwrap();
    assert_eq!((count("SELECT count(*) FROM part"), count("SELECT count(*) FROM span")), (1, 4));
    assert!(Timestamp::EPOCH < store.sweeps(uuid(1)).unwrap()[0].ended);
}

#[test]
fn a_question_larger_than_memory_spills_to_disk() {
    let folder = tempfile::tempdir().unwrap();
    let limits = Limits { memory_mib: 64, threads: 1 };
    let store = DuckDb::open(&folder.path().join("results.duckdb"), limits).unwrap();
    let large =
        "SELECT count(*) FROM (SELECT i, row_number() OVER (ORDER BY hash(i)) FROM range(6000000) t(i))";
    let rows: u64 = store.reader().unwrap().query_row(large, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 6_000_000);
}
