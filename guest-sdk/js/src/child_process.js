// Node's `child_process`:
//
//   import { execFile, fork, spawn } from "host-sdk/child_process";
//
// What can be started is what the operator named: `--program convert=/usr/bin/convert`. Events come while the
// handler awaits a promise, and between the events of the primary program; the `…Sync` functions work everywhere.
import * as raw from "host:cluster/child-process@0.1.0";
import { ChildProcess } from "./child.js";
import { spawnError, spawnOptions } from "./spawn_options.js";
import { concat, textual, toBytes, toChunk } from "./stdio.js";
import { dispose, exitOf, u64 } from "./wit.js";

export { ChildProcess };

/** Of Node 0.x to 11, and of the host's WIT. */
const MAX_BUFFER = 200 * 1024;

/** Arguments and options may both be left out. */
function split(rest) {
  const callback = rest.find((one) => typeof one === "function");
  const [first, second] = rest.filter((one) => one != null && typeof one !== "function");
  return Array.isArray(first) ? [first, second ?? {}, callback] : [[], first ?? {}, callback];
}

function start(call, program, args, options) {
  const child = new ChildProcess(program, args);
  const settings = spawnOptions(args, options);
  try {
    child.started(call(program, settings), settings);
  } catch (error) {
    child.failed(spawnError(error, program, args, options.cwd), settings);
  }
  return child;
}

export function spawn(program, ...rest) {
  const [args, options] = split(rest);
  return start(raw.spawn, program, args, options);
}

/** A WebAssembly program with messages. As in Node its output goes where ours goes, unless `silent`. */
export function fork(program, ...rest) {
  const [args, options] = split(rest);
  const stdio = options.stdio ?? (options.silent ? "pipe" : "inherit");
  return start(raw.fork, program, args, { ...options, stdio });
}

/** The callback gets the error, stdout and stderr. */
export function execFile(program, ...rest) {
  const [args, { encoding = "utf8", ...options }, callback] = split(rest);
  const convert = textual(encoding) ? String : (bytes) => bytes;
  const child = spawn(program, args, { ...options, stdio: "pipe" });
  collect(child, options, convert, callback ?? (() => {}));
  return child;
}

// There is no shell that takes a line apart.
export { execFile as exec };

// For those who bring `util.promisify`.
execFile[Symbol.for("nodejs.util.promisify.custom")] = (...all) =>
  new Promise((resolve, reject) => {
    execFile(...all, (error, stdout, stderr) =>
      error ? reject(Object.assign(error, { stdout, stderr })) : resolve({ stdout, stderr }),
    );
  });

function collect(child, { maxBuffer = MAX_BUFFER, killSignal }, convert, callback) {
  let error;
  const gather = (name) => {
    const parts = [];
    let room = maxBuffer;
    child[name].on("data", (part) => {
      parts.push(part.subarray(0, room));
      room -= part.length;
      if (room >= 0 || error) return;
      error = new RangeError(`${name} maxBuffer length exceeded`);
      error.code = "ERR_CHILD_PROCESS_STDIO_MAXBUFFER";
      child.kill(killSignal);
      child.stdout.destroy();
      child.stderr.destroy();
    });
    return () => convert(concat(parts));
  };
  const [stdout, stderr] = [gather("stdout"), gather("stderr")];
  child.on("error", (reason) => (error ??= reason));
  child.on("close", () => callback(error ?? exitError(child, stderr), stdout(), stderr()));
}

/** Null if it ended well. */
function exitError({ exitCode, signalCode, killed, limit, spawnargs }, stderr) {
  if (exitCode === 0) return null;
  const cmd = spawnargs.join(" ");
  const error = new Error(`Command failed: ${cmd}\n${stderr()}`);
  const by = limit === undefined ? {} : { limit };
  return Object.assign(error, { code: exitCode, killed: killed || limit !== undefined, signal: signalCode, cmd, ...by });
}

/** Waits for the end of the program. `input` is what it reads. */
export function spawnSync(program, ...rest) {
  const [args, options] = split(rest);
  const { maxBuffer = MAX_BUFFER, encoding = "buffer", input } = options;
  const settings = {
    spawn: spawnOptions(args, { ...options, stdio: "pipe" }),
    maxBuffer: u64(Math.min(maxBuffer, Number.MAX_SAFE_INTEGER)),
    encoding: textual(encoding) ? "utf8" : "bytes",
    input: input == null ? undefined : toBytes(input),
  };
  let execution;
  try {
    execution = raw.exec(program, settings);
  } catch (error) {
    const reason = spawnError(error, program, args, options.cwd);
    return { pid: 0, output: null, stdout: null, stderr: null, status: null, signal: null, error: reason };
  }
  return finished(execution, program);
}

function finished(execution, program) {
  const pid = execution.pid();
  const pollable = execution.subscribe();
  pollable.block();
  dispose(pollable);
  const { exit, stdout, stderr } = execution.take();
  dispose(execution);
  const [status, signal] = exitOf(exit.status);
  const output = [null, given(stdout), given(stderr)];
  const result = { pid, output, stdout: output[1], stderr: output[2], status, signal };
  const code = { timeout: "ETIMEDOUT", "max-buffer": "ENOBUFS" }[exit.limit];
  if (code) result.error = Object.assign(new Error(`spawnSync ${program} ${code}`), { code });
  return exit.limit ? { ...result, limit: exit.limit } : result;
}

const given = ({ tag, val }) => (tag === "text" ? val : toChunk(val));

/** What it printed; throws unless it ended well. */
export function execFileSync(program, ...rest) {
  const [args, options] = split(rest);
  const result = spawnSync(program, args, options);
  if (result.error) throw Object.assign(result.error, { ...result, error: undefined });
  if (result.status === 0) return result.stdout;
  throw Object.assign(new Error(`Command failed: ${[program, ...args].join(" ")}\n${result.stderr}`), result);
}

export { execFileSync as execSync };

/** The names of what was granted. Node has no such thing. */
export const programs = () => raw.programs();

export default {
  ChildProcess,
  exec: execFile,
  execFile,
  execFileSync,
  execSync: execFileSync,
  fork,
  programs,
  spawn,
  spawnSync,
};
