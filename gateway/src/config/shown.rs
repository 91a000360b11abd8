//! The config that is in force, for operators to look at: by the keys and with the units of the file, with every
//! default, and without secrets. Each struct is taken apart whole, so that no setting is left out by
//! oversight.

use std::{fmt::Display, time::Duration};

use hookweir_event::REDACTED;
use hookweir_host::{
    Grant, HttpGrant, HttpLimits, Limits, ModuleLimits, RecordLimits, SecretGrant,
};
use hookweir_store::{PostgresDatabase, Retention};
use hookweir_verify::Secret;
use serde_json::{Map, Value, json};

use super::{
    AddressFile, AddressList, Addresses, AdminConfig, AlertsConfig, ApiAccess, ApiConfig,
    AuditConfig, Config, DatabasePlace, EgressConfig, FilePlace, HostConfig, Place, PluginConfig,
    Policy, Rate, Reply, ServerConfig, SourceConfig, StoreConfig, Subscriptions, TracesConfig,
    Versions, units::Size,
};
use crate::{
    order::OnDead,
    serve::{ClientAuthority, Tls},
};

impl Config {
    /// The whole of it.
    pub fn shown(&self) -> Value {
        let Self {
            server,
            admin,
            store,
            host,
            egress,
            sources,
            plugins,
            traces,
            alerts,
            secret_files,
        } = self;
        let sources = sources.iter().map(|(name, source)| (name.to_string(), of_source(source)));
        let plugins = plugins.iter().map(|(name, plugin)| (name.to_string(), of_plugin(plugin)));
        json!({
            "server": of_server(server),
            "admin": of_admin(admin),
            "store": of_store(store),
            "host": of_host(host),
            "egress": of_egress(egress),
            "sources": sources.collect::<Map<_, _>>(),
            "plugins": plugins.collect::<Map<_, _>>(),
            "traces": traces.as_ref().map(of_traces),
            "alerts": of_alerts(alerts, &[&OF_PLUGINS[..], &OF_SOURCES, &["disk_free"]].concat()),
            "files": secret_files.iter().map(|path| path.display().to_string()).collect::<Vec<_>>(),
        })
    }
}

fn of_server(server: &ServerConfig) -> Value {
    let ServerConfig {
        listen,
        connections,
        connections_per_address,
        header_timeout,
        idle_timeout,
        body_timeout,
        drain_delay,
        grace,
        trusted_proxies,
        proxy_protocol,
        addresses: Addresses { allow, deny },
        tls,
        address_rate,
        refused_rate,
        rate: verified,
        bodies_max,
        appends_max,
        append_latency,
    } = server;
    json!({
        "listen": listen.to_string(),
        "connections": connections,
        "connections_per_address": connections_per_address.map_or(json!("off"), |most| json!(most)),
        "header_timeout": time(*header_timeout),
        "idle_timeout": time(*idle_timeout),
        "body_timeout": time(*body_timeout),
        "drain_delay": time(*drain_delay),
        "grace": time(*grace),
        "trusted_proxies": listed(trusted_proxies),
        "proxy_protocol": proxy_protocol,
        "allow": listed(allow),
        "deny": listed(deny),
        "tls": tls.as_ref().map(of_tls),
        "address_rate": rate(*address_rate),
        "refused_rate": rate(*refused_rate),
        "rate": rate(*verified),
        "bodies_max": size(*bodies_max),
        "appends_max": appends_max,
        "append_latency": time(*append_latency),
    })
}

fn of_admin(admin: &AdminConfig) -> Value {
    let AdminConfig {
        listen,
        token,
        tokens,
        insecure,
        hosts,
        trusted_proxies,
        tls,
        client_ca,
        refused_rate,
        audit,
        metrics,
    } = admin;
    let AuditConfig { max, files } = audit;
    let tokens = tokens.iter().map(|(name, token)| {
        (name.clone(), json!({ "sha256": REDACTED, "scope": token.scope.as_str() }))
    });
    json!({
        "listen": listen.to_string(),
        "token": token.as_ref().map(|_| REDACTED),
        "tokens": tokens.collect::<Map<_, _>>(),
        "insecure": insecure,
        "hosts": hosts,
        "trusted_proxies": listed(trusted_proxies),
        "tls": tls.as_ref().map(of_tls),
        "client_ca": client_ca.as_ref().map(|_| "given"),
        "client_names": client_ca.iter().flat_map(ClientAuthority::names).collect::<Vec<_>>(),
        "refused_rate": rate(*refused_rate),
        "audit_max": size(*max),
        "audit_files": files,
        "metrics": metrics,
    })
}

