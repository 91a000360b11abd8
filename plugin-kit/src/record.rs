//! What an attempt sent and was answered, as it was kept: its requests, sent again, are answered so again.

use bytes::Bytes;
use hookweir_event::{Answered, Exchange, Exchanges, Headers};
use hookweir_host::{HttpFault, Redaction};
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};

/// What the record of an attempt had for a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Recall {
    /// There was none to ask.
    NoRecord,
    /// The request was never sent, or not that often.
    Unknown,
    /// It was sent, and what came of it is not kept whole.
    Partial,
    /// What came of it with another body, which is what a changed request is answered where there is nothing
    /// better.
    Otherwise,
    /// What came of it.
    Answered,
}

/// What answers a request first that was recorded with another body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OtherBody {
    /// The record: a body that changed is still that request's.
    Record,
    /// A canned answer, if there is one: what was answered to another body need not hold for this one.
    Canned,
}

/// The exchanges of an attempt that nobody asked for yet, in their order.
#[derive(Debug)]
pub(crate) struct Record {
    left: Vec<Exchange>,
    other_body: OtherBody,
}

impl Record {
    pub(crate) fn new(exchanges: &Exchanges, other_body: OtherBody) -> Self {
        Self { left: exchanges.kept.clone(), other_body }
    }

    /// What came of a request, by its method and URL. Of several of those the first with its body counts, or else
    /// the first. Each answers once, with its own body.
    pub(crate) fn recall(
        &mut self,
        hide: &Redaction,
        request: &Request<Bytes>,
    ) -> (Recall, Option<Result<Response<Bytes>, HttpFault>>) {
        let url = request.uri().to_string();
        let url = hide.text(&url);
        let same = |one: &Exchange| one.method == request.method().as_str() && one.url == url;
        let is_of = |one: &Exchange| same(one) && hide.is_of(&one.body, request.body());
        let exact = self.left.iter().position(is_of);
        let Some(place) = exact.or_else(|| self.left.iter().position(same)) else {
            return (Recall::Unknown, None);
        };
        // It may be asked for still, with the body that it had.
        let borrowed = exact.is_none() && self.other_body == OtherBody::Canned;
        let answer = again(&self.left[place].answer);
        if !borrowed {
            self.left.remove(place);
        }
        match answer {
            Some(answer) if borrowed => (Recall::Otherwise, Some(answer)),
            Some(answer) => (Recall::Answered, Some(answer)),
            None => (Recall::Partial, None),
        }
    }

    /// Those that nobody asked for.
    pub(crate) fn into_left(self) -> Vec<Exchange> {
        self.left
    }
}

/// The same once more; none if not all of it is there.
fn again(answer: &Answered) -> Option<Result<Response<Bytes>, HttpFault>> {
    match answer {
        Answered::Response { status, headers, body } if body.is_whole() => {
            response(*status, headers, &body.bytes).map(Ok)
        }
        Answered::Fault { code, detail } => HttpFault::from_parts(code, detail).map(Err),
        Answered::Response { .. } | Answered::Status(_) | Answered::CutOff => None,
    }
}

fn response(status: u16, headers: &Headers, body: &[u8]) -> Option<Response<Bytes>> {
    let mut answer = Response::new(Bytes::copy_from_slice(body));
    *answer.status_mut() = StatusCode::from_u16(status).ok()?;
    for (name, value) in headers {
        let name: HeaderName = name.parse().ok()?;
        answer.headers_mut().append(name, HeaderValue::from_bytes(value).ok()?);
    }
    Some(answer)
}

#[cfg(test)]
mod tests {
    use hookweir_event::Excerpt;

    use super::*;

