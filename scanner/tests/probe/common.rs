//! What the tests of the probe share: running it, and places to run it against.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{Child, ChildStdin, ChildStdout, Command, Output, Stdio};

use portolan_scanner::net::{Ports, Ranges, addr_to_u128};
use portolan_scanner::wire::{HostRecord, Id, Job, Method, Preset, Reason, Results, Sample, results};

/// The program under test.
pub const SCANNER: &str = env!("CARGO_BIN_EXE_portolan-scanner");

/// Runs `portolan-scanner probe` by hand to its end.
pub fn probe(line: &str) -> Output {
    Command::new(SCANNER).arg("probe").args(line.split_whitespace()).output().unwrap()
}

/// Its standard output.
pub fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

/// Its standard error.
pub fn complaint(output: &Output) -> &str {
    std::str::from_utf8(&output.stderr).unwrap()
}

/// Listens on a free port of an address.
pub fn listen(address: &str) -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind((address, 0)).unwrap();
    let at = listener.local_addr().unwrap();
    (listener, at)
}

/// A job over these.
pub fn job(targets: &str, ports: &str) -> Job {
    let id = |last| Id::from_bytes([0, 0, 0, 0, 0, 0, 0x70, 0, 0x80, 0, 0, 0, 0, 0, 0, last]);
    Job {
        id: id(1),
        scan: id(2),
        batch: 0,
        epoch: 1,
        scanner: id(3),
        vantage: id(4),
        issued: 1_000_000,
        expires: i64::MAX,
        preset: Preset::Fast,
        rate: 100_000,
        host_rate: 100_000,
        timeout_ms: 300,
        retries: 0,
        method: Method::Connect,
        hints: false,
        own: false,
        seed: [9; 16],
        block_hosts: 4,
        targets: Ranges::parse(targets).unwrap(),
        ports: Ports::parse(ports).unwrap(),
    }
}

/// `probe --job -` at work.
pub struct Link {
    pub child: Child,
    pub orders: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<ChildStdout>>,
}

/// A block as it came out.
#[derive(Debug)]
pub struct Block {
    pub number: u64,
    pub started: i64,
    pub ended: i64,
    pub sent: u64,
    /// Pairs that were probed a second time.
    pub again: u64,
    pub sample: Sample,
    pub hosts: Vec<HostRecord>,
}

/// What a line, or the lines of a block, said.
#[derive(Debug)]
pub enum Said {
    Block(Block),
    Progress(Vec<u64>),
    State(String),
    End(String),
}

impl Link {
    /// Starts the child and gives it a job, and before it what holds from the first probe on.
    pub fn start(job: &Job, opening: &str) -> Self {
        Self::start_with(&format!("{opening}{}.\n", job.encode()))
    }

    /// Starts the child with this as the beginning of its input.
    pub fn start_with(input: &str) -> Self {
        Self::start_as(&[], input)
    }

    /// Likewise, with these words on its command line.
    pub fn start_as(words: &[&str], input: &str) -> Self {
        Self::start_by(Command::new(SCANNER), words, input)
    }

