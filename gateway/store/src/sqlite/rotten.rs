//! Events that can't be read any more: their content has a checksum, and it is not what was written.
//!
//! What belongs to such an event is in other rows and pages, and is sound. So nothing else stops for it: its
//! deliveries end, retention forgets it, and `store check` counts it.

use hookweir_event::Fate;

use super::{append::Batch, fault::Fault};
use crate::{LeaseKey, Settlement, bounds};

impl Batch<'_> {
    /// Ends a delivery whose event has rotted on the disk: it must not hold up those that have not.
    pub(super) fn bury_rotten(&mut self, key: LeaseKey) -> Result<(), Fault> {
        tracing::error!(event_id = %key.ids[0], "the event can't be read any more; `hookweir store check` says what is damaged");
        // It took the place of one that can be read: whoever asks is to ask again.
        self.work_due = true;
        let settlement = Settlement {
            key,
            attempt: bounds::unreadable(),
            // As what a plugin rejects: to wait would be for ever.
            fate: Fate::Dead { blocks: false },
            outputs: Vec::new(),
            state: Vec::new(),
            exchanges: None,
        };
        self.settle(&settlement).map(|_| ())
    }
}
