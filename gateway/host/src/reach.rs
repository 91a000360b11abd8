//! The contract's `http` and `secrets`, in two makes: for versions that were granted some of the world,
//! and for the others, whose calls never come near what sends.

use std::time::Duration;

use bytes::Bytes;
use http::Response;
use wasmtime::component::HasData;

use crate::{
    bindings::plugin::hookweir::plugin::{
        http::{Host, HttpError, IncomingResponse, OutgoingRequest},
        secrets,
    },
    egress::{HttpFault, Wish},
    guest::Guest,
};

impl Host for Guest {
    async fn send(&mut self, request: OutgoingRequest) -> Result<IncomingResponse, HttpError> {
        let requests = self.requests();
        let ready = requests.prepare(requests.number(), wish(request));
        answer(requests.send(ready).await)
    }

    async fn send_all(
        &mut self,
        all: Vec<OutgoingRequest>,
    ) -> Vec<Result<IncomingResponse, HttpError>> {
        let requests = self.requests();
        let answers = requests.send_all(all.into_iter().map(wish).collect()).await;
        answers.into_iter().map(answer).collect()
    }
}

impl secrets::Host for Guest {
    fn get(&mut self, name: String) -> Result<String, String> {
        self.egress().readable(&name)
    }
}

fn wish(request: OutgoingRequest) -> Wish {
    Wish {
        method: request.method,
        url: request.url,
        headers: request.headers,
        secret_headers: request.secret_headers,
        body: Bytes::from(request.body),
        timeout: request.timeout_ms.map(|millis| Duration::from_millis(millis.into())),
    }
}

fn answer(answered: Result<Response<Bytes>, HttpFault>) -> Result<IncomingResponse, HttpError> {
    let (parts, body) = answered.map_err(|fault| error(&fault))?.into_parts();
    let headers = parts.headers.iter();
    let headers = headers.map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    Ok(IncomingResponse {
        status: parts.status.as_u16(),
        headers: headers.collect(),
        body: body.into(),
        attributes: Vec::new(),
    })
}

fn error(fault: &HttpFault) -> HttpError {
    HttpError {
        code: fault.code().to_owned(),
        message: fault.to_string(),
        retryable: fault.is_retryable(),
        attributes: Vec::new(),
    }
}

/// A guest without any grant.
pub(crate) struct Bare<'a>(pub(crate) &'a mut Guest);

impl HasData for Bare<'static> {
    type Data<'a> = Bare<'a>;
}

impl Bare<'_> {
    fn denied(&self, request: &OutgoingRequest) -> HttpError {
        let plugin = self.0.plugin();
        let why =
            format!("requests are not granted: say where they may go in [plugins.{plugin}] http");
        let fault = HttpFault::Denied(why);
        self.0.egress().refused(&request.method, &request.url, &fault);
        error(&fault)
    }
}

impl Host for Bare<'_> {
    async fn send(&mut self, request: OutgoingRequest) -> Result<IncomingResponse, HttpError> {
        Err(self.denied(&request))
    }

    async fn send_all(
        &mut self,
        all: Vec<OutgoingRequest>,
    ) -> Vec<Result<IncomingResponse, HttpError>> {
        all.iter().map(|request| Err(self.denied(request))).collect()
    }
}

impl secrets::Host for Bare<'_> {
    fn get(&mut self, name: String) -> Result<String, String> {
        self.0.egress().readable(&name)
    }
}
