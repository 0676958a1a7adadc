//! One worker: takes jobs from the board, and delivers streams through its lane. Owns the lane and
//! what was sent through it since the last commit; the journal learns of it only afterwards.

use std::sync::Arc;

use tokio::time::Instant;

use crate::deliver::{Lane, Message, Sink, SinkError};
use crate::extract::{ChunkReader, Half, Source, SourceError, StagedChunk};
use crate::format::{self, FormatError, Labeller};
use crate::journal::{Progress, StreamKey};
use crate::model::{ChunkNumber, MessageKey, Offset, Part, Partition, StreamNumber};

use super::board::{Board, Job, Next};
use super::context::{Context, World};
use super::decide::{PairDecision, Segment, StreamWork, source_of};
use super::fault::{Disagreement, Fault};
use super::pair::{self, Opened, Pair};
use super::state::Fate;
use super::sweep::Sweep;
use super::tail::{EMPTY_SOURCE, Found, Tail};
use super::tally;
use super::watch::Event;

/// A worker of one delta.
pub struct Worker<W: World> {
    /// The run.
    pub run: Arc<Context<W>>,
    /// The jobs.
    pub board: Arc<Board>,
    /// What the topic held at the start of the pass.
    pub tail: Arc<Tail>,
    /// Clears away what is delivered.
    pub sweep: Arc<Sweep<W>>,
    /// Number of the lane.
    pub number: u32,
    /// The lane.
    pub lane: <W::Sink as Sink>::Lane,
    /// Partitions of the backup topic.
    pub partitions: u32,
    /// What the open transaction holds.
    pub pending: Pending,
}

/// What was done since the last commit.
#[derive(Default)]
pub struct Pending {
    streams: Vec<Touched>,
    /// By message sent: index into `streams`.
    sent: Vec<usize>,
    bytes: u64,
    rows: u64,
    since: Option<Instant>,
}

/// A stream with uncommitted progress.
struct Touched {
    key: StreamKey,
    partition: Partition,
    progress: Progress,
    pair: Arc<Pair>,
    finished: bool,
}

impl<W: World> Worker<W> {
    /// Works until the board is empty; returns the lane, nothing pending.
    ///
    /// # Errors
    /// The first fault; what was not committed will be found or sent again by the next pass.
    pub async fn work(mut self) -> Result<<W::Sink as Sink>::Lane, Fault> {
        loop {
            let job = match self.board.take() {
                Next::Job(job) => *job,
                Next::Done => break,
                Next::Wait => {
                    // Others may wait for what only a commit of ours completes.
                    self.commit().await?;
                    match self.board.wait().await {
                        Some(job) => job,
                        None => break,
                    }
                }
            };
            let done = self.do_job(job).await;
            if matches!(done, Err(Fault::Stopped)) {
                self.board.close();
                self.commit().await?;
            }
            done?;
            self.board.finished();
        }
        self.commit().await?;
        Ok(self.lane)
    }

    async fn do_job(&mut self, job: Job) -> Result<(), Fault> {
        self.run.go_on()?;
        match job {
            Job::Open(pair) => self.open(pair).await,
            Job::Deliver(pair, work) => {
                let at = (pair.delta.num, pair.table.name.clone());
                self.deliver(pair, work).await.map_err(|fault| fault.at(at.0, Some(&at.1)))
            }
        }
    }

    async fn open(&mut self, pair: Arc<Pair>) -> Result<(), Fault> {
        match pair::open(&self.run, &pair, &self.tail).await? {
            Opened::Nothing => Ok(()),
            Opened::Empty(decision) => self.send_empty(pair, decision).await,
            Opened::Streams(streams) => {
                use std::sync::atomic::Ordering::Release;
                pair.left.store(streams.len(), Release);
                pair.streams.store(streams.len(), Release);
                let (delta, table) = (pair.delta.num, pair.table.name.clone());
                self.run.tell(Event::Archiving { delta, table });
                self.board.add(streams.into_iter().map(|s| Job::Deliver(pair.clone(), s)));
                Ok(())
            }
        }
    }

    /// The one chunk of a pair without changes.
    async fn send_empty(&mut self, pair: Arc<Pair>, decision: PairDecision) -> Result<(), Fault> {
        use std::sync::atomic::Ordering::Release;
        pair.left.store(1, Release);
        pair.streams.store(1, Release);
        let stream = StreamNumber(1);
        let at = self.touch(&pair, stream);
        if self.pending.streams[at].progress.chunks == 0 {
            let key = self.key(&pair, stream, 1, true);
            let key_bytes = format::encode_key(&key);
            let mut body = Vec::new();
            let labeller = Labeller::new(&pair.table.columns);
            labeller
                .label_empty(&key, &key_bytes, &mut body)
                .map_err(|error| unfit(error, EMPTY_SOURCE))?;
            let found = match decision {
                PairDecision::Empty { found } => found,
                _ => None,
            };
            self.put(at, found.as_ref(), key, key_bytes, body, 0).await?;
        }
        self.finish_stream(at).await
    }

