// Node's `cluster` as the primary program sees it, over `host:cluster/primary`:
//
//   import cluster, { run } from "host-sdk/cluster/primary";
//   const program = run(() => { cluster.on("message", …); cluster.fork(); });
//   export { program as run };
//
// `main` is called when the program starts; then events and timers are delivered until the host has stopped.
import * as raw from "host:cluster/primary@0.1.0";
import * as clock from "wasi:clocks/monotonic-clock@0.2.12";
import { EventEmitter } from "./events.js";
import { decode, encode } from "./message.js";
import { takeTurns, turn, waiting } from "./poll.js";
import { attempt, blocking, caseOf, exitOf, u64 } from "./wit.js";

class Worker extends EventEmitter {
  exitedAfterDisconnect = false;
  #dead = false;
  #pid;

  constructor(id) {
    super();
    this.id = id;
    try {
      this.#pid = raw.worker(id).pid;
    } catch {
      // It has ended already.
    }
  }

  #info() {
    return attempt(`worker ${this.id}`, () => raw.worker(this.id));
  }
  /** Known when it has ended, too. */
  get process() {
    return { pid: this.#pid, kill: (signal) => this.kill(signal) };
  }

  /** Waits while the worker's queue is full, where Node would let it grow. */
  send(message) {
    const body = encode(message);
    blocking(`send to worker ${this.id}`, () => raw.send(this.id, body), () => raw.subscribeSend(this.id));
    return true;
  }
  kill(signal = "SIGTERM") {
    attempt(`kill worker ${this.id}`, () => raw.kill(this.id, signal.toLowerCase()));
  }
  disconnect() {
    attempt(`disconnect worker ${this.id}`, () => raw.disconnect(this.id));
    return this;
  }
  isConnected() {
    return !this.#dead && this.#info().connected;
  }
  isDead() {
    return this.#dead;
  }

  /** For the event loop below. */
  ended(afterDisconnect) {
    this.#dead = true;
    this.exitedAfterDisconnect = afterDisconnect;
  }
}

class Cluster extends EventEmitter {
  isPrimary = true;
  isMaster = true;
  isWorker = false;
  /** By number; kept up to date by events. */
  workers = {};

  get settings() {
    const { plugin, arguments: args, silent, ...rest } = raw.settings();
    return { ...rest, exec: plugin, args, silent };
  }

  fork(env = {}) {
    const pairs = Object.entries(env).map(([name, value]) => [name, `${value}`]);
    return this.track(attempt("fork a worker", () => raw.fork(pairs)));
  }

  /** `exec` is the name of a plugin that the operator gave. */
  setupPrimary({ exec, args, silent } = {}) {
    attempt("set up the primary", () => raw.setup({ plugin: exec, arguments: args, silent }));
  }

  disconnect() {
    attempt("disconnect the cluster", () => raw.disconnect(undefined));
  }

  /** Starts the next generation. Node has no such thing. */
  reload() {
    attempt("reload", () => raw.reload());
  }

  track(id) {
    return (this.workers[id] ??= new Worker(id));
  }
}

const cluster = new Cluster();
export default cluster;

/** `worker` and then the cluster hear of it, as in Node. */
function tell(event, worker, ...values) {
  worker.emit(event, ...values);
  cluster.emit(event, worker, ...values);
}

/** Tells the listeners of one event; of a message only if `takes` does not take it. */
export const deliver = ({ tag, val }, takes) => HANDLERS[tag](val, takes);

const HANDLERS = {
  fork: (id) => tell("fork", cluster.track(id)),
  online: (id) => tell("online", cluster.track(id)),
  disconnect: (id) => tell("disconnect", cluster.track(id)),
  listening: ({ worker, address }) => tell("listening", cluster.track(worker), addressOf(address)),
  message: ({ worker: id, message }, takes) => {
    const worker = cluster.track(id);
    const reply = message.request == null ? undefined : (value) => respond(id, message.request, value);
    const value = decode(message.body);
    if (!takes?.(worker, value)) tell("message", worker, value, reply);
  },
  exit: ({ worker: id, status, exitedAfterDisconnect }) => {
    const worker = cluster.track(id);
    delete cluster.workers[id];
    worker.ended(exitedAfterDisconnect);
    tell("exit", worker, ...exitOf(status));
  },
  setup: () => cluster.emit("setup", cluster.settings),
  signal: (name) => cluster.emit(name.toUpperCase(), name.toUpperCase()),
  lost: (count) => cluster.emit("lost", count),
};

function respond(id, request, value) {
  const body = encode(value);
  blocking(`reply to worker ${id}`, () => raw.reply(id, request, body), () => raw.subscribeSend(id));
}

const addressOf = ({ tag, val }) => (tag === "ip" ? { address: val.address, port: val.port } : { path: val });

const timers = new Map();
let lastTimer = 0;

const milliseconds = () => Number(clock.now()) / 1e6;
const add = (repeat) => (callback, delay = 0, ...args) => {
  timers.set(++lastTimer, { at: milliseconds() + delay, repeat: repeat && Math.max(1, delay), callback, args });
  return lastTimer;
};
export const setTimeout = add(false);
export const setInterval = add(true);
export const clearTimeout = (timer) => void timers.delete(timer);
export const clearInterval = clearTimeout;

function runTimers() {
  const now = milliseconds();
  for (const [id, timer] of timers) {
    if (timer.at > now) continue;
    if (timer.repeat) timer.at = Math.max(now, timer.at + timer.repeat);
    else timers.delete(id);
    timer.callback(...timer.args);
  }
}

// Timers come round after so many events at the latest.
const BATCH = 256;

/** Takes what has happened; if that is nothing, waits for an event or the next timer. False after the last event. */
function deliverEvents() {
  for (let count = 0, limit = deliverOthers(); count < BATCH; count += 1, limit = 0) {
    try {
      const event = raw.blockingNextEvent(limit === undefined ? undefined : u64(Math.ceil(limit * 1e6)));
      deliver(event);
    } catch (error) {
      if (caseOf(error) === "would-block") return true;
      if (caseOf(error) === "closed") return false;
      throw error;
    }
  }
  return true;
}

/** What children do comes first. Gives the time to wait for an event: none if that was done here. */
function deliverOthers() {
  const limit = untilTimer();
  if (!waiting()) return limit;
  turn(limit, raw.subscribe());
  return 0;
}

/** Milliseconds; undefined without timers. */
function untilTimer() {
  if (!timers.size) return undefined;
  return Math.max(0, Math.min(...[...timers.values()].map(({ at }) => at)) - milliseconds());
}

function* turns(main) {
  takeTurns();
  Object.assign(globalThis, { setTimeout, setInterval, clearTimeout, clearInterval });
  for (const { id } of raw.workers()) cluster.track(id);
  main();
  yield;
  while (deliverEvents()) {
    yield;
    runTimers();
    yield;
  }
}

/** What to export as `run`. Promises are served between events: by the engine, or by quickjs/jobs.js. */
export function run(main) {
  if (globalThis.runJobs) {
    return {
      run() {
        for (const _ of turns(main)) globalThis.runJobs();
      },
    };
  }
  return {
    async run() {
      for (const _ of turns(main)) await null;
    },
  };
}
