//! What a guest made from text does at run time: the cases that no compiler of a language makes.

use hookweir_event::Outcome;

use hookweir_host::Request;

use crate::{
    event,
    guest::{CONTRACT, DONE, asked, core},
    host, prepare,
};

#[tokio::test]
async fn the_smallest_plugin_is_done() {
    let version = prepare(core(DONE, None, "")).await.unwrap();
    let ran = host().call(&version, &event(), 1).await.unwrap();
    assert_eq!(ran.result, Ok(vec![]));
    assert_eq!(ran.memory_peak, 65536);
    assert!(ran.logs.is_empty());
}

#[tokio::test]
async fn endless_recursion_is_a_stack_overflow() {
    let version = prepare(core("(call $handle (local.get 0)) drop unreachable", None, "")).await;
    let ran = host().call(&version.unwrap(), &event(), 1).await.unwrap();
    let failure = ran.result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::Trap);
    assert_eq!(failure.message, "stack overflow: its calls nest too deep");
}

#[tokio::test]
async fn a_refused_memory_is_remembered_when_the_guest_aborts() {
    let grow = "(memory.grow (i32.const 2000)) drop unreachable";
    let version = prepare(core(grow, None, "")).await.unwrap();
    let failure = host().call(&version, &event(), 1).await.unwrap().result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::MemoryLimit, "{failure:?}");
    // One that can live without it may.
    let grow = format!("(memory.grow (i32.const 2000)) drop {DONE}");
    let version = prepare(core(&grow, None, "")).await.unwrap();
    assert!(host().call(&version, &event(), 1).await.unwrap().result.is_ok());
}

#[tokio::test]
async fn memories_and_tables_count_together() {
    // Four megabytes at a time, in two memories by turns: each alone is below the limit.
    let grow = |memory: &str| {
        format!(
            "(if (i32.eq (memory.grow {memory} (i32.const 64)) (i32.const -1)) (then unreachable))"
        )
    };
    let bomb = format!("(loop {} {} (br 0)) unreachable", grow("$b"), grow("$c"));
    let version = prepare(core(&bomb, None, "(memory $b 1) (memory $c 1)")).await.unwrap();
    let ran = host().call(&version, &event(), 1).await.unwrap();
    let failure = ran.result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::MemoryLimit, "{failure:?}");
    let limit = version.limits().memory;
    assert!(ran.memory_peak <= limit && ran.memory_peak > limit / 2, "{}", ran.memory_peak);

    let grow = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 9999)) (i32.const -1)) (then unreachable))";
    let bomb = format!("(loop {grow} (br 0)) unreachable");
    let version = prepare(core(&bomb, None, "(table $t 1 funcref)")).await.unwrap();
    let failure = host().call(&version, &event(), 1).await.unwrap().result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::MemoryLimit, "{failure:?}");
}

#[tokio::test]
async fn a_result_that_points_nowhere_is_a_trap() {
    let version = prepare(core("(i32.const -16)", None, "")).await.unwrap();
    let failure = host().call(&version, &event(), 1).await.unwrap().result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::Trap, "{failure:?}");
    // At 64: `ok`, and a list of 2^27 outputs.
    let list = r#"(data (i32.const 64) "\00\00\00\00\00\00\00\00\00\00\00\08")"#;
    let version = prepare(core(DONE, None, list)).await.unwrap();
    let failure = host().call(&version, &event(), 1).await.unwrap().result.unwrap_err();
    assert!(matches!(failure.outcome, Outcome::Trap | Outcome::Invalid), "{failure:?}");
}

#[tokio::test]
async fn a_request_that_traps_or_spins_is_a_failure_and_a_verifier_has_less_time() {
    let request = Request::default();
    let version = prepare(asked(CONTRACT, "unreachable", "")).await.unwrap();
    let failure = host().respond(&version, &request).await.unwrap().result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::Trap, "{failure:?}");
    let version = prepare(asked(CONTRACT, "(loop br 0) unreachable", "")).await.unwrap();
    let failure = host().respond(&version, &request).await.unwrap().result.unwrap_err();
    assert_eq!(failure.message, "it used more than 500ms of CPU time");
    let failure = host().verify(&version, &request).await.unwrap().result.unwrap_err();
    assert_eq!(failure.message, "it used more than 50ms of CPU time");
}

#[tokio::test]
async fn one_without_the_export_ends_as_one_that_trapped() {
    let version = prepare(core(DONE, None, "")).await.unwrap();
    let ran = host().respond(&version, &Request::default()).await.unwrap();
    let failure = ran.result.unwrap_err();
    assert_eq!(failure.message, "it does not export `hookweir:plugin/api@1.0.0`");
}
