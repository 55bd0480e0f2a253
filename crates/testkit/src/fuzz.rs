//! Bytes that nobody meant: real samples, changed at random, and pure noise.

use std::fs;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::Config;

/// One change of a sample.
#[derive(Debug, Clone)]
enum Change {
    Flip(Index, u8),
    Set(Index, u8),
    Number(Index, u64, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, Index),
    Repeat(Index, Index),
    Cut(Index),
}

/// Numbers at which lengths and counts go wrong.
const EDGES: [u64; 16] = [
    0,
    1,
    0x7f,
    0x80,
    0xff,
    0x100,
    0x7fff,
    0xffff,
    0x7fff_ffff,
    0x8000_0000,
    0xffff_ffff,
    0x1_0000_0000,
    0x7fff_ffff_ffff_ffff,
    0x8000_0000_0000_0000,
    0xffff_ffff_ffff_fff0,
    u64::MAX,
];

/// At most this many bytes are removed or repeated at once.
const PIECE: usize = 4096;

/// A sample with a few changes: flipped bits, other bytes, other lengths in either order of bytes,
/// pieces put in, taken out or repeated, an early end. One time in eight it is noise instead.
pub fn mutated(sample: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let change = prop_oneof![
        (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Change::Flip(at, bit)),
        (any::<Index>(), any::<u8>()).prop_map(|(at, byte)| Change::Set(at, byte)),
        (any::<Index>(), prop::sample::select(&EDGES[..]), 0..6_u8)
            .prop_map(|(at, number, form)| Change::Number(at, number, form)),
        (any::<Index>(), vec(any::<u8>(), 1..32)).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, count)| Change::Remove(from, count)),
        (any::<Index>(), any::<Index>()).prop_map(|(from, count)| Change::Repeat(from, count)),
        any::<Index>().prop_map(Change::Cut),
    ];
    let changed = vec(change, 1..6).prop_map(move |changes| {
        let mut bytes = sample.clone();
        changes.into_iter().for_each(|change| apply(&mut bytes, change));
        bytes
    });
    prop_oneof![7 => changed, 1 => vec(any::<u8>(), 0..2048)]
}

fn apply(bytes: &mut Vec<u8>, change: Change) {
    if bytes.is_empty() {
        return;
    }
    let length = bytes.len();
    let piece = |from: Index, count: Index| {
        let from = from.index(length);
        from..(from + 1 + count.index(PIECE)).min(length)
    };
    match change {
        Change::Flip(at, bit) => bytes[at.index(length)] ^= 1 << bit,
        Change::Set(at, byte) => bytes[at.index(length)] = byte,
        Change::Number(at, number, form) => {
            let written = number_as(number, form);
            for (offset, byte) in written.into_iter().enumerate() {
                if let Some(place) = bytes.get_mut(at.index(length) + offset) {
                    *place = byte;
                }
            }
        }
        Change::Insert(at, piece) => {
            let at = at.index(length);
            bytes.splice(at..at, piece);
        }
        Change::Remove(from, count) => drop(bytes.drain(piece(from, count))),
        Change::Repeat(from, count) => {
            let range = piece(from, count);
            let repeated = bytes[range.clone()].to_vec();
            bytes.splice(range.end..range.end, repeated);
        }
        Change::Cut(at) => bytes.truncate(at.index(length)),
    }
}

/// A number as formats write it: four or eight bytes in either order, base 128, or in digits.
fn number_as(number: u64, form: u8) -> Vec<u8> {
    match form {
        0 => number.to_le_bytes()[..4].to_vec(),
        1 => number.to_be_bytes()[4..].to_vec(),
        2 => number.to_le_bytes().to_vec(),
        3 => number.to_be_bytes().to_vec(),
        4 => {
            let (mut rest, mut out) = (number, Vec::new());
            while rest > 0x7f {
                out.push(rest.to_le_bytes()[0] | 0x80);
                rest >>= 7;
            }
            out.push(rest.to_le_bytes()[0]);
            out
        }
        _ => number.to_string().into_bytes(),
    }
}

/// So many cases, or what `PROPTEST_CASES` says.
pub fn cases(usual: u32) -> Config {
    let told = Config::default();
    let cases = if told.cases == 256 { usual } else { told.cases };
    Config { cases, failure_persistence: None, max_shrink_iters: 200, ..told }
}

/// Runs one case; panics if it takes longer than any should.
#[track_caller]
pub fn within<T>(limit: Duration, work: impl FnOnce() -> T) -> T {
    let began = Instant::now();
    let result = work();
    assert!(began.elapsed() < limit, "one case took {:?}", began.elapsed());
    result
}

/// The most memory that this process ever held, bytes.
pub fn peak_memory() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().unwrap();
    kib * 1024
}
