//! What others took of the processors while something ran: a bar on time is for a machine that is not
//! starved, and is scaled by this on one that is.

use std::fs;

/// Time of all processors since the start of the machine, in the system's ticks.
#[derive(Clone, Copy)]
pub struct Processors {
    all: f64,
    /// What this process used or could have used.
    own: f64,
}

impl Processors {
    /// The times until now, from `/proc`.
    pub fn now() -> Self {
        let ticks = |text: &str, from: usize, count: usize| -> Vec<f64> {
            let words = text.split_whitespace().skip(from).take(count);
            words.filter_map(|word| word.parse().ok()).collect()
        };
        let machine = fs::read_to_string("/proc/stat").expect("/proc/stat");
        // User, nice, system, idle, waiting for disks, interrupts of two kinds, taken by the host.
        let all = ticks(machine.lines().next().unwrap_or_default(), 1, 8);
        let process = fs::read_to_string("/proc/self/stat").expect("/proc/self/stat");
        let (_, after_name) = process.rsplit_once(')').expect("a name in brackets");
        let used: f64 = ticks(after_name, 11, 2).iter().sum();
        Self {
            all: all.iter().sum(),
            own: used + all[3] + all[4],
        }
    }

    /// How many times longer work may have taken since `before` than on a machine without others: 1 if
    /// there were none.
    pub fn starved_since(self, before: Self) -> f64 {
        (self.all - before.all) / (self.own - before.own).max(1.0)
    }
}