fn of_store(store: &StoreConfig) -> Value {
    let StoreConfig { place, retention: Retention { done, dead } } = store;
    // What is left out of the file is without a limit.
    let most = |bytes: u64| (bytes != u64::MAX).then(|| size(bytes));
    let mut shown = json!({
        "keep_done": time(done.age),
        "keep_done_max": most(done.bytes),
        "keep_dead": time(dead.age),
        "keep_dead_max": most(dead.bytes),
    });
    let place = match place {
        Place::File(FilePlace { path, disk_free_min, disk_free_low }) => json!({
            "url": format!("sqlite:{}", path.display()),
            "disk_free_min": size(*disk_free_min),
            "disk_free_low": size(*disk_free_low),
        }),
        Place::Database(DatabasePlace { database, dir }) => {
            let PostgresDatabase { url: _, schema, ca, in_flight, time: _, days: _, may_lose } =
                database;
            json!({
                // Without the password.
                "url": database.to_string(),
                "schema": schema,
                "ca": ca.as_ref().map(|path| path.display().to_string()),
                "in_flight": in_flight,
                "allow_data_loss": may_lose,
                "dir": dir.display().to_string(),
            })
        }
    };
    add(&mut shown, place);
    shown
}

fn of_host(host: &HostConfig) -> Value {
    let HostConfig {
        dir,
        subscriptions,
        versions,
        instances,
        memory,
        threads,
        stack,
        kept,
        kept_memory,
        watch,
        rescan,
    } = host;
    json!({
        "dir": dir.display().to_string(),
        "subscriptions": match subscriptions {
            Subscriptions::Module => "module",
            Subscriptions::Granted => "granted",
        },
        "versions": match versions {
            Versions::Folder => "folder",
            Versions::Store => "store",
        },
        "instances": instances,
        "memory": size(*memory),
        "threads": threads,
        "stack": size(*stack as u64),
        "kept": kept,
        "kept_memory": size(*kept_memory),
        "watch": on(*watch),
        "rescan": time(*rescan),
    })
}

fn of_egress(egress: &EgressConfig) -> Value {
    let EgressConfig { roots, allow } = egress;
    json!({ "roots": roots.as_ref().map(|_| "given"), "allow": texts(allow) })
}

fn of_traces(traces: &TracesConfig) -> Value {
    let TracesConfig { url, sample, service, headers, timeout } = traces;
    let headers = headers.iter().map(|(name, _)| (name.to_string(), json!(REDACTED)));
    json!({
        // The whole of it: what is posted to, below what the file has.
        "endpoint": url.to_string(),
        "sample": sample,
        "service": service,
        "headers": headers.collect::<Map<_, _>>(),
        "timeout": time(*timeout),
    })
}

/// What is judged of a plugin, and of a source.
const OF_PLUGINS: [&str; 4] = ["latency", "error_rate", "queue_age", "dead_letters"];
const OF_SOURCES: [&str; 1] = ["refusal_rate"];

