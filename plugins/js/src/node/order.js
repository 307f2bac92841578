// The order of events: prints 1 2 3 4 TEST, under Node as well.
const cluster = require("node:cluster");
const http = require("node:http");

if (cluster.isPrimary) {
  console.log("1");
  cluster.fork();
  cluster.on("listening", (worker) => {
    console.log("3");
    worker.send({ cmd: "recvmsg", text: "TEST" });
  });
} else {
  process.on("message", ({ cmd, text }) => {
    if (cmd !== "recvmsg") return;
    console.log("4");
    console.log(text);
  });
  http.createServer().listen(process.env.PORT || 8000, () => console.log("2"));
}
