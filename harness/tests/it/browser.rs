//! `report.html` in a real browser, as a reader has it: from disk, with mouse and keyboard, on screens of any width, in
//! both themes, and on paper.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use self::driver::Browser;
use self::run_dir::Made;
use crate::support::{output, said};

mod driver;
#[path = "../../examples/support/run_dir.rs"]
mod run_dir;

const CHECKS: &str = include_str!("browser/checks.js");
const WIDTHS: [u32; 3] = [390, 1280, 1920];
/// What a name from outside may try.
const HOSTILE: &str = "</script><script>document.title='taken'</script><img src=x onerror=alert(1)>";

/// The page of a run directory, drawn anew.
fn drawn(run: &Path) -> PathBuf {
    let output = output(&["report", &run.display().to_string()]);
    assert!(output.status.success(), "{}", said(&output));
    run.join("report.html")
}

/// The published example, drawn by this build.
fn example(folder: &Path) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../reports/example");
    for name in ["run.json", "verdict.json", "samples.csv", "events.csv"] {
        fs::copy(from.join(name), folder.join(name)).unwrap();
    }
    drawn(folder)
}

/// A run that was killed while it wrote, with all that can be awkward.
fn awkward(folder: &Path) -> PathBuf {
    let long = |number: u32| format!("a-target-whose-name-nobody-wanted-to-be-as-long-as-it-is-{number:03}");
    let mut targets: Vec<(String, f64)> =
        (0..18).map(|number| (long(number), f64::from(number % 3))).collect();
    targets.push((HOSTILE.to_owned(), 43.0));
    targets.push(("界".repeat(30), 700.0));
    let made = Made { targets, load_s: 400, faults: 200, words: HOSTILE.to_owned() };
    made.write(folder).unwrap();
    for name in ["samples.csv", "events.csv", "fds.csv"] {
        let mut file = OpenOptions::new().append(true).open(folder.join(name)).unwrap();
        file.write_all(b"519.0,\"torn").unwrap();
    }
    drawn(folder)
}

