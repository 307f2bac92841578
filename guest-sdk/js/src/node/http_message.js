// HTTP/1.1 from bytes to requests, one connection after the other's bytes: heads, bodies of a length or in chunks.
import { Buffer } from "./buffer.js";

const MAX_HEAD = 16384;
export const TOKEN = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
const HEAD_END = "\r\n\r\n";
// Node keeps the first of these, and joins what may be repeated.
const ONCE = new Set(["content-length", "content-type", "host", "authorization", "user-agent", "referer", "from"]);

export class BadRequest extends Error {
  constructor(message, status = 400) {
    super(message);
    this.status = status;
  }
}

function fields(lines) {
  const headers = {};
  const rawHeaders = [];
  for (const line of lines) {
    const colon = line.indexOf(":");
    const name = line.slice(0, colon);
    const value = line.slice(colon + 1).replace(/^[ \t]+|[ \t]+$/g, "");
    if (colon < 1 || !TOKEN.test(name) || /[\0\r\n]/.test(value)) throw new BadRequest("malformed header");
    rawHeaders.push(name, value);
    const key = name.toLowerCase();
    if (key === "set-cookie") (headers[key] ??= []).push(value);
    else if (!(key in headers)) headers[key] = value;
    else if (key === "content-length" || key === "host") throw new BadRequest(`${key} twice`);
    else if (!ONCE.has(key)) headers[key] += (key === "cookie" ? "; " : ", ") + value;
  }
  return { headers, rawHeaders };
}

function framing(headers, version) {
  const coding = headers["transfer-encoding"];
  const length = headers["content-length"];
  if (coding !== undefined) {
    if (length !== undefined || version !== "1.1") throw new BadRequest("two ways to tell the body's length");
    if (coding.toLowerCase() !== "chunked") throw new BadRequest("unknown transfer-encoding", 501);
    return { chunked: true, left: 0 };
  }
  if (length !== undefined && !/^\d{1,15}$/.test(length)) throw new BadRequest("malformed content-length");
  return { chunked: false, left: Number(length ?? 0) };
}

function parseHead(text) {
  const [line, ...lines] = text.split("\r\n");
  const found = /^([!#$%&'*+.^_`|~0-9A-Za-z-]+) (\S+) HTTP\/(1\.[01])$/.exec(line);
  if (!found) throw new BadRequest("malformed request line");
  const [, method, url, httpVersion] = found;
  const { headers, rawHeaders } = fields(lines);
  if (httpVersion === "1.1" && headers.host === undefined) throw new BadRequest("no host");
  return { method, url, httpVersion, headers, rawHeaders, ...framing(headers, httpVersion) };
}

/** Bytes in; `head`, `data` and `end` of one request after the other out, as far as they have come. */
export class Parser {
  #bytes = Buffer.alloc(0);
  #body;

  feed(bytes) {
    this.#bytes = this.#bytes.length ? Buffer.concat([this.#bytes, bytes]) : Buffer.from(bytes);
  }

  /** Whether a request has begun that is not there yet. */
  get isMidway() {
    return this.#body !== undefined || this.#bytes.length > 0;
  }

  /** The head of the next request, once it is whole. */
  head() {
    while (this.#bytes[0] === 13 && this.#bytes[1] === 10) this.#bytes = this.#bytes.subarray(2);
    const end = this.#find(HEAD_END, 0, MAX_HEAD);
    if (end < 0) return undefined;
    const head = parseHead(this.#bytes.toString("latin1", 0, end));
    this.#bytes = this.#bytes.subarray(end + HEAD_END.length);
    this.#body = { chunked: head.chunked, left: head.left };
    return head;
  }

  #find(text, from, most) {
    const { length } = this.#bytes;
    for (let at = from; at + text.length <= length && at <= most; at++) {
      let same = 0;
      while (same < text.length && this.#bytes[at + same] === text.charCodeAt(same)) same++;
      if (same === text.length) return at;
    }
    if (length > most) throw new BadRequest("too large", 431);
    return -1;
  }

  #take(most) {
    const part = this.#bytes.subarray(0, most);
    this.#bytes = this.#bytes.subarray(part.length);
    return part;
  }

  /** The next piece of the body; undefined if it has not come, null after the last. */
  piece() {
    if (this.#body?.chunked) return this.#chunk();
    if (!this.#body?.left) return this.#ended();
    const part = this.#take(this.#body.left);
    this.#body.left -= part.length;
    return part.length ? part : undefined;
  }

  #ended() {
    this.#body = undefined;
    return null;
  }

  #chunk() {
    const body = this.#body;
    if (body.trailing) return this.#trailers();
    if (body.left) {
      const part = this.#take(body.left);
      body.left -= part.length;
      return part.length ? part : undefined;
    }
    const line = body.inside ? this.#line() : "";
    if (line === undefined) return undefined;
    if (line) throw new BadRequest("a chunk is longer than it says");
    body.inside = false;
    const size = this.#line();
    if (size === undefined) return undefined;
    const found = /^([0-9a-fA-F]{1,12})[ \t]*(;.*)?$/.exec(size);
    if (!found) throw new BadRequest("malformed chunk");
    body.left = parseInt(found[1], 16);
    if (body.left) {
      body.inside = true;
      return this.#chunk();
    }
    body.trailing = true;
    return this.#trailers();
  }

  /** They are read and dropped. */
  #trailers() {
    for (;;) {
      const line = this.#line();
      if (line === undefined) return undefined;
      if (line === "") return this.#ended();
    }
  }

  #line() {
    const end = this.#find("\r\n", 0, MAX_HEAD);
    if (end < 0) return undefined;
    const line = this.#bytes.toString("latin1", 0, end);
    this.#bytes = this.#bytes.subarray(end + 2);
    return line;
  }
}
