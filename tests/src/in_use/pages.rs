//! The list of every page: its name, where it is, who looks, and what is done there first.

use std::collections::BTreeMap;

use super::InUse;
use crate::browser::Browser;
use crate::client::Client;

/// Who looks at a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Who {
    /// Nobody who is known.
    Visitor,
    /// The password was right, a code is asked for.
    Half,
    /// The password was right, another is due.
    Due,
    /// The password was right, a second factor must be set up.
    Bare,
    /// Someone who may look at little.
    Viewer,
    /// Someone with an authenticator app.
    WithApp,
    /// The owner.
    Owner,
}

/// A page as somebody sees it.
pub struct Page {
    /// For a file's name.
    pub name: &'static str,
    /// Where it is.
    pub path: String,
    /// As whom.
    pub who: Who,
    act: Act,
}

enum Act {
    Look,
    /// Fills in these fields and sends the form in the page's middle.
    Send(Vec<(&'static str, String)>),
    /// Presses the button or link with this label, and comes to another page.
    Follow(&'static str),
    /// Opens what is closed: help, details, menus.
    Open,
}

impl Page {
    /// Goes there and does what comes first.
    pub fn open(&self, browser: &Browser) {
        browser.goto(&self.path);
        match &self.act {
            Act::Look => {}
            Act::Send(fields) => {
                for (name, text) in fields {
                    browser.put(name, text);
                }
                browser.send_form();
            }
            Act::Follow(label) => browser.follow(label),
            Act::Open => {
                browser.run("document.querySelectorAll('details').forEach(one => one.open = true)");
            }
        }
    }
}

impl InUse {
    /// The cookies of someone's session, who has just said the password again.
    pub fn cookies(&self, who: Who) -> BTreeMap<String, String> {
        match who {
            Who::Visitor => BTreeMap::new(),
            Who::Half => self.people.half.clone(),
            Who::Due => self.people.due.clone(),
            Who::Bare => self.people.bare.clone(),
            Who::Viewer => self.people.viewer.clone(),
            Who::WithApp => proved(&self.people.with_app, super::people::PASSWORD),
            Who::Owner => proved(&self.owner, &self.password),
        }
    }
}

fn proved(client: &Client, password: &str) -> BTreeMap<String, String> {
    super::prove(client, password);
    client.cookies()
}

struct List(Vec<Page>);

impl List {
    fn put(&mut self, who: Who, name: &'static str, path: impl Into<String>, act: Act) {
        self.0.push(Page { name, path: path.into(), who, act });
    }

    fn look(&mut self, name: &'static str, path: impl Into<String>) {
        self.put(Who::Owner, name, path, Act::Look);
    }

    fn send(&mut self, name: &'static str, path: impl Into<String>, fields: &[(&'static str, &str)]) {
        let fields = fields.iter().map(|(field, text)| (*field, (*text).to_owned())).collect();
        self.put(Who::Owner, name, path, Act::Send(fields));
    }
}

pub(super) fn all(there: &InUse) -> Vec<Page> {
    let mut list = List(Vec::new());
    before(&mut list, there);
    scope(&mut list, there);
    seen(&mut list, there);
    identity(&mut list, there);
    audit(&mut list, there);
    odd(&mut list, there);
    // One session after the other.
    list.0.sort_by_key(|page| page.who);
    list.0
}

/// Before and during sign-in.
fn before(list: &mut List, there: &InUse) {
    let people = &there.people;
    list.put(Who::Visitor, "sign-in", "/sign-in", Act::Look);
    let wrong = vec![("name", "owner".to_owned()), ("password", "not this one".to_owned())];
    list.put(Who::Visitor, "sign-in-wrong", "/sign-in", Act::Send(wrong));
    list.put(Who::Visitor, "reset", format!("/reset/{}", people.link), Act::Look);
    let weak = vec![("password", "Password1234!".to_owned()), ("password_again", "Password1234!".to_owned())];
    list.put(Who::Visitor, "reset-weak", format!("/reset/{}", people.link), Act::Send(weak));
    list.put(Who::Visitor, "reset-gone", "/reset/AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", Act::Look);
    list.put(Who::Visitor, "docs-visitor", "/docs/index", Act::Look);
    list.put(Who::Visitor, "error-404-visitor", "/no/such/page", Act::Look);
    list.put(Who::Half, "second-factor", "/sign-in/second-factor", Act::Look);
    list.put(
        Who::Half,
        "second-factor-wrong",
        "/sign-in/second-factor",
        Act::Send(vec![("code", "000000".into())]),
    );
    list.put(Who::Due, "new-password", "/sign-in/new-password", Act::Look);
    list.put(Who::Bare, "second-factor-none", "/sign-in/second-factor", Act::Look);
    list.put(
        Who::Bare,
        "second-factor-app",
        "/sign-in/second-factor",
        Act::Follow("Set up an authenticator app"),
    );
}

fn scope(list: &mut List, there: &InUse) {
    let ids = &there.ids;
    list.look("overview", "/");
    list.look("search", "/search?q=10.20");
    list.look("search-none", "/search?q=nothing-like-it");
    list.look("search-empty", "/search");
    for (noun, path, one, unused) in [
        ("subnet", "/subnets", &ids.subnet, &ids.subnet_unused),
        ("port-list", "/port-lists", &ids.port_list, &ids.port_list_unused),
        ("template", "/templates", &ids.template, &ids.template_unused),
        ("exclusion", "/exclusions", &ids.exclusion, &ids.exclusion),
    ] {
        let name = |what: &str| -> &'static str { Box::leak(format!("{noun}-{what}").into_boxed_str()) };
        list.look(name("list"), path);
        list.look(name("list-none"), format!("{path}?q=nothing-like-it"));
        list.look(name("new"), format!("{path}/new"));
        list.send(name("new-wrong"), format!("{path}/new"), &[]);
        list.look(name("show"), format!("{path}/{one}"));
        list.look(name("edit"), format!("{path}/{one}/edit"));
        list.look(name("delete"), format!("{path}/{unused}/delete"));
    }
    list.send("subnet-new-odd", "/subnets/new", &[("name", "Plant"), ("cidr", "10.7.0.1/16")]);
    list.look("subnet-delete-used", format!("/subnets/{}/delete", ids.subnet_busy));
    list.look("template-delete-used", format!("/templates/{}/delete", ids.template_busy));
    list.look("vantage-list", "/vantages");
    list.look("vantage-new", "/vantages/new");
    list.look("vantage-show", format!("/vantages/{}", ids.vantage));
    list.look("vantage-edit", format!("/vantages/{}/edit", ids.vantage));
    list.look("vantage-delete-used", format!("/vantages/{}/delete", ids.vantage));
    list.look("scanner-list", "/scanners");
    list.look("scanner-new", "/scanners/new");
    list.send("scanner-new-wrong", "/scanners/new", &[("binding", "somewhere")]);
    list.look("scanner-show", format!("/scanners/{}", ids.scanner));
    list.look("scanner-show-never", format!("/scanners/{}", ids.scanner_unused));
    list.look("scanner-show-revoked", format!("/scanners/{}", ids.scanner_revoked));
    list.look("scanner-edit", format!("/scanners/{}/edit", ids.scanner));
    list.look("scanner-revoke", format!("/scanners/{}/revoke", ids.scanner));
    let again = format!("/scanners/{}", ids.scanner_unused);
    list.put(Who::Owner, "scanner-enrol", again, Act::Follow("New enrolment line"));
}

/// Scans and what they saw.
fn seen(list: &mut List, there: &InUse) {
    let ids = &there.ids;
    list.look("scan-list", "/scans");
    list.look("scan-list-none", "/scans?state=failed");
    list.look("scan-new", "/scans/new");
    list.look("scan-show", format!("/scans/{}", there.scans.1));
    list.look("scan-show-running", format!("/scans/{}", ids.scan_running));
    list.look("scan-show-paused", format!("/scans/{}", ids.scan_paused));
    list.look("scan-show-queued", format!("/scans/{}", ids.scan_queued));
    list.look("scan-show-cancelled", format!("/scans/{}", ids.scan_cancelled));
    list.look("scan-cancel", format!("/scans/{}/cancel", ids.scan_running));
    list.look("hosts", format!("/scans/{}/hosts", there.scans.1));
    list.look("hosts-hints", format!("/scans/{}/hosts", ids.scan_hints));
    list.look("hosts-none", format!("/scans/{}/hosts?port=65000", there.scans.1));
    list.look("host", "/hosts/127.77.1.1");
    list.look("host-hints", format!("/scans/{}/hosts/127.0.0.1", ids.scan_hints));
    list.look("host-six", "/hosts/::1");
    list.look("host-never", "/hosts/10.99.99.99");
    list.look("diff", format!("/diff?a={}&b={}", there.scans.0, there.scans.1));
    list.look("diff-choose", "/diff");
    list.look("diff-same", format!("/diff?a={0}&b={0}", there.scans.1));
}

fn identity(list: &mut List, there: &InUse) {
    let (ids, people) = (&there.ids, &there.people);
    list.look("user-list", "/users");
    list.look("user-list-none", "/users?q=nobody-like-it");
    list.look("user-new", "/users/new");
    list.send("user-new-wrong", "/users/new", &[("name", "no spaces"), ("email", "nowhere")]);
    list.look("user-show", format!("/users/{}", people.grace));
    list.look("user-show-locked", format!("/users/{}", people.locked));
    list.look("user-show-disabled", format!("/users/{}", people.disabled));
    list.look("user-show-link", format!("/users/{}", people.link_out));
    list.look("user-show-service", format!("/users/{}", people.service));
    list.look("user-edit", format!("/users/{}/edit", people.grace));
    list.look("user-reset-ask", format!("/users/{}/reset", people.disabled));
    list.look("user-password-delete", format!("/users/{}/password/delete", people.locked));
    list.look("user-owner", format!("/users/{}/owner", people.grace));
    list.look("user-delete", format!("/users/{}/delete", people.disabled));
    list.look("user-factors", format!("/users/{}/second-factor", people.grace));
    list.put(
        Who::Owner,
        "user-reset-link",
        format!("/users/{}/reset", people.locked),
        Act::Follow("Make the link"),
    );
    list.look("role-list", "/roles");
    list.look("role-new", "/roles/new");
    list.send("role-new-wrong", "/roles/new", &[("name", "")]);
    list.look("role-show", format!("/roles/{}", ids.role_held));
    list.look("role-edit", format!("/roles/{}/edit", ids.role));
    list.look("role-delete", format!("/roles/{}/delete", ids.role));
    list.look("role-delete-held", format!("/roles/{}/delete", ids.role_held));
    list.put(Who::Owner, "role-show-open", format!("/roles/{}", ids.role_held), Act::Open);
    list.look("role-preview", "/roles/preview?name=Night&scopes=scans:view&scopes=results:view");
    list.look("access", "/access");
    list.look("token-list", "/tokens");
    list.look("token-list-all", "/tokens/all");
    list.look("token-new", "/tokens/new");
    list.send("token-new-wrong", "/tokens/new", &[("sources", "everywhere")]);
    list.look("token-show", format!("/tokens/{}", ids.token));
    list.look("token-show-revoked", format!("/tokens/{}", ids.token_revoked));
    list.look("token-revoke", format!("/tokens/{}/revoke", ids.token));
    list.look("statement-list", "/statements");
    list.look("statement-revoke", format!("/statements/{}/revoke", ids.statement));
    list.look("provider-list", "/providers");
    list.look("provider-new", "/providers/new");
    list.look("provider-show", format!("/providers/{}", ids.provider));
    list.look("provider-edit", format!("/providers/{}/edit", ids.provider));
    list.look("provider-delete", format!("/providers/{}/delete", ids.provider));
    list.look("provider-local", "/providers/local");
    list.look("session-list", "/sessions");
    list.look("time", "/settings/time");
    list.look("session-limits", "/settings/sessions");
    list.look("session-limits-edit", "/settings/sessions/edit");
    list.send("session-limits-wrong", "/settings/sessions/edit", &[("idle_minutes", "1")]);
    list.look("prove", "/prove");
    list.look("account", "/account");
    list.look("account-password", "/account/password");
    list.look("account-password-delete", "/account/password/delete");
    list.look("account-factor", "/account/second-factor");
    list.put(Who::Owner, "account-app", "/account/second-factor", Act::Follow("Set up an app"));
    list.look("account-key-new", "/account/second-factor/keys/new");
    list.put(Who::WithApp, "account-with-app", "/account", Act::Look);
    list.put(Who::WithApp, "factor-with-app", "/account/second-factor", Act::Look);
    list.put(Who::WithApp, "factor-codes", "/account/second-factor", Act::Follow("Make new codes"));
    list.put(Who::WithApp, "factor-app-remove", "/account/second-factor/app/delete", Act::Look);
}

fn audit(list: &mut List, there: &InUse) {
    let ids = &there.ids;
    list.look("audit", "/audit");
    list.look("audit-refused", "/audit?outcome=refused");
    list.look("audit-history", format!("/audit?resource=subnet&resource_id={}", ids.subnet));
    list.look("audit-none", "/audit?q=nothing-like-it");
    list.look("audit-entry", format!("/audit/{}", ids.entry));
    list.put(Who::Owner, "audit-entry-open", format!("/audit/{}", ids.entry), Act::Open);
    list.look("audit-entry-detail", "/audit/1");
    list.look("audit-export", "/audit/export?class=change");
    list.look("compliance", "/audit/compliance");
    list.look("checkpoint-list", "/audit/checkpoints");
    list.look("checkpoint-show", format!("/audit/checkpoints/{}", ids.checkpoint));
    list.look("checkpoint-test", "/audit/checkpoints/test");
    list.put(Who::Owner, "checkpoint-tested", "/audit/checkpoints/test", Act::Follow("Check the chain"));
    list.send("checkpoint-test-wrong", "/audit/checkpoints/test", &[("checkpoint", "no such thing")]);
    list.look("receiver-list", "/receivers");
    list.look("receiver-new", "/receivers/new");
    list.send("receiver-new-wrong", "/receivers/new", &[("name", "X"), ("address", "nowhere")]);
    list.look("receiver-show", format!("/receivers/{}", ids.receiver));
    list.look("receiver-show-failing", format!("/receivers/{}", ids.receiver_failing));
    list.look("receiver-edit", format!("/receivers/{}/edit", ids.receiver));
    list.look("receiver-delete", format!("/receivers/{}/delete", ids.receiver_failing));
}

/// Errors, help, documentation.
fn odd(list: &mut List, there: &InUse) {
    list.put(Who::Viewer, "error-403", "/users", Act::Look);
    list.put(Who::Viewer, "overview-viewer", "/", Act::Look);
    list.look("error-404", "/subnets/01980000-0000-7000-8000-000000000000");
    list.look("error-422", "/audit?from=yesterday&cursor=x");
    let stale = vec![("version", "0".to_owned()), ("note", "Written by two at once.".to_owned())];
    list.put(Who::Owner, "error-stale", format!("/subnets/{}/edit", there.ids.subnet), Act::Send(stale));
    list.put(Who::Owner, "help-open", "/subnets", Act::Open);
    list.put(Who::Owner, "menu-open", format!("/scans/{}", there.scans.1), Act::Open);
    list.look("docs", "/docs");
    list.look("docs-page", "/docs/scope/templates");
    list.look("docs-frames", "/docs/formats/frames");
    list.look("docs-benchmarks", "/docs/benchmarks");
}
