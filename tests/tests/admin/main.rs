//! `portolan admin` on the files of a real appliance, running and stopped: what each command does, what the audit says of
//! it, and that the chain holds afterwards.

mod master_key;
mod schema;
mod words;

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::{MetadataExt as _, chown};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use portolan_tests::api::{list, text};
use portolan_tests::site::{OWNER, PASSWORD};
use portolan_tests::{Client, Site, binaries, wait_until};
use serde_json::{Value, json};

const NEW: &str = "lantern over the mole";
const OTHER: &str = "another tide another day";

/// What a command said and how it ended.
struct Ran {
    code: i32,
    out: String,
    err: String,
}

impl Ran {
    #[track_caller]
    fn done(self) -> Ran {
        assert_eq!(self.code, 0, "{}{}", self.out, self.err);
        self
    }

    /// Ended with this code, and said this.
    #[track_caller]
    fn refused(self, code: i32, said: &str) {
        let whole = self.out + &self.err;
        assert!(self.code == code && whole.contains(said), "{} {whole}", self.code);
    }

    #[track_caller]
    fn json(self) -> Value {
        let ran = self.done();
        serde_json::from_str(&ran.out).unwrap_or_else(|error| panic!("{error}: {}", ran.out))
    }
}

/// The command line, on one data folder.
struct Admin(PathBuf);

impl Admin {
    fn of(site: &Site) -> Admin {
        Admin(site.data().to_owned())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(binaries::portolan());
        command.arg("admin").args(words).arg("--data").arg(&self.0);
        command
    }

    fn run(&self, words: &[&str]) -> Ran {
        self.typed(words, "")
    }

