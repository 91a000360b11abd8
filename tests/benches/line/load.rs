//! The load generator: one thread, hand-written HTTP/1.1 over connections that stay open, requests
//! that were signed before the clock started. It shares the cores with what it measures, so it does
//! as little as it can: of an answer it reads the status and the length.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    task::JoinSet,
    time::Instant,
};

/// Requests as they go over the wire, one behind the other.
#[derive(Default)]
pub(crate) struct Stock {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    /// Whether to begin anew at its end: for subjects that do not look for duplicates.
    pub(crate) endless: bool,
}

impl Stock {
    pub(crate) fn push(&mut self, request: &[u8]) {
        self.bytes.extend_from_slice(request);
        self.ends.push(self.bytes.len());
    }

    pub(crate) fn append(&mut self, other: &Self) {
        let before = self.bytes.len();
        self.bytes.extend_from_slice(&other.bytes);
        self.ends.extend(other.ends.iter().map(|end| before + end));
    }

    /// Each request, once.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(&0).chain(&self.ends);
        begins.zip(&self.ends).map(|(begin, end)| &self.bytes[*begin..*end])
    }

    fn get(&self, at: usize) -> Option<&[u8]> {
        let at = if self.endless { at % self.ends.len() } else { at };
        let begin = if at == 0 { 0 } else { self.ends[at - 1] };
        Some(&self.bytes[begin..*self.ends.get(at)?])
    }
}

/// How to send.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) connections: usize,
    /// How long; less if the stock runs out.
    pub(crate) time: Duration,
    /// Requests in a second over all connections; none: as fast as answers come.
    pub(crate) pace: Option<u32>,
}

/// What came back.
#[derive(Debug, Default)]
pub(crate) struct Answered {
    /// Answers with a 2xx.
    pub(crate) accepted: u64,
    /// Any other answer.
    pub(crate) refused: u64,
    /// From the first request to the last answer.
    pub(crate) elapsed: Duration,
    /// Of each request, or as many quantiles, in microseconds, the quickest first.
    pub(crate) latencies: Vec<u32>,
}

impl Answered {
    /// Accepted requests in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.accepted as f64 / self.elapsed.as_secs_f64()
    }

    /// The latency, in milliseconds, that `share` of the requests stayed within.
    pub(crate) fn percentile(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let at = (last as f64 * share).round();
        // A position within a list that fits in memory.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let latency = self.latencies.get(at as usize).copied().unwrap_or_default();
        f64::from(latency) / 1000.0
    }
}

/// Sends until the time is over or the stock is empty.
pub(crate) async fn drive(address: SocketAddr, stock: Stock, plan: Plan) -> Answered {
    let (stock, next) = (Arc::new(stock), Arc::new(AtomicUsize::new(0)));
    let mut streams = Vec::new();
    for _ in 0..plan.connections {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        streams.push(stream);
    }
    let mut running = JoinSet::new();
    let start = Instant::now();
    for (number, stream) in streams.into_iter().enumerate() {
        let (stock, next) = (stock.clone(), next.clone());
        running.spawn(async move {
            let rhythm = Rhythm::new(plan, number, start);
            connection(stream, &stock, &next, rhythm).await.unwrap()
        });
    }
    let mut all = Answered::default();
    while let Some(one) = running.join_next().await {
        let one = one.unwrap();
        all.accepted += one.accepted;
        all.refused += one.refused;
        all.latencies.extend(one.latencies);
    }
    all.elapsed = start.elapsed();
    all.latencies.sort_unstable();
    all
}

/// When one connection sends.
struct Rhythm {
    end: Instant,
    gap: Option<Duration>,
    next: Instant,
}

impl Rhythm {
    fn new(plan: Plan, number: usize, start: Instant) -> Self {
        let connections = u32::try_from(plan.connections).unwrap();
        let number = u32::try_from(number).unwrap();
        let gap = plan.pace.map(|pace| Duration::from_secs(1) * connections / pace);
        // The connections take turns within the gap.
        let next = start + gap.unwrap_or_default() * number / connections;
        Self { end: start + plan.time, gap, next }
    }

    /// Waits for the turn; false once the time is over.
    async fn turn(&mut self) -> bool {
        if let Some(gap) = self.gap {
            tokio::time::sleep_until(self.next).await;
            self.next += gap;
        }
        Instant::now() < self.end
    }
}

async fn connection(
    mut stream: TcpStream,
    stock: &Stock,
    next: &AtomicUsize,
    mut rhythm: Rhythm,
) -> io::Result<Answered> {
    let mut answered = Answered::default();
    let mut buffer = [0; 4096];
    while rhythm.turn().await {
        let Some(request) = stock.get(next.fetch_add(1, Ordering::Relaxed)) else { break };
        let sent = Instant::now();
        stream.write_all(request).await?;
        let status = answer(&mut stream, &mut buffer).await?;
        let latency = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
        answered.latencies.push(latency);
        match status {
            200..300 => answered.accepted += 1,
            _ => answered.refused += 1,
        }
    }
    Ok(answered)
}

/// Reads one whole answer.
async fn answer(stream: &mut TcpStream, buffer: &mut [u8]) -> io::Result<u16> {
    let mut filled = 0;
    loop {
        let read = stream.read(&mut buffer[filled..]).await?;
        if read == 0 {
            let text = String::from_utf8_lossy(&buffer[..filled]).into_owned();
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
        }
        filled += read;
        match head(&buffer[..filled]) {
            Some((status, length)) if filled >= length => return Ok(status),
            _ => {}
        }
    }
}

/// The status and the length of an answer with its body, once the head is there.
fn head(bytes: &[u8]) -> Option<(u16, usize)> {
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&bytes[..end]).ok()?;
    let mut lines = head.split("\r\n");
    let status = lines.next()?.split(' ').nth(1)?.parse().ok()?;
    let length = lines
        .filter_map(|line| line.split_once(": "))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))?;
    Some((status, end + 4 + length.1.parse::<usize>().ok()?))
}
