// The primary of the Counter program: prints how many requests all workers have answered, each second.
import cluster, { run as program } from "host-sdk/cluster/primary";

let numReq = 0;

export const run = program(() => {
  setInterval(() => console.log(`numReq = ${numReq}`), 1000);
  cluster.on("message", (_worker, message) => {
    if (message.cmd === "notifyRequest") numReq += 1;
  });
});
