// As much of Node's Buffer as scripts use on what they receive and send.
import { concat } from "../wit.js";
import { TextDecoder, TextEncoder } from "../quickjs/text.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();
const BASE64 = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

const latin1 = (bytes) => Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");
const hex = (bytes) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

function base64(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 3) {
    const group = (bytes[at] << 16) | ((bytes[at + 1] ?? 0) << 8) | (bytes[at + 2] ?? 0);
    const digits = [18, 12, 6, 0].map((shift) => BASE64[(group >> shift) & 63]);
    const used = Math.min(3, bytes.length - at) + 1;
    text += digits.slice(0, used).join("").padEnd(4, "=");
  }
  return text;
}

function fromBase64(text) {
  const digits = [...text.replaceAll("-", "+").replaceAll("_", "/")].filter((digit) => BASE64.includes(digit));
  const bytes = [];
  for (let at = 0; at < digits.length; at += 4) {
    const group = digits.slice(at, at + 4).map((digit) => BASE64.indexOf(digit));
    const bits = group.reduce((sum, value, index) => sum | (value << (18 - 6 * index)), 0);
    for (let index = 0; index < group.length - 1; index++) bytes.push((bits >> (16 - 8 * index)) & 0xff);
  }
  return bytes;
}

const READ = { latin1, binary: latin1, ascii: latin1, hex, base64 };
const WRITTEN = {
  latin1: (text) => Array.from(text, (char) => char.charCodeAt(0) & 0xff),
  hex: (text) => (text.match(/[0-9a-f]{2}/gi) ?? []).map((pair) => parseInt(pair, 16)),
  base64: fromBase64,
  base64url: fromBase64,
};
WRITTEN.binary = WRITTEN.ascii = WRITTEN.latin1;

export class Buffer extends Uint8Array {
  static from(value, encoding = "utf8") {
    if (typeof value !== "string") return super.from(value instanceof ArrayBuffer ? new Uint8Array(value) : value);
    return super.from((WRITTEN[encoding] ?? ((text) => encoder.encode(text)))(value));
  }
  static alloc(size, fill = 0) {
    return new Buffer(size).fill(fill);
  }
  static isBuffer(value) {
    return value instanceof Buffer;
  }
  static byteLength(value, encoding) {
    return typeof value === "string" ? Buffer.from(value, encoding).length : value.byteLength;
  }
  static concat(list) {
    return concat(list, Buffer);
  }
  toString(encoding = "utf8", start = 0, end = this.length) {
    const bytes = this.subarray(start, end);
    return (READ[encoding] ?? ((all) => decoder.decode(all)))(bytes);
  }
  toJSON() {
    return { type: "Buffer", data: [...this] };
  }
}

export default { Buffer };
