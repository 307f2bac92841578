//! The access log: one line a request, gathered and written in batches beside the requests. A log
//! nobody reads fast enough loses lines, and says how many; it never holds a request up.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::OwnedFd;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use http::{HeaderMap, HeaderName, Method, Request, Uri, Version, header};

use super::settings::LogFormat;
use super::stdio::Output;

const LINGER: Duration = Duration::from_millis(50);

pub struct AccessLog {
    format: LogFormat,
    output: Output,
}

/// What the end of a request needs of its beginning.
pub struct Entry {
    peer: Option<IpAddr>,
    method: Method,
    uri: Uri,
    version: Version,
    referer: String,
    user_agent: String,
    pub bytes: u64,
}

impl Entry {
    pub fn new<B>(peer: Option<SocketAddr>, request: &Request<B>) -> Entry {
        Entry {
            peer: peer.map(|address| address.ip()),
            method: request.method().clone(),
            uri: request.uri().clone(),
            version: request.version(),
            referer: text(request.headers(), header::REFERER),
            user_agent: text(request.headers(), header::USER_AGENT),
            bytes: 0,
        }
    }

    fn peer(&self) -> String {
        self.peer.map_or_else(|| "-".into(), |peer| peer.to_string())
    }

    fn target(&self) -> &str {
        self.uri.path_and_query().map_or("*", |path| path.as_str())
    }
}

fn text(headers: &HeaderMap, name: HeaderName) -> String {
    headers
        .get(name)
        .map_or_else(String::new, |value| String::from_utf8_lossy(value.as_bytes()).into_owned())
}

impl AccessLog {
    /// Must be called inside the runtime.
    pub fn new(fd: OwnedFd, format: LogFormat) -> Result<AccessLog> {
        let output = Output::new(fd, LINGER).context("open access log")?;
        Ok(AccessLog { format, output })
    }

    pub fn write(&self, entry: &Entry, status: u16, elapsed: Duration) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = match self.format {
            LogFormat::Combined => combined(entry, status, now),
            LogFormat::Json => json(entry, status, elapsed, now),
        };
        self.output.line(&line);
    }

    pub async fn flush(&self, limit: Duration) {
        self.output.flush(limit).await;
    }
}

fn combined(entry: &Entry, status: u16, now: Duration) -> String {
    let referer = quoted(&entry.referer);
    let user_agent = quoted(&entry.user_agent);
    format!(
        r#"{} - - [{}] "{} {} {:?}" {} {} "{}" "{}""#,
        entry.peer(),
        common_log_time(now.as_secs()),
        entry.method,
        quoted(entry.target()),
        entry.version,
        status,
        entry.bytes,
        referer,
        user_agent,
    )
}

fn json(entry: &Entry, status: u16, elapsed: Duration, now: Duration) -> String {
    serde_json::json!({
        "time": now.as_millis() as u64,
        "peer": entry.peer(),
        "method": entry.method.as_str(),
        "target": entry.target(),
        "version": format!("{:?}", entry.version),
        "status": status,
        "bytes": entry.bytes,
        "us": elapsed.as_micros() as u64,
        "referer": entry.referer,
        "user_agent": entry.user_agent,
    })
    .to_string()
}

/// Client text between double quotes: quotes, backslashes and control characters as \xHH, so that a
/// client cannot forge a field or a line.
fn quoted(text: &str) -> String {
    if text.is_empty() {
        return "-".into();
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => write!(out, "\\x{:02X}", c as u32).expect("writing to a string"),
            c if c.is_control() => write!(out, "\\x{:02X}", c as u32).expect("writing to a string"),
            c => out.push(c),
        }
    }
    out
}

/// `21/Nov/2026:20:08:02 +0000`.
fn common_log_time(seconds: u64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let (year, month, day) = civil(seconds / 86_400);
    let time = seconds % 86_400;
    let (hour, minute, second) = (time / 3600, time / 60 % 60, time % 60);
    format!(
        "{day:02}/{}/{year}:{hour:02}:{minute:02}:{second:02} +0000",
        MONTHS[month as usize - 1]
    )
}

/// The Gregorian date of a day since 1970, counted in years that begin in March so that the leap
/// day comes last.
fn civil(days: u64) -> (u64, u64, u64) {
    let shifted = days + 719_468;
    let era = shifted / 146_097;
    let day_of_era = shifted % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_those_of_the_calendar() {
        assert_eq!(common_log_time(0), "01/Jan/1970:00:00:00 +0000");
        assert_eq!(common_log_time(951_782_399), "28/Feb/2000:23:59:59 +0000");
        assert_eq!(common_log_time(951_782_400), "29/Feb/2000:00:00:00 +0000");
        assert_eq!(common_log_time(1_795_291_682), "21/Nov/2026:20:08:02 +0000");
    }

    #[test]
    fn a_client_cannot_forge_a_field() {
        assert_eq!(quoted("a\"b\\c\nd"), r"a\x22b\x5Cc\x0Ad");
        assert_eq!(quoted(""), "-");
    }
}
