//! The time zones that the block offers, each with the offset rules in force since 2024 (IANA 2025).

use chrono::{DateTime, Datelike, Days, FixedOffset, NaiveDate, NaiveDateTime, TimeDelta, Utc};

/// A time zone: its name, its standard offset from UTC in minutes and its summer time.
struct Zone(&'static str, i32, Option<&'static Summer>);

/// When clocks go forward and back each year.
struct Summer {
    /// Minutes by which clocks go forward.
    shift: i32,
    begin: Change,
    end: Change,
    /// Whether the minutes of day are UTC's (else those of standard time).
    utc: bool,
}

/// A yearly moment: month, which such weekday in it (5 = the last), days from Sunday, minutes of
/// the day.
struct Change(u32, u8, u32, i64);

static NORTH_AMERICA: Summer = Summer {
    shift: 60,
    begin: Change(3, 2, 0, 120),
    end: Change(11, 1, 0, 60),
    utc: false,
};
static EUROPE: Summer = Summer {
    shift: 60,
    begin: Change(3, 5, 0, 60),
    end: Change(10, 5, 0, 60),
    utc: true,
};
static EGYPT: Summer = Summer {
    shift: 60,
    begin: Change(4, 5, 5, 0),
    end: Change(10, 5, 4, 1380),
    utc: false,
};
static AUSTRALIA: Summer = Summer {
    shift: 60,
    begin: Change(10, 1, 0, 120),
    end: Change(4, 1, 0, 120),
    utc: false,
};
static LORD_HOWE: Summer = Summer {
    shift: 30,
    begin: Change(10, 1, 0, 120),
    end: Change(4, 1, 0, 90),
    utc: false,
};
static NEW_ZEALAND: Summer = Summer {
    shift: 60,
    begin: Change(9, 5, 0, 120),
    end: Change(4, 1, 0, 120),
    utc: false,
};
static CHATHAM: Summer = Summer {
    shift: 60,
    begin: Change(9, 5, 0, 165),
    end: Change(4, 1, 0, 165),
    utc: false,
};

macro_rules! zones {
    ($($name:literal $minutes:literal $summer:expr;)*) => {
        /// Names of the zones, west to east.
        pub const NAMES: &[&str] = &[$($name),*];
        static ZONES: &[Zone] = &[$(Zone($name, $minutes, $summer)),*];
    };
}

zones! {
    "Etc/GMT+12" -720 None;
    "Pacific/Pago_Pago" -660 None;
    "Pacific/Honolulu" -600 None;
    "Pacific/Marquesas" -570 None;
    "America/Anchorage" -540 Some(&NORTH_AMERICA);
    "Pacific/Gambier" -540 None;
    "America/Los_Angeles" -480 Some(&NORTH_AMERICA);
    "America/Denver" -420 Some(&NORTH_AMERICA);
    "America/Phoenix" -420 None;
    "America/Chicago" -360 Some(&NORTH_AMERICA);
    "America/Mexico_City" -360 None;
    "America/New_York" -300 Some(&NORTH_AMERICA);
    "America/Bogota" -300 None;
    "America/Halifax" -240 Some(&NORTH_AMERICA);
    "America/Puerto_Rico" -240 None;
    "America/St_Johns" -210 Some(&NORTH_AMERICA);
    "America/Sao_Paulo" -180 None;
    "Atlantic/South_Georgia" -120 None;
    "Atlantic/Azores" -60 Some(&EUROPE);
    "Atlantic/Cape_Verde" -60 None;
    "UTC" 0 None;
    "Europe/London" 0 Some(&EUROPE);
    "Europe/Berlin" 60 Some(&EUROPE);
    "Africa/Lagos" 60 None;
    "Europe/Kyiv" 120 Some(&EUROPE);
    "Africa/Cairo" 120 Some(&EGYPT);
    "Africa/Johannesburg" 120 None;
    "Europe/Moscow" 180 None;
    "Europe/Istanbul" 180 None;
    "Africa/Nairobi" 180 None;
    "Asia/Tehran" 210 None;
    "Asia/Dubai" 240 None;
    "Asia/Kabul" 270 None;
    "Asia/Karachi" 300 None;
    "Asia/Kolkata" 330 None;
    "Asia/Kathmandu" 345 None;
    "Asia/Dhaka" 360 None;
    "Asia/Yangon" 390 None;
    "Asia/Bangkok" 420 None;
    "Asia/Shanghai" 480 None;
    "Australia/Eucla" 525 None;
    "Asia/Tokyo" 540 None;
    "Australia/Darwin" 570 None;
    "Australia/Adelaide" 570 Some(&AUSTRALIA);
    "Australia/Sydney" 600 Some(&AUSTRALIA);
    "Pacific/Port_Moresby" 600 None;
    "Australia/Lord_Howe" 630 Some(&LORD_HOWE);
    "Pacific/Guadalcanal" 660 None;
    "Pacific/Norfolk" 660 Some(&AUSTRALIA);
    "Pacific/Fiji" 720 None;
    "Pacific/Auckland" 720 Some(&NEW_ZEALAND);
    "Pacific/Chatham" 765 Some(&CHATHAM);
    "Pacific/Tongatapu" 780 None;
    "Pacific/Apia" 780 None;
    "Pacific/Kiritimati" 840 None;
}

