// What one Node process keeps in variables, all its requests share; bodies, headers and answers that take their time.
import http from "node:http";
import cluster from "node:cluster";

let requests = 0;

const routes = {
  "/count": (request, response) => response.end(`${requests}\n`),
  "/late": (request, response) => setTimeout(() => response.end("late\n"), Number(request.headers["x-wait"] ?? 50)),
  "/echo": (request, response) => {
    let body = "";
    request.on("data", (chunk) => (body += chunk));
    request.on("end", () => response.end(body));
  },
  "/pieces": async (request, response) => {
    response.setHeader("content-type", "text/plain");
    for (const piece of ["one ", "two ", "three\n"]) {
      response.write(piece);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    response.end();
  },
  "/throw": () => {
    throw new Error("nobody catches this");
  },
  "/reject": async () => {
    throw new Error("nobody awaits this");
  },
};

if (cluster.isPrimary) {
  cluster.fork();
} else {
  const server = http.createServer((request, response) => {
    requests += 1;
    const route = routes[request.url];
    if (route) return route(request, response);
    response.writeHead(404, { "x-method": request.method });
    response.end("not found\n");
  });
  server.headersTimeout = Number(process.env.HEADERS_TIMEOUT || 60000);
  server.listen(process.env.PORT || 8000);
}
