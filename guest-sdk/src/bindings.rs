//! What wit-bindgen makes of `wit/`. Nobody outside the SDK sees these names.
//!
//! Imports are one world; what a component does not call, the linker leaves out of it, so that only a primary
//! program imports `primary`. Every export is a world of its own, because a component must export all that its
//! worlds name.
#![allow(clippy::all, clippy::undocumented_unsafe_blocks, missing_docs)]

pub mod imports {
    wit_bindgen::generate!({
        path: "../wit",
        inline: "
            package host:sdk;
            world imports {
                include host:cluster/plugin@0.1.0;
                import host:cluster/primary@0.1.0;
            }",
        world: "host:sdk/imports",
        with: {
            "wasi:io/error@0.2.12": wasip2::io::error,
            "wasi:io/poll@0.2.12": wasip2::io::poll,
            "wasi:io/streams@0.2.12": wasip2::io::streams,
        },
        generate_all,
    });
}

/// One world per export, with its types taken from `imports`.
macro_rules! export {
    ($module:ident, $interface:literal) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../wit",
                inline: $interface,
                world: "host:sdk/handler",
                with: {
                    "wasi:io/error@0.2.12": wasip2::io::error,
                    "wasi:io/poll@0.2.12": wasip2::io::poll,
                    "wasi:io/streams@0.2.12": wasip2::io::streams,
                    "host:cluster/types@0.1.0": crate::bindings::imports::host::cluster::types,
                    "host:cluster/messages@0.1.0": crate::bindings::imports::host::cluster::messages,
                    "host:cluster/connections@0.1.0": crate::bindings::imports::host::cluster::connections,
                },
                pub_export_macro: true,
            });
        }
    };
}

export!(
    tcp,
    "package host:sdk; world handler { export host:cluster/connection-handler@0.1.0; }"
);
export!(
    message,
    "package host:sdk; world handler { export host:cluster/message-handler@0.1.0; }"
);
export!(
    signal,
    "package host:sdk; world handler { export host:cluster/signal-handler@0.1.0; }"
);
export!(
    lifecycle,
    "package host:sdk; world handler { export host:cluster/lifecycle@0.1.0; }"
);
