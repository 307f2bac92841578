// The WIT world of a bundled module: it imports the interfaces the code names, and exports those it has objects
// for. A module that exports none of them is an HTTP handler that listens for the `fetch` event.

const EXPORTS = {
  incomingHandler: "wasi:http/incoming-handler@0.2.12",
  run: "wasi:cli/run@0.2.12",
  connectionHandler: "host:cluster/connection-handler@0.1.0",
  messageHandler: "host:cluster/message-handler@0.1.0",
  signalHandler: "host:cluster/signal-handler@0.1.0",
  lifecycle: "host:cluster/lifecycle@0.1.0",
};

export const listensForFetch = (exports) =>
  !["incomingHandler", "run", "connectionHandler"].some((name) => exports.includes(name));

export function worldOf(imports, exports) {
  const offered = Object.keys(EXPORTS).filter((name) => exports.includes(name));
  if (listensForFetch(exports)) offered.push("incomingHandler");
  return [
    "package host:plugin@0.1.0;",
    "world plugin {",
    ...imports.map((name) => `  import ${name};`),
    ...offered.map((name) => `  export ${EXPORTS[name]};`),
    "}\n",
  ].join("\n");
}
