//! The window learns from Loki: a refusal is paid for once, and what widens is used again.

use std::time::Duration;

use shipper::batch;
use shipper::clock::Clock;
use shipper::metrics::Metrics;
use shipper::window::{self, Policy};

use bytesize::ByteSize;

use crate::support::judge::{HOUR, JudgingLoki, Rules, SECOND};
use crate::support::program::sum;
use crate::support::rig::{NOW, Rig, Settings, dead, metric, named};

const MINUTE: i64 = 60 * SECOND;

/// A rig and its Loki, with one clock.
struct Stage {
    dir: tempfile::TempDir,
    loki: JudgingLoki,
    clock: Clock,
}

impl Stage {
    async fn new(rules: Rules) -> Self {
        let clock = Clock::manual(NOW);
        let loki = JudgingLoki::start(clock.clone(), rules).await;
        Self { dir: tempfile::tempdir().unwrap(), loki, clock }
    }

    async fn rig(&self, window: window::Config, batch_bytes: u64) -> Rig {
        let batch = batch::Config { max_bytes: ByteSize::b(batch_bytes), max_wait: Duration::from_millis(5) };
        let settings = Settings { window, batch, clock: self.clock.clone(), ..Settings::default() };
        Rig::with(self.dir.path(), &self.loki.url(), settings).await
    }

    fn dead(&self, reason: &str) -> Vec<String> {
        let mut lines: Vec<String> = dead(self.dir.path())
            .into_iter()
            .filter(|(why, _)| why == reason)
            .map(|(_, line)| line)
            .collect();
        lines.sort();
        lines
    }
}

/// Probes often enough for a test.
fn often() -> window::Config {
    window::Config { probe_every: Duration::from_millis(50), ..window::Config::default() }
}

fn never() -> window::Config {
    window::Config { probe_every: Duration::from_secs(86_400), ..window::Config::default() }
}

/// Everything is settled, nothing is left over, and Loki has hidden nothing.
fn assert_conserved(metrics: &Metrics, loki: &JudgingLoki) {
    assert_eq!((metrics.lines.in_flight(), metrics.lines.balance()), (0, 0), "{}", metrics.render().unwrap());
    assert_eq!(loki.hidden(), 0, "{:?}", loki.pushes());
    let delivered = metric(metrics, "shipper_lines_delivered_total");
    assert!(delivered <= loki.stored().len() as f64, "{delivered} are said to be delivered");
}

/// The metrics page as it was when all was settled.
async fn end(rig: Rig, loki: &JudgingLoki) -> String {
    rig.until("settled", |metrics| metrics.lines.in_flight() == 0).await;
    let metrics = rig.metrics.clone();
    let page = metrics.render().unwrap();
    rig.end().await;
    assert_conserved(&metrics, loki);
    page
}

#[tokio::test]
async fn a_replay_of_history_costs_one_rejected_push_and_then_none() {
    let stage = Stage::new(Rules { max_age: HOUR, ..Rules::default() }).await;
    // Small batches, so that many are queued and under way.
    let mut rig = stage.rig(never(), 1500).await;
    let containers = ['1', '2', '3', '4'].map(|digit| named(digit, &format!("web-{digit}")));
    let mut young = Vec::new();
    for minutes in (0..600).rev() {
        for container in &containers {
            let text = format!("{} {minutes:03}", container.name);
            rig.line_of(container, NOW - minutes * MINUTE, &text).await;
            if minutes < 60 {
                young.push(text);
            }
        }
    }
    let page = end(rig, &stage.loki).await;
    young.sort();
    assert_eq!(stage.loki.stored(), young);
    assert_eq!(stage.loki.refusals(), 1, "{:?}", stage.loki.pushes());
    assert!(stage.loki.pushes().len() > 10, "there were others");
    let (told, known) = (stage.dead("refused").len(), stage.dead("too_old").len());
    assert_eq!(told + known, 540 * 4);
    assert!(known > 500 * 4, "{told} were sent to learn of it");
    let learned = sum(&page, "shipper_window_max_age_seconds");
    assert!(learned <= 3600.0 && learned > 3580.0, "{learned}");
    assert_eq!(sum(&page, "shipper_window_streams "), 4.0);
}

