//! systemd, where it stands over this process: the sockets that it holds, and what it wants to hear. Elsewhere there are
//! no such sockets, and nothing is said to anyone.

use listenfd::ListenFd;
use sd_notify::NotifyState;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// Listening sockets that were open before this process began, in the order of the units that name them.
pub struct Sockets {
    given: ListenFd,
    next: usize,
}

impl Sockets {
    /// Those that systemd gives (`LISTEN_FDS`); takes them out of the environment, so call it while there is one thread.
    #[must_use]
    pub fn given() -> Self {
        Self { given: ListenFd::from_env(), next: 0 }
    }

    /// The next one; `None` when there is no more.
    ///
    /// # Errors
    /// When it is no listening TCP socket.
    pub fn next(&mut self) -> io::Result<Option<TcpListener>> {
        let socket = self.given.take_tcp_listener(self.next)?;
        self.next += 1;
        Ok(socket)
    }

    /// That none is left.
    ///
    /// # Errors
    /// When one is: whoever connects to it would wait for ever.
    pub fn all_taken(&self) -> io::Result<()> {
        let (given, taken) = (self.given.len(), self.next.min(self.given.len()));
        if given == taken {
            return Ok(());
        }
        Err(io::Error::other(format!(
            "systemd gives {given} sockets where {taken} can be served: keep one ListenStream= in the socket's unit, after \
             an empty one that takes away what it came with"
        )))
    }
}

