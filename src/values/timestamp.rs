//! A point in time, with or without an offset from UTC, as Python's `datetime` has it.

use std::time::Duration;

use chrono::{DateTime, Datelike, FixedOffset, Local, NaiveDateTime, TimeDelta, Timelike, Utc};

/// A point in time with microseconds. Without an offset it is local time of an unknown place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Timestamp {
    local: NaiveDateTime,
    offset: Option<FixedOffset>,
}

impl Timestamp {
    /// A time without an offset.
    pub fn naive(local: NaiveDateTime) -> Self {
        Self {
            local,
            offset: None,
        }
    }

    /// A time with its offset from UTC.
    pub fn zoned(time: DateTime<FixedOffset>) -> Self {
        Self {
            local: time.naive_local(),
            offset: Some(*time.offset()),
        }
    }

    /// The time `micros` microseconds after 1970-01-01 UTC, in UTC.
    pub fn from_unix_micros(micros: i64) -> Self {
        let utc = DateTime::<Utc>::from_timestamp_micros(micros).unwrap_or_default();
        Self::zoned(utc.fixed_offset())
    }

    /// The time this much after it, with the same offset.
    pub fn after(self, time: Duration) -> Self {
        Self {
            local: self.local + TimeDelta::from_std(time).unwrap_or_default(),
            ..self
        }
    }

    /// Whether the offset from UTC is known.
    pub fn is_zoned(&self) -> bool {
        self.offset.is_some()
    }

    /// The offset from UTC in seconds, if known.
    pub fn offset_seconds(&self) -> Option<i32> {
        self.offset.map(|o| o.local_minus_utc())
    }

    /// The time with its offset from UTC, if that is known.
    pub fn zoned_time(&self) -> Option<DateTime<FixedOffset>> {
        let offset = self.offset?;
        self.local.and_local_timezone(offset).single()
    }

    /// Date and time of day as written, without the offset.
    pub fn local(&self) -> NaiveDateTime {
        self.local
    }

    /// Seconds since 1970-01-01 UTC with a fraction. A time without an offset is read in the
    /// machine's time zone, as Python's `datetime.timestamp()` does.
    pub fn unix_seconds(&self) -> f64 {
        let utc = match self.offset {
            Some(offset) => self.local - offset,
            None => match self.local.and_local_timezone(Local) {
                chrono::LocalResult::Single(t) | chrono::LocalResult::Ambiguous(t, _) => {
                    t.naive_utc()
                }
                chrono::LocalResult::None => self.local,
            },
        };
        let utc = utc.and_utc();
        utc.timestamp() as f64 + f64::from(utc.timestamp_subsec_micros()) / 1e6
    }

    /// ISO-8601 text: microseconds only if not zero, `+HH:MM` only if the offset is known.
    pub fn isoformat(&self) -> String {
        self.text('T')
    }

    /// Text as Python's `str()` writes it: ISO-8601 with a space between date and time.
    pub fn python_str(&self) -> String {
        self.text(' ')
    }

    /// Text as Python's `repr()` writes it: the parts one by one, seconds and microseconds only where needed.
    pub fn python_repr(&self) -> String {
        let t = &self.local;
        let micros = t.nanosecond() / 1000 % 1_000_000;
        let mut parts: Vec<String> = vec![t.year().to_string()];
        parts.extend([t.month(), t.day(), t.hour(), t.minute()].map(|n| n.to_string()));
        if t.second() != 0 || micros != 0 {
            parts.push(t.second().to_string());
        }
        if micros != 0 {
            parts.push(micros.to_string());
        }
        if let Some(seconds) = self.offset_seconds() {
            let (days, rest) = (seconds.div_euclid(86_400), seconds.rem_euclid(86_400));
            parts.push(match (days, rest) {
                (0, 0) => "tzinfo=datetime.timezone.utc".into(),
                (0, _) => format!("tzinfo=datetime.timezone(datetime.timedelta(seconds={rest}))"),
                _ => format!(
                    "tzinfo=datetime.timezone(datetime.timedelta(days={days}, seconds={rest}))"
                ),
            });
        }
        format!("datetime.datetime({})", parts.join(", "))
    }

