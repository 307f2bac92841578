//! What to do about a component that cannot be served, or not as its author may expect.

/// Imports that belong to somebody else's host, by how their names begin.
const FOREIGN: [(&str, &str); 9] = [
    (
        "jco:node/",
        "Node's built-in modules, which jco leaves to its host: import host-sdk/process, /cluster and /net instead",
    ),
    ("fermyon:spin/", SPIN),
    ("spin:", SPIN),
    ("fastly:", "Fastly's own interfaces: build for wasi:http alone"),
    ("wasmcloud:", "wasmCloud's own interfaces: build for wasi:http alone"),
    (
        "wasi:keyvalue/",
        "there is no key-value store: keep the state in the primary program, or reach a store with --allow-outbound",
    ),
    ("wasi:logging/", "there is no logging interface: write to stderr"),
    ("wasi:nn/", "there is no machine learning here"),
    ("wasi:tls/", "there is no TLS for plugins: send requests with wasi:http and --allow-outbound"),
];

const SPIN: &str = "Spin's own interfaces: build without spin-sdk, for wasi:http alone";

const DRAFT: &str =
    "a draft of WASI: build with tools for a released version, 0.2.0 or 0.3.0 or later";

const PLAIN: &str = "a plain import, which nobody provides to a component: leave out the code that needs it, or give \
     it to the component with `wac plug`";

const OTHER: &str =
    "an interface of another host: leave it out, or give it to the component with `wac plug`";

const HANDLER: &str = "for HTTP it takes an export wasi:http/incoming-handler: in Rust `crate-type = [\"cdylib\"]` and #[host::http], in JavaScript \
     `serve(handler)` and host-js, in Python the world wasi:http/proxy and a class IncomingHandler, in C \
     `WORLD.app = wasi:http/proxy@0.2.12`; `host new` writes such a project";

/// Drafts have the date or number of the draft in their version.
pub fn is_draft(name: &str) -> bool {
    name.starts_with("wasi:")
        && !name.starts_with("wasi:config/")
        && (name.contains("-rc") || name.contains("-draft") || !name.contains('@'))
}

/// What each kind of unknown import is and what helps, each once.
pub fn for_imports(unknown: &[String]) -> Vec<&'static str> {
    let mut remedies = Vec::new();
    for name in unknown {
        let foreign = FOREIGN.iter().find(|(start, _)| name.starts_with(start));
        let remedy = match foreign {
            Some((_, remedy)) => remedy,
            None if is_draft(name) => DRAFT,
            None if !name.contains(':') => PLAIN,
            None => OTHER,
        };
        if !remedies.contains(&remedy) {
            remedies.push(remedy);
        }
    }
    remedies
}

/// For a component that exports nothing that can be served.
pub fn for_exports(exports: &[String]) -> &'static str {
    let any = |start: &str| exports.iter().any(|name| name.starts_with(start));
    if any("fermyon:spin/inbound-http") {
        return "it exports the handler of Spin 1: build it with spin-sdk 2 or later, which exports wasi:http/incoming-handler";
    }
    if any("wasi:http/") {
        return DRAFT;
    }
    HANDLER
}

/// For a command, which may not be what its author wanted.
pub fn for_command(imports: &[String]) -> Option<&'static str> {
    let any = |start: &str| imports.iter().any(|name| name.starts_with(start));
    if any("host:cluster/primary@") {
        return Some(
            "a primary program: it goes with `--primary`, beside the plugin or, if it is the workers too, alone",
        );
    }
    let accepts = any("host:cluster/connections@") || any("wasi:sockets/tcp@");
    (!accepts).then_some(
        "a command: each worker runs its `main` once, and it answers no requests. For HTTP it takes an export \
         wasi:http/incoming-handler (in Rust a library, `crate-type = [\"cdylib\"]`, in place of a `main`)",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_unknown_import_gets_one_remedy_of_its_kind() {
        let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        let both = for_imports(&own(&["jco:node/http@0.1.0", "jco:node/tty@0.1.0", "acme:db/x"]));
        assert_eq!(both, [FOREIGN[0].1, OTHER]);
        assert_eq!(for_imports(&own(&["wasi:http/types@0.3.0-rc-2025-08-15"])), [DRAFT]);
        assert_eq!(for_imports(&own(&["env"])), [PLAIN]);
        assert!(
            for_command(&own(&["wasi:cli/stdout@0.2.3"]))
                .is_some_and(|text| text.contains("cdylib"))
        );
        assert_eq!(for_command(&own(&["host:cluster/connections@0.1.0"])), None);
    }
}