#[tokio::test]
async fn old_lines_under_the_policy_to_drop_are_skipped_and_counted_once_the_limit_is_known() {
    let stage = Stage::new(Rules { max_age: HOUR, ..Rules::default() }).await;
    let mut rig = stage.rig(window::Config { too_old: Policy::Drop, ..never() }, 1500).await;
    rig.line(NOW - 2 * HOUR, "learns").await;
    rig.until("learned", |metrics| metric(metrics, "shipper_window_max_age_seconds") < 3600.0).await;
    for _ in 0..50 {
        rig.line(NOW - 2 * HOUR, "skipped").await;
    }
    let page = end(rig, &stage.loki).await;
    assert_eq!(stage.loki.pushes().len(), 1);
    assert_eq!(sum(&page, "shipper_lines_skipped_total{reason=\"too_old\"}"), 50.0);
    assert_eq!(stage.dead("refused"), ["learns"]);
}

#[tokio::test]
async fn a_sink_that_widens_gets_the_lines_again() {
    let stage = Stage::new(Rules { max_age: HOUR, ..Rules::default() }).await;
    let mut rig = stage.rig(often(), 1500).await;
    rig.line(NOW - 2 * HOUR, "learns").await;
    rig.until("learned", |metrics| metric(metrics, "shipper_window_max_age_seconds") < 3600.0).await;
    stage.loki.change(|rules| rules.max_age = 3 * HOUR);
    let mut sent = 1;
    while metric(&rig.metrics, "shipper_window_max_age_seconds") < 3600.0 {
        rig.line(NOW - 2 * HOUR + sent, "asks").await;
        sent += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(sent < 5000, "never forgotten");
    }
    assert_eq!(metric(&rig.metrics, "shipper_window_max_age_seconds"), 7.0 * 86_400.0);
    for number in 0..20 {
        rig.line(NOW - 2 * HOUR + 5000 + number, "again").await;
    }
    let page = end(rig, &stage.loki).await;
    let stored = stage.loki.stored();
    let count = |text: &str| stored.iter().filter(|line| *line == text).count();
    assert_eq!(count("again"), 20);
    // Beside the probes only lines that were behind them in the queue when the limit was forgotten.
    let probes = sum(&page, "shipper_window_probes_total");
    assert!(probes >= 1.0 && (count("asks") as f64) < probes + 10.0, "{probes} of {sent}");
    assert_eq!(stage.loki.refusals(), 1);
}

#[tokio::test]
async fn while_a_limit_stays_only_a_line_now_and_then_asks_for_it() {
    let stage = Stage::new(Rules { max_age: HOUR, ..Rules::default() }).await;
    let mut rig = stage.rig(often(), 1500).await;
    rig.line(NOW - 2 * HOUR, "learns").await;
    rig.until("learned", |metrics| metric(metrics, "shipper_window_max_age_seconds") < 3600.0).await;
    let mut sent = 1;
    while stage.loki.refusals() < 3 {
        rig.line(NOW - 2 * HOUR + sent, "old").await;
        sent += 1;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert!(sent < 20_000, "it asks too seldom");
    }
    end(rig, &stage.loki).await;
    assert!(stage.loki.pushes().iter().skip(1).all(|push| push.lines == 1), "{:?}", stage.loki.pushes());
    assert_eq!(stage.dead("too_old").len() + stage.dead("refused").len(), usize::try_from(sent).unwrap());
    assert_eq!(stage.dead("refused").len(), stage.loki.refusals());
}

#[tokio::test]
async fn a_sink_that_narrows_during_the_run_is_obeyed_from_its_first_refusal_on() {
    let stage = Stage::new(Rules::default()).await;
    let mut rig = stage.rig(never(), 1500).await;
    for number in 0..100 {
        rig.line(NOW - 2 * HOUR + number, "wide").await;
    }
    rig.until("delivered", |metrics| metrics.lines.in_flight() == 0).await;
    stage.loki.change(|rules| rules.max_age = HOUR);
    rig.line(NOW - 2 * HOUR + 100, "told").await;
    rig.until("learned", |metrics| metric(metrics, "shipper_window_max_age_seconds") < 3600.0).await;
    for number in 0..100 {
        rig.line(NOW - 2 * HOUR + 200 + number, "known").await;
        rig.line_of(&named('2', "other"), NOW - HOUR / 2 + number, "young").await;
    }
    end(rig, &stage.loki).await;
    assert_eq!(stage.loki.stored().len(), 200);
    assert_eq!(stage.loki.refusals(), 1);
    assert_eq!((stage.dead("refused").len(), stage.dead("too_old").len()), (1, 100));
}

