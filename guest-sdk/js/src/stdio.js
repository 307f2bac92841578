// A child's standard streams, in the manner of Node's.
import { EventEmitter } from "./events.js";
import { whenReady } from "./poll.js";
import { bytesOf, concat as join, dispose, u64 } from "./wit.js";

const READ_SIZE = 65536;
// Others come round after so many reads at the latest.
const BATCH = 16;
const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Bytes that are text where text is wanted, as Node's `Buffer` is: `text += chunk` is common. */
export class Chunk extends Uint8Array {
  toString(encoding) {
    textual(encoding);
    return decoder.decode(this);
  }
}

export const toChunk = (bytes) => bytesOf(bytes, Chunk);

export const concat = (parts) => join(parts, Chunk);

/** Whether this encoding gives text; UTF-8 is the only one that does. */
export function textual(encoding = "utf8") {
  if (encoding === null || encoding === "buffer") return false;
  if (/^utf-?8$/i.test(encoding)) return true;
  throw Object.assign(new TypeError(`unknown encoding: ${encoding}`), { code: "ERR_UNKNOWN_ENCODING" });
}

export function toBytes(data) {
  if (typeof data === "string") return encoder.encode(data);
  return ArrayBuffer.isView(data) ? bytesOf(data) : new Uint8Array(data);
}

/** How many bytes are characters to their end. */
function wholeCharacters(bytes) {
  for (let back = 1; back <= Math.min(3, bytes.length); back++) {
    const byte = bytes[bytes.length - back];
    if ((byte & 0xc0) === 0x80) continue;
    const size = byte >= 0xf0 ? 4 : byte >= 0xe0 ? 3 : byte >= 0xc0 ? 2 : 1;
    return size > back ? bytes.length - back : bytes.length;
  }
  return bytes.length;
}

/** Nothing is read before somebody listens for `data` or iterates; meanwhile the child is held up. */
export class Readable extends EventEmitter {
  readable = true;
  readableEnded = false;
  #take;
  #stream;
  #giveUp;
  #flowing = false;
  /** With an encoding: the bytes of a character whose end is still to come. */
  #rest;

  /** `take` gives the host's stream; without it there is none, and `end` is called soon. */
  constructor(take) {
    super();
    this.#take = take;
  }

  on(event, listener) {
    super.on(event, listener);
    if (event === "data") this.resume();
    return this;
  }

  setEncoding(encoding) {
    this.#rest = textual(encoding) ? new Chunk() : undefined;
    return this;
  }

  resume() {
    this.#flowing = true;
    this.#wait();
    return this;
  }

  pause() {
    this.#flowing = false;
    this.#giveUp?.();
    this.#giveUp = undefined;
    return this;
  }

  pipe(destination) {
    this.on("data", (part) => {
      if (destination.write(part) !== false) return;
      this.pause();
      destination.once("drain", () => this.resume());
    });
    this.on("end", () => destination.end());
    return destination;
  }

  /** Closes the pipe; the child cannot write any more. */
  destroy() {
    this.pause();
    this.readable = false;
    dispose(this.#stream ?? this.#take?.());
    this.#stream = this.#take = undefined;
    return this;
  }

  async *[Symbol.asyncIterator]() {
    for (let part = await this.#next(); part !== null; part = await this.#next()) yield part;
  }

  #next() {
    return new Promise((resolve) => {
      if (!this.readable) return resolve(null);
      const arrived = (part = null) => {
        this.off("data", arrived).off("end", arrived).pause();
        resolve(part);
      };
      this.on("end", arrived).on("data", arrived);
    });
  }

  #wait() {
    if (!this.readable || !this.#flowing || this.#giveUp) return;
    this.#stream ??= this.#take?.();
    if (!this.#stream) return;
    this.#giveUp = whenReady(this.#stream.subscribe(), () => {
      this.#giveUp = undefined;
      try {
        for (let count = 0; count < BATCH && this.#flowing && this.#read(); count++);
      } finally {
        this.#wait();
      }
    });
  }

  /** Whether there was something. */
  #read() {
    let bytes;
    try {
      bytes = this.#stream.read(u64(READ_SIZE));
    } catch {
      this.end();
      return false;
    }
    if (bytes.length) this.#deliver(toChunk(bytes));
    return bytes.length > 0;
  }

  #deliver(chunk) {
    if (!this.#rest) return this.emit("data", chunk);
    const bytes = this.#rest.length ? concat([this.#rest, chunk]) : chunk;
    const size = wholeCharacters(bytes);
    this.#rest = bytes.slice(size);
    if (size) this.emit("data", decoder.decode(bytes.subarray(0, size)));
  }

  end() {
    if (this.readableEnded) return;
    if (this.#rest?.length) this.emit("data", `${this.#rest}`);
    this.readableEnded = true;
    // Once the child is gone the host gives it no more.
    this.#take = undefined;
    this.destroy();
    this.emit("end");
    this.emit("close");
  }
}

/** Takes what is written at once, and hands it on as the child reads. */
export class Writable extends EventEmitter {
  writable = true;
  #stream;
  #queue = [];
  #giveUp;

  /** Without a stream everything is thrown away. */
  constructor(stream) {
    super();
    this.#stream = stream;
  }

  /** False when the child does not read that fast; `drain` says when it has caught up. */
  write(data, encoding, callback) {
    const done = typeof encoding === "function" ? encoding : callback;
    if (!this.writable) return this.#refuse("write after end", "ERR_STREAM_WRITE_AFTER_END", done);
    if (!this.#stream) return true;
    this.#queue.push({ bytes: toBytes(data), done });
    if (!this.#giveUp) this.#flush();
    return this.#queue.length === 0;
  }

  end(data, encoding, callback) {
    if (typeof data === "function") return this.end(undefined, undefined, data);
    const done = typeof encoding === "function" ? encoding : callback;
    if (done) this.once("finish", done);
    if (data != null) this.write(data);
    if (this.writable) {
      this.writable = false;
      if (!this.#queue.length) this.#finish();
    }
    return this;
  }

  destroy() {
    this.writable = false;
    this.#queue = [];
    this.#giveUp?.();
    dispose(this.#stream);
    this.#giveUp = this.#stream = undefined;
    return this;
  }

  #flush() {
    try {
      while (this.#queue.length) {
        const room = Number(this.#stream.checkWrite());
        if (room === 0) return this.#wait();
        this.#send(room);
      }
    } catch {
      const [{ done }] = this.#queue;
      this.destroy();
      return this.#refuse("write EPIPE", "EPIPE", done);
    }
    if (!this.writable) this.#finish();
  }

  #send(room) {
    const [first] = this.#queue;
    this.#stream.write(first.bytes.subarray(0, room));
    first.bytes = first.bytes.subarray(room);
    if (first.bytes.length) return;
    this.#queue.shift();
    if (first.done) queueMicrotask(() => first.done());
  }

  #wait() {
    this.#giveUp = whenReady(this.#stream.subscribe(), () => {
      this.#giveUp = undefined;
      this.#flush();
      if (this.writable && !this.#giveUp) this.emit("drain");
    });
  }

  #finish() {
    this.destroy();
    queueMicrotask(() => this.emit("finish") && this.emit("close"));
  }

  /** To the callback if there is one, as in Node. */
  #refuse(message, code, done) {
    const error = Object.assign(new Error(message), { code });
    queueMicrotask(() => (done ? done(error) : this.emit("error", error)));
    return false;
  }
}
