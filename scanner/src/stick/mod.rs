//! Work by stick, for a scanner without a network to its appliance: signed jobs come in a folder, signed results go
//! out in one.
//!
//! What is on a stick is from anyone: of all that lies there only frames are read that the appliance's job key signed
//! for this scanner. A job is done once, whatever stick it comes on. Results stay in the scanner's own folder, and go
//! onto every stick, until a receipt for them comes back.

mod carrier;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use crate::args::Args;
use crate::crypto::{self, Identity};
use crate::net::Ranges;
use crate::wire::fields::Fields;
use crate::wire::{Enrol, Id, Job, Receipt, base64, hex, kind, seal, split};
use crate::work::child::EndState;
use crate::work::clock::Clock;
use crate::work::folder::{Folder, private_folder, sync_folder, write_synced};
use crate::work::journal::Journal;
use crate::work::run::{Outcome, Run, Shared, signed_job};
use crate::work::spool::Spool;
use crate::work::{self, Desk, Error, MOST_KEPT, options, say};

/// The subcommand `stick`. `stop` says whether the process was asked to end.
///
/// # Errors
/// One sentence that says what to do.
pub fn main(mut args: Args, stop: fn() -> bool) -> Result<(), Error> {
    match args.word().as_deref() {
        Some("init") => init(args),
        Some("run") => run(args, stop),
        _ => Err(Error::option("stick", "say `stick init` or `stick run`; --help tells more")),
    }
}

fn init(mut args: Args) -> Result<(), Error> {
    let folder = Folder::at(args.required("--dir")?);
    let scanner = args.required("--scanner")?;
    let scanner: Id = scanner.parse().map_err(|error| Error::option("--scanner", error))?;
    let job_key = options::job_key(&args.required("--job-key")?)?;
    let token = args.value("--token-file")?;
    args.finish()?;
    let token = options::token(token)?;
    folder.create()?;
    let _lock = folder.lock()?;
    if folder.has("stick.conf") || folder.has("link.conf") {
        let what = "a scanner lives here already: choose another --dir, or remove this folder first";
        return Err(Error::at(&folder.path(""), what));
    }
    let identity = options::identity(&folder)?;
    let public_key = identity.public_key();
    let proven = Enrol::proven(scanner, &public_key);
    let proof = crypto::hmac_sha256(&crypto::sha256(token.as_bytes()), proven.as_bytes());
    let enrol = Enrol { scanner, public_key, proof, clock: Clock::default().now() };
    let frame = seal(enrol.encode(), |text| identity.sign(text));
    folder.write("enrol.frame", frame.as_bytes())?;
    let settings = Fields::new().with("scanner", scanner).with("job-key", base64::encode(&job_key));
    folder.write("stick.conf", settings.to_string().as_bytes())?;
    say(format_args!("carry {} to the appliance", folder.path("enrol.frame").display()));
    Ok(())
}

fn run(mut args: Args, stop: fn() -> bool) -> Result<(), Error> {
    let folder = Folder::at(args.required("--dir")?);
    let (input, output) = (args.required("--in")?, args.required("--out")?);
    let probe = work::probe(args.value("--never-scan")?);
    args.finish()?;
    Stick::open(folder, probe, stop)?.run(Path::new(&input), Path::new(&output))
}

/// A scanner that works by stick.
struct Stick {
    folder: Folder,
    _lock: std::fs::File,
    scanner: Id,
    job_key: [u8; 32],
    identity: Identity,
    clock: Clock,
    spool: Spool,
    probe: Vec<OsString>,
    stop: fn() -> bool,
}

impl Stick {
    fn open(folder: Folder, probe: Vec<OsString>, stop: fn() -> bool) -> Result<Self, Error> {
        if !folder.has("stick.conf") {
            let what = "no scanner for sticks lives here: run `stick init` first";
            return Err(Error::at(&folder.path(""), what));
        }
        let lock = folder.lock()?;
        let broken = || Error::at(&folder.path("stick.conf"), "cannot be understood");
        let fields = Fields::parse(&folder.read("stick.conf")?).map_err(|_| broken())?;
        let scanner = fields.read("scanner").map_err(|_| broken())?;
        let job_key = base64::decode_array(fields.get("job-key").unwrap_or_default());
        let identity = Identity::from_pkcs8(&folder.read("identity.key")?)?;
        let spool = Spool::open(&folder)?;
        spool.recover(|name| Journal::noted(&folder, &name.job, name.block))?;
        private_folder(&folder.path("done"))?;
        let job_key = job_key.map_err(|_| broken())?;
        let clock = Clock::default();
        Ok(Self { folder, _lock: lock, scanner, job_key, identity, clock, spool, probe, stop })
    }

