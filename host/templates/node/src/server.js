const cluster = require("node:cluster");
const http = require("node:http");
const { availableParallelism } = require("node:os");

if (cluster.isPrimary) {
  for (let i = 0; i < availableParallelism(); i++) cluster.fork();
  cluster.on("exit", (worker, code, signal) => {
    console.log(`worker ${worker.id} ended: ${signal || code}`);
    cluster.fork();
  });
} else {
  http
    .createServer((request, response) => {
      response.setHeader("content-type", "text/plain");
      response.end(`hello from {{name}}, worker ${cluster.worker.id}\n`);
    })
    .listen(process.env.PORT || 8080);
}
