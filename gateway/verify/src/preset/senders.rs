//! Senders that use Standard Webhooks, many of them by way of Svix.

use super::{Preset, Row};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "svix",
        docs: "https://docs.svix.com/receiving/verifying-payloads/how-manual",
        answer_within_secs: Some(15),
        rows: &[
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "openai",
        docs: "https://platform.openai.com/docs/guides/webhooks",
        rows: &[
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "anthropic",
        docs: "https://docs.claude.com/en/api/webhooks",
        rows: &[Row {
            signature: "header:webhook-signature",
            separator: " ",
            prefix: "v1,",
            encoding: "base64",
            secret: "whsec",
            signed: "{id}.{ts}.{body}",
            timestamp: "header:webhook-timestamp",
            event_type: "json:/type",
            id: "header:webhook-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "replicate",
        docs: "https://replicate.com/docs/topics/webhooks/verify-webhook",
        rows: &[Row {
            signature: "header:webhook-signature",
            separator: " ",
            prefix: "v1,",
            encoding: "base64",
            secret: "whsec",
            signed: "{id}.{ts}.{body}",
            timestamp: "header:webhook-timestamp",
            event_type: "json:/status",
            id: "header:webhook-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "liveblocks",
        docs: "https://liveblocks.io/docs/platform/webhooks",
        rows: &[Row {
            signature: "header:webhook-signature",
            separator: " ",
            prefix: "v1,",
            encoding: "base64",
            secret: "whsec",
            signed: "{id}.{ts}.{body}",
            timestamp: "header:webhook-timestamp",
            event_type: "json:/type",
            id: "header:webhook-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "lithic",
        docs: "https://docs.lithic.com/docs/events-api",
        rows: &[Row {
            signature: "header:webhook-signature",
            separator: " ",
            prefix: "v1,",
            encoding: "base64",
            secret: "whsec",
            signed: "{id}.{ts}.{body}",
            timestamp: "header:webhook-timestamp",
            event_type: "json:/type",
            id: "header:webhook-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "polar",
        docs: "https://docs.polar.sh/integrate/webhooks/delivery",
        rows: &[Row {
            signature: "header:webhook-signature",
            separator: " ",
            prefix: "v1,",
            encoding: "base64",
            signed: "{id}.{ts}.{body}",
            timestamp: "header:webhook-timestamp",
            event_type: "json:/type",
            id: "header:webhook-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "clerk",
        docs: "https://clerk.com/docs/webhooks/sync-data",
        rows: &[
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "resend",
        docs: "https://resend.com/docs/dashboard/webhooks/verify-webhooks-requests",
        rows: &[
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "seam",
        docs: "https://docs.seam.co/latest/developer-tools/webhooks",
        rows: &[
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/event_type",
                id: "header:svix-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/event_type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "render",
        docs: "https://render.com/docs/webhooks",
        rows: &[
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "brex",
        docs: "https://developer.brex.com/docs/webhooks/",
        rows: &[
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "mercury",
        docs: "https://docs.mercury.com/docs/webhooks",
        rows: &[
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "recall",
        docs: "https://docs.recall.ai/docs/webhooks",
        rows: &[
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "loops",
        docs: "https://loops.so/docs/webhooks",
        rows: &[
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/eventName | json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/eventName | json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "browserbase",
        docs: "https://docs.browserbase.com",
        rows: &[
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "supabase-auth",
        docs: "https://supabase.com/docs/guides/auth/auth-hooks",
        rows: &[
            Row {
                signature: "header:webhook-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:webhook-timestamp",
                event_type: "json:/type",
                id: "header:webhook-id",
                ..Row::HMAC
            },
            Row {
                signature: "header:svix-signature",
                separator: " ",
                prefix: "v1,",
                encoding: "base64",
                secret: "whsec",
                signed: "{id}.{ts}.{body}",
                timestamp: "header:svix-timestamp",
                event_type: "json:/type",
                id: "header:svix-id",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
];
