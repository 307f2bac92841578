//! What the compiler process does for commands that end when it is done.

use std::future::Future;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};

use super::compile::{Compiler, DEADLINE};
use super::output::{Output, Writer};
use crate::sandbox::probe;
use crate::{event_loop, sys};

/// `host compile`: leaves the artifact in a file, whole or not at all, and says how large it is.
pub fn compile(plugin: &Path, output: &Path) -> Result<usize> {
    with_compiler(async |compiler| {
        let artifact = compiler.artifact(plugin).await?;
        let bytes = sys::FileMap::sealed(&artifact.fd)?;
        let temporary = output.with_extension(format!("{}.tmp", std::process::id()));
        let write = || -> std::io::Result<usize> {
            let mut file = std::fs::OpenOptions::new()
                .write(true)
                .create_new(true)
                .mode(0o644)
                .open(&temporary)?;
            file.write_all(&bytes)?;
            std::fs::rename(&temporary, output)?;
            Ok(bytes.len())
        };
        write()
            .inspect_err(|_| drop(std::fs::remove_file(&temporary)))
            .with_context(|| format!("write {}", output.display()))
    })
}

/// What a valid plugin exports and imports.
pub fn describe(plugin: &Path) -> Result<(Vec<String>, Vec<String>)> {
    with_compiler(async |compiler| compiler.describe(plugin).await)
}

fn with_compiler<T>(work: impl AsyncFnOnce(&Compiler) -> Result<T>) -> Result<T> {
    probe::decide(false).context("sandbox")?;
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = event_loop::build(&mut builder)?;
    let (output, writer) = Output::start().context("start output")?;
    let compiler = Compiler { cache: None, output, deadline: DEADLINE };
    let result = runtime.block_on(boxed(work(&compiler)));
    drop((compiler, runtime));
    Writer::finish(writer);
    result
}

fn boxed<'a, T>(
    future: impl Future<Output = T> + 'a,
) -> std::pin::Pin<Box<dyn Future<Output = T> + 'a>> {
    Box::pin(future)
}
