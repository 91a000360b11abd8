//! Who may start how much: slots and rates for each plugin, and the pool that all share.
//!
//! Fair between plugins: what is free is dealt in equal shares, so a plugin with a long queue takes
//! what others leave and never what they need. Plain data; the driver hands in the time.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use hookweir_event::PluginName;
use hookweir_store::Want;

use super::bucket::Bucket;
use crate::live::Live;

/// What runs now, and what may.
#[derive(Debug)]
pub(super) struct Slots {
    /// Attempts at the same time, over all plugins.
    pool: usize,
    /// Memory that running attempts may have been granted, in bytes.
    memory: u64,
    running: usize,
    granted: u64,
    plugins: BTreeMap<PluginName, PluginSlots>,
}

#[derive(Debug)]
struct PluginSlots {
    running: usize,
    bucket: Bucket,
}

/// What to ask the store for, and when to ask again even if nothing happens.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// At least one of each.
    pub(super) wants: Vec<Want>,
    /// When a rate that holds somebody back lets the next one through.
    pub(super) refill: Option<Duration>,
}

impl Slots {
    pub(super) fn new(pool: usize, memory: u64) -> Self {
        Self { pool, memory, running: 0, granted: 0, plugins: BTreeMap::new() }
    }

    /// Deals what is free to the plugins that can run.
    pub(super) fn plan(&mut self, live: &Live, now: Instant) -> Plan {
        let mut plan = Plan::default();
        let mut rooms = Vec::new();
        for (name, plugin) in live.plugins().iter().filter(|(_, plugin)| plugin.version.is_some()) {
            let rate = plugin.policy.rate;
            let slots = self.plugins.entry(name.clone());
            let slots =
                slots.or_insert_with(|| PluginSlots { running: 0, bucket: Bucket::new(rate, now) });
            if slots.bucket.rate() != rate {
                slots.bucket = Bucket::new(rate, now);
            }
            let tokens = slots.bucket.available(now);
            let concurrency = usize::try_from(plugin.policy.concurrency).unwrap_or(usize::MAX);
            let room = concurrency.saturating_sub(slots.running).min(tokens);
            if tokens == 0 {
                plan.refill = [plan.refill, slots.bucket.wait()].into_iter().flatten().min();
            }
            if room > 0 {
                rooms.push((name, room, plugin.memory.max(1)));
            }
        }
        self.deal(rooms, &mut plan);
        plan
    }

    /// Equal shares of the pool and of the memory. One attempt may always run, however much memory
    /// it wants: a budget that is too small slows a plugin, it does not stop it.
    fn deal(&self, rooms: Vec<(&PluginName, usize, u64)>, plan: &mut Plan) {
        let mut slots = self.pool.saturating_sub(self.running);
        let mut memory = self.memory.saturating_sub(self.granted);
        let mut left = rooms.len();
        let mut rooms = rooms;
        // Whoever can take least is dealt first, so that what it leaves goes to the others.
        rooms.sort_by_key(|(_, room, _)| *room);
        for (name, room, each) in rooms {
            let share = slots.div_ceil(left);
            let by_memory = usize::try_from(memory / left as u64 / each).unwrap_or(usize::MAX);
            let by_memory = if self.running == 0 { by_memory.max(1) } else { by_memory };
            let max = room.min(share).min(by_memory);
            left -= 1;
            slots -= max.min(slots);
            memory = memory.saturating_sub(each.saturating_mul(max as u64));
            if max > 0 {
                plan.wants.push(Want { plugin: name.clone(), max });
            }
        }
    }

    /// An attempt starts.
    pub(super) fn start(&mut self, plugin: &PluginName, memory: u64) {
        self.running += 1;
        self.granted += memory;
        if let Some(slots) = self.plugins.get_mut(plugin) {
            slots.running += 1;
            slots.bucket.take(1);
        }
    }

    /// An attempt has ended.
    pub(super) fn end(&mut self, plugin: &PluginName, memory: u64) {
        self.running = self.running.saturating_sub(1);
        self.granted = self.granted.saturating_sub(memory);
        if let Some(slots) = self.plugins.get_mut(plugin) {
            slots.running = slots.running.saturating_sub(1);
        }
    }

    pub(super) fn running(&self) -> usize {
        self.running
    }
}
