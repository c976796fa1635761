//! Who runs the command, as the system knows them: the name that the audit gets.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use crate::audit::Actor;

/// What the kernel gives as the user who signed in on the machine when nobody did.
const NOBODY: u32 = u32::MAX;

/// Whoever runs this process: `root`, or `root (alice)` where alice signed in on the machine and became root.
#[must_use]
pub fn actor() -> Actor {
    let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
    // The owner of this folder is the user that the process runs as.
    let user = fs::metadata("/proc/self").map_or(NOBODY, |about| about.uid());
    let login = fs::read_to_string("/proc/self/loginuid").ok();
    let login = login.and_then(|text| text.trim().parse().ok()).unwrap_or(NOBODY);
    let actor = Actor { name: called(&passwd, user, login), ..Actor::cli("admin") };
    actor.with_agent(concat!("portolan-admin/", env!("CARGO_PKG_VERSION")))
}

fn called(passwd: &str, user: u32, login: u32) -> String {
    let name = |uid: u32| {
        let found = passwd.lines().find_map(|line| {
            let mut parts = line.split(':');
            let (name, uid_there) = (parts.next()?, parts.nth(1)?);
            (uid_there.parse() == Ok(uid)).then(|| name.to_owned())
        });
        found.unwrap_or_else(|| format!("uid {uid}"))
    };
    if login == NOBODY || login == user { name(user) } else { format!("{} ({})", name(user), name(login)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_became_root_is_named_beside_root() {
        let passwd = "root:x:0:0:root:/root:/bin/sh\nbroken\nalice:x:1000:1000::/home/alice:/bin/sh\n";
        assert_eq!(called(passwd, 0, NOBODY), "root");
        assert_eq!(called(passwd, 0, 1000), "root (alice)");
        assert_eq!(called(passwd, 1000, 1000), "alice");
        assert_eq!(called(passwd, 77, 0), "uid 77 (root)");
    }

    #[test]
    fn the_actor_is_the_command_line_with_a_name() {
        let actor = actor();
        assert_eq!((actor.id.as_str(), actor.method.as_str()), ("admin", "cli"));
        assert!(!actor.name.is_empty() && actor.agent.starts_with("portolan-admin/"));
    }
}
