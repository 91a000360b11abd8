//! A guest that sends requests: the event's body says which, and the output what came of each. Whom it
//! may reach is the operator's word.

use std::time::Duration;

use hookweir_sdk::{
    http::{self, HttpError},
    prelude::*,
};
use serde_json::{Value, json};

/// A request as a test writes it.
#[derive(serde::Deserialize)]
struct Step {
    #[serde(default = "get")]
    method: String,
    url: String,
    #[serde(default)]
    headers: Vec<(String, String)>,
    #[serde(default)]
    secrets: Vec<(String, String)>,
    #[serde(default)]
    body: String,
    /// The body is this many bytes instead.
    #[serde(default)]
    bytes: usize,
    timeout_ms: Option<u64>,
}

fn get() -> String {
    "GET".to_owned()
}

#[plugin(subscribe = ["test/*"], http = ["http://*", "https://*"])]
fn handle(event: Event) -> Result<Outputs, Failure> {
    match event.event_type() {
        "send" => {
            let steps: Vec<Step> = event.json()?;
            let answers = steps.into_iter().map(|step| shown(step.request().send()));
            Ok(outputs![Output::json("answers", &answers.collect::<Vec<_>>())?])
        }
        "send-all" => {
            let steps: Vec<Step> = event.json()?;
            let answers = http::send_all(steps.into_iter().map(Step::request));
            let answers: Vec<_> = answers.into_iter().map(shown).collect();
            Ok(outputs![Output::json("answers", &answers)?])
        }
        // As a plugin would: what fails is a failure.
        "must" => {
            let steps: Vec<Step> = event.json()?;
            for step in steps {
                step.request().send()?.ok_or_retry()?;
            }
            Ok(outputs![])
        }
        // A test rewords where it goes, to have a version that sends something else.
        "label" => {
            let url = format!("{}/labels/blue", event.text());
            http::post(url).body("{}").send()?.ok_or_retry()?;
            Ok(outputs![])
        }
        "huge" => Ok(outputs![Output::new("huge", huge(&event.text())?)]),
        "read" => Ok(outputs![Output::new("secret", secrets::get(&event.text())?)]),
        other => Err(Failure::reject(format!("no behaviour `{other}`"))),
    }
}

/// Sends a request and counts it, so that two at once are run again: the answer is what the server said.
#[api]
fn respond(request: Request) -> Result<Response, Failure> {
    let before: u64 = state::json("asked")?.unwrap_or(0);
    let answer = http::post(request.text()).body(before.to_string()).send()?.ok_or_retry()?;
    state::set_json("asked", &(before + 1))?;
    Ok(Response::text(answer.text()))
}

/// Hands eight megabytes to one of the host's functions.
fn huge(function: &str) -> Result<String, Failure> {
    let huge = "x".repeat(8 << 20);
    Ok(match function {
        "log" => {
            log::info!("{huge}");
            "logged".to_owned()
        }
        "config" => format!("{:?}", config::get(&huge)),
        "secrets" => secrets::get(&huge)?,
        "get" => format!("{:?}", state::get(&huge)?),
        "set" => format!("{:?}", state::set("key", &huge)?),
        "set-key" => format!("{:?}", state::set(&huge, "value")?),
        "delete" => state::delete(&huge)?.to_string(),
        "increment" => state::increment(&huge, 1)?.to_string(),
        "keys" => state::keys(&huge, Some(&huge), 10)?.len().to_string(),
        "url" => http::get(format!("http://api.test/{huge}")).send()?.status().to_string(),
        "header" => http::get("http://api.test/").header("x", &huge).send()?.status().to_string(),
        "body" => http::post("http://api.test/").body(huge).send()?.status().to_string(),
        "secret" => {
            http::get("http://api.test/").secret_header("x", huge).send()?.status().to_string()
        }
        other => return Err(Failure::reject(format!("no function `{other}`"))),
    })
}

impl Step {
    fn request(self) -> http::Request {
        let mut request = http::Request::new(self.method, filled(self.url));
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        for (name, template) in self.secrets {
            request = request.secret_header(name, template);
        }
        if let Some(millis) = self.timeout_ms {
            request = request.timeout(Duration::from_millis(millis));
        }
        let body =
            if self.bytes > 0 { vec![b'x'; self.bytes] } else { filled(self.body).into_bytes() };
        request.body(body)
    }
}

/// A text with the secret that the plugin may read, where it wants it.
fn filled(text: String) -> String {
    if text.contains("{OPEN}") {
        return text.replace("{OPEN}", &secrets::get("OPEN").unwrap_or_default());
    }
    text
}

fn shown(answered: Result<http::Response, HttpError>) -> Value {
    match answered {
        Ok(answer) => json!({
            "status": answer.status(),
            "location": answer.header("location"),
            "size": answer.body().len(),
            "body": answer.text().chars().take(4096).collect::<String>(),
        }),
        Err(error) => json!({
            "code": error.code(),
            "message": error.message(),
            "retryable": error.is_retryable(),
        }),
    }
}
