//! `outgoing-response`, `outgoing-body` and `response-outparam`, and the body of an
//! `outgoing-request`, which is of the same kind.

use anyhow::Result;
use http::{HeaderMap, Response, StatusCode, header};
use http_body_util::BodyExt;
use wasmtime::bail;
use wasmtime::component::{Linker, Resource};
use wasmtime_wasi::p2::DynOutputStream;
use wasmtime_wasi_http::FieldMap;
use wasmtime_wasi_http::p2::bindings::http::types::ErrorCode;
use wasmtime_wasi_http::p2::body::StreamContext;
use wasmtime_wasi_http::p2::types::HostOutgoingRequest;

use super::pipe::{OutgoingBody, Reader, pipe};
use super::{Ctx, Outparam, TYPES, forget, host_type};
use crate::worker::state::State;

pub struct OutgoingResponse {
    status: StatusCode,
    headers: FieldMap,
    body: Option<Reader>,
}

pub fn add_to_linker(linker: &mut Linker<State>) -> Result<()> {
    let mut types = linker.instance(TYPES)?;
    let response = host_type::<OutgoingResponse>();
    types.resource("outgoing-response", response, forget::<OutgoingResponse>)?;
    types.func_wrap("[constructor]outgoing-response", new_response)?;
    types.func_wrap("[method]outgoing-response.status-code", status_code)?;
    types.func_wrap("[method]outgoing-response.set-status-code", set_status_code)?;
    types.func_wrap("[method]outgoing-response.headers", headers)?;
    types.func_wrap("[method]outgoing-response.body", response_body)?;

    types.resource("outgoing-body", host_type::<OutgoingBody>(), abort)?;
    types.func_wrap("[method]outgoing-body.write", write)?;
    types.func_wrap("[static]outgoing-body.finish", finish)?;
    types.func_wrap("[method]outgoing-request.body", request_body)?;

    types.resource("response-outparam", host_type::<Outparam>(), forget::<Outparam>)?;
    types.func_wrap("[static]response-outparam.set", set)?;
    Ok(())
}

type This = (Resource<OutgoingResponse>,);

fn new_response(
    mut store: Ctx<'_>,
    (headers,): (Resource<FieldMap>,),
) -> wasmtime::Result<(Resource<OutgoingResponse>,)> {
    let table = &mut store.data_mut().table;
    let mut headers = table.delete(headers)?;
    headers.set_immutable();
    Ok((table.push(OutgoingResponse { status: StatusCode::OK, headers, body: None })?,))
}

fn status_code(mut store: Ctx<'_>, (this,): This) -> wasmtime::Result<(u16,)> {
    Ok((store.data_mut().table.get(&this)?.status.as_u16(),))
}

fn set_status_code(
    mut store: Ctx<'_>,
    (this, code): (Resource<OutgoingResponse>, u16),
) -> wasmtime::Result<(Result<(), ()>,)> {
    let response = store.data_mut().table.get_mut(&this)?;
    let code = StatusCode::from_u16(code).map_err(|_| ());
    Ok((code.map(|code| response.status = code),))
}

fn headers(mut store: Ctx<'_>, (this,): This) -> wasmtime::Result<(Resource<FieldMap>,)> {
    let table = &mut store.data_mut().table;
    let headers = table.get(&this)?.headers.clone();
    Ok((table.push(headers)?,))
}

type Body = Result<Resource<OutgoingBody>, ()>;

fn response_body(mut store: Ctx<'_>, (this,): This) -> wasmtime::Result<(Body,)> {
    let table = &mut store.data_mut().table;
    let response = table.get_mut(&this)?;
    let (None, Ok(length)) = (&response.body, content_length(&response.headers)) else {
        return Ok((Err(()),));
    };
    let (body, reader) = pipe(StreamContext::Response, length);
    response.body = Some(reader);
    Ok((Ok(table.push(body)?),))
}

fn request_body(
    mut store: Ctx<'_>,
    (this,): (Resource<HostOutgoingRequest>,),
) -> wasmtime::Result<(Body,)> {
    let table = &mut store.data_mut().table;
    let request = table.get_mut(&this)?;
    let (None, Ok(length)) = (&request.body, content_length(&request.headers)) else {
        return Ok((Err(()),));
    };
    let (body, reader) = pipe(StreamContext::Request, length);
    request.body = Some(reader.boxed_unsync());
    Ok((Ok(table.push(body)?),))
}

/// Fields hold digits only under this name, and one value.
fn content_length(headers: &HeaderMap) -> Result<Option<u64>, ()> {
    let Some(value) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    value.to_str().ok().and_then(|digits| digits.parse().ok()).map(Some).ok_or(())
}

fn write(
    mut store: Ctx<'_>,
    (this,): (Resource<OutgoingBody>,),
) -> wasmtime::Result<(Result<Resource<DynOutputStream>, ()>,)> {
    let table = &mut store.data_mut().table;
    match table.get_mut(&this)?.stream() {
        Some(stream) => Ok((Ok(table.push(stream)?),)),
        None => Ok((Err(()),)),
    }
}

fn finish(
    mut store: Ctx<'_>,
    (this, trailers): (Resource<OutgoingBody>, Option<Resource<FieldMap>>),
) -> wasmtime::Result<(Result<(), ErrorCode>,)> {
    let table = &mut store.data_mut().table;
    let trailers = trailers.map(|trailers| table.delete(trailers)).transpose()?;
    let body = table.delete(this)?;
    if body.stream_is_open() {
        bail!("the outgoing body was finished while its stream was open");
    }
    Ok((body.finish(trailers.map(HeaderMap::from)),))
}

fn abort(mut store: Ctx<'_>, rep: u32) -> wasmtime::Result<()> {
    let body = store.data_mut().table.delete(Resource::<OutgoingBody>::new_own(rep))?;
    if body.stream_is_open() {
        bail!("the outgoing body was dropped while its stream was open");
    }
    body.abort();
    Ok(())
}

type Given = Result<Resource<OutgoingResponse>, ErrorCode>;

fn set(mut store: Ctx<'_>, (outparam, given): (Resource<Outparam>, Given)) -> wasmtime::Result<()> {
    let table = &mut store.data_mut().table;
    let answer = match given {
        Ok(response) => {
            let OutgoingResponse { status, headers, body } = table.delete(response)?;
            let mut response = Response::new(body);
            *response.status_mut() = status;
            *response.headers_mut() = headers.into();
            Ok(response)
        }
        Err(code) => Err(code),
    };
    table.delete(outparam)?.set(answer);
    Ok(())
}
