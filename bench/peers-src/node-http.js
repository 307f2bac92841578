// One Node process that answers a fixed text; BODY, PORT and RESPAWN come from the environment.
// Under pm2 it tells readiness and stops gracefully, as pm2's documentation asks.
'use strict';
const http = require('node:http');

const body = process.env.BODY ?? 'hello world\n';
const server = http.createServer((request, response) => {
  response.setHeader('Content-Type', 'text/plain');
  response.end(body);
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.error(`node-http: serving http://127.0.0.1:${server.address().port}`);
  process.send?.('ready');
});
process.on('SIGINT', () => server.close(() => process.exit(0)));
