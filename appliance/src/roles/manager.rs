//! The manager: makes what is missing at first start, then serves pages and API and does what only it may do.

use super::kept::{Heartbeat, Pulse, ended_early};
use super::supervisor::{Supervisor, Watched};
use super::{Asker, Failure, ServeArgs, Stop, onlookers};
use crate::app::{App, Parts, Public, tables};
use crate::audit::{checkpoints, siem};
use crate::blocking;
use crate::clock::Clock;
use crate::error::Error;
use crate::fleet;
use crate::identity::{self, tokens::operator};
use crate::ids::{Ids, Random};
use crate::jobs::{self, Jobs};
use crate::layout::{Hold, Layout, write_file};
use crate::results::duckdb::{DuckDb, Limits};
use crate::results::evidence::Evidence;
use crate::results::loader::Loader;
use crate::results::{self, ResultsService, rebuild};
use crate::scope;
use crate::secrets::{MasterKey, credentials_directory, rotation};
use crate::sqlite::{Opening, forget};
use crate::store::{self, Store};
use crate::tls::{self, Keys};
use crate::told::Told;
use crate::update::manifest::Version;
use crate::update::rollback::{self, Start, Undone};
use crate::update::{machine, pending, trial};
use crate::web::{self, Listener, Serving, Site};
use axum::Router;
use axum::body::Body;
use axum::http::{Request, header};
use portolan_scanner::wire::Id;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::AbortHandle;
use tower::ServiceExt;

/// How long the loader may be at one batch of frames.
const BATCH: Duration = Duration::from_secs(300);

