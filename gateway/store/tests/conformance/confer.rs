//! What gateways at one store tell each other, as far as one that is alone sees it.

use std::collections::BTreeMap;

use hookweir_store::{Bid, Pausable, Said, WHOLE};

use crate::conformance::support::Bed;

#[tokio::test]
async fn whoever_is_alone_has_all_that_it_wants_and_hears_what_is_paused() {
    let mut bed = Bed::new();
    let store = bed.boot().await;
    let paused = store.pause(Pausable::Everything, "anna".to_owned(), None).await.unwrap();
    for wants in [WHOLE, 1, WHOLE] {
        let rates = BTreeMap::from([("a".to_owned(), Bid { asked: 7, wants })]);
        let heard = store.confer(Said { rates, breakers: Vec::new() }).await.unwrap();
        assert_eq!((heard.gateways, heard.parts["a"]), (1, wants));
        assert!(heard.others.is_empty() && heard.breakers.is_empty());
        assert_eq!(heard.pauses, std::slice::from_ref(&paused));
    }
}