/// How systemd is told.
type Tell = Box<dyn Fn(&[NotifyState<'_>]) + Send + Sync>;

/// Work that a role does when it is asked to.
type Deed = Box<dyn Fn() -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

/// A role that answers, as it is watched over.
pub struct Watched {
    name: &'static str,
    alive: Deed,
    reload: Option<Deed>,
}

impl Watched {
    /// A role that still answers as long as `alive` comes back with true.
    pub fn new<F>(name: &'static str, alive: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self { name, alive: Box::new(move || Box::pin(alive())), reload: None }
    }

    /// What it reads anew on SIGHUP; false when that did not work and the old goes on.
    #[must_use]
    pub fn reloading<F>(self, reload: impl Fn() -> F + Send + Sync + 'static) -> Self
    where
        F: Future<Output = bool> + Send + 'static,
    {
        Self { reload: Some(Box::new(move || Box::pin(reload()))), ..self }
    }
}

/// Work at the start that systemd waits for.
pub struct Busy(tokio::task::JoinHandle<()>);

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tells systemd that every role of this process answers, then, again and again, that all of them still do. Cheap to
/// clone.
#[derive(Clone)]
pub struct Supervisor(Arc<Inner>);

struct Inner {
    /// How many roles this process has.
    roles: usize,
    watched: Mutex<Vec<Arc<Watched>>>,
    count: watch::Sender<usize>,
    tell: Tell,
}

impl Supervisor {
    /// Over so many roles, told to systemd.
    #[must_use]
    pub fn new(roles: usize) -> Self {
        Self::telling(roles, |states| {
            if let Err(error) = sd_notify::notify(states) {
                tracing::warn!(%error, "systemd could not be told");
            }
        })
    }

    fn telling(roles: usize, tell: impl Fn(&[NotifyState<'_>]) + Send + Sync + 'static) -> Self {
        let (watched, count) = (Mutex::default(), watch::Sender::new(0));
        Self(Arc::new(Inner { roles, watched, count, tell: Box::new(tell) }))
    }

    /// A role answers from now on.
    pub fn answers(&self, role: Watched) {
        tracing::info!(role = role.name, "answers");
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        watched.push(Arc::new(role));
        self.0.count.send_replace(watched.len());
    }

    /// As long as the answer lives, systemd is asked to wait for the start.
    #[must_use]
    pub fn busy(&self) -> Busy {
        self.busy_every(Duration::from_secs(60))
    }

    fn busy_every(&self, every: Duration) -> Busy {
        let own = self.clone();
        // Twice what it takes until it is asked again.
        let patience = u32::try_from(2 * every.as_micros()).unwrap_or(u32::MAX);
        Busy(tokio::spawn(async move {
            loop {
                (own.0.tell)(&[NotifyState::ExtendTimeoutUsec(patience)]);
                tokio::time::sleep(every).await;
            }
        }))
    }

    fn watched(&self) -> Vec<Arc<Watched>> {
        self.0.watched.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Once all roles answer, says that this process is ready; then, if systemd watches over it, that it is alive,
    /// three times within the time that systemd waits. Goes on until it is dropped.
    pub async fn keep(self) {
        self.keep_within(sd_notify::watchdog_enabled()).await;
    }

    async fn keep_within(self, patience: Option<Duration>) {
        let mut count = self.0.count.subscribe();
        if count.wait_for(|count| *count >= self.0.roles).await.is_err() {
            return;
        }
        (self.0.tell)(&[NotifyState::Ready]);
        let Some(every) = patience.map(|patience| patience / 3) else { return };
        loop {
            tokio::time::sleep(every).await;
            if tokio::time::timeout(every, self.all_alive()).await == Ok(true) {
                (self.0.tell)(&[NotifyState::Watchdog]);
            } else {
                tracing::warn!("not everything answers: systemd is not told that it does");
            }
        }
    }

    async fn all_alive(&self) -> bool {
        for role in self.watched() {
            if !(role.alive)().await {
                tracing::warn!(role = role.name, "does not answer");
                return false;
            }
        }
        true
    }

    /// On each SIGHUP of systemd every role reads anew what may have changed. Goes on until it is dropped. Elsewhere the
    /// signal is what a closed terminal sends, and ends the process.
    pub async fn keep_reloading(self) {
        if std::env::var_os("NOTIFY_SOCKET").is_none() {
            return;
        }
        let Ok(mut asked) = signal(SignalKind::hangup()) else { return };
        while asked.recv().await.is_some() {
            (self.0.tell)(&[NotifyState::Reloading]);
            for role in self.watched() {
                let Some(reload) = &role.reload else { continue };
                if reload().await {
                    tracing::info!(role = role.name, "read anew what may have changed");
                } else {
                    tracing::error!(role = role.name, "goes on with what it had");
                }
            }
            (self.0.tell)(&[NotifyState::Ready]);
        }
    }

    /// This process stops.
    pub fn stopping(&self) {
        (self.0.tell)(&[NotifyState::Stopping]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    fn supervisor(roles: usize) -> (Supervisor, watch::Receiver<Vec<String>>) {
        let (said, heard) = watch::channel(Vec::new());
        let tell = move |states: &[NotifyState<'_>]| {
            said.send_modify(|all: &mut Vec<String>| all.extend(states.iter().map(ToString::to_string)));
        };
        (Supervisor::telling(roles, tell), heard)
    }

    fn role(name: &'static str) -> Watched {
        Watched::new(name, || async { true })
    }

    #[tokio::test]
    async fn nobody_is_ready_before_every_role_answers() {
        let (supervisor, mut heard) = supervisor(2);
        let keeping = tokio::spawn(supervisor.clone().keep_within(None));
        supervisor.answers(role("one"));
        tokio::task::yield_now().await;
        assert!(heard.borrow().is_empty());
        supervisor.answers(role("two"));
        keeping.await.unwrap();
        assert_eq!(*heard.borrow_and_update(), ["READY=1"]);
        supervisor.stopping();
        assert_eq!(heard.borrow()[1], "STOPPING=1");
    }

    #[tokio::test]
    async fn systemd_waits_while_a_start_is_busy_and_no_longer() {
        let (supervisor, mut heard) = supervisor(1);
        let busy = supervisor.busy_every(Duration::from_millis(5));
        heard.wait_for(|all| all.len() >= 3).await.unwrap();
        assert_eq!(heard.borrow()[2], "EXTEND_TIMEOUT_USEC=10000");
        drop(busy);
        // The task that asked had the other one.
        while Arc::strong_count(&supervisor.0) > 1 {
            tokio::task::yield_now().await;
        }
    }

    #[tokio::test]
    async fn a_role_that_does_not_answer_leaves_the_watchdog_unfed() {
        let (supervisor, mut heard) = supervisor(1);
        let alive = Arc::new(AtomicBool::new(false));
        let asked = Arc::new(watch::Sender::new(0));
        let (state, count) = (alive.clone(), asked.clone());
        supervisor.answers(Watched::new("one", move || {
            count.send_modify(|n| *n += 1);
            std::future::ready(state.load(Ordering::SeqCst))
        }));
        let keeping = tokio::spawn(supervisor.keep_within(Some(Duration::from_millis(30))));
        asked.subscribe().wait_for(|n| *n >= 3).await.unwrap();
        assert_eq!(*heard.borrow_and_update(), ["READY=1"]);
        alive.store(true, Ordering::SeqCst);
        heard.wait_for(|all| all.contains(&"WATCHDOG=1".to_owned())).await.unwrap();
        keeping.abort();
    }

    #[tokio::test]
    async fn a_role_that_hangs_leaves_the_watchdog_unfed() {
        let (supervisor, heard) = supervisor(1);
        let asked = Arc::new(watch::Sender::new(0));
        let count = asked.clone();
        supervisor.answers(Watched::new("one", move || {
            count.send_modify(|n| *n += 1);
            std::future::pending()
        }));
        let keeping = tokio::spawn(supervisor.keep_within(Some(Duration::from_millis(30))));
        asked.subscribe().wait_for(|n| *n >= 3).await.unwrap();
        assert_eq!(*heard.borrow(), ["READY=1"]);
        keeping.abort();
    }
}
