//! The wasmtime engine, configured once for the compiler (which makes artifacts) and the worker
//! (which loads them): both must agree on everything that reaches machine code.
//!
//! There are two flavors. A plugin that uses no component-model async (every wasi:http 0.2 plugin)
//! gets an engine without concurrency support: its calls run directly on a fiber instead of through
//! wasmtime's task scheduler, which is most of the cost of a small request. The artifact's last
//! byte names its flavor.

use anyhow::{Context, Result, ensure};
use wasmparser::{Parser, Validator, WasmFeatures};
use wasmtime::{Config, Enabled, Engine, PoolingAllocationConfig};

/// Only these two; the byte is what an artifact ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Flavor {
    Sequential = b'S',
    Concurrent = b'C',
}

/// What the pool of a worker reserves address space for.
#[derive(Clone, Copy, Debug)]
pub struct EngineLimits {
    pub max_instances: u32,
    /// Of plugin code, in bytes.
    pub max_stack: u32,
}

/// What calls of the host may take of the same stack.
pub const HOST_STACK: usize = 3 << 19;

/// A component is a handful of core instances, its module and the shims its tools put around it; one in Python
/// is fourteen.
const CORE_INSTANCES_PER_COMPONENT: u32 = 20;
const MEMORIES_PER_COMPONENT: u32 = 2;
const TABLES_PER_COMPONENT: u32 = 4;

/// Kept resident between two instances, the measured best for a fresh instance per request. Where
/// the kernel can say which pages were written, only those are restored, in place; else the first
/// bytes of a memory are, whether written or not, and more would cost more than the page faults.
const KEEP_WRITTEN: usize = 512 << 10;
const KEEP_MEMORY: usize = 64 << 10;
const KEEP_TABLE: usize = 4 << 10;
const KEEP_STACK: usize = 8 << 10;

impl Flavor {
    /// Reads the structure only, no function body; a broken component is left to the compiler.
    pub fn of(wasm: &[u8]) -> Flavor {
        match uses_no_async(wasm) {
            true => Flavor::Sequential,
            false => Flavor::Concurrent,
        }
    }

    fn of_artifact(artifact: &[u8]) -> Result<Flavor> {
        match artifact.last() {
            Some(b'S') => Ok(Flavor::Sequential),
            Some(b'C') => Ok(Flavor::Concurrent),
            _ => anyhow::bail!("not an artifact of this version"),
        }
    }
}

fn uses_no_async(wasm: &[u8]) -> bool {
    let mut features = WasmFeatures::all();
    features.remove(WasmFeatures::CM_ASYNC);
    let mut validator = Validator::new_with_features(features);
    Parser::new(0)
        .parse_all(wasm)
        .all(|payload| payload.is_ok_and(|payload| validator.payload(&payload).is_ok()))
}

/// Always, but in the build that bench/ compares with.
pub const LIMITS: bool = cfg!(not(feature = "without-limits"));

/// The part of the configuration that machine code depends on.
pub fn config(flavor: Flavor) -> Config {
    let mut config = Config::new();
    config
        .epoch_interruption(LIMITS)
        .wasm_component_model(true)
        .concurrency_support(flavor == Flavor::Concurrent)
        .native_unwind_info(false)
        .generate_address_map(false);
    if flavor == Flavor::Concurrent {
        config.wasm_component_model_async(true);
    }
    config
}

/// Bytes of a component in, artifact out.
pub fn compile(wasm: &[u8]) -> Result<Vec<u8>> {
    let flavor = Flavor::of(wasm);
    let engine =
        Engine::new(&config(flavor)).map_err(anyhow::Error::from).context("set up the compiler")?;
    let mut artifact = engine.precompile_component(wasm)?;
    artifact.push(flavor as u8);
    Ok(artifact)
}

/// The worker's engine for this artifact: instances come from a pool, or are made on demand where
/// the address space for the pool cannot be reserved.
pub fn for_artifact(artifact: &[u8], limits: &EngineLimits) -> Result<Engine> {
    ensure!(limits.max_instances > 0, "a worker needs room for one instance");
    let flavor = Flavor::of_artifact(artifact)?;
    let stack = limits.max_stack as usize;
    let config = || {
        let mut config = config(flavor);
        config.max_wasm_stack(stack).async_stack_size(stack + HOST_STACK);
        config
    };
    for page_map in [Enabled::Yes, Enabled::No] {
        let mut pooled = config();
        pooled.allocation_strategy(pool(limits.max_instances, page_map));
        if let Ok(engine) = Engine::new(&pooled) {
            return Ok(engine);
        }
    }
    Ok(Engine::new(&config())?)
}

/// For a process that runs one instance, once: made on demand, as nothing is there to be reused.
pub fn for_program(artifact: &[u8]) -> Result<Engine> {
    Ok(Engine::new(&config(Flavor::of_artifact(artifact)?))?)
}

/// Has wasmtime open this process's own page map, which it keeps from then on: behind the walls
/// nothing can be opened. Where the kernel has none to offer, pools do without.
pub fn open_page_map() {
    let mut pooled = Config::new();
    pooled.allocation_strategy(pool(1, Enabled::Yes));
    let _ = Engine::new(&pooled);
}

fn pool(n: u32, page_map: Enabled) -> PoolingAllocationConfig {
    let keep_memory = if page_map == Enabled::Yes { KEEP_WRITTEN } else { KEEP_MEMORY };
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(n)
        .total_core_instances(n.saturating_mul(CORE_INSTANCES_PER_COMPONENT))
        .total_memories(n.saturating_mul(MEMORIES_PER_COMPONENT))
        .total_tables(n.saturating_mul(TABLES_PER_COMPONENT))
        .total_stacks(n.saturating_add(16))
        .max_tables_per_module(8)
        .max_memories_per_module(4)
        .table_elements(100_000)
        .max_core_instance_size(16 << 20)
        .max_component_instance_size(16 << 20)
        .linear_memory_keep_resident(keep_memory)
        .pagemap_scan(page_map)
        .table_keep_resident(KEEP_TABLE)
        .async_stack_keep_resident(KEEP_STACK)
        .max_unused_warm_slots(n);
    pool
}
