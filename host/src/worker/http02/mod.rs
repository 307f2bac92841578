//! Those functions of `wasi:http/types@0.2` and `wasi:io/streams@0.2` that every request goes
//! through, in place of wasmtime's general ones: plain calls where nothing can wait, and own types
//! behind the resources. All the others, and the resources not named here, are wasmtime's.

mod outgoing;
mod pipe;
mod request;
mod streams;

use std::sync::{Arc, Mutex};

use anyhow::Result;
use http::Response;
use wasmtime::StoreContextMut;
use wasmtime::component::{Linker, Resource, ResourceType, TypedFunc};
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;

use super::state::State;

pub use pipe::{Reader, Rest};
pub use request::IncomingRequest;

type Ctx<'a> = StoreContextMut<'a, State>;

/// `wasi:http/incoming-handler.handle`.
pub type Handle = TypedFunc<(Resource<IncomingRequest>, Resource<Outparam>), ()>;

/// What the plugin answered; no body is an empty one.
pub type Answer = Result<Response<Option<Reader>>, ErrorCode>;

/// Where the plugin puts its answer: the `response-outparam`.
#[derive(Clone, Default)]
pub struct Outparam(Arc<Mutex<Option<Answer>>>);

impl Outparam {
    pub fn set(&self, answer: Answer) {
        *self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(answer);
    }

    pub fn take(&self) -> Option<Answer> {
        self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take()
    }
}

/// Must come after wasmtime's own.
pub fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    linker.allow_shadowing(true);
    request::add_to_linker(linker)?;
    outgoing::add_to_linker(linker)?;
    streams::add_to_linker(linker)?;
    linker.allow_shadowing(false);
    Ok(())
}

/// The names under which wasmtime provides these interfaces.
const TYPES: &str = "wasi:http/types@0.2.12";
const STREAMS: &str = "wasi:io/streams@0.2.12";

fn forget<T: Send + 'static>(mut store: Ctx<'_>, rep: u32) -> wasmtime::Result<()> {
    store.data_mut().table.delete(Resource::<T>::new_own(rep))?;
    Ok(())
}

fn host_type<T: 'static>() -> ResourceType {
    ResourceType::host::<T>()
}
