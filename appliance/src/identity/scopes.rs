//! Every scope there is, with the sentence that explains it. Routes refer to these; a test refuses any other.

/// `resource:action`, and what it allows.
pub const ALL: &[(&str, &str)] = &[
    ("access:view", "See which scope each route needs"),
    ("audit:view", "Read the audit log"),
    ("audit:verify", "Sign the audit's head and check the whole chain"),
    ("results:view", "See what was found: hosts, ports and differences"),
    ("scanners:view", "See scanners and vantages"),
    ("scanners:manage", "Add, change and revoke scanners and vantages"),
    ("scans:view", "See scans and their progress"),
    ("scans:run", "Launch, pause and cancel scans"),
    ("subnets:view", "See subnets"),
    ("subnets:manage", "Add, change and delete subnets"),
    ("exclusions:view", "See what is never scanned"),
    ("exclusions:manage", "Add, change and delete exclusions"),
    ("port-lists:view", "See port lists"),
    ("port-lists:manage", "Add, change and delete port lists"),
    ("templates:view", "See scan templates"),
    ("templates:manage", "Add, change and delete scan templates"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_resource_and_action_and_stand_once() {
        for (at, (scope, sentence)) in ALL.iter().enumerate() {
            assert!(
                scope
                    .split_once(':')
                    .is_some_and(|(resource, action)| !resource.is_empty() && !action.is_empty())
            );
            assert!(!sentence.is_empty());
            assert!(!ALL[..at].iter().any(|(other, _)| other == scope), "{scope} stands twice");
        }
    }
}
