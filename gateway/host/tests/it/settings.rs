//! The cache of compiled code, and loads at the same time.

use std::{sync::Arc, time::Duration};

use hookweir_event::{Clock, Digest};
use hookweir_host::{Grant, Host, HostError, LoadFault, NoNetwork, NoState, Settings};

use crate::{
    guest::{DONE, core},
    prepare,
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
    let settings = Settings { compile_time_max: Duration::ZERO, ..Settings::default() };
    let host =
        Host::new(settings, Clock::system(), Arc::new(NoState), Arc::new(NoNetwork)).unwrap();
    // Some 100 ms of work, so that no thread is done before the clock is looked at.
    let functions = "(func (param i32) (result i32) (i32.mul (local.get 0) (local.get 0)))";
    let large = core(DONE, None, &functions.repeat(5000));
    for _ in 0..3 {
        let bytes = large.clone();
        let fault = host.prepare("tested".parse().unwrap(), bytes, Grant::default()).await;
        assert_eq!(fault.unwrap_err(), LoadFault::CompileTime(Duration::ZERO));
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
