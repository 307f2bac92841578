/** A connection. Everything waits: other connections are in instances of their own. */
export interface Socket extends Iterable<Uint8Array> {
  readonly remoteAddress?: string;
  readonly remotePort?: number;
  readonly localPort?: number;
  readonly destroyed: boolean;
  setNoDelay(enabled?: boolean): this;
  /** Some bytes, or null when the client has closed its side. */
  read(): Uint8Array | null;
  write(data: Uint8Array | string): true;
  end(data?: Uint8Array | string): this;
  destroy(): this;
  on(event: "data", listener: (bytes: Uint8Array) => void): this;
  on(event: "end", listener: () => void): this;
  on(event: "close", listener: (hadError: boolean) => void): this;
}

/** Export `handler` as `connectionHandler`. */
export declare function createServer(listener: (socket: Socket) => void): {
  handler: { handle(connection: unknown): void };
};

declare const net: { createServer: typeof createServer };
export default net;
