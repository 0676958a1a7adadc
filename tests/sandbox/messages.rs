//! Owns reading topics and making messages with an independent Avro implementation; never uses the sandbox's own encoder.

use std::time::{Duration, Instant};

use apache_avro::types::Value as Avro;
use apache_avro::{Codec, DeflateSettings, Reader, Schema, Writer};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::harness::{Rig, fixture};

/// A decoded unload message.
#[derive(Debug, Clone, PartialEq)]
pub struct Unloaded {
    pub key: Value,
    pub key_schema: Value,
    pub schema: Value,
    pub rows: Vec<Value>,
}

impl Unloaded {
    pub fn decode(key: &[u8], value: &[u8]) -> Unloaded {
        let (key_schema, mut keys) = container(key);
        let (schema, rows) = container(value);
        assert_eq!(keys.len(), 1, "a key holds one record");
        Unloaded { key: keys.remove(0), key_schema, schema, rows }
    }

    pub fn chunk(&self) -> i64 {
        self.key["chunkNumber"].as_i64().unwrap()
    }

    pub fn is_last(&self) -> bool {
        self.key["isLastChunk"].as_bool().unwrap()
    }
}

fn container(bytes: &[u8]) -> (Value, Vec<Value>) {
    let reader = Reader::new(bytes).unwrap();
    assert!(!contains(bytes, b"avro.codec"), "the codec is left out");
    let start = bytes.iter().position(|b| *b == b'{').unwrap();
    let mut schemas = serde_json::Deserializer::from_slice(&bytes[start..]).into_iter();
    let schema = schemas.next().unwrap().unwrap();
    (schema, reader.map(|record| plain(record.unwrap())).collect())
}

fn contains(bytes: &[u8], part: &[u8]) -> bool {
    bytes.windows(part.len()).any(|window| window == part)
}

/// A decoded value as plain JSON; floats keep all their digits.
fn plain(value: Avro) -> Value {
    match value {
        Avro::Null => Value::Null,
        Avro::Boolean(b) => json!(b),
        Avro::Int(n) | Avro::Date(n) => json!(n),
        Avro::Long(n) | Avro::TimeMicros(n) | Avro::TimestampMicros(n) => json!(n),
        Avro::Float(f) => json!(f64::from(f)),
        Avro::Double(f) => json!(f),
        Avro::String(text) => json!(text),
        Avro::Union(_, inner) => plain(*inner),
        Avro::Record(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| (name, plain(value))).collect())
        }
        other => panic!("unexpected {other:?}"),
    }
}

fn consumer(rig: &Rig) -> BaseConsumer {
    ClientConfig::new()
        .set("bootstrap.servers", rig.broker.bootstrap_servers())
        .set("group.id", "test")
        .set("enable.auto.commit", "false")
        .create()
        .unwrap()
}

const WAIT: Duration = Duration::from_secs(20);

/// How many messages a topic ever held; the in-process broker forgets old ones of a big topic.
pub fn ever(rig: &Rig, topic: &str) -> i64 {
    let consumer = consumer(rig);
    let metadata = consumer.fetch_metadata(Some(topic), WAIT).unwrap();
    let partitions = metadata.topics()[0].partitions().iter().map(|p| p.id());
    partitions.map(|p| consumer.fetch_watermarks(topic, p, WAIT).unwrap().1).sum()
}

/// Raw messages of a topic by partition and offset.
pub fn raw(rig: &Rig, topic: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    let consumer = consumer(rig);
    let metadata = consumer.fetch_metadata(Some(topic), WAIT).unwrap();
    let mut list = TopicPartitionList::new();
    let mut left = 0;
    for partition in metadata.topics()[0].partitions() {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), WAIT).unwrap();
        left += high - low;
        list.add_partition_offset(topic, partition.id(), Offset::Beginning).unwrap();
    }
    consumer.assign(&list).unwrap();
    let deadline = Instant::now() + WAIT;
    let mut messages = Vec::new();
    while left > 0 {
        assert!(Instant::now() < deadline, "{left} messages of {topic} missing");
        let Some(message) = consumer.poll(Duration::from_millis(100)) else {
            continue;
        };
        let message = message.unwrap();
        let bytes = |b: Option<&[u8]>| b.unwrap_or_default().to_vec();
        messages.push((bytes(message.key()), bytes(message.payload())));
        left -= 1;
    }
    messages
}

/// Decoded messages of a topic, ordered by statement, stream and chunk.
pub fn unloaded(rig: &Rig, topic: &str) -> Vec<Unloaded> {
    ordered(raw(rig, topic))
}

fn ordered(raw: Vec<(Vec<u8>, Vec<u8>)>) -> Vec<Unloaded> {
    let mut messages: Vec<_> = raw.iter().map(|(k, v)| Unloaded::decode(k, v)).collect();
    messages.sort_by_key(|m| {
        let stream = m.key["streamNumber"].as_i64().unwrap();
        (m.key["tableName"].to_string(), stream, m.chunk())
    });
    messages
}

/// Messages of a recorded topic, in the same order.
pub fn recorded(topic: &str) -> Vec<Unloaded> {
    let mut raw = Vec::new();
    for entry in std::fs::read_dir(fixture("topics").join(topic)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if let Some(stem) = name.strip_suffix(".key.bin") {
            let value = path.with_file_name(format!("{stem}.value.bin"));
            raw.push((std::fs::read(&path).unwrap(), std::fs::read(value).unwrap()));
        }
    }
    ordered(raw)
}

/// A body with these rows, as a client of the node might make it.
pub fn body(schema: &str, rows: &[Value], deflate: bool) -> Vec<u8> {
    let schema = Schema::parse_str(schema).unwrap();
    let codec = if deflate { Codec::Deflate(DeflateSettings::default()) } else { Codec::Null };
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    for row in rows {
        let value = Avro::try_from(row.clone()).unwrap().resolve(&schema).unwrap();
        writer.append_value(value).unwrap();
    }
    writer.into_inner().unwrap()
}

/// Sends values to one partition, in order.
pub fn produce(rig: &Rig, topic: &str, values: &[Vec<u8>]) {
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", rig.broker.bootstrap_servers())
        .create()
        .unwrap();
    for value in values {
        let record = BaseRecord::<(), Vec<u8>>::to(topic).partition(0).payload(value);
        producer.send(record).unwrap();
    }
    producer.flush(WAIT).unwrap();
}
