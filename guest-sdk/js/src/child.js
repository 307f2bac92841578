// Node's `ChildProcess` over `host:cluster/child-process`.
import { EventEmitter } from "./events.js";
import { decode, encode } from "./message.js";
import { whenReady } from "./poll.js";
import { nanoseconds, signalOf } from "./spawn_options.js";
import { Readable, Writable } from "./stdio.js";
import { caseOf, dispose, exitOf, toError } from "./wit.js";

// Others come round after so many events at the latest.
const BATCH = 256;

export class ChildProcess extends EventEmitter {
  pid;
  exitCode = null;
  signalCode = null;
  killed = false;
  /** The limit that ended it: `timeout`, `cpu-time`, `memory`. Node has no such thing. */
  limit;
  stdin = null;
  stdout = null;
  stderr = null;
  #raw;
  #giveUp;
  /** What waits for room in the channel, in order. */
  #outbox = [];
  #sending;

  constructor(program, args) {
    super();
    this.spawnfile = program;
    this.spawnargs = [program, ...args];
  }

  /** `raw` is the host's child. */
  started(raw, { stdin, stdout, stderr }) {
    this.#raw = raw;
    this.pid = raw.pid();
    if (stdin === "pipe") this.stdin = new Writable(raw.stdin());
    if (stdout === "pipe") this.stdout = new Readable(() => raw.stdout());
    if (stderr === "pipe") this.stderr = new Readable(() => raw.stderr());
    this.#listen();
    queueMicrotask(() => this.emit("spawn"));
  }

  /** Whoever reads of it finds nothing. */
  failed(error, { stdin, stdout, stderr }) {
    if (stdin === "pipe") this.stdin = new Writable();
    if (stdout === "pipe") this.stdout = new Readable();
    if (stderr === "pipe") this.stderr = new Readable();
    queueMicrotask(() => {
      this.emit("error", error);
      this.#closed();
    });
  }

  get connected() {
    return this.#raw?.connected() ?? false;
  }

  get stdio() {
    return [this.stdin, this.stdout, this.stderr];
  }

  /** False if it has ended. */
  kill(signal) {
    if (signal === 0) return this.#alive();
    const name = signalOf(signal);
    try {
      if (this.#alive()) this.#raw.kill(name);
      else return false;
    } catch (error) {
      if (caseOf(error) === "ended") return false;
      throw error;
    }
    this.killed = true;
    return true;
  }

  /** The answer to a request waits for no child. */
  ref() {}
  unref() {}

  #alive() {
    return this.#raw !== undefined && this.exitCode === null && this.signalCode === null;
  }

  /** False if it has to wait for room; `callback` is told when the host has it, or why not. */
  send(message, ...rest) {
    const callback = rest.find((one) => typeof one === "function");
    const body = encode(message);
    this.#post(() => this.#raw.send(body), (error) => {
      if (callback) queueMicrotask(() => callback(error ?? null));
      else if (error) queueMicrotask(() => this.emit("error", error));
    });
    return this.#outbox.length === 0;
  }

  /** Sends a message; the promise has what the child replies. Milliseconds. Node has no such thing. */
  request(message, { timeout } = {}) {
    const body = encode(message);
    return new Promise((resolve, reject) => {
      const ask = () => this.#raw.request(body, nanoseconds(timeout));
      this.#post(ask, (error, pending) => (error ? reject(error) : awaitReply(pending, resolve, reject)));
    });
  }

  /** What was sent before is delivered. */
  disconnect() {
    this.#post(() => this.#raw.disconnect(), () => {});
  }

  #post(action, done) {
    this.#outbox.push({ action, done });
    if (!this.#sending) this.#deliver();
  }

  #deliver() {
    while (this.#outbox.length) {
      const [{ action, done }] = this.#outbox;
      let result;
      try {
        if (!this.#raw) throw "not-connected";
        result = [undefined, action()];
      } catch (error) {
        if (caseOf(error) === "would-block") return this.#waitForRoom();
        result = [toError(`send to ${this.spawnfile}`, error)];
      }
      this.#outbox.shift();
      done(...result);
    }
  }

  #waitForRoom() {
    this.#sending = whenReady(this.#raw.subscribeSend(), () => {
      this.#sending = undefined;
      this.#deliver();
    });
  }

  #listen() {
    this.#giveUp = whenReady(this.#raw.subscribe(), () => {
      try {
        for (let count = 0, event; count < BATCH && (event = this.#nextEvent()); count++) this.#tell(event);
      } finally {
        // A listener that throws is not the last.
        if (this.#raw) this.#listen();
      }
    });
  }

  #nextEvent() {
    try {
      return this.#raw?.nextEvent();
    } catch (error) {
      if (caseOf(error) !== "would-block") throw error;
    }
  }

  #tell({ tag, val }) {
    if (tag === "message") this.emit("message", decode(val.body), this.#replier(val.request));
    else if (tag === "disconnect") this.emit("disconnect");
    else if (tag === "exit") this.#exited(val);
    else this.#closed();
  }

  /** As with `process.on("message")`: there if the sender waits for an answer. */
  #replier(request) {
    if (request == null) return undefined;
    return (value) => {
      const body = encode(value);
      this.#post(() => this.#raw.reply(request, body), (error) => error && this.emit("error", error));
    };
  }

  #exited({ status, limit }) {
    [this.exitCode, this.signalCode] = exitOf(status);
    this.limit = limit ?? undefined;
    this.emit("exit", this.exitCode, this.signalCode);
  }

  #closed() {
    this.stdin?.destroy();
    this.stdout?.end();
    this.stderr?.end();
    this.#giveUp?.();
    this.#sending?.();
    this.#sending = undefined;
    dispose(this.#raw);
    this.#raw = undefined;
    this.#deliver();
    this.emit("close", this.exitCode, this.signalCode);
  }
}

function awaitReply(pending, resolve, reject) {
  whenReady(pending.subscribe(), () => {
    let reply;
    try {
      reply = decode(pending.take());
    } catch (error) {
      if (caseOf(error) === "would-block") return awaitReply(pending, resolve, reject);
      reject(toError("await the reply", error));
    }
    dispose(pending);
    resolve(reply);
  });
}
