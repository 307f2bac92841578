// Node's `process` for a script: the SDK's, with what belongs to a process that runs an event loop.
import * as ipc from "host:cluster/ipc@0.1.0";
import * as raw from "host:cluster/process@0.1.0";
import * as environment from "wasi:cli/environment@0.2.12";
import * as stderr from "wasi:cli/stderr@0.2.12";
import * as stdout from "wasi:cli/stdout@0.2.12";
import process from "../process.js";
import { caseOf, dispose } from "../wit.js";
import { decode } from "../message.js";
import { Buffer } from "./buffer.js";
import { guarded, lastActs, onUncaught, watch } from "./loop.js";

export const isWorker = raw.identity().worker != null;

function writable(open) {
  return {
    isTTY: false,
    write(chunk) {
      const bytes = typeof chunk === "string" ? Buffer.from(chunk) : chunk;
      const stream = open();
      for (let at = 0; at < bytes.length; at += 4096) stream.blockingWriteAndFlush(bytes.subarray(at, at + 4096));
      dispose(stream);
      return true;
    },
  };
}

/** Ends the process with what the script has said, after a last word. */
export function end(code = process.exitCode ?? 0) {
  process.exitCode = code;
  process.emit("exit", code);
  for (const act of lastActs) act();
  raw.exit(process.exitCode & 0xff);
}

// A script's own arguments follow those of the process and the script.
const argv = [raw.execPath(), "script", ...raw.arguments().slice(1)];
for (const [name, value] of Object.entries({
  argv,
  env: Object.fromEntries(environment.getEnvironment()),
  stdout: writable(() => stdout.getStdout()),
  stderr: writable(() => stderr.getStderr()),
  exit: end,
})) {
  Object.defineProperty(process, name, { value, writable: true, enumerable: true });
}
// Only a worker has somebody to send to.
if (!isWorker) process.send = undefined;

onUncaught((error, event = "uncaughtException") => {
  if (process.emit(event, error) || process.emit("uncaughtException", error, event)) return;
  console.error(error instanceof Error ? `${error}\n${error.stack ?? ""}`.trimEnd() : error);
  end(1);
});

/** Messages reach the script from when it has been read, as in Node. */
export function receiveMessages() {
  const pollable = ipc.subscribe();
  const stop = watch({
    pollables: () => [pollable],
    ready() {
      for (;;) {
        let message;
        try {
          message = ipc.receive();
        } catch (error) {
          if (caseOf(error) !== "would-block") {
            stop();
            process.emit("disconnect");
          }
          return;
        }
        guarded(() => process.emit("message", decode(message.body)));
      }
    },
  });
}

export default process;
