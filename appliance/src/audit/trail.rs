//! What was looked at, and what was asked for and not allowed: entries of their own, folded so that neither a page that
//! is read all day nor a flood fills the audit. What is folded is kept in memory, of a bounded size.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Place;
use std::future::Future;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::json;

use super::{Actor, Entry, Outcome};
use crate::clock::{Clock, Timestamp};
use crate::error::Result;
use crate::store::Store;

/// Who looks at the same thing again within this time leaves no second entry.
const AGAIN: Duration = Duration::from_mins(10);
/// Refusals of one kind within this time are counted together.
const MINUTE: Duration = Duration::from_mins(1);
/// How often it is looked whether a minute of refusals is over.
const LOOK: Duration = Duration::from_secs(10);
/// The most looks, and the most kinds of refusals, that are remembered. Looks beyond it are written each time; refusals
/// beyond it are counted as one kind.
const KEPT: usize = 4_096;

/// The service. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Trail(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    clock: Clock,
    looks: Mutex<HashMap<Look, Timestamp>>,
    denials: Mutex<Denials>,
}

/// Who, in what way, from where.
type Who = (String, String, Option<IpAddr>);

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Look {
    who: Who,
    action: String,
    resource: String,
    id: String,
}

#[derive(Debug, Default)]
struct Denials {
    /// When the first of them came.
    since: Option<Timestamp>,
    /// How many of each kind came after the one that was written at once.
    more: HashMap<(Who, String), Denied>,
    /// How many came that are of none of these kinds.
    others: u64,
}

#[derive(Clone, Debug)]
struct Denied {
    actor: Actor,
    scope: String,
    count: u64,
}

impl Denials {
    /// Counts on with what was taken and could not be written. Its minute is over still.
    fn take_back(&mut self, taken: Self) {
        self.since = taken.since.or(self.since);
        self.others += taken.others;
        for (key, denied) in taken.more {
            match self.more.entry(key) {
                // The one that came meanwhile was written when it came.
                Place::Occupied(mut there) => there.get_mut().count += denied.count,
                Place::Vacant(free) => drop(free.insert(denied)),
            }
        }
    }
}

