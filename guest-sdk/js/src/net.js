// Raw connections in the manner of Node's `net`:
//
//   export const connectionHandler = createServer((socket) => {
//     socket.on("data", (bytes) => socket.write(bytes));
//   }).handler;
//
// The host calls it for every connection, each in an instance of its own. `write` returns when the host has
// taken the bytes: a client that does not read holds up this connection and nobody else.
import { EventEmitter } from "./events.js";
import { caseOf, dispose, payloadOf, u64, writeAll } from "./wit.js";

const READ_SIZE = 65536;

class Socket extends EventEmitter {
  #connection;
  #input;
  #output;
  #encoder = new TextEncoder();

  constructor(connection) {
    super();
    this.#connection = connection;
    this.#input = connection.inputStream();
    this.#output = connection.outputStream();
  }

  get remoteAddress() {
    return this.#ip(this.#connection.peerAddress())?.address;
  }
  get remotePort() {
    return this.#ip(this.#connection.peerAddress())?.port;
  }
  get localPort() {
    return this.#ip(this.#connection.localAddress())?.port;
  }
  get destroyed() {
    return this.#connection === undefined;
  }

  #ip({ tag, val }) {
    return tag === "ip" ? val : undefined;
  }

  setNoDelay(enabled = true) {
    this.#connection.setNodelay(enabled);
    return this;
  }

  /** The next bytes; null when the client has closed its side. */
  read() {
    while (this.#input) {
      let bytes;
      try {
        bytes = this.#input.blockingRead(u64(READ_SIZE));
      } catch (error) {
        const payload = payloadOf(error);
        if (payload === "closed" || caseOf(error) === "closed") return null;
        throw new Error("the connection was reset", { cause: error });
      }
      if (bytes.length) return bytes;
    }
    return null;
  }

  write(data) {
    writeAll(this.#output, typeof data === "string" ? this.#encoder.encode(data) : data);
    return true;
  }

  /** Sends what was written, and closes. */
  end(data) {
    if (data !== undefined) this.write(data);
    return this.destroy();
  }

  destroy() {
    if (this.#connection) {
      for (const resource of [this.#input, this.#output, this.#connection]) dispose(resource);
      this.#input = this.#output = this.#connection = undefined;
    }
    return this;
  }

  *[Symbol.iterator]() {
    for (let bytes = this.read(); bytes; bytes = this.read()) yield bytes;
  }

  /** Reads to the end and tells the listeners. */
  run() {
    if (this.listenerCount("data")) for (const bytes of this) this.emit("data", bytes);
    this.emit("end");
    this.destroy();
    this.emit("close", false);
  }
}

export function createServer(listener) {
  return {
    handler: {
      handle(connection) {
        const socket = new Socket(connection);
        try {
          listener(socket);
          if (!socket.destroyed) socket.run();
        } finally {
          socket.destroy();
        }
      },
    },
  };
}

export default { createServer };
