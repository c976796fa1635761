//! The wiring: the only place where rooms are put together.

use crate::audit::Trail;
use crate::audit::checkpoints::{self, Checkpoints};
use crate::audit::siem::{self, Siem};
use crate::clock::Clock;
use crate::docs::Docs;
use crate::fleet::{self, Fleet};
use crate::identity::Identity;
use crate::identity::factors::{self, Factors};
use crate::identity::oidc::{self, Oidc};
use crate::identity::roles::{self, Roles};
use crate::identity::statements::{self, Statements};
use crate::identity::tokens::{self, Tokens};
use crate::ids::{Ids, Random};
use crate::jobs::Jobs;
use crate::overview::{self, Overview};
use crate::releases::{self, Releases};
use crate::results::{self, ResultsService};
use crate::scans::{self, Scans};
use crate::scope::Scope;
use crate::secrets::rotation::Sealed;
use crate::secrets::signing::CheckpointKey;
use crate::secrets::{MasterKey, keyring};
use crate::store::Store;
use crate::tls::Keys;
use crate::web::Routes;
use crate::{audit, docs, identity, noun, scope};
use std::ops::Deref;
use std::path::PathBuf;
use std::sync::Arc;

/// The services of the manager. Cheap to clone.
#[derive(Clone)]
pub struct App(Arc<Services>);

/// One service a noun; a room calls another room's service, never its store.
pub struct Services {
    /// Tells the time.
    pub clock: Clock,
    /// Makes ids.
    pub ids: Ids,
    /// config.db.
    pub store: Store,
    /// jobs.db.
    pub jobs: Jobs,
    /// The CA, the pages' certificate, the job-signing key.
    pub keys: Keys,
    /// How the outside reaches this appliance.
    pub public: Public,
    /// The scanner's program, as it is handed out.
    pub releases: Releases,
    /// What was seen.
    pub results: ResultsService,
    /// The documentation.
    pub docs: Docs,
    /// Who is there.
    pub identity: Identity,
    /// What they may do.
    pub roles: Roles,
    /// What was looked at, and what was refused.
    pub audit: Trail,
    /// What their scripts show.
    pub tokens: Tokens,
    /// What other systems are told of them.
    pub statements: Statements,
    /// Second factors.
    pub factors: Factors,
    /// Sign-in by a provider.
    pub oidc: Oidc,
    /// Signed heads of the audit.
    pub checkpoints: Checkpoints,
    /// Where audit entries are sent.
    pub siem: Siem,
    /// What scans cover.
    pub scope: Scope,
    /// Scanners and vantages.
    pub fleet: Fleet,
    /// Scans.
    pub scans: Scans,
    /// The first page.
    pub overview: Overview,
}

/// What the services are made from.
pub struct Parts {
    /// Tells the time.
    pub clock: Clock,
    /// Source of ids and secrets.
    pub random: Random,
    /// config.db, migrated.
    pub store: Store,
    /// jobs.db, migrated.
    pub jobs: Jobs,
    /// What every other key is derived from or sealed by.
    pub master: MasterKey,
    /// The CA, the pages' certificate, the job-signing key.
    pub keys: Keys,
    /// How the outside reaches this appliance.
    pub public: Public,
    /// Where the scanner's release lies, if there is one.
    pub releases: PathBuf,
    /// The results store, open.
    pub results: ResultsService,
}

/// How the outside reaches this appliance, as the administrator said: never taken from a request.
#[derive(Clone, Debug)]
pub struct Public {
    /// What a scanner dials, `name:port`.
    pub scanner_address: String,
    /// SHA-256 of the CA's certificate, hex: what a scanner pins at enrolment.
    pub ca_sha256: String,
    /// Where a browser finds the pages, `https://name`.
    pub pages: String,
    /// The pin of the pages' key, `sha256//…`.
    pub pages_pin: String,
}

