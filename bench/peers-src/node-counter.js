// The counter program of Node's cluster documentation: every request costs one message to the
// primary, which prints the sum each second.
'use strict';
const cluster = require('node:cluster');
const http = require('node:http');

const workers = Number(process.env.WORKERS ?? 1);
if (cluster.isPrimary) {
  let numReqs = 0;
  let listening = 0;
  setInterval(() => console.log(`numReq = ${numReqs}`), 1000);
  cluster.on('message', (worker, message) => {
    if (message.cmd === 'notifyRequest') numReqs += 1;
  });
  cluster.on('listening', (worker, address) => {
    listening += 1;
    if (listening === workers) console.error(`node-counter: serving http://127.0.0.1:${address.port}`);
  });
  for (let i = 0; i < workers; i++) cluster.fork();
} else {
  http.createServer((request, response) => {
    response.writeHead(200);
    response.end('hello world\n');
    process.send({ cmd: 'notifyRequest' });
  }).listen(0, '127.0.0.1');
}
