//! Every parser on the committed inputs of the fuzzer (`tests/fuzz/corpus`), and on damaged copies of them.

use std::fs;
use std::path::Path;

use proptest::prelude::*;

#[path = "fuzz/src/parsers.rs"]
mod fuzzed;

use fuzzed::{ALL, Parser};

/// The inputs of a parser: seeds, and those that were findings once.
fn inputs(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../tests/fuzz/corpus")
        .join(name);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|_| panic!("{} has seeds", folder.display()));
    let mut paths: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    paths.sort();
    paths
        .iter()
        .map(|path| fs::read(path).expect("bytes"))
        .collect()
}

#[test]
fn every_parser_comes_back_on_its_inputs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fuzz/corpus");
    assert_eq!(
        fs::read_dir(folder).expect("a folder").count(),
        ALL.len(),
        "one folder a parser"
    );
    for (name, parser) in ALL {
        let all = inputs(name);
        assert!(!all.is_empty(), "{name}");
        for bytes in all {
            parser(&bytes);
        }
    }
}

/// What is done to an input.
#[derive(Clone, Debug)]
enum Damage {
    /// Nothing behind this share.
    Cut(f64),
    /// Another byte at this share.
    Byte(f64, u8),
    /// What stands at one share stands at the other too, so many bytes.
    Copy(f64, f64, usize),
    /// A word that is often the end of a range.
    Word(f64, &'static str),
}

fn damage() -> impl Strategy<Value = Damage> {
    const WORDS: [&str; 12] = [
        "0",
        "-1",
        "65536",
        "4294967295",
        "18446744073709551616",
        "1e308",
        "NaN",
        "\"",
        "[[[[",
        "\n",
        "\u{202e}",
        "(",
    ];
    let share = || 0.0..1.0_f64;
    prop_oneof![
        1 => share().prop_map(Damage::Cut),
        4 => (share(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        2 => (share(), share(), 1..64_usize).prop_map(|(from, to, count)| Damage::Copy(from, to, count)),
        4 => (share(), prop::sample::select(&WORDS[..])).prop_map(|(at, word)| Damage::Word(at, word)),
    ]
}

fn damaged(bytes: &[u8], all: &[Damage]) -> Vec<u8> {
    let mut out = bytes.to_vec();
    for one in all {
        let at = |share: f64, out: &[u8]| (share * out.len() as f64) as usize;
        match one {
            Damage::Cut(share) => out.truncate(at(*share, &out).max(1)),
            Damage::Byte(share, byte) => {
                let at = at(*share, &out);
                if let Some(place) = out.get_mut(at) {
                    *place = *byte;
                }
            }
            Damage::Copy(from, to, count) => {
                let (from, to) = (at(*from, &out), at(*to, &out));
                let part = out[from..out.len().min(from + count)].to_vec();
                out.splice(to..to, part);
            }
            Damage::Word(share, word) => {
                let at = at(*share, &out);
                let end = out.len().min(at + word.len());
                out.splice(at..end, word.bytes());
            }
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// Every case damages one input of every parser.
    #[test]
    fn no_parser_fails_on_damaged_inputs(which in any::<usize>(), all in prop::collection::vec(damage(), 1..6)) {
        for (name, parser) in ALL {
            let parser: &Parser = parser;
            let known = inputs(name);
            parser(&damaged(&known[which % known.len()], &all));
        }
    }
}
