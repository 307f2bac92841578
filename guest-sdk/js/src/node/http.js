// Node's `http`, its server: connections come from the host, on the addresses that the operator gave with
// `--listen`. One instance answers all requests of its process, so that they share what the script keeps in variables.
import { listeners } from "host:cluster/connections@0.1.0";
import { EventEmitter } from "../events.js";
import { dispose } from "../wit.js";
import { announce } from "./cluster.js";
import { Connection, handBack, open } from "./http_connection.js";
import { STATUS_CODES, ServerResponse } from "./http_response.js";
import { guarded, watch } from "./loop.js";

const taken = new Set();
const servers = new Set();

/** The host's listener for a port that the script asked for: the one of that number, else one that is free. */
function choose(port) {
  const free = listeners().filter((one) => !taken.has(keyOf(one)));
  return free.find((one) => one.address().val.port === port) ?? free[0];
}

const keyOf = (listener) => JSON.stringify(listener.address());

function addressOf({ tag, val }) {
  if (tag !== "ip") return val;
  return { address: val.address, port: val.port, family: val.address.includes(":") ? "IPv6" : "IPv4" };
}

export class Server extends EventEmitter {
  listening = false;
  keepAliveTimeout = 5000;
  headersTimeout = 60000;
  requestTimeout = 300000;
  #listener;
  #stop;

  constructor(options, listener) {
    super();
    if (typeof options === "function") listener = options;
    if (listener) this.on("request", listener);
  }

  /** The port is a wish: which addresses there are is the operator's to say. */
  listen(...args) {
    const callback = args.find((arg) => typeof arg === "function");
    const [first] = args;
    const port = Number(typeof first === "object" ? first?.port : first) || 0;
    if (callback) this.once("listening", callback);
    this.#listener = choose(port);
    if (!this.#listener) {
      const error = new Error(`listen ${port}: the host has no address left for it; give one with --listen`);
      queueMicrotask(() => this.emit("error", Object.assign(error, { code: "EADDRNOTAVAIL", port })));
      return this;
    }
    taken.add(keyOf(this.#listener));
    servers.add(this);
    this.listening = true;
    this.#accept();
    queueMicrotask(() => {
      this.emit("listening");
      announce(this.address());
    });
    return this;
  }

  #accept() {
    const listener = this.#listener;
    const pollable = listener.subscribe();
    const unwatch = watch({
      pollables: () => [pollable],
      ready: () => {
        for (;;) {
          let accepted;
          try {
            accepted = listener.accept();
          } catch {
            return;
          }
          guarded(() => {
            const connection = new Connection(accepted, this);
            this.emit("connection", connection);
          });
        }
      },
    });
    this.#stop = () => {
      unwatch();
      dispose(pollable);
    };
  }

  address() {
    return this.#listener ? addressOf(this.#listener.address()) : null;
  }

  close(callback) {
    if (callback) this.once("close", callback);
    if (!this.listening) return this;
    this.listening = false;
    servers.delete(this);
    this.#stop();
    taken.delete(keyOf(this.#listener));
    for (const connection of open) if (connection.server === this) connection.closeIfIdle();
    this.closeIfDone();
    return this;
  }

  /** A server is closed when its last connection is. */
  closeIfDone() {
    if (!this.listening && ![...open].some((connection) => connection.server === this)) {
      queueMicrotask(() => this.emit("close"));
    }
  }

  closeIdleConnections() {
    for (const connection of open) if (connection.server === this) connection.closeIfIdle();
  }
  closeAllConnections() {
    for (const connection of open) if (connection.server === this) connection.destroy();
  }
  getConnections(callback) {
    callback(null, [...open].filter((connection) => connection.server === this).length);
  }
  ref() {
    return this;
  }
  unref() {
    return this;
  }
  setTimeout() {
    return this;
  }
}

/** Once the host wants this process to end: nothing new comes, and what has come is answered or handed on. */
export function drain() {
  handBack();
  for (const server of servers) server.close();
}
export const isDrained = () => open.size === 0;

export const createServer = (options, listener) => new Server(options, listener);
export const METHODS = "DELETE GET HEAD OPTIONS PATCH POST PUT".split(" ");

function unsupported() {
  throw Object.assign(new Error("requests to others are not here yet: use fetch in a plugin"), { code: "ENOSYS" });
}
export const request = unsupported;
export const get = unsupported;
export { STATUS_CODES, ServerResponse };
export { IncomingMessage } from "./http_connection.js";

export default { createServer, Server, ServerResponse, STATUS_CODES, METHODS, request, get };
