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
    ($module:ident, $world:literal, $inline:literal, { $($shared:tt)* }) => {
        pub mod $module {
            wit_bindgen::generate!({
                path: "../wit",
                inline: $inline,
                world: $world,
                with: { $($shared)* },
                pub_export_macro: true,
            });
        }
    };
}

export!(tcp, "host:sdk/tcp", "package host:sdk; world tcp { export host:cluster/connection-handler@0.1.0; }", {
    "wasi:io/error@0.2.12": wasip2::io::error,
    "wasi:io/poll@0.2.12": wasip2::io::poll,
    "wasi:io/streams@0.2.12": wasip2::io::streams,
    "host:cluster/types@0.1.0": crate::bindings::imports::host::cluster::types,
    "host:cluster/connections@0.1.0": crate::bindings::imports::host::cluster::connections,
});
export!(message, "host:sdk/message", "package host:sdk; world message { export host:cluster/message-handler@0.1.0; }", {
    "wasi:io/poll@0.2.12": wasip2::io::poll,
    "host:cluster/messages@0.1.0": crate::bindings::imports::host::cluster::messages,
});
export!(signal, "host:sdk/signal", "package host:sdk; world signal { export host:cluster/signal-handler@0.1.0; }", {
    "host:cluster/types@0.1.0": crate::bindings::imports::host::cluster::types,
});
export!(
    lifecycle,
    "host:sdk/lifecycle",
    "package host:sdk; world lifecycle { export host:cluster/lifecycle@0.1.0; }",
    {}
);
