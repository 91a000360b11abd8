//! What `[plugins.NAME]` says of the world: hosts, addresses, secrets, and how much is sent.

use std::collections::BTreeMap;

use hookweir_host::{
    Grant, HttpGrant, HttpLimits, HttpOrigin, RecordLimits, SecretGrant, SecretText,
};

use super::{
    addresses::blocks,
    read::{Node, Section},
    secret::Secrets,
    server::set,
    units,
};

/// Reads it into a grant.
pub(super) fn read(grant: &mut Grant, section: &Section<'_, '_>, secrets: &Secrets<'_>) {
    let origins = section.get("http").map(|node| origins(&node));
    let addresses = section.get("http_addresses").map(|node| blocks(&node));
    if origins.is_some() || addresses.is_some() {
        let (origins, addresses) = (origins.unwrap_or_default(), addresses.unwrap_or_default());
        grant.http = Some(HttpGrant { origins, addresses });
    }
    read_limits(&mut grant.limits.http, section);
    if let Some(section) = section.sub("secrets") {
        let allowed = grant.http.as_ref().map_or(&[][..], |http| &http.origins);
        grant.secrets = read_secrets(&section, secrets, allowed);
    }
}

fn origins(node: &Node<'_, '_>) -> Vec<HttpOrigin> {
    let items = node.items().unwrap_or_default();
    items.iter().filter_map(|item| item.parsed(str::parse::<HttpOrigin>)).collect()
}

fn read_limits(limits: &mut HttpLimits, section: &Section<'_, '_>) {
    let count = |key, most| {
        let number = section.get(key).and_then(|node| node.number(1..most));
        number.and_then(|number| u32::try_from(number).ok())
    };
    set(&mut limits.requests, count("http_requests", 10_001));
    set(&mut limits.at_once, count("http_at_once", 1_001));
    let timeout = section.get("http_timeout").and_then(|node| node.parsed(units::duration));
    set(&mut limits.timeout, timeout);
    let size = |key| section.get(key).and_then(|node| node.parsed(units::size));
    let headers = section.get("http_headers").and_then(|node| node.number(0..1_001));
    set(&mut limits.headers, headers.and_then(|number| usize::try_from(number).ok()));
    let header_bytes = size("http_headers_max").and_then(|bytes| usize::try_from(bytes).ok());
    set(&mut limits.header_bytes, header_bytes);
    set(&mut limits.request_bytes, size("http_request_max"));
    set(&mut limits.response_bytes, size("http_response_max"));
    set(&mut limits.received_bytes, size("http_received_max"));
    limits.record = read_record(section);
}

/// Bytes of one body that are kept, unless it is said.
const RECORD_BODY: u64 = 64 << 10;

/// How much of an attempt's requests is kept with it.
fn read_record(section: &Section<'_, '_>) -> Option<RecordLimits> {
    let range = 1 << 10..=16 << 20;
    let bytes = section.get("record_requests").and_then(|node| {
        let off = node.is_text() && node.text() == Some("off");
        if off { None } else { node.size_in(range) }
    });
    let body_bytes = section.get("record_body_max").and_then(|node| {
        let body_bytes = node.parsed(units::size)?;
        if section.get("record_requests").is_none() {
            node.fault("says nothing without `record_requests`");
        } else if bytes.is_some_and(|bytes| body_bytes > bytes) {
            node.fault("is more than `record_requests` has room for");
        }
        Some(body_bytes)
    });
    bytes.map(|bytes| RecordLimits { bytes, body_bytes: body_bytes.unwrap_or(RECORD_BODY) })
}

fn read_secrets(
    section: &Section<'_, '_>,
    secrets: &Secrets<'_>,
    allowed: &[HttpOrigin],
) -> BTreeMap<String, SecretGrant> {
    let read = |(name, node): (String, Node<'_, '_>)| {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
        if name.is_empty() || !name.chars().all(fits) {
            node.fault("the name of a secret is made of A-Z, a-z, 0-9, `_` and `-`");
        }
        Some((name, read_secret(&node, secrets, allowed)?))
    };
    section.entries().into_iter().filter_map(read).collect()
}

fn read_secret(
    node: &Node<'_, '_>,
    secrets: &Secrets<'_>,
    allowed: &[HttpOrigin],
) -> Option<SecretGrant> {
    let section = node.section()?;
    let value = secrets.named(&section);
    let hosts = section.get("hosts");
    let readable = section.get("readable").and_then(|node| node.flag()).unwrap_or(false);
    if hosts.is_none() && !readable {
        node.fault("goes nowhere: say hosts = [\"https://..\"] for where the gateway may send it, or readable = true");
    }
    let hosts = hosts.map(|node| hosts_of(&node, allowed)).unwrap_or_default();
    section.finish();
    Some(SecretGrant { value: SecretText::new(value?), hosts, readable })
}

/// Where a secret goes: to hosts that are written out, and that requests may go to.
fn hosts_of(node: &Node<'_, '_>, allowed: &[HttpOrigin]) -> Vec<HttpOrigin> {
    let items = node.items().unwrap_or_default();
    let host = |item: &Node<'_, '_>| {
        let origin: HttpOrigin = item.parsed(str::parse)?;
        if origin.is_any() {
            item.fault("a secret for any host is none; name the hosts");
        } else if !allowed.iter().any(|grant| grant.covers(&origin)) {
            item.fault(format_args!("{origin} is not among the plugin's http"));
        }
        Some(origin)
    };
    items.iter().filter_map(host).collect()
}
