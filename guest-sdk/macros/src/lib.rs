//! The attributes `#[host::http]`, `#[host::tcp]`, `#[host::message]` and `#[host::signal]`. Each leaves the function as
//! it is and adds a call of the SDK's macro of the same name, which exports it.

use proc_macro::{TokenStream, TokenTree};

/// Exports the function as the plugin's HTTP handler. It takes a `host::Request`; one that looks at nothing of the
/// request may do without, and spares the host the telling.
#[proc_macro_attribute]
pub fn http(options: TokenStream, item: TokenStream) -> TokenStream {
    match options.to_string().as_str() {
        "" => export("__http", item),
        "p3" => export("__http_p3", item),
        other => error(&format!("#[host::http] knows `p3`, not `{other}`")),
    }
}

/// Exports the function as the plugin's connection handler; see `host::tcp`.
#[proc_macro_attribute]
pub fn tcp(options: TokenStream, item: TokenStream) -> TokenStream {
    plain("__tcp", &options, item)
}

/// Exports the function as the plugin's message handler; see `host::ipc`.
#[proc_macro_attribute]
pub fn message(options: TokenStream, item: TokenStream) -> TokenStream {
    plain("__message", &options, item)
}

/// Exports the function as the plugin's signal handler; see `host::process`.
#[proc_macro_attribute]
pub fn signal(options: TokenStream, item: TokenStream) -> TokenStream {
    plain("__signal", &options, item)
}

fn plain(exporter: &str, options: &TokenStream, item: TokenStream) -> TokenStream {
    if options.is_empty() {
        return export(exporter, item);
    }
    error("this attribute takes no options")
}

/// The function, followed by `host::<exporter>!(name, sync or async);`, with `, bare` where it takes no argument.
fn export(exporter: &str, item: TokenStream) -> TokenStream {
    let mut tokens = item.clone().into_iter();
    let mut kind = "sync";
    let name = loop {
        match tokens.next() {
            Some(TokenTree::Ident(word)) if word.to_string() == "async" => kind = "async",
            Some(TokenTree::Ident(word)) if word.to_string() == "fn" => break tokens.next(),
            Some(_) => {}
            None => break None,
        }
    };
    let Some(name) = name else {
        return error("this attribute belongs before a function");
    };
    let bare = match tokens.next() {
        Some(TokenTree::Group(arguments)) if arguments.stream().is_empty() => ", bare",
        _ => "",
    };
    let call: TokenStream = match format!("::host::{exporter}!({name}, {kind}{bare});").parse() {
        Ok(call) => call,
        Err(_) => return error("a function name was expected"),
    };
    [item, call].into_iter().collect()
}

fn error(text: &str) -> TokenStream {
    format!("::core::compile_error!({text:?});").parse().unwrap_or_default()
}
