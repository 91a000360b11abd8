//! Two gateways at one database keep together: a rate is that of both, a breaker that one opened holds the other's
//! deliveries too, and what an operator pauses at one is paused at the other.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use hookweir_tests::{
    house::{Gateway, House, TEST_SCHEME},
    postgres::Postgres,
    scrape::Scrape,
};
use serde_json::{Value, json};
use tokio::task::{JoinHandle, JoinSet};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");
const HOSTILE: [(&str, &str); 1] = [("plugin", "hostile")];

/// What a rate of 20 in a second lets through: that, and a burst of as many.
const PER_SECOND: f64 = 20.0;
const BURST: f64 = 20.0;
/// After so long whoever took up a rate has nothing in advance any more.
const ADVANCE: Duration = Duration::from_secs(5);

fn house(server: &Postgres, sections: &str) -> House {
    let house = House::in_database(PROGRAM, sections, server.url());
    house.put_guest("hostile");
    house
}

/// Two of them that know of each other.
async fn both(server: &Postgres, sections: &str) -> ([House; 2], [Gateway; 2]) {
    let houses = [house(server, sections), house(server, sections)];
    let gateways = [houses[0].start().await, houses[1].start().await];
    for house in &houses {
        let two = |seen: &Scrape| seen.value("hookweir_gateways", &[]) == 2.0;
        house.until_metrics("two gateways", two).await;
    }
    (houses, gateways)
}

async fn stop(gateways: [Gateway; 2]) {
    for gateway in gateways {
        assert!(gateway.stop().await.success());
    }
}

/// When a request was sent, when it was answered, and with what.
type Answer = (Instant, Instant, u16);

/// Posts to the source `limited` until it is told to end, a hundred in a second, whenever the ones before are answered: who
/// waited for a slow commit would not ask for all of the rate.
fn flood(house: &House, ending: &Arc<AtomicBool>, name: &'static str) -> JoinHandle<Vec<Answer>> {
    let (sender, ending) = (house.sender("limited"), ending.clone());
    tokio::spawn(async move {
        let mut sending = JoinSet::new();
        let mut next = tokio::time::interval(Duration::from_millis(10));
        while !ending.load(Ordering::Relaxed) {
            next.tick().await;
            let (sender, id) = (sender.clone(), format!("{name}-{}", sending.len()));
            sending.spawn(async move {
                let sent = Instant::now();
                let reply = sender.send("nothing", &id, id.as_bytes()).await.unwrap();
                (sent, Instant::now(), reply.status)
            });
        }
        sending.join_all().await
    })
}

/// How many that were sent between two moments were answered so: by the second, or whenever.
fn count(answers: &[Answer], status: u16, (from, to): (Instant, Instant)) -> [f64; 2] {
    let counted = |by: &dyn Fn(&Answer) -> Instant| {
        let within = |at: &&Answer| at.2 == status && at.0 >= from && by(at) < to;
        f64::from(u32::try_from(answers.iter().filter(within).count()).unwrap())
    };
    [counted(&|answer| answer.1), counted(&|answer| answer.0)]
}

