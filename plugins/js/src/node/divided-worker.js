// Says `worker` each second.
setInterval(() => process.send("worker"), 1000);