/// A run that was killed before anybody was looked at.
fn empty(folder: &Path) -> PathBuf {
    let targets = vec![("pool".to_owned(), 0.0)];
    Made { targets, load_s: 0, faults: 0, words: String::new() }.write(folder).unwrap();
    for name in ["samples.csv", "events.csv", "fds.csv", "tasks.csv", "threads.csv", "watches.csv"] {
        fs::write(folder.join(name), "").unwrap();
    }
    drawn(folder)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_opens_from_disk_without_an_error_or_a_request() {
    let browser = Browser::start().await;
    for page in [example, awkward, empty] {
        let folder = tempfile::tempdir().unwrap();
        let page = page(folder.path());
        browser.open(&page).await;
        let complaints = browser.driver.get_log("browser").await.unwrap();
        assert!(complaints.is_empty(), "{}: {complaints:?}", page.display());
        let title = browser.driver.title().await.unwrap();
        assert!(title.ends_with("Flatline"), "{title}");
        let requests = requests(&browser).await;
        assert_eq!(requests, [format!("file://{}", page.display())]);
    }
    browser.quit().await;
}

/// Addresses that the browser asked for since it was asked last.
async fn requests(browser: &Browser) -> Vec<String> {
    let log = browser.driver.get_log("performance").await.unwrap();
    let messages = log.iter().map(|entry| serde_json::from_str::<Value>(&entry.message).unwrap());
    let sent = messages.filter(|it| it["message"]["method"] == "Network.requestWillBeSent");
    sent.map(|it| it["message"]["params"]["request"]["url"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_reader_is_served_at_every_width_in_both_themes() {
    let browser = Browser::start().await;
    for page in [example, awkward, empty] {
        let folder = tempfile::tempdir().unwrap();
        let page = page(folder.path());
        for width in WIDTHS {
            browser.width(width).await;
            for theme in ["light", "dark"] {
                browser.looks(theme, "screen").await;
                browser.open(&page).await;
                browser
                    .ask("document.querySelectorAll('details').forEach((it) => { it.open = true; })")
                    .await;
                let mut faults = browser.ask(CHECKS).await.as_array().unwrap().clone();
                if fs::metadata(&page).unwrap().len() < 60_000 {
                    // A page of nothing has few words.
                    faults.retain(|fault| !fault.as_str().unwrap().starts_with("only"));
                }
                assert!(faults.is_empty(), "{width} {theme}: {faults:#?}");
            }
        }
    }
    browser.quit().await;
}

/// Where a plot's field begins and ends in the window, and its middle height; scrolled into view.
async fn field(browser: &Browser, figure: &str) -> (f64, f64, f64) {
    let script = format!(
        "const figure = document.querySelector({figure:?}); figure.scrollIntoView({{ block: 'center' }}); \
         const box = figure.querySelector('svg.wide .field rect').ownerSVGElement; \
         const [x, y, width, height] = box.getAttribute('viewBox').split(' ').map(Number); \
         const matrix = figure.querySelector('svg.wide').getScreenCTM(); \
         const at = (x, y) => new DOMPoint(x, y).matrixTransform(matrix); \
         return [at(x, y).x, at(x + width, y).x, at(x, y + height / 2).y]"
    );
    let found = browser.ask(&script).await;
    let [left, right, middle] = [0, 1, 2].map(|place| found[place].as_f64().unwrap());
    (left, right, middle)
}

const FDS: &str = "figure[data-resource=fds]";

#[tokio::test(flavor = "multi_thread")]
async fn a_plot_answers_the_mouse_and_the_keyboard() {
    let folder = tempfile::tempdir().unwrap();
    let page = example(folder.path());
    let browser = Browser::start().await;
    browser.width(1280).await;
    browser.open(&page).await;
    let readout = format!("{FDS} .readout");
    let hint = browser.words(&readout).await;
    assert!(hint.contains("drag to zoom"), "{hint}");

    // Near the end of the run: the leak is there, and who is flat is not above it.
    let (left, right, middle) = field(&browser, FDS).await;
    browser.mouse("mouseMoved", (left + (right - left) * 0.9, middle)).await;
    let values = browser.words(&readout).await;
    for wanted in ["03:4", "load", "pool ", "hybrid ", "archived +"] {
        assert!(values.contains(wanted), "{wanted}: {values}");
    }
    let marks = browser.ask(&format!("return document.querySelectorAll('{FDS} svg.wide .dot').length")).await;
    assert!(marks.as_u64() >= Some(3), "{marks}");

    // Dragged over the last quarter: the axis shows it, in every plot; and back.
    let times = format!("{FDS} svg.wide .times");
    let counts = format!("{FDS} svg.wide .counts");
    let before = (browser.words(&times).await, browser.words(&counts).await);
    browser.mouse("mousePressed", (left + (right - left) * 0.70, middle)).await;
    browser.mouse("mouseMoved", (left + (right - left) * 0.80, middle)).await;
    browser.mouse("mouseMoved", (left + (right - left) * 0.90, middle)).await;
    browser.mouse("mouseReleased", (left + (right - left) * 0.90, middle)).await;
    let zoomed = (browser.words(&times).await, browser.words(&counts).await);
    assert!(zoomed.0 != before.0 && zoomed.1 != before.1, "{before:?} {zoomed:?}");
    assert!(zoomed.0.contains("03:00") && !zoomed.0.contains("01:00"), "{zoomed:?}");
    assert_eq!(browser.words("figure[data-resource=tasks] svg.wide .times").await, zoomed.0);
    let span = browser.words("#span").await;
    assert!(span.starts_with("02:5") && span.contains("to 03:4"), "{span}");
    browser.ask("document.querySelector('[data-do=all]').click()").await;
    assert_eq!((browser.words(&times).await, browser.words(&counts).await), before);

    // The same by keys.
    browser.ask(&format!("document.querySelector('{FDS}').focus()")).await;
    browser.press("End").await;
    let last = browser.words(&readout).await;
    browser.press("ArrowLeft").await;
    let earlier = browser.words(&readout).await;
    assert!(
        last.contains("archived +") && earlier.contains("archived +") && last != earlier,
        "{last} {earlier}"
    );
    browser.press("+").await;
    assert_ne!(browser.words(&times).await, before.0);
    browser.press("0").await;
    assert_eq!(browser.words(&times).await, before.0);
    browser.press("Escape").await;
    assert_eq!(browser.words(&readout).await, hint);
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn targets_are_shown_or_not_together_or_apart() {
    let folder = tempfile::tempdir().unwrap();
    let page = example(folder.path());
    let browser = Browser::start().await;
    browser.width(1280).await;
    browser.open(&page).await;
    let counts = format!("{FDS} svg.wide .counts");
    let all = browser.words(&counts).await;
    let lines = format!(
        "return [...document.querySelectorAll('{FDS} svg.wide .samples')] \
         .filter((it) => getComputedStyle(it.parentElement).display !== 'none').length"
    );
    let before = browser.ask(&lines).await.as_u64().unwrap();
    // Without the one that leaks the others fill the plot.
    browser.ask("document.querySelector('[data-show=\"2\"]').click()").await;
    assert!(browser.ask(&lines).await.as_u64().unwrap() < before);
    assert_ne!(browser.words(&counts).await, all);
    browser.ask("document.querySelector('[data-show=\"2\"]').click()").await;
    assert_eq!(browser.words(&counts).await, all);

    let pictures = format!(
        "return [...document.querySelectorAll('{FDS} svg[role=img]')].filter((it) => it.checkVisibility()).length"
    );
    assert_eq!(browser.ask(&pictures).await, 1);
    browser.ask("document.getElementById('apart').click()").await;
    assert_eq!(browser.ask(&pictures).await, 3);
    let label = format!("return document.querySelector('{FDS} .apart svg').getAttribute('aria-label')");
    assert_eq!(browser.ask(&label).await, "File descriptors of pool alone since the load began, over time");
    let faults = browser.ask(CHECKS).await;
    assert_eq!(faults, serde_json::json!([]));
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_theme_is_the_systems_until_the_reader_chooses_and_paper_is_light_and_whole() {
    let folder = tempfile::tempdir().unwrap();
    let page = example(folder.path());
    let browser = Browser::start().await;
    let ground = "return getComputedStyle(document.body).backgroundColor";
    let (light, dark) = ("rgb(246, 248, 250)", "rgb(13, 17, 23)");
    browser.looks("dark", "screen").await;
    browser.open(&page).await;
    assert_eq!(browser.ask(ground).await, dark);
    for (wanted, colour) in [("light", light), ("dark", dark), ("auto", dark), ("light", light)] {
        browser.ask("document.getElementById('theme').click()").await;
        assert_eq!(browser.words("#theme").await, format!("Theme: {wanted}"));
        assert_eq!(browser.ask(ground).await, colour, "{wanted}");
    }
    // It is remembered.
    browser.open(&page).await;
    assert_eq!(browser.ask(ground).await, light);

    // Zoomed in, apart and dark; printed all the same as it was drawn.
    browser.ask("document.getElementById('theme').click()").await;
    browser.ask("document.getElementById('apart').click()").await;
    browser.looks("dark", "print").await;
    assert_eq!(browser.ask("return getComputedStyle(document.body).color").await, "rgb(27, 31, 36)");
    let shown = |selector: &str| {
        format!(
            "return [...document.querySelectorAll({selector:?})].filter((it) => it.checkVisibility()).length"
        )
    };
    for hidden in ["#tools", "#theme", ".readout", "nav", ".apart"] {
        assert_eq!(browser.ask(&shown(hidden)).await, 0, "{hidden}");
    }
    assert_eq!(browser.ask(&shown("figure[data-resource] svg.wide")).await, 3);
    browser.quit().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_focus_goes_down_the_page_and_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let page = example(folder.path());
    let browser = Browser::start().await;
    browser.width(1280).await;
    browser.open(&page).await;
    browser
        .ask(
            "window.went = []; document.addEventListener('focusin', (event) => { const it = event.target; \
             const style = getComputedStyle(it); went.push([it, style.outlineStyle !== 'none' || it.tagName === 'SUMMARY']); });",
        )
        .await;
    for _ in 0..40 {
        browser.press("Tab").await;
    }
    let found = browser
        .ask(
            "const back = went.filter(([it], place) => place > 0 && !(went[place - 1][0].compareDocumentPosition(it) \
             & Node.DOCUMENT_POSITION_FOLLOWING)); \
             return [went.length, back.length, went.filter(([, seen]) => !seen).map(([it]) => it.outerHTML.slice(0, 80)), \
             went.some(([it]) => it.matches('#theme')), went.some(([it]) => it.matches('figure')), \
             went.some(([it]) => it.matches('[data-do]'))]",
        )
        .await;
    assert!(found[0].as_u64() >= Some(25), "{found}");
    // It may begin again at the top once, where the page has fewer stops.
    assert!(found[1].as_u64() <= Some(1), "{found}");
    assert_eq!(found[2], serde_json::json!([]), "a focus that nobody sees");
    assert_eq!([&found[3], &found[4], &found[5]], [true; 3], "{found}");
    browser.quit().await;
}

#[test]
fn a_killed_run_is_drawn_again_byte_for_byte_without_its_torn_lines() {
    let folder = tempfile::tempdir().unwrap();
    let page = awkward(folder.path());
    let files = ["report.html", "summary.md", "overview.png", "growth-fds.png"];
    let read = || files.map(|name| fs::read(folder.path().join(name)).unwrap());
    let before = read();
    let text = String::from_utf8(before[0].clone()).unwrap();
    assert!(text.contains("Cut short.") && text.contains("What became of its lines is not known"), "{text}");
    assert!(text.len() < 2_000_000, "{}", text.len());
    assert!(!folder.path().join("verdict.json").exists(), "what is raw stays as it was");
    drawn(folder.path());
    assert!(read() == before, "{} is another", page.display());
}