    /// Does what a stick asks for, and puts all results onto it that no receipt is there for.
    fn run(&self, input: &Path, output: &Path) -> Result<(), Error> {
        let mut refused = 0;
        let (mut jobs, mut receipts) = (BTreeMap::new(), BTreeSet::new());
        for (name, frame) in carrier::frames(input)? {
            match frame.and_then(|frame| self.read(&frame)) {
                Ok(Asked::Job(hash, job)) => _ = jobs.insert((job.issued, hash), job),
                Ok(Asked::Received(frame)) => _ = receipts.insert(frame),
                Ok(Asked::Nothing) => {}
                Err(why) => {
                    refused += 1;
                    say(format_args!("{name:?} is not taken: {why}"));
                }
            }
        }
        for name in self.spool.waiting()? {
            if receipts.contains(&crypto::sha256(&self.spool.read(&name)?)) {
                self.spool.remove(&name)?;
            }
        }
        // A clock behind an air gap may stand in the past: that a job was signed later puts it right, as far as known.
        let newest = jobs.keys().map(|(issued, _)| *issued).max().unwrap_or_default();
        if self.clock.now() < newest {
            self.clock.learn(newest, self.clock.now());
        }
        jobs.retain(|_, job: &mut Box<Job>| {
            let runs = self.clock.appliance_now() < job.expires;
            if !runs {
                refused += 1;
                say(format_args!("job {} is not taken: its time is over", job.id));
            }
            runs
        });
        let worked = jobs.iter().try_for_each(|((_, hash), job)| self.work(job, *hash));
        let waiting = self.spool.waiting()?;
        for name in &waiting {
            carrier::put(output, &name.file(), &self.spool.read(name)?)?;
        }
        say(format_args!("{} frames of results are in {}", waiting.len(), output.display()));
        worked?;
        if refused == 0 { Ok(()) } else { Err(Error::Other(format!("{refused} frames were not taken"))) }
    }

    /// What a frame asks for; the error says why it is not taken.
    fn read(&self, frame: &[u8]) -> Result<Asked, String> {
        let signed = split(frame).map_err(|error| error.to_string())?;
        match kind(signed.text).map_err(|error| error.to_string())? {
            "job" => {
                let hash = crypto::sha256(frame);
                if self.marker(&hash).exists() {
                    return Ok(Asked::Nothing);
                }
                let job = signed_job(frame, &self.job_key, self.scanner)?;
                Ok(Asked::Job(hash, Box::new(job)))
            }
            "receipt" if crypto::verify(&self.job_key, signed.text.as_bytes(), &signed.signature) => {
                let receipt = Receipt::decode(signed.text).map_err(|error| error.to_string())?;
                Ok(Asked::Received(receipt.frame))
            }
            "receipt" => Err("the receipt is not signed by the key that was given at `stick init`".into()),
            // A stick has other things on it: our results, other scanners' enrolments.
            _ => Ok(Asked::Nothing),
        }
    }

    /// Says that a job is done, for ever.
    fn marker(&self, hash: &[u8; 32]) -> PathBuf {
        self.folder.path("done").join(hex::encode(hash))
    }

    /// Does a job; one that is interrupted goes on when its stick comes again.
    fn work(&self, job: &Job, hash: [u8; 32]) -> Result<(), Error> {
        if self.spool.size()? > MOST_KEPT {
            return Err(Error::Other(format!("more than {MOST_KEPT} bytes of results wait for a receipt")));
        }
        let mut journal = Journal::open(&self.folder, &hash, job)?;
        say(format_args!("job {}: {} probes", job.id, job.probes()));
        let desk = Desk {
            spool: &self.spool,
            clock: &self.clock,
            identity: &self.identity,
            probe: &self.probe,
            most_kept: u64::MAX,
            stopping: &self.stop,
            appliance: &Ranges::new,
        };
        let shared = Shared::default();
        shared.exclude(Ranges::new());
        let outcome = Run::new(&desk, job, hash, &mut journal, &shared).run()?;
        let Outcome::Ended(EndState::Done, _) = outcome else {
            let Outcome::Ended(_, detail) = outcome else { return Err(Error::Stopped) };
            return Err(Error::Other(format!("job {} did not end well: {detail}", job.id)));
        };
        let (marker, done) = (self.marker(&hash), self.folder.path("done"));
        write_synced(&marker, b"").and_then(|()| sync_folder(&done)).map_err(Error::file(marker))?;
        journal.remove()
    }
}

/// What a frame on a stick asks for.
enum Asked {
    Job([u8; 32], Box<Job>),
    /// The appliance has the frame of this hash.
    Received([u8; 32]),
    Nothing,
}
