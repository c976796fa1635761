//! An appliance with one of everything, and every route that there is, by its own word.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::process::Command;
use std::sync::atomic::{AtomicU8, Ordering};

use portolan_tests::api::{Template, list, text};
use portolan_tests::site::PASSWORD;
use portolan_tests::{Client, Pins, Response, Scanner, Site};
use serde_json::{Value, json};

/// Nobody's id.
pub const NOBODY: &str = "019aab00-0000-7000-8000-000000000000";

/// A route.
pub struct Row {
    pub method: String,
    /// With parameters, as `{id}`.
    pub path: String,
    /// `public`, `pending`, `signed-in`, or a scope.
    pub access: String,
    /// The roles that it lets in.
    pub roles: BTreeSet<String>,
    /// Whether it stands under `/api/v1` too; forms' second spellings do not.
    pub api: bool,
}

impl Row {
    pub fn changes(&self) -> bool {
        self.method != "GET"
    }

    /// The path under each of its prefixes, with its parameters filled in.
    pub fn targets(&self, filled: &str) -> Vec<String> {
        let mut targets = vec![filled.to_owned()];
        if self.api {
            targets.push(format!("/api/v1{}", filled.trim_end_matches('/')));
        }
        targets
    }
}

/// The appliance.
pub struct World {
    pub site: Site,
    pub owner: Client,
    pub rows: Vec<Row>,
    pub document: Value,
    /// The id of one thing of each kind, by the first word of its path.
    pub ids: BTreeMap<&'static str, String>,
}

impl World {
    pub fn new() -> World {
        let site = Site::start();
        let owner = site.set_up();
        let owner = owner.impatient().on_one_line(None);
        let document = owner.get("/openapi.json").expect(200).json();
        let matrix = owner.get("/access").expect(200).json();
        let rows = list(&matrix, "rows").iter().map(|row| {
            let (method, path) = (text(row, "method"), text(row, "path"));
            let operation = &document["paths"][path.replace("{*", "{")][method.to_lowercase()];
            let roles = list(row, "roles").iter().filter_map(Value::as_str).map(str::to_owned).collect();
            Row { api: operation.is_object(), access: text(row, "access"), method, path, roles }
        });
        let rows: Vec<Row> = rows.collect();
        assert!(rows.len() > 150 && rows.iter().filter(|row| row.changes()).count() > 70, "{}", rows.len());
        let mut world = World { site, owner, rows, document, ids: BTreeMap::new() };
        world.fill();
        world
    }

    /// One of everything.
    fn fill(&mut self) {
        let made = |path: &str, body: Value| text(&self.owner.post(path, &body).expect(201).json(), "id");
        let vantage = self.owner.vantage("Hall");
        let added = self.owner.add_scanner("probe-1", &vantage);
        let token = text(&added, "token");
        let _enrolled = Scanner::enrol("probe-1", self.site.scanners(), &Pins::of(&added), &token);
        let scanner = text(&added["scanner"], "id");
        let (subnet, ports) =
            (self.owner.subnet("Cell", "10.0.0.0/30"), self.owner.port_list("Few", "22,80"));
        let template = self.owner.template(&Template {
            name: "Weekly",
            subnets: vec![subnet.clone()],
            port_lists: vec![ports.clone()],
            scanners: vec![scanner.clone()],
            ..Template::default()
        });
        let user = made("/users", json!({ "name": "mallory" }));
        let link =
            text(&self.owner.post(&format!("/users/{user}/reset"), &json!({})).expect(201).json(), "url");
        let token = json!({ "name": "Nightly", "scopes": ["scans:view"] });
        let token = text(&self.owner.post("/tokens", &token).expect(201).json()["item"], "id");
        let _ = self.owner.post("/statements", &json!({ "audience": "historian" })).expect(201);
        let statements = self.owner.get("/statements").expect(200).json();
        let sessions = self.owner.get("/account").expect(200).json();
        let session = text(&list(&sessions["sessions"], "items")[0], "id");
        let checkpoint = self.owner.post("/audit/checkpoints", &json!({})).expect(201).json();
        self.ids = BTreeMap::from([
            ("exclusions", made("/exclusions", json!({ "addresses": "10.0.0.3", "reason": "Press 4" }))),
            ("scans", self.owner.launch(&template)),
            ("receivers", made("/receivers", receiver("http://127.0.0.1:9/in"))),
            ("providers", made("/providers", provider())),
            ("roles", made("/roles", json!({ "name": "Night", "scopes": ["scans:view"] }))),
            ("vantages", vantage),
            ("scanners", scanner),
            ("subnets", subnet),
            ("port-lists", ports),
            ("templates", template),
            ("users", user),
            ("tokens", token),
            ("statements", text(&list(&statements, "items")[0], "id")),
            ("sessions", session),
            ("reset", link.rsplit('/').next().expect("a link has parts").to_owned()),
            ("checkpoints", checkpoint["seq"].to_string()),
        ]);
    }

