//! What the C library does with memory that GStreamer frees.
//!
//! glibc gives threads heaps of their own, up to eight per processor, and keeps what is freed in them.
//! Every connection has new threads, so that after a while each heap has once held a decoder's
//! pictures: memory grows for hours although nothing leaks. With one heap per processor it is flat from
//! the start. What a closed source leaves behind is given back to the system.

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod heaps {
    /// Allows one heap per processor.
    #[allow(unsafe_code)]
    pub(crate) fn limit() {
        let processors = std::thread::available_parallelism().map_or(2, usize::from);
        let heaps = libc::c_int::try_from(processors.max(2)).unwrap_or(2);
        // SAFETY: mallopt takes two numbers and may be called at any time from any thread.
        let set = unsafe { libc::mallopt(libc::M_ARENA_MAX, heaps) };
        if set == 0 {
            tracing::debug!(heaps, "the number of heaps could not be limited");
        }
    }

    /// Gives back what is free.
    #[allow(unsafe_code)]
    pub(crate) fn give_back() {
        // SAFETY: malloc_trim takes a number and may be called at any time from any thread.
        unsafe { libc::malloc_trim(0) };
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
mod heaps {
    pub(crate) fn limit() {}

    pub(crate) fn give_back() {}
}

pub(crate) use heaps::{give_back, limit};
