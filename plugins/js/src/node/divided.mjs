// Prints what its worker says, which is a script of its own: divided-worker.js.
import cluster from "node:cluster";

cluster.setupPrimary({ exec: "divided-worker.js" });
cluster.fork();
cluster.on("message", (worker, message) => console.log(message));
