//! A guest that sends its requests by wasi:http 0.2, as components of other toolchains do: what is
//! granted is the same, and so are the limits.
//!
//! The event's body is JSON: `method`, `authority`, `path`, `headers`, and `bytes` of body.

use hookweir_sdk::prelude::*;
use serde_json::{Value, json};

/// The interfaces of `wit/`.
#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated")]
mod wasi_imports {
    wit_bindgen::generate!({ path: "wit", world: "asks", generate_all });
}

use wasi_imports::wasi::{
    http::{
        outgoing_handler,
        types::{
            ErrorCode, Fields, IncomingResponse, Method, OutgoingBody, OutgoingRequest, Scheme,
        },
    },
    io::streams::StreamError,
};

/// What a stream takes at once.
const CHUNK: usize = 4096;

#[plugin(subscribe = ["test/foreign"], http = ["http://*"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    let asked: Value = event.json()?;
    // Takes handles and gives none back.
    if asked["bomb"] == true {
        loop {
            std::mem::forget(Fields::new());
        }
    }
    // Begins bodies and sends none of them.
    if asked["hoard"] == true {
        return hoard();
    }
    let seen = match sent(&asked) {
        Ok(answer) => answer,
        Err(why) => json!({ "error": why }),
    };
    Ok(outputs![Output::json("answers", &[seen])?])
}

fn hoard() -> Result<Outputs, Failure> {
    let chunk = vec![b'x'; CHUNK];
    let mut kept = Vec::new();
    for _ in 0..60 {
        let request = OutgoingRequest::new(Fields::new());
        let body = request.body().map_err(|()| "no body").or_reject()?;
        let stream = body.write().map_err(|()| "no stream").or_reject()?;
        // What the host takes of a body that nobody reads.
        let mut taken = 0;
        while stream.check_write().is_ok_and(|room| room >= CHUNK as u64) && taken < 4 << 20 {
            stream.write(&chunk).map_err(|_| "it does not take it").or_reject()?;
            taken += CHUNK;
        }
        // In the order in which they may go.
        kept.push((stream, body, request, taken));
    }
    let taken: usize = kept.iter().map(|(.., taken)| taken).sum();
    Ok(outputs![Output::json("answers", &[json!({ "taken": taken })])?])
}

fn sent(asked: &Value) -> Result<Value, String> {
    let text = |key: &str| asked[key].as_str().unwrap_or_default().to_owned();
    let headers = Fields::new();
    for pair in asked["headers"].as_array().into_iter().flatten() {
        let [name, value] = [0, 1].map(|at| pair[at].as_str().unwrap_or_default());
        headers.append(name, value.as_bytes()).map_err(|error| format!("{name}: {error:?}"))?;
    }
    let request = OutgoingRequest::new(headers);
    let method = if text("method") == "POST" { Method::Post } else { Method::Get };
    let set = |done: Result<(), ()>| done.map_err(|()| "it can't be set".to_owned());
    set(request.set_method(&method))?;
    set(request.set_scheme(Some(&Scheme::Http)))?;
    set(request.set_authority(Some(&text("authority"))))?;
    set(request.set_path_with_query(Some(&text("path"))))?;
    let body = request.body().map_err(|()| "no body".to_owned())?;
    let answering = outgoing_handler::handle(request, None).map_err(code)?;
    write(body, usize::try_from(asked["bytes"].as_u64().unwrap_or(0)).unwrap_or(0))?;
    answering.subscribe().block();
    let answer = answering.get().ok_or("nothing, though it is ready")?;
    let answer = answer.map_err(|()| "asked twice".to_owned())?.map_err(code)?;
    Ok(json!({ "status": answer.status(), "size": read(&answer)? }))
}

fn write(body: OutgoingBody, mut bytes: usize) -> Result<(), String> {
    let stream = body.write().map_err(|()| "no stream".to_owned())?;
    while bytes > 0 {
        let now = bytes.min(CHUNK);
        // The host may have given up on the request; what it says of it comes with the answer.
        if stream.blocking_write_and_flush(&vec![b'x'; now]).is_err() {
            return Ok(());
        }
        bytes -= now;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(code)
}

fn read(answer: &IncomingResponse) -> Result<usize, String> {
    let body = answer.consume().map_err(|()| "no body".to_owned())?;
    let stream = body.stream().map_err(|()| "no stream".to_owned())?;
    let mut size = 0;
    loop {
        match stream.blocking_read(1 << 16) {
            Ok(bytes) => size += bytes.len(),
            Err(StreamError::Closed) => return Ok(size),
            Err(StreamError::LastOperationFailed(_)) => return Err("it broke off".to_owned()),
        }
    }
}

#[expect(clippy::needless_pass_by_value, reason = "what `map_err` gives")]
fn code(code: ErrorCode) -> String {
    format!("{code:?}")
}