impl App {
    /// Wires the rooms.
    #[must_use]
    pub fn new(parts: Parts) -> Self {
        let Parts { clock, random, store, jobs, master, keys, public, releases, results } = parts;
        let ids = Ids::with(clock.clone(), random.clone());
        let session_key = *master.derive("session");
        let audit = Trail::new(store.clone(), clock.clone());
        let checkpoints = Checkpoints::new(store.clone(), clock.clone(), CheckpointKey::of(&master));
        let siem = Siem::new(store.clone(), (clock.clone(), ids.clone()), random.clone(), master.clone());
        let scope = Scope::new(store.clone(), jobs.clone(), clock.clone(), ids.clone());
        let identity = Identity::new(store.clone(), clock.clone(), ids.clone(), random.clone(), session_key);
        let roles = Roles::new(store.clone(), clock.clone(), ids.clone());
        let tokens = Tokens::new(store.clone(), clock.clone(), ids.clone(), random.clone());
        let statements = Statements::new(statements::Parts {
            store: store.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            random: random.clone(),
            master: master.clone(),
            issuer: public.pages.clone(),
        });
        let factors = Factors::new(factors::Parts {
            store: store.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            random: random.clone(),
            master: master.clone(),
            identity: identity.clone(),
        });
        let oidc = Oidc::new(oidc::Parts {
            store: store.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            random: random.clone(),
            master,
            identity: identity.clone(),
        });
        let facts = releases::Facts {
            appliance: public.scanner_address.clone(),
            ca_sha256: public.ca_sha256.clone(),
            job_key: portolan_scanner::wire::base64::encode(&keys.job.public()),
            pages: public.pages.clone(),
            pages_pin: public.pages_pin.clone(),
        };
        let releases = Releases::new(releases, facts);
        let fleet = Fleet::new(fleet::Parts {
            clock: clock.clone(),
            ids: ids.clone(),
            random: random.clone(),
            store: store.clone(),
            jobs: jobs.clone(),
            ca: fleet::Authority::Whole(Arc::clone(&keys.ca)),
            job_key: keys.job.public(),
            address: public.scanner_address.clone(),
            releases: releases.clone(),
        });
        let scans = Scans::new(scans::Parts {
            store: store.clone(),
            jobs: jobs.clone(),
            clock: clock.clone(),
            ids: ids.clone(),
            random,
            fleet: fleet.clone(),
            results: results.clone(),
        });
        let overview = Overview::new(results.clone());
        Self(Arc::new(Services {
            docs: Docs::embedded(),
            clock,
            ids,
            store,
            jobs,
            keys,
            public,
            releases,
            results,
            identity,
            roles,
            audit,
            tokens,
            statements,
            factors,
            oidc,
            checkpoints,
            siem,
            scope,
            fleet,
            scans,
            overview,
        }))
    }
}

impl Deref for App {
    type Target = Services;
    fn deref(&self) -> &Services {
        &self.0
    }
}

/// Every column that the master key sealed.
#[must_use]
pub fn sealed() -> Vec<Sealed> {
    vec![keyring::SEALED, factors::SEALED, oidc::SEALED, siem::SEALED]
}

/// Every room's rows: the whole of what the site answers.
#[must_use]
pub fn tables() -> Vec<Routes> {
    vec![
        overview::routes::routes(),
        scans::routes::routes(),
        results::routes::routes(),
        noun::rows::<scope::Template>(),
        noun::rows::<scope::Subnet>(),
        noun::rows::<scope::PortList>(),
        noun::rows::<scope::Exclusion>(),
        fleet::routes::scanners(),
        noun::rows::<fleet::Vantage>(),
        releases::routes::routes(),
        identity::routes::routes(),
        identity::sign_in::routes::routes(),
        identity::passwords::routes::routes(),
        identity::users::routes::routes(),
        identity::sessions::routes::routes(),
        roles::routes::routes(),
        tokens::routes::routes(),
        statements::routes::routes(),
        factors::routes::routes(),
        factors::keys::routes::routes(),
        oidc::routes::routes(),
        audit::routes::routes(),
        checkpoints::routes::routes(),
        siem::routes::routes(),
        audit::export::routes::routes(),
        audit::compliance::routes::routes(),
        docs::routes::routes(),
    ]
}
