//! What plugins of `host` are written with.
//!
//! A handler is a function with an attribute:
//!
//! ```no_run
//! #[host::http]
//! fn hello(request: host::Request) -> String {
//!     format!("hello {}\n", request.uri().path())
//! }
//! ```
//!
//! One that looks at nothing of the request may do without it: `fn hello() -> &'static str`.
//!
//! The crate is a `cdylib`, built with `cargo build --release --target wasm32-wasip2`, and served with
//! `host serve --plugin hello.wasm`.
//!
//! | to | use |
//! |---|---|
//! | serve HTTP | `#[host::http]`, [`Router`], [`Body`], [`IntoResponse`] |
//! | serve raw connections | `#[host::tcp]`, [`tcp::serve`], [`tcp::Connection`] |
//! | know and end the process | [`process`] |
//! | talk to the primary program | [`ipc`], `#[host::message]` |
//! | start granted programs | [`child::Command`] |
//! | write a primary program | [`cluster::Cluster`] |
//! | wait for several things at once | [`task`] |
//! | keep values between calls of a reused instance | [`Local`] |
//!
//! Handlers may be plain or `async` functions. Everything runs on one thread, the instance's.

mod bindings;
mod body;
pub mod child;
pub mod cluster;
mod io;
pub mod ipc;
mod local;
#[doc(hidden)]
pub mod p2;
#[cfg(feature = "p3")]
#[doc(hidden)]
pub mod p3;
pub mod process;
mod respond;
mod router;
pub mod task;
pub mod tcp;

pub use ::http;
pub use body::{Body, BodyWriter};
pub use host_sdk_macros::{http, message, signal, tcp};
pub use io::IoError;
pub use local::Local;
pub use respond::{IntoResponse, Json};
pub use router::{Params, Router};

/// A request of a client. Its URI is path and query; the authority is in the `host` header, for HTTP/2 too.
pub type Request = http::Request<Body>;
/// The response to it.
pub type Response = http::Response<Body>;
/// Any error.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// What most functions of this crate return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What the macros below need; not for use by name.
#[doc(hidden)]
pub mod hidden {
    pub use crate::bindings::{imports::host::cluster, lifecycle, message, signal, tcp};
    pub use wasip2;
    #[cfg(feature = "p3")]
    pub use wasip3;
}

/// Calls a handler, awaiting it if it is `async`.
#[doc(hidden)]
#[macro_export]
macro_rules! __call {
    ($handler:ident, sync, $($argument:expr)?) => { $handler($($argument)?) };
    ($handler:ident, async, $($argument:expr)?) => { $handler($($argument)?).await };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __http {
    ($handler:ident, $kind:ident) => {
        $crate::__http!(@serve, async |request| $crate::__call!($handler, $kind, request));
    };
    ($handler:ident, $kind:ident, bare) => {
        $crate::__http!(@serve_bare, async || $crate::__call!($handler, $kind,));
    };
    (@$serve:ident, $handler:expr) => {
        const _: () = {
            use $crate::hidden::wasip2;
            struct Plugin;
            impl wasip2::exports::http::incoming_handler::Guest for Plugin {
                fn handle(
                    request: wasip2::http::types::IncomingRequest,
                    out: wasip2::http::types::ResponseOutparam,
                ) {
                    $crate::p2::$serve(request, out, $handler);
                }
            }
    wasip2::http::proxy::export!(Plugin with_types_in wasip2);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __http_p3 {
    ($handler:ident, $kind:ident) => {
        $crate::__http_p3!(@serve, async |request| $crate::__call!($handler, $kind, request));
    };
    ($handler:ident, $kind:ident, bare) => {
        $crate::__http_p3!(@serve_bare, async || $crate::__call!($handler, $kind,));
    };
    (@$serve:ident, $handler:expr) => {
        const _: () = {
            use $crate::hidden::wasip3;
            struct Plugin;
            impl wasip3::exports::http::handler::Guest for Plugin {
                async fn handle(
                    request: wasip3::http::types::Request,
                ) -> Result<wasip3::http::types::Response, wasip3::http::types::ErrorCode> {
                    $crate::p3::$serve(request, $handler).await
                }
            }
    wasip3::http::service::export!(Plugin with_types_in wasip3);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __tcp {
    ($handler:ident, $kind:ident) => {
        const _: () = {
            use $crate::hidden::{cluster::connections, tcp};
            struct Plugin;
            impl tcp::exports::host::cluster::connection_handler::Guest for Plugin {
                fn handle(connection: connections::Connection) -> Result<(), String> {
                    $crate::tcp::run_handler(connection, async |connection| {
                        $crate::__call!($handler, $kind, connection)
                    })
                }
            }
    tcp::export!(Plugin with_types_in $crate::hidden::tcp);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __message {
    ($handler:ident, $kind:ident) => {
        const _: () = {
            use $crate::hidden::{cluster::messages, message};
            struct Plugin;
            impl message::exports::host::cluster::message_handler::Guest for Plugin {
                fn on_message(message: messages::Message) {
                    $crate::task::block_on(async {
                        $crate::__call!($handler, $kind, message.into())
                    });
                }
            }
    message::export!(Plugin with_types_in $crate::hidden::message);
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __signal {
    ($handler:ident, $kind:ident) => {
        const _: () = {
            use $crate::hidden::{cluster::types, signal};
            struct Plugin;
            impl signal::exports::host::cluster::signal_handler::Guest for Plugin {
                fn on_signal(signal: types::Signal) {
                    $crate::task::block_on(async move { $crate::__call!($handler, $kind, signal) });
                }
            }
    signal::export!(Plugin with_types_in $crate::hidden::signal);
        };
    };
}

/// Exports functions for the worker's beginning and end. The first returns a `Result<(), impl Display>`: no request
/// arrives before it is done, and an error ends the worker. The second is called when the worker begins to drain,
/// and must return within `--drain-timeout`.
///
/// ```no_run
/// fn start() -> Result<(), String> {
///     Ok(())
/// }
///
/// fn drain() {
///     eprintln!("worker {:?} drains", host::process::identity().worker);
/// }
///
/// host::lifecycle!(start, drain);
/// ```
#[macro_export]
macro_rules! lifecycle {
    ($start:path, $drain:path) => {
        const _: () = {
            use $crate::hidden::lifecycle;
            struct Plugin;
            impl lifecycle::exports::host::cluster::lifecycle::Guest for Plugin {
                fn start() -> Result<(), String> {
                    $start().map_err(|error| error.to_string())
                }

                fn drain() {
                    $drain();
                }
            }
    lifecycle::export!(Plugin with_types_in $crate::hidden::lifecycle);
        };
    };
}
