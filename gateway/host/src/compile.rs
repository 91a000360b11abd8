//! Compiling: on few threads with large stacks and low priority, with a deadline, and without taking
//! the process along if the compiler panics.
//!
//! The threads are a rayon pool, since wasmtime spreads one plugin's functions over the pool it is
//! called from. One plugin compiles at a time. A compiler that does not end in time can't be stopped:
//! its pool is left to it, and the next plugin gets a new one. What the worst of files takes is bounded
//! by its size and that of its functions (measured by the benchmark's part `compile`), which is why the
//! compiler has no process of its own.

use std::{
    any::Any,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Semaphore, oneshot};
use wasmtime::{Engine, component::Component};

use crate::{
    LoadFault, ModuleLimits,
    parse::{self, Inspection},
};

/// Compilers recurse over the code; on 2 MiB stacks hostile code has overflowed others' hosts.
const STACK: usize = 16 << 20;

pub(crate) struct Compiler {
    engine: Engine,
    threads: usize,
    turn: Semaphore,
    pool: Mutex<Arc<rayon::ThreadPool>>,
}

/// A component that can be linked.
pub(crate) struct Compiled {
    pub(crate) inspection: Inspection,
    pub(crate) component: Component,
}

impl Compiler {
    pub(crate) fn new(engine: Engine, threads: usize) -> io::Result<Self> {
        let pool = Mutex::new(Arc::new(pool(threads)?));
        Ok(Self { engine, threads, turn: Semaphore::new(1), pool })
    }

    /// Parses and compiles a file's bytes.
    pub(crate) async fn compile(
        &self,
        bytes: Vec<u8>,
        limits: &ModuleLimits,
    ) -> Result<Compiled, LoadFault> {
        let turn = self.turn.acquire().await;
        let _turn = turn.expect("invariant: the compiler's semaphore is never closed");
        let (answer, answered) = oneshot::channel();
        let (engine, limits) = (self.engine.clone(), limits.clone());
        let time_max = limits.compile_time;
        let pool = Arc::clone(&self.pool.lock().unwrap_or_else(PoisonError::into_inner));
        pool.spawn(move || {
            let result = catch_unwind(AssertUnwindSafe(|| compile(&engine, &bytes, &limits)));
            // Nobody waits any more if it came too late.
            let _ = answer.send(result.unwrap_or_else(|panic| Err(panicked(panic.as_ref()))));
        });
        match tokio::time::timeout(time_max, answered).await {
            Ok(result) => result.unwrap_or_else(|_| Err(panicked(&"its thread ended"))),
            Err(_) => {
                self.replace_pool();
                Err(LoadFault::CompileTime(time_max))
            }
        }
    }

    fn replace_pool(&self) {
        match pool(self.threads) {
            Ok(fresh) => {
                *self.pool.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(fresh);
            }
            Err(error) => tracing::error!(%error, "no threads to compile plugins with"),
        }
    }
}

fn compile(engine: &Engine, bytes: &[u8], limits: &ModuleLimits) -> Result<Compiled, LoadFault> {
    let parse::Parsed { inspection, component } = parse::parse(bytes, limits)?;
    let refused = |error: wasmtime::Error| LoadFault::Compile(format!("{error:#}"));
    let component = Component::from_binary(engine, &component).map_err(refused)?;
    // Else the first event would pay for it.
    component.initialize_copy_on_write_image().map_err(refused)?;
    Ok(Compiled { inspection, component })
}

fn panicked(panic: &(dyn Any + Send)) -> LoadFault {
    let words = panic.downcast_ref::<&str>().map(|words| (*words).to_owned());
    let words = words.or_else(|| panic.downcast_ref::<String>().cloned());
    LoadFault::Compile(format!("the compiler failed: {}", words.unwrap_or_default()))
}

fn pool(threads: usize) -> io::Result<rayon::ThreadPool> {
    rayon::ThreadPoolBuilder::new()
        .num_threads(threads.max(1))
        .stack_size(STACK)
        .thread_name(|n| format!("hookweir-compile-{n}"))
        .start_handler(|_| yield_to_others())
        .build()
        .map_err(io::Error::other)
}

/// Events come first. Linux has priorities per thread; elsewhere the number of threads must do.
fn yield_to_others() {
    #[cfg(target_os = "linux")]
    {
        const NICE: i32 = 10;
        if let Err(error) = rustix::process::setpriority_process(None, NICE) {
            tracing::debug!(%error, "compile threads keep their priority");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_told() {
        let fault = panicked(&String::from("index out of bounds"));
        assert_eq!(
            fault.to_string(),
            "it can't be compiled: the compiler failed: index out of bounds"
        );
    }
}
