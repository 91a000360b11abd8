//! What a connection is at: between requests, in the middle of one's headers, or answering. Whoever is too slow
//! with headers, idle for too long, does not read its answers, or drops more requests than it waits for, is let go.
//!
//! Hyper's own limit on headers begins with the second request over HTTP/1 and is none for connections that
//! send nothing or idle over HTTP/2. This one is the same for all.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use http::Version;
use tokio::time::Instant;

/// How long a peer may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Patience {
    /// From the first byte of a request, or from the connection's beginning, to the last of the headers.
    pub(super) header: Duration,
    /// From an answer to the first byte of the next request.
    pub(super) idle: Duration,
    /// Without taking anything of an answer that waits for it.
    pub(super) unread: Duration,
    /// For what is still on its way when the connection is let go.
    pub(super) linger: Duration,
}

impl Patience {
    pub(super) fn new(header: Duration, idle: Duration) -> Self {
        Self { header, idle, unread: UNREAD_MAX, linger: LINGER }
    }
}

const UNREAD_MAX: Duration = Duration::from_secs(30);
const LINGER: Duration = Duration::from_secs(2);

/// Requests of one connection that its peer may drop before they are answered. Whoever resets each stream as
/// soon as it is opened ("rapid reset") has work done and waits for none of it.
const DROPPED_MAX: u32 = 100;

/// What one connection is at. Clones are the same one.
#[derive(Debug, Clone)]
pub(super) struct Pulse {
    state: Arc<Mutex<State>>,
    now: fn() -> Instant,
}

#[derive(Debug)]
struct State {
    /// Requests that are not answered whole.
    open: usize,
    /// Whether bytes of the next request have come.
    begun: bool,
    since: Instant,
    http2: bool,
    dropped: u32,
    answered: u32,
    begun_in_all: u64,
    /// Requests over HTTP/2 with a part of their answer that waits to be taken, and since when. The peer says how
    /// much of each it takes, which may be nothing while it reads all else.
    unread: BTreeMap<u64, Instant>,
}

impl State {
    /// A GOAWAY lets the peer go on until it has answered, which is up to the peer.
    fn drops_too_many(&self) -> bool {
        self.dropped > DROPPED_MAX && self.dropped > self.answered
    }
}

/// A request from its headers to the last byte of its answer.
#[derive(Debug)]
pub(super) struct Beat {
    pulse: Pulse,
    number: u64,
    http2: bool,
    /// A part of its answer waits to be taken.
    unread: bool,
    answered: bool,
}

/// What is to be done about a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Nothing before then.
    At(Instant),
    /// It is idle; nothing before then, but its slot may be given to another.
    IdleUntil(Instant),
    /// It is over: closed, after what is answered has gone out.
    Over,
    /// It is over at once: nothing is waited for.
    Cut,
}

/// An idle connection keeps its slot for this long, whoever wants it.
const SETTLED: Duration = Duration::from_secs(1);

impl Pulse {
    /// Of a connection that begins now, by this clock.
    pub(super) fn new(now: fn() -> Instant) -> Self {
        let state = State {
            open: 0,
            begun: true,
            since: now(),
            http2: false,
            dropped: 0,
            answered: 0,
            begun_in_all: 0,
            unread: BTreeMap::new(),
        };
        Self { state: Arc::new(Mutex::new(state)), now }
    }

    /// Bytes have come.
    pub(super) fn read(&self) {
        let mut state = self.state();
        // Over HTTP/2 they may be of anything.
        if state.open == 0 && !state.begun && !state.http2 {
            state.begun = true;
            state.since = (self.now)();
        }
    }

    /// A request's headers have come.
    pub(super) fn begin(&self, version: Version) -> Beat {
        let mut state = self.state();
        state.open += 1;
        state.begun = false;
        state.http2 = version == Version::HTTP_2;
        state.begun_in_all += 1;
        let (number, http2) = (state.begun_in_all, state.http2);
        Beat { pulse: self.clone(), number, http2, unread: false, answered: false }
    }

