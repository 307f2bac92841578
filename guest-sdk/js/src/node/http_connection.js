// One client's connection: its requests are answered one after the other, and what it does not take waits.
import { Connection as Raw } from "host:cluster/connections@0.1.0";
import { EventEmitter } from "../events.js";
import { caseOf, dispose, payloadOf, u64 } from "../wit.js";
import { Buffer } from "./buffer.js";
import { BadRequest, Parser } from "./http_message.js";
import { STATUS_CODES, ServerResponse } from "./http_response.js";
import { clearTimeout, lastActs, setTimeout, watch } from "./loop.js";

const READ_SIZE = 65536;
// Above this, `write` says that the client should take some first.
const HIGH_WATER = 65536;

export const open = new Set();

/** The process is about to end: connections that wait for a request go on in another one. */
let handsBack = false;
export function handBack() {
  handsBack = true;
  for (const connection of open) connection.closeIfIdle();
}
lastActs.add(handBack);

/** Somebody else goes on with it; what nobody takes is closed. */
function giveBack(raw) {
  try {
    Raw.handBack(raw, new Uint8Array());
  } catch (refused) {
    dispose(payloadOf(refused).connection);
  }
}

export class IncomingMessage extends EventEmitter {
  complete = false;
  #encoding;
  #waiting = [];
  #flows = false;

  constructor(head, connection) {
    super();
    const { method, url, httpVersion, headers, rawHeaders } = head;
    Object.assign(this, { method, url, httpVersion, headers, rawHeaders, socket: connection, connection });
    const wish = (headers.connection ?? "").toLowerCase();
    this.keepsAlive = httpVersion === "1.1" ? !wish.includes("close") : wish.includes("keep-alive");
  }

