//! A span: something that took its time, in its place in a trace.

use std::sync::Arc;

use super::{context::Context, tracer::Shared};

/// A span that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) trace: [u8; 16],
    pub(super) id: [u8; 8],
    pub(super) parent: Option<[u8; 8]>,
    pub(super) name: String,
    pub(super) kind: Kind,
    /// Unix time in nanoseconds.
    pub(super) began_ns: u64,
    pub(super) ended_ns: u64,
    pub(super) facts: Vec<(&'static str, Fact)>,
    /// Why it failed, if it did.
    pub(super) failure: Option<String>,
}

/// `SpanKind` of opentelemetry-proto.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Within the gateway.
    Internal = 1,
    /// It answers a request.
    Server = 2,
    /// It asks somebody.
    Client = 3,
    /// It handles what was kept for it.
    Consumer = 5,
}

/// What is known of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Fact {
    Text(String),
    Number(u64),
    Flag(bool),
}

/// A span that has begun; dropped, it ends. Of a trace that is not recorded it is nothing, and costs nothing.
#[derive(Default)]
pub(crate) struct Begun(Option<Box<Open>>);

struct Open {
    span: Span,
    shared: Arc<Shared>,
}

impl Begun {
    pub(super) fn new(span: Span, shared: Arc<Shared>) -> Self {
        Self(Some(Box::new(Open { span, shared })))
    }

    /// What is made from here on has it as its parent.
    pub(crate) fn context(&self) -> Option<Context> {
        let span = &self.0.as_ref()?.span;
        Some(Context { trace: span.trace, span: span.id, recorded: true })
    }

    /// A part of it.
    pub(crate) fn child(&self, name: &'static str) -> Self {
        let Some(open) = &self.0 else { return Self::default() };
        let (trace, parent) = (open.span.trace, Some(open.span.id));
        open.shared.begin((trace, parent), name.to_owned(), Kind::Internal)
    }

    /// Notes something about it. The value is made only if it is recorded.
    pub(crate) fn note(&mut self, name: &'static str, value: impl FnOnce() -> Fact) {
        if let Some(open) = &mut self.0 {
            open.span.facts.push((name, value()));
        }
    }

    /// It failed.
    pub(crate) fn fail(&mut self, why: impl FnOnce() -> String) {
        if let Some(open) = &mut self.0 {
            open.span.failure = Some(why());
        }
    }
}

impl Fact {
    /// What something is called.
    pub(crate) fn named(name: &(impl ToString + ?Sized)) -> Self {
        Self::Text(name.to_string())
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        if let Some(open) = self.0.take() {
            let Open { mut span, shared } = *open;
            span.ended_ns = shared.now_ns().max(span.began_ns);
            shared.hand_over(span);
        }
    }
}
