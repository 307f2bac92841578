// What the two engines do differently with WIT's values: QuickJS throws an error's value itself, StarlingMonkey an
// error around it; the symbol to drop a resource with has two names; a u64 is a number or a BigInt.

/** Of a whole number. */
export const u64 = (number) => (globalThis.runJobs ? number : BigInt(number));

/** StarlingMonkey's lists of bytes are of a `Uint8Array` that is not ours, and are slow to go through one by one. */
export function bytesOf(list, Kind = Uint8Array) {
  return ArrayBuffer.isView(list) ? new Kind(list.buffer, list.byteOffset, list.byteLength) : Kind.from(list);
}

/** All parts in one array of bytes, of the given kind. */
export function concat(parts, Kind = Uint8Array) {
  const whole = new Kind(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

export const dispose = (resource) => resource?.[Symbol.dispose ?? Symbol.for("dispose")]?.();

export const payloadOf = (error) => error?.payload ?? error;

/** The case of a variant or enum that was thrown, or undefined for any other error. */
export function caseOf(error) {
  const payload = payloadOf(error);
  return typeof payload === "string" ? payload : payload?.tag;
}

/** An error in Node's manner: `error.code` is the WIT case in capitals, `E…` where Node has such a name. */
export function toError(what, error) {
  const reason = caseOf(error);
  if (reason === undefined) return error;
  const result = new Error(`${what}: ${reason}`, { cause: error });
  result.code = NODE_CODES[reason] ?? `ERR_${reason.toUpperCase().replaceAll("-", "_")}`;
  return result;
}

const NODE_CODES = {
  "not-connected": "ERR_IPC_CHANNEL_CLOSED",
  "not-permitted": "EPERM",
  "no-such-process": "ESRCH",
  "timed-out": "ETIMEDOUT",
};

export function attempt(what, action) {
  try {
    return action();
  } catch (error) {
    throw toError(what, error);
  }
}

/** Repeats `action` while it would block, waiting on what `subscribe` gives. */
export function blocking(what, action, subscribe) {
  for (;;) {
    try {
      return action();
    } catch (error) {
      if (caseOf(error) !== "would-block") throw toError(what, error);
    }
    const pollable = subscribe();
    pollable.block();
    dispose(pollable);
  }
}

/** How a process ended: the `(code, signal)` of Node's `exit` events. */
export function exitOf({ tag, val }) {
  if (tag === "code") return [val, null];
  return [null, tag === "signal" ? val.toUpperCase() : `SIGRTMIN+${val - 34}`];
}

/** Hands all bytes to the host, and waits while the other side does not take them. */
export function writeAll(stream, bytes) {
  for (let at = 0; at < bytes.length; ) {
    const room = Number(stream.checkWrite());
    if (room === 0) {
      const pollable = stream.subscribe();
      pollable.block();
      dispose(pollable);
      continue;
    }
    stream.write(bytes.subarray(at, at + room));
    at += room;
  }
}
