// Child processes, over HTTP: /spawn/fork/COUNT and /spawn/true/COUNT start one after the other and say how
// many nanoseconds one took; /flow/cat/MIB sends so much through `cat` and says how long that took.
'use strict';
const { execFile, fork, spawn } = require('node:child_process');
const http = require('node:http');
const path = require('node:path');

const since = (begun) => Number(process.hrtime.bigint() - begun);

const once = {
  fork: () => new Promise((done, fail) => {
    const child = fork(path.join(__dirname, 'node-empty.js'));
    child.on('error', fail);
    child.on('exit', done);
  }),
  true: () => new Promise((done, fail) => {
    execFile('/bin/true', (error) => (error ? fail(error) : done()));
  }),
};

async function start(name, count) {
  const begun = process.hrtime.bigint();
  for (let n = 0; n < count; n++) await once[name]();
  return Math.round(since(begun) / count);
}

function flow(_, mib) {
  return new Promise((done, fail) => {
    const begun = process.hrtime.bigint();
    const child = spawn('cat');
    const piece = Buffer.alloc(64 << 10, 'x');
    let left = mib << 4;
    let arrived = 0;
    const write = () => {
      while (left > 0) {
        left -= 1;
        if (!child.stdin.write(piece)) return child.stdin.once('drain', write);
      }
      child.stdin.end();
    };
    child.stdout.on('data', (data) => { arrived += data.length; });
    child.on('close', () => {
      if (arrived === mib << 20) done(since(begun));
      else fail(new Error(`${arrived} bytes`));
    });
    write();
  });
}

const server = http.createServer(async (request, response) => {
  const [, act, name, number] = request.url.split('/');
  try {
    response.end(String(await (act === 'flow' ? flow : start)(name, Number(number))));
  } catch (error) {
    response.writeHead(500).end(String(error));
  }
});
server.requestTimeout = 0;
server.listen(0, '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
