//! The compiler process: untrusted plugin bytes in, machine code out, nothing else in reach. Its
//! primary believes none of what it says beyond "here is a memfd".

mod module;

use std::os::fd::OwnedFd;
use std::sync::atomic::AtomicU64;

use anyhow::{Context, Result, bail, ensure};
use nix::sys::resource::{Resource, getrlimit};

use crate::ipc::channel::Channel;
use crate::ipc::message::{FromCompiler, ToCompiler, brief};
use crate::sandbox::{self, Role, Walls};
use crate::{engine, sys};

const WASM_MAGIC: &[u8; 4] = b"\0asm";
/// The layer field of the header: 0 is a core module, 1 a component.
const COMPONENT_LAYER: [u8; 2] = [1, 0];

pub fn run(walls: Walls) -> Result<()> {
    sandbox::fds::only_the_declared()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(async {
        let channel: Channel<FromCompiler, ToCompiler> =
            Channel::new(sys::adopt_fd(sys::CHANNEL_FD)?)?;
        let (order, fds) = channel.recv().await?.context("primary is gone")?;
        let done = walled_in(walls).and_then(|()| obey(order, fds));
        // An answer may be too large for a frame, as what a plugin calls its imports may be.
        let told = done.and_then(|(answer, fds)| channel.post(&answer, fds));
        if let Err(error) = told {
            channel.post(&FromCompiler::Failed(brief(&error)), vec![])?;
        }
        channel.flush().await
    })
}

fn walled_in(walls: Walls) -> Result<()> {
    static DIED_BY: AtomicU64 = AtomicU64::new(0);
    sys::walls::note_fatal_signals(&DIED_BY)?;
    sandbox::seal(sandbox::enter(Role::Compiler, walls, &[])?)?;
    Ok(())
}

fn obey(order: ToCompiler, fds: Vec<OwnedFd>) -> Result<(FromCompiler, Vec<OwnedFd>)> {
    match order {
        ToCompiler::Compile => Ok((FromCompiler::Done, vec![compile(fds)?])),
        ToCompiler::Describe => Ok((describe(fds)?, vec![])),
    }
}

fn compile(mut fds: Vec<OwnedFd>) -> Result<OwnedFd> {
    let input = fds.pop().context("no plugin came with the order")?;
    let bytes = sys::FileMap::sealed(&input)?;
    let component = to_component(&bytes)?;
    let artifact = engine::compile(&component)?;
    let (most, _) = getrlimit(Resource::RLIMIT_FSIZE).context("read limit")?;
    ensure!(artifact.len() as u64 <= most, "its machine code is larger than {most} bytes");
    let fd = sys::memfd("host-artifact")?;
    let mut rest = &artifact[..];
    while !rest.is_empty() {
        let written = nix::unistd::write(&fd, rest).context("write artifact")?;
        rest = &rest[written..];
    }
    Ok(fd)
}

/// The names at the component's surface; what it holds inside has names of its own.
fn describe(mut fds: Vec<OwnedFd>) -> Result<FromCompiler> {
    use wasmparser::Payload;
    let input = fds.pop().context("no plugin came with the order")?;
    let component = to_component(&sys::FileMap::sealed(&input)?)?;
    // Valid in every respect a compiler would find fault with, at a fraction of its time.
    wasmparser::Validator::new_with_features(wasmparser::WasmFeatures::all())
        .validate_all(&component)
        .context("validate component")?;
    let (mut exports, mut imports) = (Vec::new(), Vec::new());
    let mut depth = 0u32;
    for payload in wasmparser::Parser::new(0).parse_all(&component) {
        match payload.context("parse component")? {
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(all) if depth == 0 => {
                for import in all {
                    imports.push(import.context("parse import")?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(all) if depth == 0 => {
                for export in all {
                    exports.push(export.context("parse export")?.name.name.to_owned());
                }
            }
            _ => {}
        }
    }
    Ok(FromCompiler::Described { exports, imports })
}

/// Binary or text, component or wrapped core module.
fn to_component(bytes: &[u8]) -> Result<Vec<u8>> {
    let binary = match bytes.starts_with(WASM_MAGIC) {
        true => bytes.to_vec(),
        false => text_to_binary(bytes)?,
    };
    ensure!(binary.len() >= 8, "not a WebAssembly file: it ends inside its header");
    if binary[6..8] == COMPONENT_LAYER {
        return Ok(binary);
    }
    wrap_module(&binary)
}

fn text_to_binary(bytes: &[u8]) -> Result<Vec<u8>> {
    let Ok(text) = std::str::from_utf8(bytes) else {
        bail!("not a WebAssembly file: neither binary nor text");
    };
    ensure!(
        text.trim_start().starts_with(['(', ';']),
        "not a WebAssembly file: neither binary nor text"
    );
    wat::parse_str(text).context("parse text format")
}

/// A core module that says what component it is, by the metadata its bindings left in it.
fn wrap_module(module: &[u8]) -> Result<Vec<u8>> {
    let has_metadata = wasmparser::Parser::new(0).parse_all(module).any(|payload| {
        matches!(payload, Ok(wasmparser::Payload::CustomSection(section))
            if section.name().starts_with("component-type"))
    });
    ensure!(
        has_metadata,
        "a core module without component type metadata; {}",
        module::remedy(module)
    );
    let adapter = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_REACTOR_ADAPTER;
    let name = wasi_preview1_component_adapter_provider::WASI_SNAPSHOT_PREVIEW1_ADAPTER_NAME;
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(module)
        .and_then(|encoder| encoder.adapter(name, adapter))
        .and_then(|mut encoder| encoder.encode())
        .context("wrap core module as a component")
}