impl Trail {
    /// Writes into this database, by this clock.
    #[must_use]
    pub fn new(store: Store, clock: Clock) -> Self {
        let (looks, denials) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { store, clock, looks, denials }))
    }

    /// Someone looks at something that is not for everyone: `scanner.viewed`. The same actor, action and thing is
    /// written once in ten minutes. To be called before the answer is given: what cannot be written is not shown.
    ///
    /// # Errors
    /// The database's.
    pub async fn accessed(
        &self,
        actor: &Actor,
        action: &str,
        (resource, id): (&str, &str),
        route: &str,
    ) -> Result<()> {
        let look =
            Look { who: who(actor), action: action.into(), resource: resource.into(), id: id.to_owned() };
        if !self.is_new(&look) {
            return Ok(());
        }
        let entry = Entry::access(action, &json!({ "route": route })).on(resource, id);
        let written = self.0.store.change(actor, move |_| Ok((entry, ()))).await;
        if written.is_err() {
            lock(&self.0.looks).remove(&look);
        }
        written
    }

    /// Remembers a look; false if it was made less than ten minutes ago.
    fn is_new(&self, look: &Look) -> bool {
        let now = self.0.clock.now();
        let mut looks = lock(&self.0.looks);
        if looks.get(look).is_some_and(|at| now < *at + AGAIN) {
            return false;
        }
        if looks.len() >= KEPT {
            looks.retain(|_, at| now < *at + AGAIN);
        }
        if looks.len() < KEPT || looks.contains_key(look) {
            looks.insert(look.clone(), now);
        }
        true
    }

    /// Someone asked for what they may not. The first of one actor and route in a minute is written at once, the others
    /// as one entry with their number when that minute is over.
    ///
    /// # Errors
    /// The database's.
    pub async fn denied(&self, actor: &Actor, route: &str, scope: &str) -> Result<()> {
        let told = self.tell(false).await;
        if self.is_first(actor, route, scope) {
            let entry = denial(route, scope, 1);
            let written = self.0.store.change(actor, move |_| Ok((entry, ()))).await;
            if written.is_err() {
                // It is counted with those that follow.
                self.is_first(actor, route, scope);
            }
            written?;
        }
        told
    }

    fn is_first(&self, actor: &Actor, route: &str, scope: &str) -> bool {
        let mut denials = lock(&self.0.denials);
        if denials.more.is_empty() {
            denials.since = Some(self.0.clock.now());
        }
        let full = denials.more.len() >= KEPT;
        match denials.more.entry((who(actor), route.to_owned())) {
            Place::Occupied(mut there) => there.get_mut().count += 1,
            Place::Vacant(_) if full => denials.others += 1,
            Place::Vacant(free) => {
                free.insert(Denied { actor: actor.clone(), scope: scope.to_owned(), count: 0 });
                return true;
            }
        }
        false
    }

    /// Writes what was counted, if its minute is over or `at_once`. What could not be written stays counted, and is tried
    /// again at the next call.
    ///
    /// # Errors
    /// The database's.
    pub async fn tell(&self, at_once: bool) -> Result<()> {
        let mut over = {
            let mut denials = lock(&self.0.denials);
            let now = self.0.clock.now();
            let over = denials.since.is_some_and(|since| since + MINUTE <= now);
            if denials.more.is_empty() || !(over || at_once) {
                return Ok(());
            }
            std::mem::take(&mut *denials)
        };
        let outcome = self.write(&mut over).await;
        if outcome.is_err() {
            lock(&self.0.denials).take_back(over);
        }
        outcome
    }

    /// Writes each kind, and takes from `over` what is written.
    async fn write(&self, over: &mut Denials) -> Result<()> {
        while let Some((key, Denied { actor, scope, count })) =
            over.more.iter().next().map(|(key, denied)| (key.clone(), denied.clone()))
        {
            if count > 0 {
                let entry = denial(&key.1, &scope, count);
                self.0.store.change(&actor, move |_| Ok((entry, ()))).await?;
            }
            over.more.remove(&key);
        }
        if over.others > 0 {
            let entry = denial("several", "", over.others);
            self.0.store.change(&Actor::nobody(""), move |_| Ok((entry, ()))).await?;
        }
        Ok(())
    }

    /// Tells what was counted when its minute is over, and the rest when `stop` is.
    pub async fn keep(self, stop: impl Future<Output = ()>) {
        let mut stop = std::pin::pin!(stop);
        let mut look = tokio::time::interval(LOOK);
        loop {
            let last = tokio::select! {
                () = &mut stop => true,
                _ = look.tick() => false,
            };
            if let Err(error) = self.tell(last).await {
                tracing::error!(%error, "refusals could not be written to the audit");
            }
            if last {
                break;
            }
        }
    }
}

fn who(actor: &Actor) -> Who {
    (actor.id.clone(), actor.method.clone(), actor.source)
}

