//! Payments and banking.

use super::{Preset, Reply, Row};
use crate::handshake::{Answer, Handshake, Proof};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "stripe",
        docs: "https://docs.stripe.com/webhooks/signature",
        rows: &[Row {
            signature: "header:stripe-signature",
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
        name: "paypal",
        docs: "https://developer.paypal.com/api/rest/webhooks/rest/",
        params: &["webhook_id"],
        rows: &[Row {
            require: "header:paypal-auth-algo=SHA256withRSA",
            signature: "header:paypal-transmission-sig",
            algorithm: "rsa-sha256",
            signed: "{header:paypal-transmission-id}|{ts}|{param:webhook_id}|{crc32:body}",
            key_url: "header:paypal-cert-url api.paypal.com,api.sandbox.paypal.com issued-to=*.paypal.com",
            timestamp: "header:paypal-transmission-time",
            unit: "rfc3339",
            tolerance: "3d",
            event_type: "json:/event_type",
            id: "json:/id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "alipay",
        docs: "https://opendocs.alipay.com/common/02mse7",
        reply: Some(Reply { status: 200, body: "success" }),
        rows: &[Row {
            require: "form:sign_type=RSA2",
            signature: "form:sign",
            algorithm: "rsa-sha256",
            signed: "{alipay}",
            event_type: "form:notify_type",
            id: "form:notify_id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "paddle-classic",
        docs: "https://developer.paddle.com/webhook-reference/verifying-webhooks",
        rows: &[Row {
            signature: "form:p_signature",
            algorithm: "rsa-sha1",
            signed: "{paddle-classic}",
            event_type: "form:alert_name",
            id: "form:alert_id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "affirm",
        docs: "https://docs.affirm.com/developers/v1.1-developer-reference/docs/about-webhooks",
        rows: &[Row {
            signature: "header:x-affirm-signature",
            separator: ",",
            prefix: "v0=",
            algorithm: "hmac-sha512",
            signed: "{ts}.{body}",
            timestamp: "signature:t",
            event_type: "json:/event | json:/type",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "ramp",
        docs: "https://docs.ramp.com/developer-api/v1/webhooks",
        answer_within_secs: Some(10),
        rows: &[Row {
            signature: "header:x-ramp-signature",
            event_type: "json:/type",
            id: "header:x-ramp-webhook-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "square",
        docs: "https://developer.squareup.com/docs/webhooks/step3validate",
        answer_within_secs: Some(10),
        rows: &[Row {
            signature: "header:x-square-hmacsha256-signature",
            signed: "{url}{body}",
            event_type: "json:/type",
            id: "json:/event_id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "paddle",
        docs: "https://developer.paddle.com/webhooks/signature-verification",
        answer_within_secs: Some(5),
        rows: &[Row {
            signature: "header:paddle-signature",
            separator: ";",
            prefix: "h1=",
            signed: "{ts}:{body}",
            timestamp: "signature:ts",
            tolerance: "5s",
            event_type: "json:/event_type",
            id: "json:/event_id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "adyen-platform",
        docs: "https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures",
        answer_within_secs: Some(10),
        rows: &[Row {
            signature: "header:hmacsignature",
            secret: "hex",
            event_type: "json:/type",
            id: "content",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "adyen-payments",
        docs: "https://docs.adyen.com/development-resources/webhooks/secure-webhooks/verify-hmac-signatures",
        answer_within_secs: Some(10),
        reply: Some(Reply { status: 200, body: "[accepted]" }),
        rows: &[Row {
            each: "/notificationItems",
            signature: "json:/NotificationRequestItem/additionalData/hmacSignature",
            secret: "hex",
            signed: "{?{json:/NotificationRequestItem/pspReference}?}:{?{json:/NotificationRequestItem/originalReference}?}:{?{json:/NotificationRequestItem/merchantAccountCode}?}:{?{json:/NotificationRequestItem/merchantReference}?}:{?{json:/NotificationRequestItem/amount/value}?}:{?{json:/NotificationRequestItem/amount/currency}?}:{?{json:/NotificationRequestItem/eventCode}?}:{?{json:/NotificationRequestItem/success}?}",
            event_type: "json:/notificationItems/0/NotificationRequestItem/eventCode",
            id: "content",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "adyen-basic",
        docs: "https://docs.adyen.com/development-resources/webhooks/secure-webhooks",
        answer_within_secs: Some(10),
        reply: Some(Reply { status: 200, body: "[accepted]" }),
        rows: &[Row {
            signature: "header:authorization",
            prefix: "Basic ",
            encoding: "base64",
            event_type: "json:/notificationItems/0/NotificationRequestItem/eventCode",
            id: "content",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "razorpay",
        docs: "https://razorpay.com/docs/webhooks/validate-test/",
        answer_within_secs: Some(5),
        rows: &[Row {
            signature: "header:x-razorpay-signature",
            event_type: "json:/event",
            id: "header:x-razorpay-event-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "coinbase-commerce",
        docs: "https://docs.cdp.coinbase.com/commerce/webhooks-security",
        rows: &[Row {
            signature: "header:x-cc-webhook-signature",
            event_type: "json:/event/type",
            id: "json:/event/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "gocardless",
        docs: "https://developer.gocardless.com/getting-started/staying-up-to-date-with-webhooks",
        rows: &[Row {
            signature: "header:webhook-signature",
            event_type: "json:/events/0/action",
            id: "json:/meta/webhook_id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "paystack",
        docs: "https://paystack.com/docs/payments/webhooks/",
        rows: &[Row {
            signature: "header:x-paystack-signature",
            algorithm: "hmac-sha512",
            event_type: "json:/event",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "flutterwave",
        docs: "https://developer.flutterwave.com/v3.0/docs/webhooks",
        rows: &[Row { signature: "header:verif-hash", event_type: "json:/event", ..Row::TOKEN }],
        ..Preset::NEW
    },
    Preset {
        name: "flutterwave-v4",
        docs: "https://developer.flutterwave.com/docs/webhooks",
        rows: &[Row {
            signature: "header:flutterwave-signature",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "checkout-com",
        docs: "https://www.checkout.com/docs/developer-resources/webhooks",
        rows: &[Row {
            signature: "header:cko-signature",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "mercadopago",
        docs: "https://www.mercadopago.com/developers/en/docs/your-integrations/notifications/webhooks",
        rows: &[Row {
            signature: "header:x-signature",
            separator: ",",
            prefix: "v1=",
            signed: "{?id:{query:data.id};?}{?request-id:{header:x-request-id};?}ts:{ts};",
            timestamp: "signature:ts",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "wise",
        docs: "https://docs.wise.com/api-docs/features/webhooks-notifications/event-handling",
        rows: &[Row {
            signature: "header:x-signature-sha256",
            algorithm: "rsa-sha256",
            event_type: "json:/event_type",
            id: "header:x-delivery-id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "braintree",
        docs: "https://developer.paypal.com/braintree/docs/guides/webhooks/parse",
        params: &["public_key"],
        rows: &[Row {
            signature: "form:bt_signature",
            separator: "&",
            prefix: "{param:public_key}|",
            algorithm: "hmac-sha1",
            secret: "sha1",
            signed: "{form:bt_payload}",
            event_type: "const:notification",
            id: "content",
            ..Row::HMAC
        }],
        handshakes: &[Handshake {
            method: "GET",
            when: "query:bt_challenge",
            proof: Proof::None,
            answer: Answer::ParamAndMac("public_key", "query:bt_challenge"),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "mollie",
        docs: "https://docs.mollie.com/reference/webhooks-best-practices",
        rows: &[Row {
            signature: "header:x-mollie-signature",
            prefix: "sha256=",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "lemonsqueezy",
        docs: "https://docs.lemonsqueezy.com/help/webhooks/signing-requests",
        rows: &[Row {
            signature: "header:x-signature",
            event_type: "header:x-event-name",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "cashfree",
        docs: "https://www.cashfree.com/docs/api-reference/vrs/webhook-signature-verification",
        rows: &[Row {
            signature: "header:x-webhook-signature",
            signed: "{ts}{body}",
            timestamp: "header:x-webhook-timestamp",
            unit: "ms",
            event_type: "json:/type",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "modern-treasury",
        docs: "https://docs.moderntreasury.com/platform/docs/webhooks",
        rows: &[Row {
            signature: "header:x-signature",
            event_type: "header:x-event",
            id: "header:x-webhook-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "unit",
        docs: "https://www.unit.co/docs/api/webhooks/",
        rows: &[Row {
            signature: "header:x-unit-signature",
            algorithm: "hmac-sha1",
            event_type: "json:/data/0/type",
            id: "json:/data/0/id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "orb",
        docs: "https://docs.withorb.com/integrations-and-exports/webhooks",
        rows: &[Row {
            signature: "header:x-orb-signature",
            prefix: "v1=",
            signed: "v1:{ts}:{body}",
            timestamp: "header:x-orb-timestamp",
            unit: "rfc3339",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "plaid",
        docs: "https://plaid.com/docs/api/webhooks/webhook-verification/",
        rows: &[Row {
            kind: "jwt",
            signature: "header:plaid-verification",
            algorithm: "ES256",
            claims: "request_body_sha256={sha256:body}",
            timestamp: "claim:iat",
            event_type: "json:/webhook_type + json:/webhook_code",
            id: "content",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "wechat-pay",
        docs: "https://pay.weixin.qq.com/doc/v3/merchant/4013053249",
        rows: &[Row {
            signature: "header:wechatpay-signature",
            algorithm: "rsa-sha256",
            signed: "{ts}\n{header:wechatpay-nonce}\n{body}\n",
            timestamp: "header:wechatpay-timestamp",
            event_type: "json:/event_type",
            id: "json:/id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "authorize-net",
        docs: "https://developer.authorize.net/api/reference/features/webhooks.html",
        rows: &[Row {
            signature: "header:x-anet-signature",
            prefix: "sha512=",
            algorithm: "hmac-sha512",
            event_type: "json:/eventType",
            id: "json:/notificationId",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "btcpay",
        docs: "https://docs.btcpayserver.org/API/Greenfield/v1/#tag/Webhooks",
        rows: &[Row {
            signature: "header:btcpay-sig",
            prefix: "sha256=",
            event_type: "json:/type",
            id: "json:/deliveryId",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "recurly",
        docs: "https://docs.recurly.com/recurly-subscriptions/docs/webhooks",
        rows: &[Row {
            signature: "header:recurly-signature",
            separator: ",",
            signed: "{ts}.{body}",
            timestamp: "signature:",
            unit: "ms",
            event_type: "json:/event_type | json:/object_type",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "chargebee",
        docs: "https://www.chargebee.com/docs/webhook_settings.html",
        rows: &[Row {
            signature: "header:authorization",
            prefix: "Basic ",
            encoding: "base64",
            event_type: "json:/event_type",
            id: "json:/id",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "revenuecat",
        docs: "https://www.revenuecat.com/docs/integrations/webhooks",
        rows: &[Row {
            signature: "header:authorization",
            event_type: "json:/event/type",
            id: "json:/event/id",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "dwolla",
        docs: "https://developers.dwolla.com/docs/working-with-webhooks",
        rows: &[Row {
            signature: "header:x-request-signature-sha-256",
            event_type: "json:/topic",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "quickbooks",
        docs: "https://developer.intuit.com/app/developer/qbo/docs/develop/webhooks",
        rows: &[Row {
            signature: "header:intuit-signature",
            event_type: "json:/eventNotifications/0/dataChangeEvent/entities/0/name",
            id: "content",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "xero",
        docs: "https://developer.xero.com/documentation/guides/webhooks/configuring-your-server/",
        answer_within_secs: Some(5),
        reply: Some(Reply { status: 200, body: "" }),
        rows: &[Row {
            signature: "header:x-xero-signature",
            event_type: "json:/events/0/eventCategory",
            ..Row::HMAC_BASE64
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "json:/entropy & !json:/events/0/resourceId",
            proof: Proof::Signed,
            answer: Answer::Status(200),
        }],
        ..Preset::NEW
    },
];
