//! Tells the time of day in a time zone.
//!
//! # Inputs and outputs
//! `timezone`, one of the names that editors offer → `timestamp`, and the same as text:
//! `iso_string` (with microseconds unless they are 0), `date` and `time`.
//!
//! # State
//! None.
//!
//! # Edge cases
//! The time is the clock's, for recorded video too. Any other zone is refused.

mod zones;

use chrono::DateTime;

use crate::blocks::{
    Block, BlockError, BlockSpec, Context, Family, Field, Inputs, Output, Ty, output,
};
use crate::row;
use crate::values::{Timestamp, Value, kind};

/// `roboflow_core/current_time@v1`
pub static BLOCK: BlockSpec = BlockSpec {
    types: &["roboflow_core/current_time@v1"],
    name: "Current Time",
    family: Family::Formatter,
    stateless: true,
    about: "Tells the time of day in a time zone.",
    fields: &[Field::optional(
        "timezone",
        &[Ty::OneOf(zones::NAMES), Ty::Selector(&[kind::STRING])],
        "\"UTC\"",
    )
    .about("The time zone.")
    .extra(include_str!("current_time/labels.json"))],
    outputs: &[
        output("timestamp", &[kind::TIMESTAMP]),
        output("iso_string", &[kind::STRING]),
        output("date", &[kind::STRING]),
        output("time", &[kind::STRING]),
    ],
    build: |_, _| Ok(Box::new(CurrentTime)),
    ..BlockSpec::DEFAULT
};

struct CurrentTime;

impl Block for CurrentTime {
    fn run(&mut self, inputs: &Inputs<'_>, cx: &Context<'_>) -> Result<Output, BlockError> {
        let zone = inputs.text("timezone")?;
        let now = cx.now();
        let utc = now.zoned_time().map(|time| time.to_utc());
        let utc = utc.unwrap_or(DateTime::UNIX_EPOCH);
        let Some(local) = zones::local(utc, zone) else {
            return Err(BlockError::failed(format!(
                "time zone `{zone}` is not offered; use one of {}",
                zones::NAMES.join(", ")
            )));
        };
        let time = Timestamp::zoned(local);
        Ok(Output::One(row![
            Value::Timestamp(time),
            time.isoformat(),
            local.format("%Y-%m-%d").to_string(),
            local.format("%H:%M:%S").to_string(),
        ]))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::blocks::query::trial::{Host, values};

    fn texts(host: &Host, zone: &str) -> Result<Vec<String>, BlockError> {
        let values = values(&BLOCK, &[("timezone", zone.into())]);
        match CurrentTime.run(&Inputs::new(&BLOCK, &values), &host.cx(&Arc::default()))? {
            Output::One(row) => Ok(row[1..]
                .iter()
                .map(|v| v.as_str().unwrap().into())
                .collect()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_clock_is_read_in_the_zone() {
        let host = Host::default();
        assert_eq!(
            texts(&host, "Asia/Kolkata").unwrap(),
            ["1970-01-01T05:30:00+05:30", "1970-01-01", "05:30:00"]
        );
        host.advance(0.25);
        assert_eq!(
            texts(&host, "Pacific/Pago_Pago").unwrap(),
            ["1969-12-31T13:00:00.250000-11:00", "1969-12-31", "13:00:00"]
        );
    }

    #[test]
    fn other_zones_are_refused() {
        let error = texts(&Host::default(), "Europe/Paris").unwrap_err();
        assert!(error.to_string().contains("`Europe/Paris` is not offered"));
    }
}
