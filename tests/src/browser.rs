//! A real browser: Chromium without a window, driven over the WebDriver protocol (W3C), with axe-core to judge pages.

use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::binaries;
use crate::http::{Endpoint, Request};
use crate::listeners::free_port;
use crate::process::Process;
use crate::wait::{PATIENCE, wait_until};

const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// How a window is set up.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Width in CSS pixels.
    pub width: u32,
    /// Height in CSS pixels.
    pub height: u32,
    /// What `prefers-color-scheme` says.
    pub dark: bool,
    /// Whether scripts run.
    pub scripts: bool,
}

impl Window {
    /// 1440 x 900, light, with scripts.
    pub const DESK: Window = Window { width: 1440, height: 900, dark: false, scripts: true };
    /// 390 x 844, light, with scripts.
    pub const PHONE: Window = Window { width: 390, height: 844, dark: false, scripts: true };

    /// The same in dark colours.
    #[must_use]
    pub const fn dark(self) -> Window {
        Window { dark: true, ..self }
    }

    /// The same with scripts switched off.
    #[must_use]
    pub const fn without_scripts(self) -> Window {
        Window { scripts: false, ..self }
    }
}

/// A browser with one window. Dropping it ends the browser and its driver.
pub struct Browser {
    driver: Process,
    endpoint: Endpoint,
    session: String,
    base: String,
    _profile: TempDir,
}

