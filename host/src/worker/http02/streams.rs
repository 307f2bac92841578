//! The calls of `input-stream` and `output-stream` that never wait.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};

use anyhow::Result;
use bytes::Bytes;
use wasmtime::component::{Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::io::streams::StreamError;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, StreamResult};

use super::{Ctx, STREAMS, host_type};
use crate::worker::state::State;

pub fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    let mut streams = linker.instance(STREAMS)?;
    streams.resource("input-stream", host_type::<DynInputStream>(), drop_input)?;
    streams.func_wrap("[method]input-stream.read", read)?;
    streams.resource("output-stream", host_type::<DynOutputStream>(), drop_output)?;
    streams.func_wrap("[method]output-stream.check-write", check_write)?;
    streams.func_wrap("[method]output-stream.write", write)?;
    streams.func_wrap("[method]output-stream.flush", flush)?;
    Ok(())
}

type Output = Resource<DynOutputStream>;

fn check_write(
    mut store: Ctx<'_>,
    (this,): (Output,),
) -> wasmtime::Result<(Result<u64, StreamError>,)> {
    let table = &mut store.data_mut().table;
    let permit = table.get_mut(&this)?.check_write();
    Ok((answer(table, permit.map(|permit| permit as u64))?,))
}

fn write(
    mut store: Ctx<'_>,
    (this, bytes): (Output, Vec<u8>),
) -> wasmtime::Result<(Result<(), StreamError>,)> {
    let table = &mut store.data_mut().table;
    let written = table.get_mut(&this)?.write(bytes.into());
    Ok((answer(table, written)?,))
}

fn flush(mut store: Ctx<'_>, (this,): (Output,)) -> wasmtime::Result<(Result<(), StreamError>,)> {
    let table = &mut store.data_mut().table;
    let flushed = table.get_mut(&this)?.flush();
    Ok((answer(table, flushed)?,))
}

type Read = Result<Bytes, StreamError>;

fn read(
    mut store: Ctx<'_>,
    (this, most): (Resource<DynInputStream>, u64),
) -> wasmtime::Result<(Read,)> {
    let table = &mut store.data_mut().table;
    let most = usize::try_from(most).unwrap_or(usize::MAX);
    let bytes = table.get_mut(&this)?.read(most);
    Ok((answer(table, bytes)?,))
}

fn answer<T>(
    table: &mut ResourceTable,
    result: StreamResult<T>,
) -> wasmtime::Result<Result<T, StreamError>> {
    use wasmtime_wasi::p2::StreamError as Error;
    match result {
        Ok(value) => Ok(Ok(value)),
        Err(Error::Closed) => Ok(Err(StreamError::Closed)),
        Err(Error::LastOperationFailed(error)) => {
            Ok(Err(StreamError::LastOperationFailed(table.push(error)?)))
        }
        Err(Error::Trap(error)) => Err(error),
    }
}

fn drop_input(mut store: Ctx<'_>, rep: u32) -> wasmtime::Result<()> {
    let mut stream = store.data_mut().table.delete(Resource::<DynInputStream>::new_own(rep))?;
    in_background(Box::pin(async move { stream.cancel().await }));
    Ok(())
}

fn drop_output(mut store: Ctx<'_>, rep: u32) -> wasmtime::Result<()> {
    let mut stream = store.data_mut().table.delete(Resource::<DynOutputStream>::new_own(rep))?;
    in_background(Box::pin(async move { stream.cancel().await }));
    Ok(())
}

/// Most streams have nothing under way that would have to end first.
fn in_background(mut cancel: Pin<Box<dyn Future<Output = ()> + Send>>) {
    if cancel.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending() {
        tokio::spawn(cancel);
    }
}
