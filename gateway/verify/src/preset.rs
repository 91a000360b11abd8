//! The presets: one table of data, compiled by the code that compiles declared schemes. A provider
//! is a row; a provider with several sets of header names has several rows, and the first whose
//! signature is in the request applies.
//!
//! All providers here write hex in lower case, so nothing else is taken, and no signed time may lie
//! more than the tolerance ahead, even where the provider's own library does not look.

use crate::declaration::Declaration;

/// A row; an empty text is a key left out.
struct Row {
    name: &'static str,
    signature: &'static str,
    separator: &'static str,
    prefix: &'static str,
    encoding: &'static str,
    secret: &'static str,
    signed: &'static str,
    timestamp: &'static str,
    event_type: &'static str,
    id: &'static str,
}

/// What most rows share: HMAC-SHA256 over the body, hex in lower case, a secret used as it is.
const USUAL: Row = Row {
    name: "",
    signature: "",
    separator: "",
    prefix: "",
    encoding: "hex-lower",
    secret: "raw",
    signed: "{body}",
    timestamp: "",
    event_type: "",
    id: "",
};

/// <https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>,
/// "Signature scheme". Senders on Svix use the same under `svix-` names
/// (<https://docs.svix.com/receiving/verifying-payloads/how-manual>). The body's `type` is a
/// recommendation and some senders have none; their events are `untyped` rather than refused.
const STANDARD_WEBHOOKS: Row = Row {
    name: "standard-webhooks",
    signature: "header:webhook-signature",
    separator: " ",
    prefix: "v1,",
    encoding: "base64",
    secret: "whsec",
    signed: "{id}.{ts}.{body}",
    timestamp: "header:webhook-timestamp",
    event_type: "json:/type | const:untyped",
    id: "header:webhook-id",
};

const ROWS: &[Row] = &[
    // https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries
    Row {
        name: "github",
        signature: "header:x-hub-signature-256",
        prefix: "sha256=",
        event_type: "header:x-github-event",
        id: "header:x-github-delivery",
        ..USUAL
    },
    // https://docs.stripe.com/webhooks/signature. Its secrets begin with `whsec_` too, but are used
    // as they are.
    Row {
        name: "stripe",
        signature: "header:stripe-signature",
        separator: ",",
        prefix: "v1=",
        signed: "{ts}.{body}",
        timestamp: "signature:t",
        event_type: "json:/type",
        id: "json:/id",
        ..USUAL
    },
    // https://docs.slack.dev/authentication/verifying-requests-from-slack. Events are JSON with the
    // type inside; interactions are a form with JSON in `payload`, slash commands a form without,
    // and neither has an event id.
    Row {
        name: "slack",
        signature: "header:x-slack-signature",
        prefix: "v0=",
        signed: "v0:{ts}:{body}",
        timestamp: "header:x-slack-request-timestamp",
        event_type: "json:/event/type | json:/type | form-json:payload:/type | const:slash_command",
        id: "json:/event_id | content",
        ..USUAL
    },
    // https://shopify.dev/docs/apps/build/webhooks/subscribe/https
    Row {
        name: "shopify",
        signature: "header:x-shopify-hmac-sha256",
        encoding: "base64",
        event_type: "header:x-shopify-topic",
        id: "header:x-shopify-event-id",
        ..USUAL
    },
    STANDARD_WEBHOOKS,
    Row {
        signature: "header:svix-signature",
        timestamp: "header:svix-timestamp",
        id: "header:svix-id",
        ..STANDARD_WEBHOOKS
    },
];

/// The names, each once.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    let first = |(index, row): &(usize, &Row)| {
        !ROWS[..*index].iter().any(|earlier| earlier.name == row.name)
    };
    ROWS.iter().enumerate().filter(first).map(|(_, row)| row.name)
}

/// The declarations of the preset called `name`, with its name as the table holds it.
pub(crate) fn declarations(
    name: &str,
) -> impl Iterator<Item = (&'static str, Declaration)> + use<'_> {
    ROWS.iter().filter(move |row| row.name == name).map(|row| (row.name, row.declaration()))
}

impl Row {
    fn declaration(&self) -> Declaration {
        let set = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        Declaration {
            signature: set(self.signature),
            prefix: set(self.prefix),
            separator: set(self.separator),
            algorithm: set("hmac-sha256"),
            encoding: set(self.encoding),
            signed: set(self.signed),
            secret_encoding: set(self.secret),
            timestamp: set(self.timestamp),
            event_type: set(self.event_type),
            id: set(self.id),
            ..Declaration::default()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compile;

    #[test]
    fn every_row_compiles() {
        for row in ROWS {
            assert!(compile::signed(&row.declaration()).is_ok(), "{}", row.name);
        }
    }
}
