//! From what the engine and the guest say to the words of the gateway: outputs or a failure.

use std::{io, time::Duration};

use hookweir_event::{Failure, NewOutput, Outcome};
use rustix::io::Errno;
use wasmtime::{PoolConcurrencyLimitError, Trap};
use wasmtime_wasi::I32Exit;

use crate::{
    Genuine, Limits, NotRun, Redaction, Response, bindings::plugin::hookweir::plugin::types,
    guest::Guest, limiter::Refused, logs::clean,
};

/// A failure's message is one line in a listing.
const MESSAGE_MAX: usize = 1000;

/// The epoch callback's verdict: the CPU budget is spent.
#[derive(Debug, thiserror::Error)]
#[error("the CPU budget is spent")]
pub(crate) struct OverCpu;

/// What a guest says to an operator, as one line.
pub(crate) fn line(said: &str, hide: &Redaction) -> String {
    clean(&hide.text(said), MESSAGE_MAX)
}

pub(crate) fn failure(outcome: Outcome, message: &str) -> Failure {
    Failure { outcome, message: clean(message, MESSAGE_MAX), retry_after: None }
}

/// Whether it was the host that could not, whatever the guest did: a guest can't bring this about by
/// itself, so it can't have its attempts uncounted.
pub(crate) fn not_run(error: &wasmtime::Error) -> Option<NotRun> {
    if error.is::<PoolConcurrencyLimitError>() {
        return Some(NotRun::PoolExhausted);
    }
    let no_memory = error.downcast_ref::<Errno>() == Some(&Errno::NOMEM)
        || error.downcast_ref::<io::Error>().and_then(Errno::from_io_error) == Some(Errno::NOMEM);
    no_memory.then_some(NotRun::NoMemory)
}

pub(crate) fn timed_out(limits: &Limits) -> Failure {
    failure(Outcome::Timeout, &format!("it took longer than {:?}", limits.wall))
}

/// Why the guest did not come to an answer.
pub(crate) fn trapped(error: &wasmtime::Error, guest: &Guest, limits: &Limits) -> Failure {
    if error.is::<OverCpu>() {
        let message = format!("it used more than {:?} of CPU time", limits.cpu);
        return failure(Outcome::CpuLimit, &message);
    }
    // The guest saw only that it got no more, and what it did then says little.
    if let Some(refused) = guest.limiter.refused() {
        let message = match refused {
            Refused::Memory(asked) => {
                format!("it asked for {asked} bytes of memory; its limit is {}", limits.memory)
            }
            Refused::Elements(asked) => format!(
                "it asked for {asked} elements of tables; its limit is {}",
                limits.table_elements
            ),
        };
        return failure(Outcome::MemoryLimit, &message);
    }
    let message = match error.downcast_ref::<Trap>() {
        // A panic, if the SDK's hook or the language's own runtime has told.
        Some(Trap::UnreachableCodeReached) => match guest.logs.lock().last_error() {
            Some(words) => words.to_owned(),
            None => "it aborted without a word".to_owned(),
        },
        Some(Trap::StackOverflow) => "stack overflow: its calls nest too deep".to_owned(),
        // Languages that keep a stack in memory let it grow towards address 0, and beyond.
        Some(Trap::MemoryOutOfBounds) => {
            "out of bounds memory access: its calls nest too deep, or a pointer is wrong".to_owned()
        }
        Some(trap) => trap.to_string(),
        None => match error.downcast_ref::<I32Exit>() {
            Some(I32Exit(code)) => format!("it ended itself with exit code {code}"),
            None => error.root_cause().to_string(),
        },
    };
    // The engine has no public type for it; only the wording hangs on the text.
    if message.contains("fuel allocated for hostcalls") {
        let max = limits.at_once();
        let message = format!("it handed over more at once than the {max} bytes allowed");
        return failure(Outcome::Invalid, &message);
    }
    failure(Outcome::Trap, &message)
}

/// The failure that the plugin itself returned.
pub(crate) fn failed(said: &types::Failure, hide: &Redaction) -> Failure {
    let message = hide.text(&said.message);
    match said.kind {
        types::FailureKind::Retry => Failure {
            retry_after: said.retry_after_ms.map(Duration::from_millis),
            ..failure(Outcome::Retry, &message)
        },
        types::FailureKind::Reject => failure(Outcome::Reject, &message),
    }
}

