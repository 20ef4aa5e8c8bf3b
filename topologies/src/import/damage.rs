//! Damaged copies of a sample, for tests: the same ones every time.

/// Forty damaged variants of a text: cut, bytes changed, numbers grown, parts doubled, nested, emptied,
/// encoded otherwise.
pub(crate) fn variants(text: &str) -> Vec<Vec<u8>> {
    let bytes = text.as_bytes();
    let mut all: Vec<Vec<u8>> = Vec::new();
    for share in 1..14 {
        all.push(bytes[..bytes.len() * share / 14].to_vec());
    }
    // A fixed linear congruential sequence: which bytes change is the same on every run.
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    for count in [1, 3, 10, 30, 100, 300] {
        let mut copy = bytes.to_vec();
        for _ in 0..count {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            let at = (state >> 33) as usize % copy.len();
            copy[at] = b" 0Z<>\"/\t-9X\n"[(state >> 20) as usize % 12];
        }
        all.push(copy);
    }
    for (from, to) in [
        ("1", "99999999999999999999"),
        ("0", "-1"),
        ("1", "1e308"),
        ("0", "NaN"),
        ("\t", " "),
        ("GPU", "NIC"),
        ("\"", "'"),
        ("GPU1", "GPU0"),
        ("NV1", "NV9999"),
        ("e", "\u{202e}\u{0}"),
    ] {
        all.push(text.replace(from, to).into_bytes());
    }
    all.push(text.repeat(2).into_bytes());
    all.push(Vec::new());
    all.push(b"\n\n\n".to_vec());
    all.push(text.encode_utf16().flat_map(u16::to_le_bytes).collect());
    all.push([&[0xff, 0xfe][..], bytes].concat());
    all.push([&[0x80, 0xc3][..], bytes].concat());
    all.push(format!("{}{text}", "<pci>".repeat(100_000)).into_bytes());
    all.push(format!("{text}{}", "\n<a><b>".repeat(50_000)).into_bytes());
    all.push(format!("{{\"a\":{}", "[".repeat(100_000)).into_bytes());
    all.push(
        text.lines()
            .rev()
            .collect::<Vec<_>>()
            .join("\n")
            .into_bytes(),
    );
    all
}
