//! A short soak; a long one is run by `HOOKWEIR_SOAK_SECONDS=600 cargo test --workspace --test it -- soak --nocapture`,
//! and at the machine's limit by `cargo bench -p hookweir-tests --bench line -- soak`.

use std::time::Duration;

use hookweir_tests::{
    house::House,
    soak::{self, Plan},
    world::World,
};

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn twenty_sources_with_faults_of_all_kinds_lose_nothing() {
    let seconds = std::env::var("HOOKWEIR_SOAK_SECONDS").ok();
    let seconds = seconds.map_or(6, |seconds| seconds.parse().unwrap());
    let down = World::start("127.0.0.1").await;
    let house = House::new(PROGRAM, &soak::config(down.address));
    house.put_guest("hostile");
    house.put_guest("reach");
    let gateway = house.start().await;
    let plan = Plan { time: Duration::from_secs(seconds), pace: Some(200), connections: 1 };
    let report = soak::run(&house, &gateway, &down, plan).await;
    println!("{report}");
    // All of it was there.
    assert!(report.accepted > 200 && report.again > 0, "{report}");
    assert!(report.forged > 20 && report.cut > 20 && report.swaps > 0, "{report}");
    let failed = down.came().iter().filter(|came| came.line.starts_with("POST /down")).count();
    assert!(failed > 3, "the server downstream was asked {failed} times");
    let [before, after] = report.memory();
    assert!(after < before + (64 << 20), "memory grows: {report}");
    assert!(gateway.stop().await.success());
}