  setEncoding(encoding) {
    this.#encoding = encoding;
    return this;
  }
  /** As in Node, the body waits until somebody listens for it. */
  on(event, listener) {
    super.on(event, listener);
    if (event === "data" || event === "end") queueMicrotask(() => this.resume());
    return this;
  }
  resume() {
    this.#flows = true;
    for (const piece of this.#waiting.splice(0)) this.#tell(piece);
    return this;
  }
  get isFull() {
    return this.#waiting.reduce((size, piece) => size + (piece?.length ?? 0), 0) >= HIGH_WATER;
  }
  pause() {
    this.#flows = false;
    return this;
  }
  /** A piece of the body, or null after the last. */
  push(piece) {
    if (this.#flows) this.#tell(piece);
    else this.#waiting.push(piece);
  }
  #tell(piece) {
    if (piece !== null) return this.emit("data", this.#encoding ? piece.toString(this.#encoding) : piece);
    this.complete = true;
    this.emit("end");
    this.emit("close");
  }
}

export class Connection extends EventEmitter {
  #raw;
  #input;
  #output;
  #readable;
  #writable;
  #parser = new Parser();
  #out = [];
  #waits = 0;
  #request;
  #response;
  #ending = false;
  #leaves = false;
  #clientEnded = false;
  #limit;
  #isLate = false;
  #unwatch;

  constructor(raw, server) {
    super();
    this.#raw = raw;
    this.server = server;
    this.#input = raw.inputStream();
    this.#output = raw.outputStream();
    this.#readable = this.#input.subscribe();
    this.#writable = this.#output.subscribe();
    open.add(this);
    this.#unwatch = watch({ pollables: () => this.#wants(), ready: () => this.#move() });
    this.#move();
  }

  get remoteAddress() {
    return this.#raw?.peerAddress().val?.address;
  }
  get remotePort() {
    return this.#raw?.peerAddress().val?.port;
  }
  get destroyed() {
    return this.#raw === undefined;
  }

  /**
   * Nothing is read while an answer is outstanding whose request is there, or nobody takes the request's body: that
   * holds back who sends more.
   */
  #wants() {
    const wants = this.#out.length ? [this.#writable] : [];
    const full = this.#response && (this.#request.read || this.#request.isFull);
    if (!this.#clientEnded && !this.#ending && !full) wants.push(this.#readable);
    return wants;
  }

  #move() {
    this.#flush();
    if (!this.destroyed && !this.#clientEnded && !this.#ending) this.#read();
    if (!this.destroyed) this.#advance();
  }

  #read() {
    try {
      const bytes = this.#input.read(u64(READ_SIZE));
      if (bytes.length) this.#parser.feed(bytes);
    } catch (error) {
      if ((caseOf(error) ?? payloadOf(error)) !== "closed") return this.destroy();
      this.#clientEnded = true;
      if (!this.#response) this.#finish();
    }
  }

  #advance() {
    try {
      while (!this.destroyed && !this.#ending) {
        if (!this.#request && !this.#begin()) break;
        if (!this.#takeBody()) break;
        if (this.#response) break;
        this.#request = undefined;
      }
    } catch (error) {
      if (!(error instanceof BadRequest)) throw error;
      this.#refuse(error);
    }
  }

  #begin() {
    const head = this.#parser.head();
    if (!head) {
      this.#restless();
      return false;
    }
    this.#allow(this.server.requestTimeout, () => this.#request && !this.#request.read && this.destroy());
    this.#isLate = false;
    this.#request = new IncomingMessage(head, this);
    this.#response = new ServerResponse(this.#request, this);
    if (/100-continue/i.test(head.headers.expect ?? "")) this.send([Buffer.from("HTTP/1.1 100 Continue\r\n\r\n")]);
    if (!this.server.emit("request", this.#request, this.#response)) this.#response.writeHead(501).end();
    return true;
  }

  /** Whether all of it is there. */
  #takeBody() {
    const request = this.#request;
    while (!request.read) {
      const piece = this.#parser.piece();
      if (piece === undefined) return false;
      if (piece === null) request.read = true;
      // Of a request that is answered already, nobody reads the rest.
      if (this.#response) request.push(piece);
    }
    return true;
  }

  /** Whatever it is doing has so many milliseconds, as under Node; that does not keep the process alive. */
  #allow(limit, action) {
    clearTimeout(this.#limit);
    if (limit > 0) this.#limit = setTimeout(action, limit).unref();
  }

  /** Between two requests it is closed after a while; a head that has begun has to come within another. */
  #restless() {
    if (!this.#parser.isMidway) return this.#allow(this.server.keepAliveTimeout, () => this.closeIfIdle());
    if (!this.#isLate) this.#allow(this.server.headersTimeout, () => this.#refuse(new BadRequest("too slow", 408)));
    this.#isLate = true;
  }

  #refuse({ message, status }) {
    const lines = [`HTTP/1.1 ${status} ${STATUS_CODES[status]}`, "connection: close", `content-length: ${message.length + 1}`];
    this.send([Buffer.from(`${lines.join("\r\n")}\r\n\r\n${message}\n`)]);
    this.#finish();
  }

  send(parts) {
    if (this.destroyed) return false;
    // A head and a small body are one packet.
    const whole = Buffer.concat(parts);
    this.#out.push(whole);
    this.#waits += whole.length;
    this.#flush();
    return this.#waits < HIGH_WATER;
  }

  #flush() {
    const waited = this.#waits;
    try {
      while (this.#out.length) {
        const room = Number(this.#output.checkWrite());
        if (room === 0) return;
        const [first] = this.#out;
        const part = first.subarray(0, room);
        this.#output.write(part);
        this.#waits -= part.length;
        if (part.length === first.length) this.#out.shift();
        else this.#out[0] = first.subarray(part.length);
      }
    } catch {
      return this.destroy();
    }
    if (waited >= HIGH_WATER) this.#response?.emit("drain");
    if (this.#ending) this.destroy();
  }

  /** Its answer is written: the next request's turn, or the end. */
  answered(keepsAlive) {
    this.#response = undefined;
    if (!keepsAlive || this.#clientEnded) return this.#finish();
    queueMicrotask(() => {
      this.#advance();
      if (!this.server.listening) this.closeIfIdle();
    });
  }

  closeIfIdle() {
    if (this.#response || this.#parser.isMidway) return;
    if (handsBack && !this.#clientEnded) this.#leaves = true;
    this.#finish();
  }

  /** Closes once everything is sent. */
  #finish() {
    this.#ending = true;
    if (!this.#out.length) this.destroy();
  }

  destroy() {
    if (this.destroyed) return this;
    this.#unwatch();
    clearTimeout(this.#limit);
    const raw = this.#raw;
    this.#raw = undefined;
    for (const one of [this.#readable, this.#writable, this.#input, this.#output]) dispose(one);
    if (this.#leaves) giveBack(raw);
    else dispose(raw);
    open.delete(this);
    if (this.#response) this.#response.emit("close");
    this.emit("close");
    this.server.closeIfDone();
    return this;
  }
}
