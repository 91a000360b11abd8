//! Connections byte by byte, for what no well-behaved client would send: HTTP/1 as text, HTTP/2 as frames.

use std::{net::SocketAddr, time::Duration};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::house::PATIENCE;

/// A connection.
pub struct Wire(pub TcpStream);

/// A frame of HTTP/2 (RFC 9113, section 4.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream that it is of.
    pub stream: u32,
    /// What it carries.
    pub payload: Vec<u8>,
}

/// Types of frames.
pub mod kind {
    #![allow(missing_docs, reason = "the names are the standard's: RFC 9113, section 6")]
    pub const DATA: u8 = 0;
    pub const HEADERS: u8 = 1;
    pub const RST_STREAM: u8 = 3;
    pub const SETTINGS: u8 = 4;
    pub const PING: u8 = 6;
    pub const GOAWAY: u8 = 7;
    pub const CONTINUATION: u8 = 9;
}

/// Ends a stream: of DATA and HEADERS.
pub const END_STREAM: u8 = 1;
/// An answer: of PING and SETTINGS.
pub const ACK: u8 = 1;
/// Ends a block of headers.
pub const END_HEADERS: u8 = 4;
/// The error codes CANCEL and ENHANCE_YOUR_CALM.
pub const CANCEL: u32 = 8;
/// See there.
pub const CALM: u32 = 11;

impl Frame {
    /// A frame.
    pub fn new(kind: u8, flags: u8, stream: u32, payload: impl Into<Vec<u8>>) -> Self {
        Self { kind, flags, stream, payload: payload.into() }
    }

    /// Ends a stream before its time.
    pub fn reset(stream: u32) -> Self {
        Self::new(kind::RST_STREAM, 0, stream, CANCEL.to_be_bytes())
    }

    /// As it is sent.
    pub fn bytes(&self) -> Vec<u8> {
        let length = u32::try_from(self.payload.len()).unwrap().to_be_bytes();
        let head = [&length[1..], &[self.kind, self.flags], &self.stream.to_be_bytes()].concat();
        [head, self.payload.clone()].concat()
    }

    /// The error of a GOAWAY or RST_STREAM frame.
    pub fn error(&self) -> u32 {
        let at = if self.kind == kind::GOAWAY { 4 } else { 0 };
        u32::from_be_bytes(self.payload[at..at + 4].try_into().unwrap())
    }
}

/// A POST to this path as a block of headers (RFC 7541), nothing of it indexed anew; `more` are headers of its own.
pub fn post_block(path: &str, more: &[(&str, &str)]) -> Vec<u8> {
    let text = |text: &str| [&integer(text.len(), 7)[..], text.as_bytes()].concat();
    // :method POST, :scheme http, and of the static table the names of :path and :authority.
    let mut block = vec![0x83, 0x86, 0x04];
    block.extend(text(path));
    block.push(0x01);
    block.extend(text("gateway.test"));
    for (name, value) in more {
        block.push(0);
        block.extend(text(name));
        block.extend(text(value));
    }
    block
}

/// RFC 7541, section 5.1.
fn integer(mut number: usize, bits: u32) -> Vec<u8> {
    let most = (1 << bits) - 1;
    if number < most {
        return vec![u8::try_from(number).unwrap()];
    }
    let mut bytes = vec![u8::try_from(most).unwrap()];
    number -= most;
    while number >= 128 {
        bytes.push(u8::try_from(number % 128 + 128).unwrap());
        number /= 128;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

impl Wire {
    /// A connection to this address.
    pub async fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        Self(stream)
    }

    /// The same that has said that it speaks HTTP/2.
    pub async fn http2(address: SocketAddr) -> Self {
        let mut wire = Self::connect(address).await;
        let settings = Frame::new(kind::SETTINGS, 0, 0, []);
        wire.send(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", &settings.bytes()[..]].concat()).await;
        wire
    }

    /// Sends, as far as the other side takes it. Whether all of it.
    pub async fn send(&mut self, bytes: &[u8]) -> bool {
        let sent = tokio::time::timeout(PATIENCE, self.0.write_all(bytes)).await;
        sent.expect("the other side takes what is sent, or closes").is_ok()
    }

    /// Sends frames.
    pub async fn send_frames(&mut self, frames: &[Frame]) -> bool {
        let bytes: Vec<_> = frames.iter().flat_map(Frame::bytes).collect();
        self.send(&bytes).await
    }

    /// All that comes until the other side closes.
    pub async fn rest(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let read = self.0.read_to_end(&mut bytes);
        let read = tokio::time::timeout(PATIENCE, read).await;
        // Closed with something unread, it ends with an error: what came before is there all the same.
        let _ = read.expect("the other side closes");
        bytes
    }

    /// Whether the other side leaves the connection open for so long, and says nothing.
    pub async fn is_left_open(&mut self, time: Duration) -> bool {
        let mut byte = [0];
        tokio::time::timeout(time, self.0.read(&mut byte)).await.is_err()
    }

    /// The next frame; none once the other side has closed.
    pub async fn frame(&mut self) -> Option<Frame> {
        let read = async {
            let mut head = [0; 9];
            self.0.read_exact(&mut head).await.ok()?;
            let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
            let mut payload = vec![0; usize::try_from(length).unwrap()];
            self.0.read_exact(&mut payload).await.ok()?;
            let stream = u32::from_be_bytes(head[5..].try_into().unwrap());
            Some(Frame::new(head[3], head[4], stream, payload))
        };
        tokio::time::timeout(PATIENCE, read).await.expect("a frame, or the end")
    }

    /// The first frame that is as `wanted` says; none if the other side closes before.
    pub async fn until(&mut self, wanted: impl Fn(&Frame) -> bool) -> Option<Frame> {
        loop {
            match self.frame().await {
                Some(frame) if wanted(&frame) => return Some(frame),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// Whether the other side answers a ping, after all that was sent before.
    pub async fn ping(&mut self) -> bool {
        let sent = self.send_frames(&[Frame::new(kind::PING, 0, 0, [7; 8])]).await;
        sent && self.until(|frame| frame.kind == kind::PING && frame.flags == ACK).await.is_some()
    }
}

/// The status lines of all answers in what came.
pub fn statuses(bytes: &[u8]) -> Vec<u16> {
    let text = String::from_utf8_lossy(bytes);
    let status = |rest: &str| rest.get(2..5).and_then(|status| status.parse().ok());
    text.split("HTTP/1.").skip(1).filter_map(status).collect()
}
