//! The cache of compiled code, loads at the same time, and limits that can be set.

use std::{sync::Arc, time::Duration};

use hookweir_event::{Clock, Digest, Outcome};
use hookweir_host::{
    Grant, Host, HostError, Limits, LoadFault, ModuleLimits, NoNetwork, NoState, Settings,
};

use crate::{
    event,
    guest::{DONE, core},
    host, prepare, prepare_under,
};

#[tokio::test]
async fn compiled_code_is_kept_where_nobody_else_can_write() {
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("new").join("cache");
    let settings = Settings { cache: Some(cache.clone()), ..Settings::default() };
    for _ in 0..2 {
        let host =
            Host::new(settings.clone(), Clock::system(), Arc::new(NoState), Arc::new(NoNetwork))
                .unwrap();
        let bytes = core(DONE, None, "");
        let digest = Digest::of(&bytes);
        let version = host.prepare("tested".parse().unwrap(), bytes, Grant::default()).await;
        assert_eq!(version.unwrap().digest(), digest);
    }
    assert!(std::fs::read_dir(&cache).unwrap().next().is_some(), "nothing was kept");
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let mode = std::fs::metadata(&cache).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

#[test]
fn a_cache_that_can_not_be_is_a_fault_that_names_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let settings = Settings { cache: Some(file.path().join("x")), ..Settings::default() };
    let fault =
        Host::new(settings, Clock::system(), Arc::new(NoState), Arc::new(NoNetwork)).unwrap_err();
    assert!(matches!(fault, HostError::Cache { .. }), "{fault:?}");
}

#[tokio::test]
async fn a_compilation_that_takes_too_long_is_left_behind() {
    let module = ModuleLimits { compile_time: Duration::ZERO, ..ModuleLimits::default() };
    let limits = Limits { module, ..Limits::default() };
    // Some 100 ms of work, so that no thread is done before the clock is looked at.
    let functions = "(func (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))";
    let large = core(DONE, None, &functions.repeat(5000));
    for _ in 0..3 {
        let bytes = large.clone();
        let fault = prepare_under(limits.clone(), bytes).await.unwrap_err();
        assert_eq!(fault, LoadFault::CompileTime(Duration::ZERO));
    }
    assert!(prepare(large).await.is_ok(), "the threads were replaced");
}

#[tokio::test]
async fn a_module_has_limits_before_it_is_compiled() {
    let bytes = core(DONE, None, &format!("(func {})", "(drop (i32.const 0))".repeat(1000)));
    let size = bytes.len() as u64;
    let under = |module| prepare_under(Limits { module, ..Limits::default() }, bytes.clone());
    let fault = under(ModuleLimits { bytes: size - 1, ..ModuleLimits::default() }).await;
    assert_eq!(fault.unwrap_err(), LoadFault::TooLarge { size, max: size - 1 });
    let fault = under(ModuleLimits { function_bytes: 2000, ..ModuleLimits::default() }).await;
    let fault = fault.unwrap_err();
    assert!(matches!(fault, LoadFault::Cap { max: 2000, .. }), "{fault:?}");
    let fits = ModuleLimits { bytes: size, function_bytes: 4000, ..ModuleLimits::default() };
    assert!(under(fits).await.is_ok());
}

#[tokio::test]
async fn tables_and_instances_have_limits_of_their_own() {
    let grow = "(if (i32.eq (table.grow $t (ref.null func) (i32.const 999)) (i32.const -1)) (then unreachable))";
    let bytes = core(&format!("{grow} {DONE}"), None, "(table $t 1 funcref)");
    let under = |limits| prepare_under(limits, bytes.clone());
    // One function of the component's own lies in a table too.
    let version = under(Limits { table_elements: 1100, ..Limits::default() }).await.unwrap();
    assert!(host().call(&version, &event(), 1).await.unwrap().result.is_ok());
    let version = under(Limits { table_elements: 999, ..Limits::default() }).await.unwrap();
    let failure = host().call(&version, &event(), 1).await.unwrap().result.unwrap_err();
    assert_eq!(failure.outcome, Outcome::MemoryLimit, "{failure:?}");
    assert_eq!(failure.message, "it asked for 1000 elements of tables; its limit is 999");

    let fault = under(Limits { core_instances: 0, ..Limits::default() }).await.unwrap_err();
    assert!(matches!(fault, LoadFault::Start(_)), "{fault:?}");
    assert!(fault.to_string().contains("instance"), "{fault}");
    assert!(under(Limits { core_instances: 1, ..Limits::default() }).await.is_ok());
}

#[tokio::test]
async fn the_stack_is_as_deep_as_the_host_is_told() {
    // Calls itself as often as `$left` says, some 100 KiB deep.
    let more = "(global $left (mut i32) (i32.const 2000))
        (func $deep (param i64 i64 i64 i64) (result i64)
            (if (i32.eqz (global.get $left)) (then (return (local.get 0))))
            (global.set $left (i32.sub (global.get $left) (i32.const 1)))
            (i64.add (i64.mul (local.get 1) (local.get 2)) (call $deep
                (i64.add (local.get 0) (local.get 3)) (local.get 1) (local.get 2) (local.get 3)))
            (i64.add (local.get 0)))";
    let handler = "(drop (call $deep (i64.const 1) (i64.const 2) (i64.const 3) (i64.const 4)))";
    let bytes = core(&format!("{handler} {DONE}"), None, more);
    for (stack, fits) in [(512 << 10, true), (64 << 10, false)] {
        let settings = Settings { stack, ..Settings::default() };
        let host =
            Host::new(settings, Clock::system(), Arc::new(NoState), Arc::new(NoNetwork)).unwrap();
        let name = "tested".parse().unwrap();
        let version = host.prepare(name, bytes.clone(), Grant::default()).await.unwrap();
        let result = host.call(&version, &event(), 1).await.unwrap().result;
        match result {
            Ok(_) => assert!(fits, "{stack} bytes were enough"),
            Err(failure) => {
                assert_eq!(failure.message, "stack overflow: its calls nest too deep");
                assert!(!fits, "{stack} bytes were not enough");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn loads_at_the_same_time_do_not_meet() {
    let loads = (0..8).map(|n| {
        let bytes = core(DONE, None, &format!("(global i32 (i32.const {n}))"));
        tokio::spawn(prepare(bytes))
    });
    for load in loads.collect::<Vec<_>>() {
        assert!(load.await.unwrap().is_ok());
    }
}
