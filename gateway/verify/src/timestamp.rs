//! Signed timestamps: how they are written and how old they may be.

use hookweir_event::Timestamp;

use crate::Rejection;

/// How a timestamp is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    Seconds,
    Millis,
    Rfc3339,
}

/// How far a signed time may lie from now, in milliseconds, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tolerance {
    /// `None`: any age is taken, said in so many words.
    pub(crate) past: Option<i64>,
    /// `None`: any future is taken.
    pub(crate) future: Option<i64>,
}

impl Unit {
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "s" => Some(Self::Seconds),
            "ms" => Some(Self::Millis),
            "rfc3339" => Some(Self::Rfc3339),
            _ => None,
        }
    }

    /// The time that `text` says. Numbers are digits and nothing else: lenient readers stop at the
    /// first other character, and then two readers disagree on what was signed.
    pub(crate) fn read(self, text: &[u8]) -> Option<Timestamp> {
        let text = str::from_utf8(text).ok()?;
        let number = || -> Option<i64> {
            text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
        };
        match self {
            Self::Seconds => number()?.checked_mul(1000).map(Timestamp::from_millis),
            Self::Millis => number().map(Timestamp::from_millis),
            Self::Rfc3339 => {
                let time: jiff::Timestamp = text.parse().ok()?;
                Some(Timestamp::from_millis(time.as_millisecond()))
            }
        }
    }

    /// `time` as the sender writes it; `None` for a time beyond the year 9999.
    pub(crate) fn write(self, time: Timestamp) -> Option<String> {
        match self {
            Self::Seconds => Some(time.as_millis().div_euclid(1000).to_string()),
            Self::Millis => Some(time.as_millis().to_string()),
            Self::Rfc3339 => jiff::Timestamp::from_millisecond(time.as_millis())
                .ok()
                .map(|time| time.to_string()),
        }
    }

    /// Now minus the signed time, in milliseconds. Whole seconds are compared with whole seconds, as
    /// providers' own libraries do: at an age of 300.9 s a tolerance of 300 s is kept. So are dates,
    /// whose fractions some senders leave out.
    pub(crate) fn skew(self, signed: Timestamp, now: Timestamp) -> i64 {
        let whole = |time: Timestamp| time.as_millis().div_euclid(1000).saturating_mul(1000);
        let (signed, now) = match self {
            Self::Seconds | Self::Rfc3339 => (whole(signed), whole(now)),
            Self::Millis => (signed.as_millis(), now.as_millis()),
        };
        now.saturating_sub(signed)
    }
}

impl Tolerance {
    pub(crate) fn check(self, skew_ms: i64) -> Result<(), Rejection> {
        if self.past.is_some_and(|past| skew_ms > past) {
            return Err(Rejection::StaleTimestamp { skew_ms });
        }
        match self.future {
            Some(future) if skew_ms < -future => Err(Rejection::FutureTimestamp { skew_ms }),
            _ => Ok(()),
        }
    }
}

/// A duration such as `500ms`, `30s`, `5m`, `2h`, `1d`, in milliseconds.
pub(crate) fn duration(text: &str) -> Option<i64> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    number.parse::<i64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_read_what_they_write() {
        let time = Timestamp::from_millis(1_768_425_954_000);
        for unit in [Unit::Seconds, Unit::Millis, Unit::Rfc3339] {
            assert_eq!(unit.read(unit.write(time).unwrap().as_bytes()), Some(time));
        }
        let twitch = Unit::Rfc3339.read(b"2026-01-14T21:25:54.123456789Z");
        assert_eq!(twitch, Some(Timestamp::from_millis(1_768_425_954_123)));
    }

    #[test]
    fn numbers_are_digits_only() {
        for text in ["", "-1", "+1", "1.0", "1768425954abc", " 1", "99999999999999999999", "١"] {
            assert_eq!(Unit::Seconds.read(text.as_bytes()), None, "{text}");
        }
        assert_eq!(Unit::Seconds.read(b"9223372036854775807"), None);
    }

    #[test]
    fn both_ends_of_the_tolerance_are_kept() {
        let tolerance = Tolerance { past: Some(300_000), future: Some(300_000) };
        assert_eq!(tolerance.check(300_000), Ok(()));
        assert_eq!(tolerance.check(-300_000), Ok(()));
        let stale = Rejection::StaleTimestamp { skew_ms: 300_001 };
        assert_eq!(tolerance.check(300_001), Err(stale));
        let future = Rejection::FutureTimestamp { skew_ms: -300_001 };
        assert_eq!(tolerance.check(-300_001), Err(future));
        assert_eq!(Tolerance { past: Some(0), future: None }.check(i64::MIN), Ok(()));
    }

    #[test]
    fn durations_have_a_unit() {
        assert_eq!(duration("5m"), Some(300_000));
        assert_eq!(duration("500ms"), Some(500));
        for bad in ["", "5", "m", "5 m", "-5m", "5min", "99999999999999999999s"] {
            assert_eq!(duration(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text: String, signed: i64, now: i64) {
            duration(&text);
            for unit in [Unit::Seconds, Unit::Millis, Unit::Rfc3339] {
                unit.read(text.as_bytes());
                unit.write(Timestamp::from_millis(now));
                let skew = unit.skew(Timestamp::from_millis(signed), Timestamp::from_millis(now));
                let _ = Tolerance { past: Some(1), future: Some(1) }.check(skew);
            }
        }
    }
}