    /// Likewise, by a command that ends in the program's name.
    pub fn start_by(mut command: Command, words: &[&str], input: &str) -> Self {
        let mut child = command
            .args(["probe", "--job", "-"])
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut orders = child.stdin.take().unwrap();
        orders.write_all(input.as_bytes()).unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, orders: Some(orders), lines }
    }

    /// Gives an order.
    pub fn order(&mut self, order: &str) {
        let orders = self.orders.as_mut().unwrap();
        writeln!(orders, "{order}").unwrap();
    }

    /// What it says next; `None` at the end of its output.
    pub fn say(&mut self) -> Option<Said> {
        let line = self.lines.next()?.unwrap();
        let (word, rest) = line.split_once(' ').unwrap();
        Some(match word {
            "block" => {
                let numbers: Vec<i64> = rest.split(' ').map(|n| n.parse().unwrap()).collect();
                let mut body = String::new();
                loop {
                    let line = self.lines.next().unwrap().unwrap();
                    if line == "." {
                        break;
                    }
                    body.push_str(&line);
                    body.push('\n');
                }
                Said::Block(Block {
                    number: numbers[0].try_into().unwrap(),
                    started: numbers[1],
                    ended: numbers[2],
                    sent: numbers[3].try_into().unwrap(),
                    again: numbers[4].try_into().unwrap(),
                    sample: sample(&numbers[4..]),
                    hosts: results::parse_hosts(&body).unwrap(),
                })
            }
            "progress" => Said::Progress(rest.split(' ').map(|n| n.parse().unwrap()).collect()),
            "state" => Said::State(rest.to_owned()),
            "end" => Said::End(rest.to_owned()),
            _ => panic!("unknown line {line:?}"),
        })
    }

    /// Everything it says until it ends: its blocks and its end.
    pub fn finish(mut self) -> (Vec<Block>, String) {
        let (mut blocks, mut end) = (Vec::new(), String::new());
        while let Some(said) = self.say() {
            match said {
                Said::Block(block) => blocks.push(block),
                Said::Progress(_) | Said::State(_) => {}
                Said::End(how) => end = how,
            }
        }
        let status = self.child.wait().unwrap();
        assert_eq!(status.success(), !end.starts_with("failed"), "{end}");
        (blocks, end)
    }
}

impl Block {
    /// What it says of a port.
    pub fn says(&self, at: SocketAddr) -> Option<Reason> {
        let address = addr_to_u128(at.ip());
        let host = self.hosts.iter().find(|host| (host.first..=host.last).contains(&address))?;
        Some(host.port(at.port()).0)
    }

    /// As the link would report it; checked against the job as the appliance would.
    pub fn check(&self, job: &Job) {
        let hosts: u128 = self.hosts.iter().map(|host| host.last - host.first + 1).sum();
        let results = Results {
            job: [0; 32],
            block: self.number,
            part: 0,
            last: true,
            scanner: job.scanner,
            clock: self.ended,
            offset: 0,
            started: self.started,
            ended: self.ended,
            probes: u64::try_from(hosts).unwrap() * u64::from(job.ports.count()),
            sent: self.sent,
            sample: self.sample,
            hosts: self.hosts.clone(),
        };
        assert_eq!(Results::decode(&results.encode()).as_ref(), Ok(&results));
        assert_eq!(results.check_against(job), Ok(()));
    }
}

/// A network namespace of this test, with a listener helper and everything in it gone afterwards.
pub struct Namespace(pub String);

impl Namespace {
    /// Makes one with its loopback up; `None`, with the reason printed, where that is not permitted.
    pub fn new(name: &str) -> Option<Self> {
        let namespace = Self(format!("portolan-test-{name}-{}", std::process::id()));
        let made = Command::new("ip").args(["netns", "add", &namespace.0]).output();
        let reason = match made {
            Ok(output) if output.status.success() => {
                namespace.run("ip link set lo up");
                return Some(namespace);
            }
            Ok(output) => String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            Err(error) => format!("ip: {error}"),
        };
        std::mem::forget(namespace);
        println!("skipped: no network namespace can be made here ({reason})");
        None
    }

    /// A command to be run inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0, program]);
        command
    }

    /// Runs a command inside; it must succeed.
    pub fn run(&self, line: &str) {
        let mut words = line.split(' ');
        let output = self.command(words.next().unwrap()).args(words).output().unwrap();
        assert!(output.status.success(), "{line}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Runs `portolan-scanner probe` inside, by hand.
    pub fn probe(&self, line: &str) -> Output {
        self.command(SCANNER).arg("probe").args(line.split_whitespace()).output().unwrap()
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "delete", &self.0]).status();
    }
}

fn sample(numbers: &[i64]) -> Sample {
    let [probed, answered, missed] = numbers else { panic!("a sample has three numbers: {numbers:?}") };
    let count = |number: &i64| (*number).try_into().unwrap();
    Sample { probed: count(probed), answered: count(answered), missed: count(missed) }
}
