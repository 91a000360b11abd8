//! Values with their unit in them: "10s", "64MiB", "1000/minute".

use std::{fmt, time::Duration};

/// So many in so long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// How many, at least 1.
    pub count: u32,
    /// In how long, never zero.
    pub per: Duration,
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let unit = match self.per.as_secs() {
            1 => "second",
            60 => "minute",
            3600 => "hour",
            _ => "day",
        };
        write!(f, "{}/{unit}", self.count)
    }
}

/// Splits "250ms" into 250 and "ms".
fn split(text: &str) -> Option<(u64, &str)> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..digits].parse().ok()?, text[digits..].trim()))
}

/// A duration: a whole number with `ms`, `s`, `m`, `h` or `d`.
pub(super) fn duration(text: &str) -> Result<Duration, &'static str> {
    const HELP: &str = "expected a duration such as \"500ms\", \"10s\", \"5m\", \"72h\" or \"7d\"";
    let (number, unit) = split(text).ok_or(HELP)?;
    let millis = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return Err(HELP),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or(HELP)
}

/// A size as it is written in a config, in the largest unit that it is a whole number of.
pub(super) struct Size(pub(super) u64);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(bytes) = *self;
        let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
        match units.into_iter().find(|(shift, _)| bytes > 0 && bytes % (1 << shift) == 0) {
            Some((shift, unit)) => write!(f, "{}{unit}", bytes >> shift),
            None => write!(f, "{bytes}B"),
        }
    }
}

/// A size in bytes: a whole number with `B`, `KiB`, `MiB` or `GiB`.
pub(super) fn size(text: &str) -> Result<u64, &'static str> {
    const HELP: &str = "expected a size such as \"512B\", \"64KiB\", \"64MiB\" or \"1GiB\"";
    let (number, unit) = split(text).ok_or(HELP)?;
    let bytes = match unit {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err(HELP),
    };
    number.checked_mul(bytes).ok_or(HELP)
}

/// A rate such as `1000/minute`, or `off`.
pub(super) fn rate(text: &str) -> Result<Option<Rate>, &'static str> {
    const HELP: &str =
        "expected a rate such as \"100/second\", \"1000/minute\", \"5000/hour\", or \"off\"";
    if text == "off" {
        return Ok(None);
    }
    let (count, unit) = text.split_once('/').ok_or(HELP)?;
    let count = count.parse().ok().filter(|&count| count > 0).ok_or(HELP)?;
    let secs = match unit {
        "second" => 1,
        "minute" => 60,
        "hour" => 3600,
        "day" => 86_400,
        _ => return Err(HELP),
    };
    Ok(Some(Rate { count, per: Duration::from_secs(secs) }))
}

/// A switch.
pub(super) fn on_or_off(text: &str) -> Result<bool, &'static str> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("expected \"on\" or \"off\""),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn units_are_read_as_written() {
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        assert_eq!(duration("72h"), Ok(Duration::from_secs(72 * 3600)));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        let per = Duration::from_secs(60);
        assert_eq!(rate("1000/minute"), Ok(Some(Rate { count: 1000, per })));
        assert_eq!(rate("off"), Ok(None));
        for bad in ["", "10", "s", "-1s", "1.5s", "10 parsecs", "99999999999999999999s"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        for bad in ["64MB", "64", "MiB", "99999999999999GiB"] {
            assert!(size(bad).is_err(), "{bad}");
        }
        for bad in ["0/minute", "10", "10/fortnight", "/second"] {
            assert!(rate(bad).is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_parser_panic(text in ".{0,24}") {
            let _ = (duration(&text), size(&text), rate(&text));
        }

        #[test]
        fn a_rate_reads_back(count in 1_u32.., unit in "second|minute|hour|day") {
            let text = format!("{count}/{unit}");
            prop_assert_eq!(rate(&text).unwrap().unwrap().to_string(), text);
        }
    }
}