impl Browser {
    /// Opens a window; `base` is prefixed to every path that is opened.
    pub fn open(base: &str, window: Window) -> Browser {
        let profile = TempDir::with_prefix("portolan-browser-").expect("a temporary folder can be made");
        let port = free_port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}")).env("TMPDIR", profile.path());
        let mut driver = Process::start("chromedriver", &mut command, &profile.path().join("driver.log"));
        driver.line_after("ChromeDriver was started successfully", PATIENCE);
        let endpoint = Endpoint { address: ([127, 0, 0, 1], port).into(), tls: None };
        let wanted = capabilities(window, profile.path());
        let base = base.trim_end_matches('/').to_owned();
        let mut browser = Browser { driver, endpoint, session: String::new(), base, _profile: profile };
        let made = browser.call("POST", "/session", Some(&wanted));
        browser.session = made["sessionId"].as_str().expect("a session has an id").to_owned();
        // The window's own size includes its frame: ask for the page's.
        let metrics = json!({ "width": window.width, "height": window.height, "deviceScaleFactor": 1, "mobile": false });
        browser.devtools("Emulation.setDeviceMetricsOverride", &metrics);
        let scheme = if window.dark { "dark" } else { "light" };
        let features = json!({ "features": [
            { "name": "prefers-color-scheme", "value": scheme },
            { "name": "prefers-reduced-motion", "value": "reduce" },
        ] });
        browser.devtools("Emulation.setEmulatedMedia", &features);
        browser
    }

    /// Opens a path of the site, or a whole URL.
    pub fn goto(&self, path: &str) {
        let url = if path.starts_with('/') { format!("{}{path}", self.base) } else { path.to_owned() };
        self.command("POST", "/url", &json!({ "url": url }));
    }

    /// Path and query of the page shown.
    pub fn path(&self) -> String {
        let url = self.ask("/url");
        let url = url.as_str().unwrap_or_default();
        url.strip_prefix(&self.base).unwrap_or(url).to_owned()
    }

    /// The page's title.
    pub fn title(&self) -> String {
        self.ask("/title").as_str().unwrap_or_default().to_owned()
    }

    /// The text of the whole page, as it is shown. In one question to the browser: between two, a page that is
    /// being left takes the element away that the first had found.
    pub fn text(&self) -> String {
        let text = self.run("return document.body ? document.body.innerText : ''");
        text.as_str().unwrap_or_default().to_owned()
    }

    /// The text of the first element that the CSS selector finds, as it is shown.
    pub fn text_of(&self, selector: &str) -> String {
        let element = self.find(selector);
        self.ask(&format!("/element/{element}/text")).as_str().unwrap_or_default().to_owned()
    }

    /// Whether the CSS selector finds anything now.
    pub fn has(&self, selector: &str) -> bool {
        !self.find_all(selector).is_empty()
    }

    /// Clicks what the selector finds.
    pub fn click(&self, selector: &str) {
        let element = self.find(selector);
        self.command("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Clicks what the selector finds, and waits for the page that this leads to.
    pub fn submit(&self, selector: &str) {
        self.leave(|| self.click(selector));
    }

    /// Clicks the first link or button with this text, and waits for the page that this leads to.
    pub fn follow(&self, label: &str) {
        self.leave(|| self.press(label));
    }

    /// A mark on the page is gone when another page is there.
    fn leave(&self, go: impl FnOnce()) {
        self.run("window.beforeLeaving = true");
        go();
        wait_until(&format!("another page than {}", self.path()), PATIENCE, || {
            let there = self.run("return !window.beforeLeaving && document.readyState === 'complete'");
            (there == Value::Bool(true)).then_some(())
        });
    }

    /// Clicks the first link or button with this text.
    pub fn press(&self, label: &str) {
        let path = format!(
            "//*[self::a or self::button or self::summary][normalize-space()={label:?} or @aria-label={label:?}]"
        );
        let found = self.locate("xpath", &path);
        let element =
            found.first().unwrap_or_else(|| panic!("no {label:?} on {}:\n{}", self.path(), self.text()));
        self.command("POST", &format!("/element/{element}/click"), &json!({}));
    }

    /// Types into the field of this name, replacing what it holds.
    pub fn fill(&self, name: &str, text: &str) {
        let element = self.find(&format!("[name=\"{name}\"]:not([type=hidden])"));
        self.command("POST", &format!("/element/{element}/clear"), &json!({}));
        self.command("POST", &format!("/element/{element}/value"), &json!({ "text": text }));
    }

    /// The value that the field of this name holds.
    pub fn value(&self, name: &str) -> String {
        let element = self.find(&format!("[name=\"{name}\"]:not([type=hidden])"));
        self.ask(&format!("/element/{element}/property/value")).as_str().unwrap_or_default().to_owned()
    }

    /// Sets the field of this name, a hidden one too.
    pub fn put(&self, name: &str, text: &str) {
        self.run(&format!("document.querySelector('main [name={name}]').value = {}", json!(text)));
    }

    /// Sends the page's form with whatever is in it: the server is to judge, not the browser.
    pub fn send_form(&self) {
        self.leave(|| {
            self.run(
                "const form = document.querySelector('main form[method=post]'); \
                 form.noValidate = true; form.requestSubmit()",
            );
        });
    }

    /// Waits until the page's text contains this.
    pub fn wait_for_text(&self, text: &str) {
        wait_until(&format!("{text:?} on the page"), PATIENCE, || self.text().contains(text).then_some(()));
    }

    /// Plugs in a security key that answers by itself and verifies its user.
    pub fn add_authenticator(&self) {
        let key = json!({
            "protocol": "ctap2", "transport": "usb", "hasResidentKey": true, "hasUserVerification": true,
            "isUserConsenting": true, "isUserVerified": true,
        });
        self.command("POST", "/webauthn/authenticator", &key);
    }

    /// Sets a cookie of the site shown, such as a session that a client made.
    pub fn set_cookie(&self, name: &str, value: &str) {
        let cookie = json!({ "name": name, "value": value, "path": "/", "secure": true, "httpOnly": true });
        self.command("POST", "/cookie", &json!({ "cookie": cookie }));
    }

    /// Forgets all cookies, and so the session.
    pub fn forget(&self) {
        let _ = self.call("DELETE", &format!("/session/{}/cookie", self.session), None);
    }

    /// Runs a script in the page (works with the page's own scripts switched off, too).
    pub fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", &json!({ "script": script, "args": [] }))
    }

    /// A picture of the page: the part in the window, as PNG.
    pub fn screenshot(&self) -> Vec<u8> {
        decode(self.ask("/screenshot").as_str())
    }

    /// A picture of the whole page, as far as it can be scrolled.
    pub fn whole(&self) -> Vec<u8> {
        let metrics = self.devtools("Page.getLayoutMetrics", &json!({}));
        let (width, height) =
            (&metrics["cssLayoutViewport"]["clientWidth"], &metrics["cssContentSize"]["height"]);
        let clip = json!({ "x": 0, "y": 0, "width": width, "height": height, "scale": 1 });
        let ask = json!({ "format": "png", "captureBeyondViewport": true, "clip": clip });
        decode(self.devtools("Page.captureScreenshot", &ask)["data"].as_str())
    }

    /// What is wrong with the page shown: what axe-core finds, what the browser complained about, what stands out
    /// beyond the window. Empty is good.
    pub fn findings(&self) -> Vec<String> {
        let mut findings = self.accessibility();
        findings.extend(self.complaints());
        if self.title().trim().is_empty() || self.text().contains("Something failed") {
            findings.push(format!("{}: {}", self.path(), self.text()));
        }
        let over = self.run("return document.documentElement.scrollWidth - innerWidth");
        if over.as_i64().is_some_and(|pixels| pixels > 0) {
            findings.push(format!("{}: {over} pixels wider than the window", self.path()));
        }
        findings
    }

    /// What axe-core finds wrong with the page, one line a finding; empty is good.
    pub fn accessibility(&self) -> Vec<String> {
        let axe = std::fs::read_to_string(axe()).unwrap_or_else(|error| {
            panic!("{} is not there ({error}): run `make setup`", axe().display());
        });
        // Through the DevTools protocol, because the page's own policy rightly forbids foreign scripts.
        self.devtools("Runtime.evaluate", &json!({ "expression": axe }));
        let ask = json!({
            "expression": "axe.run(document, { resultTypes: ['violations', 'incomplete'] }).then(r => r.violations)",
            "awaitPromise": true, "returnByValue": true,
        });
        let answer = self.devtools("Runtime.evaluate", &ask);
        let findings = answer["result"]["value"].as_array();
        let findings =
            findings.unwrap_or_else(|| panic!("axe-core did not run on {}: {answer}", self.path()));
        findings.iter().map(|finding| describe(finding, &self.path())).collect()
    }

    /// What the browser complained about since the last call: blocked scripts, failed loads, errors. That a form
    /// was answered with 422 is not among it.
    pub fn complaints(&self) -> Vec<String> {
        let log = self.command("POST", "/se/log", &json!({ "type": "browser" }));
        let refused = "the server responded with a status of 422";
        let severe = |entry: &&Value| {
            entry["level"] == "SEVERE"
                && !entry["message"].as_str().is_some_and(|text| text.contains(refused))
        };
        let entries = log.as_array().into_iter().flatten().filter(severe);
        entries.map(|entry| entry["message"].as_str().unwrap_or_default().to_owned()).collect()
    }

    /// The process id of the driver.
    pub fn driver(&self) -> u32 {
        self.driver.id()
    }

    fn find(&self, selector: &str) -> String {
        let found = self.find_all(selector).into_iter().next();
        found.unwrap_or_else(|| panic!("nothing is {selector} on {}:\n{}", self.path(), self.text()))
    }

    fn find_all(&self, selector: &str) -> Vec<String> {
        self.locate("css selector", selector)
    }

    fn locate(&self, using: &str, value: &str) -> Vec<String> {
        let found = self.command("POST", "/elements", &json!({ "using": using, "value": value }));
        let ids = found.as_array().into_iter().flatten().filter_map(|element| element[ELEMENT].as_str());
        ids.map(str::to_owned).collect()
    }

    fn devtools(&self, command: &str, params: &Value) -> Value {
        self.command("POST", "/goog/cdp/execute", &json!({ "cmd": command, "params": params }))
    }

    fn ask(&self, path: &str) -> Value {
        self.call("GET", &format!("/session/{}{path}", self.session), None)
    }

    fn command(&self, method: &str, path: &str, body: &Value) -> Value {
        self.call(method, &format!("/session/{}{path}", self.session), Some(body))
    }

    fn call(&self, method: &str, target: &str, body: Option<&Value>) -> Value {
        let mut request = Request::new(method, target);
        if let Some(body) = body {
            request = request.body("application/json", body.to_string());
        }
        let answer =
            self.endpoint.send(&request).unwrap_or_else(|error| panic!("{method} {target}: {error}"));
        let answer = answer.expect(200);
        answer.json()["value"].take()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            let _ = self.endpoint.send(&Request::new("DELETE", &format!("/session/{}", self.session)));
        }
        let _ = self.driver.stop(Duration::from_secs(5));
    }
}