#[tokio::test]
async fn lines_from_the_future_are_refused_once_and_then_known() {
    let stage = Stage::new(Rules { max_future: MINUTE, ..Rules::default() }).await;
    let window = window::Config { too_new: Policy::DeadLetter, ..never() };
    let mut rig = stage.rig(window, 1500).await;
    for number in 0..200 {
        rig.line(NOW + number % 2 * 5 * MINUTE + number, if number % 2 == 0 { "now" } else { "future" })
            .await;
    }
    let page = end(rig, &stage.loki).await;
    assert_eq!(stage.loki.stored().len(), 100);
    assert_eq!(stage.loki.refusals(), 1);
    assert_eq!(stage.dead("refused").len() + stage.dead("too_new").len(), 100);
    assert!(sum(&page, "shipper_window_max_future_seconds") < 300.0);
}

#[tokio::test]
async fn what_is_too_far_behind_is_learned_for_its_stream_and_hidden_by_no_other() {
    let stage = Stage::new(Rules::default()).await;
    let (behind, other) = (named('1', "behind"), named('2', "other"));
    // Somebody wrote to this stream before us; the other sorts behind it and is clean.
    stage.loki.knows("behind", NOW);
    let mut rig = stage.rig(never(), 1 << 20).await;
    for number in 0..100 {
        rig.line_of(&behind, NOW - 3 * HOUR + number, "behind").await;
        rig.line_of(&other, NOW - 3 * HOUR + number, "other").await;
    }
    rig.until("settled", |metrics| metrics.lines.in_flight() == 0).await;
    assert_eq!(stage.loki.refusals(), 1, "{:?}", stage.loki.pushes());
    assert_eq!(metric(&rig.metrics, "shipper_window_floors"), 1.0);
    for number in 0..100 {
        rig.line_of(&behind, NOW - 2 * HOUR + number, "behind").await;
        rig.line_of(&behind, NOW - HOUR / 2 + number, "near").await;
        rig.line_of(&other, NOW - 2 * HOUR + number, "other").await;
    }
    let page = end(rig, &stage.loki).await;
    let stored = stage.loki.stored();
    let count = |text: &str| stored.iter().filter(|line| *line == text).count();
    assert_eq!((count("behind"), count("near"), count("other")), (0, 100, 200));
    assert_eq!(stage.loki.refusals(), 1, "{:?}", stage.loki.pushes());
    assert_eq!(stage.dead("refused").len() + stage.dead("too_far_behind").len(), 200);
    assert!(stage.dead("too_far_behind").len() >= 100);
    assert_eq!(sum(&page, "shipper_window_streams "), 2.0);
}

#[tokio::test]
async fn a_refusal_that_takes_the_place_of_another_streams_hides_no_loss() {
    let stage = Stage::new(Rules::default()).await;
    let containers = [named('3', "c"), named('1', "a"), named('2', "b")];
    let mut rig = stage.rig(never(), 1 << 20).await;
    for container in &containers {
        rig.line_of(container, NOW - 2 * HOUR, "proves").await;
    }
    rig.until("proven", |metrics| metrics.lines.in_flight() == 0).await;
    // Somebody else writes to two of these streams; of their refusals only the last comes back.
    stage.loki.knows("a", NOW);
    stage.loki.knows("b", NOW);
    for container in &containers {
        rig.line_of(container, NOW - 2 * HOUR + 1, &container.name).await;
    }
    end(rig, &stage.loki).await;
    assert_eq!(stage.loki.stored(), ["c", "proves", "proves", "proves"]);
    assert_eq!(stage.dead("refused"), ["a", "b"]);
}

