//! However the log is written, and whatever happens between the writes, the same lines come.

use proptest::prelude::*;
use shipper::docker::known::Born;
use shipper::record::Position;
use shipper::source::position::{Resume, Start};

use crate::support::disk::{Disk, Source, entry};
use crate::support::items::Item;

/// What happens between two entries of the log.
#[derive(Clone, Copy, Debug)]
enum Between {
    Nothing,
    Turns(u8),
    Rotation,
    CompressedRotation,
    Restart,
}

/// One entry: its stream, its text, where it is torn in two by a turn of the source.
#[derive(Clone, Debug)]
struct Step {
    err: bool,
    text: String,
    torn_at: Option<prop::sample::Index>,
    between: Between,
}

fn step() -> impl Strategy<Value = Step> {
    let between = prop_oneof![
        4 => Just(Between::Nothing),
        4 => (1..8u8).prop_map(Between::Turns),
        2 => Just(Between::Rotation),
        1 => Just(Between::CompressedRotation),
        1 => Just(Between::Restart),
    ];
    let torn_at = prop::option::of(any::<prop::sample::Index>());
    let text = ("[a-c\"\u{e9}\u{0}]{0,6}", any::<bool>())
        .prop_map(|(text, ends)| if ends { text + "\n" } else { text });
    (any::<bool>(), text, torn_at, between).prop_map(|(err, text, torn_at, between)| Step {
        err,
        text,
        torn_at,
        between,
    })
}

/// The lines that the entries make, in the order in which they end; the open ones at last.
fn expected(steps: &[Step]) -> Vec<String> {
    let (mut lines, mut open) = (Vec::new(), [String::new(), String::new()]);
    for (number, step) in steps.iter().enumerate() {
        let open = &mut open[usize::from(step.err)];
        open.push_str(&format!("{number}:"));
        open.push_str(&step.text);
        if let Some(line) = open.strip_suffix('\n') {
            lines.push(line.to_owned());
            open.clear();
        }
    }
    lines
}

/// A source that is stopped and started, and what came out of it.
struct Reading {
    source: Option<Source>,
    lines: Vec<String>,
    position: Option<Position>,
}

impl Reading {
    fn take(&mut self, item: Item) {
        match item {
            Item::Line(record) => {
                self.lines.push(record.line);
                self.position = Some(record.position);
            }
            Item::Passed { position, .. } => self.position = Some(position),
            Item::Gone(_) => panic!("nobody has removed it"),
        }
    }

    /// Lets the source run, as far as its channel has room.
    async fn turns(&mut self, turns: u8) {
        for _ in 0..turns {
            tokio::task::yield_now().await;
            while let Some(item) = self.source.as_mut().and_then(|source| source.items.try_recv()) {
                self.take(item);
            }
        }
    }

    async fn restart(&mut self, disk: &Disk) {
        for item in self.source.take().unwrap().end().await {
            self.take(item);
        }
        let resume = self.position.clone().map(|position| (disk.container.id.clone(), position));
        let resume = Resume::from_iter(resume);
        self.source = Some(Source::start(disk, Born::AfterUs, Start::End, resume).await);
    }
}

async fn read(steps: Vec<Step>) -> Vec<String> {
    let disk = Disk::new();
    let count = expected(&steps).len();
    let source = Some(Source::start(&disk, Born::AfterUs, Start::End, Resume::new()).await);
    let mut reading = Reading { source, lines: Vec::new(), position: None };
    for (number, step) in steps.iter().enumerate() {
        let stream = if step.err { "stderr" } else { "stdout" };
        let entry = entry(stream, &format!("{number}:{}", step.text), i64::try_from(number).unwrap() + 1);
        let torn_at = step.torn_at.map_or(0, |at| at.index(entry.len()));
        disk.raw(&entry.as_bytes()[..torn_at]);
        if torn_at > 0 {
            reading.turns(2).await;
        }
        disk.raw(&entry.as_bytes()[torn_at..]);
        match step.between {
            Between::Nothing => {}
            Between::Turns(turns) => reading.turns(turns).await,
            Between::Rotation => disk.rotate_within(90),
            Between::CompressedRotation => disk.rotate_and_compress(90),
            Between::Restart => reading.restart(&disk).await,
        }
    }
    while reading.lines.len() < count {
        let item = reading.source.as_mut().unwrap().next().await;
        reading.take(item);
    }
    for item in reading.source.take().unwrap().end().await {
        reading.take(item);
    }
    reading.lines
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_chunking_with_turns_rotations_and_restarts_between_gives_the_same_lines(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let expected = expected(&steps);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        prop_assert_eq!(runtime.block_on(read(steps)), expected);
    }
}
