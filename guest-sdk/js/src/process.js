// Node's `process` over `host:cluster/process` and `ipc`.
//
// Everything is asked of the host when it is used, never while the module is loaded: loading happens when the
// component is built. Listeners may be added then; they are in every instance.
import * as ipc from "host:cluster/ipc@0.1.0";
import * as raw from "host:cluster/process@0.1.0";
import * as environment from "wasi:cli/environment@0.2.12";
import { attempt, blocking, caseOf, toError, u64 } from "./wit.js";
import { EventEmitter } from "./events.js";
import { decode, encode } from "./message.js";
import { whenReady } from "./poll.js";

const NANOSECONDS = 1_000_000_000n;

class Process extends EventEmitter {
  get pid() {
    return raw.identity().pid;
  }
  get ppid() {
    return raw.identity().primaryPid;
  }
  get title() {
    return raw.title();
  }
  set title(title) {
    attempt("set the title", () => raw.setTitle(title));
  }
  get version() {
    return `v${this.versions.host}`;
  }
  get versions() {
    return Object.fromEntries(raw.versions());
  }
  get config() {
    return { variables: Object.fromEntries(raw.config()) };
  }
  get arch() {
    return raw.arch();
  }
  get platform() {
    return raw.platform();
  }
  get execPath() {
    return raw.execPath();
  }
  get execArgv() {
    return raw.execArguments();
  }
  get argv() {
    return [raw.execPath(), ...raw.arguments()];
  }
  get env() {
    return Object.fromEntries(environment.getEnvironment());
  }
  get connected() {
    return ipc.connected();
  }

  cwd() {
    return environment.initialCwd() ?? "/";
  }

  /** Bytes, as in Node: heapTotal is what this instance may grow to. `guest` is all instances together. */
  memoryUsage() {
    const { rss, guest, instance, instanceLimit } = raw.memoryUsage();
    return {
      rss: Number(rss),
      heapTotal: Number(instanceLimit),
      heapUsed: Number(instance),
      external: 0,
      arrayBuffers: 0,
      guest: Number(guest),
    };
  }

  /** Microseconds, as in Node. */
  cpuUsage(since = { user: 0, system: 0 }) {
    const { user, system } = raw.cpuUsage();
    const microseconds = (nanoseconds) => Math.round(Number(nanoseconds) / 1000);
    return { user: microseconds(user) - since.user, system: microseconds(system) - since.system };
  }

  uptime() {
    return Number(raw.uptime()) / 1e9;
  }

  getuid = () => raw.credentials().uid;
  getgid = () => raw.credentials().gid;
  geteuid = () => raw.credentials().effectiveUid;
  getegid = () => raw.credentials().effectiveGid;
  getgroups = () => [...raw.credentials().groups];

  exit(code = this.exitCode ?? 0) {
    raw.exit(code & 0xff);
  }

  abort() {
    raw.abort();
  }

  kill(pid, signal = "SIGTERM") {
    attempt(`kill ${pid}`, () => raw.kill(pid, signal.toLowerCase()));
    return true;
  }

  /** Waits if the queue is full, where Node would let it grow. */
  send(message) {
    attempt("send a message", () => ipc.blockingSend(encode(message)));
    return true;
  }

  /** Sends a message and waits for what the primary program replies. Milliseconds. Node has no such thing. */
  request(message, { timeout } = {}) {
    const body = encode(message);
    const limit = timeout === undefined ? undefined : u64(Math.round(timeout * 1e6));
    const pending = blocking("send a request", () => ipc.request(body, limit), ipc.subscribeSend);
    return decode(blocking("await the reply", () => pending.take(), () => pending.subscribe()));
  }

  /** The next message, for programs with a loop of their own; others listen for `message`. */
  receive() {
    return decode(attempt("receive a message", () => ipc.blockingReceive(undefined)).body);
  }

  disconnect() {
    ipc.disconnect();
  }

  nextTick(callback, ...args) {
    queueMicrotask(() => callback(...args));
  }
}

const process = new Process();

/** Nanoseconds since `since`, as a pair [seconds, nanoseconds]. */
process.hrtime = (since) => {
  const now = BigInt(raw.hrtime()) - (since ? BigInt(since[0]) * NANOSECONDS + BigInt(since[1]) : 0n);
  return [Number(now / NANOSECONDS), Number(now % NANOSECONDS)];
};
process.hrtime.bigint = () => BigInt(raw.hrtime());

export default process;

/**
 * `export { messageHandler } from "host-sdk/process"` makes `process.on("message", (value, reply) => …)` work;
 * `reply` is there if the primary program waits for an answer.
 */
export const messageHandler = {
  onMessage({ body, request }) {
    const respond = (value) => {
      const bytes = encode(value);
      blocking("reply", () => ipc.reply(request, bytes), ipc.subscribeSend);
    };
    process.emit("message", decode(body), request == null ? undefined : respond);
  },
};

/** `export { signalHandler } from "host-sdk/process"` makes `process.on("SIGTERM", …)` work. */
export const signalHandler = {
  onSignal(signal) {
    const name = signal.toUpperCase();
    process.emit(name, name);
  },
};

/** `export { lifecycle } from "host-sdk/process"`: the events `start` (before the first request) and `drain`. */
export const lifecycle = {
  start() {
    process.emit("start");
  },
  drain() {
    process.emit("drain");
  },
};

/** Tells of messages until the channel closes. */
function receiveAll(resolve, reject) {
  whenReady(ipc.subscribe(), () => {
    let message;
    try {
      message = ipc.receive();
    } catch (error) {
      if (caseOf(error) === "not-connected") return resolve();
      if (caseOf(error) !== "would-block") return reject(toError("receive a message", error));
    }
    receiveAll(resolve, reject);
    if (message) messageHandler.onMessage(message);
  });
}

/**
 * `export { run } from "host-sdk/process"` makes a program for `fork`, in which `process.on("message", …)` works. It
 * ends after `disconnect`.
 */
export const run = {
  run() {
    const ended = new Promise(receiveAll).then(() => void process.emit("disconnect"));
    return globalThis.settle ? globalThis.settle(ended) : ended;
  },
};
