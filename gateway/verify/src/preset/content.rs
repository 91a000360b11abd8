//! Content, communities, media and personal data.

use super::{Preset, Reply, Row};
use crate::handshake::{Answer, Handshake, Proof, Value};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "webflow",
        docs: "https://developers.webflow.com/data/docs/working-with-webhooks",
        rows: &[Row {
            signature: "header:x-webflow-signature",
            signed: "{ts}:{body}",
            timestamp: "header:x-webflow-timestamp",
            unit: "ms",
            event_type: "json:/triggerType",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "sanity",
        docs: "https://www.sanity.io/docs/content-lake/webhooks",
        rows: &[Row {
            signature: "header:sanity-webhook-signature",
            separator: ",",
            prefix: "v1=",
            encoding: "base64url",
            signed: "{ts}.{body}",
            timestamp: "signature:t",
            unit: "ms",
            event_type: "header:sanity-operation | json:/_type",
            id: "header:idempotency-key",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "contentful",
        docs: "https://www.contentful.com/developers/docs/webhooks/request-verification/",
        rows: &[Row {
            signature: "header:x-contentful-signature",
            signed: "{contentful}",
            timestamp: "header:x-contentful-timestamp",
            unit: "ms",
            tolerance: "29999ms",
            event_type: "header:x-contentful-topic",
            id: "content",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "kontent-ai",
        docs: "https://kontent.ai/learn/docs/webhooks/webhooks/net",
        rows: &[Row {
            signature: "header:x-kontent-ai-signature",
            event_type: "json:/notifications/0/message/action",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "ghost",
        docs: "https://docs.ghost.org/webhooks",
        rows: &[Row {
            signature: "header:x-ghost-signature",
            separator: ",",
            prefix: "sha256=",
            signed: "{body}{ts}",
            timestamp: "signature:t",
            unit: "ms",
            event_type: "const:untyped",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "discourse",
        docs: "https://meta.discourse.org/t/configure-webhooks-that-trigger-on-discourse-events-to-integrate-with-external-services/49045",
        rows: &[Row {
            signature: "header:x-discourse-event-signature",
            prefix: "sha256=",
            event_type: "header:x-discourse-event",
            id: "header:x-discourse-event-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "cloudinary",
        docs: "https://cloudinary.com/documentation/notification_signatures",
        rows: &[Row {
            signature: "header:x-cld-signature",
            algorithm: "sha1",
            signed: "{body}{ts}{secret}",
            timestamp: "header:x-cld-timestamp",
            tolerance: "7200s",
            event_type: "json:/notification_type",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "cloudinary-sha256",
        docs: "https://cloudinary.com/documentation/notification_signatures",
        rows: &[Row {
            signature: "header:x-cld-signature",
            algorithm: "sha256",
            signed: "{body}{ts}{secret}",
            timestamp: "header:x-cld-timestamp",
            tolerance: "7200s",
            event_type: "json:/notification_type",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "segment",
        docs: "https://segment.com/docs/connections/destinations/catalog/webhooks/",
        rows: &[Row {
            signature: "header:x-signature",
            algorithm: "hmac-sha1",
            event_type: "json:/type",
            id: "json:/messageId",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "patreon",
        docs: "https://docs.patreon.com/#webhooks",
        rows: &[Row {
            signature: "header:x-patreon-signature",
            algorithm: "hmac-md5",
            event_type: "header:x-patreon-event",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "fitbit",
        docs: "https://dev.fitbit.com/build/reference/web-api/developer-guide/using-subscriptions/",
        params: &["verify_code?"],
        reply: Some(Reply { status: 204, body: "" }),
        rows: &[Row {
            signature: "header:x-fitbit-signature",
            algorithm: "hmac-sha1",
            secret: "suffix:&",
            event_type: "json:/0/collectionType",
            ..Row::HMAC_BASE64
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "query:verify",
            proof: Proof::Param { place: "query:verify", name: "verify_code", refused: 404 },
            answer: Answer::Status(204),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "strava",
        docs: "https://developers.strava.com/docs/webhooks/",
        params: &["verify_token?"],
        rows: &[Row {
            signature: "query:token",
            event_type: "json:/object_type + json:/aspect_type",
            id: "content",
            ..Row::TOKEN
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "query:hub.mode=subscribe",
            proof: Proof::Param {
                place: "query:hub.verify_token",
                name: "verify_token",
                refused: 403,
            },
            answer: Answer::Json(&[("hub.challenge", Value::At("query:hub.challenge"))]),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "mailchimp",
        docs: "https://mailchimp.com/developer/marketing/guides/sync-audience-data-webhooks/",
        rows: &[Row { signature: "query:token", event_type: "form:type", ..Row::TOKEN }],
        handshakes: &[Handshake {
            method: "GET",
            when: "",
            proof: Proof::None,
            answer: Answer::Status(200),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "gumroad",
        docs: "https://gumroad.com/ping",
        rows: &[Row {
            signature: "query:token",
            event_type: "form:resource_name",
            id: "form:sale_id",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "jotform",
        docs: "https://www.jotform.com/help/245-how-to-setup-a-webhook-with-jotform/",
        rows: &[Row {
            signature: "query:token",
            event_type: "const:submission",
            id: "form:submissionID",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "bigcommerce",
        docs: "https://developer.bigcommerce.com/docs/integrations/webhooks",
        rows: &[Row {
            signature: "query:token",
            event_type: "json:/scope",
            id: "json:/hash",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
];
