//! Each answer of Loki, and each way not to answer, to the real program on the real Engine. After each of
//! them nothing is in flight, all that was read is accounted for, and each line is where that says.

use std::time::Duration;

use shipper::clock::Clock;
use tokio::time::{Instant, sleep};

use crate::support::numbered::Numbered;
use crate::support::program::{PATIENCE, Program, sum};
use crate::support::sink::Act;
use crate::support::stage::Stage;

const PAIRS: u64 = 10;
const LINES: usize = 20;

/// A shipper, a container, and what became of it all.
struct Case {
    stage: Stage,
    program: Program,
    writer: Numbered,
}

impl Case {
    async fn start(own: &[&str]) -> Self {
        let stage = Stage::new().await;
        let program = stage.start("hybrid", own).await;
        let writer = stage.writer("a").await;
        Self { stage, program, writer }
    }

    /// These acts meet the next pushes; the container writes, and all is settled.
    async fn after(acts: impl IntoIterator<Item = Act>) -> Told {
        let mut case = Self::start(&[]).await;
        case.stage.sink.next(acts);
        case.write().await;
        case.told().await
    }

    async fn write(&mut self) {
        self.writer.write(PAIRS).await;
    }

    /// Waits until all is settled; lines that have met an act which is still to come are more to write.
    async fn told(mut self) -> Told {
        loop {
            let page = self.stage.settled(&self.program, &self.stage.written([&self.writer])).await;
            if self.stage.sink.planned() == 0 {
                return Told { page, case: self };
            }
            self.write().await;
        }
    }
}

struct Told {
    page: String,
    case: Case,
}

impl Told {
    fn pushes(&self, status: &str) -> f64 {
        sum(&self.page, &format!("shipper_push_total{{status=\"{status}\"}}"))
    }

    /// All lines are at the sink, and none is in the dead letters; so many came again.
    fn assert_all_stored(&self, repeated: usize) {
        let stage = &self.case.stage;
        assert_eq!(stage.dead(), Vec::<String>::new());
        assert_eq!(stage.repeated(), repeated);
    }

    fn lines(&self) -> Vec<String> {
        self.case.stage.written([&self.case.writer])
    }
}

