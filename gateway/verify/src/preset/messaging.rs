//! Messages, calls and chat.

use super::{Preset, Reply, Row};
use crate::handshake::{Answer, Handshake, Proof, Value};

/// Voice requests have both; this one covers the form too.
const PLIVO_V3: Row = Row {
    signature: "header:x-plivo-signature-v3",
    separator: ",",
    signed: "{plivo}.{header:x-plivo-signature-v3-nonce}",
    event_type: "form:Event | const:untyped",
    ..Row::HMAC_BASE64
};

const PLIVO_V2: Row = Row {
    signature: "header:x-plivo-signature-v2",
    signed: "{url}{header:x-plivo-signature-v2-nonce}",
    ..Row::HMAC_BASE64
};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "slack",
        docs: "https://docs.slack.dev/authentication/verifying-requests-from-slack",
        answer_within_secs: Some(3),
        rows: &[Row {
            signature: "header:x-slack-signature",
            prefix: "v0=",
            signed: "v0:{ts}:{body}",
            timestamp: "header:x-slack-request-timestamp",
            event_type: "json:/event/type | json:/type | form-json:payload:/type | const:slash_command",
            id: "json:/event_id",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "json:/type=url_verification",
            proof: Proof::Signed,
            answer: Answer::Text("json:/challenge"),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "discord",
        docs: "https://discord.com/developers/docs/interactions/overview",
        answer_within_secs: Some(3),
        reply: Some(Reply { status: 204, body: "" }),
        rows: &[Row {
            signature: "header:x-signature-ed25519",
            algorithm: "ed25519",
            signed: "{ts}{body}",
            timestamp: "header:x-signature-timestamp",
            event_type: "json:/event/type | json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        handshakes: &[
            Handshake {
                method: "POST",
                when: "json:/type=1 & !json:/event/type",
                proof: Proof::Signed,
                answer: Answer::Json(&[("type", Value::Number(1))]),
            },
            Handshake {
                method: "POST",
                when: "json:/type=0",
                proof: Proof::Signed,
                answer: Answer::Status(204),
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "meta",
        docs: "https://developers.facebook.com/docs/graph-api/webhooks/getting-started",
        params: &["verify_token?"],
        rows: &[Row {
            signature: "header:x-hub-signature-256",
            prefix: "sha256=",
            event_type: "json:/object + json:/entry/0/changes/0/field",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "query:hub.mode=subscribe",
            proof: Proof::Param {
                place: "query:hub.verify_token",
                name: "verify_token",
                refused: 403,
            },
            answer: Answer::Text("query:hub.challenge"),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "telegram",
        docs: "https://core.telegram.org/bots/api#setwebhook",
        rows: &[Row {
            signature: "header:x-telegram-bot-api-secret-token",
            event_type: "const:update",
            id: "json:/update_id",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "line",
        docs: "https://developers.line.biz/en/docs/messaging-api/verify-webhook-signature/",
        reply: Some(Reply { status: 200, body: "" }),
        rows: &[Row {
            signature: "header:x-line-signature",
            event_type: "json:/events/0/type",
            id: "json:/events/0/webhookEventId",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "twilio",
        docs: "https://www.twilio.com/docs/usage/security#validating-requests",
        answer_within_secs: Some(15),
        reply: Some(Reply { status: 204, body: "" }),
        rows: &[
            Row {
                require: "query:bodySHA256",
                signature: "header:x-twilio-signature",
                algorithm: "hmac-sha1",
                signed: "{url} | {url-with-port} | {url-without-port}",
                body_digest: "query:bodySHA256 hex",
                event_type: "json:/Type | json:/status | json:/SmsStatus",
                id: "header:i-twilio-idempotency-token",
                ..Row::HMAC_BASE64
            },
            Row {
                signature: "header:x-twilio-signature",
                algorithm: "hmac-sha1",
                signed: "{url}{form-sorted} | {url-with-port}{form-sorted} | {url-without-port}{form-sorted}",
                event_type: "form:SmsStatus | form:MessageStatus | form:CallStatus | form:EventType",
                id: "header:i-twilio-idempotency-token",
                ..Row::HMAC_BASE64
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "twilio-json",
        docs: "https://www.twilio.com/docs/usage/security#validating-requests",
        answer_within_secs: Some(15),
        reply: Some(Reply { status: 204, body: "" }),
        rows: &[Row {
            require: "query:bodySHA256",
            signature: "header:x-twilio-signature",
            algorithm: "hmac-sha1",
            signed: "{url} | {url-with-port} | {url-without-port}",
            body_digest: "query:bodySHA256 hex",
            event_type: "json:/Type | json:/status | json:/SmsStatus",
            id: "header:i-twilio-idempotency-token",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "sendgrid",
        docs: "https://www.twilio.com/docs/sendgrid/for-developers/tracking-events/getting-started-event-webhook-security-features",
        rows: &[Row {
            signature: "header:x-twilio-email-event-webhook-signature",
            algorithm: "ecdsa-p256-sha256",
            signed: "{ts}{body}",
            timestamp: "header:x-twilio-email-event-webhook-timestamp",
            tolerance: "25h",
            future: "any",
            event_type: "json:/0/event",
            id: "json:/0/sg_event_id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "mailgun",
        docs: "https://documentation.mailgun.com/docs/mailgun/user-manual/webhooks/securing-webhooks",
        rows: &[Row {
            signature: "json:/signature/signature",
            signed: "{json:/signature/timestamp}{json:/signature/token}",
            event_type: "json:/event-data/event",
            id: "json:/event-data/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "postmark",
        docs: "https://postmarkapp.com/developer/webhooks/webhooks-overview",
        reply: Some(Reply { status: 200, body: "" }),
        rows: &[Row {
            signature: "header:authorization",
            prefix: "Basic ",
            encoding: "base64",
            event_type: "json:/RecordType",
            id: "content",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "mandrill",
        docs: "https://mailchimp.com/developer/transactional/guides/track-respond-activity-webhooks/",
        rows: &[Row {
            signature: "header:x-mandrill-signature",
            algorithm: "hmac-sha1",
            signed: "{url}{form-sorted}",
            event_type: "form-json:mandrill_events:/0/event",
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
        name: "customerio",
        docs: "https://docs.customer.io/journeys/webhooks/",
        rows: &[Row {
            signature: "header:x-cio-signature",
            signed: "v0:{ts}:{body}",
            timestamp: "header:x-cio-timestamp",
            event_type: "json:/metric",
            id: "json:/event_id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "telnyx",
        docs: "https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks",
        rows: &[Row {
            signature: "header:telnyx-signature-ed25519",
            algorithm: "ed25519",
            signed: "{ts}|{body}",
            timestamp: "header:telnyx-timestamp",
            event_type: "json:/data/event_type",
            id: "json:/data/id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "plivo",
        docs: "https://www.plivo.com/docs/voice/concepts/signature-validation",
        rows: &[PLIVO_V3, PLIVO_V2],
        ..Preset::NEW
    },
    Preset {
        name: "plivo-v3",
        docs: "https://www.plivo.com/docs/voice/concepts/signature-validation",
        rows: &[PLIVO_V3],
        ..Preset::NEW
    },
    Preset {
        name: "plivo-v2",
        docs: "https://www.plivo.com/docs/voice/concepts/signature-validation",
        rows: &[PLIVO_V2],
        ..Preset::NEW
    },
    Preset {
        name: "vonage",
        docs: "https://developer.vonage.com/en/getting-started/concepts/webhooks",
        rows: &[Row {
            kind: "jwt",
            signature: "header:authorization",
            prefix: "Bearer ",
            algorithm: "HS256",
            claims: "payload_hash?={sha256:body}",
            timestamp: "claim:iat",
            event_type: "json:/message_type | json:/status",
            id: "content",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "messagebird",
        docs: "https://developers.messagebird.com/api/#verifying-http-requests",
        rows: &[Row {
            kind: "jwt",
            signature: "header:messagebird-signature-jwt",
            algorithm: "HS256 HS384 HS512",
            claims: "iss=MessageBird & url_hash={sha256:url} & payload_hash?={sha256:body}",
            tolerance: "5s",
            event_type: "json:/status | json:/type",
            id: "json:/id",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "sinch",
        docs: "https://developers.sinch.com/docs/conversation/callbacks/",
        rows: &[Row {
            signature: "header:x-sinch-webhook-signature",
            signed: "{body}.{header:x-sinch-webhook-signature-nonce}.{ts}",
            timestamp: "header:x-sinch-webhook-signature-timestamp",
            event_type: "json:/event",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "zoom",
        docs: "https://developers.zoom.us/docs/api/webhooks/",
        answer_within_secs: Some(3),
        reply: Some(Reply { status: 200, body: "" }),
        rows: &[Row {
            signature: "header:x-zm-signature",
            prefix: "v0=",
            signed: "v0:{ts}:{body}",
            timestamp: "header:x-zm-request-timestamp",
            event_type: "json:/event",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "json:/event=endpoint.url_validation",
            proof: Proof::Signed,
            answer: Answer::Json(&[
                ("plainToken", Value::At("json:/payload/plainToken")),
                ("encryptedToken", Value::MacHex("json:/payload/plainToken")),
            ]),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "twitch",
        docs: "https://dev.twitch.tv/docs/eventsub/handling-webhook-events/",
        rows: &[Row {
            signature: "header:twitch-eventsub-message-signature",
            prefix: "sha256=",
            signed: "{id}{ts}{body}",
            timestamp: "header:twitch-eventsub-message-timestamp",
            unit: "rfc3339",
            tolerance: "600s",
            event_type: "header:twitch-eventsub-subscription-type",
            id: "header:twitch-eventsub-message-id",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "header:twitch-eventsub-message-type=webhook_callback_verification",
            proof: Proof::Signed,
            answer: Answer::Text("json:/challenge"),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "x-twitter",
        docs: "https://docs.x.com/x-api/webhooks/introduction",
        answer_within_secs: Some(3),
        rows: &[Row {
            signature: "header:x-twitter-webhooks-signature",
            prefix: "sha256=",
            event_type: "const:account_activity",
            ..Row::HMAC_BASE64
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "query:crc_token",
            proof: Proof::None,
            answer: Answer::Json(&[("response_token", Value::MacBase64("query:crc_token"))]),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "viber",
        docs: "https://developers.viber.com/docs/api/rest-bot-api/#callbacks",
        reply: Some(Reply { status: 200, body: "" }),
        rows: &[Row {
            signature: "header:x-viber-content-signature",
            event_type: "json:/event",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "webex",
        docs: "https://developer.webex.com/docs/api/guides/webhooks",
        rows: &[Row {
            signature: "header:x-spark-signature",
            algorithm: "hmac-sha1",
            event_type: "json:/event",
            id: "json:/data/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "ms-teams-outgoing",
        docs: "https://learn.microsoft.com/en-us/microsoftteams/platform/webhooks-and-connectors/how-to/add-outgoing-webhook",
        answer_within_secs: Some(5),
        reply: Some(Reply { status: 200, body: "{\"type\":\"message\",\"text\":\"\"}" }),
        rows: &[Row {
            signature: "header:authorization",
            prefix: "HMAC ",
            secret: "base64",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "google-chat",
        docs: "https://developers.google.com/workspace/chat/verify-requests-from-chat",
        params: &["audience"],
        rows: &[Row {
            kind: "jwt",
            signature: "header:authorization",
            prefix: "Bearer ",
            algorithm: "RS256",
            claims: "iss=https://accounts.google.com & aud={param:audience} & email=chat@system.gserviceaccount.com",
            key_url: "const:https://www.googleapis.com/oauth2/v3/certs www.googleapis.com",
            event_type: "json:/type",
            id: "content",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "lark",
        docs: "https://open.larksuite.com/document/server-docs/event-subscription-guide/event-subscription-configure-/encrypt-key-encryption-configuration-case",
        params: &["verification_token?"],
        rows: &[Row {
            signature: "header:x-lark-signature",
            algorithm: "sha256",
            signed: "{header:x-lark-request-timestamp}{header:x-lark-request-nonce}{secret}{body}",
            event_type: "json:/header/event_type",
            id: "json:/header/event_id",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "json:/type=url_verification",
            proof: Proof::Param { place: "json:/token", name: "verification_token", refused: 403 },
            answer: Answer::Json(&[("challenge", Value::At("json:/challenge"))]),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "wechat",
        docs: "https://developers.weixin.qq.com/doc/offiaccount/Basic_Information/Access_Overview.html",
        answer_within_secs: Some(5),
        reply: Some(Reply { status: 200, body: "success" }),
        rows: &[Row {
            signature: "query:signature",
            algorithm: "sha1",
            signed: "{sorted:query:timestamp,query:nonce}",
            timestamp: "query:timestamp",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "query:echostr",
            proof: Proof::Signed,
            answer: Answer::Text("query:echostr"),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "dingtalk",
        docs: "https://open.dingtalk.com/document/orgapp/receive-message",
        rows: &[Row {
            signature: "header:sign",
            signed: "{ts}\n{secret}",
            timestamp: "header:timestamp",
            unit: "ms",
            tolerance: "1h",
            event_type: "json:/msgtype",
            id: "json:/msgId",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "chatwoot",
        docs: "https://www.chatwoot.com/docs/product/features/webhooks",
        rows: &[Row {
            signature: "header:x-chatwoot-signature",
            prefix: "sha256=",
            signed: "{ts}.{body}",
            timestamp: "header:x-chatwoot-timestamp",
            event_type: "json:/event",
            id: "header:x-chatwoot-delivery",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "kick",
        docs: "https://docs.kick.com/events/webhook-security",
        rows: &[Row {
            signature: "header:kick-event-signature",
            algorithm: "rsa-sha256",
            signed: "{id}.{ts}.{body}",
            timestamp: "header:kick-event-message-timestamp",
            unit: "rfc3339",
            event_type: "header:kick-event-type",
            id: "header:kick-event-message-id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "crisp",
        docs: "https://docs.crisp.chat/guides/web-hooks/signature/",
        rows: &[Row {
            signature: "header:x-crisp-signature",
            signed: "[{ts};{body}]",
            timestamp: "header:x-crisp-request-timestamp",
            unit: "ms",
            event_type: "json:/event",
            id: "content",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "freshchat",
        docs: "https://developers.freshchat.com/api/",
        rows: &[Row {
            signature: "header:x-freshchat-signature",
            algorithm: "rsa-sha256",
            event_type: "json:/action",
            id: "content",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "mux",
        docs: "https://www.mux.com/docs/core/verify-webhook-signatures",
        rows: &[Row {
            signature: "header:mux-signature",
            separator: ",",
            prefix: "v1=",
            signed: "{ts}.{body}",
            timestamp: "signature:t",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "ringcentral",
        docs: "https://developers.ringcentral.com/guide/notifications/webhooks/receiving",
        rows: &[Row {
            signature: "header:verification-token",
            event_type: "json:/event",
            id: "json:/uuid",
            ..Row::TOKEN
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "header:validation-token",
            proof: Proof::None,
            answer: Answer::Header("validation-token", "header:validation-token"),
        }],
        ..Preset::NEW
    },
];
