//! Identity.

use super::{Preset, Row};
use crate::handshake::{Answer, Handshake, Proof, Value};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "workos",
        docs: "https://workos.com/docs/events/data-syncing/webhooks",
        rows: &[Row {
            signature: "header:workos-signature",
            separator: ",",
            prefix: "v1=",
            signed: "{ts}.{body}",
            timestamp: "signature:t",
            unit: "ms",
            tolerance: "180s",
            event_type: "json:/event",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "okta",
        docs: "https://developer.okta.com/docs/concepts/event-hooks/",
        answer_within_secs: Some(3),
        rows: &[Row {
            signature: "header:authorization",
            event_type: "json:/eventType",
            id: "json:/eventId",
            ..Row::TOKEN
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "header:x-okta-verification-challenge",
            proof: Proof::Signed,
            answer: Answer::Json(&[(
                "verification",
                Value::At("header:x-okta-verification-challenge"),
            )]),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "auth0",
        docs: "https://auth0.com/docs/customize/log-streams/custom-log-streams",
        rows: &[Row {
            signature: "header:authorization",
            prefix: "Bearer ",
            event_type: "json:/type | json:/0/data/type",
            id: "json:/log_id | json:/0/log_id",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "persona",
        docs: "https://docs.withpersona.com/webhooks-best-practices",
        rows: &[Row {
            signature: "header:persona-signature",
            separator: ",",
            prefix: "v1=",
            signed: "{ts}.{body}",
            timestamp: "signature:t",
            event_type: "json:/data/attributes/name",
            id: "json:/data/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "onfido",
        docs: "https://documentation.onfido.com/api/latest/#webhooks",
        rows: &[Row {
            signature: "header:x-sha2-signature",
            event_type: "json:/payload/action",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
];