    async fn deliver(&mut self, pair: Arc<Pair>, work: StreamWork) -> Result<(), Fault> {
        let mut labeller = Labeller::new(&pair.table.columns);
        let mut first = 0;
        for segment in &work.segments {
            self.deliver_segment(&pair, &work, segment, first, &mut labeller).await?;
            first += segment.end;
        }
        let at = self.touch(&pair, work.stream);
        self.finish_stream(at).await
    }

    /// Delivers what is left of one staging partition; `first` chunks of the stream come before it.
    async fn deliver_segment(
        &mut self,
        pair: &Arc<Pair>,
        work: &StreamWork,
        segment: &Segment,
        first: u64,
        labeller: &mut Labeller,
    ) -> Result<(), Fault> {
        let mut at = self.touch(pair, work.stream);
        let done = self.pending.streams[at].progress.chunks;
        if done >= first + segment.end {
            return Ok(());
        }
        let (attempt, partition) = (&segment.attempt, segment.partition);
        let fate = |name| self.run.ledger.look(|s| s.attempts.get(name).map(|known| known.fate));
        if fate(&attempt.name) != Some(Fate::Sealed) {
            return Err(Fault::Again("the unload was given up meanwhile".into()));
        }
        let source = self.run.world.source();
        let reader = source.read(attempt, partition, done - first, segment.end).await;
        let mut reader = self.staged(pair, reader)?;
        while self.pending.streams[at].progress.chunks < first + segment.end {
            self.run.go_on()?;
            let next = reader.next().await;
            let Some(chunk) = self.staged(pair, next)? else {
                return Err(Fault::Again("a sealed staging partition ended early".into()));
            };
            let offset = self.pending.streams[at].progress.chunks - first;
            self.run.tell(Event::Polled { message: offset, topic: attempt.name.0.clone() });
            self.deliver_chunk(at, work, segment, offset, &chunk, labeller).await?;
            if self.is_due() {
                self.commit().await?;
                at = self.touch(pair, work.stream);
            }
        }
        Ok(())
    }

    async fn deliver_chunk(
        &mut self,
        at: usize,
        work: &StreamWork,
        segment: &Segment,
        offset: u64,
        chunk: &StagedChunk,
        labeller: &mut Labeller,
    ) -> Result<(), Fault> {
        let touched = &self.pending.streams[at];
        let number = touched.progress.chunks + 1;
        let key = self.key(&touched.pair, work.stream, number, number == work.end());
        let key_bytes = format::encode_key(&key);
        let source = source_of(&segment.attempt.name, segment.partition, offset);
        let part = segment.part.map(Part::number);
        // The labeller knows how much it takes; room made here would be too little, and made twice.
        let mut body = Vec::new();
        let labelled = labeller
            .label(&key, &key_bytes, &source, part, &chunk.body, &mut body)
            .map_err(|error| unfit(error, &source))?;
        let progress = &mut self.pending.streams[at].progress;
        // A part was counted before it was sealed.
        if part.is_none() {
            tally::count(&mut progress.tallies, chunk, labelled.rows);
        }
        match chunk.half {
            Half::Added => progress.added += labelled.rows,
            Half::Removed => progress.removed += labelled.rows,
        }
        self.put(at, work.adopt.get(&number), key, key_bytes, body, labelled.rows).await
    }

    /// Sends a chunk, or takes the one that the topic already holds for it.
    async fn put(
        &mut self,
        at: usize,
        found: Option<&Found>,
        key: MessageKey,
        key_bytes: Vec<u8>,
        body: Vec<u8>,
        rows: u64,
    ) -> Result<(), Fault> {
        let bytes = body.len() as u64;
        let touched = &mut self.pending.streams[at];
        touched.progress.chunks += 1;
        touched.progress.bytes += bytes;
        if let Some(found) = found {
            touched.progress.last = Some((found.partition, found.offset));
            return Ok(());
        }
        let partition = touched.partition;
        let (delta, stream, chunk) = (key.delta, key.stream, key.chunk);
        self.run.tell(Event::Sending { delta, table: key.table, stream, chunk });
        if self.pending.sent.is_empty() {
            self.run.ledger.begin(self.number);
            self.pending.since = Some(Instant::now());
        }
        self.pending.sent.push(at);
        self.pending.bytes += bytes;
        self.pending.rows += rows;
        let sent = self.lane.send(Message { partition, key: key_bytes, body }).await;
        match sent {
            Err(error @ SinkError::TooLarge { .. }) if rows > 1 => {
                let pair = &self.pending.streams[at].pair;
                Err(pair::reissue_smaller(&self.run, pair, &error.to_string())?)
            }
            sent => Ok(sent?),
        }
    }