    fn exchange(line: &str, body: &str, answer: &str) -> Exchange {
        let (method, url) = line.split_once(' ').unwrap();
        let excerpt = |text: &str| Excerpt {
            bytes: text.as_bytes().to_vec(),
            len: text.len() as u64,
            digest: None,
        };
        let answer = Answered::Response { status: 200, headers: vec![], body: excerpt(answer) };
        let (method, url, headers) = (method.to_owned(), url.to_owned(), vec![]);
        Exchange { method, url, headers, body: excerpt(body), answer }
    }

    fn asked(record: &mut Record, line: &str, body: &str) -> String {
        let (method, url) = line.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(url);
        let request = request.body(Bytes::copy_from_slice(body.as_bytes())).unwrap();
        match record.recall(&Redaction::new([]), &request) {
            (Recall::Answered, Some(Ok(answer))) => {
                String::from_utf8(answer.into_body().to_vec()).unwrap()
            }
            (recall, _) => format!("{recall:?}"),
        }
    }

    #[test]
    fn of_several_the_one_with_the_body_answers_and_else_the_first() {
        const LINE: &str = "POST https://a.test/v1";
        let kept = vec![
            exchange(LINE, "a", "to a"),
            exchange(LINE, "b", "to b"),
            exchange("GET https://a.test/v1", "", "got"),
            exchange(LINE, "a", "to a again"),
        ];
        let mut record = Record::new(&Exchanges { kept, left_out: 0 }, OtherBody::Record);
        assert_eq!(asked(&mut record, LINE, "b"), "to b");
        assert_eq!(asked(&mut record, LINE, "a"), "to a");
        assert_eq!(asked(&mut record, "GET https://a.test/v1", "another"), "got");
        assert_eq!(asked(&mut record, "GET https://a.test/v1", ""), "Unknown", "it answers once");
        assert_eq!(asked(&mut record, LINE, "another"), "to a again");
        assert!(record.into_left().is_empty());
    }

    #[test]
    fn what_was_answered_to_another_body_is_told_from_what_was_answered_to_this() {
        const LINE: &str = "POST https://a.test/v1";
        let kept = vec![exchange(LINE, "a", "to a"), exchange(LINE, "b", "to b")];
        let mut record = Record::new(&Exchanges { kept, left_out: 0 }, OtherBody::Canned);
        assert_eq!(asked(&mut record, LINE, "c"), "Otherwise");
        assert_eq!(asked(&mut record, LINE, "b"), "to b");
        assert_eq!(asked(&mut record, LINE, "a"), "to a", "the other one has not taken it");
        assert!(record.into_left().is_empty());
    }

    #[test]
    fn what_is_not_whole_is_no_answer() {
        let mut cut = exchange("GET https://a.test/1", "", "the beginn");
        if let Answered::Response { body, .. } = &mut cut.answer {
            body.digest = Some(hookweir_event::Digest::of(b"the beginning"));
        }
        let with = |answer| Exchange { answer, ..exchange("GET https://a.test/2", "", "") };
        let fault = |code: &str, detail: &str| {
            with(Answered::Fault { code: code.to_owned(), detail: detail.to_owned() })
        };
        for exchange in [
            cut,
            with(Answered::Status(200)),
            with(Answered::CutOff),
            with(Answered::Response { status: 7, headers: vec![], body: Excerpt::default() }),
            fault("timeout", "soon"),
            fault("of another version", ""),
        ] {
            let line = format!("{} {}", exchange.method, exchange.url);
            let then = Exchanges { kept: vec![exchange], left_out: 0 };
            let mut record = Record::new(&then, OtherBody::Canned);
            assert_eq!(asked(&mut record, &line, ""), "Partial");
        }
        for fault in [
            HttpFault::Timeout(std::time::Duration::from_millis(1500)),
            HttpFault::TooLarge(77),
            HttpFault::Connect("nobody listens".to_owned()),
        ] {
            let (code, detail) = (fault.code().to_owned(), fault.detail());
            let again = again(&Answered::Fault { code, detail });
            assert_eq!(again.unwrap().unwrap_err(), fault);
        }
    }
}
