//! The engine's configuration, with a reason for each number.
//!
//! One engine per process (RUSTSEC-2026-0222: types were mixed up between engines). Instances come
//! from a pool; where the address space is too small for one, each is allocated on demand, slower.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use wasmtime::{
    Cache, CacheConfig, Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel,
    PoolingAllocationConfig,
};

use crate::{
    HostError, Settings,
    settings::{CORE_INSTANCES_MAX, TABLE_MAX},
};

/// Instances kept free for trying new versions, so that a reload never competes with events.
pub(crate) const CANARIES: u32 = 4;

/// What one component may consist of. A Rust plugin is three core instances with one memory, a Go or
/// JavaScript one five, Python with its libraries some twenty.
const MEMORIES: u32 = 4;
const TABLES: u32 = 8;

/// A memory's address space without a pool: the default memory limit.
const ON_DEMAND_RESERVATION: u64 = 64 << 20;

/// What host functions need of the stack above the guest's. Overflow there aborts the process, so they
/// get three times what a guest has by default.
const HOST_STACK: usize = 1536 << 10;

/// Starts an engine: pooled if the address space allows it.
pub(crate) fn start(settings: &Settings) -> Result<Engine, HostError> {
    let cache = settings.cache.as_deref().map(open_cache).transpose()?;
    let mut config = base(settings, cache);
    config.allocation_strategy(pool(settings)?);
    match Engine::new(&config) {
        Ok(engine) => Ok(engine),
        Err(error) => {
            tracing::warn!(
                error = format!("{error:#}"),
                "no pool of plugin instances, each is allocated on demand; is the address space limited (ulimit -v)?"
            );
            config.allocation_strategy(InstanceAllocationStrategy::OnDemand);
            // Instead of 4 GiB for each memory; they move when they grow beyond.
            config.memory_reservation(ON_DEMAND_RESERVATION);
            Engine::new(&config).map_err(|error| HostError::Engine(format!("{error:#}")))
        }
    }
}

fn base(settings: &Settings, cache: Option<Cache>) -> Config {
    let mut config = Config::new();
    config
        // Compiled once per file, run for every event.
        .cranelift_opt_level(OptLevel::Speed)
        // CPU limits and fairness; fuel costs two to three times as much.
        .epoch_interruption(true)
        // WASI 0.3's concurrency is not for production yet in this line of wasmtime.
        .concurrency_support(false)
        // Bounds checks of 64-bit memories are slow and no toolchain needs them.
        .wasm_memory64(false)
        // The same result on every machine.
        .relaxed_simd_deterministic(true)
        .max_wasm_stack(settings.stack)
        .async_stack_size(settings.stack.saturating_add(HOST_STACK))
        // A stack may be used by another plugin next, and no fault of the compiler may show it what lies
        // there: wasmtime's own default is not to. It costs 2 to 10 µs a call.
        .async_stack_zeroing(true)
        // The default too. Without it a call of a guest with more data took 56 µs in place of 35.
        .memory_init_cow(true)
        // Registration is quadratic on some platforms, and our traps don't need it.
        .native_unwind_info(false)
        .cache(cache);
    config
}

fn pool(settings: &Settings) -> Result<InstanceAllocationStrategy, HostError> {
    let memory = usize::try_from(settings.memory_max)
        .map_err(|_| HostError::Engine("memory_max is larger than the address space".into()))?;
    let Settings { instances, api_instances, verifier_instances, warm_instances, .. } = *settings;
    let instances = [api_instances, verifier_instances, warm_instances, CANARIES]
        .into_iter()
        .fold(instances, u32::saturating_add);
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        // Enough for as many components as may run, each as large as it may be, so that none can take
        // what another needs. It costs address space, of which there is plenty: 3 TiB by default.
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES_MAX))
        .total_memories(instances.saturating_mul(MEMORIES))
        .total_tables(instances.saturating_mul(TABLES))
        .total_stacks(instances)
        .max_core_instances_per_component(CORE_INSTANCES_MAX)
        .max_memories_per_component(MEMORIES)
        .max_tables_per_component(TABLES)
        .max_memories_per_module(MEMORIES)
        .max_tables_per_module(TABLES)
        // The default 20,000 is short.
        .table_elements(TABLE_MAX)
        // Their descriptions are large too; the default is 1 MiB.
        .max_component_instance_size(10 << 20)
        .max_core_instance_size(10 << 20)
        .max_memory_size(memory)
        // A warm slot costs what it keeps resident.
        .max_unused_warm_slots(instances)
        // What is left of stacks is given back to the system for so many at a time. Two threads that do it each
        // for itself make the kernel flush the other's whole TLB, even if nothing was there to give back: on two
        // cores of an Intel machine 90,000 fresh calls/s with each alone, 120,000 with 8, 138,000 with 32 (one
        // thread: 86,000, whatever the number). A slot that waits for it is taken when no other is left.
        .decommit_batch_size(32)
        // With the scan, only pages that were touched are reset, in place: 36 µs for a fresh instance
        // and a call where madvise takes 85 to 98 µs, and two threads do not fight for the page table.
        // 64, 128 and 512 KiB were the same for Rust plugins; a page that is kept is written anew after
        // every call from then on, so a slot must not keep all that its largest event touched.
        .linear_memory_keep_resident(128 << 10)
        .table_keep_resident(256 << 10)
        // What most calls touch of their stack; at none a call took 7 to 13 µs more.
        .async_stack_keep_resident(8 << 10)
        .pagemap_scan(Enabled::Auto);
    Ok(InstanceAllocationStrategy::Pooling(pool))
}

/// Compiled code is run as it lies there, so nobody else may write to the folder.
fn open_cache(path: &Path) -> Result<Cache, HostError> {
    let fault = |cause: String| HostError::Cache { path: path.to_owned(), cause };
    let absolute = private_folder(path).map_err(|error| fault(error.to_string()))?;
    let mut config = CacheConfig::new();
    config.with_directory(absolute);
    Cache::new(config).map_err(|error| fault(format!("{error:#}")))
}

fn private_folder(path: &Path) -> io::Result<PathBuf> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    {
        use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
        builder.mode(0o700).create(path)?;
        // It may have been there before.
        fs::set_permissions(path, fs::Permissions::from_mode(0o700))?;
    }
    #[cfg(not(unix))]
    builder.create(path)?;
    path.canonicalize()
}