/// Checks the outputs; one that can't be taken fails the attempt, so that none is lost quietly.
pub(crate) fn outputs(
    outputs: Vec<types::Output>,
    limits: &Limits,
) -> Result<Vec<NewOutput>, Failure> {
    let invalid = |message: String| failure(Outcome::Invalid, &message);
    if outputs.len() > limits.outputs {
        let (found, max) = (outputs.len(), limits.outputs);
        return Err(invalid(format!("it returned {found} outputs, more than the {max} allowed")));
    }
    let bytes: u64 = outputs.iter().map(size).sum();
    if bytes > limits.output_bytes {
        let max = limits.output_bytes;
        return Err(invalid(format!(
            "its outputs have {bytes} bytes, more than the {max} allowed"
        )));
    }
    outputs.into_iter().map(|output| checked(output).map_err(invalid)).collect()
}

/// The answer to a request, if it is no larger than all outputs of an attempt may be.
pub(crate) fn response(response: types::Response, limits: &Limits) -> Result<Response, Failure> {
    let types::Response { status, headers, body } = response;
    fits("response", (pairs(&headers) + body.len()) as u64, limits)?;
    Ok(Response { status, headers, body })
}

/// What a verifier said, if it is no larger than that.
pub(crate) fn genuine(verified: types::Verified, limits: &Limits) -> Result<Genuine, Failure> {
    let types::Verified { id, event_type, attributes } = verified;
    let size = id.as_ref().map_or(0, String::len) + event_type.len() + pairs(&attributes);
    fits("answer", size as u64, limits)?;
    Ok(Genuine { id, event_type, attributes })
}

fn fits(what: &str, bytes: u64, limits: &Limits) -> Result<(), Failure> {
    let max = limits.output_bytes;
    match bytes > max {
        true => {
            let message = format!("its {what} has {bytes} bytes, more than the {max} allowed");
            Err(failure(Outcome::Invalid, &message))
        }
        false => Ok(()),
    }
}

fn size(output: &types::Output) -> u64 {
    let all = pairs(&output.headers) + pairs(&output.attributes);
    (output.event_type.len() + output.body.len() + all) as u64
}

/// Bytes of names and values.
fn pairs<V: AsRef<[u8]>>(pairs: &[(String, V)]) -> usize {
    pairs.iter().map(|(name, value)| name.len() + value.as_ref().len()).sum()
}

fn checked(output: types::Output) -> Result<NewOutput, String> {
    let event_type = output.event_type.parse().map_err(|error| {
        format!("it returned an output of type {:?}: {error}", clean(&output.event_type, 64))
    })?;
    let mut headers = output.headers;
    headers.iter_mut().for_each(|(name, _)| name.make_ascii_lowercase());
    Ok(NewOutput { event_type, headers, body: output.body, attributes: output.attributes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn output(event_type: &str, body: usize) -> types::Output {
        types::Output {
            event_type: event_type.into(),
            headers: vec![("X-A".into(), b"b".to_vec())],
            body: vec![0; body],
            attributes: vec![],
        }
    }

    fn why(result: Result<Vec<NewOutput>, Failure>) -> String {
        let failure = result.unwrap_err();
        assert_eq!(failure.outcome, Outcome::Invalid);
        failure.message
    }

    #[test]
    fn outputs_are_checked() {
        let limits = Limits { outputs: 2, output_bytes: 100, ..Limits::default() };
        let good = outputs(vec![output("order.paid", 10)], &limits).unwrap();
        assert_eq!(good[0].headers[0].0, "x-a");
        let check = |made| why(outputs(made, &limits));
        assert_eq!(
            check(vec![output("a", 1), output("b", 1), output("c", 1)]),
            "it returned 3 outputs, more than the 2 allowed"
        );
        assert_eq!(
            check(vec![output("a", 60), output("b", 60)]),
            "its outputs have 130 bytes, more than the 100 allowed"
        );
        let message = check(vec![output("a b\n", 1)]);
        assert!(message.starts_with(r#"it returned an output of type "a b\\n""#), "{message}");
    }

    #[test]
    fn a_wait_counts_only_with_retry() {
        let said = |kind| types::Failure {
            kind,
            message: "later\n".into(),
            retry_after_ms: Some(1500),
            attributes: vec![],
        };
        let retry = failed(&said(types::FailureKind::Retry), &Redaction::default());
        assert_eq!(retry.outcome, Outcome::Retry);
        assert_eq!(retry.retry_after, Some(Duration::from_millis(1500)));
        assert_eq!(retry.message, r"later\n");
        assert_eq!(
            failed(&said(types::FailureKind::Reject), &Redaction::default()).retry_after,
            None
        );
    }
}
