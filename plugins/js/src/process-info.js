// Answers with what the host tells about the process, as JSON.
import cluster from "host-sdk/cluster";
import { serve } from "host-sdk/fetch";
import process from "host-sdk/process";

function info() {
  const { pid, ppid, title, version, versions, config, arch, platform, execPath, execArgv, argv, env } = process;
  return {
    worker: cluster.worker.id,
    generation: cluster.worker.generation,
    isWorker: cluster.isWorker,
    pid,
    ppid,
    title,
    version,
    versions,
    config,
    arch,
    platform,
    execPath,
    execArgv,
    argv,
    env,
    cwd: process.cwd(),
    connected: process.connected,
    uptime: process.uptime(),
    hrtime: process.hrtime(),
    memoryUsage: process.memoryUsage(),
    cpuUsage: process.cpuUsage(),
    uid: process.getuid(),
    gid: process.getgid(),
    groups: process.getgroups(),
  };
}

serve(() => new Response(`${JSON.stringify(info(), null, 2)}\n`, { headers: { "content-type": "application/json" } }));