    /// With this on standard input.
    fn typed(&self, words: &[&str], input: &str) -> Ran {
        let mut command = self.command(words);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("portolan starts");
        // It may have ended without reading.
        let _ = child.stdin.take().expect("a pipe").write_all(input.as_bytes());
        let output = child.wait_with_output().expect("it ends");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let code = output.status.code().unwrap_or(-1);
        Ran { code, out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// The actions of the command line that the audit has behind this entry, oldest first.
    fn told(&self, after: u64) -> Vec<String> {
        let all =
            self.run(&["--json", "audit", "query", "--actor", "admin", "--all", "--oldest-first"]).json();
        let later = list(&all, "items").iter().filter(|entry| entry["seq"].as_u64() > Some(after));
        later
            .map(|entry| {
                let actor = &entry["actor"];
                assert_eq!((&actor["kind"], &actor["method"]), (&json!("cli"), &json!("cli")), "{entry}");
                assert!(
                    !text(actor, "name").is_empty() && text(actor, "agent").starts_with("portolan-admin/")
                );
                text(entry, "action")
            })
            .filter(|action| !action.ends_with(".viewed"))
            .collect()
    }

    fn head(&self) -> u64 {
        let last = self.run(&["--json", "audit", "query", "--limit", "1"]).json();
        list(&last, "items")[0]["seq"].as_u64().expect("a number")
    }
}

fn sign_in(site: &Site, name: &str, password: &str) -> (u16, Client) {
    let visitor = site.visitor();
    let answer = visitor.post("/sign-in", &json!({ "name": name, "password": password }));
    (answer.status, visitor)
}

/// Everything about accounts, tokens and sessions, with a person of this name.
fn accounts(admin: &Admin, name: &str) {
    let before = admin.head();
    let created = ["user", "create", name, "--display", "Grace Hopper", "--role", "viewer"];
    admin.typed(&created, "short\n").refused(1, "password has 5 characters; 12 is the least");
    admin.typed(&created, "").refused(2, "standard input ended before the password");
    admin.run(&["user", "show", name]).refused(1, &format!("no user {name}"));
    admin.typed(&created, &format!("{NEW}\n")).done();
    admin.typed(&created, &format!("{NEW}\n")).refused(1, "is taken by another account");
    admin.run(&["user", "create", name, "--password", NEW]).refused(2, "--password");
    admin.run(&["user", "create", "x", "--no-password", "--role", "pirate"]).refused(1, "no role pirate");
    admin.run(&["user", "create", "robot", "--service"]).done();

    let listed = admin.run(&["user", "list", "grace"]).done().out;
    assert!(
        listed.starts_with("NAME ") && listed.contains("Grace Hopper") && !listed.contains("robot"),
        "{listed}"
    );
    let shown = admin.run(&["--json", "user", "show", name]).json();
    assert_eq!((&shown["roles"][0]["name"], &shown["methods"]), (&json!("viewer"), &json!(["password"])));

    admin.typed(&["user", "set-password", name], "Password1234!\n").refused(1, "tried first");
    admin
        .typed(&["user", "set-password", "robot"], &format!("{NEW}\n"))
        .refused(1, "a service has no password");
    admin.typed(&["user", "set-password", name, "--once"], &format!("{OTHER}\n")).done();
    assert_eq!(admin.run(&["--json", "user", "show", name]).json()["must_change"], true);
    admin.typed(&["user", "set-password", name], &format!("{OTHER}\n")).done();

    let granted = admin.run(&["roles", "grant", name, "Operator", "compliance"]).done().out;
    assert!(granted.contains("compliance, operator, viewer"), "{granted}");
    admin.run(&["roles", "revoke", name, "viewer", "compliance"]).done();
    admin.run(&["roles", "revoke", name, "viewer"]).refused(1, "nobody gave");
    admin.run(&["roles", "grant", OWNER, "viewer"]).refused(1, "the owner holds everything");
    assert!(admin.run(&["roles", "list"]).done().out.contains("operator"));

    admin.run(&["user", "set-status", name, "disabled"]).done();
    assert_eq!(
        list(&admin.run(&["--json", "user", "list", "--status", "disabled"]).json(), "items").len(),
        1
    );
    admin.run(&["user", "set-status", name, "active"]).done();
    admin.run(&["user", "set-status", OWNER, "disabled"]).refused(1, "it is the last way in");
    admin.run(&["user", "unlock", name]).done();
    admin.run(&["user", "reset-totp", name]).refused(2, "say --yes");
    admin.run(&["user", "reset-totp", name, "--yes"]).done();

    admin.run(&["passwords", "owner-only"]).done();
    assert!(admin.run(&["passwords"]).done().out.contains("the owner alone"));
    admin.run(&["passwords", "on"]).done();
    admin.run(&["passwords", "off"]).refused(2, "off");

    assert_eq!(
        admin.told(before),
        [
            "user.created",
            "user.password-set",
            "user.created",
            "user.password-set",
            "user.password-set",
            "user.updated",
            "user.updated",
            "user.disabled",
            "user.enabled",
            "user.unlocked",
            "second-factors.reset",
            "setting.updated",
            "setting.updated",
        ]
    );
}

/// What reads the audit, and takes it away.
fn audit(admin: &Admin, folder: &Path, name: &str) {
    let lines = admin.run(&["audit", "tail", "-n", "3"]).done().out;
    assert_eq!(lines.lines().count(), 3, "{lines}");
    assert!(lines.lines().all(|line| line.contains("Z done cli:admin ")), "{lines}");
    let table = admin.run(&["audit", "query", "--action", "user.*", "--limit", "2"]).done().out;
    assert!(table.starts_with("SEQ ") && table.lines().count() == 3, "{table}");
    admin.run(&["audit", "query", "--source", "nowhere"]).refused(1, "source \"nowhere\" is not an address");
    admin.run(&["audit", "query", "--class", "x"]).refused(2, "change");
    for format in ["jsonl", "csv"] {
        let file = folder.join(format!("{name}.{format}"));
        let path = file.to_str().expect("UTF-8");
        admin.run(&["audit", "export", "--format", format, "--output", path]).done();
        admin.run(&["audit", "export", "--output", path]).refused(4, path);
        let checked = Command::new(binaries::portolan()).arg("verify").arg(&file).output().expect("it runs");
        let said = String::from_utf8_lossy(&checked.stdout);
        assert!(checked.status.success() && said.starts_with("ok: the whole audit"), "{said}");
    }
    assert!(admin.run(&["audit", "verify"]).done().out.starts_with("ok: "));
    // For short.
    let short = Command::new(binaries::portolan()).args(["audit", "verify", "--data"]).arg(&admin.0).output();
    assert!(String::from_utf8_lossy(&short.expect("it runs").stdout).starts_with("ok: "));
}

#[test]
fn beside_a_running_appliance() {
    let site = Site::start();
    let admin = Admin::of(&site);
    // Any account would end the setup.
    admin.run(&["user", "create", "eve", "--no-password"]).refused(1, "there is no owner yet");
    let owner = site.set_up();
    accounts(&admin, "grace");
    let folder = tempfile::tempdir().expect("a folder");
    audit(&admin, folder.path(), "running");

    // The appliance goes by it at once.
    let (status, grace) = sign_in(&site, "grace", OTHER);
    assert_eq!(status, 200);
    let sessions = admin.run(&["sessions", "list"]).done().out;
    assert!(sessions.contains("grace") && sessions.contains(OWNER), "{sessions}");
    let before = admin.head();
    admin.run(&["sessions", "revoke-all", "--user", "grace", "--yes"]).done();
    assert_eq!((grace.get("/me").status, owner.get("/me").status), (401, 200));

    let made = owner.post("/tokens", &json!({ "name": "nightly", "scopes": ["results:view"] })).json();
    let token = text(&made["item"], "id");
    let tokens = admin.run(&["tokens", "list", "--state", "in-force"]).done().out;
    assert!(tokens.contains("nightly") && !tokens.contains(&text(&made, "token")), "{tokens}");
    admin.run(&["tokens", "revoke", &token]).refused(2, "say --yes");
    admin.run(&["tokens", "revoke", &token, "--yes"]).done();
    admin.run(&["tokens", "revoke", "nonsense", "--yes"]).refused(1, "no token nonsense");
    admin.run(&["tokens", "prune", "--yes"]).done();
    assert_eq!(
        admin.run(&["--json", "tokens", "prune", "--older-than", "0", "--yes"]).json()["forgotten"],
        1
    );
    assert_eq!(admin.run(&["tokens", "list"]).done().out, "nothing\n");

    for _ in 0..5 {
        assert_eq!(sign_in(&site, "grace", "not this one at all").0, 422);
    }
    assert_eq!(sign_in(&site, "grace", OTHER).0, 422, "locked");
    admin.run(&["user", "unlock", "grace"]).done();
    admin.run(&["sessions", "revoke-all", "--yes"]).done();
    assert_eq!(owner.get("/me").status, 401);
    assert_eq!(
        admin.told(before),
        ["session.revoked", "token.revoked", "token.pruned", "user.unlocked", "session.revoked"]
    );

    admin.run(&["schema", "verify"]).done();
    for needs_it_stopped in [["schema", "migrate", "--yes"], ["master-key", "rotate", "--yes"]] {
        admin.run(&needs_it_stopped).refused(5, "needs it stopped");
    }
    assert!(admin.run(&["audit", "verify"]).done().out.starts_with("ok: "));
}

#[test]
fn what_comes_is_followed_and_a_look_leaves_an_entry() {
    let site = Site::start();
    let owner = site.set_up();
    let admin = Admin::of(&site);
    let mut command = admin.command(&["--json", "audit", "tail", "-n", "0", "--follow"]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("it starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let looks = || owner.audit("&action=audit.viewed&actor=admin").len();
    wait_until("the look to be written down", Duration::from_secs(60), || (looks() == 1).then_some(()));
    owner.subnet("Plant", "10.7.0.0/16");
    let seen = lines.by_ref().map_while(Result::ok).find(|line| line.contains("subnet.created"));
    let entry: Value = serde_json::from_str(&seen.expect("it is followed")).expect("a line is JSON");
    assert_eq!(entry["actor"]["name"], OWNER);
    child.kill().expect("it runs");
    let _ = child.wait();
    admin.run(&["user", "show", OWNER]).done();
    let look = owner.audit("&action=user.viewed&actor=admin").remove(0);
    assert_eq!((&look["actor"]["kind"], &look["class"]), (&json!("cli"), &json!("access")));
}

#[test]
fn with_the_appliance_stopped() {
    let mut site = Site::start();
    let _ = site.set_up();
    site.stop("all");
    let admin = Admin::of(&site);
    accounts(&admin, "grace");
    let folder = tempfile::tempdir().expect("a folder");
    audit(&admin, folder.path(), "stopped");
    admin.run(&["schema", "verify"]).done();
    assert!(admin.run(&["schema", "migrate"]).done().out.contains("up to date"));
    admin.run(&["sessions", "revoke-all", "--yes"]).done();
    site.run("all");
    assert_eq!(sign_in(&site, "grace", OTHER).0, 200);
    assert!(admin.run(&["audit", "verify"]).done().out.starts_with("ok: "));
}

#[test]
fn who_lost_every_way_in_comes_back() {
    let mut site = Site::start();
    let _ = site.set_up();
    site.stop("all");
    let admin = Admin::of(&site);
    let db = rusqlite::Connection::open(site.data().join("config/config.db")).expect("it opens");
    // As one who came by a provider could have left it: passwords off, and then the provider was gone.
    db.execute_batch(
        "INSERT INTO setting (name, value) VALUES ('local-sign-in', '{\"local\":\"off\"}');
         INSERT INTO totp (user, sealed, confirmed_at) SELECT id, x'00', 1 FROM user;",
    )
    .expect("it is written");
    drop(db);
    site.run("all");
    assert_eq!(sign_in(&site, OWNER, PASSWORD).0, 422);
    let said = admin.typed(&["user", "set-password", OWNER], &format!("{NEW}\n")).done().out;
    assert!(said.contains("portolan admin passwords on"), "{said}");
    admin.run(&["passwords", "on"]).done();
    let (_, half) = sign_in(&site, OWNER, NEW);
    assert_eq!(half.get("/users").status, 401, "the lost app is asked for");
    admin.run(&["user", "reset-totp", OWNER, "--yes"]).done();
    let (status, owner) = sign_in(&site, OWNER, NEW);
    assert_eq!((status, owner.get("/users").status), (200, 200));

    // A key that was stolen goes too, though nobody would get in without it.
    site.stop("all");
    let db = rusqlite::Connection::open(site.data().join("config/config.db")).expect("it opens");
    db.execute_batch(
        "INSERT OR REPLACE INTO setting (name, value) VALUES ('local-sign-in', '{\"local\":\"off\"}');
         INSERT INTO security_key (id, user, name, credential_id, credential, created_at, alone)
           SELECT '019aab00-0000-7000-8000-00000000000a', id, 'blue', x'00',
                  '{\"key\":{\"algorithm\":\"ed25519\",\"point\":\"\"},\"count\":0,\"site\":\"x\",\"transports\":[]}', 0, 1 FROM user;",
    )
    .expect("it is written");
    drop(db);
    let said = admin.run(&["user", "reset-totp", OWNER, "--yes"]).done().out;
    assert!(said.contains("and no way in: a key was the last one"), "{said}");
}

#[test]
fn a_password_is_not_shown_on_a_terminal_and_must_be_typed_twice() {
    let mut site = Site::start();
    let _ = site.set_up();
    site.stop("all");
    let line = format!(
        "{} admin user set-password {OWNER} --data {}",
        binaries::portolan().display(),
        site.data().display()
    );
    let at_terminal = |input: String| {
        let mut script = Command::new("script");
        script.args(["-qec", &line, "/dev/null"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = script.spawn().ok()?;
        let mut typing = child.stdin.take().expect("a pipe");
        for line in input.lines() {
            // A terminal drops what was typed ahead when its echo is switched off.
            thread::sleep(Duration::from_millis(700));
            let _ = writeln!(typing, "{line}");
        }
        let output = child.wait_with_output().expect("it ends");
        Some((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
    };
    let Some((right, said)) = at_terminal(format!("{NEW}\n{NEW}\n")) else {
        eprintln!("script is not here: the terminal was not tried");
        return;
    };
    assert!(right && said.contains("Once more"), "{said}");
    assert!(!said.contains(NEW), "{said}");
    let (right, said) = at_terminal(format!("{NEW}\n{OTHER}\n")).expect("it was here");
    assert!(!right && said.contains("the two passwords differ"), "{said}");
}

/// Some other user.
const MANAGER: u32 = 64_001;

#[test]
fn what_root_writes_stays_the_managers() {
    let mut site = Site::start();
    let _ = site.set_up();
    site.stop("all");
    if fs::metadata("/proc/self").expect("/proc is there").uid() != 0 {
        eprintln!("not root: whose files they are was not tried");
        return;
    }
    let mut files = vec![site.data().to_owned()];
    let mut at = 0;
    while at < files.len() {
        if files[at].is_dir() {
            files.extend(fs::read_dir(&files[at]).expect("a folder").flatten().map(|file| file.path()));
        }
        chown(&files[at], Some(MANAGER), Some(MANAGER)).expect("root may give it away");
        at += 1;
    }
    let admin = Admin::of(&site);
    admin.typed(&["user", "set-password", OWNER], &format!("{NEW}\n")).done();
    admin.run(&["schema", "migrate"]).done();
    admin.run(&["master-key", "rotate", "--yes"]).done();
    let rebuild =
        Command::new(binaries::portolan()).args(["results", "rebuild", "--data"]).arg(site.data()).output();
    let rebuild = rebuild.expect("it runs");
    assert!(rebuild.status.success(), "{}", String::from_utf8_lossy(&rebuild.stderr));
    for folder in ["", "manager", "config", "jobs"] {
        for file in fs::read_dir(site.data().join(folder)).expect("a folder").flatten() {
            let about = file.metadata().expect("it is there");
            assert_eq!(about.uid(), MANAGER, "{}", file.path().display());
        }
    }
}
