//! What this process uses.

use std::fmt;
use std::time::{Duration, Instant};

/// How long pools may take to let idle threads go.
const PATIENCE: Duration = Duration::from_secs(40);

/// Threads, descriptors and memory of this process.
#[derive(Debug)]
pub struct Process {
    /// Threads.
    pub threads: usize,
    /// Open descriptors.
    pub descriptors: usize,
    /// Resident memory in bytes.
    pub memory: i64,
}

impl Process {
    fn now() -> Self {
        let count = |folder: &str| std::fs::read_dir(folder).unwrap().count();
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let resident = status
            .lines()
            .find_map(|line| line.strip_prefix("VmRSS:"))
            .and_then(|rest| rest.split_whitespace().next()?.parse::<i64>().ok());
        Self {
            threads: count("/proc/self/task"),
            descriptors: count("/proc/self/fd"),
            memory: resident.unwrap() * 1024,
        }
    }

    /// What it uses when pools have let go what is idle: when nothing changes any more, or when it is
    /// as little as `before`.
    pub fn settled(before: Option<&Self>) -> Self {
        let deadline = Instant::now() + PATIENCE;
        let mut least = Self::now();
        let mut unchanged = 0;
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(500));
            millrace::allocator::release();
            let now = Self::now();
            unchanged += 1;
            if (now.threads, now.descriptors) != (least.threads, least.descriptors) {
                unchanged = 0;
            }
            least = now;
            let enough = match before {
                Some(before) => {
                    least.threads <= before.threads && least.descriptors <= before.descriptors
                }
                None => unchanged >= 8,
            };
            if enough {
                break;
            }
        }
        least
    }
}

impl fmt::Display for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} threads, {} descriptors, {:.1} MiB",
            self.threads,
            self.descriptors,
            self.memory as f64 / f64::from(1 << 20)
        )
    }
}
