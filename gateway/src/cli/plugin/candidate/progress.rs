//! How far it is, in one line of the terminal; elsewhere nothing.

use std::io::{IsTerminal as _, Write as _, stderr};

/// Columns of the bar.
const WIDTH: usize = 30;

pub(super) struct Progress {
    all: usize,
    /// Whether a person looks on.
    seen: bool,
    drawn: usize,
}

impl Progress {
    pub(super) fn new(all: usize) -> Self {
        Self { all, seen: stderr().is_terminal(), drawn: 0 }
    }

    /// So many are done. It is drawn anew a thousand times at most.
    pub(super) fn at(&mut self, done: usize) {
        if self.seen && (done == self.all || done >= self.drawn + (self.all / 1000).max(1)) {
            self.drawn = done;
            let _ = write!(stderr(), "\r{}", line(done, self.all));
        }
    }

    /// Makes room for lines of the result.
    pub(super) fn clear(&self) {
        if self.seen && self.drawn > 0 {
            let _ = write!(stderr(), "\r\x1b[K");
        }
    }
}

fn line(done: usize, all: usize) -> String {
    let full = (done * WIDTH).checked_div(all).unwrap_or(WIDTH).min(WIDTH);
    format!("[{:<WIDTH$}] {done} of {all} events", "=".repeat(full))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_as_long_as_what_is_done() {
        assert_eq!(line(0, 4), format!("[{}] 0 of 4 events", " ".repeat(WIDTH)));
        assert_eq!(line(2, 4), format!("[{}{}] 2 of 4 events", "=".repeat(15), " ".repeat(15)));
        assert_eq!(line(4, 4), format!("[{}] 4 of 4 events", "=".repeat(WIDTH)));
    }
}
