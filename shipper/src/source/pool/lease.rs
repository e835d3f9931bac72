//! One container's use of one connection: from the request to the end of the stream, or of the slice.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::clock::{Clock, duration_ns};
use crate::credit::Credit;
use crate::docker::api::{Api, ApiError};
use crate::docker::logs::Until;
use crate::record::block::Block;
use crate::record::{Container, Stream};
use crate::source::join::{Fragment, Joiner};
use crate::source::pool::connected::Connected;
use crate::source::pool::cursor::{Cursor, Verdict};
use crate::source::pool::frames::{self, Decoder, Message};
use crate::source::{Closed, LINE_BYTES_MAX, Outlet, REST};

/// Docker searches a log from its beginning for the time that we ask for, and says nothing while it does.
/// A lease that ends before anything came has twice as many slices the next time, or a long log could use
/// up every one with searching. With a mark something always comes; without, silence may mean as well that
/// there is nothing, and then others should not wait for it too long.
const SLICES_MAX_SEARCHING: u32 = 64;
const SLICES_MAX_SILENT: u32 = 4;
/// A stream that lasted for this long was a healthy one.
const HEALTHY: Duration = Duration::from_secs(10);
/// A follow stream of a stopped container ends by itself; if it stays silent for this long it does not.
const SILENCE: Duration = Duration::from_secs(2);
/// A follow stream may be deaf from the beginning: older daemons open the file, send what stands in it, and
/// only then watch what has its name (see [`Api::follows_by_name`]); a log that was rotated in between is
/// followed in the wrong file. If it has sent something and falls silent for this long, it is opened once more.
const DEAF: Duration = Duration::from_secs(5);
/// A follow stream that is not read skips what is rotated away meanwhile, by newer daemons too ("file rotations
/// were missed"). So it is closed when we have not read for this long, and what Docker has kept is asked for.
const UNREAD_MAX: Duration = Duration::from_secs(2);
/// Whoever is with the newest line rests behind a turn; who is further behind reads on.
const ABREAST: Duration = REST.saturating_mul(2);
/// Docker's daemon must not wait for us, which up to 20.10 holds up the container: what it sends in a rest finds room in the
/// socket. Who was sent more than this at one look reads on, since more may wait for room.
const ROOM_BYTES: usize = 32 << 10;
/// How much text is handed on at one go, if so much has arrived.
const BLOCK_TEXT_BYTES: usize = 48 << 10;
/// What is kept while the mark is searched for.
const AHEAD_BYTES_MAX: usize = 4 << 20;

/// Why a lease ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// Others waited.
    Preempted,
    /// A stream that was to end with the last line ended.
    Drained,
    /// A stream that was to go on ended, or fell silent after its container had stopped.
    Cut,
    /// It is to be opened again at once: the stream may repeat what it has sent, or be deaf, or it was closed since
    /// nobody read it.
    Again,
    /// Docker refused, or the connection broke.
    Failed(ApiError),
    /// Nobody takes the lines.
    Closed,
}

/// What a reader needs for its turn.
pub(super) struct Lease {
    pub(super) api: Api,
    pub(super) container: watch::Receiver<Arc<Container>>,
    pub(super) until: Until,
    pub(super) slice: Duration,
    pub(super) claims: Arc<Semaphore>,
    pub(super) stopping: CancellationToken,
    pub(super) outlet: Outlet,
    pub(super) clock: Clock,
}

/// What stays of a container between leases.
pub(super) struct Reader {
    cursor: Cursor,
    credit: Credit,
    joiner: Joiner,
    /// Whole lines that are still to be handed on.
    block: Option<Block>,
    tty: bool,
    /// Messages that may be known or not (see [`Verdict::Ahead`]).
    ahead: Vec<(Stream, i64, Vec<u8>)>,
    ahead_bytes: usize,
    progressed: bool,
    /// How many slices it may wait for the first message.
    patience: u32,
    /// Whether the last stream was ended only to see whether it was deaf: the next one is not.
    heard: bool,
}

impl Reader {
    pub(super) fn new(cursor: Cursor, credit: Credit, tty: bool) -> Self {
        let joiner = Joiner::new(LINE_BYTES_MAX);
        Self {
            cursor,
            credit,
            joiner,
            block: None,
            tty,
            ahead: Vec::new(),
            ahead_bytes: 0,
            progressed: false,
            patience: 1,
            heard: false,
        }
    }

    /// Whether the last lease brought anything new, or lasted long.
    pub(super) fn has_progressed(&self) -> bool {
        self.progressed
    }

