//! What the current thread has allocated: number and live bytes. Including this file makes the counter
//! the test's allocator.
#![allow(unsafe_code)]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static LIVE: Cell<i64> = const { Cell::new(0) };
    static MADE: Cell<u64> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Bytes that this thread allocated less those that it freed.
pub fn live() -> i64 {
    LIVE.get()
}

/// Allocations that this thread made.
pub fn made() -> u64 {
    MADE.get()
}

fn count(bytes: i64, new: bool) {
    // A thread that ends has no counters left to keep.
    let _ = LIVE.try_with(|live| live.set(live.get() + bytes));
    let _ = MADE.try_with(|made| made.set(made.get() + u64::from(new)));
}

// SAFETY: every call goes to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, true);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        count(-(layout.size() as i64), false);
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as i64, true);
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(size as i64 - layout.size() as i64, true);
        unsafe { System.realloc(at, layout, size) }
    }
}
