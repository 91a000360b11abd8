//! A start that takes its time: whoever probes is told so from the beginning, senders are refused until they can be
//! served, and a stop is heeded at once.

use std::time::Instant;

use hookweir::{
    gateway::{Gateway, StartError, Surrounds},
    tasks::Stopper,
};
use hookweir_tests::{
    bounded,
    fault_vfs::FaultVfs,
    guests,
    house::{House, InProcess, PATIENCE},
};
use rustix::process::Signal;
use tokio::net::TcpStream;

const PROGRAM: &str = env!("CARGO_BIN_EXE_hookweir-under-test");

/// What is answered at a place of the operators' address, once there is somebody to answer.
async fn answer(house: &House, place: &str) -> (u16, String) {
    let client = bounded::client();
    let deadline = Instant::now() + PATIENCE;
    loop {
        match client.get(format!("http://{}/{place}", house.admin)).send().await {
            Ok(reply) => return (reply.status().as_u16(), reply.text().await.unwrap()),
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
        tokio::task::yield_now().await;
    }
}

/// Waits until `/readyz` says so.
async fn until_unready(house: &House, why: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let (status, said) = answer(house, "readyz").await;
        if (status, said.trim_end()) == (503, why) {
            return;
        }
        assert!(Instant::now() < deadline, "{status} {said}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn probes_are_answered_from_the_beginning_and_senders_when_all_stands() {
    let (house, disk) = (House::new(PROGRAM, ""), FaultVfs::register("slow-start"));
    let still = disk.stand_still();
    let (config, surrounds) = house.surrounds();
    let surrounds = Surrounds { vfs: Some(disk.name()), ..surrounds };
    let starting = tokio::spawn(InProcess::start(config, surrounds));
    let waits = (503, "starting: opening the store\n".to_owned());
    assert_eq!(answer(&house, "readyz").await, waits);
    assert_eq!(answer(&house, "healthz").await, (200, "ok\n".to_owned()), "no restart helps");
    let (status, said) = answer(&house, "v1/status").await;
    assert!(status == 503 && said.contains("starting: opening the store"), "{status} {said}");
    assert!(TcpStream::connect(house.public).await.is_err(), "nobody takes anything yet");
    drop(still);
    let gateway = starting.await.unwrap();
    assert_eq!(house.sender("test").send("echo", "1", b"x").await.unwrap().status, 202);
    assert_eq!(answer(&house, "readyz").await, (200, "ok\n".to_owned()));
    gateway.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_is_heeded_while_the_store_is_opened() {
    let (house, disk) = (House::new(PROGRAM, ""), FaultVfs::register("slow-start-stopped"));
    let still = disk.stand_still();
    let (config, surrounds) = house.surrounds();
    let surrounds = Surrounds { vfs: Some(disk.name()), ..surrounds };
    let (stopper, stop) = Stopper::new();
    let building = tokio::spawn(Gateway::build(config, surrounds, stop));
    until_unready(&house, "starting: opening the store").await;
    stopper.stop();
    let built = tokio::time::timeout(PATIENCE, building).await.expect("the disk was waited for");
    assert!(matches!(built.unwrap(), Err(StartError::Stopped)));
    drop(still);
}

/// Waits until the compiler's threads have worked for half a second (proc(5), `/proc/pid/task/tid/stat`).
async fn until_compiling(pid: u32) {
    let worked = || -> u64 {
        let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
        let stats = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("stat")).ok());
        let ticks = stats.filter_map(|stat| {
            let (name, rest) = stat.split_once(") ")?;
            let ticks = rest.split(' ').nth(11)?.parse::<u64>().ok()?;
            name.contains("(hookweir-compi").then_some(ticks)
        });
        ticks.sum()
    };
    let deadline = Instant::now() + PATIENCE;
    while worked() < 50 {
        assert!(Instant::now() < deadline, "nothing is compiled");
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_signal_is_heeded_while_plugins_compile() {
    let house = House::new(PROGRAM, "");
    house.put("slow", &guests::slow_to_compile());
    for signal in [Signal::TERM, Signal::INT] {
        let gateway = house.spawn();
        until_unready(&house, "starting: loading plugins").await;
        until_compiling(gateway.pid()).await;
        let asked = Instant::now();
        gateway.signal(signal);
        assert_eq!(gateway.ended().await.code(), Some(0), "{}", house.log());
        println!("{signal:?} while a plugin compiled: ended after {:?}", asked.elapsed());
        // What comes of it is known when it is compiled.
        assert!(!house.log().contains("types"), "it was waited for: {}", house.log());
    }
    // What was begun is no hindrance to the next start.
    std::fs::remove_file(house.plugins().join("slow.wasm")).unwrap();
    assert!(house.start().await.stop().await.success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_another_has_is_told_before_anything_is_begun() {
    let house = House::new(PROGRAM, "");
    for address in [house.public, house.admin] {
        let skip = house.log().len();
        let other = std::net::TcpListener::bind(address).unwrap();
        assert_eq!(house.spawn().ended().await.code(), Some(1));
        house.until_log(skip, &["failed to listen on", &address.to_string()]).await;
        assert!(!house.database().exists());
        drop(other);
    }
}
