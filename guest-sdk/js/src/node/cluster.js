// Node's `cluster` for a script that is both primary and workers: which of the two this process is, the host says.
import * as raw from "host:cluster/primary@0.1.0";
import { identity } from "host:cluster/process@0.1.0";
import cluster, { deliver } from "../primary.js";
import { EventEmitter } from "../events.js";
import { caseOf } from "../wit.js";
import { guarded, watch } from "./loop.js";
import process, { isWorker } from "./process.js";

// Node keeps this prefix for messages of its own, too.
const LISTENING = "NODE_HOST_LISTENING";

/** `exec` is a file for Node; here it is the plugin of that name which the operator gave. */
const pluginOf = (exec) => exec.replace(/^.*\//, "").replace(/\.[cm]?[jt]s$/, "");

/** What the primary's events say of a worker counts from when its script listens, not from when it could. */
function tell(event) {
  if (event.tag === "listening") return;
  deliver(event, (worker, message) => {
    if (message?.cmd !== LISTENING) return false;
    worker.emit("listening", message.address);
    cluster.emit("listening", worker, message.address);
    return true;
  });
}

let closed = false;

function primary() {
  const { setupPrimary } = cluster;
  cluster.setupPrimary = ({ exec, ...rest } = {}) => {
    const own = exec === undefined || exec === process.argv[1];
    setupPrimary.call(cluster, own ? rest : { exec: pluginOf(exec), ...rest });
  };
  cluster.setupMaster = cluster.setupPrimary;
  const pollable = raw.subscribe();
  watch({
    pollables: () => (closed ? [] : [pollable]),
    ready() {
      for (;;) {
        let event;
        try {
          event = raw.nextEvent();
        } catch (error) {
          closed = caseOf(error) === "closed";
          return;
        }
        guarded(() => tell(event));
      }
    },
  });
  return cluster;
}

/** Whether a primary has nothing more to wait for. */
export const isOver = () => closed || Object.keys(cluster.workers).length === 0;

function worker() {
  const self = Object.assign(new EventEmitter(), {
    id: identity().worker,
    process,
    exitedAfterDisconnect: false,
    send: (message) => process.send(message),
    isConnected: () => process.connected,
    isDead: () => false,
    disconnect: () => process.disconnect(),
    kill: () => process.disconnect(),
  });
  process.on("message", (message) => self.emit("message", message));
  process.on("disconnect", () => self.emit("disconnect"));
  return self;
}

/** Says to the primary what its `listening` event tells. */
export function announce(address) {
  if (isWorker && process.connected) process.send({ cmd: LISTENING, address });
}

const policies = { SCHED_NONE: 1, SCHED_RR: 2, schedulingPolicy: 2 };

function workerSide() {
  const side = new EventEmitter();
  return Object.assign(side, { isPrimary: false, isMaster: false, isWorker: true, worker: worker(), workers: {} });
}

export default Object.assign(isWorker ? workerSide() : primary(), policies);