#[tokio::test]
async fn a_floor_is_forgotten_when_loki_has_forgotten_the_stream() {
    let stage = Stage::new(Rules::default()).await;
    let behind = named('1', "behind");
    stage.loki.knows("behind", NOW);
    let mut rig = stage.rig(often(), 1500).await;
    rig.line_of(&behind, NOW - 3 * HOUR, "learns").await;
    rig.until("learned", |metrics| metric(metrics, "shipper_window_floors") == 1.0).await;
    stage.loki.knows("behind", NOW - 3 * HOUR);
    let mut sent = 1;
    while metric(&rig.metrics, "shipper_window_floors") == 1.0 {
        rig.line_of(&behind, NOW - 3 * HOUR + sent, "asks").await;
        sent += 1;
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert!(sent < 5000, "never forgotten");
    }
    rig.line_of(&behind, NOW - 3 * HOUR + 5000, "again").await;
    end(rig, &stage.loki).await;
    let stored = stage.loki.stored();
    assert!(stored.contains(&"again".to_owned()) && stored.contains(&"asks".to_owned()), "{stored:?}");
    assert_eq!((stage.dead("refused"), stage.loki.refusals()), (vec!["learns".to_owned()], 1));
}

#[tokio::test]
async fn history_that_spans_days_arrives_whole_though_loki_is_away_in_between() {
    let stage = Stage::new(Rules { away: 7, ..Rules::default() }).await;
    let mut rig = stage.rig(never(), 1500).await;
    let containers = [named('1', "a"), named('2', "b")];
    let mut all = Vec::new();
    for step in (0..240).rev() {
        for container in &containers {
            let text = format!("{} {step:03}", container.name);
            rig.line_of(container, NOW - step * HOUR / 2, &text).await;
            all.push(text);
        }
        if step == 100 {
            stage.loki.change(|rules| rules.away = 5);
        }
    }
    end(rig, &stage.loki).await;
    all.sort();
    assert_eq!(stage.loki.stored(), all);
    assert_eq!(stage.loki.refusals(), 0);
    assert_eq!(dead(stage.dir.path()), []);
}

#[tokio::test]
async fn two_containers_of_one_name_share_the_newest_line_of_their_stream() {
    let stage = Stage::new(Rules::default()).await;
    let (old, new) = (named('1', "web"), named('2', "web"));
    let mut rig = stage.rig(never(), 1500).await;
    rig.line_of(&new, NOW, "new").await;
    rig.line_of(&old, NOW - 2 * HOUR, "far behind").await;
    rig.line_of(&old, NOW - HOUR / 2, "near").await;
    let page = end(rig, &stage.loki).await;
    assert_eq!(stage.loki.stored(), ["near", "new"]);
    assert_eq!(stage.loki.refusals(), 0);
    assert_eq!(stage.dead("too_far_behind"), ["far behind"]);
    assert_eq!(sum(&page, "shipper_window_streams "), 1.0);
}

#[tokio::test]
async fn a_clock_that_is_set_by_an_hour_loses_and_repeats_nothing() {
    for forward in [true, false] {
        let stage = Stage::new(Rules { max_age: HOUR, ..Rules::default() }).await;
        let mut rig = stage.rig(never(), 1500).await;
        rig.line_of(&named('1', "old"), NOW - 2 * HOUR, "old").await;
        rig.until("learned", |metrics| metric(metrics, "shipper_window_max_age_seconds") < 3600.0).await;
        let mut expected = Vec::new();
        // Docker's clock is ours, and Loki's is set with it.
        for (round, step) in [0, 1, 0].into_iter().enumerate() {
            let now = NOW + if forward { step * HOUR } else { -step * HOUR };
            let by = Duration::from_nanos(stage.clock.now_ns().abs_diff(now));
            if now > stage.clock.now_ns() {
                stage.clock.advance(by)
            } else {
                stage.clock.set_back(by)
            }
            for number in 0..50 {
                let text = format!("{round} {number:02}");
                let time = now - MINUTE + i64::try_from(round).unwrap() * SECOND + number;
                rig.line_of(&named('2', "web"), time, &text).await;
                expected.push(text);
            }
            rig.until("settled", |metrics| metrics.lines.in_flight() == 0).await;
        }
        end(rig, &stage.loki).await;
        assert_eq!(stage.dead("refused"), ["old"], "forward: {forward}");
        assert_eq!(stage.loki.stored(), expected, "forward: {forward}");
        assert_eq!(dead(stage.dir.path()).len(), 1);
        assert_eq!(
            stage.loki.pushes().iter().map(|push| push.lines).sum::<usize>(),
            151,
            "each is sent once"
        );
    }
}

