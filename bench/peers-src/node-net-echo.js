// Node's net echo server, one process.
'use strict';
const net = require('node:net');

const server = net.createServer({ noDelay: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
server.listen(Number(process.env.PORT ?? 0), '127.0.0.1', () => {
  console.error(`node-net-echo: serving tcp://127.0.0.1:${server.address().port}`);
});
