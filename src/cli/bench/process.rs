//! What the process takes of the machine, as Linux tells it.

use std::time::Duration;

/// Length of a tick of processor times: Linux shows them in hundredths of a second on all machines.
const TICK: Duration = Duration::from_millis(10);

/// Memory in RAM, in bytes; `None` where it is not told.
pub(super) fn memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kibibytes * 1024)
}

/// Processor time of all threads so far; `None` where it is not told.
pub(super) fn processor_time() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The name of the program, in brackets, may hold spaces.
    let (_, after) = stat.rsplit_once(')')?;
    let mut fields = after.split_whitespace().skip(11);
    let mut ticks = || fields.next()?.parse::<u32>().ok();
    Some(TICK * (ticks()? + ticks()?))
}

/// Threads of the process; `None` where it is not told.
pub(super) fn threads() -> Option<usize> {
    Some(std::fs::read_dir("/proc/self/task").ok()?.count())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_seen() {
        assert!(memory().unwrap() > 1 << 20);
        assert!(threads().unwrap() >= 1);
        let before = processor_time().unwrap();
        let mut x = 1u64;
        while processor_time().unwrap() == before {
            x = std::hint::black_box(x.wrapping_mul(3));
        }
    }
}