fn refuse(status: &'static str, body: &'static str) -> Act {
    Act::Refuse(status, &[], body)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_204_is_the_end_of_it() {
    let told = Case::after([Act::Store]).await;
    told.assert_all_stored(0);
    assert_eq!(sum(&told.page, "shipper_lines_delivered_total"), LINES as f64);
    assert_eq!(told.pushes("204"), sum(&told.page, "shipper_push_total"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_260_is_a_refusal_though_it_looks_like_success() {
    let told = Case::after([refuse("260 Blocked", "ingestion blocked\n")]).await;
    let dead = told.case.stage.dead();
    assert!(!dead.is_empty() && dead.iter().all(|line| !told.case.stage.sink.has(line)), "{dead:?}");
    assert_eq!(told.pushes("260"), 1.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_400_is_final_for_the_lines_that_it_names_and_the_others_are_stored() {
    // Both halves in one push, if this machine is quick.
    let mut case = Case::start(&["batch: {max_wait: 6s}"]).await;
    case.write().await;
    let old = case.stage.written([&case.writer]);
    // Loki's words have whole seconds: a line of the very second that they name counts as refused.
    let now = || Clock::system().now_ns() / 1_000_000_000;
    let edge = now() + 1;
    while now() <= edge {
        sleep(Duration::from_millis(50)).await;
    }
    case.stage.sink.mood(Act::StoreFrom(edge * 1_000_000_000));
    case.write().await;
    let told = case.told().await;
    let mut dead = told.case.stage.dead();
    dead.sort();
    let mut expected = old.clone();
    expected.sort();
    assert_eq!(dead, expected);
    assert!(told.lines().iter().all(|line| told.case.stage.sink.has(line) != old.contains(line)));
    assert_eq!(told.case.stage.sink.book(|book| book.too_old), old.len(), "a 400 is never sent again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_401_holds_everything_and_says_so_until_loki_lets_us_in() {
    let mut case = Case::start(&[]).await;
    case.stage.sink.mood(refuse("401 Unauthorized", "no org id\n"));
    case.write().await;
    case.program.until("/metrics", |page| sum(page, "shipper_push_total{status=\"401\"}") >= 5.0).await;
    let ready = case.program.page("/ready").await;
    assert!(ready.contains("Loki refuses us"), "{ready}");
    case.write().await;
    case.stage.sink.mood(Act::Store);
    let told = case.told().await;
    told.assert_all_stored(0);
    told.case.program.until("/ready", |page| page == "ready\n").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_413_is_halved_until_it_fits() {
    let mut case = Case::start(&[]).await;
    case.stage.sink.mood(Act::RefuseLarge(3, "413 Payload Too Large", "request body too large\n"));
    case.write().await;
    case.told().await.assert_all_stored(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_500_for_a_message_too_large_inside_of_loki_is_halved_until_it_fits() {
    let mut case = Case::start(&[]).await;
    let words = "rpc error: code = ResourceExhausted desc = grpc: received message larger than max (4302194 vs. 4194304)\n";
    case.stage.sink.mood(Act::RefuseLarge(3, "500 Internal Server Error", words));
    case.write().await;
    case.told().await.assert_all_stored(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_burst_of_429_is_waited_out() {
    let words = "Ingestion rate limit exceeded for user fake (limit: 4194304 bytes/sec) while attempting to ingest '20' lines totaling '1800' bytes, reduce log volume or contact your Loki administrator to see if the limit can be increased\n";
    let told = Case::after((0..6).map(|_| refuse("429 Too Many Requests", words))).await;
    told.assert_all_stored(0);
    assert_eq!(told.pushes("429"), 6.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_429_with_retry_after_is_waited_out_for_that_long() {
    let began = Instant::now();
    let told = Case::after([Act::Refuse("429 Too Many Requests", &["Retry-After: 2"], "slow down\n")]).await;
    told.assert_all_stored(0);
    // Its own delay would have been 10 ms.
    assert!(began.elapsed() >= Duration::from_secs(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_500_or_a_503_is_sent_again() {
    for (status, number) in [("500 Internal Server Error", "500"), ("503 Service Unavailable", "503")] {
        let told = Case::after((0..4).map(|_| refuse(status, "empty ring\n"))).await;
        told.assert_all_stored(0);
        assert_eq!(told.pushes(number), 4.0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_push_that_is_never_answered_is_sent_again_on_another_connection() {
    let told = Case::after([Act::Hang]).await;
    told.assert_all_stored(0);
    assert_eq!(told.pushes("timeout"), 1.0);
    given_back(&told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_without_end_is_cut_and_its_connection_is_given_back() {
    let told = Case::after((0..5).map(|_| Act::Endless(64 * 1024, Duration::ZERO))).await;
    told.assert_all_stored(0);
    assert_eq!(told.pushes("500"), 5.0);
    given_back(&told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_trickles_is_given_up_in_the_end_with_its_connection() {
    let told = Case::after([Act::Endless(1, Duration::from_millis(100))]).await;
    told.assert_all_stored(0);
    assert_eq!(told.pushes("timeout"), 1.0);
    given_back(&told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_reset_while_idle_costs_no_line() {
    let mut case = Case::start(&[]).await;
    for round in 1..=5 {
        case.stage.sink.next([Act::StoreThenReset]);
        case.write().await;
        case.stage.settled(&case.program, &case.stage.written([&case.writer])).await;
        assert!(case.stage.sink.opened() >= round);
    }
    let told = case.told().await;
    told.assert_all_stored(0);
    given_back(&told).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reset_instead_of_an_answer_is_no_answer() {
    let told = Case::after((0..3).map(|_| Act::Reset)).await;
    let stage = &told.case.stage;
    assert_eq!(stage.dead(), Vec::<String>::new());
    // Each of these pushes was stored, and nobody was told.
    assert!(stage.repeated() > 0 && stage.repeated() <= 3 * told.lines().len());
    assert_eq!(told.pushes("connection"), 3.0);
    assert!(stage.sink.book(|book| book.lines.values().all(|line| !line.altered)), "not the same lines");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_connection_is_tried_again() {
    let mut case = Case::start(&[]).await;
    case.stage.sink.down().await;
    case.write().await;
    let tried = |page: &str| sum(page, "shipper_push_total{status=\"connection\"}") >= 5.0;
    case.program.until("/metrics", tried).await;
    case.stage.sink.up();
    case.told().await.assert_all_stored(0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_is_half_closed_without_an_answer_is_given_up() {
    let told = Case::after((0..3).map(|_| Act::HalfClose)).await;
    told.assert_all_stored(0);
    assert_eq!(told.pushes("connection"), 3.0);
    given_back(&told).await;
}

/// Waits until no connection is open but those that the client keeps for the next pushes: four at most.
async fn given_back(told: &Told) {
    let sink = &told.case.stage.sink;
    let wait = async {
        while sink.open() > 4 || sink.waits() > 0 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let waited = tokio::time::timeout(PATIENCE, wait).await;
    assert!(waited.is_ok(), "{} connections are open, {} of them unanswered", sink.open(), sink.waits());
}