pub async fn run(
    (layout, args, scanner_port): (Layout, ServeArgs, u16),
    listener: Listener,
    supervisor: Supervisor,
    stop: Stop,
) -> Result<(), Failure> {
    layout.create()?;
    // Until the end: some commands need it stopped.
    let held = Hold::take(&layout.manager_lock())?;
    let _held = held.ok_or_else(|| Error::Unavailable(in_use(&layout)))?;
    let (clock, random) = (Clock::system(), Random::system());
    let master = MasterKey::find_or_make(&layout, credentials_directory().as_deref(), &random)?;
    let ids = Ids::with(clock.clone(), random.clone());
    // A large database may take longer to copy and to bring up to date than systemd waits, and the results to be made anew.
    let long = supervisor.busy();
    let (undone, running) = settle(&layout, &args, ids).await?;
    let store = Store::open(&layout.config_db(), Opening::Owner, clock.clone())?;
    let store = store.unless_on_trial(trial::flag(&args.run_dir));
    let settling = layout.clone();
    let master = store.read(move |db| rotation::settle(&settling, db, master)).await?;
    let jobs = Jobs::open(&layout.jobs_db(), Opening::Owner)?;
    onlookers::tell(&store, "manager", onlookers::look()).await?;
    let mut names = args.names.clone();
    names.extend(tls::host_name());
    let keys = Keys::find_or_make(&store, &layout, &master, &random, &names).await?;
    let named = |listen: IpAddr| name_of(&args.names, listen, tls::host_name());
    let own = format!("{}:{scanner_port}", named(args.scanner_listen.ip()));
    let public = Public {
        scanner_address: args.scanner_address.clone().unwrap_or(own),
        ca_sha256: keys.ca.fingerprint(),
        pages: pages_url(&named(listener.address.ip()), listener.address.port()),
        pages_pin: keys.ui.pin()?,
    };
    let releases = args.scanner_dir.clone().unwrap_or_else(|| layout.releases());
    let certificate = keys.ui.fingerprint()?;
    let serving = Serving::with(keys.ui.config()?);
    let results = open_results(&layout, &store, keys.job.public(), undone.is_some()).await?;
    if let Some(undone) = undone {
        rollback::tell(&store, &layout, &running, undone).await?;
    }
    drop(long);
    let heart = Heartbeat::default();
    let loader = Loader {
        jobs: jobs.clone(),
        store: results.clone(),
        layout: layout.clone(),
        clock: clock.clone(),
        key_of: results::keys::from(store.clone()),
        job_key: keys.job.public(),
        heart: heart.clone(),
    };
    let results = ResultsService::new(results);
    let kept = (store.clone(), master.clone());
    let app = App::new(Parts { clock, random, store, jobs, master, keys, public, releases, results });
    let site = Arc::new(Site::new(app.clone(), tables())?);
    app.tokens.operator.write(&layout.operator_token()).await?;
    app.statements.ready().await?;
    let (path, line) = (layout.operator_pages(), format!("{} {certificate}\n", local_url(&listener)));
    blocking::run(move || write_file(&path, line.as_bytes(), 0o600)).await??;
    tell(&app, &layout, &certificate).await?;
    println!("portolan: pages at https://{}/", listener.address);
    println!("portolan: certificate sha256 {certificate}");
    if app.identity.needs_setup().await? {
        let code = app.identity.setup_code();
        println!("portolan: setup code {code}");
        tracing::info!(code, "no owner yet: open the pages and enter this code");
    }
    let watched = tokio::spawn(onlookers::keep(app.store.clone(), app.jobs.clone()));
    let fleet = tokio::spawn(fleet::manager_task(app.fleet.clone()));
    let scope = tokio::spawn(scope::manager_task(app.scope.clone()));
    let sending = tokio::spawn(siem::keep(app.siem.clone()));
    let sessions = tokio::spawn(identity::sessions::task::keep(app.identity.clone()));
    let tokens = tokio::spawn(identity::tokens::prune::keep(app.tokens.clone()));
    let statements = tokio::spawn(identity::statements::task::keep(app.statements.clone()));
    // Dropped with the pages: the loader may be stopped at any point.
    let loading = tokio::spawn(loader.run());
    let (last, ended) = Stop::channel();
    let trailing = tokio::spawn(app.audit.clone().keep(ended.asked()));
    let trail = trailing.abort_handle();
    // The last head is signed when what was counted is told.
    let told = async { drop(trailing.await) };
    let proving = tokio::spawn(checkpoints::keep(app.checkpoints.clone(), told));
    let local = operator::keep(app.tokens.operator.clone(), layout.operator_token(), stop.clone().asked());
    let local = tokio::spawn(local);
    let router = site.router();
    let pulse = Pulse::of(heart, BATCH, Instant::now());
    let answering = answer(serving.clone(), router.clone(), (app, pulse, kept), supervisor);
    let answering = tokio::spawn(answering);
    let tasks = [
        ("onlookers", &watched),
        ("fleet", &fleet),
        ("scope", &scope),
        ("receivers", &sending),
        ("sessions", &sessions),
        ("tokens", &tokens),
        ("statements", &statements),
        ("loader", &loading),
        ("checkpoints", &proving),
        ("operator", &local),
    ];
    let tasks = tasks.map(|(name, task)| (name, task.abort_handle())).into_iter().chain([("trail", trail)]);
    let (asker, over) = Stop::channel();
    let watching = tokio::spawn(watch(tasks.collect(), stop.clone(), asker));
    let served = web::serve(listener, serving, router, over.asked()).await;
    // Done, unless it was the socket that failed.
    watching.abort();
    let ended = watching.await.unwrap_or_default();
    for task in [answering, watched, loading, fleet, scope, sending, sessions, tokens, statements] {
        task.abort();
        // An abort is how it ends.
        drop(task.await);
    }
    if !stop.is_asked() {
        // It ends because of one of these, and nobody will ask.
        local.abort();
    }
    match local.await {
        Err(error) if error.is_panic() => return Err(Error::internal(error).into()),
        _ => {}
    }
    // Nobody writes here any more but these two, and the signed head is the last of it.
    last.ask();
    proving.await.map_err(Error::internal)?;
    match ended {
        Some(name) => Err(Error::internal(format!("{name}: ended before it was to")).into()),
        None => Ok(served?),
    }
}

