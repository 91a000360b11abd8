//! How long the gateway takes from its first instruction to the first `/readyz` that says 200: with nothing to load,
//! with ten plugins whose machine code is cached, and with ten that have to be compiled. Files are in the page cache.

use std::{fs, time::Instant};

use hookweir_tests::{guests, house::House};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

use crate::{
    Flags,
    figures::{Rounds, Section},
    process::PROGRAM,
};

const PLUGINS: u64 = 10;

pub(crate) async fn measure(flags: &Flags) -> Section {
    let bytes = fs::metadata(PROGRAM).unwrap().len();
    let about = format!(
        "from the start of the process to the first /readyz that says 200; the binary has {:.1} MiB",
        bytes as f64 / f64::from(1 << 20)
    );
    let mut section = Section::new("start", about, &["ms"]);
    let [empty, cached] = ["", ""].map(|sections| House::new(PROGRAM, sections));
    fill(&cached);
    // The first start compiles.
    time_of_start(&cached).await;
    let mut times = [Rounds::default(), Rounds::default(), Rounds::default()];
    for _ in 0..flags.rounds {
        let anew = House::new(PROGRAM, "");
        fill(&anew);
        for (house, time) in [&empty, &cached, &anew].into_iter().zip(&mut times) {
            time.push(time_of_start(house).await);
        }
    }
    let names = ["no plugin", "10 plugins, compiled before", "10 plugins, to be compiled"];
    for (name, time) in names.into_iter().zip(times) {
        section.row(name, vec![time]);
    }
    section
}

/// Ten plugins of the same code, each in bytes of its own.
fn fill(house: &House) {
    for number in 0..PLUGINS {
        let module = guests::with_section(guests::wasm("payments"), number);
        house.put(&format!("payments-{number}"), &module);
    }
}

async fn time_of_start(house: &House) -> f64 {
    let started = Instant::now();
    let gateway = house.spawn();
    while !is_ready(house).await {
        tokio::task::yield_now().await;
    }
    let took = started.elapsed();
    assert!(gateway.stop().await.success());
    took.as_secs_f64() * 1e3
}

/// Asked with as little as can be: what asks shares the cores with what is measured.
async fn is_ready(house: &House) -> bool {
    let Ok(mut stream) = TcpStream::connect(house.admin).await else {
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
        return false;
    };
    let request = b"GET /readyz HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let mut reply = Vec::new();
    stream.write_all(request).await.is_ok()
        && stream.read_to_end(&mut reply).await.is_ok()
        && reply.starts_with(b"HTTP/1.1 200 ")
}
