//! What attempts sent, beside an event that is shown: a line for each request, or all that is kept of it.

use serde_json::Value;

use super::operator::{Look, Operator, items, printable};

/// Puts into each attempt of an event what is kept of its requests.
pub(super) fn add(operator: &Operator, event: &mut Value) -> Result<(), String> {
    let deliveries = event["deliveries"].as_array_mut();
    for delivery in deliveries.into_iter().flatten() {
        let id = delivery["id"].as_str().unwrap_or_default().to_owned();
        for attempt in delivery["attempts"].as_array_mut().into_iter().flatten() {
            if attempt["requests"].is_object() {
                let place = format!("deliveries/{id}/attempts/{}/requests", attempt["number"]);
                match operator.look(&place)? {
                    Look::Found(mut found) => {
                        attempt["requests"]["items"] = found["items"].take();
                    }
                    // The event is what was asked for; this may have been forgotten, or can't be read.
                    Look::Refused(refused) => {
                        attempt["requests"]["refused"] = Value::from(refused.reason);
                    }
                    Look::Interrupted => return Err("interrupted".to_owned()),
                }
            }
        }
    }
    Ok(())
}

/// The requests of an attempt, in lines.
pub(super) fn lines(attempt: &Value, whole: bool) -> Vec<String> {
    let requests = &attempt["requests"];
    let mut lines = Vec::new();
    for request in items(&requests["items"]) {
        lines.push(format!(
            "      {} {} -> {}",
            text(&request["method"]),
            text(&request["url"]),
            ended(request)
        ));
        if whole {
            content(&mut lines, '>', request);
            content(&mut lines, '<', &request["response"]);
        }
    }
    if let Some(reason) = requests["refused"].as_str() {
        lines.push(format!("      its requests can't be shown: {}", printable(reason)));
    }
    if let Some(omitted) = requests["omitted"].as_u64().filter(|omitted| *omitted > 0) {
        lines.push(format!("      {omitted} more were sent than record_requests has room for"));
    }
    lines
}

/// What came of a request.
fn ended(request: &Value) -> String {
    let (response, error) = (&request["response"], &request["error"]);
    if response.is_object() {
        return response["status"].to_string();
    }
    format!("{}: {}", text(&error["code"]), text(&error["message"]))
}

/// Headers and body of a message, each line behind the way that it went.
fn content(lines: &mut Vec<String>, way: char, message: &Value) {
    for header in items(&message["headers"]) {
        lines.push(format!("        {way} {}: {}", text(&header[0]), text(&header[1])));
    }
    let body = &message["body"];
    let kept = body["text"].as_str().or_else(|| body["base64"].as_str()).unwrap_or_default();
    lines.extend(kept.lines().map(|line| format!("        {way} {line}")));
    if let Some(digest) = body["sha256"].as_str() {
        let bytes = &body["bytes"];
        lines.push(format!("        {way} .. of {bytes} bytes, SHA-256 {digest}"));
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("-")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_came_of_a_request_and_all_of_it_how() {
        let attempt = json!({ "requests": { "omitted": 2, "items": [
            { "method": "POST", "url": "https://a.test/1", "headers": [["x", "1"]],
              "body": { "bytes": 9000, "text": "one\ntwo", "sha256": "ab" },
              "response": { "status": 503, "headers": null, "body": null }, "error": null },
            { "method": "GET", "url": "https://a.test/2", "headers": [], "body": { "bytes": 0, "text": "" },
              "response": null, "error": { "code": "timeout", "message": "there was no answer" } },
        ] } });
        assert_eq!(
            lines(&attempt, false),
            [
                "      POST https://a.test/1 -> 503",
                "      GET https://a.test/2 -> timeout: there was no answer",
                "      2 more were sent than record_requests has room for",
            ]
        );
        let whole = lines(&attempt, true);
        assert_eq!(
            whole[1..5],
            [
                "        > x: 1",
                "        > one",
                "        > two",
                "        > .. of 9000 bytes, SHA-256 ab",
            ]
        );
        assert_eq!(lines(&json!({ "requests": null }), true), Vec::<String>::new());
    }
}
