// The answer to one request: Node's ServerResponse, written to its connection.
import { EventEmitter } from "../events.js";
import { Buffer } from "./buffer.js";
import { TOKEN } from "./http_message.js";

export const STATUS_CODES = {
  100: "Continue", 101: "Switching Protocols", 200: "OK", 201: "Created", 202: "Accepted", 204: "No Content",
  206: "Partial Content", 301: "Moved Permanently", 302: "Found", 303: "See Other", 304: "Not Modified",
  307: "Temporary Redirect", 308: "Permanent Redirect", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
  404: "Not Found", 405: "Method Not Allowed", 408: "Request Timeout", 409: "Conflict", 410: "Gone",
  411: "Length Required", 413: "Payload Too Large", 415: "Unsupported Media Type", 422: "Unprocessable Entity",
  429: "Too Many Requests", 431: "Request Header Fields Too Large", 500: "Internal Server Error",
  501: "Not Implemented", 502: "Bad Gateway", 503: "Service Unavailable", 504: "Gateway Timeout",
};

const bytesOf = (chunk, encoding) => (typeof chunk === "string" ? Buffer.from(chunk, encoding) : chunk);
const CONTROL = /[\r\n\0]/;
const isBodyless = (status) => status < 200 || status === 204 || status === 304;

export class ServerResponse extends EventEmitter {
  statusCode = 200;
  statusMessage = undefined;
  headersSent = false;
  writableEnded = false;
  sendDate = true;
  #headers = new Map();
  #connection;
  #request;
  #chunked = false;

  constructor(request, connection) {
    super();
    this.#request = request;
    this.#connection = connection;
    this.keepsAlive = request.keepsAlive;
  }

  get finished() {
    return this.writableEnded;
  }
  get socket() {
    return this.#connection;
  }

  setHeader(name, value) {
    if (this.headersSent) throw new Error("cannot set headers after they are sent to the client");
    if (!TOKEN.test(name) || CONTROL.test(value)) throw new TypeError(`invalid character in header ${name}`);
    this.#headers.set(`${name}`.toLowerCase(), [`${name}`, value]);
    return this;
  }
  getHeader(name) {
    return this.#headers.get(name.toLowerCase())?.[1];
  }
  hasHeader(name) {
    return this.#headers.has(name.toLowerCase());
  }
  removeHeader(name) {
    this.#headers.delete(name.toLowerCase());
  }
  getHeaderNames() {
    return [...this.#headers.keys()];
  }
  getHeaders() {
    return Object.fromEntries([...this.#headers].map(([key, [, value]]) => [key, value]));
  }

  writeHead(status, message, headers) {
    this.statusCode = status;
    if (typeof message === "string") this.statusMessage = message;
    const given = typeof message === "string" ? headers : message;
    for (const [name, value] of Object.entries(given ?? {})) this.setHeader(name, value);
    return this;
  }

  /** The head, with what tells the body's length: `length` if that is known, else chunks where the client knows them. */
  #sendHead(length) {
    this.headersSent = true;
    const bodyless = isBodyless(this.statusCode);
    if (length !== undefined && !bodyless && !this.hasHeader("transfer-encoding")) {
      if (!this.hasHeader("content-length")) this.#headers.set("content-length", ["content-length", length]);
    } else if (!bodyless && !this.hasHeader("content-length")) {
      this.#chunked = this.#request.httpVersion === "1.1";
      if (this.#chunked) this.#headers.set("transfer-encoding", ["transfer-encoding", "chunked"]);
      else this.keepsAlive = false;
    }
    if (/close/i.test(this.getHeader("connection") ?? "")) this.keepsAlive = false;
    if (!this.hasHeader("connection")) {
      this.#headers.set("connection", ["connection", this.keepsAlive ? "keep-alive" : "close"]);
    }
    if (this.sendDate && !this.hasHeader("date")) this.#headers.set("date", ["date", new Date().toUTCString()]);
    const reason = this.statusMessage ?? STATUS_CODES[this.statusCode] ?? "unknown";
    if (CONTROL.test(reason)) throw new TypeError("invalid character in the status message");
    const lines = [`HTTP/1.1 ${this.statusCode} ${reason}`];
    for (const [name, value] of this.#headers.values()) {
      for (const one of Array.isArray(value) ? value : [value]) lines.push(`${name}: ${one}`);
    }
    return Buffer.from(`${lines.join("\r\n")}\r\n\r\n`, "latin1");
  }

  #framed(bytes) {
    if (this.#request.method === "HEAD" || isBodyless(this.statusCode) || bytes.length === 0) return [];
    if (!this.#chunked) return [bytes];
    return [Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from("\r\n")];
  }

  flushHeaders() {
    if (!this.headersSent) this.#connection.send([this.#sendHead()]);
  }

  /** False if the client has not taken what was written before; `drain` tells when it has. */
  write(chunk, encoding, done) {
    if (this.writableEnded) throw new Error("write after end");
    const head = this.headersSent ? [] : [this.#sendHead()];
    const room = this.#connection.send([...head, ...this.#framed(bytesOf(chunk, encoding))]);
    const callback = typeof encoding === "function" ? encoding : done;
    if (callback) queueMicrotask(callback);
    return room;
  }

  end(chunk, encoding, done) {
    if (this.writableEnded) return this;
    if (typeof chunk === "function") [chunk, done] = [undefined, chunk];
    const bytes = chunk == null ? Buffer.alloc(0) : bytesOf(chunk, typeof encoding === "string" ? encoding : undefined);
    const head = this.headersSent ? [] : [this.#sendHead(bytes.length)];
    const last = this.#chunked && this.#request.method !== "HEAD" ? [Buffer.from("0\r\n\r\n")] : [];
    this.writableEnded = true;
    this.#connection.send([...head, ...this.#framed(bytes), ...last]);
    this.#connection.answered(this.keepsAlive);
    this.emit("finish");
    this.emit("close");
    const callback = typeof encoding === "function" ? encoding : done;
    callback?.();
    return this;
  }
}
