//! Clocks that are set while the store runs, and while it does not.

use std::time::Duration;

use hookweir_event::{Fate, Outcome};
use hookweir_store::Settled;

use crate::conformance::support::{Bed, Verbs, WINDOW, event, new};

const SECOND: Duration = Duration::from_secs(1);

/// A delivery that failed and is due again in two seconds runs in two seconds and a bit, although the
/// clock says that it is an hour earlier.
async fn a_retry_after_the_clock_was_set(bed: &mut Bed, by_hours: i64, restart: bool) {
    let mut store = bed.boot().await;
    store.keep(new(event("push"), &[], &["a"])).await;
    let lease = store.lease_one("a").await;
    let fate = Fate::Due { after: 2 * SECOND };
    assert_eq!(store.end(&lease, Outcome::Retry, fate).await, Settled::Committed);
    bed.time.set(by_hours);
    if restart {
        store.close().await.unwrap();
        store = bed.boot().await;
    }
    bed.time.advance(3 * SECOND);
    assert_eq!(store.lease_one("a").await.attempt, 2);
}

#[tokio::test]
async fn an_hour_back_delays_nothing() {
    a_retry_after_the_clock_was_set(&mut Bed::new(), -1, false).await;
}

#[tokio::test]
async fn an_hour_back_over_a_restart_delays_nothing() {
    a_retry_after_the_clock_was_set(&mut Bed::new(), -1, true).await;
}

#[tokio::test]
async fn an_hour_forwards_delays_nothing() {
    a_retry_after_the_clock_was_set(&mut Bed::new(), 1, false).await;
    a_retry_after_the_clock_was_set(&mut Bed::new(), 1, true).await;
}

#[tokio::test]
async fn an_hour_back_does_not_make_expired_claims_hold_again() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    store.keep(new(event("push"), &["1"], &[])).await;
    bed.time.advance(WINDOW + SECOND);
    assert!(!store.append(new(event("push"), &["1"], &[])).await.unwrap().is_duplicate());
    bed.time.set(-1);
    assert!(store.append(new(event("push"), &["1"], &[])).await.unwrap().is_duplicate());
    bed.time.advance(WINDOW);
    assert!(
        store.append(new(event("push"), &["1"], &[])).await.unwrap().is_duplicate(),
        "the hour is being made up for"
    );
    bed.time.advance(12 * 3600 * SECOND);
    assert!(!store.append(new(event("push"), &["1"], &[])).await.unwrap().is_duplicate());
}
