// Messages between a cluster worker and its primary. MODE=roundtrip: the worker sends SIZE bytes and
// waits for the echo, over and over. MODE=flood: the worker keeps WINDOW messages under way and the
// primary counts what arrives. After SECONDS one line of JSON says the rate.
'use strict';
const cluster = require('node:cluster');

const mode = process.env.MODE ?? 'roundtrip';
const size = Number(process.env.SIZE ?? 64);
const seconds = Number(process.env.SECONDS ?? 3);
const window = Number(process.env.WINDOW ?? 64);
const serialization = process.env.SERIALIZATION ?? 'json';
const payload = serialization === 'advanced' ? Buffer.alloc(size, 'x') : 'x'.repeat(size);

function primary() {
  cluster.setupPrimary({ serialization });
  const worker = cluster.fork();
  let count = 0;
  let begun;
  worker.on('message', (message) => {
    begun ??= process.hrtime.bigint();
    count += 1;
    if (mode === 'roundtrip') worker.send(message);
  });
  setTimeout(() => {
    const elapsed = Number(process.hrtime.bigint() - begun) / 1e9;
    console.log(JSON.stringify({ mode, messages: count, seconds: elapsed, rate: count / elapsed }));
    worker.kill('SIGKILL');
    process.exit(0);
  }, seconds * 1000 + 300);
}

function worker() {
  if (mode === 'roundtrip') {
    process.on('message', () => process.send(payload));
    process.send(payload);
  } else {
    const again = () => process.send(payload, again);
    for (let i = 0; i < window; i++) again();
  }
}

if (cluster.isPrimary) primary();
else worker();
