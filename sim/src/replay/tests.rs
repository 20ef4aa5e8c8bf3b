use super::*;

#[test]
fn text_and_image_are_cut_apart() {
    // 8 text tokens first, 256 image tokens: rank 1 of 4 has text 2..4 and image 72..136.
    let shards = shards(&(0..8), &(8..264), 4);
    assert_eq!(shards[1], [2..4, 72..136]);
    // Text after the image keeps its place; text that does not divide is not sent.
    assert_eq!(
        super::shards(&(256..264), &(0..256), 2)[1],
        [128..256, 260..264]
    );
    let odd = super::shards(&(0..7), &(7..263), 2);
    assert_eq!((odd[0].len(), odd[0][0].clone()), (1, 7..135));
}
