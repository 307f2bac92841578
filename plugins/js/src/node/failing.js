// A worker for each word of FAIL, each of which ends in its way; the primary tells how.
const cluster = require("node:cluster");

const after = Number(process.env.FAIL_AFTER || 5000);

if (cluster.isPrimary) {
  for (const FAIL of (process.env.FAIL || "throw").split(" ")) cluster.fork({ FAIL });
  cluster.on("message", (worker, message) => console.log(message));
  cluster.on("exit", (worker, code, signal) => {
    if (signal) console.log(`worker was killed by signal: ${signal}`);
    else if (code !== 0) console.log(`worker exited with error code: ${code}`);
    else console.log("worker success!");
  });
} else {
  setInterval(() => process.send("worker"), 1000);
  setTimeout(() => {
    if (process.env.FAIL === "exit") process.exit(3);
    if (process.env.FAIL === "abort") process.abort();
    if (process.env.FAIL === "none") process.exit(0);
    throw new Error("the worker fails, as it was told to");
  }, after);
}
