//! Business software: sales, support, planning, documents.

use super::{Preset, Reply, Row};
use crate::handshake::{Answer, Handshake, Proof, Value};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "hubspot",
        docs: "https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests",
        answer_within_secs: Some(5),
        rows: &[
            Row {
                signature: "header:x-hubspot-signature-v3",
                signed: "{method}{url-decoded}{body}{ts} | {method}{url}{body}{ts}",
                timestamp: "header:x-hubspot-request-timestamp",
                unit: "ms",
                event_type: "json:/0/subscriptionType",
                id: "json:/0/eventId",
                ..Row::HMAC_BASE64
            },
            Row {
                require: "header:x-hubspot-signature-version=v2",
                signature: "header:x-hubspot-signature",
                algorithm: "sha256",
                signed: "{secret}{method}{url}{body}",
                event_type: "json:/0/subscriptionType",
                id: "json:/0/eventId",
                ..Row::HMAC
            },
            Row {
                require: "header:x-hubspot-signature-version=v1",
                signature: "header:x-hubspot-signature",
                algorithm: "sha256",
                signed: "{secret}{body}",
                event_type: "json:/0/subscriptionType",
                id: "json:/0/eventId",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "hubspot-v1",
        docs: "https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests",
        answer_within_secs: Some(5),
        rows: &[Row {
            signature: "header:x-hubspot-signature",
            algorithm: "sha256",
            signed: "{secret}{body}",
            event_type: "json:/0/subscriptionType",
            id: "json:/0/eventId",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "hubspot-v2",
        docs: "https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests",
        answer_within_secs: Some(5),
        rows: &[Row {
            signature: "header:x-hubspot-signature",
            algorithm: "sha256",
            signed: "{secret}{method}{url}{body}",
            event_type: "json:/0/subscriptionType",
            id: "json:/0/eventId",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "hubspot-v3",
        docs: "https://developers.hubspot.com/docs/apps/legacy-apps/authentication/validating-requests",
        answer_within_secs: Some(5),
        rows: &[Row {
            signature: "header:x-hubspot-signature-v3",
            signed: "{method}{url-decoded}{body}{ts} | {method}{url}{body}{ts}",
            timestamp: "header:x-hubspot-request-timestamp",
            unit: "ms",
            event_type: "json:/0/subscriptionType",
            id: "json:/0/eventId",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "intercom",
        docs: "https://developers.intercom.com/docs/webhooks/webhook-notifications",
        answer_within_secs: Some(5),
        rows: &[Row {
            signature: "header:x-hub-signature",
            prefix: "sha1=",
            algorithm: "hmac-sha1",
            event_type: "json:/topic",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "zendesk",
        docs: "https://developer.zendesk.com/documentation/webhooks/verifying/",
        answer_within_secs: Some(12),
        rows: &[Row {
            signature: "header:x-zendesk-webhook-signature",
            signed: "{ts}{body}",
            timestamp: "header:x-zendesk-webhook-signature-timestamp",
            unit: "rfc3339",
            event_type: "json:/type",
            id: "header:x-zendesk-webhook-invocation-id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "typeform",
        docs: "https://www.typeform.com/developers/webhooks/secure-your-webhooks/",
        answer_within_secs: Some(30),
        rows: &[Row {
            signature: "header:typeform-signature",
            prefix: "sha256=",
            event_type: "json:/event_type",
            id: "json:/event_id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "calendly",
        docs: "https://developer.calendly.com/api-docs/ZG9jOjM2MzE2MDM4-webhook-signatures",
        rows: &[Row {
            signature: "header:calendly-webhook-signature",
            separator: ",",
            prefix: "v1=",
            signed: "{ts}.{body}",
            timestamp: "signature:t",
            tolerance: "180s",
            event_type: "json:/event",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "cal-com",
        docs: "https://cal.com/docs/developing/guides/automation/webhooks",
        rows: &[Row {
            signature: "header:x-cal-signature-256",
            event_type: "json:/triggerEvent",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "docusign",
        docs: "https://developers.docusign.com/platform/webhooks/connect/hmac/",
        rows: &[Row {
            signature: "header:x-docusign-signature-*",
            event_type: "json:/event",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "dropbox-sign",
        docs: "https://developers.hellosign.com/docs/events/walkthrough/",
        reply: Some(Reply { status: 200, body: "Hello API Event Received" }),
        rows: &[
            Row {
                signature: "part-json:json:/event/event_hash",
                signed: "{part-json:json:/event/event_time}{part-json:json:/event/event_type}",
                event_type: "part-json:json:/event/event_type",
                id: "content",
                ..Row::HMAC
            },
            Row {
                signature: "form-json:json:/event/event_hash",
                signed: "{form-json:json:/event/event_time}{form-json:json:/event/event_type}",
                event_type: "form-json:json:/event/event_type",
                id: "content",
                ..Row::HMAC
            },
            Row {
                signature: "json:/event/event_hash",
                signed: "{json:/event/event_time}{json:/event/event_type}",
                event_type: "json:/event/event_type",
                id: "content",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "pandadoc",
        docs: "https://developers.pandadoc.com/docs/webhooks-verification",
        rows: &[Row {
            signature: "query:signature",
            event_type: "json:/0/event",
            id: "content",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "notion",
        docs: "https://developers.notion.com/reference/webhooks",
        rows: &[Row {
            signature: "header:x-notion-signature",
            prefix: "sha256=",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "json:/verification_token & !header:x-notion-signature",
            proof: Proof::None,
            answer: Answer::Learn("json:/verification_token", None),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "airtable",
        docs: "https://airtable.com/developers/web/api/webhooks-overview",
        rows: &[Row {
            signature: "header:x-airtable-content-mac",
            prefix: "hmac-sha256=",
            secret: "base64",
            event_type: "const:ping",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "monday",
        docs: "https://developer.monday.com/apps/docs/integration-authorization",
        rows: &[Row {
            kind: "jwt",
            signature: "header:authorization",
            algorithm: "HS256",
            event_type: "json:/event/type",
            id: "json:/event/triggerUuid",
            ..Row::PLAIN
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "json:/challenge & !json:/event/type",
            proof: Proof::None,
            answer: Answer::Json(&[("challenge", Value::At("json:/challenge"))]),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "asana",
        docs: "https://developers.asana.com/docs/webhooks-guide",
        answer_within_secs: Some(10),
        reply: Some(Reply { status: 200, body: "" }),
        rows: &[Row {
            signature: "header:x-hook-signature",
            event_type: "json:/events/0/action",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "header:x-hook-secret",
            proof: Proof::None,
            answer: Answer::Learn("header:x-hook-secret", Some("x-hook-secret")),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "trello",
        docs: "https://developer.atlassian.com/cloud/trello/guides/rest-api/webhooks/",
        rows: &[Row {
            signature: "header:x-trello-webhook",
            algorithm: "hmac-sha1",
            signed: "{body}{url}",
            event_type: "json:/action/type",
            id: "json:/action/id",
            ..Row::HMAC_BASE64
        }],
        handshakes: &[Handshake {
            method: "HEAD",
            when: "",
            proof: Proof::None,
            answer: Answer::Status(200),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "clickup",
        docs: "https://developer.clickup.com/docs/webhooksignature",
        rows: &[Row { signature: "header:x-signature", event_type: "json:/event", ..Row::HMAC }],
        ..Preset::NEW
    },
    Preset {
        name: "smartsheet",
        docs: "https://developers.smartsheet.com/api/smartsheet/guides/webhooks",
        rows: &[Row {
            signature: "header:smartsheet-hmac-sha256",
            event_type: "json:/scope",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "header:smartsheet-hook-challenge",
            proof: Proof::None,
            answer: Answer::Json(&[(
                "smartsheetHookResponse",
                Value::At("header:smartsheet-hook-challenge"),
            )]),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "box",
        docs: "https://developer.box.com/guides/webhooks/v2/signatures-v2/",
        rows: &[Row {
            signature: "header:box-signature-primary | header:box-signature-secondary",
            signed: "{body}{ts}",
            timestamp: "header:box-delivery-timestamp",
            unit: "rfc3339",
            tolerance: "600s",
            future: "0s",
            event_type: "json:/trigger",
            id: "header:box-delivery-id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "dropbox",
        docs: "https://www.dropbox.com/developers/reference/webhooks",
        rows: &[Row {
            signature: "header:x-dropbox-signature",
            event_type: "const:list_folder",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "query:challenge",
            proof: Proof::None,
            answer: Answer::Text("query:challenge"),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "front",
        docs: "https://dev.frontapp.com/docs/webhooks-1",
        rows: &[Row {
            signature: "header:x-front-signature",
            signed: "{ts}:{body}",
            timestamp: "header:x-front-request-timestamp",
            unit: "ms",
            event_type: "json:/type",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "helpscout",
        docs: "https://developer.helpscout.com/webhooks/",
        rows: &[Row {
            signature: "header:x-helpscout-signature",
            algorithm: "hmac-sha1",
            event_type: "header:x-helpscout-event",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "close",
        docs: "https://developer.close.com/topics/webhooks/",
        rows: &[Row {
            signature: "header:close-sig-hash",
            secret: "hex",
            signed: "{ts}{body}",
            timestamp: "header:close-sig-timestamp",
            event_type: "json:/event/action",
            id: "json:/event/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "pipedrive",
        docs: "https://pipedrive.readme.io/docs/guide-for-webhooks-v2",
        rows: &[Row {
            signature: "header:authorization",
            prefix: "Basic ",
            encoding: "base64",
            event_type: "json:/meta/entity + json:/meta/action",
            id: "json:/meta/id",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "nylas",
        docs: "https://developer.nylas.com/docs/v3/notifications/",
        rows: &[Row {
            signature: "header:x-nylas-signature",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "query:challenge",
            proof: Proof::None,
            answer: Answer::Text("query:challenge"),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "acuity",
        docs: "https://developers.acuityscheduling.com/docs/webhooks",
        rows: &[Row {
            signature: "header:x-acuity-signature",
            event_type: "form:action",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "adobe-sign",
        docs: "https://developer.adobe.com/acrobat-sign/docs/overview/acrobat_sign_events/",
        echoes: Some("x-adobesign-clientid"),
        rows: &[Row {
            signature: "header:x-adobesign-clientid",
            event_type: "json:/event",
            id: "json:/webhookNotificationId",
            ..Row::TOKEN
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "header:x-adobesign-clientid",
            proof: Proof::Signed,
            answer: Answer::Header("x-adobesign-clientid", "header:x-adobesign-clientid"),
        }],
        ..Preset::NEW
    },
];