    pub fn changing(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| row.changes())
    }

    pub fn reading(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|row| !row.changes())
    }

    /// A path with its parameters filled in by what is there.
    pub fn path(&self, row: &Row) -> String {
        path_with(row, &self.ids)
    }

    /// What the document says of a route.
    pub fn operation(&self, row: &Row) -> &Value {
        &self.document["paths"][row.path.replace("{*", "{")][row.method.to_lowercase()]
    }

    /// The fields that a changing route takes, with their schemas.
    pub fn fields(&self, row: &Row) -> BTreeMap<String, Value> {
        let schema = &self.operation(row)["requestBody"]["content"]["application/json"]["schema"];
        let properties = self.resolved(schema)["properties"].as_object().cloned().unwrap_or_default();
        properties.into_iter().map(|(name, schema)| (name, self.resolved(&schema).clone())).collect()
    }

    /// A schema, or what it refers to.
    pub fn resolved<'a>(&'a self, schema: &'a Value) -> &'a Value {
        match schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
            Some(pointer) => self.document.pointer(pointer).expect("a reference leads somewhere"),
            None => schema,
        }
    }

    /// How many entries the audit has of changes, and of sign-ins, sign-outs and ends of sessions.
    pub fn told(&self) -> [Value; 2] {
        ["change", "sign-in"].map(|class| {
            self.owner.get(&format!("/audit?class={class}&limit=1")).expect(200).json()["total"].clone()
        })
    }

    /// The header by which the owner's browser is known.
    pub fn cookie(&self) -> String {
        cookie(&self.owner)
    }

    /// Someone new with these roles (by name), signed in, from an address of their own.
    pub fn person(&self, name: &str, roles: &[&str]) -> Person {
        let options = self.owner.get("/users").expect(200).json();
        let role = |name: &&str| {
            let found = list(&options, "role_options").iter().find(|role| role["name"] == **name);
            text(found.unwrap_or_else(|| panic!("no role {name}")), "id")
        };
        let roles: Vec<String> = roles.iter().map(role).collect();
        let made = self.owner.post("/users", &json!({ "name": name, "roles": roles })).expect(201);
        let id = text(&made.json(), "id");
        self.give_password(&id);
        let client = self.visitor();
        let answer = client.post("/sign-in", &json!({ "name": name, "password": PASSWORD })).expect(200);
        assert_eq!(answer.json()["stage"], "full", "{}", answer.describe());
        Person { client, id }
    }

    /// Sets an account's password by a link, as an administrator hands it out.
    pub fn give_password(&self, id: &str) {
        let link = self.owner.post(&format!("/users/{id}/reset"), &json!({})).expect(201).json();
        let link = text(&link, "url");
        let token = link.rsplit('/').next().expect("a link has parts");
        let twice = json!({ "password": PASSWORD, "password_again": PASSWORD });
        let _ = self.visitor().post(&format!("/reset/{token}"), &twice).expect(200);
    }

    /// Someone who is not signed in, from an address that nobody has used yet: limits by source do not add up.
    pub fn visitor(&self) -> Client {
        self.site.visitor().impatient().on_one_line(Some(elsewhere()))
    }
}

/// A path with its parameters filled in by these ids; nobody's, where there is none.
pub fn path_with(row: &Row, ids: &BTreeMap<&'static str, String>) -> String {
    let words: Vec<&str> = row.path.split('/').collect();
    let id = |word: &str| ids.get(word).map_or(NOBODY, String::as_str);
    let fill = |(at, word): (usize, &&str)| match *word {
        "{id}" if words.contains(&"sessions") => id("sessions").to_owned(),
        "{id}" if words.contains(&"provider") => id("providers").to_owned(),
        "{id}" => id(words[at - 1]).to_owned(),
        "{token}" => id("reset").to_owned(),
        "{seq}" if words.contains(&"checkpoints") => id("checkpoints").to_owned(),
        "{seq}" => "1".to_owned(),
        "{address}" => "10.0.0.1".to_owned(),
        "{*key}" => "index".to_owned(),
        word => word.to_owned(),
    };
    words.iter().enumerate().map(fill).collect::<Vec<_>>().join("/")
}

/// One session, the owner's or another, from ever other addresses: what is limited by source stops nobody here.
pub struct Crowd<'a> {
    world: &'a World,
    now: RefCell<Client>,
}

impl Crowd<'_> {
    pub fn of(world: &World) -> Crowd<'_> {
        let now = world.visitor();
        now.take_cookies(&world.owner);
        Self::with(world, now)
    }

    /// Who comes with this one's cookies.
    pub fn with(world: &World, now: Client) -> Crowd<'_> {
        Crowd { world, now: RefCell::new(now) }
    }

    /// Asks; from elsewhere once more, where this address has asked too often.
    pub fn ask(&self, ask: impl Fn(&Client) -> Response) -> Response {
        let answer = ask(&self.now.borrow());
        if answer.status != 429 {
            return answer;
        }
        let next = self.world.visitor();
        next.take_cookies(&self.now.borrow());
        self.now.replace(next);
        ask(&self.now.borrow())
    }
}

/// Someone with an account.
pub struct Person {
    pub client: Client,
    pub id: String,
}

/// A loopback address that nobody in this process has come from.
pub fn elsewhere() -> IpAddr {
    static LAST: [AtomicU8; 2] = [AtomicU8::new(0), AtomicU8::new(0)];
    let low = LAST[0].fetch_add(1, Ordering::SeqCst);
    let high =
        if low == 255 { LAST[1].fetch_add(1, Ordering::SeqCst) } else { LAST[1].load(Ordering::SeqCst) };
    IpAddr::from([127, 9, high, low])
}

/// The header by which a browser is known.
pub fn cookie(client: &Client) -> String {
    let pairs = client.cookies().into_iter().map(|(name, value)| format!("{name}={value}"));
    pairs.collect::<Vec<_>>().join("; ")
}

pub fn receiver(address: &str) -> Value {
    json!({ "name": "Room", "kind": "webhook", "address": address, "body": "json", "secret": "the secret of a webhook" })
}

pub fn provider() -> Value {
    let arguments = "req -x509 -newkey ed25519 -nodes -keyout /dev/null -days 2 -subj /CN=sso.test";
    let made = Command::new("openssl").args(arguments.split(' ')).output().expect("openssl is there");
    let ca = String::from_utf8(made.stdout).expect("PEM is text");
    json!({ "name": "Site login", "issuer": "https://127.0.0.1:1/", "discovery": true, "client_id": "portolan",
            "client_secret": "the secret of a client", "ca": ca })
}
