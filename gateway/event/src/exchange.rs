//! What a plugin sent in an attempt and what it was answered, as it is kept with the attempt: without secrets,
//! and bounded.

use crate::{Digest, Headers};

/// The requests of one attempt, in the order in which the plugin made them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exchanges {
    /// Those for which there was room.
    pub kept: Vec<Exchange>,
    /// How many more were sent.
    pub left_out: u32,
}

/// One request, and what came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    /// In upper case.
    pub method: String,
    /// The whole URL. What was a secret in it reads [`REDACTED`](crate::REDACTED), here and below.
    pub url: String,
    /// Names in lower case; without what the gateway says of itself and of the trace.
    pub headers: Headers,
    /// What was sent.
    pub body: Excerpt,
    /// What came of it.
    pub answer: Answered,
}

/// What came of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// An answer.
    Response {
        /// Its status.
        status: u16,
        /// Names in lower case.
        headers: Headers,
        /// What was received.
        body: Excerpt,
    },
    /// An answer of which there was room for nothing but the status.
    Status(u16),
    /// No answer, and why: the fault's word, and what it tells beside it.
    Fault {
        /// One word for programs.
        code: String,
        /// A sentence or a number, by the word.
        detail: String,
    },
    /// The attempt ended before.
    CutOff,
}

/// A body, or its beginning.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excerpt {
    /// As much as is kept.
    pub bytes: Vec<u8>,
    /// Bytes of the whole, as it was sent.
    pub len: u64,
    /// Of the whole, if what is kept is only its beginning.
    pub digest: Option<Digest>,
}

impl Excerpt {
    /// Whether it is all there.
    pub fn is_whole(&self) -> bool {
        self.digest.is_none()
    }
}

impl Exchanges {
    /// Bytes of all texts and bodies.
    pub fn bytes(&self) -> usize {
        self.kept.iter().map(Exchange::bytes).sum()
    }
}

impl Exchange {
    /// Bytes of its texts and bodies.
    pub fn bytes(&self) -> usize {
        let answer = match &self.answer {
            Answered::Response { headers, body, .. } => sum(headers) + body.bytes.len(),
            Answered::Fault { code, detail } => code.len() + detail.len(),
            Answered::Status(_) | Answered::CutOff => 0,
        };
        self.method.len() + self.url.len() + sum(&self.headers) + self.body.bytes.len() + answer
    }
}

fn sum(headers: &Headers) -> usize {
    headers.iter().map(|(name, value)| name.len() + value.len()).sum()
}
