// Runs a Node script as the primary program or as a worker: the same component is both, and finds out when it runs.
import * as self from "host:cluster/process@0.1.0";
import { pollables, takeTurns, turn, waiting } from "../poll.js";
import { hasTimers, run as loop, watch } from "./loop.js";

/**
 * What to export as `run`. The modules are read when it is called, and never while the component is built: they ask
 * the host who they are.
 */
export const programOf = (modules) => ({
  run() {
    const { default: process, end, isWorker, receiveMessages } = modules.process();
    Object.assign(globalThis, { process, Buffer: modules.buffer().Buffer });
    const { isOver } = modules.cluster();
    // Child processes are waited for there.
    takeTurns();
    watch({ pollables, ready: () => turn(0) });
    const idle = () => isOver() && !hasTimers() && !waiting();
    loop(modules.script, isWorker ? worker(modules.http(), receiveMessages) : idle);
    end();
  },
});

/** A worker lives until the host wants it to end, and has then answered what it had begun to. */
function worker(http, receiveMessages) {
  const pollable = self.subscribeDraining();
  let draining = false;
  const stop = watch({
    pollables: () => [pollable],
    ready() {
      draining = true;
      stop();
      http.drain();
    },
  });
  queueMicrotask(receiveMessages);
  return () => draining && http.isDrained();
}
