//! Every scope there is, with the sentence that explains it and the immutable roles that hold it. Routes refer to these;
//! a test refuses any other. What the product is designed to have and this version does not is declared too, as [`Scope::later`]:
//! a role that is made today then needs no change when it comes, and who gives such a scope is told that it opens nothing yet.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::Serialize;
use uuid::Uuid;

use Builtin::{Compliance, Operator, Viewer};

/// What a route asks for and a role gives.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// `resource:action`.
    pub name: &'static str,
    /// What it allows.
    pub sentence: &'static str,
    /// The immutable roles that hold it, beside [`Builtin::Admin`], which holds all.
    pub roles: &'static [Builtin],
    /// No route of this version asks for it; a test compares that with the table of routes.
    pub later: bool,
}

/// The roles that are part of the program. Their scopes cannot be changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Builtin {
    /// Everything.
    Admin,
    /// Runs scans, sees scanners, handles alarms.
    Operator,
    /// Reads what was found.
    Viewer,
    /// Reads reports and evidence, not the raw audit.
    Compliance,
}

impl Builtin {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 4] = [Self::Admin, Operator, Viewer, Compliance];

    /// Its id, the same on every appliance; the migration that made its row has it too.
    #[must_use]
    pub const fn id(self) -> Uuid {
        let last = match self {
            Self::Admin => 1,
            Self::Operator => 2,
            Self::Viewer => 3,
            Self::Compliance => 4,
        };
        Uuid::from_u128(0x0000_0000_0000_7000_8000_0000_0000_0000 | last)
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Operator => "operator",
            Self::Viewer => "viewer",
            Self::Compliance => "compliance",
        }
    }

    /// The role of this id, if it is one of these.
    #[must_use]
    pub fn of(id: Uuid) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.id() == id)
    }

    /// What it holds.
    #[must_use]
    pub fn scopes(self) -> BTreeSet<String> {
        let held = ALL.iter().filter(|scope| self == Self::Admin || scope.roles.contains(&self));
        held.map(|scope| scope.name.to_owned()).collect()
    }
}

/// Whoever reads at all.
const READERS: &[Builtin] = &[Operator, Viewer, Compliance];
/// Nobody but admin.
const ADMIN: &[Builtin] = &[];

const fn scope(name: &'static str, sentence: &'static str, roles: &'static [Builtin]) -> Scope {
    Scope { name, sentence, roles, later: false }
}

/// Of what this version does not have.
const fn later(name: &'static str, sentence: &'static str, roles: &'static [Builtin]) -> Scope {
    Scope { name, sentence, roles, later: true }
}

/// All scopes, in the order in which a role's form shows them.
pub const ALL: &[Scope] = &[
    scope("results:view", "See what was found: hosts, ports and differences", READERS),
    scope("scans:view", "See scans and their progress", READERS),
    scope("scans:run", "Launch, pause and cancel scans", &[Operator]),
    later("schedules:view", "See when scans start by themselves", READERS),
    later("schedules:manage", "Add, change and delete schedules", ADMIN),
    later("policies:view", "See which open ports are expected, and which break that", READERS),
    later("policies:manage", "Say which open ports are expected, by whose word and until when", ADMIN),
    later("alarms:view", "See alarms and what raised them", READERS),
    later("alarms:handle", "Take alarms on, put them off and close them", &[Operator]),
    later("alarms:manage", "Add, change and delete the rules that raise alarms", ADMIN),
    later("channels:view", "See by which channels alarms are sent, and what arrived", ADMIN),
    later("channels:manage", "Add, change, test and delete channels, and say which alarm takes which", ADMIN),
    later("reports:view", "Read reports", READERS),
    later("reports:manage", "Say which reports are made, and when", ADMIN),
    later(
        "evidence:export",
        "Take away what proves a scan: its results with frames, signatures, scope, entries and checkpoint",
        &[Compliance],
    ),
    scope("templates:view", "See scan templates", READERS),
    scope("templates:manage", "Add, change and delete scan templates", ADMIN),
    scope("subnets:view", "See subnets", READERS),
    scope("subnets:manage", "Add, change and delete subnets", ADMIN),
    scope("port-lists:view", "See port lists", READERS),
    scope("port-lists:manage", "Add, change and delete port lists", ADMIN),
    scope("exclusions:view", "See what is never scanned", READERS),
    scope("exclusions:manage", "Add, change and delete exclusions", ADMIN),
    scope("scanners:view", "See scanners and vantages", READERS),
    scope("scanners:manage", "Add, change and revoke scanners and vantages", ADMIN),
    later("bundles:export", "Write jobs for scanners without a network to a stick", &[Operator]),
    later("bundles:import", "Take in results from a stick", &[Operator]),
    scope("audit:view", "Read the audit log", ADMIN),
    scope("compliance:view", "See which controls the audit has evidence for, and how much", &[Compliance]),
    scope(
        "checkpoints:view",
        "See whether the audit is whole, and its signed heads; test one that was kept elsewhere",
        &[Compliance],
    ),
    scope("audit:export", "Take the audit away as a file, whole or filtered", ADMIN),
    scope("audit:verify", "Sign the audit's head", ADMIN),
    scope("receivers:view", "See where audit entries are sent", ADMIN),
    scope("receivers:manage", "Add, change, test and delete receivers of audit entries", ADMIN),
    scope("users:view", "See accounts and their roles", ADMIN),
    scope("users:manage", "Add, change, disable and delete accounts, and give them roles", ADMIN),
    scope("sessions:view", "See everyone's sessions", ADMIN),
    scope("sessions:manage", "End anyone's sessions", ADMIN),
    scope("roles:view", "See roles and what each of them may do", &[Compliance]),
    scope("roles:manage", "Add, change and delete roles", ADMIN),
    scope("tokens:view", "See everyone's API tokens and statements, never their secrets", ADMIN),
    scope("tokens:manage", "Make tokens for service accounts and revoke anyone's", ADMIN),
    scope(
        "oidc:manage",
        "See and try providers by which people sign in; a person who holds every scope, and no token, also configures them, \
         and decides whether passwords still sign in",
        ADMIN,
    ),
    scope("settings:view", "See the settings of the appliance", ADMIN),
    scope("settings:manage", "Change the settings of the appliance", ADMIN),
    later("health:view", "See how the appliance itself is", &[Operator]),
    later("backup:view", "See backups, when they were made and where they are", ADMIN),
    later("backup:manage", "Make backups, and say when and where they are made", ADMIN),
    later("backup:restore", "Put a backup in the place of what is there", ADMIN),
    later("update:view", "See which version runs, and what became of updates", ADMIN),
    later("update:manage", "Update the appliance, and go back to the version before", ADMIN),
    scope("access:view", "See which scope each route needs, and which role has it", READERS),
];

