// Pollables that something waits for, and what is done once they are ready. A handler that awaits a promise, and the
// primary program between its events, come round here; so children are heard of while JavaScript waits.
import { poll } from "wasi:io/poll@0.2.12";
import * as clock from "wasi:clocks/monotonic-clock@0.2.12";
import { dispose, u64 } from "./wit.js";

const watched = new Set();
let turning = false;
let scheduled = false;

export const waiting = () => watched.size > 0;

/** For a loop that waits for other things as well, and calls `turn(0)` when one of these is ready. */
export const pollables = () => [...watched].map(({ pollable }) => pollable);

/** Calls `action` once. Returns a function that gives up waiting. */
export function whenReady(pollable, action) {
  const entry = { pollable, action };
  watched.add(entry);
  schedule();
  return () => forget(entry);
}

function forget(entry) {
  if (!watched.delete(entry)) return false;
  dispose(entry.pollable);
  return true;
}

/**
 * Waits until something is ready, but no more than so many milliseconds, and does what waited for it. `other` is
 * waited for as well, and dropped.
 */
export function turn(limit, other) {
  const entries = [...watched];
  const extra = other ? [other] : [];
  if (limit !== undefined) extra.push(clock.subscribeDuration(u64(Math.ceil(limit * 1e6))));
  const ready = poll([...entries.map(({ pollable }) => pollable), ...extra]);
  extra.forEach(dispose);
  for (const index of ready) {
    const entry = entries[index];
    // One action may have given up another.
    if (entry && forget(entry)) entry.action();
  }
}

/** For a program whose own loop calls `turn`. */
export function takeTurns() {
  turning = true;
}

// StarlingMonkey waits by itself, for its own timers and streams only. So pollables are waited for from a timer, in
// slices, between which it comes round to those.
const SLICE = 10;

function schedule() {
  if (turning || scheduled || globalThis.runJobs) return;
  scheduled = true;
  setTimeout(() => {
    scheduled = false;
    try {
      if (waiting()) turn(SLICE);
    } finally {
      if (waiting()) schedule();
    }
  }, 0);
}
