//! What `plan` prints for people.

use crate::printed;

#[test]
fn the_default_question_fills_one_page() {
    let page = printed(&["plan"]);
    for part in [
        "FLUX.1-dev 1024x1024, 28 steps",
        "speed-up",
        "one GPU",
        "Best: ",
        "lower bound",
        "legal plans considered",
        "Why the others lose",
        "Launch",
        "Where the numbers come from",
    ] {
        assert!(page.contains(part), "{part}\n{page}");
    }
    for line in page.lines() {
        assert!(line.chars().count() <= 100, "{line}");
    }
}

#[test]
fn on_nvlink_it_says_that_compression_does_not_pay() {
    let page = printed(&["plan", "--machine", "4xh20-nvlink"]);
    assert!(
        page.to_lowercase().contains("compression does not pay"),
        "{page}"
    );
}
