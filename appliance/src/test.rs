//! The real site on databases in memory, for tests of routes: no socket, no sleep, a clock that stands still.

use crate::app::{App, Parts, Public, tables};
use crate::audit::{Actor, Entry};
use crate::clock::{Clock, Hand, Timestamp};
use crate::ids::Random;
use crate::jobs::Jobs;
use crate::results::ResultsService;
use crate::results::duckdb::DuckDb;
use crate::secrets::MasterKey;
use crate::secrets::signing::JobKey;
use crate::store::Store;
use crate::tls::{Ca, Keys, UiCertificate};
use crate::web::Site;
use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderMap, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use tower::ServiceExt;
use uuid::Uuid;

/// The name the tests reach the site by.
pub const HOST: &str = "portolan.test";
/// The owner's password.
pub const PASSWORD: &str = "correct horse battery";

/// The site, as someone sees it: from an address, with a cookie or a token.
#[derive(Clone)]
pub struct TestSite {
    pub app: App,
    pub site: Arc<Site>,
    pub hand: Hand,
    /// The address that requests come from.
    pub source: IpAddr,
    router: Router,
    cookie: Option<String>,
    token: Option<String>,
}

/// Where requests come from unless a test says otherwise.
const SOURCE: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));

/// An answer, read to its end.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answered {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text)
            .unwrap_or_else(|error| panic!("{error}: {} {}", self.status, self.text))
    }

    /// A header, empty when absent.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The names of the fields that a 422 complains of.
    pub fn fields(&self) -> Vec<String> {
        let errors = self.json()["errors"].clone();
        errors
            .as_array()
            .into_iter()
            .flatten()
            .map(|error| error["field"].as_str().unwrap().to_owned())
            .collect()
    }
}

impl TestSite {
    /// A site without any user.
    pub fn empty() -> Self {
        let (clock, hand) = Clock::settable(Timestamp::parse("2026-11-22T12:00:00Z").unwrap());
        let random = Random::seeded(1);
        let parts = Parts {
            keys: Keys {
                ca: Arc::new(Ca::make(&random).unwrap()),
                ui: Arc::new(UiCertificate::make(&[], &random).unwrap()),
                job: JobKey::make(&random),
            },
            public: Public {
                scanner_address: format!("{HOST}:8443"),
                ca_sha256: "ab".repeat(32),
                pages: format!("https://{HOST}"),
                pages_pin: "sha256//pin".into(),
            },
            releases: "/nowhere".into(),
            store: Store::in_memory(clock.clone()).unwrap(),
            jobs: Jobs::in_memory().unwrap(),
            results: ResultsService::new(Arc::new(DuckDb::in_memory().unwrap())),
            random,
            master: MasterKey::from_bytes([7; 32].into()),
            clock,
        };
        let app = App::new(parts);
        let site = Arc::new(Site::new(app.clone(), tables()).unwrap());
        Self { router: site.clone().router(), app, site, hand, source: SOURCE, cookie: None, token: None }
    }

    /// A site whose owner, `ada`, is signed in.
    pub async fn new() -> Self {
        let mut site = Self::empty();
        let code = site.app.identity.setup_code().to_owned();
        let owner = json!({ "code": code, "name": "ada", "password": PASSWORD, "password_again": PASSWORD });
        let answer = site.send_json(Method::POST, "/setup", &owner).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        site.take_cookie(&answer);
        site
    }

    /// Keeps the session that an answer started.
    pub fn take_cookie(&mut self, answer: &Answered) {
        let cookie = answer.header("set-cookie").split(';').next().unwrap().to_owned();
        assert!(cookie.starts_with("__Host-session="), "{cookie}");
        self.cookie = Some(cookie);
    }

    /// The same site, seen by someone who is not signed in.
    pub fn stranger(&self) -> Self {
        Self { cookie: None, token: None, ..self.clone() }
    }

    /// The same site, seen by someone who shows this token beside what they have.
    pub fn showing(&self, token: &str) -> Self {
        Self { token: Some(token.to_owned()), ..self.clone() }
    }

    /// The same site, seen from another address.
    pub fn seen_from(&self, source: &str) -> Self {
        Self { source: source.parse().unwrap(), ..self.clone() }
    }

    /// Someone with an account of this name and these roles (by name), signed in with [`PASSWORD`].
    pub async fn person(&self, name: &str, roles: &[&str]) -> Self {
        let options = self.get("/users").await.json()["role_options"].clone();
        let id_of = |name: &str| {
            let found = options.as_array().unwrap().iter().find(|role| role["name"] == name);
            found.unwrap_or_else(|| panic!("no role {name}"))["id"].clone()
        };
        let roles: Vec<Value> = roles.iter().map(|role| id_of(role)).collect();
        let made = self.send_json(Method::POST, "/users", &json!({ "name": name, "roles": roles })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.text);
        self.give_password(made.json()["id"].as_str().unwrap()).await;
        let mut person = self.stranger();
        let answer = person.sign_in(name, PASSWORD).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        person.take_cookie(&answer);
        person
    }

