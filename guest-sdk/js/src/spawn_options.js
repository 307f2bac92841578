// What Node's `child_process` takes, as WIT's records have it, and WIT's errors as Node has them.
import { payloadOf, u64 } from "./wit.js";

/** By number, from 1. */
const SIGNALS = [
  ..."HUP INT QUIT ILL TRAP ABRT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CONT STOP TSTP TTIN".split(" "),
  ..."TTOU URG XCPU XFSZ VTALRM PROF WINCH IO PWR SYS".split(" "),
];

export function signalOf(signal = "SIGTERM") {
  const name = typeof signal === "number" ? SIGNALS[signal - 1] : `${signal}`.toUpperCase().replace(/^SIG/, "");
  if (SIGNALS.includes(name)) return `sig${name.toLowerCase()}`;
  throw Object.assign(new TypeError(`unknown signal: ${signal}`), { code: "ERR_UNKNOWN_SIGNAL" });
}

const invalid = (message) => Object.assign(new TypeError(message), { code: "ERR_INVALID_ARG_VALUE" });

/** `pipe` for all three, or a list that may name `ipc`. */
function stdioOf(stdio) {
  const list = Array.isArray(stdio) ? stdio : [stdio, stdio, stdio];
  const one = (at) => {
    const kind = list[at] ?? "pipe";
    if (["pipe", "ignore", "inherit"].includes(kind)) return kind;
    throw invalid(`stdio is 'pipe', 'ignore' or 'inherit', not ${kind}`);
  };
  return { stdin: one(0), stdout: one(1), stderr: one(2), ipc: list.indexOf("ipc", 3) > 0 };
}

export const nanoseconds = (milliseconds) => (milliseconds ? u64(Math.round(milliseconds * 1e6)) : undefined);

export function spawnOptions(args, options) {
  const { env, cwd, stdio, timeout, killSignal, detached, uid, gid, shell } = options;
  if (shell) throw invalid("there is no shell; the operator may grant one as a program");
  const variables = env && Object.entries(env).filter(([, value]) => value !== undefined);
  return {
    arguments: args.map(String),
    environment: variables?.map(([name, value]) => [name, `${value}`]),
    cwd: cwd ?? undefined,
    ...stdioOf(stdio ?? undefined),
    timeout: nanoseconds(timeout),
    killSignal: signalOf(killSignal ?? undefined),
    detached: Boolean(detached),
    uid,
    gid,
  };
}

/** `code` and words for each case of `spawn-error`. */
const SPAWN_ERRORS = {
  "not-granted": ({ program }) => [
    "ENOENT",
    `program ${program} is not granted; the operator names it with --program ${program}=PATH` +
      (/\s/.test(program) ? ". There is no shell: arguments are a list of their own" : ""),
  ],
  "program-missing": ({ program }) => ["ENOENT", `the file of program ${program} is gone`],
  "program-changed": ({ program }) => ["ESTALE", `the file of program ${program} has changed; a reload takes the new one`],
  "too-large": ({ val }) => ["E2BIG", `arguments and environment exceed ${val} bytes`],
  "no-such-directory": ({ cwd }) => ["ENOENT", `the program has no directory ${cwd}`],
  "not-permitted": () => ["EPERM", "the operator did not grant this user or group"],
  unsupported: ({ program }) => ["ENOTSUP", `program ${program} is native; only WebAssembly programs have messages`],
  "too-many-children": ({ val }) => ["EAGAIN", `${val} children run, as many as the operator allows`],
  "too-much-memory": ({ val }) => ["ENOMEM", `the children would get more than ${val} bytes of memory`],
  "too-much-cpu-time": () => ["EAGAIN", "the children have used their processor time of this minute"],
  stopping: () => ["ECANCELED", "the host is stopping"],
  failed: ({ val }) => ["EIO", val],
};

/** The error for an `error` event. What Node throws is thrown here, and so is what is no `spawn-error`. */
export function spawnError(error, program, args, cwd) {
  const payload = payloadOf(error);
  const { tag, val } = typeof payload === "string" ? { tag: payload } : payload;
  if (tag === "invalid") throw invalid(`${program}: ${val}`);
  const describe = SPAWN_ERRORS[tag];
  if (!describe) throw error;
  const [code, words] = describe({ program, cwd, val });
  const result = new Error(`spawn ${program} ${code}: ${words}`, { cause: error });
  return Object.assign(result, { code, syscall: `spawn ${program}`, path: program, spawnargs: args });
}
