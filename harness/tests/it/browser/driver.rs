//! A headless Chromium, driven through chromedriver, as a reader's browser.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use thirtyfour::prelude::{CapabilitiesHelper, ChromiumLikeCapabilities, DesiredCapabilities, WebDriver};

/// What a machine lacks, and what to do.
const NEEDED: &str = "the tests of the page need chromedriver and chromium in PATH \
                      (Debian: apt-get install chromium chromium-driver)";
/// Without a sandbox of its own: tests may run as root, and the page is ours.
const ARGUMENTS: [&str; 4] = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"];

/// A browser with one page.
pub(super) struct Browser {
    pub(super) driver: WebDriver,
    _chromedriver: Chromedriver,
}

/// Ended with the test.
struct Chromedriver(Child);

impl Drop for Chromedriver {
    fn drop(&mut self) {
        self.0.kill().unwrap_or_default();
        self.0.wait().unwrap();
    }
}

impl Browser {
    /// Starts one. A machine without it fails the test: a page that nobody has opened is not tested.
    pub(super) async fn start() -> Self {
        let child = Command::new("chromedriver").arg("--port=0").stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap_or_else(|error| panic!("can't start chromedriver: {error}; {NEEDED}"));
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let chromedriver = Chromedriver(child);
        let started = lines.find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        let port = started.unwrap_or_else(|| panic!("chromedriver ended before it listened; {NEEDED}"));
        let mut wanted = DesiredCapabilities::chrome();
        for argument in ARGUMENTS {
            wanted.add_arg(argument).unwrap();
        }
        wanted
            .set("goog:loggingPrefs".to_owned(), json!({ "browser": "ALL", "performance": "ALL" }))
            .unwrap();
        let driver = WebDriver::new(&format!("http://127.0.0.1:{port}"), wanted).await;
        let driver = driver.unwrap_or_else(|error| panic!("can't start chromium: {error}; {NEEDED}"));
        Self { driver, _chromedriver: chromedriver }
    }

    /// Opens a page from disk.
    pub(super) async fn open(&self, page: &Path) {
        self.driver.goto(format!("file://{}", page.display())).await.unwrap();
    }

    /// A command of the browser's own protocol.
    pub(super) async fn send(&self, method: &str, parameters: Value) -> Value {
        self.driver.cdp().send_raw(method, parameters).await.unwrap()
    }

    /// Screens of this width, which a window can't be made as narrow as.
    pub(super) async fn width(&self, width: u32) {
        let screen = json!({ "width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 600 });
        self.send("Emulation.setDeviceMetricsOverride", screen).await;
    }

    /// What the system asks for: `light` or `dark`; on a `screen` or in `print`.
    pub(super) async fn looks(&self, theme: &str, medium: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": theme }]);
        self.send("Emulation.setEmulatedMedia", json!({ "media": medium, "features": features })).await;
    }

    /// What a script in the page answers.
    pub(super) async fn ask(&self, script: &str) -> Value {
        self.driver.execute(script, Vec::new()).await.unwrap().json().clone()
    }

    /// The words of an element.
    pub(super) async fn words(&self, selector: &str) -> String {
        self.ask(&format!("return document.querySelector({selector:?}).textContent"))
            .await
            .as_str()
            .unwrap()
            .to_owned()
    }

    /// Presses keys, wherever the focus is.
    pub(super) async fn press(&self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let code = if key == "Tab" { 9 } else { 0 };
            let text = if key.len() == 1 && kind == "keyDown" { key } else { "" };
            let event = json!({ "type": kind, "key": key, "windowsVirtualKeyCode": code, "text": text });
            self.send("Input.dispatchKeyEvent", event).await;
        }
    }

    /// Moves, presses or releases the mouse at a place of the window.
    pub(super) async fn mouse(&self, kind: &str, (x, y): (f64, f64)) {
        let down = kind != "mouseMoved";
        let event = json!({
            "type": kind, "x": x, "y": y, "button": if down { "left" } else { "none" },
            "buttons": u8::from(kind == "mousePressed"), "clickCount": u8::from(down),
        });
        self.send("Input.dispatchMouseEvent", event).await;
    }

    pub(super) async fn quit(self) {
        self.driver.quit().await.unwrap();
    }
}