/// Every scope by its name: what the owner holds.
#[must_use]
pub fn every() -> BTreeSet<String> {
    ALL.iter().map(|scope| scope.name.to_owned()).collect()
}

/// The scope of this name.
#[must_use]
pub fn find(name: &str) -> Option<&'static Scope> {
    ALL.iter().find(|scope| scope.name == name)
}

/// Scopes about one resource, as forms and pages show them.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Group {
    /// The part before the colon.
    pub resource: String,
    /// The scopes.
    pub scopes: Vec<Offered>,
}

/// A scope with its sentence.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Offered {
    /// `resource:action`.
    pub name: String,
    /// What it allows.
    pub sentence: String,
    /// Whether the caller holds it, and so can give it.
    pub held: bool,
    /// Nothing in this version asks for it.
    pub later: bool,
}

/// The scopes that `wanted` picks, by resource; `held` says which of them the caller holds.
pub fn groups(wanted: impl Fn(&str) -> bool, held: impl Fn(&str) -> bool) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for scope in ALL.iter().filter(|scope| wanted(scope.name)) {
        let resource = scope.name.split(':').next().unwrap_or(scope.name);
        let offered = Offered {
            name: scope.name.to_owned(),
            sentence: scope.sentence.to_owned(),
            held: held(scope.name),
            later: scope.later,
        };
        match groups.iter_mut().find(|group| group.resource == resource) {
            Some(group) => group.scopes.push(offered),
            None => groups.push(Group { resource: resource.to_owned(), scopes: vec![offered] }),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_resource_and_action_and_stand_once() {
        for (at, Scope { name, sentence, .. }) in ALL.iter().enumerate() {
            assert!(
                name.split_once(':')
                    .is_some_and(|(resource, action)| !resource.is_empty() && !action.is_empty())
            );
            assert!(!sentence.is_empty());
            assert!(!ALL[..at].iter().any(|other| other.name == *name), "{name} stands twice");
        }
    }

    #[test]
    fn who_reads_only_can_change_nothing_and_compliance_does_not_see_the_raw_audit() {
        for scope in Builtin::Viewer.scopes().iter().chain(&Builtin::Compliance.scopes()) {
            let action = scope.split_once(':').unwrap().1;
            assert!(["view", "export"].contains(&action), "{scope}");
        }
        assert!(!Builtin::Compliance.scopes().contains("audit:view"));
        assert!(!Builtin::Operator.scopes().contains("audit:view"));
        assert_eq!(Builtin::Admin.scopes(), every());
        for (role, scope) in
            [(Operator, "alarms:handle"), (Compliance, "reports:view"), (Compliance, "evidence:export")]
        {
            assert!(role.scopes().contains(scope), "{scope}");
        }
        assert!(!Builtin::Viewer.scopes().contains("evidence:export"));
    }

    #[test]
    fn an_immutable_role_is_known_by_its_id() {
        assert_eq!(Builtin::Viewer.id().to_string(), "00000000-0000-7000-8000-000000000003");
        assert_eq!(Builtin::of(Builtin::Viewer.id()), Some(Builtin::Viewer));
        assert_eq!(Builtin::of(Uuid::nil()), None);
    }
}
