//! Outgoing requests of plugins. The worker cannot connect: a `Connector` gets each connection from
//! elsewhere and decides where it may go. TLS, HTTP and the time-outs are here, inside the sandbox.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::uri::{PathAndQuery, Scheme};
use http::{HeaderName, Uri, header};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout};
use tokio_rustls::TlsConnector;
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpHooks};

/// What a plugin that sets no time-out gets, for each of the three waits.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(600);

pub type Connecting = Pin<Box<dyn Future<Output = io::Result<TcpStream>> + Send>>;

/// Hands out connections, or refuses with `PermissionDenied`.
pub trait Connector: Send + Sync {
    fn connect(&self, host: String, port: u16) -> Connecting;
}

pub struct Outbound {
    connector: Box<dyn Connector>,
    tls: TlsConnector,
}

impl Outbound {
    pub fn new(connector: Box<dyn Connector>) -> Outbound {
        let roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.into() };
        let tls =
            rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        Outbound { connector, tls: TlsConnector::from(Arc::new(tls)) }
    }

    async fn open(&self, uri: &Uri) -> Result<Box<dyn Stream>, Error> {
        let secure = uri.scheme() == Some(&Scheme::HTTPS);
        let host = uri.host().ok_or(Error::HttpRequestUriInvalid)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = self.connector.connect(host.clone(), port).await.map_err(connect_error)?;
        if !secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host).map_err(|_| Error::HttpRequestUriInvalid)?;
        let stream = self.tls.connect(name, stream).await.map_err(Error::Tls)?;
        Ok(Box::new(stream))
    }
}

fn connect_error(error: io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::HttpRequestDenied,
        io::ErrorKind::NotFound => Error::DestinationNotFound,
        io::ErrorKind::ConnectionRefused => Error::ConnectionRefused,
        io::ErrorKind::TimedOut => Error::ConnectionTimeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
            Error::DestinationUnavailable
        }
        _ => Error::Connect(error),
    }
}

trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// What wasmtime's wasi:http asks us: which headers a plugin may not see or set, and to send requests.
pub struct Hooks(Option<Arc<Outbound>>);

impl Hooks {
    pub fn new(outbound: Option<Arc<Outbound>>) -> Hooks {
        Hooks(outbound)
    }
}

type Driver = Box<dyn Future<Output = Result<(), Error>> + Send>;
type Sending = Box<dyn Future<Output = Result<(http::Response<WasiBody>, Driver), Error>> + Send>;

impl WasiHttpHooks for Hooks {
    fn is_forbidden_header(&mut self, name: &HeaderName) -> bool {
        is_forbidden(name)
    }

    fn forbidden_header_filter(&mut self) -> wasmtime_wasi_http::ForbiddenHeaderFilter {
        Arc::new(is_forbidden)
    }

    fn send_request(
        &mut self,
        request: http::Request<WasiBody>,
        options: Option<RequestOptions>,
        _response_processed: Driver,
    ) -> Sending {
        match self.0.clone() {
            Some(outbound) => Box::new(send(outbound, request, options.unwrap_or_default())),
            None => Box::new(async { Err(Error::HttpRequestDenied) }),
        }
    }
}

/// Headers that belong to one connection and not to the message (RFC 9110, 7.6.1), and `host`,
/// which wasi:http carries as the authority.
fn is_forbidden(name: &HeaderName) -> bool {
    match name.as_str().len() {
        4 => *name == header::HOST,
        7 => *name == header::UPGRADE,
        10 => *name == header::CONNECTION || name.as_str() == "keep-alive",
        14 => name.as_str() == "http2-settings",
        16 => name.as_str() == "proxy-connection",
        17 => *name == header::TRANSFER_ENCODING,
        18 => *name == header::PROXY_AUTHENTICATE,
        19 => *name == header::PROXY_AUTHORIZATION,
        _ => false,
    }
}

async fn send(
    outbound: Arc<Outbound>,
    mut request: http::Request<WasiBody>,
    options: RequestOptions,
) -> Result<(http::Response<WasiBody>, Driver), Error> {
    let uri = request.uri().clone();
    let connect = async {
        let stream = outbound.open(&uri).await?;
        http1::handshake(TokioIo::new(stream)).await.map_err(Error::from)
    };
    let limit = options.connect_timeout.unwrap_or(DEFAULT_TIMEOUT);
    let (mut sender, connection) =
        timeout(limit, connect).await.map_err(|_| Error::ConnectionTimeout)??;
    let connection = AbortOnDrop(tokio::spawn(connection));

    *request.uri_mut() = origin_form(request.uri());
    let limit = options.first_byte_timeout.unwrap_or(DEFAULT_TIMEOUT);
    let response = timeout(limit, sender.send_request(request)).await;
    let response = response.map_err(|_| Error::ConnectionReadTimeout)?.map_err(Error::from)?;

    let limit = options.between_bytes_timeout.unwrap_or(DEFAULT_TIMEOUT);
    let response = response.map(|body| TimedBody::new(body, limit).boxed_unsync());
    Ok((response, Box::new(connection.finished())))
}

/// The request line of an HTTP/1.1 request to its own server names the path alone.
fn origin_form(uri: &Uri) -> Uri {
    let path = uri.path_and_query().cloned();
    Uri::from(path.unwrap_or_else(|| PathAndQuery::from_static("/")))
}

struct AbortOnDrop(tokio::task::JoinHandle<hyper::Result<()>>);

impl AbortOnDrop {
    async fn finished(mut self) -> Result<(), Error> {
        match (&mut self.0).await {
            Ok(result) => result.map_err(Error::from),
            Err(_) => Err(Error::ConnectionTerminated),
        }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// A response body that fails when its server stays silent too long.
struct TimedBody {
    body: Incoming,
    limit: Duration,
    silence: Pin<Box<Sleep>>,
}

impl TimedBody {
    fn new(body: Incoming, limit: Duration) -> TimedBody {
        TimedBody { body, limit, silence: Box::pin(sleep(limit)) }
    }
}

impl Body for TimedBody {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            let deadline = Instant::now() + self.limit;
            self.silence.as_mut().reset(deadline);
            return Poll::Ready(frame.map(|frame| frame.map_err(Error::from)));
        }
        ready!(self.silence.as_mut().poll(cx));
        Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
