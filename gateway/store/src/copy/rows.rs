//! What a store holds, as rows that are no engine's: what one hands over and another takes, and what is hashed of both.
//!
//! Times are milliseconds since 1970. Text that a stranger wrote is bytes.

use crate::codec::put;

/// An event's id.
pub(crate) type Id = [u8; 16];

/// An event, in the order of `seq`.
#[derive(Debug)]
pub(crate) struct EventRow {
    pub(crate) seq: i64,
    pub(crate) id: Id,
    pub(crate) origin: String,
    pub(crate) event_type: String,
    pub(crate) received_at: i64,
    pub(crate) committed_at: i64,
    pub(crate) hops: i64,
    /// For outputs: the event whose delivery made it, and the first of the chain.
    pub(crate) from: Option<[Id; 2]>,
    /// The first 16 bytes of each of its dedupe keys that are known still, sorted.
    pub(crate) claims: Vec<u8>,
    pub(crate) envelope: Vec<u8>,
    pub(crate) body: Vec<u8>,
}

/// A delivery.
#[derive(Debug)]
pub(crate) struct DeliveryRow {
    pub(crate) event: Id,
    pub(crate) ordinal: i64,
    /// Of its event.
    pub(crate) seq: i64,
    /// Of its event.
    pub(crate) origin: String,
    pub(crate) plugin: String,
    pub(crate) due_at: i64,
    pub(crate) leased: bool,
    pub(crate) turn: i64,
    pub(crate) leased_at: Option<i64>,
    pub(crate) attempts: i64,
    pub(crate) lost_leases: i64,
    pub(crate) excused: i64,
    pub(crate) settled_at: Option<i64>,
    /// 1: a dead letter, 2: one that was put aside.
    pub(crate) dead: i64,
    pub(crate) order_key: Option<Vec<u8>>,
    /// In the line of its plugin and order key, counted from 1 without gaps.
    pub(crate) place: Option<i64>,
    /// None: in no line; 0: first, 1: behind, 2: blocks.
    pub(crate) standing: Option<i64>,
    pub(crate) replayed_at: Option<i64>,
    pub(crate) discarded_at: Option<i64>,
    /// The source for whose hold it is aside.
    pub(crate) held: Option<String>,
    pub(crate) let_go_at: Option<i64>,
}

/// The record of an attempt.
#[derive(Debug)]
pub(crate) struct AttemptRow {
    pub(crate) event: Id,
    pub(crate) ordinal: i64,
    pub(crate) number: i64,
    pub(crate) started_at: i64,
    pub(crate) ended_at: i64,
    pub(crate) outcome: String,
    pub(crate) message: Option<Vec<u8>>,
    pub(crate) version: Option<Vec<u8>>,
    pub(crate) wall_us: i64,
    pub(crate) cpu_us: i64,
    pub(crate) logs: Option<Vec<u8>>,
}

/// What an attempt sent and was answered.
#[derive(Debug)]
pub(crate) struct ExchangesRow {
    pub(crate) event: Id,
    pub(crate) ordinal: i64,
    pub(crate) number: i64,
    pub(crate) kept: i64,
    pub(crate) left_out: i64,
    pub(crate) content: Vec<u8>,
}

/// How often an event was sent again.
#[derive(Debug)]
pub(crate) struct DuplicatesRow {
    pub(crate) event: Id,
    pub(crate) count: i64,
    pub(crate) last_at: i64,
}

/// Who has a dedupe key, or had it last. The event may be gone.
#[derive(Debug)]
pub(crate) struct ClaimRow {
    pub(crate) claim: Vec<u8>,
    pub(crate) event: Id,
    pub(crate) expires_at: i64,
}

/// An entry of a plugin's state.
#[derive(Debug)]
pub(crate) struct EntryRow {
    pub(crate) plugin: String,
    pub(crate) name: Vec<u8>,
    pub(crate) version: i64,
    pub(crate) value: Vec<u8>,
    pub(crate) expires_at: Option<i64>,
}

/// A plugin that anything was ever routed to, or that has state.
#[derive(Debug)]
pub(crate) struct PluginRow {
    pub(crate) name: String,
    pub(crate) state_bytes: i64,
}

/// Something that is paused.
#[derive(Debug)]
pub(crate) struct PauseRow {
    pub(crate) kind: String,
    pub(crate) name: String,
    pub(crate) since: i64,
    pub(crate) by: Vec<u8>,
    pub(crate) why: Option<Vec<u8>>,
}

/// A source that is held, or was and has deliveries aside still.
#[derive(Debug)]
pub(crate) struct HoldRow {
    pub(crate) origin: String,
    pub(crate) lifted_at: Option<i64>,
}

/// Something that was noticed.
#[derive(Debug)]
pub(crate) struct NoticeRow {
    pub(crate) name: Vec<u8>,
    pub(crate) raised_at: i64,
    pub(crate) cleared_at: Option<i64>,
    pub(crate) event: Id,
    pub(crate) body: Vec<u8>,
}

/// A row as bytes, which are the same on both sides if the rows are.
pub(crate) trait Row {
    /// Puts all its fields.
    fn put(&self, fields: &mut Fields);
}

/// The fields of a row, one after another. None can run into the next: numbers have eight bytes, others their length in
/// front.
#[derive(Debug, Default)]
pub(crate) struct Fields(Vec<u8>);

