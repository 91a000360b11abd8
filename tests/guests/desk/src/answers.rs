//! What it answers, by path. `/orders/NAME` and `/count` are what an api is for; the rest shows the border
//! from both sides.

use std::time::Duration;

use hookweir_sdk::prelude::*;
use serde_json::json;

pub(crate) fn to(request: &Request) -> Result<Response, Failure> {
    let number = |default: u64| match request.parameter("n") {
        Some(text) => text.parse().or_reject(),
        None => Ok(default),
    };
    match (request.method(), request.path()) {
        ("GET" | "HEAD", "/orders") => Response::json(&state::keys("order:", None, 100)?),
        ("GET" | "HEAD", path) if path.starts_with("/orders/") => {
            let name = path.trim_start_matches("/orders/");
            let status = state::get(&format!("order:{name}"))?;
            Ok(status.map_or(Response::new(404), |status| Response::new(200).with_body(status)))
        }
        ("GET", "/count") => Response::json(&state::json::<u64>("count")?.unwrap_or(0)),
        ("POST", "/count") => Response::json(&state::increment("count", 1)?),
        (_, "/echo") => echo(request),
        (_, "/write-and-nonsense") => {
            state::increment("count", 1)?;
            Ok(Response::new(42))
        }
        (_, "/status") => Ok(Response::new(u16::try_from(number(200)?).or_reject()?)),
        (_, "/header") => {
            let text = request.text();
            let (name, value) = text.split_once('=').ok_or("no header in the body").or_reject()?;
            Ok(Response::new(200).header(name, value))
        }
        (_, "/write-and-reject") => {
            state::increment("count", 1)?;
            Err(Failure::reject("as asked"))
        }
        (_, "/later") => Err(Failure::retry("hush").after(Duration::from_millis(number(1500)?))),
        (_, "/panic") => {
            state::increment("count", 1)?;
            panic!("on purpose")
        }
        (_, "/loop") => crate::endless(),
        (_, "/spin") => {
            crate::busy(number(100)?);
            Ok(Response::text("spun"))
        }
        (_, "/huge") => {
            let bytes = usize::try_from(number(32 << 20)?).or_reject()?;
            Ok(Response::new(200).with_body(vec![b'x'; bytes]))
        }
        _ => Ok(Response::new(404)),
    }
}

/// What it was shown.
fn echo(request: &Request) -> Result<Response, Failure> {
    let header = |name| request.header(name).map(str::to_owned);
    Response::json(&json!({
        "method": request.method(),
        "path": request.path(),
        "query": request.query(),
        "authorization": header("authorization"),
        "body": request.text(),
        "client": request.attribute("client"),
        "request": request.attribute("request-id"),
    }))
}
