// The event loop of a Node script: timers, and whatever waits for the host. One instance runs it for as long as
// its process lives, as a Node process would.
import * as clock from "wasi:clocks/monotonic-clock@0.2.12";
import { poll } from "wasi:io/poll@0.2.12";
import { runJobs, unhandledRejections, watchRejections } from "../quickjs/jobs.js";
import { dispose, u64 } from "../wit.js";

const timers = new Set();
const sources = new Set();

const milliseconds = () => Number(clock.now()) / 1e6;

class Timer {
  #held = true;

  constructor(callback, delay, args, repeats) {
    this.delay = Math.max(1, Number(delay) || 1);
    this.at = milliseconds() + this.delay;
    Object.assign(this, { callback, args, repeats });
    timers.add(this);
  }
  ref() {
    this.#held = true;
    return this;
  }
  unref() {
    this.#held = false;
    return this;
  }
  hasRef() {
    return this.#held;
  }
  refresh() {
    this.at = milliseconds() + this.delay;
    timers.add(this);
    return this;
  }
  close() {
    timers.delete(this);
    return this;
  }
}

export const setTimeout = (callback, delay, ...args) => new Timer(callback, delay, args, false);
export const setInterval = (callback, delay, ...args) => new Timer(callback, delay, args, true);
export const setImmediate = (callback, ...args) => new Timer(callback, 0, args, false);
export const clearTimeout = (timer) => void timers.delete(timer);
export const clearInterval = clearTimeout;
export const clearImmediate = clearTimeout;

/** Whether a timer keeps the process alive. */
export const hasTimers = () => [...timers].some((timer) => timer.hasRef());

/**
 * Something to wait for: `pollables()` are what it waits on now, `ready()` is called when one of them is. The result
 * ends it.
 */
export function watch(source) {
  sources.add(source);
  return () => void sources.delete(source);
}

/** Called before the process ends by `process.exit`. */
export const lastActs = new Set();

/** What becomes of an error that nobody catches; the process decides. */
let uncaught = (error) => {
  throw error;
};
export const onUncaught = (handler) => void (uncaught = handler);

/** Calls back as the loop does: promises are served afterwards. */
export function guarded(action) {
  try {
    action();
    runJobs();
  } catch (error) {
    uncaught(error);
  }
  for (const reason of unhandledRejections()) uncaught(reason, "unhandledRejection");
}

function runTimers() {
  const now = milliseconds();
  for (const timer of [...timers].sort((a, b) => a.at - b.at)) {
    if (timer.at > now || !timers.has(timer)) continue;
    if (timer.repeats) timer.at = Math.max(now, timer.at + timer.delay);
    else timers.delete(timer);
    guarded(() => timer.callback(...timer.args));
  }
}

function turn() {
  const owners = [];
  const waiting = [];
  for (const source of sources) {
    for (const pollable of source.pollables()) {
      owners.push(source);
      waiting.push(pollable);
    }
  }
  let alarm;
  if (timers.size) {
    const wait = Math.max(0, Math.min(...[...timers].map((timer) => timer.at)) - milliseconds());
    alarm = clock.subscribeDuration(u64(Math.ceil(wait * 1e6)));
    waiting.push(alarm);
  }
  const ready = new Set([...poll(waiting)].map((index) => owners[index]));
  dispose(alarm);
  for (const source of ready) if (source && sources.has(source)) guarded(() => source.ready());
  runTimers();
}

/** Runs the script, and then what it has set going until `over()`. */
export function run(script, over) {
  Object.assign(globalThis, { setTimeout, setInterval, setImmediate, clearTimeout, clearInterval, clearImmediate });
  watchRejections();
  guarded(script);
  while (!over()) turn();
}
