//! Shops, shipping and logistics.

use super::{Preset, Row};
use crate::handshake::{Answer, Handshake, Proof};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "shopify",
        docs: "https://shopify.dev/docs/apps/build/webhooks/subscribe/https",
        answer_within_secs: Some(5),
        rows: &[
            Row {
                signature: "header:x-shopify-hmac-sha256",
                event_type: "header:x-shopify-topic",
                id: "header:x-shopify-event-id",
                ..Row::HMAC_BASE64
            },
            Row {
                signature: "header:shopify-hmac-sha256",
                event_type: "header:shopify-topic",
                id: "header:shopify-event-id",
                ..Row::HMAC_BASE64
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "woocommerce",
        docs: "https://woocommerce.github.io/woocommerce-rest-api-docs/#webhooks",
        rows: &[Row {
            signature: "header:x-wc-webhook-signature",
            event_type: "header:x-wc-webhook-topic",
            id: "header:x-wc-webhook-delivery-id",
            ..Row::HMAC_BASE64
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "form:webhook_id & !header:x-wc-webhook-signature",
            proof: Proof::None,
            answer: Answer::Status(200),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "squarespace",
        docs: "https://developers.squarespace.com/webhooks/overview",
        rows: &[Row {
            signature: "header:squarespace-signature",
            secret: "hex",
            event_type: "json:/topic",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "commercelayer",
        docs: "https://docs.commercelayer.io/core/real-time-webhooks",
        rows: &[Row {
            signature: "header:x-commercelayer-signature",
            event_type: "header:x-commercelayer-topic",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "easypost",
        docs: "https://docs.easypost.com/guides/webhooks-guide",
        rows: &[Row {
            signature: "header:x-hmac-signature",
            prefix: "hmac-sha256-hex=",
            secret: "nfkd",
            event_type: "json:/description",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "lob",
        docs: "https://docs.lob.com",
        rows: &[Row {
            signature: "header:lob-signature",
            signed: "{ts}.{body}",
            timestamp: "header:lob-signature-timestamp",
            unit: "ms",
            event_type: "json:/event_type/id",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "samsara",
        docs: "https://developers.samsara.com/docs/webhooks",
        rows: &[Row {
            signature: "header:x-samsara-signature",
            prefix: "v1=",
            secret: "base64",
            signed: "v1:{ts}:{body}",
            timestamp: "header:x-samsara-timestamp",
            event_type: "json:/eventType",
            id: "json:/eventId",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "wix",
        docs: "https://dev.wix.com/docs/build-apps/develop-your-app/api-integrations/events-and-webhooks/handle-events-with-webhooks",
        rows: &[Row { kind: "jwt", signature: "body", algorithm: "RS256", ..Row::PLAIN }],
        ..Preset::NEW
    },
    Preset {
        name: "app-store",
        docs: "https://developer.apple.com/documentation/appstoreservernotifications/responding-to-app-store-server-notifications",
        rows: &[Row {
            kind: "jwt",
            signature: "json:/signedPayload",
            algorithm: "ES256",
            // Apple's marks of the certificates for this purpose.
            chain: "x5c 1.2.840.113635.100.6.2.1 1.2.840.113635.100.6.11.1",
            tolerance: "any",
            event_type: "token:json:/signedPayload:/notificationType + token:json:/signedPayload:/subtype",
            id: "token:json:/signedPayload:/notificationUUID",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
];
