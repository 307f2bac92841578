/** What `data` gives: bytes, whose `toString` is their text. */
export interface Chunk extends Uint8Array {
  toString(encoding?: "utf8" | "utf-8"): string;
}

interface Events {
  on(event: string, listener: (...args: any[]) => void): this;
  once(event: string, listener: (...args: any[]) => void): this;
  off(event: string, listener: (...args: any[]) => void): this;
}

/** Nothing is read, and the child is held up, until somebody listens for `data`, iterates or pipes. */
export interface Readable extends Events, AsyncIterable<Chunk | string> {
  readonly readable: boolean;
  readonly readableEnded: boolean;
  /** From here on `data` gives strings. */
  setEncoding(encoding: "utf8" | "utf-8" | "buffer" | null): this;
  pause(): this;
  resume(): this;
  pipe<W extends { write(data: any): unknown; end(): unknown; once: Events["once"] }>(destination: W): W;
  destroy(): this;
  on(event: "data", listener: (part: any) => void): this;
  on(event: "end" | "close", listener: () => void): this;
}

export interface Writable extends Events {
  readonly writable: boolean;
  /** False when the child does not read that fast; `drain` says when it has caught up. Nothing is lost. */
  write(data: string | Uint8Array | ArrayBuffer, callback?: (error?: Error) => void): boolean;
  write(data: string | Uint8Array | ArrayBuffer, encoding: string, callback?: (error?: Error) => void): boolean;
  end(callback?: () => void): this;
  end(data: string | Uint8Array | ArrayBuffer, callback?: () => void): this;
  destroy(): this;
  on(event: "drain" | "finish" | "close", listener: () => void): this;
  /** `error.code` is EPIPE when the child has closed its end. */
  on(event: "error", listener: (error: Error & { code: string }) => void): this;
}

export type Stdio = "pipe" | "ignore" | "inherit";
/** What ended a child, if neither the program nor a `kill` did. Node has no such thing. */
export type Limit = "timeout" | "max-buffer" | "cpu-time" | "memory";

export interface CommonOptions {
  /** A directory of the program's, not of the plugin's. */
  cwd?: string;
  /** Instead of the plugin's own. What the operator granted with the program is added and wins. */
  env?: Record<string, string | undefined>;
  /** Milliseconds. */
  timeout?: number;
  killSignal?: string | number;
  /** If the operator granted the number. */
  uid?: number;
  gid?: number;
  /** It may outlive the worker, but not the host. */
  detached?: boolean;
}

export interface SpawnOptions extends CommonOptions {
  stdio?: Stdio | [Stdio?, Stdio?, Stdio?, ...("ipc" | undefined)[]];
}

export interface ForkOptions extends SpawnOptions {
  /** Pipes, where output else goes where the plugin's goes. */
  silent?: boolean;
}

export interface ExecOptions extends CommonOptions {
  /** Bytes of stdout, and of stderr: 200 KiB unless told otherwise. */
  maxBuffer?: number;
  encoding?: "utf8" | "utf-8" | "buffer" | null;
}

export interface SyncOptions extends ExecOptions {
  input?: string | Uint8Array | ArrayBuffer;
}

export interface ExecError extends Error {
  /** The exit code, or why there is none: ENOENT, ERR_CHILD_PROCESS_STDIO_MAXBUFFER … */
  code: number | string | null;
  killed?: boolean;
  signal?: string | null;
  cmd?: string;
  limit?: Limit;
}

export declare class ChildProcess implements Events {
  readonly pid?: number;
  readonly connected: boolean;
  readonly killed: boolean;
  readonly exitCode: number | null;
  readonly signalCode: string | null;
  readonly limit?: Limit;
  readonly spawnfile: string;
  readonly spawnargs: string[];
  /** Null unless it is a pipe, as the other two. */
  readonly stdin: Writable | null;
  readonly stdout: Readable | null;
  readonly stderr: Readable | null;
  readonly stdio: [Writable | null, Readable | null, Readable | null];

  /** False if it has ended. */
  kill(signal?: string | number): boolean;
  /** JSON, or bytes as they are. False if it has to wait for room. */
  send(message: unknown, callback?: (error: Error | null) => void): boolean;
  /** Sends, and gives what the child replies; the time-out is in milliseconds. Node has no such thing. */
  request(message: unknown, options?: { timeout?: number }): Promise<unknown>;
  disconnect(): void;
  ref(): void;
  unref(): void;

  on(event: "message", listener: (message: any, reply?: (value: unknown) => void) => void): this;
  on(event: "exit" | "close", listener: (code: number | null, signal: string | null) => void): this;
  on(event: "spawn" | "disconnect", listener: () => void): this;
  /** It did not start, or a message could not be sent. `error.code` is ENOENT for what was not granted. */
  on(event: "error", listener: (error: Error & { code: string }) => void): this;
  on(event: string, listener: (...args: any[]) => void): this;
  once(event: string, listener: (...args: any[]) => void): this;
  off(event: string, listener: (...args: any[]) => void): this;
}

/** `program` is a name that the operator granted. */
export declare function spawn(program: string, options?: SpawnOptions): ChildProcess;
export declare function spawn(program: string, args: readonly string[], options?: SpawnOptions): ChildProcess;

/** A WebAssembly program with messages; it finds them in `host-sdk/process`. */
export declare function fork(program: string, options?: ForkOptions): ChildProcess;
export declare function fork(program: string, args: readonly string[], options?: ForkOptions): ChildProcess;

/** Strings, or chunks with the encoding `buffer`. */
export type ExecCallback = (error: ExecError | null, stdout: any, stderr: any) => void;

export declare function execFile(program: string, callback?: ExecCallback): ChildProcess;
export declare function execFile(
  program: string,
  argsOrOptions: readonly string[] | ExecOptions | null,
  callback?: ExecCallback,
): ChildProcess;
export declare function execFile(
  program: string,
  args: readonly string[] | null,
  options: ExecOptions | null,
  callback?: ExecCallback,
): ChildProcess;
/** As `execFile`: there is no shell that takes a line apart. */
export { execFile as exec };

export interface SyncResult {
  pid: number;
  output: [null, any, any] | null;
  stdout: any;
  stderr: any;
  status: number | null;
  signal: string | null;
  /** It did not start (ENOENT …), or a limit ended it (ETIMEDOUT, ENOBUFS). */
  error?: Error & { code: string };
  limit?: Limit;
}

export declare function spawnSync(program: string, options?: SyncOptions): SyncResult;
export declare function spawnSync(program: string, args: readonly string[], options?: SyncOptions): SyncResult;

/** What it printed: a chunk, or a string with an `encoding`. Throws unless it ended well. */
export declare function execFileSync(program: string, options?: SyncOptions): any;
export declare function execFileSync(program: string, args: readonly string[], options?: SyncOptions): any;
export { execFileSync as execSync };

/** The names of what was granted. Node has no such thing. */
export declare function programs(): string[];

declare const childProcess: {
  ChildProcess: typeof ChildProcess;
  exec: typeof execFile;
  execFile: typeof execFile;
  execFileSync: typeof execFileSync;
  execSync: typeof execFileSync;
  fork: typeof fork;
  programs: typeof programs;
  spawn: typeof spawn;
  spawnSync: typeof spawnSync;
};
export default childProcess;