/// The same moment in a zone; `None` if the zone is not offered.
pub fn local(utc: DateTime<Utc>, zone: &str) -> Option<DateTime<FixedOffset>> {
    let Zone(_, standard, summer) = ZONES.iter().find(|Zone(name, ..)| *name == zone)?;
    let shift = summer.map_or(0, |summer| summer.shift_at(utc, *standard));
    let offset = FixedOffset::east_opt((standard + shift) * 60)?;
    Some(utc.with_timezone(&offset))
}

impl Summer {
    fn shift_at(&self, utc: DateTime<Utc>, standard: i32) -> i32 {
        let minutes = if self.utc { 0 } else { standard };
        let now = utc.naive_utc() + TimeDelta::minutes(minutes.into());
        let year = now.year();
        let (Some(begin), Some(end)) = (self.begin.in_year(year), self.end.in_year(year)) else {
            return 0;
        };
        let summer = match begin < end {
            true => begin <= now && now < end,
            false => now < end || begin <= now,
        };
        if summer { self.shift } else { 0 }
    }
}

impl Change {
    fn in_year(&self, year: i32) -> Option<NaiveDateTime> {
        let Self(month, week, weekday, minutes) = *self;
        let first = NaiveDate::from_ymd_opt(year, month, 1)?;
        let days = (7 + weekday - first.weekday().num_days_from_sunday()) % 7;
        let mut date = first + Days::new((days + 7 * (u32::from(week) - 1)).into());
        if date.month() != month {
            date = date - Days::new(7);
        }
        Some(date.and_hms_opt(0, 0, 0)? + TimeDelta::minutes(minutes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clocks_change_when_the_zone_says() {
        // Moments just before and at a change, as the IANA database has them.
        for (zone, before, after, change) in [
            (
                "America/New_York",
                "-05:00",
                "-04:00",
                "2026-03-08T07:00:00Z",
            ),
            (
                "America/New_York",
                "-04:00",
                "-05:00",
                "2026-11-01T06:00:00Z",
            ),
            ("Europe/Kyiv", "+02:00", "+03:00", "2026-03-29T01:00:00Z"),
            (
                "Atlantic/Azores",
                "+00:00",
                "-01:00",
                "2026-10-25T01:00:00Z",
            ),
            ("Africa/Cairo", "+02:00", "+03:00", "2026-04-23T22:00:00Z"),
            ("Africa/Cairo", "+03:00", "+02:00", "2026-10-29T21:00:00Z"),
            (
                "Australia/Sydney",
                "+11:00",
                "+10:00",
                "2026-04-04T16:00:00Z",
            ),
            (
                "Australia/Lord_Howe",
                "+11:00",
                "+10:30",
                "2026-04-04T15:00:00Z",
            ),
            (
                "Pacific/Chatham",
                "+12:45",
                "+13:45",
                "2026-09-26T14:00:00Z",
            ),
        ] {
            let at: DateTime<Utc> = change.parse().unwrap();
            let offset = |utc| local(utc, zone).unwrap().offset().to_string();
            assert_eq!(
                offset(at - TimeDelta::seconds(1)),
                before,
                "{zone} {change}"
            );
            assert_eq!(offset(at), after, "{zone} {change}");
        }
        assert!(local(Utc::now(), "Europe/Paris").is_none());
        assert_eq!(NAMES.len(), 55);
    }
}
