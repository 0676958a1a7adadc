//! Everything that comes from outside, made of bytes that nobody meant: each reader gives a value
//! or an error, never a panic, and never takes more memory than the bytes deserve.

#![allow(clippy::unwrap_used, reason = "a test that meets the unexpected is to fail")]

mod messages;
mod node;
mod options;
mod records;

use proptest::collection::vec;
use proptest::prelude::*;

/// Cases of each property.
const CASES: u32 = 2000;

fn cases() -> ProptestConfig {
    ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(CASES) }
}

/// Changes to bytes that were once meant.
#[derive(Clone, Debug)]
enum Harm {
    Flip(prop::sample::Index, u8),
    Cut(prop::sample::Index),
    Drop(prop::sample::Index),
    Put(prop::sample::Index, Vec<u8>),
}

fn any_harm() -> impl Strategy<Value = Vec<Harm>> {
    let place = any::<prop::sample::Index>;
    // The longest lengths that a varint can say, and the smallest.
    let numbers = prop_oneof![
        vec(any::<u8>(), 1..12),
        Just(vec![0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        Just(vec![0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
        Just(vec![0xfe, 0xff, 0xff, 0xff, 0x0f]),
    ];
    let harm = prop_oneof![
        (place(), 0..8u8).prop_map(|(at, bit)| Harm::Flip(at, bit)),
        place().prop_map(Harm::Cut),
        place().prop_map(Harm::Drop),
        (place(), numbers).prop_map(|(at, bytes)| Harm::Put(at, bytes)),
    ];
    vec(harm, 0..4)
}

fn harmed(bytes: &[u8], harms: &[Harm]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    for harm in harms {
        if bytes.is_empty() {
            break;
        }
        match harm {
            Harm::Flip(at, bit) => {
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
            }
            Harm::Cut(at) => bytes.truncate(at.index(bytes.len())),
            Harm::Drop(at) => drop(bytes.remove(at.index(bytes.len()))),
            Harm::Put(at, with) => {
                let at = at.index(bytes.len());
                let end = (at + with.len()).min(bytes.len());
                bytes.splice(at..end, with.iter().copied());
            }
        }
    }
    bytes
}

/// Requires that the process never held more memory than this; all readers together stay below.
fn require_small() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|text| text.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
    assert!(kib.is_none_or(|kib| kib < 512 << 10), "peak of {kib:?} KiB");
}