    /// The container has stopped and all was read: the rest of an open line never comes.
    pub(super) async fn flush(&mut self, container: &Arc<Container>, outlet: &Outlet) -> Result<(), Closed> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Some(line) = self.joiner.finish(stream) {
                outlet.line(container, &self.credit, line).await?;
            }
        }
        Ok(())
    }

    fn reopen(&mut self) -> i64 {
        self.progressed = false;
        self.forget_ahead();
        self.cursor.reopen()
    }

    /// Whether Docker has found the place from which we asked.
    fn is_there(&self) -> bool {
        self.progressed || (self.cursor.mark().seen > 0 && !self.cursor.is_searching())
    }

    /// Whether what was taken last is about the newest that there is.
    fn is_abreast(&self, clock: &Clock) -> bool {
        clock.now_ns().saturating_sub(self.cursor.mark().time_ns) < duration_ns(ABREAST)
    }

    /// How many slices the present lease may last.
    fn slices(&self) -> u32 {
        if self.is_there() { 1 } else { self.patience }
    }

    fn lease_ended(&mut self, ending: &Ending, lasted: Duration) {
        if self.is_there() {
            self.patience = 1;
        } else if matches!(ending, Ending::Preempted) {
            let max = if self.cursor.is_searching() { SLICES_MAX_SEARCHING } else { SLICES_MAX_SILENT };
            self.patience = (self.patience * 2).min(max);
        }
        self.progressed |= lasted > HEALTHY;
    }

    fn forget_ahead(&mut self) {
        self.ahead = Vec::new();
        self.ahead_bytes = 0;
    }

    /// Takes a message or passes it over; an ending when the stream is not to be read on.
    async fn message(&mut self, lease: &Lease, message: Message<'_>) -> Result<Option<Ending>, Closed> {
        match self.cursor.judge(message.stream, message.time_ns) {
            Verdict::Known => {}
            Verdict::Found => self.forget_ahead(),
            Verdict::Ahead => {
                self.ahead_bytes += message.text.len();
                self.ahead.push((message.stream, message.time_ns, message.text.to_vec()));
                if self.ahead_bytes > AHEAD_BYTES_MAX {
                    self.lose_mark(lease).await?;
                }
            }
            Verdict::Lost => {
                self.lose_mark(lease).await?;
                self.take(lease, message).await?;
            }
            Verdict::New => self.take(lease, message).await?,
            Verdict::Doubtful => return Ok(Some(Ending::Again)),
        }
        Ok(None)
    }

    /// The mark is no longer in the log, so all that was kept is new.
    async fn lose_mark(&mut self, lease: &Lease) -> Result<(), Closed> {
        self.cursor.end_search();
        lease.outlet.metrics.resume_lost.inc();
        self.joiner.clear();
        for (stream, time_ns, text) in std::mem::take(&mut self.ahead) {
            self.take(lease, Message { stream, time_ns, text: &text }).await?;
        }
        self.forget_ahead();
        Ok(())
    }

    async fn take(&mut self, lease: &Lease, message: Message<'_>) -> Result<(), Closed> {
        self.gather(lease, message);
        if self.block.as_ref().is_some_and(|block| self.is_full(lease, block)) {
            self.hand_on(lease).await?;
        }
        Ok(())
    }

    fn is_full(&self, lease: &Lease, block: &Block) -> bool {
        block.len() >= lease.outlet.lines_max()
            || block.text_bytes() >= BLOCK_TEXT_BYTES.min(self.credit.left_bytes())
    }

    /// Hands on what was gathered.
    async fn hand_on(&mut self, lease: &Lease) -> Result<(), Closed> {
        match self.block.take() {
            Some(block) => lease.outlet.block(block, &self.credit).await,
            None => Ok(()),
        }
    }

    fn gather(&mut self, lease: &Lease, message: Message<'_>) {
        self.progressed = true;
        let before = self.cursor.mark();
        let Message { stream, time_ns, text } = message;
        let after = self.cursor.take(stream, time_ns, text.ends_with(b"\n"));
        let block = self.block.get_or_insert_with(|| Block::of_api(lease.container()));
        // The common case: a whole line while none is open comes to what the joiner would make of it.
        let whole =
            text.strip_suffix(b"\n").filter(|text| text.len() <= LINE_BYTES_MAX && self.joiner.is_clear());
        if let Some(text) = whole.and_then(|text| str::from_utf8(text).ok()) {
            let text = if self.tty { text.strip_suffix('\r').unwrap_or(text) } else { text };
            block.push(stream, time_ns, text, after.position());
            return;
        }
        let (before, after) = (before.position(), after.position());
        if let Some(mut line) = self.joiner.push(Fragment { stream, time_ns, text, before, after }) {
            if self.tty && line.text.ends_with('\r') {
                line.text.pop();
            }
            lease.outlet.add(block, &line);
        }
    }
}

impl Lease {
    fn container(&self) -> Arc<Container> {
        Arc::clone(&self.container.borrow())
    }

    pub(super) async fn read(self, mut reader: Reader) -> (Reader, Ending) {
        let began = Instant::now();
        let ending = match self.follow(&mut reader, began).await {
            Ok(ending) => ending,
            Err(Closed) => Ending::Closed,
        };
        reader.lease_ended(&ending, began.elapsed());
        (reader, ending)
    }

