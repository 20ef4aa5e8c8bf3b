//! The worked examples of docs/wire-formats.md.

use super::*;

fn check(name: &str, residual: &[f32], rows: usize, bytes: &[u8], decoded: &[f32]) {
    let compressor: Compressor = name.parse().unwrap();
    let shape = Shape::new(rows, residual.len() / rows);
    let message = compressor.encode(residual, shape).unwrap();
    assert_eq!(message.0, bytes, "{name}");
    let back = compressor.decode(bytes, shape).unwrap();
    for (back, decoded) in back.iter().zip(decoded) {
        assert!(
            (back - decoded).abs() <= 2e-3 * decoded.abs(),
            "{name}: {back} {decoded}"
        );
    }
}

#[test]
fn the_examples_of_the_document_hold() {
    let r = [1.5, -1.0, 0.5, 4.5, 3.0, -1.5];
    let bytes = [5, 3, 0, 0x38, 0, 0x3E, 0, 0x42, 0, 0x40, 0, 0x3C];
    check("1bit", &r, 2, &bytes, &r);
    let r = [3.0, -1.0, 1.0, -3.0];
    let bytes = [
        0x22, 0, 0x3C, 0, 0x42, 0, 0x3C, 0, 0x3C, 0, 0x42, 0, 0x3C, 0, 0x40,
    ];
    check("2bit", &r, 1, &bytes[..11], &[1.5, -0.5, 0.5, -1.5]);
    check("2bit-fitted", &r, 1, &bytes, &r);
    let bytes = [0x7F, 0xC0, 0, 0, 0x3C];
    check(
        "int8",
        &[127.0, -64.0, 0.5],
        1,
        &bytes,
        &[127.0, -64.0, 0.0],
    );
    let bytes = [0xD7, 0x01, 0, 0x3C];
    check("int4", &[7.0, -3.0, 0.6], 1, &bytes, &[7.0, -3.0, 1.0]);
    let r = [448.0, -1.0, 0.0625];
    check("fp8", &r, 1, &[0x7E, 0xB8, 0x18, 0, 0x3C], &r);
    let r = [3.0, 0.0, 4.0, 0.0];
    let bytes = [0xCD, 0x38, 0x66, 0x3A, 0, 0x45, 0, 0];
    check("lowrank(1)", &r, 2, &bytes, &r);
    let bytes = [0xF0, 0x0F, 0xCD, 0x38, 0xD4, 0x22, 0, 0, 0x55, 0x35];
    check("lowrank-int4(1)", &r, 2, &bytes, &r);
    let r = [0.0, -2.0, 2.0, 1.0, 0.5, 0.0];
    let bytes = [0, 0xC0, 0, 0x38, 0x01];
    check(
        "sparse(1:4)",
        &r,
        1,
        &bytes,
        &[0.0, -2.0, 0.0, 0.0, 0.5, 0.0],
    );
}