/// These thresholds, and how they are judged.
fn of_alerts(alerts: &AlertsConfig, which: &[&str]) -> Value {
    let AlertsConfig {
        window,
        at_least,
        latency,
        error_rate,
        queue_age,
        dead_letters,
        refusal_rate,
        disk_free,
    } = alerts;
    let unless_off = |threshold: Option<Value>| threshold.unwrap_or_else(|| json!("off"));
    let all = [
        ("latency", latency.map(|it| json!(time(it)))),
        ("error_rate", error_rate.map(|it| json!(it))),
        ("queue_age", queue_age.map(|it| json!(time(it)))),
        ("dead_letters", dead_letters.map(|it| json!(it))),
        ("refusal_rate", refusal_rate.map(|it| json!(it))),
        ("disk_free", disk_free.map(|it| json!(size(it)))),
    ];
    let mut shown = json!({ "window": time(*window), "at_least": at_least });
    for (name, threshold) in all.into_iter().filter(|(name, _)| which.contains(name)) {
        shown[name] = unless_off(threshold);
    }
    shown
}

fn of_source(source: &SourceConfig) -> Value {
    let SourceConfig {
        path,
        scheme,
        verifier: _,
        secrets,
        learns,
        public_url,
        rate: verified,
        addresses: Addresses { allow, deny },
        client_ca,
        body_max,
        decompress,
        priority,
        dedupe_window,
        reply: Reply { status, body },
        echoes: _,
        alerts,
    } = source;
    let secret = |secret: &Secret| {
        let Secret { key: _, from, until } = secret;
        let at = |time: &Option<hookweir_event::Timestamp>| {
            time.and_then(|at| jiff::Timestamp::from_millisecond(at.as_millis()).ok())
                .map(|at| at.to_string())
        };
        json!({ "secret": REDACTED, "from": at(from), "until": at(until) })
    };
    let secrets = match learns {
        true => json!("handshake"),
        false => secrets.iter().map(secret).collect(),
    };
    json!({
        "path": path,
        "scheme": scheme.name(),
        "insecure": scheme.is_insecure(),
        "secrets": secrets,
        "public_url": public_url,
        "rate": rate(*verified),
        "allow": listed(allow),
        "deny": listed(deny),
        "client_ca": client_ca.as_ref().map(|_| "given"),
        "client_names": client_ca.iter().flat_map(ClientAuthority::names).collect::<Vec<_>>(),
        "body_max": size(*body_max),
        "decompress": decompress,
        "priority": priority.as_str(),
        "dedupe_window": time(*dedupe_window),
        "reply": { "status": status, "body": body },
        "alerts": of_alerts(alerts, &OF_SOURCES),
    })
}

fn of_plugin(plugin: &PluginConfig) -> Value {
    let PluginConfig { subscribe, order_by, policy, grant, api, verifier, alerts } = plugin;
    let Grant { limits, config, http, secrets } = grant;
    let ApiConfig { access, concurrency } = api;
    let access = access.as_ref().map(|access| match access {
        ApiAccess::Off => json!("off"),
        ApiAccess::Public => json!("public"),
        ApiAccess::Token(_) => json!({ "token": REDACTED }),
    });
    let secret = |(name, secret): (&String, &SecretGrant)| {
        let SecretGrant { value: _, hosts, readable } = secret;
        (name.clone(), json!({ "secret": REDACTED, "hosts": texts(hosts), "readable": readable }))
    };
    let (origins, addresses) = match http {
        Some(HttpGrant { origins, addresses }) => (texts(origins), texts(addresses)),
        None => (Vec::new(), Vec::new()),
    };
    let mut shown = json!({
        "subscribe": subscribe.as_deref().map(texts),
        "order_by": order_by.as_ref().map(ToString::to_string),
        "config": config,
        "http": origins,
        "http_addresses": addresses,
        "secrets": secrets.iter().map(secret).collect::<Map<_, _>>(),
        "api": access,
        "api_concurrency": concurrency,
        "verifier": verifier,
        "alerts": of_alerts(alerts, &OF_PLUGINS),
    });
    add(&mut shown, of_policy(policy));
    add(&mut shown, of_limits(limits));
    shown
}

fn of_policy(policy: &Policy) -> Value {
    let Policy { concurrency, rate: begun, max_attempts, backoff, order_on_dead, breaker } = policy;
    let limits = breaker.unwrap_or_default();
    json!({
        "concurrency": concurrency,
        "rate": rate(*begun),
        "max_attempts": max_attempts,
        "backoff": time(backoff.base),
        "backoff_max": time(backoff.max),
        "retry_after_max": time(backoff.retry_after_max),
        "order_on_dead": match order_on_dead {
            OnDead::Block => "block",
            OnDead::Continue => "continue",
        },
        "breaker": on(breaker.is_some()),
        "breaker_failures": limits.failures,
        "breaker_probe_max": time(limits.probe_max),
    })
}

