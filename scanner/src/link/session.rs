//! A scanner at work: it says that it lives, asks for jobs, does them.

use std::ffi::OsString;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::api::{self, Client, Credentials};
use super::backoff::Backoff;
use super::connection::{Dial, Tls, Trust};
use super::settings::Settings;
use super::{Error, VERSION, runner, say, sender};
use crate::args::Args;
use crate::crypto::Identity;
use crate::net::Ranges;
use crate::wire::fields::Fields;
use crate::work::clock::Clock;
use crate::work::folder::Folder;
use crate::work::journal::Journal;
use crate::work::spool::Spool;
use crate::work::{self, Desk, MOST_KEPT, lock};

/// How often the appliance hears that this scanner lives.
const HEARTBEAT: Duration = Duration::from_mins(1);

/// The longest wait before something is tried again.
pub const LONGEST: Duration = Duration::from_mins(1);

/// How long the appliance may keep a question for work open.
const LONG_POLL: Duration = Duration::from_secs(25);

/// What the threads of a running scanner share.
pub struct Session {
    pub folder: Folder,
    pub settings: Settings,
    pub credentials: Arc<Credentials>,
    pub clock: Arc<Clock>,
    pub spool: Spool,
    /// So many bytes may wait in the spool before the probe rests: the disk is not the scanner's alone.
    pub most_kept: u64,
    /// The command that starts a probe.
    pub probe: Vec<OsString>,
    pub dial: Arc<dyn Dial>,
    pub stop: fn() -> bool,
    /// A thread met what nothing can help against.
    pub ended: AtomicBool,
    pub fatal: Mutex<Option<Error>>,
}

/// The subcommand `run`. `stop` says whether the process was asked to end; that is no error.
///
/// # Errors
/// One sentence that says what to do.
pub fn run(mut args: Args, stop: fn() -> bool) -> Result<(), Error> {
    let folder = Folder::at(args.required("--dir")?);
    let probe = work::probe(args.value("--never-scan")?);
    args.finish()?;
    let settings = folder.settings()?;
    let _lock = folder.lock()?;
    let key = folder.read("identity.key")?;
    let api_key = String::from_utf8(folder.read("api.key")?);
    let what = "cannot be understood: remove the folder and enrol anew, with a new token";
    let api_key = api_key.map_err(|_| Error::at(&folder.path("api.key"), what))?;
    let identity = Identity::from_pkcs8(&key)?;
    let clock = Arc::new(Clock::default());
    let own = Some((folder.read("certificate.der")?, key));
    let tls =
        Tls::new(&settings.appliance, Trust::Ca(folder.read("ca.der")?), own, Arc::clone(&clock), stop)?;
    let session = Session {
        spool: Spool::open(&folder)?,
        most_kept: MOST_KEPT,
        credentials: Arc::new(Credentials { scanner: settings.scanner, api_key, identity }),
        folder,
        settings,
        clock,
        probe,
        dial: Arc::new(tls),
        stop,
        ended: AtomicBool::new(false),
        fatal: Mutex::new(None),
    };
    say(format_args!(
        "scanner {} for the appliance at {}",
        session.settings.scanner, session.settings.appliance
    ));
    session.work()
}

impl Session {
    /// A connection of one's own to the appliance.
    pub fn client(&self) -> Client {
        Client::new(Arc::clone(&self.dial), Arc::clone(&self.clock), Some(Arc::clone(&self.credentials)))
    }

