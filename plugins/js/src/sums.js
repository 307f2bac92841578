// A program to fork: answers each number with the sum of those up to it.
import process from "host-sdk/process";
export { run } from "host-sdk/process";

process.on("message", (most) => {
  let sum = 0;
  for (let number = 1; number <= most; number++) sum += number;
  process.send(sum);
});
