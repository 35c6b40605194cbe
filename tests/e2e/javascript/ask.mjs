// Reads a list of calls, [method, its one argument], from its input; asks each through @huggingface/inference, and writes
// the list of what came back: {"value": ...}, a stream as the list of its parts, or {"error", "status", "body"}.
import { readFileSync } from "node:fs";
import { InferenceClient } from "@huggingface/inference";

const client = new InferenceClient();

async function ask([method, argument]) {
  try {
    const made = client[method](argument);
    return { value: Symbol.asyncIterator in made ? await all(made) : await made };
  } catch (error) {
    return { error: error.message, status: error.httpResponse?.status, body: error.httpResponse?.body };
  }
}

async function all(stream) {
  const parts = [];
  for await (const part of stream) parts.push(part);
  return parts;
}

const made = [];
for (const call of JSON.parse(readFileSync(0, "utf8"))) made.push(await ask(call));
process.stdout.write(JSON.stringify(made));