fn of_limits(limits: &Limits) -> Value {
    let Limits {
        memory,
        table_elements,
        core_instances,
        handles,
        host_call_bytes,
        random_bytes,
        cpu,
        wall,
        api_wall,
        log_bytes,
        log_lines,
        log_line_bytes,
        outputs,
        output_bytes,
        state_bytes,
        http,
        reuse,
        module: ModuleLimits { bytes, function_bytes, compile_time },
    } = limits;
    let mut shown = json!({
        "memory": size(*memory),
        "table_elements": table_elements,
        "core_instances": core_instances,
        "handles": handles,
        "host_call_max": host_call_bytes.map(size),
        "random_max": size(u64::from(*random_bytes)),
        "cpu": time(*cpu),
        "timeout": time(*wall),
        "api_timeout": time(*api_wall),
        "log_max": size(*log_bytes as u64),
        "log_lines": log_lines,
        "log_line_max": size(*log_line_bytes as u64),
        "outputs": outputs,
        "outputs_max": size(*output_bytes),
        "state_max": size(*state_bytes),
        "reuse": reuse,
        "module_max": size(*bytes),
        "function_max": size(*function_bytes),
        "compile_timeout": time(*compile_time),
    });
    add(&mut shown, of_http(http));
    shown
}

fn of_http(http: &HttpLimits) -> Value {
    let HttpLimits {
        requests,
        at_once,
        timeout,
        headers,
        header_bytes,
        request_bytes,
        response_bytes,
        received_bytes,
        record,
    } = http;
    let bytes = |of: fn(&RecordLimits) -> u64| record.as_ref().map(|record| size(of(record)));
    json!({
        "http_requests": requests,
        "http_at_once": at_once,
        "http_timeout": time(*timeout),
        "http_headers": headers,
        "http_headers_max": size(*header_bytes as u64),
        "http_request_max": size(*request_bytes),
        "http_response_max": size(*response_bytes),
        "http_received_max": size(*received_bytes),
        "record_requests": bytes(|record| record.bytes).unwrap_or_else(|| "off".to_owned()),
        "record_body_max": bytes(|record| record.body_bytes),
    })
}

fn add(to: &mut Value, more: Value) {
    if let (Value::Object(to), Value::Object(more)) = (to, more) {
        to.extend(more);
    }
}

/// Of a file its place and how many blocks it has: there may be thousands.
fn listed(list: &AddressList) -> Vec<Value> {
    let AddressList { networks: _, written, files } = list;
    let file = |AddressFile { path, pointer, blocks }: &AddressFile| json!({ "file": path.display().to_string(), "pointer": pointer, "blocks": blocks });
    let written = texts(written).into_iter().map(Value::from);
    written.chain(files.iter().map(file)).collect()
}

fn of_tls(tls: &Tls) -> Value {
    json!({ "certificates": tls.certificates(), "key": REDACTED })
}

fn texts<T: Display>(items: &[T]) -> Vec<String> {
    items.iter().map(ToString::to_string).collect()
}

fn size(bytes: u64) -> String {
    Size(bytes).to_string()
}

fn rate(rate: Option<Rate>) -> String {
    rate.map_or_else(|| "off".to_owned(), |rate| rate.to_string())
}

fn on(on: bool) -> &'static str {
    if on { "on" } else { "off" }
}

/// As it is written in a config, in the largest unit that it is a whole number of.
fn time(time: Duration) -> String {
    let millis = time.as_millis();
    let units = [(86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")];
    match units.into_iter().find(|(unit, _)| millis > 0 && millis.is_multiple_of(*unit)) {
        Some((unit, name)) => format!("{}{name}", millis / unit),
        None => format!("{millis}ms"),
    }
}
