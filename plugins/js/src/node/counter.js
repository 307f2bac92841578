// The classic cluster script, as it runs under Node: `node counter.js`.
const cluster = require("node:cluster");
const http = require("node:http");
const { availableParallelism } = require("node:os");

if (cluster.isPrimary) {
  let numReqs = 0;
  setInterval(() => console.log(`numReq = ${numReqs}`), 1000);
  cluster.on("message", (worker, message) => {
    if (message.cmd === "notifyRequest") numReqs += 1;
  });
  cluster.on("exit", (worker, code, signal) => {
    console.log(`worker ${worker.process.pid} died (${signal || code})`);
    cluster.fork();
  });
  for (let i = 0; i < availableParallelism(); i++) cluster.fork();
} else {
  http
    .createServer((request, response) => {
      response.writeHead(200);
      response.end("hello world\n");
      process.send({ cmd: "notifyRequest" });
    })
    .listen(process.env.PORT || 8000);
}
