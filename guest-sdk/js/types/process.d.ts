/** Node's `process` over `host:cluster`. Nothing but `on` may be used while the module is loaded. */
export interface HostProcess {
  readonly pid: number;
  readonly ppid: number;
  /** Shown by `ps` after the worker's number; at most 64 bytes. */
  title: string;
  readonly version: string;
  readonly versions: Record<string, string>;
  readonly config: { variables: Record<string, string> };
  readonly arch: string;
  readonly platform: string;
  readonly execPath: string;
  readonly execArgv: string[];
  readonly argv: string[];
  readonly env: Record<string, string>;
  /** False without a primary program, and after `disconnect`. */
  readonly connected: boolean;
  exitCode?: number;

  cwd(): string;
  /** Bytes. `heapUsed` and `heapTotal` are this instance's memory and its limit, `guest` all instances'. */
  memoryUsage(): {
    rss: number;
    heapTotal: number;
    heapUsed: number;
    external: number;
    arrayBuffers: number;
    guest: number;
  };
  /** Microseconds of the process. */
  cpuUsage(since?: { user: number; system: number }): { user: number; system: number };
  /** Seconds. */
  uptime(): number;
  hrtime: { (since?: [number, number]): [number, number]; bigint(): bigint };
  getuid(): number;
  getgid(): number;
  geteuid(): number;
  getegid(): number;
  getgroups(): number[];

  /** Ends the worker when what it has in flight is finished. Does not return. */
  exit(code?: number): never;
  /** Ends the worker at once with SIGABRT. Does not return. */
  abort(): never;
  /** Own child processes only; `error.code` is EPERM or ESRCH. */
  kill(pid: number, signal?: string): true;
  nextTick<A extends unknown[]>(callback: (...args: A) => void, ...args: A): void;

  /** JSON, or bytes as they are. Waits while the queue is full; throws if there is no primary program. */
  send(message: unknown): true;
  /** Sends, and waits for the primary program's reply; the time-out is in milliseconds. */
  request(message: unknown, options?: { timeout?: number }): unknown;
  /** Waits for a message; in modules that do not export `messageHandler`. */
  receive(): unknown;
  disconnect(): void;

  /** In modules that export `messageHandler`, or `run` for `fork`; `reply` is there if the sender waits for an answer. */
  on(event: "message", listener: (message: any, reply?: (value: unknown) => void) => void): this;
  /** In modules that export `signalHandler`. */
  on(event: `SIG${string}`, listener: (signal: string) => void): this;
  /** In modules that export `lifecycle`. */
  on(event: "start" | "drain", listener: () => void): this;
  /** In modules that export `run`. */
  on(event: "disconnect", listener: () => void): this;
  once(event: string, listener: (...args: any[]) => void): this;
  off(event: string, listener: (...args: any[]) => void): this;
}

declare const process: HostProcess;
export default process;

export declare const messageHandler: { onMessage(message: { body: Uint8Array; request?: bigint | number }): void };
export declare const signalHandler: { onSignal(signal: string): void };
export declare const lifecycle: { start(): void; drain(): void };
export declare const run: { run(): void | Promise<void> };