fn capabilities(window: Window, profile: &std::path::Path) -> Value {
    let mut arguments = vec![
        "--headless=new".to_owned(),
        "--no-sandbox".into(),
        "--disable-gpu".into(),
        "--disable-quic".into(),
        "--disable-dev-shm-usage".into(),
        "--disable-background-networking".into(),
        "--disable-component-update".into(),
        "--disable-sync".into(),
        "--no-first-run".into(),
        "--hide-scrollbars".into(),
        "--lang=en".into(),
    ];
    arguments.push(format!("--user-data-dir={}", profile.join("profile").display()));
    arguments.push(format!("--window-size={},{}", window.width, window.height));
    let scripts = if window.scripts { 1 } else { 2 };
    json!({ "capabilities": { "alwaysMatch": {
        "browserName": "chrome",
        "acceptInsecureCerts": true,
        "goog:loggingPrefs": { "browser": "SEVERE" },
        "goog:chromeOptions": {
            "args": arguments,
            "prefs": { "profile.managed_default_content_settings.javascript": scripts },
        },
    } } })
}

fn describe(finding: &Value, path: &str) -> String {
    let nodes = finding["nodes"].as_array().into_iter().flatten();
    let nodes: Vec<String> = nodes.map(|node| format!("{} ({})", node["target"], node["html"])).collect();
    format!("{path}: {}: {} at {}", finding["id"], finding["help"], nodes.join(", "))
}

/// Where tools/test-setup.sh put axe-core.
fn axe() -> std::path::PathBuf {
    let pin = include_str!("../../tools/axe-core.sha256");
    let version = pin.trim_end().rsplit("axe-core-").next().and_then(|name| name.strip_suffix(".tgz"));
    binaries::cache().join("axe-core").join(version.expect("the pin names the archive")).join("axe.min.js")
}

fn decode(text: Option<&str>) -> Vec<u8> {
    let text = text.expect("a screenshot is a base64 text");
    base64::engine::general_purpose::STANDARD.decode(text).expect("a screenshot is a base64 text")
}
