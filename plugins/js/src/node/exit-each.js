// Every request is answered, and its worker exits a moment later; with REFORK the primary forks another.
const cluster = require("node:cluster");
const http = require("node:http");

if (cluster.isPrimary) {
  for (let i = 0; i < 8; i++) cluster.fork();
  cluster.on("exit", (worker) => {
    if (process.env.REFORK) cluster.fork();
    console.log(`${Object.keys(cluster.workers).length} workers are left`);
  });
} else {
  http
    .createServer((request, response) => {
      response.end(`hello world from ${process.pid}\n`);
      setTimeout(() => process.exit(0), Number(process.env.EXIT_AFTER || 1000));
    })
    .listen(process.env.PORT || 8000);
}