    /// What a job at work needs.
    pub fn desk<'a>(&'a self, stopping: &'a dyn Fn() -> bool, appliance: &'a dyn Fn() -> Ranges) -> Desk<'a> {
        Desk {
            spool: &self.spool,
            clock: &self.clock,
            identity: &self.credentials.identity,
            probe: &self.probe,
            most_kept: self.most_kept,
            stopping,
            appliance,
        }
    }

    /// Whether everything is to end.
    pub fn stopping(&self) -> bool {
        (self.stop)() || self.ended.load(Ordering::Relaxed)
    }

    /// Tries until it goes well. After what may pass by itself it waits, longer each time, at most `longest`.
    ///
    /// # Errors
    /// What waiting does not help against, or that everything is to end.
    pub fn insist<T>(
        &self,
        trouble: &str,
        longest: Duration,
        mut attempt: impl FnMut() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut backoff = Backoff::new(longest);
        loop {
            let error = match attempt() {
                Ok(done) => return Ok(done),
                Err(_) if self.stopping() => return Err(Error::Stopped),
                Err(error) => error,
            };
            let passing = matches!(
                error,
                Error::Network(_) | Error::Untrusted | Error::Protocol(_) | Error::Refused { .. }
            );
            if !passing || error.is("revoked") {
                return Err(error);
            }
            let wait = backoff.wait();
            say(format_args!("{trouble}: {error}; trying again in {:.1} s", wait.as_secs_f32()));
            sleep(wait, || self.stopping())?;
        }
    }

    /// Runs until it is asked to stop, or nothing helps any more.
    pub fn work(&self) -> Result<(), Error> {
        self.spool.recover(|name| Journal::noted(&self.folder, &name.job, name.block))?;
        // The first one tells the time, before anything else is signed.
        let mut client = self.client();
        match self.insist("no heartbeat", LONGEST, || self.heartbeat(&mut client)) {
            Err(Error::Stopped) => return Ok(()),
            done => done?,
        }
        std::thread::scope(|scope| {
            scope.spawn(|| self.until_its_end(Self::heartbeats));
            scope.spawn(|| self.until_its_end(sender::run));
            self.until_its_end(Self::jobs);
        });
        lock(&self.fatal).take().map_or(Ok(()), Err)
    }

    /// One thread's end, a panic too, is the end of all; the first error is the one that is told.
    fn until_its_end(&self, thread: fn(&Self) -> Result<(), Error>) {
        let _end = EndOfAll(&self.ended);
        if let Err(error) = thread(self)
            && !matches!(error, Error::Stopped)
        {
            lock(&self.fatal).get_or_insert(error);
        }
    }

    fn heartbeat(&self, client: &mut Client) -> Result<(), Error> {
        let sent = self.clock.now();
        let body = Fields::new().with("version", VERSION).with("clock", sent).to_string();
        let answer = client.post("/scanner/v1/heartbeat", body.as_bytes(), api::SHORT)?;
        self.clock.learn(answer.fields()?.read("now")?, sent);
        Ok(())
    }

    fn heartbeats(&self) -> Result<(), Error> {
        let mut client = self.client();
        loop {
            sleep(HEARTBEAT, || self.stopping())?;
            self.insist("no heartbeat", HEARTBEAT, || self.heartbeat(&mut client))?;
        }
    }

    fn jobs(&self) -> Result<(), Error> {
        let mut client = self.client();
        let body = Fields::new().with("wait", LONG_POLL.as_secs()).to_string();
        while !self.stopping() {
            let ask = || client.post("/scanner/v1/lease", body.as_bytes(), LONG_POLL + api::SHORT);
            let job = self.insist("no answer about work", LONGEST, ask)?.body;
            if !job.is_empty() {
                runner::work(self, &job)?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
impl Session {
    /// A session in this folder, as after a start.
    pub fn for_test(folder: &Folder, settings: Settings, probe: Vec<OsString>, dial: Arc<dyn Dial>) -> Self {
        let session = Self {
            folder: folder.clone(),
            settings,
            credentials: super::testing::credentials(),
            clock: Arc::new(Clock::default()),
            spool: Spool::open(folder).unwrap(),
            most_kept: MOST_KEPT,
            probe,
            dial,
            stop: || false,
            ended: AtomicBool::new(false),
            fatal: Mutex::new(None),
        };
        session.spool.recover(|name| Journal::noted(folder, &name.job, name.block)).unwrap();
        session
    }
}

struct EndOfAll<'a>(&'a AtomicBool);

impl Drop for EndOfAll<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Waits, unless the reason to wait is over.
pub fn nap(wait: Duration, over: impl Fn() -> bool) {
    let until = Instant::now() + wait;
    while !over() {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return;
        }
        std::thread::sleep(left.min(Duration::from_millis(100)));
    }
}

/// Waits, and fails if the process was asked to stop.
pub fn sleep(wait: Duration, stop: impl Fn() -> bool) -> Result<(), Error> {
    nap(wait, &stop);
    if stop() { Err(Error::Stopped) } else { Ok(()) }
}
