//! Source code, builds, hosting and data.

use super::{Preset, Row};
use crate::handshake::{Answer, Handshake, Proof, Value};

pub(super) const PRESETS: &[Preset] = &[
    Preset {
        name: "github",
        docs: "https://docs.github.com/en/webhooks/using-webhooks/validating-webhook-deliveries",
        answer_within_secs: Some(10),
        rows: &[Row {
            signature: "header:x-hub-signature-256",
            prefix: "sha256=",
            event_type: "header:x-github-event",
            id: "header:x-github-delivery",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "gitlab",
        docs: "https://docs.gitlab.com/user/project/integrations/webhooks/",
        answer_within_secs: Some(10),
        rows: &[Row {
            signature: "header:x-gitlab-token",
            event_type: "json:/object_kind | json:/event_name | header:x-gitlab-event",
            id: "header:idempotency-key | header:x-gitlab-event-uuid",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "gitlab-signing",
        docs: "https://docs.gitlab.com/user/project/integrations/webhooks/",
        answer_within_secs: Some(10),
        rows: &[Row {
            event_type: "json:/object_kind | json:/event_name | header:x-gitlab-event",
            ..Row::WEBHOOK
        }],
        ..Preset::NEW
    },
    Preset {
        name: "bitbucket",
        docs: "https://support.atlassian.com/bitbucket-cloud/docs/manage-webhooks/",
        answer_within_secs: Some(10),
        rows: &[Row {
            signature: "header:x-hub-signature",
            prefix: "sha256=",
            event_type: "header:x-event-key",
            id: "header:x-request-uuid",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "jira",
        docs: "https://developer.atlassian.com/cloud/jira/platform/webhooks/",
        rows: &[Row {
            signature: "header:x-hub-signature",
            prefix: "sha256=",
            event_type: "json:/webhookEvent",
            id: "header:x-atlassian-webhook-identifier",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "snyk",
        docs: "https://docs.snyk.io/snyk-api/using-specific-snyk-apis/webhooks-apis/validating-payloads",
        rows: &[Row {
            signature: "header:x-hub-signature",
            prefix: "sha256=",
            event_type: "header:x-snyk-event",
            id: "header:x-snyk-transport-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "gitea",
        docs: "https://docs.gitea.com/usage/webhooks",
        rows: &[
            Row {
                signature: "header:x-gitea-signature",
                event_type: "header:x-gitea-event",
                id: "header:x-gitea-delivery",
                ..Row::HMAC
            },
            Row {
                signature: "header:x-hub-signature-256",
                prefix: "sha256=",
                event_type: "header:x-gitea-event",
                id: "header:x-gitea-delivery",
                ..Row::HMAC
            },
        ],
        ..Preset::NEW
    },
    Preset {
        name: "linear",
        docs: "https://linear.app/developers/webhooks",
        answer_within_secs: Some(5),
        rows: &[Row {
            signature: "header:linear-signature",
            timestamp: "json:/webhookTimestamp",
            unit: "ms",
            tolerance: "60s",
            event_type: "header:linear-event + json:/action",
            id: "header:linear-delivery",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "sentry",
        docs: "https://docs.sentry.io/organization/integrations/integration-platform/webhooks/",
        answer_within_secs: Some(1),
        rows: &[Row {
            signature: "header:sentry-hook-signature",
            event_type: "header:sentry-hook-resource + json:/action",
            id: "header:request-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "pagerduty",
        docs: "https://developer.pagerduty.com/docs/verifying-webhook-signatures",
        rows: &[Row {
            signature: "header:x-pagerduty-signature",
            separator: ",",
            prefix: "v1=",
            event_type: "json:/event/event_type",
            id: "json:/event/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "vercel",
        docs: "https://vercel.com/docs/webhooks/webhooks-api",
        rows: &[Row {
            signature: "header:x-vercel-signature",
            algorithm: "hmac-sha1",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "netlify",
        docs: "https://docs.netlify.com/deploy/deploy-notifications/",
        rows: &[Row {
            kind: "jwt",
            signature: "header:x-webhook-signature",
            algorithm: "HS256",
            claims: "iss=netlify & sha256={sha256:body}",
            tolerance: "any",
            event_type: "header:x-netlify-event",
            id: "content",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "circleci",
        docs: "https://circleci.com/docs/guides/integration/outbound-webhooks/",
        rows: &[Row {
            signature: "header:circleci-signature",
            separator: ",",
            prefix: "v1=",
            event_type: "json:/type",
            id: "json:/id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "buildkite",
        docs: "https://buildkite.com/docs/apis/webhooks/pipelines",
        rows: &[Row {
            signature: "header:x-buildkite-signature",
            separator: ",",
            prefix: "signature=",
            signed: "{ts}.{body}",
            timestamp: "signature:timestamp",
            event_type: "header:x-buildkite-event",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "heroku",
        docs: "https://devcenter.heroku.com/articles/app-webhooks",
        rows: &[Row {
            signature: "header:heroku-webhook-hmac-sha256",
            event_type: "json:/webhook_metadata/event/include",
            id: "json:/id",
            ..Row::HMAC_BASE64
        }],
        ..Preset::NEW
    },
    Preset {
        name: "terraform-cloud",
        docs: "https://developer.hashicorp.com/terraform/cloud-docs/api-docs/notification-configurations",
        rows: &[Row {
            signature: "header:x-tfe-notification-signature",
            algorithm: "hmac-sha512",
            event_type: "json:/notifications/0/trigger",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "datadog",
        docs: "https://docs.datadoghq.com/integrations/webhooks/",
        rows: &[Row {
            signature: "header:authorization",
            event_type: "json:/event_type",
            id: "json:/id",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "cloudflare",
        docs: "https://developers.cloudflare.com/notifications/get-started/configure-webhooks/",
        rows: &[Row {
            signature: "header:cf-webhook-auth",
            event_type: "json:/alert_type | const:alert",
            id: "content",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "hugging-face",
        docs: "https://huggingface.co/docs/hub/webhooks",
        rows: &[Row {
            signature: "header:x-webhook-secret",
            event_type: "json:/event/scope + json:/event/action",
            id: "content",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "supabase",
        docs: "https://supabase.com/docs/guides/database/webhooks",
        rows: &[Row {
            signature: "header:authorization",
            event_type: "json:/table + json:/type",
            id: "content",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "pusher",
        docs: "https://pusher.com/docs/channels/server_api/webhooks/",
        answer_within_secs: Some(4),
        rows: &[Row {
            require: "header:x-pusher-key",
            signature: "header:x-pusher-signature",
            event_type: "json:/events/0/name",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "qstash",
        docs: "https://upstash.com/docs/qstash/howto/signature",
        rows: &[Row {
            kind: "jwt",
            signature: "header:upstash-signature",
            algorithm: "HS256",
            claims: "iss=Upstash & sub={url} & body={sha256-base64url:body}",
            event_type: "const:message",
            id: "header:upstash-message-id",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "livekit",
        docs: "https://docs.livekit.io/intro/basics/rooms-participants-tracks/webhooks-events/",
        params: &["api_key"],
        rows: &[Row {
            kind: "jwt",
            signature: "header:authorization",
            algorithm: "HS256",
            claims: "iss={param:api_key} & sha256={sha256-base64:body}",
            event_type: "json:/event",
            id: "json:/id",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "inngest",
        docs: "https://www.inngest.com/docs/platform/signing-keys",
        rows: &[Row {
            signature: "header:x-inngest-signature",
            separator: "&",
            prefix: "s=",
            secret: "signkey",
            signed: "{body}{ts}",
            timestamp: "signature:t",
            event_type: "json:/name | const:invoke",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "aws-sns",
        docs: "https://docs.aws.amazon.com/sns/latest/dg/sns-verify-signature-of-message.html",
        answer_within_secs: Some(15),
        params: &["topic_arn?"],
        binds: &[("topic_arn", "messages of any AWS customer's topic have the same signer")],
        rows: &[
            Row {
                require: "json:/SignatureVersion=2 & json:/TopicArn={param:topic_arn?}",
                signature: "json:/Signature",
                algorithm: "rsa-sha256",
                signed: "Message\n{json:/Message}\nMessageId\n{json:/MessageId}\n{?Subject\n{json:/Subject}\n?}{?SubscribeURL\n{json:/SubscribeURL}\n?}Timestamp\n{json:/Timestamp}\n{?Token\n{json:/Token}\n?}TopicArn\n{json:/TopicArn}\nType\n{json:/Type}\n",
                key_url: "json:/SigningCertURL sns.*.amazonaws.com,sns.*.amazonaws.com.cn .pem",
                event_type: "json:/Type",
                id: "json:/MessageId",
                ..Row::HMAC_BASE64
            },
            Row {
                require: "json:/SignatureVersion=1 & json:/TopicArn={param:topic_arn?}",
                signature: "json:/Signature",
                algorithm: "rsa-sha1",
                signed: "Message\n{json:/Message}\nMessageId\n{json:/MessageId}\n{?Subject\n{json:/Subject}\n?}{?SubscribeURL\n{json:/SubscribeURL}\n?}Timestamp\n{json:/Timestamp}\n{?Token\n{json:/Token}\n?}TopicArn\n{json:/TopicArn}\nType\n{json:/Type}\n",
                key_url: "json:/SigningCertURL sns.*.amazonaws.com,sns.*.amazonaws.com.cn .pem",
                event_type: "json:/Type",
                id: "json:/MessageId",
                ..Row::HMAC_BASE64
            },
        ],
        handshakes: &[Handshake {
            method: "POST",
            when: "json:/Type=SubscriptionConfirmation",
            proof: Proof::Signed,
            answer: Answer::Visit(
                "json:/SubscribeURL",
                "sns.*.amazonaws.com,sns.*.amazonaws.com.cn",
            ),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "google-pubsub",
        docs: "https://cloud.google.com/pubsub/docs/authenticate-push-subscriptions",
        params: &["audience", "email?"],
        binds: &[("email", "any Google service account gets tokens for any audience")],
        rows: &[Row {
            kind: "jwt",
            signature: "header:authorization",
            prefix: "Bearer ",
            algorithm: "RS256",
            claims: "iss=https://accounts.google.com & aud={param:audience} & email={param:email?}",
            key_url: "const:https://www.googleapis.com/oauth2/v3/certs www.googleapis.com",
            event_type: "json:/message/attributes/eventType | const:message",
            id: "json:/message/messageId",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "google-channel",
        docs: "https://developers.google.com/workspace/calendar/api/guides/push",
        rows: &[Row {
            signature: "header:x-goog-channel-token",
            event_type: "header:x-goog-resource-state",
            id: "header:x-goog-message-number",
            ..Row::TOKEN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "ms-graph",
        docs: "https://learn.microsoft.com/en-us/graph/change-notifications-delivery-webhooks",
        answer_within_secs: Some(3),
        rows: &[Row {
            each: "/value",
            signature: "json:/clientState",
            event_type: "json:/value/0/changeType",
            id: "content",
            ..Row::TOKEN
        }],
        handshakes: &[Handshake {
            method: "POST",
            when: "query:validationToken",
            proof: Proof::None,
            answer: Answer::Text("query:validationToken"),
        }],
        ..Preset::NEW
    },
    Preset {
        name: "fal",
        docs: "https://docs.fal.ai/model-apis/model-endpoints/webhooks",
        rows: &[Row {
            signature: "header:x-fal-webhook-signature",
            algorithm: "ed25519",
            signed: "{header:x-fal-webhook-request-id}\n{header:x-fal-webhook-user-id}\n{ts}\n{sha256:body}",
            key_url: "const:https://rest.fal.ai/.well-known/jwks.json rest.fal.ai",
            timestamp: "header:x-fal-webhook-timestamp",
            event_type: "json:/status",
            id: "header:x-fal-webhook-request-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "retell",
        docs: "https://docs.retellai.com/features/webhook-overview",
        rows: &[Row {
            signature: "header:x-retell-signature",
            separator: ",",
            prefix: "d=",
            signed: "{body}{ts}",
            timestamp: "signature:v",
            unit: "ms",
            event_type: "json:/event",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "elevenlabs",
        docs: "https://elevenlabs.io/docs/overview/administration/webhooks",
        rows: &[Row {
            signature: "header:elevenlabs-signature",
            separator: ",",
            prefix: "v0=",
            signed: "{ts}.{body}",
            timestamp: "signature:t",
            tolerance: "1800s",
            event_type: "json:/type",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "atlassian-connect",
        docs: "https://developer.atlassian.com/cloud/jira/platform/understanding-jwt-for-connect-apps/",
        rows: &[Row {
            kind: "jwt",
            signature: "header:authorization",
            prefix: "JWT ",
            algorithm: "HS256",
            claims: "qsh={query-string-hash}",
            event_type: "json:/webhookEvent",
            id: "header:x-atlassian-webhook-identifier",
            ..Row::PLAIN
        }],
        ..Preset::NEW
    },
    Preset {
        name: "stream-chat",
        docs: "https://getstream.io/chat/docs/node/webhooks_overview/",
        rows: &[Row {
            signature: "header:x-signature",
            event_type: "json:/type",
            id: "header:x-webhook-id",
            ..Row::HMAC
        }],
        ..Preset::NEW
    },
    Preset {
        name: "azure-event-grid",
        docs: "https://learn.microsoft.com/en-us/azure/event-grid/end-point-validation-event-grid-events-schema",
        params: &["allowed_origins?"],
        rows: &[Row {
            signature: "query:token",
            event_type: "header:ce-type | json:/0/eventType",
            id: "header:ce-id | json:/0/id",
            ..Row::TOKEN
        }],
        handshakes: &[
            Handshake {
                method: "POST",
                when: "header:aeg-event-type=SubscriptionValidation",
                proof: Proof::None,
                answer: Answer::Json(&[(
                    "validationResponse",
                    Value::At("json:/0/data/validationCode"),
                )]),
            },
            Handshake {
                method: "OPTIONS",
                when: "header:webhook-request-origin",
                proof: Proof::Param {
                    place: "header:webhook-request-origin",
                    name: "allowed_origins",
                    refused: 403,
                },
                answer: Answer::AllowOrigin,
            },
        ],
        ..Preset::NEW
    },
];
