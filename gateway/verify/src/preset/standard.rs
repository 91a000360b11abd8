//! Standards, and the generic ways of proving oneself.

use super::{Preset, Row};
use crate::handshake::{Answer, Handshake, Proof};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "standard-webhooks",
        docs: "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        answer_within_secs: Some(15),
        rows: &[Row::WEBHOOK, Row::SVIX],
        ..Preset::NEW
    },
    Preset {
        name: "standard-webhooks-v1a",
        docs: "https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md",
        answer_within_secs: Some(15),
        rows: &[Row { prefix: "v1a,", algorithm: "ed25519", secret: "", ..Row::WEBHOOK }],
        ..Preset::NEW
    },
    Preset {
        name: "rfc9421",
        docs: "https://www.rfc-editor.org/rfc/rfc9421",
        params: &["algorithm", "key_id?", "covered?", "tolerance?", "secret_encoding?"],
        rows: &[Row {
            kind: "http-message",
            algorithm: "{param:algorithm}",
            secret: "{param:secret_encoding?}",
            covered: "{param:covered?}",
            key_id: "{param:key_id?}",
            tolerance: "{param:tolerance?}",
            event_type: "header:ce-type | json:/type",
            id: "header:ce-id",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "basic",
        docs: "https://www.rfc-editor.org/rfc/rfc7617",
        rows: &[Row {
            signature: "header:authorization",
            prefix: "Basic ",
            encoding: "base64",
            event_type: "json:/type | json:/event",
            id: "content",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "bearer",
        docs: "https://www.rfc-editor.org/rfc/rfc6750",
        rows: &[Row {
            signature: "header:authorization",
            prefix: "Bearer ",
            event_type: "json:/type | json:/event",
            id: "content",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "query-token",
        docs: "https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md",
        rows: &[Row {
            signature: "query:token",
            event_type: "json:/type | json:/event",
            id: "content",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "cloudevents",
        docs: "https://github.com/cloudevents/spec/blob/main/cloudevents/http-webhook.md",
        params: &["allowed_origins?"],
        rows: &[
            Row {
                signature: "header:authorization",
                prefix: "Bearer ",
                event_type: "header:ce-type | json:/type",
                id: "header:ce-id + header:ce-source | json:/id + json:/source",
                ..Row::TOKEN
            },
            Row {
                signature: "query:access_token",
                event_type: "header:ce-type | json:/type",
                id: "header:ce-id + header:ce-source | json:/id + json:/source",
                ..Row::TOKEN
            },
        ],
        handshakes: &[Handshake {
            method: "OPTIONS",
            when: "header:webhook-request-origin",
            proof: Proof::Param {
                place: "header:webhook-request-origin",
                name: "allowed_origins",
                refused: 403,
            },
            answer: Answer::AllowOrigin,
        }],
        ..Preset::NEW
    },
    Preset {
        name: "websub",
        docs: "https://www.w3.org/TR/websub/",
        params: &["topics?"],
        rows: &[Row {
            signature: "header:x-hub-signature",
            prefix: "sha256=",
            event_type: "const:content",
            id: "content",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "query:hub.challenge",
            proof: Proof::Param { place: "query:hub.topic", name: "topics", refused: 404 },
            answer: Answer::Text("query:hub.challenge"),
        }],
        ..Preset::NEW
    },
];
