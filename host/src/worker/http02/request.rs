//! `incoming-request`. Headers and body become resources only for a plugin that asks for them.

use anyhow::Result;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, Uri, header};
use http_body_util::BodyExt;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi_http::p2::bindings::http::types;
use wasmtime_wasi_http::p2::body::HostIncomingBody;
use wasmtime_wasi_http::{FieldMap, WasiHttpView};

use super::{Ctx, TYPES, forget, host_type};
use crate::worker::body::RequestBody;
use crate::worker::state::State;

pub struct IncomingRequest {
    method: Method,
    uri: Uri,
    /// What `host` said, which plugins do not see among the headers.
    host: Option<HeaderValue>,
    headers: Headers,
    body: Option<RequestBody>,
}

enum Headers {
    Received(HeaderMap),
    Seen(FieldMap),
}

impl IncomingRequest {
    /// None where `host` is not text.
    pub fn new(request: Request<RequestBody>) -> Option<IncomingRequest> {
        let (Parts { method, uri, headers, .. }, body) = request.into_parts();
        let host = headers.get(header::HOST).cloned();
        if uri.authority().is_none() {
            host.as_ref()?.to_str().ok()?;
        }
        Some(IncomingRequest {
            method,
            uri,
            host,
            headers: Headers::Received(headers),
            body: Some(body),
        })
    }

    fn authority(&self) -> Option<String> {
        match self.uri.authority() {
            Some(authority) => Some(authority.to_string()),
            None => Some(self.host.as_ref()?.to_str().ok()?.to_owned()),
        }
    }
}

pub fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    let mut types = linker.instance(TYPES)?;
    types.resource(
        "incoming-request",
        host_type::<IncomingRequest>(),
        forget::<IncomingRequest>,
    )?;
    types.func_wrap("[method]incoming-request.method", method)?;
    types.func_wrap("[method]incoming-request.path-with-query", path_with_query)?;
    types.func_wrap("[method]incoming-request.scheme", scheme)?;
    types.func_wrap("[method]incoming-request.authority", authority)?;
    types.func_wrap("[method]incoming-request.headers", headers)?;
    types.func_wrap("[method]incoming-request.consume", consume)?;
    Ok(())
}

type This = (Resource<IncomingRequest>,);

fn method(mut store: Ctx<'_>, (this,): This) -> wasmtime::Result<(types::Method,)> {
    let method = store.data_mut().table.get(&this)?.method.clone();
    Ok((method.into(),))
}

fn path_with_query(mut store: Ctx<'_>, (this,): This) -> wasmtime::Result<(Option<String>,)> {
    let request = store.data_mut().table.get(&this)?;
    Ok((request.uri.path_and_query().map(|path| path.as_str().to_owned()),))
}

fn scheme(_: Ctx<'_>, (_,): This) -> wasmtime::Result<(Option<types::Scheme>,)> {
    Ok((Some(types::Scheme::Http),))
}

fn authority(mut store: Ctx<'_>, (this,): This) -> wasmtime::Result<(Option<String>,)> {
    Ok((store.data_mut().table.get(&this)?.authority(),))
}

fn headers(mut store: Ctx<'_>, (this,): This) -> wasmtime::Result<(Resource<FieldMap>,)> {
    let http = store.data_mut().http();
    let request = http.table.get_mut(&this)?;
    let fields = match &mut request.headers {
        Headers::Seen(fields) => fields.clone(),
        Headers::Received(headers) => {
            let fields = FieldMap::new_immutable(http.hooks, std::mem::take(headers));
            request.headers = Headers::Seen(fields.clone());
            fields
        }
    };
    Ok((http.table.push(fields)?,))
}

type Consumed = Result<Resource<HostIncomingBody>, ()>;

fn consume(mut store: Ctx<'_>, (this,): This) -> wasmtime::Result<(Consumed,)> {
    let table = &mut store.data_mut().table;
    let Some(body) = table.get_mut(&this)?.body.take() else { return Ok((Err(()),)) };
    let body = HostIncomingBody::new(body.boxed_unsync());
    Ok((Ok(table.push(body)?),))
}
