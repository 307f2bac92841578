// Node's `cluster`, as a worker sees it. The primary program's side is `host-sdk/cluster/primary`: whether a
// component is a worker or the primary program is settled by what it imports, so that the two are two files.
import * as raw from "host:cluster/process@0.1.0";
import process from "./process.js";

const worker = {
  get id() {
    return raw.identity().worker;
  },
  get generation() {
    return raw.identity().generation;
  },
  process,
  send: (message) => process.send(message),
  on: (event, listener) => (process.on(event, listener), worker),
  once: (event, listener) => (process.once(event, listener), worker),
  isConnected: () => process.connected,
  isDead: () => false,
  kill: () => process.disconnect(),
  disconnect: () => process.disconnect(),
};

export default {
  isPrimary: false,
  isMaster: false,
  isWorker: true,
  worker,
};
