//! What the compiler takes for modules that are as bad as the caps on a file let them be: time, and the
//! most memory at a time. Each in a process of its own, which is asked for its peak.

use std::{process::Command, sync::Arc, time::Instant};

use hookweir_event::Clock;
use hookweir_host::{Grant, Host, NoNetwork, NoState, Settings};
use serde_json::{Value, json};

use crate::{
    Flags,
    figures::{Rounds, Section},
};

/// A function's code may have 512 KiB; this leaves room for what frames it.
const FUNCTION_BYTES: usize = (512 << 10) - 4096;

/// What a hostile module is made of.
const SHAPES: [(&str, &str); 4] = [
    ("one function of 512 KiB, straight", "straight"),
    ("one function of 512 KiB, all branches", "branches"),
    ("one function of 512 KiB, all calls", "calls"),
    ("32 functions of 512 KiB, straight", "many"),
];

pub(crate) fn measure(flags: &Flags) -> Section {
    let about = "compiled with one thread; the gateway gives up after 60 s".to_owned();
    let mut section = Section::new("compiling hostile modules", about, &["s", "peak MiB"]);
    for (name, shape) in SHAPES {
        let (mut time, mut peak) = (Rounds::default(), Rounds::default());
        for _ in 0..flags.rounds.min(3) {
            let program = std::env::current_exe().unwrap();
            let said = Command::new(program).args(["--compile", shape]).output().unwrap();
            let said: Value = serde_json::from_slice(&said.stdout).unwrap();
            time.push(said["seconds"].as_f64().unwrap());
            peak.push(said["peak"].as_f64().unwrap() / 1024.0);
        }
        section.row(name, vec![time, peak]);
    }
    section
}

/// The child's `main`: compiles one, and says what it took.
pub(crate) fn compile(shape: &str) {
    let module = component(&body(shape), if shape == "many" { 32 } else { 1 });
    let settings = Settings::default();
    let host = Host::new(settings, Clock::system(), Arc::new(NoState), Arc::new(NoNetwork));
    let host = host.unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let before = peak();
    let started = Instant::now();
    // Its handler is of the wrong type: it is compiled, and then refused.
    let name = "hostile".parse().unwrap();
    let refused = runtime.block_on(host.prepare(name, module, Grant::default())).unwrap_err();
    assert!(refused.to_string().contains("types"), "{refused}");
    let seconds = started.elapsed().as_secs_f64();
    println!("{}", json!({ "seconds": seconds, "peak": peak() - before }));
}

/// The most resident memory so far, in KiB.
fn peak() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

fn body(shape: &str) -> String {
    let (unit, bytes) = match shape {
        "branches" => ("(if (local.get 0) (then (local.set 1 (i32.load (local.get 0)))))", 12),
        "calls" => ("(local.set 0 (call $other (local.get 0) (local.get 1)))", 8),
        _ => ("(local.set 0 (i32.add (i32.load (local.get 0)) (local.get 1)))", 10),
    };
    unit.repeat(FUNCTION_BYTES / bytes)
}

fn component(body: &str, functions: usize) -> Vec<u8> {
    let function = format!("(func (param i32 i32) {body})");
    let text = format!(
        r#"(component
            (core module $m
                (memory 1)
                (func $other (param i32 i32) (result i32) (local.get 0))
                {}
                (func (export "handle")))
            (core instance $i (instantiate $m))
            (func $handle (canon lift (core func $i "handle")))
            (instance $handler (export "handle" (func $handle)))
            (export "hookweir:plugin/handler@1.0.0" (instance $handler)))"#,
        function.repeat(functions),
    );
    wat::parse_str(text).unwrap()
}
