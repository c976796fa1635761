//! Which controls the audit has evidence for, and which entries that is. The words are ours: the criteria and the standard
//! themselves are their owners' texts, and an auditor has them.

use crate::audit::filter::Filter;
use crate::audit::{Class, Outcome};

/// Entries that an auditor asks for, by a filter of the list.
#[derive(Debug, PartialEq, Eq)]
pub struct Evidence {
    /// What they are.
    pub what: &'static str,
    class: Option<Class>,
    action: Option<&'static str>,
    outcome: Option<Outcome>,
}

impl Evidence {
    const fn of(what: &'static str, action: &'static str) -> Self {
        Self { what, class: None, action: Some(action), outcome: None }
    }

    const fn class(what: &'static str, class: Class) -> Self {
        Self { what, class: Some(class), action: None, outcome: None }
    }

    const fn ended(self, outcome: Outcome) -> Self {
        Self { outcome: Some(outcome), ..self }
    }

    /// The same as a filter of the list.
    #[must_use]
    pub fn filter(&self) -> Filter {
        Filter {
            class: self.class,
            action: self.action.map(str::to_owned),
            outcome: self.outcome,
            ..Filter::default()
        }
    }
}

/// A control, and what the audit shows of it.
#[derive(Debug)]
pub struct Control {
    /// Its number in its framework.
    pub id: &'static str,
    /// What it is about, in a few words of ours.
    pub topic: &'static str,
    /// What the appliance does towards it.
    pub how: &'static str,
    /// The entries that show it.
    pub evidence: &'static [&'static Evidence],
}

/// A set of controls.
#[derive(Debug)]
pub struct Framework {
    /// Its name.
    pub name: &'static str,
    /// Its controls.
    pub controls: &'static [Control],
}

static SIGNED_IN: Evidence = Evidence::of("Sign-ins", "sign-in").ended(Outcome::Done);
static NOT_SIGNED_IN: Evidence = Evidence::of("Sign-ins refused", "sign-in").ended(Outcome::Refused);
static SIGNED_OUT: Evidence = Evidence::of("Sign-outs", "sign-out");
static SESSIONS: Evidence = Evidence::of("Sessions ended by someone", "session.*");
static DENIED: Evidence = Evidence::of("Requests beyond someone's scopes, refused", "access.denied");
static SCANNER_REFUSED: Evidence = Evidence::of("Requests refused at the scanners' door", "scanner.refused");
static ACCOUNTS: Evidence = Evidence::of("Changes to accounts and their roles", "user.*");
static ACCOUNTS_MADE: Evidence = Evidence::of("Accounts made", "user.created");
static ACCOUNTS_GONE: Evidence = Evidence::of("Accounts deleted", "user.deleted");
static ROLES: Evidence = Evidence::of("Changes to roles", "role.*");
static TOKENS: Evidence = Evidence::of("API tokens made, changed and revoked", "token.*");
static CODES: Evidence = Evidence::of("Codes of an app set up and removed", "totp.*");
static SECURITY_KEYS: Evidence = Evidence::of("Security keys added, used and removed", "security-key.*");
static SCANNERS: Evidence = Evidence::of("Scanners added, enrolled, changed and revoked", "scanner.*");
static REVOKED: Evidence = Evidence::of("Scanners revoked", "scanner.revoked");
static SCANS: Evidence = Evidence::of("Scans launched, paused, ended", "scan.*");
static SUBNETS: Evidence = Evidence::of("Changes to what may be scanned", "subnet.*");
static EXCLUSIONS: Evidence = Evidence::of("Changes to what is never scanned", "exclusion.*");
static TEMPLATES: Evidence = Evidence::of("Changes to scan templates", "template.*");
static PORT_LISTS: Evidence = Evidence::of("Changes to port lists", "port-list.*");
static KEYS: Evidence = Evidence::of("Keys and certificates of the appliance made", "key.*");
static FILES: Evidence = Evidence::of("Results taken away as files", "results.exported");
static EXPORTS: Evidence = Evidence::of("Exports of the audit", "audit.exported");
static CHECKED: Evidence = Evidence::of("Checks of the whole audit that found it whole", "audit.verified");
static BROKEN: Evidence = Evidence::of("Checks of the audit that found it broken", "audit.broken");
static SIGNED: Evidence = Evidence::of("Checkpoints that someone asked for", "audit.checkpoint-asked");
static LOOKED: Evidence =
    Evidence::class("Looks at what is not for everyone, and files taken away", Class::Access);
