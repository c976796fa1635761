//! The rules of subnets, port lists and templates, through the routes that a person and a script use.

mod bad_input;
mod exclusions;
mod pages;
mod ways;

use serde_json::{Value, json};

use crate::audit::{Actor, Entry};
use crate::test::{Answered, TestSite};
use axum::http::{Method, StatusCode};

/// A site with one of everything that a template names.
struct Fixture {
    site: TestSite,
    subnet: String,
    port_list: String,
    scanner: String,
}

impl Fixture {
    async fn new() -> Self {
        let site = TestSite::new().await;
        let subnet = made(&site, "/subnets", &json!({ "name": "Lab", "cidr": "10.0.0.0/24" })).await;
        let port_list = made(&site, "/port-lists", &json!({ "name": "Web", "ports": "80,443" })).await;
        let scanner = scanner(&site).await;
        Self { site, subnet, port_list, scanner }
    }

    /// A template's input; `with` replaces fields of it.
    fn template(&self, with: Value) -> Value {
        let mut input = json!({
            "name": "Weekly", "subnets": [self.subnet], "port_lists": [self.port_list], "scanners": [self.scanner],
        });
        for (key, value) in with.as_object().unwrap() {
            input[key] = value.clone();
        }
        input
    }

    async fn make_template(&self, with: Value) -> String {
        made(&self.site, "/templates", &self.template(with)).await
    }
}

/// Makes a thing and gives its id.
async fn made(site: &TestSite, path: &str, body: &Value) -> String {
    let answer = site.send_json(Method::POST, path, body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{path} {body}: {}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// A vantage and a scanner in it, without the ceremony of an enrolment.
async fn scanner(site: &TestSite) -> String {
    let (vantage, scanner) = (site.app.ids.new().to_string(), site.app.ids.new().to_string());
    let id = scanner.clone();
    site.app
        .store
        .change(&Actor::system("test"), move |tx| {
            tx.execute_batch(&format!(
                "INSERT INTO vantage (id, name, created_at, updated_at) VALUES ('{vantage}', 'Cell', 0, 0);
                 INSERT INTO scanner (id, name, vantage, created_at, updated_at) VALUES ('{id}', 'probe-1', '{vantage}', 0, 0)"
            ))?;
            Ok((Entry::event("test.made", &()), ()))
        })
        .await
        .unwrap();
    scanner
}

/// How many entries the audit has: a refused change adds none.
async fn entries(site: &TestSite) -> u64 {
    site.app.store.audit_head().await.unwrap().seq
}

/// A JSON body with the version that was read as `If-Match`.
async fn if_match(site: &TestSite, method: Method, path: &str, version: i64, body: &Value) -> Answered {
    let etag = format!("\"{version}\"");
    let body = ("application/json", body.to_string().into_bytes());
    site.send_with(method, path, "application/json", &[("if-match", &etag)], Some(body)).await
}

fn names(answer: &Answered) -> Vec<String> {
    let page = answer.json();
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{} {}", answer.status, answer.text));
    items.iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
}
