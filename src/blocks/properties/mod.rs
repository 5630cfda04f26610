//! What holds for any boxes: places survive the way through crops, slices and perspectives and back,
//! and trackers do not care for the order of rows.
//!
//! The seed is fixed, so every run tries the same cases.

mod order;
mod ways_back;

use proptest::test_runner::{Config, RngSeed};

/// So many cases, the same ones on each run; more if `PROPTEST_CASES` says so.
fn cases(number: u32) -> Config {
    let asked = std::env::var_os("PROPTEST_CASES").is_some();
    Config {
        cases: if asked {
            Config::default().cases
        } else {
            number
        },
        rng_seed: RngSeed::Fixed(20_261_122),
        failure_persistence: None,
        ..Config::default()
    }
}