    fn text(&self, separator: char) -> String {
        let t = &self.local;
        let mut text = format!(
            "{:04}-{:02}-{:02}{separator}{:02}:{:02}:{:02}",
            t.year(),
            t.month(),
            t.day(),
            t.hour(),
            t.minute(),
            t.second()
        );
        let micros = t.nanosecond() / 1000 % 1_000_000;
        if micros != 0 {
            text.push_str(&format!(".{micros:06}"));
        }
        if let Some(offset) = self.offset {
            let seconds = offset.local_minus_utc();
            let (sign, magnitude) = if seconds < 0 {
                ('-', -seconds)
            } else {
                ('+', seconds)
            };
            text.push_str(&format!(
                "{sign}{:02}:{:02}",
                magnitude / 3600,
                magnitude / 60 % 60
            ));
            if magnitude % 60 != 0 {
                text.push_str(&format!(":{:02}", magnitude % 60));
            }
        }
        text
    }

    /// Reads ISO-8601 text: a date, or a date and a time with an optional fraction and an optional
    /// `Z` or `±HH[:MM]`. Returns `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Ok(date) = text.parse::<chrono::NaiveDate>() {
            return Some(Self::naive(date.and_hms_opt(0, 0, 0)?));
        }
        const NAIVE: &[&str] = &[
            "%Y-%m-%dT%H:%M:%S%.f",
            "%Y-%m-%d %H:%M:%S%.f",
            "%Y-%m-%dT%H:%M",
            "%Y-%m-%d %H:%M",
        ];
        for format in NAIVE {
            if let Ok(local) = NaiveDateTime::parse_from_str(text, format) {
                return Some(Self::naive(local));
            }
        }
        let utc_spelled = match text.strip_suffix(['Z', 'z']) {
            Some(rest) => format!("{rest}+00:00"),
            None => text.to_owned(),
        };
        for format in NAIVE {
            if let Ok(time) = DateTime::parse_from_str(&utc_spelled, &format!("{format}%#z")) {
                return Some(Self::zoned(time));
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn iso_text_round_trips() {
        for text in [
            "2024-05-01T10:00:00",
            "2024-05-01T10:00:00.000250",
            "2024-05-01T10:00:00+00:00",
            "2024-05-01T10:00:00.500000-03:30",
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().isoformat(), text);
        }
        assert_eq!(
            Timestamp::parse("2024-05-01T10:00:00Z")
                .unwrap()
                .isoformat(),
            "2024-05-01T10:00:00+00:00"
        );
        assert_eq!(
            Timestamp::parse("2024-05-01").unwrap().python_str(),
            "2024-05-01 00:00:00"
        );
        assert!(Timestamp::parse("yesterday").is_none());
    }

    #[test]
    fn the_representation_names_the_parts() {
        for (text, shown) in [
            ("2026-01-01", "datetime.datetime(2026, 1, 1, 0, 0)"),
            (
                "2026-01-01T00:00:04.5",
                "datetime.datetime(2026, 1, 1, 0, 0, 4, 500000)",
            ),
            (
                "2026-01-01T10:20:00Z",
                "datetime.datetime(2026, 1, 1, 10, 20, tzinfo=datetime.timezone.utc)",
            ),
            (
                "2026-01-01T10:20:00-03:30",
                "datetime.datetime(2026, 1, 1, 10, 20, \
                 tzinfo=datetime.timezone(datetime.timedelta(days=-1, seconds=73800)))",
            ),
        ] {
            assert_eq!(Timestamp::parse(text).unwrap().python_repr(), shown);
        }
    }

    #[test]
    fn unix_seconds_honour_the_offset() {
        let t = Timestamp::parse("1970-01-01T01:00:00.25+01:00").unwrap();
        assert!((t.unix_seconds() - 0.25).abs() < 1e-9);
    }
}
