//! The C library's allocator, set up for frames.
//!
//! Every drawing step makes a picture of several megabytes and drops another. glibc gives memory of
//! that size back to the system as soon as it is free and takes it anew for the next frame, zeroed
//! and page by page: with five steps about 5000 page faults a frame at 1080p. Kept instead, it is 150
//! faults and 0.6 of the time (`cargo bench --bench allocator`). OpenCV allocates by itself, so an
//! allocator for Rust alone would not reach its pictures; mimalloc and jemalloc in place of glibc's
//! save less (700 and 1900 faults).
//!
//! All threads share one arena: those of threads cannot be given back by [`release`], and pictures of
//! 4K do not fit into what glibc keeps of them.
//!
//! What is kept is given back by [`release`], for moments when work is over.
#![allow(unsafe_code)]

/// Blocks up to this size come from memory that is kept: the largest that glibc takes, enough for a
/// picture of 4096 × 2160 pixels.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const LARGEST_KEPT: libc::c_int = 32 << 20;
/// Free memory that is kept: ten pictures of 1920 × 1080 pixels.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const KEPT: libc::c_int = 64 << 20;

/// Makes the allocator keep the memory of frames. Does nothing where the C library is not glibc.
pub fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: mallopt takes plain numbers and its own lock; a refused value leaves the default.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
        libc::mallopt(libc::M_MMAP_THRESHOLD, LARGEST_KEPT);
        libc::mallopt(libc::M_TRIM_THRESHOLD, KEPT);
    }
}

/// Gives free memory back to the system. Takes milliseconds, in which allocating threads may wait.
pub fn release() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: malloc_trim touches free memory only and takes the allocator's locks.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;
    use std::process::Command;

    /// Set in the process that measures.
    const ALONE: &str = "MILLRACE_TEST_ALONE";

    /// In a process of its own: other tests take and free memory while they run beside this one.
    #[test]
    fn free_memory_can_be_given_back() {
        if std::env::var_os(ALONE).is_none() {
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", "allocator::tests::free_memory_can_be_given_back"])
                .env(ALONE, "1")
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&child.stdout);
            assert!(
                child.status.success() && told.contains("1 passed"),
                "{told}"
            );
            return;
        }
        set_up();
        let resident = || -> usize {
            let figures = std::fs::read_to_string("/proc/self/statm").unwrap();
            figures.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        let frames: Vec<Vec<u8>> = (0..8).map(|_| vec![1; 6 << 20]).collect();
        let used = resident();
        drop(frames);
        let kept = resident();
        release();
        let left = resident();
        // 48 MiB are 12288 pages.
        assert!(kept + 2000 > used, "{used} pages in use, {kept} after");
        assert!(
            left + 10000 < used,
            "{used} pages in use, {left} after the release"
        );
    }
}
