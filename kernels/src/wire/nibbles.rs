//! Half bytes: two to a byte, the first in the low half.

/// Writes codes of 0 to 15; a last single one leaves the high half 0.
pub(crate) fn pack(codes: impl Iterator<Item = u8>, out: &mut [u8]) {
    out.fill(0);
    for (n, code) in codes.enumerate() {
        out[n / 2] |= (code & 0xF) << (4 * (n % 2));
    }
}

/// The `n`th code.
pub(crate) fn read(bytes: &[u8], n: usize) -> u8 {
    (bytes[n / 2] >> (4 * (n % 2))) & 0xF
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_low() {
        let mut bytes = [0xFF; 2];
        pack([1, 2, 3].into_iter(), &mut bytes);
        assert_eq!(bytes, [0x21, 0x03]);
        assert_eq!([0, 1, 2].map(|n| read(&bytes, n)), [1, 2, 3]);
    }
}
