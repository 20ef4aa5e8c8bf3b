//! Every parser as a function of bytes, and an allocator that refuses what no parser needs.

pub mod parsers;

use std::alloc::{GlobalAlloc, Layout, System};

/// Bytes of the largest single allocation.
const LARGEST: usize = 256 << 20;

/// The system's allocator with a limit: libFuzzer's own needs a sanitizer, which code without `unsafe` does not.
struct Limited;

// SAFETY: every call is handed to the system's allocator as it came, or ends the process.
unsafe impl GlobalAlloc for Limited {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        limit(layout.size());
        // SAFETY: the caller's promise about `layout` is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: `at` came from `System` through this allocator, with this layout.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        limit(size);
        // SAFETY: as in `dealloc`; the caller's promise about `size` is passed on.
        unsafe { System.realloc(at, layout, size) }
    }
}

fn limit(size: usize) {
    assert!(
        size <= LARGEST,
        "one allocation of {size} bytes: a limit is missing"
    );
}

#[global_allocator]
static ALLOCATOR: Limited = Limited;
