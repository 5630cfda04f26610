//! The table of faults and recoveries.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use super::fault::Fault;

/// A fault that is over.
pub struct Row {
    /// Its kind.
    pub fault: Fault,
    /// How long it lasted.
    pub lasts: Duration,
    /// From its end to the first good frame.
    pub recovery: Duration,
}

/// All faults.
#[derive(Default)]
pub struct Table(Vec<Row>);

impl Table {
    /// Adds a fault.
    pub fn add(&mut self, row: Row) {
        self.0.push(row);
    }

    /// Number of faults.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The time within which this share of the cameras was back.
    pub fn quantile(&mut self, share: f64) -> Duration {
        quantile(self.0.iter().map(|row| row.recovery).collect(), share)
    }
}

fn quantile(mut times: Vec<Duration>, share: f64) -> Duration {
    times.sort();
    let at = (times.len() as f64 * share).ceil() as usize;
    times.get(at.max(1) - 1).copied().unwrap_or_default()
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut kinds: BTreeMap<Fault, Vec<&Row>> = BTreeMap::new();
        for row in &self.0 {
            kinds.entry(row.fault).or_default().push(row);
        }
        writeln!(
            f,
            "| fault | times | lasted up to, s | back p50, s | p99, s | max, s |"
        )?;
        writeln!(f, "| --- | --- | --- | --- | --- | --- |")?;
        let line = |f: &mut fmt::Formatter<'_>, name: &str, rows: &[&Row]| {
            let times: Vec<Duration> = rows.iter().map(|row| row.recovery).collect();
            let longest = rows.iter().map(|row| row.lasts).max().unwrap_or_default();
            let [half, most, all] = [0.5, 0.99, 1.0].map(|q| quantile(times.clone(), q));
            writeln!(
                f,
                "| {name} | {} | {:.2} | {:.2} | {:.2} | {:.2} |",
                rows.len(),
                longest.as_secs_f64(),
                half.as_secs_f64(),
                most.as_secs_f64(),
                all.as_secs_f64()
            )
        };
        for (fault, rows) in &kinds {
            line(f, &format!("{fault:?}"), rows)?;
        }
        line(f, "all", &self.0.iter().collect::<Vec<_>>())
    }
}
