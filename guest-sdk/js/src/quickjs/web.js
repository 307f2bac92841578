// The part of the Web's API that HTTP handlers use, for QuickJS. Bodies are whole: no streams, no FormData.
import { Promise, clearTimeout, queueMicrotask, runJobs, setInterval, setTimeout, settle } from "./jobs.js";
import { TextDecoder, TextEncoder, console } from "./text.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export class Headers {
  #entries = new Map();

  constructor(init = []) {
    const pairs = init instanceof Headers || Array.isArray(init) ? init : Object.entries(init ?? {});
    for (const [name, value] of pairs) this.append(name, value);
  }

  append(name, value) {
    const key = `${name}`.toLowerCase();
    this.#entries.set(key, [...(this.#entries.get(key) ?? []), `${value}`]);
  }

  set(name, value) {
    this.#entries.set(`${name}`.toLowerCase(), [`${value}`]);
  }

  get(name) {
    return this.#entries.get(`${name}`.toLowerCase())?.join(", ") ?? null;
  }

  getSetCookie() {
    return this.#entries.get("set-cookie") ?? [];
  }

  has(name) {
    return this.#entries.has(`${name}`.toLowerCase());
  }

  delete(name) {
    this.#entries.delete(`${name}`.toLowerCase());
  }

  forEach(action) {
    for (const [name, value] of this) action(value, name, this);
  }

  *entries() {
    for (const [name, values] of this.#entries) {
      if (name === "set-cookie") for (const value of values) yield [name, value];
      else yield [name, values.join(", ")];
    }
  }

  *keys() {
    for (const [name] of this) yield name;
  }

  *values() {
    for (const [, value] of this) yield value;
  }

  [Symbol.iterator]() {
    return this.entries();
  }
}

class Body {
  #source;
  bodyUsed = false;

  constructor(source) {
    this.#source = source;
  }

  /** A function is asked when the body is; so an unread request costs nothing. */
  bytesNow() {
    const source = typeof this.#source === "function" ? this.#source() : this.#source;
    if (source == null) this.#source = new Uint8Array();
    else if (typeof source === "string") this.#source = encoder.encode(source);
    else if (source instanceof Uint8Array) this.#source = source;
    else if (source instanceof ArrayBuffer) this.#source = new Uint8Array(source);
    else this.#source = encoder.encode(`${source}`);
    return this.#source;
  }

  get body() {
    return this.#source == null ? null : this.bytesNow();
  }

  #take(convert) {
    return new Promise((resolve, reject) => {
      if (this.bodyUsed) return reject(new TypeError("the body was used already"));
      this.bodyUsed = true;
      resolve(convert(this.bytesNow()));
    });
  }

  bytes() {
    return this.#take((bytes) => bytes);
  }
  arrayBuffer() {
    return this.#take((bytes) => bytes.slice().buffer);
  }
  text() {
    return this.#take((bytes) => decoder.decode(bytes));
  }
  json() {
    return this.#take((bytes) => JSON.parse(decoder.decode(bytes)));
  }
}

export class Request extends Body {
  #headers;

  constructor(input, init = {}) {
    super(init.body ?? (input instanceof Request ? () => input.bytesNow() : null));
    this.url = input instanceof Request ? input.url : `${input}`;
    this.method = (init.method ?? input.method ?? "GET").toUpperCase();
    this.#headers = init.headers ?? input.headers ?? [];
    if (typeof this.#headers !== "function") this.#headers = new Headers(this.#headers);
  }

  /** From a function when they are asked for: most handlers do not look at them. */
  get headers() {
    if (typeof this.#headers === "function") this.#headers = new Headers(this.#headers());
    return this.#headers;
  }

  clone() {
    return new Request(this);
  }
}

export class Response extends Body {
  constructor(body = null, { status = 200, statusText = "", headers = [] } = {}) {
    super(body);
    this.status = status;
    this.statusText = statusText;
    this.headers = new Headers(headers);
    if (typeof body === "string" && !this.headers.has("content-type")) {
      this.headers.set("content-type", "text/plain;charset=UTF-8");
    }
  }

  get ok() {
    return this.status >= 200 && this.status < 300;
  }

  clone() {
    return new Response(this.bytesNow(), this);
  }

  static json(value, init = {}) {
    const headers = new Headers(init.headers ?? []);
    if (!headers.has("content-type")) headers.set("content-type", "application/json");
    return new Response(JSON.stringify(value), { ...init, headers });
  }

  static redirect(url, status = 302) {
    return new Response(null, { status, headers: { location: `${url}` } });
  }
}

const listeners = [];

function addEventListener(event, listener) {
  if (event === "fetch") listeners.push(listener);
}

/** Lets the `fetch` listeners answer, and waits for the answer. */
export function dispatch(request) {
  let answer;
  const event = {
    type: "fetch",
    request,
    respondWith: (response) => (answer ??= Promise.resolve(response)),
    waitUntil: () => {},
  };
  for (const listener of listeners) listener(event);
  if (!answer) throw new Error("no listener of `fetch` called respondWith");
  return settle(answer);
}

Object.assign(globalThis, {
  Headers,
  Promise,
  Request,
  Response,
  TextDecoder,
  TextEncoder,
  addEventListener,
  clearInterval: clearTimeout,
  clearTimeout,
  console,
  queueMicrotask,
  runJobs,
  self: globalThis,
  setInterval,
  setTimeout,
  settle,
});
