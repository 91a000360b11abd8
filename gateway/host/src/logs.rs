//! What one attempt logs: cut per line and per attempt, what is dropped counted, control characters
//! escaped, so that a plugin can neither fill the disk nor write to an operator's terminal. Secrets of its grant are
//! hidden: it may have read one, or a server may have sent one back.

use std::{fmt::Write as _, sync::Arc};

use hookweir_event::{LogLevel, LogLine};

use crate::{Limits, Redaction};

#[derive(Debug)]
pub(crate) struct Logs {
    hide: Arc<Redaction>,
    lines: Vec<LogLine>,
    bytes_left: usize,
    lines_left: usize,
    line_max: usize,
    dropped: u64,
    /// Where the last error is; kept even if there was no room for the line.
    last_error: Option<String>,
}

impl Logs {
    pub(crate) fn new(limits: &Limits, hide: Arc<Redaction>) -> Self {
        Self {
            hide,
            lines: Vec::new(),
            bytes_left: limits.log_bytes,
            lines_left: limits.log_lines,
            line_max: limits.log_line_bytes,
            dropped: 0,
            last_error: None,
        }
    }

    /// One line: the text, then the fields as `name=value`.
    pub(crate) fn write(&mut self, level: LogLevel, text: &str, fields: &[(String, String)]) {
        let full = self.lines_left == 0 || self.bytes_left == 0;
        if full && level < LogLevel::Error {
            self.dropped += 1;
            return;
        }
        let text = line(&self.hide, text, fields, self.line_max);
        if level == LogLevel::Error {
            self.last_error = Some(text.clone());
        }
        if full || text.len() > self.bytes_left {
            self.dropped += 1;
            // Small lines behind a large one would hide that it is missing.
            self.bytes_left = 0;
            return;
        }
        self.bytes_left -= text.len();
        self.lines_left -= 1;
        self.lines.push(LogLine { level, text });
    }

    /// The last line of level error: a panic's message, if the SDK's hook wrote it.
    pub(crate) fn last_error(&self) -> Option<&str> {
        self.last_error.as_deref()
    }

    /// The lines, with one more that tells how many are missing.
    pub(crate) fn finish(&mut self) -> Vec<LogLine> {
        let mut lines = std::mem::take(&mut self.lines);
        if self.dropped > 0 {
            let text = format!("[{} more log lines were dropped: over the limit]", self.dropped);
            lines.push(LogLine { level: LogLevel::Warn, text });
        }
        lines
    }
}

fn line(hide: &Redaction, text: &str, fields: &[(String, String)], max: usize) -> String {
    let mut line = clean(&hide.text(text), max);
    for (name, value) in fields {
        if line.len() >= max {
            break;
        }
        line.push(' ');
        line.push_str(&clean(name, max));
        line.push('=');
        line.push_str(&clean(&hide.text(value), max));
    }
    cut(line, max)
}

/// `text` on one line with control characters escaped, at most `max` bytes and a few for the mark.
pub(crate) fn clean(text: &str, max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(max));
    for c in text.chars() {
        if clean.len() > max {
            break;
        }
        if c.is_control() || is_invisible(c) {
            // Writing to a string can't fail.
            let _ = write!(clean, "{}", c.escape_default());
        } else {
            clean.push(c);
        }
    }
    cut(clean, max)
}

/// Characters that reorder or hide the text around them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn cut(mut text: String, max: usize) -> String {
    if text.len() > max {
        let at = (0..=max).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
        text.truncate(at);
        text.push('…');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn logs(log_bytes: usize, log_lines: usize) -> Logs {
        let limits = Limits { log_bytes, log_lines, log_line_bytes: 10, ..Limits::default() };
        Logs::new(&limits, Arc::default())
    }

    fn texts(logs: &mut Logs) -> Vec<String> {
        logs.finish().into_iter().map(|line| line.text).collect()
    }

    #[test]
    fn a_line_is_cut_and_escaped() {
        let mut logs = logs(1000, 10);
        logs.write(LogLevel::Info, "a\u{1b}[2J\n", &[]);
        logs.write(LogLevel::Info, "0123456789abc", &[]);
        logs.write(LogLevel::Info, "01234567ää", &[]);
        logs.write(LogLevel::Info, "a", &[("b".into(), "c".into())]);
        assert_eq!(texts(&mut logs), [r"a\u{1b}[2J…", "0123456789…", "01234567ä…", "a b=c"]);
    }

    #[test]
    fn what_is_too_much_is_counted() {
        let mut logs = logs(1000, 2);
        (0..5).for_each(|_| logs.write(LogLevel::Info, "x", &[]));
        assert_eq!(texts(&mut logs), ["x", "x", "[3 more log lines were dropped: over the limit]"]);
    }

    #[test]
    fn the_last_error_is_known_even_when_there_is_no_room() {
        let mut logs = logs(1, 10);
        logs.write(LogLevel::Info, "x", &[]);
        logs.write(LogLevel::Error, "panicked", &[]);
        assert_eq!(logs.last_error(), Some("panicked"));
        assert_eq!(texts(&mut logs).len(), 2);
    }

    #[test]
    fn a_secret_is_hidden_before_a_line_is_cut() {
        let hide = Redaction::new([&crate::SecretText::new("sk-123456".to_owned())]);
        let limits = Limits { log_line_bytes: 40, ..Limits::default() };
        let mut logs = Logs::new(&limits, Arc::new(hide));
        let fields = [("key".to_owned(), "sk-123456".to_owned())];
        logs.write(LogLevel::Error, "bad key sk-123456", &fields);
        assert_eq!(logs.last_error(), Some("bad key [redacted] key=[redacted]"));
        logs.write(LogLevel::Info, &format!("{}sk-123456", "x".repeat(35)), &[]);
        let lines = logs.finish();
        assert!(!lines[1].text.contains("sk"), "{lines:?}");
    }
}