static CHANGES: Evidence = Evidence::class("All changes", Class::Change);
static FAILED: Evidence = Evidence::class("Changes that failed", Class::Change).ended(Outcome::Failed);

/// What is mapped.
pub static FRAMEWORKS: [Framework; 2] = [
    Framework {
        name: "SOC 2, trust services criteria 2017",
        controls: &[
            Control {
                id: "CC6.1",
                topic: "Logical access is restricted",
                how: "Every route has an access rule; there is no way in without one. Passwords are kept as Argon2id hashes.",
                evidence: &[&SIGNED_IN, &NOT_SIGNED_IN, &DENIED, &KEYS],
            },
            Control {
                id: "CC6.2",
                topic: "Users are registered and removed by decision",
                how: "Accounts are made, disabled and deleted by someone who is named.",
                evidence: &[&ACCOUNTS_MADE, &ACCOUNTS, &ACCOUNTS_GONE],
            },
            Control {
                id: "CC6.3",
                topic: "Rights follow roles and least privilege",
                how: "Rights are scopes, held through roles; a token never has more than its owner.",
                evidence: &[&ROLES, &ACCOUNTS, &TOKENS, &DENIED],
            },
            Control {
                id: "CC6.6",
                topic: "Threats from outside are kept out",
                how: "Scanners reach one door, with certificate, key and signed requests; what is refused there is recorded.",
                evidence: &[&SCANNER_REFUSED, &NOT_SIGNED_IN, &SCANNERS],
            },
            Control {
                id: "CC6.7",
                topic: "Information leaves only as permitted",
                how: "Every file that is taken away is an entry, with who took it.",
                evidence: &[&FILES, &EXPORTS, &LOOKED],
            },
            Control {
                id: "CC7.1",
                topic: "Changes that open new weaknesses are detected",
                how: "Scans show what is open and what changed since the last one.",
                evidence: &[&SCANS, &TEMPLATES, &EXCLUSIONS],
            },
            Control {
                id: "CC7.2",
                topic: "Anomalies are watched for",
                how: "Refusals are recorded with their source and their number.",
                evidence: &[&DENIED, &NOT_SIGNED_IN, &SCANNER_REFUSED, &FAILED],
            },
            Control {
                id: "CC7.3",
                topic: "Security events are evaluated",
                how: "The audit is checked at each start and daily; what is found is an entry.",
                evidence: &[&CHECKED, &BROKEN],
            },
            Control {
                id: "CC7.4",
                topic: "Incidents are responded to",
                how: "A session, a token or a scanner is cut off at once, for ever.",
                evidence: &[&SESSIONS, &REVOKED, &TOKENS],
            },
            Control {
                id: "CC8.1",
                topic: "Changes are authorised and recorded",
                how: "No change is made without its entry, with each field before and after.",
                evidence: &[&CHANGES, &SUBNETS, &TEMPLATES, &PORT_LISTS, &EXCLUSIONS],
            },
        ],
    },
    Framework {
        name: "ISO/IEC 27001:2022, Annex A",
        controls: &[
            Control {
                id: "A.5.15",
                topic: "Access control",
                how: "One table of routes is what the server works from, and what the page of access shows.",
                evidence: &[&ROLES, &DENIED],
            },
            Control {
                id: "A.5.16",
                topic: "Identity management",
                how: "Each account is a person or a service; each entry names it.",
                evidence: &[&ACCOUNTS_MADE, &ACCOUNTS, &ACCOUNTS_GONE],
            },
            Control {
                id: "A.5.17",
                topic: "Authentication information",
                how: "Secrets are shown once or never, and are not in the audit.",
                evidence: &[&ACCOUNTS, &CODES, &SECURITY_KEYS, &TOKENS],
            },
            Control {
                id: "A.5.18",
                topic: "Access rights",
                how: "Rights are given and taken through roles, by someone who is named.",
                evidence: &[&ROLES, &ACCOUNTS],
            },
            Control {
                id: "A.5.28",
                topic: "Collection of evidence",
                how: "Exports carry their proof and are checked on any machine.",
                evidence: &[&EXPORTS, &SIGNED, &CHECKED],
            },
            Control {
                id: "A.5.33",
                topic: "Protection of records",
                how: "Entries form a chain and are never changed or deleted; signed heads show a cut end.",
                evidence: &[&CHECKED, &BROKEN, &SIGNED],
            },
            Control {
                id: "A.8.2",
                topic: "Privileged access rights",
                how: "The owner and the roles above others are changed as any account, and it is recorded.",
                evidence: &[&ACCOUNTS, &ROLES, &TOKENS],
            },
            Control {
                id: "A.8.3",
                topic: "Information is restricted",
                how: "Who looks at what is not for everyone is recorded, and who is refused.",
                evidence: &[&LOOKED, &DENIED],
            },
            Control {
                id: "A.8.5",
                topic: "Secure authentication",
                how: "Tries are limited by source; a second factor can be required.",
                evidence: &[&SIGNED_IN, &NOT_SIGNED_IN, &SIGNED_OUT, &CODES, &SECURITY_KEYS],
            },
            Control {
                id: "A.8.8",
                topic: "Technical vulnerabilities",
                how: "What is open on the network is known, by scan and by date.",
                evidence: &[&SCANS],
            },
            Control {
                id: "A.8.9",
                topic: "Configuration management",
                how: "Each version of what is scanned, and what never is, can be had from the entries.",
                evidence: &[&SUBNETS, &TEMPLATES, &PORT_LISTS, &EXCLUSIONS],
            },
            Control {
                id: "A.8.15",
                topic: "Logging",
                how: "Changes, sign-ins and access are logged, and the log is protected against its own administrators.",
                evidence: &[&CHANGES, &LOOKED, &CHECKED],
            },
            Control {
                id: "A.8.16",
                topic: "Monitoring",
                how: "Refusals and failures are recorded as they come.",
                evidence: &[&DENIED, &SCANNER_REFUSED, &NOT_SIGNED_IN, &FAILED],
            },
            Control {
                id: "A.8.20",
                topic: "Network security",
                how: "What is reachable from where is scanned and compared.",
                evidence: &[&SCANS, &SCANNERS],
            },
            Control {
                id: "A.8.24",
                topic: "Use of cryptography",
                how: "Keys are made by the appliance and sealed; each is an entry.",
                evidence: &[&KEYS, &SCANNERS],
            },
            Control {
                id: "A.8.32",
                topic: "Change management",
                how: "No change is made without its entry.",
                evidence: &[&CHANGES, &FAILED],
            },
        ],
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn each_control_stands_once_with_a_sentence_and_evidence() {
        for framework in &FRAMEWORKS {
            for (at, control) in framework.controls.iter().enumerate() {
                assert!(!control.evidence.is_empty() && control.how.ends_with('.'), "{}", control.id);
                let twice = framework.controls[..at].iter().any(|other| other.id == control.id);
                assert!(!twice, "{} stands twice", control.id);
            }
        }
    }

    #[test]
    fn the_same_words_are_the_same_entries() {
        let mut known = BTreeMap::new();
        let all =
            FRAMEWORKS.iter().flat_map(|framework| framework.controls).flat_map(|control| control.evidence);
        for evidence in all {
            assert_eq!(*known.entry(evidence.what).or_insert(*evidence), *evidence);
            assert!(!evidence.filter().is_empty(), "{}", evidence.what);
        }
    }
}