    /// Whether a connection that is let go is at a request whose end is worth waiting for.
    pub(super) fn is_answering(&self, patience: Patience) -> bool {
        let now = (self.now)();
        let state = self.state();
        let is_left = |since: &&Instant| **since + patience.linger <= now;
        let left = state.unread.values().filter(is_left).count();
        state.open > left && !state.drops_too_many()
    }

    /// What is to be done now.
    pub(super) fn due(&self, patience: Patience) -> Due {
        let now = (self.now)();
        let state = self.state();
        let unread = state.unread.values().min().map(|since| *since + patience.unread);
        if unread.is_some_and(|end| end <= now) {
            return Due::Cut;
        }
        if state.drops_too_many() {
            return if state.open == 0 { Due::Cut } else { Due::Over };
        }
        if state.open > 0 {
            let next = now + patience.header.min(patience.idle).min(patience.unread);
            return Due::At(unread.map_or(next, |end| end.min(next)));
        }
        if state.begun {
            let end = state.since + patience.header;
            return if end <= now { Due::Cut } else { Due::At(end) };
        }
        let end = state.since + patience.idle;
        match state.since + SETTLED {
            _ if end <= now => Due::Over,
            settled if settled > now => Due::At(settled.min(end)),
            _ => Due::IdleUntil(end),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Beat {
    /// There is an answer, and it goes out: the peer has taken what there was of it before.
    pub(super) fn answered(&mut self) {
        self.answered = true;
        if std::mem::take(&mut self.unread) {
            self.pulse.state().unread.remove(&self.number);
        }
    }

    /// A part of the answer waits to be taken. Over HTTP/1 it is the connection that has to take it.
    pub(super) fn waits(&mut self) {
        if self.http2 {
            self.unread = true;
            let now = (self.pulse.now)();
            self.pulse.state().unread.insert(self.number, now);
        }
    }
}

impl Drop for Beat {
    fn drop(&mut self) {
        let mut state = self.pulse.state();
        state.open -= 1;
        state.unread.remove(&self.number);
        let count = if self.answered { &mut state.answered } else { &mut state.dropped };
        *count = count.saturating_add(1);
        if state.open == 0 {
            state.since = (self.pulse.now)();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    const PATIENCE: Patience = Patience {
        header: Duration::from_secs(10),
        idle: Duration::from_secs(75),
        unread: Duration::from_secs(30),
        linger: Duration::from_secs(2),
    };

    thread_local! {
        static NOW: Cell<Option<Instant>> = const { Cell::new(None) };
    }

    fn now() -> Instant {
        let now = NOW.get().unwrap_or_else(Instant::now);
        NOW.set(Some(now));
        now
    }

    fn pass(seconds: u64) {
        NOW.set(Some(now() + Duration::from_secs(seconds)));
    }

    fn due(pulse: &Pulse) -> Due {
        pulse.due(PATIENCE)
    }

    fn answer(pulse: &Pulse, version: Version) {
        pulse.begin(version).answered();
    }

    #[test]
    fn who_sends_nothing_or_drips_headers_is_cut_off() {
        let pulse = Pulse::new(now);
        pass(9);
        pulse.read();
        assert!(matches!(due(&pulse), Due::At(_)));
        pass(1);
        assert_eq!(due(&pulse), Due::Cut, "a byte now and then wins no time");
    }

    #[test]
    fn an_answer_takes_its_time_and_after_it_a_connection_may_idle() {
        let pulse = Pulse::new(now);
        let mut beat = pulse.begin(Version::HTTP_11);
        pass(600);
        pulse.read();
        assert!(matches!(due(&pulse), Due::At(_)));
        beat.answered();
        drop(beat);
        assert!(matches!(due(&pulse), Due::At(_)), "its slot is its own for a moment");
        pass(1);
        assert!(matches!(due(&pulse), Due::IdleUntil(_)));
        pass(73);
        assert!(matches!(due(&pulse), Due::IdleUntil(_)));
        pass(1);
        assert_eq!(due(&pulse), Due::Over);
        pulse.read();
        assert!(matches!(due(&pulse), Due::At(_)), "the next request has begun");
        pass(10);
        assert_eq!(due(&pulse), Due::Cut);
    }

    #[test]
    fn pings_over_http2_are_no_requests() {
        let pulse = Pulse::new(now);
        answer(&pulse, Version::HTTP_2);
        for _ in 0..7 {
            pass(10);
            pulse.read();
            assert!(matches!(due(&pulse), Due::IdleUntil(_)));
        }
        pass(5);
        assert_eq!(due(&pulse), Due::Over);
    }

    #[test]
    fn who_takes_nothing_of_an_answer_over_http2_is_cut_off() {
        let pulse = Pulse::new(now);
        let mut beat = pulse.begin(Version::HTTP_2);
        pass(600);
        assert!(matches!(due(&pulse), Due::At(_)), "there is nothing to take yet");
        for _ in 0..3 {
            beat.answered();
            beat.waits();
            pass(29);
            answer(&pulse, Version::HTTP_2);
            pulse.read();
            assert_eq!(due(&pulse), Due::At(now() + Duration::from_secs(1)));
        }
        let taken = beat;
        let mut left = pulse.begin(Version::HTTP_2);
        left.answered();
        left.waits();
        drop(taken);
        pass(29);
        assert!(matches!(due(&pulse), Due::At(_)));
        pass(1);
        assert_eq!(due(&pulse), Due::Cut);
        drop(left);
        assert!(matches!(due(&pulse), Due::At(_)));
    }

    #[test]
    fn while_an_answer_is_made_or_goes_out_over_http1_nothing_is_unread() {
        let pulse = Pulse::new(now);
        let mut slow = pulse.begin(Version::HTTP_2);
        slow.answered();
        slow.waits();
        slow.answered();
        pass(600);
        assert!(matches!(due(&pulse), Due::At(_)), "it was taken, and there is no more of it yet");
        drop(slow);
        let mut http1 = pulse.begin(Version::HTTP_11);
        http1.answered();
        http1.waits();
        pass(600);
        assert!(matches!(due(&pulse), Due::At(_)), "writes have a limit of their own");
        assert!(pulse.is_answering(PATIENCE));
    }

    #[test]
    fn who_is_let_go_is_waited_for_while_it_takes_its_answers() {
        let pulse = Pulse::new(now);
        assert!(!pulse.is_answering(PATIENCE));
        let (mut left, open) = (pulse.begin(Version::HTTP_2), pulse.begin(Version::HTTP_2));
        left.answered();
        left.waits();
        pass(2);
        assert!(pulse.is_answering(PATIENCE), "there is another one");
        drop(open);
        assert!(!pulse.is_answering(PATIENCE));
        left.waits();
        assert!(pulse.is_answering(PATIENCE));
        (0..=DROPPED_MAX).for_each(|_| drop(pulse.begin(Version::HTTP_2)));
        assert!(!pulse.is_answering(PATIENCE));
    }

    #[test]
    fn who_drops_more_than_it_waits_for_is_let_go() {
        let pulse = Pulse::new(now);
        let open = pulse.begin(Version::HTTP_2);
        for _ in 0..DROPPED_MAX {
            drop(pulse.begin(Version::HTTP_2));
        }
        assert!(matches!(due(&pulse), Due::At(_)));
        drop(pulse.begin(Version::HTTP_2));
        assert_eq!(due(&pulse), Due::Over);
        (0..=DROPPED_MAX).for_each(|_| answer(&pulse, Version::HTTP_2));
        assert!(matches!(due(&pulse), Due::At(_)), "most of its requests it waited for");
        (0..DROPPED_MAX).for_each(|_| drop(pulse.begin(Version::HTTP_2)));
        assert_eq!(due(&pulse), Due::Over);
        drop(open);
        assert_eq!(due(&pulse), Due::Cut, "nobody waits for anything");
    }
}