fn denial(route: &str, scope: &str, count: u64) -> Entry {
    let detail = json!({ "route": route, "scope": scope, "count": count });
    Entry::access("access.denied", &detail).on("route", route).outcome(Outcome::Refused)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::audit::store::{Span, list};
    use crate::audit::{Class, Filter};
    use crate::clock::Hand;

    fn trail() -> (Trail, Store, Hand) {
        let (clock, hand) = Clock::settable(Timestamp::from_micros(1_000_000));
        let store = Store::in_memory(clock.clone()).unwrap();
        (Trail::new(store.clone(), clock), store, hand)
    }

    fn ada() -> Actor {
        Actor::user(Uuid::nil(), "ada").by("session").seen_from("10.0.0.7".parse().unwrap())
    }

    /// Action, id or route, and count of every entry, in order.
    async fn told(store: &Store) -> Vec<(String, String, u64)> {
        let span = Span { ascending: true, after: None, limit: 100 };
        let (rows, _) = store.read(move |c| list(c, &Filter::default(), span)).await.unwrap();
        rows.into_iter()
            .map(|(_, record)| {
                assert_eq!(record.class, Class::Access);
                (record.action, record.resource_id, record.detail["count"].as_u64().unwrap_or_default())
            })
            .collect()
    }

    #[tokio::test]
    async fn a_look_is_written_once_in_ten_minutes_for_each_actor_and_thing() {
        let (trail, store, hand) = trail();
        let look = |actor: Actor, id: &'static str| {
            let trail = trail.clone();
            async move {
                trail
                    .accessed(&actor, "scanner.viewed", ("scanner", id), "GET /scanners/{id}")
                    .await
                    .unwrap();
            }
        };
        for actor in [ada(), ada().by("token:1"), ada().seen_from("10.0.0.8".parse().unwrap())] {
            look(actor.clone(), "a").await;
            look(actor.clone(), "a").await;
            look(actor, "b").await;
        }
        assert_eq!(told(&store).await.len(), 6);
        hand.advance(Duration::from_secs(599));
        look(ada(), "a").await;
        assert_eq!(told(&store).await.len(), 6);
        hand.advance(Duration::from_secs(1));
        look(ada(), "a").await;
        assert_eq!(told(&store).await.last().unwrap(), &("scanner.viewed".into(), "a".into(), 0));
        assert_eq!(told(&store).await.len(), 7);
    }

    #[tokio::test]
    async fn looks_beyond_what_is_remembered_are_written_and_not_kept() {
        let (trail, _, hand) = trail();
        let look = |n: usize| Look {
            who: who(&ada()),
            action: "x.viewed".into(),
            resource: "x".into(),
            id: n.to_string(),
        };
        for n in 0..KEPT + 10 {
            assert!(trail.is_new(&look(n)));
        }
        assert!(!trail.is_new(&look(0)));
        assert!(trail.is_new(&look(KEPT + 1)));
        assert_eq!(lock(&trail.0.looks).len(), KEPT);
        hand.advance(AGAIN);
        assert!(trail.is_new(&look(KEPT + 1)));
        assert_eq!(lock(&trail.0.looks).len(), 1, "what is over is forgotten");
    }

    #[tokio::test]
    async fn the_first_refusal_is_told_at_once_and_the_rest_of_its_minute_as_one() {
        let (trail, store, hand) = trail();
        for _ in 0..50 {
            trail.denied(&ada(), "GET /subnets", "subnets:view").await.unwrap();
        }
        trail.denied(&ada(), "GET /scans", "scans:view").await.unwrap();
        let one = |route: &str, count| ("access.denied".to_owned(), route.to_owned(), count);
        assert_eq!(told(&store).await, [one("GET /subnets", 1), one("GET /scans", 1)]);
        trail.tell(false).await.unwrap();
        assert_eq!(told(&store).await.len(), 2, "the minute is not over");
        hand.advance(MINUTE);
        trail.denied(&ada(), "GET /subnets", "subnets:view").await.unwrap();
        assert_eq!(told(&store).await[2..], [one("GET /subnets", 49), one("GET /subnets", 1)]);
        trail.denied(&ada(), "GET /subnets", "subnets:view").await.unwrap();
        trail.tell(true).await.unwrap();
        assert_eq!(told(&store).await[4..], [one("GET /subnets", 1)], "what is counted is told at the end");
    }

    #[tokio::test]
    async fn a_flood_of_many_kinds_is_counted_in_bounded_memory() {
        let (trail, store, _) = trail();
        for n in 0..KEPT + 7 {
            trail.is_first(&ada(), &format!("GET /{n}"), "x:y");
        }
        assert_eq!(lock(&trail.0.denials).more.len(), KEPT);
        trail.tell(true).await.unwrap();
        assert_eq!(told(&store).await, [("access.denied".to_owned(), "several".to_owned(), 7)]);
        assert!(lock(&trail.0.denials).more.is_empty());
    }

    #[tokio::test]
    async fn what_could_not_be_written_stays_counted() {
        let (trail, store, hand) = trail();
        for route in ["GET /a", "GET /b", "GET /c"] {
            for _ in 0..5 {
                trail.denied(&ada(), route, "x:y").await.unwrap();
            }
        }
        // The database takes one more entry beside that of this change, and then none.
        let full = "CREATE TRIGGER full BEFORE INSERT ON audit_entry WHEN NEW.seq > 5
                    BEGIN SELECT RAISE(ABORT, 'the disk is full'); END";
        let none = "DROP TRIGGER full";
        let does = |sql: &'static str| {
            let store = store.clone();
            async move {
                let change = move |tx: &rusqlite::Transaction| {
                    tx.execute_batch(sql)?;
                    Ok((Entry::access("test.done", &()), ()))
                };
                store.change(&Actor::system("test"), change).await.unwrap();
            }
        };
        does(full).await;
        hand.advance(MINUTE);
        trail.tell(false).await.unwrap_err();
        assert_eq!(told(&store).await.len(), 5, "one of the three");
        trail.tell(false).await.unwrap_err();
        // Two come meanwhile, one of a kind that is new.
        trail.denied(&ada(), "GET /b", "x:y").await.unwrap_err();
        trail.denied(&ada(), "GET /d", "x:y").await.unwrap_err();
        does(none).await;
        trail.tell(true).await.unwrap();
        let counted: u64 = told(&store).await.iter().map(|(_, _, count)| count).sum();
        assert_eq!(counted, 17, "each once");
    }
}