impl Fields {
    /// Of a row alone.
    pub(crate) fn of(&mut self, row: &impl Row) -> &[u8] {
        self.0.clear();
        row.put(self);
        &self.0
    }

    /// All that were put.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    pub(crate) fn numbers(&mut self, numbers: &[i64]) {
        numbers.iter().for_each(|number| self.0.extend_from_slice(&number.to_le_bytes()));
    }

    pub(crate) fn blobs(&mut self, blobs: &[&[u8]]) {
        blobs.iter().for_each(|blob| put(&mut self.0, blob));
    }

    fn numbers_if_any(&mut self, numbers: &[Option<i64>]) {
        for number in numbers {
            self.0.push(u8::from(number.is_some()));
            self.numbers(number.as_slice());
        }
    }

    fn blobs_if_any(&mut self, blobs: &[Option<&[u8]>]) {
        for blob in blobs {
            self.0.push(u8::from(blob.is_some()));
            self.blobs(blob.as_slice());
        }
    }
}

impl Row for EventRow {
    fn put(&self, fields: &mut Fields) {
        let Self { seq, id, origin, event_type, received_at, committed_at, hops, .. } = self;
        let Self { from, claims, envelope, body, .. } = self;
        let [parent, root] = [0, 1].map(|nth| from.as_ref().map(|ids| &ids[nth][..]));
        fields.numbers(&[*seq, *received_at, *committed_at, *hops]);
        fields.blobs(&[id, origin.as_bytes(), event_type.as_bytes()]);
        fields.blobs_if_any(&[parent, root]);
        fields.blobs(&[claims, envelope, body]);
    }
}

impl Row for DeliveryRow {
    fn put(&self, fields: &mut Fields) {
        let Self { event, ordinal, seq, origin, plugin, due_at, leased, turn, leased_at, .. } =
            self;
        let Self { attempts, lost_leases, excused, settled_at, dead, order_key, place, .. } = self;
        let Self { standing, replayed_at, discarded_at, held, let_go_at, .. } = self;
        let leased = i64::from(*leased);
        fields.blobs(&[event, origin.as_bytes(), plugin.as_bytes()]);
        fields.numbers(&[*ordinal, *seq, *due_at, leased, *turn]);
        fields.numbers(&[*attempts, *lost_leases, *excused, *dead]);
        fields.numbers_if_any(&[*leased_at, *settled_at, *place, *standing]);
        fields.numbers_if_any(&[*replayed_at, *discarded_at, *let_go_at]);
        fields.blobs_if_any(&[order_key.as_deref(), held.as_deref().map(str::as_bytes)]);
    }
}

impl Row for AttemptRow {
    fn put(&self, fields: &mut Fields) {
        let Self { event, ordinal, number, started_at, ended_at, outcome, .. } = self;
        let Self { message, version, wall_us, cpu_us, logs, .. } = self;
        fields.blobs(&[event, outcome.as_bytes()]);
        fields.numbers(&[*ordinal, *number, *started_at, *ended_at, *wall_us, *cpu_us]);
        fields.blobs_if_any(&[message.as_deref(), version.as_deref(), logs.as_deref()]);
    }
}

impl Row for ExchangesRow {
    fn put(&self, fields: &mut Fields) {
        let Self { event, ordinal, number, kept, left_out, content } = self;
        fields.numbers(&[*ordinal, *number, *kept, *left_out]);
        fields.blobs(&[event, content]);
    }
}

impl Row for DuplicatesRow {
    fn put(&self, fields: &mut Fields) {
        let Self { event, count, last_at } = self;
        fields.numbers(&[*count, *last_at]);
        fields.blobs(&[event]);
    }
}

impl Row for ClaimRow {
    fn put(&self, fields: &mut Fields) {
        let Self { claim, event, expires_at } = self;
        fields.numbers(&[*expires_at]);
        fields.blobs(&[claim, event]);
    }
}

impl Row for EntryRow {
    fn put(&self, fields: &mut Fields) {
        let Self { plugin, name, version, value, expires_at } = self;
        fields.numbers(&[*version]);
        fields.numbers_if_any(&[*expires_at]);
        fields.blobs(&[plugin.as_bytes(), name, value]);
    }
}

impl Row for PluginRow {
    fn put(&self, fields: &mut Fields) {
        fields.numbers(&[self.state_bytes]);
        fields.blobs(&[self.name.as_bytes()]);
    }
}

impl Row for PauseRow {
    fn put(&self, fields: &mut Fields) {
        let Self { kind, name, since, by, why } = self;
        fields.numbers(&[*since]);
        fields.blobs(&[kind.as_bytes(), name.as_bytes(), by]);
        fields.blobs_if_any(&[why.as_deref()]);
    }
}

impl Row for HoldRow {
    fn put(&self, fields: &mut Fields) {
        fields.blobs(&[self.origin.as_bytes()]);
        fields.numbers_if_any(&[self.lifted_at]);
    }
}

impl Row for NoticeRow {
    fn put(&self, fields: &mut Fields) {
        let Self { name, raised_at, cleared_at, event, body } = self;
        fields.numbers(&[*raised_at]);
        fields.numbers_if_any(&[*cleared_at]);
        fields.blobs(&[name, event, body]);
    }
}
