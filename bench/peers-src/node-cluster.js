// Node cluster: WORKERS processes behind one port, and a new one for each that dies.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');

const workers = Number(process.env.WORKERS ?? 2);
if (cluster.isPrimary) {
  let listening = 0;
  cluster.on('listening', (worker, address) => {
    listening += 1;
    if (listening === workers) console.error(`node-cluster: serving http://127.0.0.1:${address.port}`);
  });
  cluster.on('exit', () => cluster.fork());
  for (let i = 0; i < workers; i++) cluster.fork();
} else {
  const server = http.createServer((request, response) => {
    response.setHeader('Content-Type', 'text/plain');
    response.end('hello world\n');
  });
  server.listen(Number(process.env.PORT ?? 0), '127.0.0.1');
}
