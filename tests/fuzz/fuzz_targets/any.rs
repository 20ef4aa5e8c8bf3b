//! All targets in one program, which is linked once: the environment's `PARSER` names one.
#![no_main]

use std::sync::LazyLock;

static PARSER: LazyLock<fuzz::parsers::Parser> = LazyLock::new(|| {
    let name = std::env::var("PARSER").unwrap_or_default();
    let found = fuzz::parsers::ALL.iter().find(|(known, _)| *known == name);
    found
        .unwrap_or_else(|| panic!("PARSER={name}: name a parser of tests/fuzz/src/parsers.rs"))
        .1
});

libfuzzer_sys::fuzz_target!(|input: &[u8]| PARSER(input));