    /// Sets an account's password to [`PASSWORD`], by a link as an administrator hands it out.
    pub async fn give_password(&self, id: &str) {
        let link = self.send_json(Method::POST, &format!("/users/{id}/reset"), &Value::Null).await;
        assert_eq!(link.status, StatusCode::CREATED, "{}", link.text);
        let url = link.json()["url"].as_str().unwrap().to_owned();
        let path = url.strip_prefix(&format!("https://{HOST}")).unwrap();
        let twice = json!({ "password": PASSWORD, "password_again": PASSWORD });
        let set = self.stranger().send_json(Method::POST, path, &twice).await;
        assert_eq!(set.status, StatusCode::OK, "{}", set.text);
        // One test makes more accounts than one source may in a second.
        self.hand.advance(std::time::Duration::from_secs(1));
    }

    /// Tries to sign in.
    pub async fn sign_in(&self, name: &str, password: &str) -> Answered {
        self.send_json(Method::POST, "/sign-in", &json!({ "name": name, "password": password })).await
    }

    /// The id of the one who is signed in.
    pub async fn own_id(&self) -> String {
        self.get("/me").await.json()["user"]["id"].as_str().unwrap().to_owned()
    }

    /// The session's cookie as it is now.
    pub fn cookie(&self) -> &str {
        self.cookie.as_deref().unwrap_or_default()
    }

    /// Comes with this cookie from now on.
    pub fn set_cookie(&mut self, cookie: &str) {
        self.cookie = Some(cookie.to_owned());
    }

    /// The same site, seen by a new account with these roles, which is signed in. Its password is the owner's.
    pub async fn with_roles(&self, name: &str, roles: &[Uuid]) -> Self {
        let (id, named, roles) = (self.app.ids.new().to_string(), name.to_owned(), roles.to_vec());
        let make = move |tx: &rusqlite::Transaction| {
            let sql = "INSERT INTO user (id, name, display, password_hash, created_at, updated_at)
                       SELECT ?, ?, ?, password_hash, 0, 0 FROM user WHERE is_owner";
            tx.execute(sql, [&id, &named, &named])?;
            for role in roles {
                tx.execute("INSERT INTO user_role (user, role) VALUES (?, ?)", [&id, &role.to_string()])?;
            }
            Ok((Entry::event("test.made", &()), ()))
        };
        self.app.store.change(&Actor::system("test"), make).await.unwrap();
        // Sign-ins are limited by source.
        self.hand.advance(std::time::Duration::from_secs(1));
        let mut site = self.stranger();
        let known = json!({ "name": name, "password": PASSWORD });
        let answer = site.send_json(Method::POST, "/sign-in", &known).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.text);
        site.take_cookie(&answer);
        site
    }

    /// A call of nobody's, for what no route calls by itself.
    pub fn call(&self) -> crate::web::Call {
        crate::web::Call::for_test(self.app.clone(), self.source)
    }

    /// Changes the database by hand: what happened meanwhile.
    pub async fn sql(&self, sql: &str) {
        let sql = sql.to_owned();
        let change = move |tx: &rusqlite::Transaction| {
            tx.execute_batch(&sql)?;
            Ok((Entry::event("test.made", &()), ()))
        };
        self.app.store.change(&Actor::system("test"), change).await.unwrap();
    }

    /// GET, as JSON.
    pub async fn get(&self, path: &str) -> Answered {
        self.send(Method::GET, path, "application/json", None).await
    }

    /// GET, as a browser.
    pub async fn page(&self, path: &str) -> Answered {
        self.send(Method::GET, path, "text/html", None).await
    }

    /// A JSON body (or none, for null).
    pub async fn send_json(&self, method: Method, path: &str, body: &Value) -> Answered {
        let body = (!body.is_null()).then(|| ("application/json", body.to_string().into_bytes()));
        self.send(method, path, "application/json", body).await
    }

    /// A form, as a browser posts it.
    pub async fn post_form(&self, path: &str, fields: &[(&str, &str)]) -> Answered {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let body = ("application/x-www-form-urlencoded", body.into_bytes());
        self.send(Method::POST, path, "text/html", Some(body)).await
    }

    /// Any body.
    pub async fn send(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        body: Option<(&str, Vec<u8>)>,
    ) -> Answered {
        self.send_with(method, path, accept, &[], body).await
    }

    /// Any body, with more headers.
    pub async fn send_with(
        &self,
        method: Method,
        path: &str,
        accept: &str,
        headers: &[(&str, &str)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Answered {
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, HOST)
            .header(header::ACCEPT, accept)
            .header(header::ORIGIN, format!("https://{HOST}"))
            .extension(ConnectInfo(SocketAddr::from((self.source, 4000))));
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        if let Some(token) = &self.token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = match body {
            Some((media, bytes)) => {
                request = request.header(header::CONTENT_TYPE, media);
                Body::from(bytes)
            }
            None => Body::empty(),
        };
        let response = self.router.clone().oneshot(request.body(body).unwrap()).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        Answered {
            status: parts.status,
            headers: parts.headers,
            text: String::from_utf8_lossy(&bytes).into_owned(),
        }
    }
}