/// Stops the pages when it is asked to, or when one of the tasks has ended; tells which.
async fn watch(tasks: Vec<(&'static str, AbortHandle)>, stop: Stop, pages: Asker) -> Option<&'static str> {
    let ended = ended_early(tasks, stop).await;
    if let Some(task) = ended {
        tracing::error!(task, "has ended before it was to; so does the manager, to be started anew");
    }
    pages.ask();
    ended
}

/// Tells this machine's own command line and console what others must know.
async fn tell(app: &App, layout: &Layout, certificate: &str) -> Result<(), Error> {
    let (facts, folder) = app.releases.handed_out();
    let scanner_dir = std::path::absolute(folder)?;
    let told = Told { facts: facts.clone(), certificate: certificate.to_owned(), scanner_dir };
    let code = app.identity.needs_setup().await?.then(|| app.identity.setup_code().to_owned());
    let layout = layout.clone();
    blocking::run(move || told.write(&layout, code.as_deref())).await?
}

fn in_use(layout: &Layout) -> String {
    let root = layout.root().display();
    format!("{root}: another manager, or a command that needs it stopped, has this data folder")
}

/// Says so once a page is answered; on a reload the pages' certificate is read anew.
async fn answer(
    serving: Serving,
    router: Router,
    (app, pulse, kept): (App, Pulse, (Store, MasterKey)),
    supervisor: Supervisor,
) {
    if !serving.begun().await {
        return;
    }
    // As a browser asks: before there is an owner it is sent on to the setup.
    while !answers(router.clone(), "/sign-in").await {
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    let pulse = Arc::new(pulse);
    let alive = move || {
        let (app, router, pulse) = (app.clone(), router.clone(), pulse.clone());
        async move {
            // A page that asks no database: those that do may wait for someone's long search, and all is well.
            let routes = answers(router, "/static/portolan.css").await;
            routes && pulse.goes_on(Instant::now()) && app.store.answers().await && app.jobs.answers().await
        }
    };
    let reload = move || {
        let ((store, master), serving) = (kept.clone(), serving.clone());
        async move {
            let read = async { tls::kept_ui(&store, &master).await?.map(|ui| ui.config()).transpose() };
            match read.await {
                Ok(config) => config.map(|config| serving.renew(config)).is_some(),
                Err(error) => {
                    tracing::error!(%error, "the pages' certificate cannot be read anew");
                    false
                }
            }
        }
    };
    supervisor.answers(Watched::new("manager", alive).reloading(reload));
}

/// Whether a page is there that everyone may see.
async fn answers(router: Router, path: &'static str) -> bool {
    let request = Request::get(path).header(header::HOST, "localhost").header(header::ACCEPT, "text/html");
    let request = request.body(Body::empty());
    let request = request.expect("the request is made of constants");
    let Ok(response) = router.oneshot(request).await;
    !response.status().is_server_error()
}

/// Undoes what the trial of another version did, before anything is opened.
async fn settle(layout: &Layout, args: &ServeArgs, ids: Ids) -> Result<(Option<Undone>, Version), Failure> {
    let (layout, run) = (layout.clone(), args.run_dir.clone());
    let running = args.running.clone().unwrap_or_else(machine::running);
    let undone = blocking::run({
        let running = running.clone();
        move || {
            let start = Start {
                layout: &layout,
                run: &run,
                running: &running,
                boot: &pending::boot(),
                config_schema: store::known_schema(),
                jobs_schema: jobs::known_schema(),
            };
            start.settle(|| ids.new())
        }
    });
    Ok((undone.await??, running))
}

/// Opens the results store; with evidence but no store, says how one gets it back. After a rollback, one that only the
/// version that was tried can read is set aside and made anew from the evidence.
async fn open_results(
    layout: &Layout,
    store: &Store,
    job: [u8; 32],
    rolled_back: bool,
) -> Result<Arc<DuckDb>, Failure> {
    let (path, evidence) = (layout.results(), Evidence::new(layout.evidence()));
    let opened = blocking::run(move || {
        if !path.exists() && !evidence.is_empty().unwrap_or(true) {
            tracing::warn!(
                "there is evidence but no results store: systemctl stop portolan.target, then run `portolan results rebuild`"
            );
        }
        DuckDb::open(&path, Limits::default())
    });
    let error = match opened.await? {
        Err(error) if rolled_back && !matches!(error, results::Error::Locked(_)) => error,
        opened => return Ok(Arc::new(opened.map_err(Error::from)?)),
    };
    tracing::warn!(%error, "the results store is of the version that was tried: it is made anew from the evidence");
    let scanners = store.read(fleet::public_keys).await?.into_iter();
    let scanners = scanners.map(|(id, key)| (Id::from_bytes(id.into_bytes()), key)).collect();
    let (layout, keys) = (layout.clone(), rebuild::Keys { scanners, job });
    let opened = blocking::run(move || {
        keep_beside(&layout.results())?;
        let rebuilt = rebuild::rebuild(&layout, &keys, true, &mut |_| {}).map_err(Error::internal)?;
        tracing::info!(frames = rebuilt.frames, "the results store is made anew");
        for (path, why) in &rebuilt.bad {
            tracing::error!(path = %path.display(), why, "this evidence does not verify and was left out");
        }
        DuckDb::open(&layout.results(), Limits::default()).map_err(Error::from)
    });
    Ok(Arc::new(opened.await??))
}

/// Keeps a store that cannot be read under another name as well, in the place of one that was kept before. It stays where it
/// is until the new one, made beside it, takes its place at once: cut off in between, the next start sees the same and does it
/// again.
fn keep_beside(path: &Path) -> Result<(), Error> {
    for ending in ["duckdb", "duckdb.wal"] {
        let (from, to) = (path.with_extension(ending), path.with_extension(format!("{ending}.unreadable")));
        forget(&to)?;
        match fs::hard_link(from, to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    Ok(())
}

/// How the outside names this appliance: the first name it was given, else the address it listens on where that is one,
/// else the host's own name. Never from a request.
fn name_of(names: &[String], listen: IpAddr, host: Option<String>) -> String {
    let address = (!listen.is_unspecified()).then(|| listen.to_canonical().to_string());
    let name = names.first().cloned().or(address).or(host).unwrap_or_else(|| "localhost".to_owned());
    if name.parse::<Ipv6Addr>().is_ok() { format!("[{name}]") } else { name }
}

/// How this machine itself reaches the pages.
fn local_url(listener: &Listener) -> String {
    let listen = listener.address;
    // Where IPv6 is switched off there is no `::1`, while a socket of all addresses takes IPv4 too.
    let own =
        if listener.takes_v4() { IpAddr::from(Ipv4Addr::LOCALHOST) } else { Ipv6Addr::LOCALHOST.into() };
    let address = if listen.ip().is_unspecified() { own } else { listen.ip() };
    format!("https://{}", SocketAddr::new(address, listen.port()))
}

fn pages_url(name: &str, port: u16) -> String {
    if port == 443 { format!("https://{name}") } else { format!("https://{name}:{port}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_reaches_its_own_pages_by_ipv4_where_all_addresses_are_listened_on() {
        for address in ["[::]:0", "0.0.0.0:0"] {
            // Where IPv6 is switched off there is no such socket.
            let Ok(listener) = Listener::bind(address.parse().expect("an address and port")) else {
                continue;
            };
            let port = listener.address.port();
            assert_eq!(local_url(&listener), format!("https://127.0.0.1:{port}"));
        }
        let listener = Listener::bind("127.0.0.2:0".parse().expect("an address and port")).unwrap();
        assert!(local_url(&listener).starts_with("https://127.0.0.2:"));
    }

    #[test]
    fn a_name_that_was_given_goes_before_the_address_and_that_before_the_hosts_own() {
        let (given, host) = (["chart.example".to_owned()], Some("pod".to_owned()));
        let at = |address: &str| address.parse::<IpAddr>().expect("an address");
        assert_eq!(name_of(&given, at("10.0.0.5"), host.clone()), "chart.example");
        assert_eq!(name_of(&[], at("10.0.0.5"), host.clone()), "10.0.0.5");
        assert_eq!(name_of(&[], at("::ffff:10.0.0.5"), host.clone()), "10.0.0.5");
        assert_eq!(name_of(&[], at("fd00::5"), host.clone()), "[fd00::5]");
        assert_eq!(name_of(&["fd00::5".to_owned()], at("::"), host.clone()), "[fd00::5]");
        assert_eq!(name_of(&[], at("::"), host), "pod");
        assert_eq!(name_of(&[], at("0.0.0.0"), None), "localhost");
        assert_eq!(pages_url("[fd00::5]", 443), "https://[fd00::5]");
        assert_eq!(pages_url("10.0.0.5", 8000), "https://10.0.0.5:8000");
    }
}
