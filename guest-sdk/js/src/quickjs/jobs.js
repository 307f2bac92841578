// Promises, microtasks and timers of our own.
//
// A call into the component must have answered when it returns, but the engine runs its promise jobs only
// afterwards. So `async` functions are compiled to generators (see build/bundle.js) on this Promise, and `settle`
// runs jobs and timers until the promise it is given is settled.
import * as clock from "wasi:clocks/monotonic-clock@0.2.12";
import { turn, waiting } from "../poll.js";
import { dispose } from "../wit.js";

const jobs = [];
const timers = new Map();
let nextTimer = 1;

/** Promises that were rejected and that nobody has asked, if a program wants to know of them. */
let rejected;

export function watchRejections() {
  rejected = new Set();
}

/** What they were rejected with; told once. */
export function unhandledRejections() {
  const reasons = [...(rejected ?? [])].map((promise) => promise.reason());
  rejected?.clear();
  return reasons;
}

const PENDING = 0;
const FULFILLED = 1;
const REJECTED = 2;

export class Promise {
  #state = PENDING;
  #value;
  #reactions = [];
  #handled = false;

  constructor(executor) {
    const { resolve, reject } = this.#resolvers();
    try {
      executor(resolve, reject);
    } catch (error) {
      reject(error);
    }
  }

  #resolvers() {
    let done = false;
    const once = (action) => (value) => {
      if (done) return;
      done = true;
      action(value);
    };
    return {
      resolve: once((value) => this.#resolve(value)),
      reject: once((reason) => this.#settle(REJECTED, reason)),
    };
  }

  #resolve(value) {
    if (value === this) return this.#settle(REJECTED, new TypeError("a promise cannot resolve to itself"));
    let then;
    try {
      then = value !== null && (typeof value === "object" || typeof value === "function") ? value.then : undefined;
    } catch (error) {
      return this.#settle(REJECTED, error);
    }
    if (typeof then !== "function") return this.#settle(FULFILLED, value);
    jobs.push(() => {
      const { resolve, reject } = this.#resolvers();
      try {
        then.call(value, resolve, reject);
      } catch (error) {
        reject(error);
      }
    });
  }

  #settle(state, value) {
    this.#state = state;
    this.#value = value;
    if (state === REJECTED && !this.#handled) rejected?.add(this);
    for (const reaction of this.#reactions.splice(0)) jobs.push(reaction);
  }

  then(onFulfilled, onRejected) {
    this.#handled = true;
    rejected?.delete(this);
    return new Promise((resolve, reject) => {
      const react = () => {
        const handler = this.#state === FULFILLED ? onFulfilled : onRejected;
        if (typeof handler !== "function") return (this.#state === FULFILLED ? resolve : reject)(this.#value);
        try {
          resolve(handler(this.#value));
        } catch (error) {
          reject(error);
        }
      };
      if (this.#state === PENDING) this.#reactions.push(react);
      else jobs.push(react);
    });
  }

  catch(onRejected) {
    return this.then(undefined, onRejected);
  }

  finally(action) {
    return this.then(
      (value) => Promise.resolve(action?.()).then(() => value),
      (reason) => Promise.resolve(action?.()).then(() => Promise.reject(reason)),
    );
  }

  static resolve(value) {
    return value instanceof Promise ? value : new Promise((resolve) => resolve(value));
  }

  static reject(reason) {
    return new Promise((_, reject) => reject(reason));
  }

  static withResolvers() {
    let resolvers;
    const promise = new Promise((resolve, reject) => (resolvers = { resolve, reject }));
    return { promise, ...resolvers };
  }

  static all(values) {
    return collect(values, (promise, keep, reject) => promise.then(keep, reject));
  }

  static allSettled(values) {
    return collect(values, (promise, keep) =>
      promise.then(
        (value) => keep({ status: "fulfilled", value }),
        (reason) => keep({ status: "rejected", reason }),
      ),
    );
  }

  static race(values) {
    return new Promise((resolve, reject) => {
      for (const value of values) Promise.resolve(value).then(resolve, reject);
    });
  }

  static any(values) {
    return new Promise((resolve, reject) => {
      collect(values, (promise, keep) => promise.then(resolve, keep)).then((reasons) =>
        reject(new AggregateError(reasons, "all promises were rejected")),
      );
    });
  }

  reason() {
    return this.#value;
  }

  /** For `settle`: the outcome, once there is one. */
  outcome() {
    if (this.#state === REJECTED) throw this.#value;
    return { done: this.#state === FULFILLED, value: this.#value };
  }
}

function collect(values, attach) {
  return new Promise((resolve, reject) => {
    const results = [];
    let waiting = 1;
    const arrived = () => {
      if (--waiting === 0) resolve(results);
    };
    for (const value of values) {
      const index = results.push(undefined) - 1;
      waiting++;
      const keep = (result) => {
        results[index] = result;
        arrived();
      };
      attach(Promise.resolve(value), keep, reject);
    }
    arrived();
  });
}

export const queueMicrotask = (job) => void jobs.push(job);

const milliseconds = () => Number(clock.now()) / 1e6;

function addTimer(callback, delay, args, repeat) {
  timers.set(nextTimer, { at: milliseconds() + Math.max(0, delay), callback, args, repeat });
  return nextTimer++;
}

export const setTimeout = (callback, delay = 0, ...args) => addTimer(callback, delay, args, undefined);
export const setInterval = (callback, delay = 0, ...args) => addTimer(callback, delay, args, Math.max(1, delay));
export const clearTimeout = (timer) => void timers.delete(timer);

export function runJobs() {
  let done = 0;
  try {
    // Jobs add jobs.
    while (done < jobs.length) jobs[done++]();
  } finally {
    jobs.splice(0, done);
  }
}

function sleep(wait) {
  if (waiting()) return turn(wait);
  if (wait === 0) return;
  const pollable = clock.subscribeDuration(Math.ceil(wait * 1e6));
  pollable.block();
  dispose(pollable);
}

/** Until something happens that was waited for, or the next timer. */
function sleepUntilTimer() {
  if (timers.size === 0) return sleep(undefined);
  const [[id, timer]] = [...timers].sort(([, a], [, b]) => a.at - b.at);
  sleep(Math.max(0, timer.at - milliseconds()));
  if (!timers.has(id) || timer.at > milliseconds()) return;
  if (timer.repeat === undefined) timers.delete(id);
  else timer.at += timer.repeat;
  timer.callback(...timer.args);
}

/** The promise's value; throws what it was rejected with. */
export function settle(promise) {
  for (;;) {
    runJobs();
    const { done, value } = promise.outcome();
    if (done) return value;
    if (timers.size === 0 && !waiting()) throw new Error("the handler waits for something that cannot happen");
    sleepUntilTimer();
  }
}
