//! A topic as a list of messages that tests damage, and its verification in two readings. Owns no
//! test.

use std::sync::OnceLock;

use deltakeep::catalog::Seen;
use deltakeep::catalog::index::Catalog;
use deltakeep::format::container::Header;
use deltakeep::format::{Manifest, decode_key, encode_key, read_label};
use deltakeep::model::{DeltaNum, IncrementId, MessageKey, Offset, Partition};
use deltakeep::testing::{Memory, Stored};
use deltakeep::verify::{Asked, Kind, Report, Verifier};

use crate::engine;
use crate::resealed::resealed;

/// A message; its offset is its place in the partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub key: Vec<u8>,
    pub body: Vec<u8>,
}

impl Message {
    pub fn says(&self) -> MessageKey {
        decode_key(&self.key).expect("a key")
    }
}

/// Messages by partition.
#[derive(Clone, Debug)]
pub struct Topic(pub Vec<Vec<Message>>);

/// Where a message lies.
pub type At = (usize, usize);

impl Topic {
    /// What a run of the engine writes: two deltas or more, streams of
    /// several chunks, three parts, a table without rows, a changelog of several messages.
    pub fn of_engine(partitions: u32) -> Self {
        static MADE: [OnceLock<Topic>; 4] = [const { OnceLock::new() }; 4];
        MADE[partitions as usize].get_or_init(|| Self::run_engine(partitions)).clone()
    }

    fn run_engine(partitions: u32) -> Self {
        let mut builder = tokio::runtime::Builder::new_current_thread();
        let runtime = builder.enable_time().start_paused(true).build().unwrap();
        let run = |seed| Self::of_memory(&runtime.block_on(engine::back_up(seed, partitions)));
        (1..200).map(run).find(Self::is_rich).expect("a rich topic")
    }

    fn of_memory(memory: &Memory) -> Self {
        let visible = |stored: &Stored| match stored {
            Stored::Visible(message) => {
                Some(Message { key: message.key.clone(), body: message.body.clone() })
            }
            _ => None,
        };
        let of = |partition: &Vec<Stored>| partition.iter().filter_map(visible).collect();
        Self(memory.lock().topic.iter().map(of).collect())
    }

    fn is_rich(&self) -> bool {
        let keys: Vec<_> = self.0.iter().flatten().map(Message::says).collect();
        let has = |what: &dyn Fn(&MessageKey) -> bool| keys.iter().any(what);
        let of_first = keys.iter().filter(|key| key.delta == DeltaNum(0)).count();
        has(&|key| key.table.is_some() && key.chunk.0 >= 3)
            && has(&|key| key.table.is_some() && key.stream.0 == 2)
            && has(&|key| key.table.is_none() && key.chunk.0 == 2)
            && has(&|key| key.table.is_some() && key.is_last && key.chunk.0 == 1)
            && (8..25).contains(&of_first)
            && self.in_parts() == "12233"
            && self.neighbours_of_two_streams() < self.places().len() / 2
    }

    /// Workers take turns; where they do at every message, little has an order.
    fn neighbours_of_two_streams(&self) -> usize {
        let places = self.places().into_iter().filter(|at| at.1 > 0);
        let of_two = places.filter(|at| {
            let (one, other) = (self.at((at.0, at.1 - 1)).says(), self.at(*at).says());
            one.table.is_some()
                && other.table.is_some()
                && (&one.table, one.stream) != (&other.table, other.stream)
        });
        of_two.count()
    }

    /// Only the messages of these deltas.
    pub fn deltas(&self, wanted: impl Fn(u64) -> bool) -> Self {
        let mut topic = self.clone();
        for partition in &mut topic.0 {
            partition.retain(|message| wanted(message.says().delta.0));
        }
        topic
    }

    pub fn places(&self) -> Vec<At> {
        let of = |(partition, messages): (usize, &Vec<Message>)| {
            (0..messages.len()).map(move |offset| (partition, offset)).collect::<Vec<_>>()
        };
        self.0.iter().enumerate().flat_map(of).collect()
    }

    pub fn at(&self, (partition, offset): At) -> &Message {
        &self.0[partition][offset]
    }

    pub fn at_mut(&mut self, (partition, offset): At) -> &mut Message {
        &mut self.0[partition][offset]
    }