    async fn follow(&self, reader: &mut Reader, began: Instant) -> Result<Ending, Closed> {
        // What came would not be read.
        if !reader.credit.is_left()
            && let Some(ending) = self.unread(reader, began).await
        {
            return Ok(ending);
        }
        let since_ns = reader.reopen();
        let id = self.container().id.clone();
        let connected = Connected::new(&self.outlet.metrics);
        // Old daemons answer only with the first line, so the wait for the answer can be preempted too.
        let mut stream = tokio::select! {
            biased;
            answer = self.api.logs(&id, since_ns, self.until) => match answer {
                Ok(stream) => stream,
                Err(error) => return Ok(Ending::Failed(error)),
            },
            ending = self.called_off(began, reader.slices()) => return Ok(ending),
        };
        let mut decoder = Decoder::new(reader.tty);
        let follows = self.until == Until::Stopped;
        let heard = std::mem::take(&mut reader.heard);
        let mut may_be_deaf = follows && self.api.follows_by_name() && !heard;
        loop {
            if !reader.credit.is_left() {
                tokio::select! {
                    () = self.preempted(began, reader.slices()) => return Ok(Ending::Preempted),
                    () = reader.credit.regained() => {}
                    () = sleep(UNREAD_MAX), if follows => {
                        drop((stream, connected));
                        return Ok(self.unread(reader, began).await.unwrap_or(Ending::Again));
                    }
                }
            }
            let piece = tokio::select! {
                biased;
                ending = self.called_off(began, reader.slices()) => return Ok(ending),
                () = sleep(SILENCE), if !reader.ahead.is_empty() => {
                    reader.lose_mark(self).await?;
                    reader.hand_on(self).await?;
                    continue;
                }
                () = sleep(DEAF), if may_be_deaf => {
                    may_be_deaf = false;
                    if !reader.progressed {
                        continue;
                    }
                    reader.heard = true;
                    return Ok(Ending::Again);
                }
                piece = stream.next() => piece,
            };
            let mut ending = self.take_piece(reader, &mut decoder, piece).await?;
            // What has arrived with it goes along with it.
            while ending.is_none()
                && reader.block.is_some()
                && let Some(piece) = stream.next().now_or_never()
            {
                ending = self.take_piece(reader, &mut decoder, piece).await?;
            }
            reader.hand_on(self).await?;
            if let Some(ending) = ending {
                return Ok(ending);
            }
            if follows && decoder.arrived() < ROOM_BYTES && reader.is_abreast(&self.clock) {
                sleep(REST).await;
            }
        }
    }

    async fn take_piece(
        &self,
        reader: &mut Reader,
        decoder: &mut Decoder,
        piece: Result<Option<Bytes>, ApiError>,
    ) -> Result<Option<Ending>, Closed> {
        match piece {
            Ok(Some(piece)) => decoder.push(&piece),
            Ok(None) => return self.stream_ended(reader).await.map(Some),
            Err(error) => return Ok(Some(Ending::Failed(error))),
        }
        loop {
            match decoder.decode() {
                Ok(None) => return Ok(None),
                Ok(Some(message)) => {
                    if let Some(ending) = reader.message(self, message).await? {
                        return Ok(Some(ending));
                    }
                }
                Err(frames::Error::NoTimestamp { .. }) => self.outlet.corrupt(&self.container()),
                Err(error) => return Ok(Some(self.stream_failed(&error))),
            }
        }
    }

    async fn stream_ended(&self, reader: &mut Reader) -> Result<Ending, Closed> {
        if self.until == Until::Stopped {
            return Ok(Ending::Cut);
        }
        if reader.cursor.is_searching() {
            reader.lose_mark(self).await?;
        }
        Ok(Ending::Drained)
    }

    fn stream_failed(&self, error: &frames::Error) -> Ending {
        Ending::Failed(ApiError::Broken { request: "GET /containers/{id}/logs", reason: error.to_string() })
    }

    /// Waits without a stream until there is room for what the next one brings.
    async fn unread(&self, reader: &mut Reader, began: Instant) -> Option<Ending> {
        tokio::select! {
            () = self.preempted(began, reader.slices()) => Some(Ending::Preempted),
            () = reader.credit.regained() => None,
        }
    }

    /// Completes when the lease is to end although the stream goes on.
    async fn called_off(&self, began: Instant, slices: u32) -> Ending {
        // Only silence ends it: each piece that comes starts this wait anew.
        let silent = async {
            self.stopping.cancelled().await;
            sleep(SILENCE).await;
        };
        tokio::select! {
            () = self.preempted(began, slices) => Ending::Preempted,
            () = silent => Ending::Cut,
        }
    }
    /// Completes when its time is over and another container waits for the connection.
    async fn preempted(&self, began: Instant, slices: u32) {
        sleep_until(began + self.slice * slices).await;
        match self.claims.acquire().await {
            Ok(claim) => claim.forget(),
            Err(_closed) => std::future::pending().await,
        }
    }
}
