//! Why a request got no answer from the plugin, and what the client hears instead.

use bytes::Bytes;
use http::{Response, StatusCode, header};
use wasmtime_wasi_http::{Error, p2, p3};

#[derive(Debug)]
pub enum Failure {
    /// The client's request is not one a plugin can be given.
    BadRequest(&'static str),
    /// It asks for a part of HTTP that is not served here.
    NotImplemented(&'static str),
    BodyTooLarge,
    /// Every instance this worker may have is in use, or it answers as many requests as it may.
    Overload,
    TimedOut,
    /// The plugin ended without an answer; the text says how.
    Trapped(String),
    Instantiate(String),
    /// The instance ended under it, by the fault of another request.
    Neighbor,
    NoAnswer,
    /// The plugin answered with an error code of its own.
    Code(Error),
}

impl Failure {
    pub fn status(&self) -> StatusCode {
        match self {
            Failure::BadRequest(_) => StatusCode::BAD_REQUEST,
            Failure::NotImplemented(_) => StatusCode::NOT_IMPLEMENTED,
            Failure::BodyTooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Failure::Overload => StatusCode::SERVICE_UNAVAILABLE,
            Failure::TimedOut => StatusCode::GATEWAY_TIMEOUT,
            Failure::Trapped(_)
            | Failure::Instantiate(_)
            | Failure::Neighbor
            | Failure::NoAnswer => StatusCode::INTERNAL_SERVER_ERROR,
            Failure::Code(error) => status_of(error),
        }
    }

    /// Whether what follows the request on its connection may mean something else than it seems.
    pub fn ends_connection(&self) -> bool {
        matches!(self, Failure::BadRequest(_) | Failure::NotImplemented(_) | Failure::BodyTooLarge)
    }

    /// For the worker's stderr, where it is the plugin's fault.
    pub fn reason(&self) -> Option<String> {
        match self {
            Failure::Trapped(reason) => Some(format!("plugin trapped: {reason}")),
            Failure::Instantiate(reason) => Some(format!("plugin failed to instantiate: {reason}")),
            Failure::NoAnswer => Some("plugin returned without an answer".into()),
            Failure::TimedOut => Some("plugin timed out".into()),
            Failure::Code(error) => Some(format!("plugin answered with an error: {error}")),
            _ => None,
        }
    }

    pub fn response(&self) -> Response<Bytes> {
        let status = self.status();
        let text = match self {
            Failure::BadRequest(why) | Failure::NotImplemented(why) => format!("{why}\n"),
            _ => format!("{}\n", status.canonical_reason().unwrap_or("error").to_lowercase()),
        };
        let mut response = Response::new(Bytes::from(text));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(
            header::CONTENT_TYPE,
            header::HeaderValue::from_static("text/plain; charset=utf-8"),
        );
        if let Failure::Overload = self {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }

    /// A plugin's trap in one line: the cause, then the plugin's own functions on the stack.
    pub fn trapped(error: &wasmtime::Error, memory_refused: bool) -> Failure {
        let mut text = error.root_cause().to_string();
        if memory_refused {
            text.push_str(" (after it was refused memory beyond its limit)");
        }
        if let Some(backtrace) = error.downcast_ref::<wasmtime::WasmBacktrace>() {
            let names: Vec<&str> =
                backtrace.frames().iter().filter_map(|frame| frame.func_name()).take(8).collect();
            if !names.is_empty() {
                text = format!("{text}; in {}", names.join(" < "));
            }
        }
        Failure::Trapped(text.replace('\n', " "))
    }
}

impl From<p2::bindings::http::types::ErrorCode> for Failure {
    fn from(code: p2::bindings::http::types::ErrorCode) -> Failure {
        Failure::Code(code.into())
    }
}

impl From<p3::bindings::http::types::ErrorCode> for Failure {
    fn from(code: p3::bindings::http::types::ErrorCode) -> Failure {
        Failure::Code(code.into())
    }
}

fn status_of(error: &Error) -> StatusCode {
    match error {
        Error::DnsTimeout
        | Error::ConnectionTimeout
        | Error::ConnectionReadTimeout
        | Error::ConnectionWriteTimeout
        | Error::HttpResponseTimeout => StatusCode::GATEWAY_TIMEOUT,
        Error::DnsError { .. }
        | Error::DestinationNotFound
        | Error::DestinationUnavailable
        | Error::DestinationIpProhibited
        | Error::DestinationIpUnroutable
        | Error::Connect(_)
        | Error::ConnectionRefused
        | Error::ConnectionTerminated
        | Error::ConnectionLimitReached
        | Error::Tls(_)
        | Error::TlsProtocolError
        | Error::TlsCertificateError
        | Error::TlsAlertReceived { .. }
        | Error::HttpResponseIncomplete
        | Error::HttpResponseBodySize(_)
        | Error::HttpResponseHeaderSize { .. }
        | Error::HttpResponseHeaderSectionSize(_)
        | Error::HttpResponseTransferCoding(_)
        | Error::HttpResponseContentCoding(_)
        | Error::HttpProtocolError => StatusCode::BAD_GATEWAY,
        _ => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