    /// The first message whose key fits.
    pub fn find(&self, fits: impl Fn(&MessageKey) -> bool) -> At {
        let found = self.places().into_iter().find(|at| fits(&self.at(*at).says()));
        found.expect("such a message")
    }

    /// The last message of a delta's changelog, with the manifest.
    pub fn manifest_of(&self, delta: u64) -> At {
        self.find(|key| key.delta.0 == delta && key.table.is_none() && key.is_last)
    }

    pub fn verify(&self) -> Report {
        self.verify_as(Asked::default())
    }

    pub fn verify_as(&self, asked: Asked) -> Report {
        let mut verifier = Verifier::new(asked);
        let lows = vec![Offset(0); self.0.len()];
        let ends: Vec<_> = self.0.iter().map(|p| Offset(p.len() as i64)).collect();
        self.read(&lows, |seen| verifier.see(seen));
        if let Some(from) = verifier.second_reading(&lows, &ends) {
            self.read(&from, |seen| verifier.compare(seen, &ends));
        }
        verifier.finish(&lows)
    }

    fn read(&self, from: &[Offset], mut each: impl FnMut(Seen<'_>)) {
        for ((partition, messages), from) in (0..).map(Partition).zip(&self.0).zip(from) {
            let messages = (0..).map(Offset).zip(messages).skip(from.0 as usize);
            for (offset, Message { key, body }) in messages {
                each(Seen { partition, offset, key, body });
            }
        }
    }

    /// Numbers of the deltas that `topic show` calls complete, and how many messages it calls
    /// strange.
    pub fn shown(&self) -> (Vec<u64>, usize) {
        let mut catalog = Catalog::default();
        let mut strangers = 0;
        for message in self.0.iter().flatten() {
            let Ok(key) = decode_key(&message.key) else {
                strangers += 1;
                continue;
            };
            catalog.see(&key);
            let manifest = read_label(&message.body).ok().and_then(|label| label.manifest);
            if let Some(manifest) = manifest.and_then(|text| Manifest::parse(text).ok()) {
                let tables = manifest.tables.into_iter().map(|table| (table.name, table.chunks));
                catalog.expect(&key, tables.collect());
            }
        }
        (catalog.complete().into_keys().map(|delta| delta.0).collect(), strangers)
    }
}

/// The kinds of what was found, each once, without notes.
pub fn kinds(report: &Report) -> Vec<Kind> {
    let mut kinds: Vec<_> = report.findings.counts().keys().copied().collect();
    kinds.retain(|kind| kind.level() < deltakeep::verify::Level::Note);
    kinds
}

/// Messages written anew.
impl Topic {
    /// The same bodies under other keys, as a writer would have made them.
    pub fn rekeyed(&self, change: impl Fn(MessageKey) -> MessageKey) -> Self {
        let mut topic = self.clone();
        for message in topic.0.iter_mut().flatten() {
            let key = encode_key(&change(message.says()));
            message.body = resealed(&key, &message.body);
            message.key = key;
        }
        topic
    }

    /// The same as another run would have written it.
    pub fn of_another_run(topic: &Self) -> Self {
        let id = IncrementId("b2b3c8e2-0000-4000-8000-000000000001".into());
        topic.rekeyed(|key| MessageKey { increment: id.clone(), ..key })
    }
}

impl Topic {
    /// The parts that chunks name, in order.
    pub fn in_parts(&self) -> String {
        self.parts().iter().map(|(_, part)| *part).collect()
    }

    /// Places of the chunks that name a part, with it, in order.
    pub fn parts(&self) -> Vec<(At, char)> {
        let part = |at: &At| Some((*at, char::from(self.at(*at).body[self.part_at(*at)?])));
        self.places().iter().filter_map(part).collect()
    }

    fn part_at(&self, at: At) -> Option<usize> {
        Some(Header::read(&self.at(at).body).unwrap().get("deltakeep.part")?.at)
    }

    /// The chunk says that it is of another part.
    pub fn say_part(&mut self, at: At, part: char) {
        let place = self.part_at(at).expect("a chunk of a part");
        let message = self.at_mut(at);
        message.body[place] = part as u8;
        message.body = resealed(&message.key, &message.body);
    }
}