#[tokio::test]
async fn a_clock_of_ours_that_runs_ahead_costs_one_rejected_push_and_then_lines_are_judged_by_lokis() {
    let stage = Stage::new(Rules::default()).await;
    let window = window::Config { too_new: Policy::Clamp, ..never() };
    let ours = Clock::manual(NOW + HOUR);
    let batch = batch::Config { max_bytes: ByteSize::b(1500), max_wait: Duration::from_millis(5) };
    let settings = Settings { window, batch, clock: ours.clone(), ..Settings::default() };
    let mut rig = Rig::with(stage.dir.path(), &stage.loki.url(), settings).await;
    for number in 0..100 {
        rig.line(NOW + HOUR + number, "ahead").await;
    }
    rig.until("settled", |metrics| metrics.lines.in_flight() == 0).await;
    for number in 100..200 {
        rig.line(NOW + HOUR + number, "ahead").await;
    }
    rig.until("settled", |metrics| metrics.lines.in_flight() == 0).await;
    assert_eq!(stage.loki.refusals(), 1, "{:?}", stage.loki.pushes());
    rig.until("told", |metrics| metric(metrics, "shipper_loki_clock_ahead_seconds") < -3590.0).await;
    // What was queued by our clock is refused, or known to be; what comes later is clamped to what Loki takes.
    let dead = || stage.dead("refused").len() + stage.dead("too_new").len();
    assert_eq!((stage.loki.stored().len(), dead()), (100, 100));
    ours.set_back(Duration::from_secs(3600));
    for number in 0..100 {
        rig.line_of(&named('2', "other"), NOW + number, "right").await;
    }
    end(rig, &stage.loki).await;
    assert_eq!((stage.loki.stored().len(), dead()), (200, 100));
    assert_eq!(stage.loki.refusals(), 1, "{:?}", stage.loki.pushes());
}

/// Loki's clock is right again after a while, and nobody has to restart anything.
#[tokio::test]
async fn a_clock_of_lokis_that_is_off_for_a_while_costs_only_the_lines_of_that_while() {
    for off in [-2 * HOUR, 2 * HOUR] {
        let lokis = Clock::manual(NOW + off);
        let stage = Stage::new(Rules { max_age: HOUR, ..Rules::default() }).await;
        let loki = JudgingLoki::start(lokis.clone(), Rules { max_age: HOUR, ..Rules::default() }).await;
        let window =
            window::Config { max_age: Duration::from_secs(3000), too_new: Policy::DeadLetter, ..never() };
        let batch = batch::Config { max_bytes: ByteSize::b(1500), max_wait: Duration::from_millis(5) };
        let settings = Settings { window, batch, clock: stage.clock.clone(), ..Settings::default() };
        let mut rig = Rig::with(stage.dir.path(), &loki.url(), settings).await;
        for number in 0..100 {
            rig.line(NOW + number, &format!("off {number:02}")).await;
        }
        rig.until("settled", |metrics| metrics.lines.in_flight() == 0).await;
        assert!(loki.stored().is_empty() && loki.refusals() < 5, "{off}: {:?}", loki.pushes());
        if off > 0 {
            lokis.set_back(Duration::from_secs(7200))
        } else {
            lokis.advance(Duration::from_secs(7200))
        }
        // A line now and then asks; the first that is taken ends it.
        let mut sent = 0;
        while loki.stored().len() < 50 {
            rig.line(NOW + 1000 + sent, &format!("right {sent:06}")).await;
            rig.until("settled", |metrics| metrics.lines.in_flight() == 0).await;
            sent += 1;
        }
        let dead = stage.dead("too_old").len() + stage.dead("too_new").len() + stage.dead("refused").len();
        assert_eq!(i64::try_from(dead).unwrap(), 100 + sent - 50, "{off}");
        end(rig, &loki).await;
    }
}