    fn key(&self, pair: &Pair, stream: StreamNumber, chunk: u64, is_last: bool) -> MessageKey {
        MessageKey {
            increment: pair.increment.clone(),
            datamart: self.run.settings.datamart.clone(),
            delta: pair.delta.num,
            date: pair.delta.date,
            table: Some(pair.table.name.clone()),
            stream,
            stream_total: pair.streams.load(std::sync::atomic::Ordering::Acquire) as u32,
            chunk: ChunkNumber(chunk),
            is_last,
        }
    }

    /// The slot of a stream in the open transaction; made from the journal where there is none.
    fn touch(&mut self, pair: &Arc<Pair>, stream: StreamNumber) -> usize {
        let key = pair.stream(stream);
        if let Some(at) = self.pending.streams.iter().position(|touched| touched.key == key) {
            return at;
        }
        let progress = self.run.ledger.look(|state| state.progress.get(&key).cloned());
        let (datamart, table) = (&self.run.settings.datamart, Some(&pair.table.name));
        let partition =
            format::partition_of(datamart, pair.delta.num, table, Some(stream), self.partitions);
        self.pending.streams.push(Touched {
            key,
            partition,
            progress: progress.unwrap_or_default(),
            pair: pair.clone(),
            finished: false,
        });
        self.pending.streams.len() - 1
    }

    async fn finish_stream(&mut self, at: usize) -> Result<(), Fault> {
        self.pending.streams[at].finished = true;
        if self.is_due() { self.commit().await } else { Ok(()) }
    }

    fn is_due(&self) -> bool {
        let settings = &self.run.settings;
        let old = self.pending.since.is_some_and(|since| since.elapsed() >= settings.commit_every);
        old || self.pending.bytes >= settings.commit_bytes
    }

    /// Closes the transaction, then tells the journal, then closes the pairs that are through.
    async fn commit(&mut self) -> Result<(), Fault> {
        if self.pending.streams.is_empty() {
            return Ok(());
        }
        let offsets = self.lane.commit().await?;
        let mut pending = std::mem::take(&mut self.pending);
        if offsets.len() != pending.sent.len() {
            let (got, sent) = (offsets.len(), pending.sent.len());
            return Err(Fault::Unexpected(format!("{got} positions for {sent} messages")));
        }
        let written = pending.place(&offsets);
        let progress: Vec<(StreamKey, Progress)> =
            pending.streams.iter().map(|t| (t.key.clone(), t.progress.clone())).collect();
        self.run.ledger.checkpoint(self.number, progress, &written)?;
        self.run.delivered(offsets.len() as u64, pending.rows, pending.bytes);
        for touched in pending.streams.iter().filter(|touched| touched.finished) {
            let delivered = pair::stream_done(&self.run, &touched.pair)?;
            self.sweep.delivered(delivered).await?;
        }
        Ok(())
    }

    /// A staging topic that lost messages, or holds others', cannot serve its pair any more.
    fn staged<T>(&self, pair: &Pair, read: Result<T, SourceError>) -> Result<T, Fault> {
        match read {
            Err(SourceError::StagingLost { attempt, .. }) => {
                let reason = format!("staging topic {attempt} is gone");
                Err(pair::reissue(&self.run, pair.delta, pair.issue, &reason)?)
            }
            // No connector of this datamart wrote it: the unload is of no use.
            Err(error @ SourceError::BadChunk { .. }) => {
                Err(pair::reissue(&self.run, pair.delta, pair.issue, &error.to_string())?)
            }
            other => Ok(other?),
        }
    }
}

impl Pending {
    /// Gives every sent message its place; returns all places.
    fn place(&mut self, offsets: &[Offset]) -> Vec<(Partition, Offset)> {
        let mut places = Vec::with_capacity(offsets.len());
        for (at, offset) in self.sent.iter().zip(offsets) {
            let touched = &mut self.streams[*at];
            touched.progress.last = Some((touched.partition, *offset));
            places.push((touched.partition, *offset));
        }
        places
    }
}

/// An unload whose columns are not the table's cannot be labelled: the operator must see both.
fn unfit(error: FormatError, source: &str) -> Fault {
    Disagreement::Schema(format!("message {source}: {error}")).into()
}