fn second(from: Instant, seconds: u64) -> Instant {
    from + Duration::from_secs(seconds)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sources_rate_is_that_of_both_gateways_and_goes_where_it_is_asked_for() {
    let server = Postgres::durable();
    let limited = format!(
        "[sources.limited]\npath = \"/webhooks/limited\"\nscheme = {TEST_SCHEME}\n\
         secrets = [{{ env = \"TEST_SECRET\" }}]\nrate = \"20/second\"\n"
    );
    let (houses, gateways) = both(&server, &limited).await;
    let [first_ends, second_ends] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let first = flood(&houses[0], &first_ends, "first");
    let second_one = flood(&houses[1], &second_ends, "second");
    let begun = Instant::now();
    tokio::time::sleep_until((begun + ADVANCE).into()).await;
    // The parts are even: what either is asked for is far more than all of the rate.
    for house in &houses {
        let even = |seen: &Scrape| {
            (0.4..0.6).contains(&seen.value("hookweir_source_rate_part", &[("source", "limited")]))
        };
        house.until_metrics("an even part", even).await;
    }
    let even = Instant::now();
    tokio::time::sleep_until(second(even, 10).into()).await;
    second_ends.store(true, Ordering::Relaxed);
    let second_one = second_one.await.unwrap();
    let moved = Instant::now();
    tokio::time::sleep_until(second(moved, 16).into()).await;
    first_ends.store(true, Ordering::Relaxed);
    let first = first.await.unwrap();
    stop(gateways).await;

    println!("even {:?} after the flood began", even - begun);
    let span = (even, second(even, 10));
    let [passed, refused] = [202, 429].map(|s| [&first, &second_one].map(|a| count(a, s, span)));
    println!("in 10 s: {passed:?} passed, {refused:?} were refused");
    for ([_, passed], [_, refused]) in passed.iter().zip(refused) {
        assert!(*passed >= 50.0, "each lets something through: {passed}");
        assert!(passed + refused > PER_SECOND * 10.0 + BURST, "each was asked for all of it");
    }
    // What was sent and answered in that time passed in it; what was sent in it may have passed later.
    let [at_least, sent] = [0, 1].map(|which| passed[0][which] + passed[1][which]);
    // One more for each gateway whose part is less than one.
    assert!(at_least <= PER_SECOND * 10.0 + BURST + 1.0, "{at_least} passed in 10 s");
    assert!(sent >= PER_SECOND * 10.0 * 0.75, "{sent} passed in 10 s");
    // All of it is asked for at one: a few exchanges later that one has nearly all.
    let span = (second(moved, 8), second(moved, 16));
    let [at_least, sent] = count(&first, 202, span);
    println!("in 8 s, 8 s after the other was asked for nothing any more: {sent} passed");
    assert!(at_least <= PER_SECOND * 8.0 + BURST + 1.0, "{at_least} passed in 8 s");
    assert!(sent >= PER_SECOND * 8.0 * 0.85, "{sent} passed in 8 s");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plugins_rate_is_that_of_both_gateways() {
    let server = Postgres::durable();
    let sections = "[plugins.hostile]\nrate = \"20/second\"\n";
    let (houses, gateways) = both(&server, sections).await;
    let known = Instant::now();
    houses[0].operate("plugins/hostile/pause", &json!({})).await;
    let sender = houses[0].sender("test");
    for number in 0..600 {
        let reply = sender.send("nothing", &number.to_string(), b"x").await.unwrap();
        assert_eq!(reply.status, 202, "{reply:?}");
    }
    tokio::time::sleep_until((known + ADVANCE).into()).await;
    for house in &houses {
        house.until_plugin("hostile", "a pause", |plugin| !plugin["paused"].is_null()).await;
        let even =
            |seen: &Scrape| (0.4..0.6).contains(&seen.value("hookweir_plugin_rate_part", &HOSTILE));
        house.until_metrics("an even part", even).await;
    }
    let attempts = async || {
        let mut sum = [0.0; 2];
        for (house, sum) in houses.iter().zip(&mut sum) {
            let seen = house.metrics().await;
            *sum = seen.value("hookweir_plugin_attempts_total", &HOSTILE);
        }
        sum
    };
    let begun = Instant::now();
    let before = attempts().await;
    houses[0].operate("plugins/hostile/resume", &json!({})).await;
    tokio::time::sleep_until(second(begun, 12).into()).await;
    let after = attempts().await;
    let seconds = begun.elapsed().as_secs_f64();
    let ran = [after[0] - before[0], after[1] - before[1]];
    println!("{ran:?} attempts in {seconds:.1} s");
    assert!(ran.iter().all(|ran| *ran >= 20.0), "each runs something: {ran:?}");
    let both = ran[0] + ran[1];
    assert!(both <= PER_SECOND * seconds + BURST + 1.0, "{ran:?} in {seconds} s");
    assert!(both >= PER_SECOND * seconds * 0.7, "{ran:?} in {seconds} s");
    assert!(houses[0].until("a look", |_| true).await.due > 100, "more waited than could run");
    stop(gateways).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_breaker_that_one_gateway_opened_holds_the_other_and_is_closed_and_left_to_it() {
    let server = Postgres::durable();
    let sections = "[plugins.hostile]\nmax_attempts = 100\nbackoff = \"1ms\"\nbackoff_max = \"5ms\"\n\
                    breaker_probe_max = \"1s\"\n";
    let houses = [house(&server, sections), house(&server, sections)];
    let attempts = async |house: &House| {
        house.metrics().await.value("hookweir_plugin_attempts_total", &HOSTILE)
    };
    let open_here = |plugin: &Value| {
        plugin["breaker"]["state"] == "open" && plugin["breaker"]["elsewhere"].is_null()
    };
    let open_elsewhere = |plugin: &Value| plugin["breaker"]["elsewhere"] == true;

    // What they compile for the first time they have done before: while one starts the plugin gets on.
    for house in &houses {
        assert!(house.start().await.stop().await.success());
    }
    let first = houses[0].start().await;
    let sender = houses[0].sender("test");
    // It is well at the fortieth attempt: after the breaker has opened, each second brings one.
    sender.send("retry-until", "sick", b"40").await.unwrap();
    houses[0].until_plugin("hostile", "an open breaker", open_here).await;
    // It is said once a second. Who comes before that sees for itself, and who comes after it runs nothing.
    let said = "SELECT count(*) FROM hookweir.said WHERE 'hostile' = ANY(plugins)";
    server.until("its word", said, "1");
    let second_one = houses[1].start().await;
    let told = houses[1].until_plugin("hostile", "a breaker that is told of", open_elsewhere).await;
    assert_eq!(told["breaker"]["why"], "10 of the last 10 attempts asked for a retry", "{told:#}");
    let seen = houses[1].metrics().await;
    let ran = seen.value("hookweir_plugin_attempts_total", &HOSTILE);
    assert!(
        ran == 0.0 || houses[1].log().contains("it is probed here"),
        "it was told before it began"
    );
    assert_eq!(seen.value("hookweir_plugin_breaker_open", &HOSTILE), 1.0);
    assert_eq!(seen.value("hookweir_plugin_breaker_elsewhere", &HOSTILE), 1.0);
    // The first one probes, and the second does not: while it hears of the first, which it may not for a while where a busy
    // machine stands still for longer than a word counts. What it began then may end in the look after that.
    let mut may_end = false;
    let (before, skip) = loop {
        let skip = houses[1].log().len();
        let before = [attempts(&houses[0]).await, attempts(&houses[1]).await];
        let probed = |seen: &Scrape| {
            seen.value("hookweir_plugin_attempts_total", &HOSTILE) >= before[0] + 3.0
        };
        houses[0].until_metrics("probes", probed).await;
        let ran = attempts(&houses[1]).await - before[1];
        let was_told = !houses[1].log()[skip..].contains("it is probed here");
        if was_told && ran == 0.0 {
            break (before, houses[1].log().len());
        }
        let begun = std::mem::replace(&mut may_end, !was_told);
        assert!(begun || !was_told, "the second one probes as well: {}", houses[1].log());
        houses[1].until_plugin("hostile", "to be told of it again", open_elsewhere).await;
    };

    // The first one is gone: the second sees for itself.
    first.kill();
    houses[1].until_log(skip, &["hostile", "it is probed here"]).await;
    let probed =
        |seen: &Scrape| seen.value("hookweir_plugin_attempts_total", &HOSTILE) >= before[1] + 2.0;
    houses[1].until_metrics("probes", probed).await;
    let plugin = houses[1].admin("plugins/hostile").await;
    assert!(open_here(&plugin), "{plugin:#}");

    // Now it is the first that is told, until a probe of the second's has closed it.
    let skip = houses[0].log().len();
    let first = houses[0].start().await;
    houses[0].until_log(skip, &["hostile", "breaker opened by another gateway"]).await;
    houses[0].until_log(skip, &["hostile", "breaker closed by another gateway's probe"]).await;
    assert!(houses[1].log().contains("breaker closed"), "{}", houses[1].log());
    let reply = houses[0].sender("test").send("echo", "well", b"x").await.unwrap();
    assert_eq!(reply.status, 202, "{reply:?}");
    houses[0].until("both events", |counts| counts.done == 2).await;
    stop([first, second_one]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_paused_at_one_gateway_is_paused_at_the_other_until_it_goes_on() {
    let server = Postgres::durable();
    let (houses, gateways) = both(&server, "").await;
    let because = json!({ "why": "it is sick" });
    houses[0].operate("plugins/hostile/pause", &because).await;
    let log = houses[1].until_log(0, &["paused, at another gateway", "hostile"]).await;
    assert!(log.contains("it is sick"), "{log}");
    let plugin = houses[1].admin("plugins/hostile").await;
    assert_eq!(plugin["paused"]["why"], "it is sick", "{plugin:#}");

    houses[0].operate("sources/test/pause", &because).await;
    let sender = houses[1].sender("test");
    houses[1].until_log(0, &["paused, at another gateway", "source test"]).await;
    let refused = sender.send("echo", "refused", b"x").await.unwrap();
    assert_eq!((refused.status, refused.code()), (503, "paused"), "{refused:?}");
    houses[1].operate("sources/test/resume", &json!({})).await;
    houses[0].until_log(0, &["goes on, by another gateway", "source test"]).await;
    assert_eq!(houses[0].sender("test").send("echo", "1", b"x").await.unwrap().status, 202);
    assert_eq!(sender.send("echo", "2", b"x").await.unwrap().status, 202);

    // Neither runs anything for the plugin, though both would.
    for house in &houses {
        let seen = house.metrics().await;
        assert_eq!(seen.value("hookweir_plugin_attempts_total", &HOSTILE), 0.0);
    }
    assert_eq!(houses[1].until("a look", |_| true).await.due, 2);
    houses[1].operate("plugins/hostile/resume", &json!({})).await;
    houses[0].until_log(0, &["goes on, by another gateway", "hostile"]).await;
    houses[0].until("what waited", |counts| counts.due + counts.leased == 0).await;

    houses[0].operate("sources/test/pause", &json!({ "hold": true })).await;
    houses[1].until_log(0, &["paused, at another gateway", "deliveries of source test"]).await;
    let sources = houses[1].admin("sources").await;
    let held = |source: &&Value| source["name"] == "test" && !source["held"].is_null();
    assert_eq!(sources["items"].as_array().unwrap().iter().filter(held).count(), 1, "{sources:#}");
    stop(gateways).await;
}
