//! Times and sizes as people write them.

use std::time::Duration;

use anyhow::{Context, Result};

/// `500ms`, `10s`, `2m`, `1h`; a bare number is seconds.
pub fn duration(flag: &str, text: &str) -> Result<Duration> {
    let wrong = || format!("{flag} {text}: write a time such as 500ms, 10s or 2m");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().with_context(wrong)?;
    let millis = match &text[digits.len()..] {
        "ms" => number.checked_mul(1),
        "" | "s" => number.checked_mul(1_000),
        "m" => number.checked_mul(60_000),
        "h" => number.checked_mul(3_600_000),
        _ => None,
    };
    // A year is more than any of these can mean, and far from every overflow.
    let millis = millis.filter(|n| *n <= 366 * 24 * 3_600_000).with_context(wrong)?;
    Ok(Duration::from_millis(millis))
}

/// `512`, `64K`, `16M`, `1G`, powers of 1024; a trailing `B` or `iB` is allowed.
pub fn size(flag: &str, text: &str) -> Result<u64> {
    let wrong = || format!("{flag} {text}: write a size such as 64K, 16M or 1G");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().with_context(wrong)?;
    let unit = text[digits.len()..].trim_end_matches('B').trim_end_matches('i');
    let shift = match unit.to_ascii_uppercase().as_str() {
        "" => 0,
        "K" => 10,
        "M" => 20,
        "G" => 30,
        "T" => 40,
        _ => return Err(anyhow::anyhow!(wrong())),
    };
    number.checked_mul(1 << shift).with_context(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_and_sizes_take_the_usual_units_and_refuse_the_rest() {
        assert_eq!(duration("-", "500ms").unwrap(), Duration::from_millis(500));
        assert_eq!(duration("-", "2").unwrap(), Duration::from_secs(2));
        assert_eq!(duration("-", "2m").unwrap(), Duration::from_secs(120));
        assert_eq!(size("-", "64K").unwrap(), 65536);
        assert_eq!(size("-", "1GiB").unwrap(), 1 << 30);
        for wrong in ["", "s", "-1s", "1d", "1.5s", "99999999999999999999s", "9999999h"] {
            assert!(duration("-", wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "K", "-1", "1X", "99999999999T"] {
            assert!(size("-", wrong).is_err(), "{wrong}");
        }
    }
}
