//! Journal entries: whatever the disk gives back.

use deltakeep::backup::State;
use deltakeep::journal::envelope::{EnvelopeError, decode, encode};
use deltakeep::journal::{Fact, Progress, Record, Saved, StreamKey, Tally};
use deltakeep::model::{AttemptName, DeltaNum, Offset, Partition, StreamNumber, TableName};
use proptest::collection::vec;
use proptest::prelude::*;
use serde::ser::{Serialize, SerializeTuple, Serializer};

use super::{any_harm, cases, harmed, require_small};

/// Bytes that become the content of an entry as they are: whole, and of another type.
struct Raw(Vec<u8>);

impl Serialize for Raw {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        self.0.iter().try_for_each(|byte| tuple.serialize_element(byte))?;
        tuple.end()
    }
}

fn meant() -> Vec<Record> {
    let key = StreamKey {
        delta: DeltaNum(u64::MAX),
        issue: 3,
        table: Some(TableName("t".into())),
        stream: StreamNumber(1),
    };
    let tally = Tally { total: 1, chunks: 3, hash: u64::MAX, lasts: vec![(4, 0), (5, 0)] };
    let progress = Progress {
        chunks: 7,
        last: Some((Partition(1), Offset(i64::MAX))),
        tallies: [((0, 0), tally)].into(),
        ..Progress::default()
    };
    let name = AttemptName("deltakeep_12345678_7_0_0_000000ab".into());
    vec![
        Record::Progress(key, progress),
        Record::Horizon(vec![Offset(0), Offset(9)]),
        Record::Fact(Fact::Sealed { name, ends: vec![u64::MAX, 0, 1] }),
        Record::Fact(Fact::DeltaBegun { delta: DeltaNum(2), issue: u32::MAX }),
        Record::Fact(Fact::Finished),
    ]
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn harmed_entries_are_seen(which in any::<prop::sample::Index>(), harms in any_harm()) {
        let meant = meant();
        let record = &meant[which.index(meant.len())];
        let entry = encode(record).unwrap();
        let harmed = harmed(&entry, &harms);
        match decode::<Record>(&harmed) {
            Ok(read) => prop_assert!(read == *record && harmed == entry),
            Err(EnvelopeError::Leftover { bytes }) => prop_assert!(bytes > 0),
            Err(_) => {}
        }
    }

    #[test]
    fn whole_entries_of_another_content(
        which in any::<prop::sample::Index>(),
        harms in any_harm(),
        random in vec(any::<u8>(), 0..120),
    ) {
        let meant = meant();
        let content = encode(&meant[which.index(meant.len())]).unwrap().split_off(8);
        for content in [harmed(&content, &harms), random] {
            let entry = encode(&Raw(content)).unwrap();
            if let Ok(record) = decode::<Record>(&entry) {
                let mut saved = Saved::default();
                saved.apply(record);
                let state = State::of(saved);
                state.leftovers();
                state.attempts.values().for_each(|attempt| drop(attempt.streams()));
            }
        }
        require_small();
    }
}
