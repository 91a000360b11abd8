//! Senders that use Standard Webhooks, many of them by way of Svix.

use super::{Preset, Row};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "svix",
        docs: "https://docs.svix.com/receiving/verifying-payloads/how-manual",
        answer_within_secs: Some(15),
        rows: &[Row::SVIX, Row::WEBHOOK],
        ..Preset::NEW
    },
    Preset {
        name: "openai",
        docs: "https://platform.openai.com/docs/guides/webhooks",
        rows: &[Row::WEBHOOK, Row::SVIX],
        ..Preset::NEW
    },
    Preset {
        name: "anthropic",
        docs: "https://docs.claude.com/en/api/webhooks",
        rows: &[Row::WEBHOOK],
        ..Preset::NEW
    },
    Preset {
        name: "replicate",
        docs: "https://replicate.com/docs/topics/webhooks/verify-webhook",
        rows: &[Row { event_type: "json:/status", ..Row::WEBHOOK }],
        ..Preset::NEW
    },
    Preset {
        name: "liveblocks",
        docs: "https://liveblocks.io/docs/platform/webhooks",
        rows: &[Row::WEBHOOK],
        ..Preset::NEW
    },
    Preset {
        name: "lithic",
        docs: "https://docs.lithic.com/docs/events-api",
        rows: &[Row::WEBHOOK],
        ..Preset::NEW
    },
    Preset {
        name: "polar",
        docs: "https://docs.polar.sh/integrate/webhooks/delivery",
        rows: &[Row { secret: "", ..Row::WEBHOOK }],
        ..Preset::NEW
    },
    Preset {
        name: "clerk",
        docs: "https://clerk.com/docs/webhooks/sync-data",
        rows: &[Row::SVIX, Row::WEBHOOK],
        ..Preset::NEW
    },
    Preset {
        name: "resend",
        docs: "https://resend.com/docs/dashboard/webhooks/verify-webhooks-requests",
        rows: &[Row::SVIX, Row::WEBHOOK],
        ..Preset::NEW
    },
    Preset {
        name: "seam",
        docs: "https://docs.seam.co/latest/developer-tools/webhooks",
        rows: &[
            Row { event_type: "json:/event_type", ..Row::SVIX },
            Row { event_type: "json:/event_type", ..Row::WEBHOOK },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "render",
        docs: "https://render.com/docs/webhooks",
        rows: &[Row::WEBHOOK, Row::SVIX],
        ..Preset::NEW
    },
    Preset {
        name: "brex",
        docs: "https://developer.brex.com/docs/webhooks/",
        rows: &[Row::WEBHOOK, Row::SVIX],
        ..Preset::NEW
    },
    Preset {
        name: "mercury",
        docs: "https://docs.mercury.com/docs/webhooks",
        rows: &[Row::WEBHOOK, Row::SVIX],
        ..Preset::NEW
    },
    Preset {
        name: "recall",
        docs: "https://docs.recall.ai/docs/webhooks",
        rows: &[Row::WEBHOOK, Row::SVIX],
        ..Preset::NEW
    },
    Preset {
        name: "loops",
        docs: "https://loops.so/docs/webhooks",
        rows: &[
            Row { event_type: "json:/eventName | json:/type", ..Row::WEBHOOK },
            Row { event_type: "json:/eventName | json:/type", ..Row::SVIX },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "browserbase",
        docs: "https://docs.browserbase.com",
        rows: &[Row::WEBHOOK, Row::SVIX],
        ..Preset::NEW
    },
    Preset {
        name: "supabase-auth",
        docs: "https://supabase.com/docs/guides/auth/auth-hooks",
        rows: &[Row::WEBHOOK, Row::SVIX],
        ..Preset::NEW
    },
];
