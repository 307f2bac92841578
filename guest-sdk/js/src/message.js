// Message bodies: JSON, as between Node's processes; a Uint8Array goes as it is.
import { bytesOf } from "./wit.js";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

export const encode = (value) => (value instanceof Uint8Array ? value : encoder.encode(JSON.stringify(value)));

/** The value, or the bytes themselves if they are no JSON. */
export function decode(body) {
  const bytes = bytesOf(body);
  try {
    return JSON.parse(decoder.decode(bytes));
  } catch {
    return bytes;
  }
}
