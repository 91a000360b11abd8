//! What the file says of traces and alerts.

use super::*;

#[test]
fn traces_are_recorded_only_if_the_config_says_where_they_go() {
    let traces = |text: &str| parse(text).expect("the text has no faults").traces;
    assert_eq!(traces(""), None);
    let told = traces("[traces]\nendpoint = \"http://127.0.0.1:4318/\"\n").unwrap();
    assert_eq!(told.url.to_string(), "http://127.0.0.1:4318/v1/traces");
    assert_eq!((told.sample, told.service.as_str()), (0.1, "hookweir"));
    let told = traces(
        "[traces]\nendpoint = \"https://otlp.example.com\"\nsample = 1\nservice = \"hooks\"\n\
         headers = { authorization = { env = \"GITHUB_SECRET\" } }\n",
    )
    .unwrap();
    assert_eq!((told.sample, told.headers.len()), (1.0, 1));
    let shown = format!("{told:?}");
    assert!(shown.contains("[redacted]") && !shown.contains(GITHUB_SECRET), "{shown}");
    let faults = faults(
        "[traces]\nsample = 2\nheaders = { \"not a name\" = { env = \"GITHUB_SECRET\" }, b = \"text\" }\n",
    );
    assert_eq!(
        faults,
        "1:1: traces: endpoint is missing: where the collector listens, such as \"http://127.0.0.1:4318\"\n\
         2:10: traces.sample: expected a share between 0 and 1, such as 0.1\n\
         3:28: traces.headers.not a name: this can't be a header\n\
         3:59: traces.headers.b: expected a table, found string"
    );
    for bad in
        ["127.0.0.1:4318", "ftp://a.test", "http://", "http://u:p@a.test", "http://a.test/?q"]
    {
        let text = format!("[traces]\nendpoint = \"{bad}\"\n");
        let fault = parse(&text).expect_err("it is no endpoint").remove(0);
        assert!(fault.message.contains("expected the URL of a collector"), "{bad}: {fault}");
    }
}

#[test]
fn alerts_are_set_for_all_and_for_one() {
    let text = github(
        "secrets = [{ env = \"GITHUB_SECRET\" }]\n[sources.github.alerts]\nrefusal_rate = \"off\"\n\
         [plugins.a.alerts]\nlatency = \"2s\"\nerror_rate = 1\nwindow = \"10s\"\n[plugins.b]\n\
         [alerts]\nlatency = \"off\"\nat_least = 3\ndead_letters = 0\ndisk_free = \"2GiB\"\n",
    );
    let config = parse(&text).unwrap();
    let all = AlertsConfig {
        latency: None,
        at_least: 3,
        dead_letters: Some(0),
        disk_free: Some(2 << 30),
        ..AlertsConfig::default()
    };
    let [a, b, c] = ["a", "b", "c"].map(|name| name.parse().unwrap());
    assert_eq!(config.alerts, all);
    assert_eq!((config.alerts_of(&b), config.alerts_of(&c)), (all, all));
    let own = AlertsConfig {
        latency: Some(Duration::from_secs(2)),
        error_rate: Some(1.0),
        window: Duration::from_secs(10),
        ..all
    };
    assert_eq!(config.alerts_of(&a), own);
    let source = config.sources.values().next().unwrap().alerts;
    assert_eq!(source, AlertsConfig { refusal_rate: None, ..all });
}

#[test]
fn alerts_have_their_faults() {
    let faults = faults(
        "[alerts]\nwindow = \"100ms\"\nerror_rate = 2.0\nlatency = 5\nrefusal_rate = \"of\"\nat_least = 0\n\
         [plugins.a.alerts]\nrefusal_rate = 0.1\n",
    );
    for fault in [
        "alerts.window: is between 1s and 1d",
        "alerts.error_rate: 2.0 is no share: above 0, and 1 at most",
        "alerts.latency: expected a string",
        "alerts.refusal_rate: expected a number such as 0.01, or \"off\"",
        "alerts.at_least: 0 is not between 1 and 1000000",
        "unknown key \"refusal_rate\" at plugins.a.alerts",
    ] {
        assert!(faults.contains(fault), "{fault}: {faults}");
    }
}
