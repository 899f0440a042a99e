// OpenAI's own client for Node, unchanged, and plain fetch: argument 1 is the address, 2 a file.
import { createReadStream, readFileSync } from "node:fs";
import OpenAI from "openai";

const [address, path] = process.argv.slice(2);
const client = new OpenAI({ baseURL: `${address}/v1`, apiKey: "key-of-anna", maxRetries: 0 });
const audio = client.audio.transcriptions;
const ask = (more) => audio.create({ model: "auto", file: createReadStream(path), ...more });

const found = { models: (await client.models.list()).data.map((each) => each.id) };
found.json = (await ask({})).text;
for (const format of ["text", "srt", "vtt"]) {
  found[format] = await ask({ response_format: format });
}
const verbose = await ask({
  response_format: "verbose_json",
  timestamp_granularities: ["word", "segment"],
});
found.words = verbose.words.map((each) => each.word);
found.segments = verbose.segments.length;

found.events = [];
for await (const event of await ask({ stream: true })) found.events.push(event.type);
found.logprobs = (await ask({ include: ["logprobs"] })).logprobs.map((each) => each.token);

const fails = async (client, more) => {
  try {
    await client.audio.transcriptions.create({
      model: "auto", file: createReadStream(path), ...more,
    });
  } catch (error) {
    return [error.constructor.name, error.status, error.code];
  }
};
found.unknown = await fails(client, { model: "nobody" });
const stranger = new OpenAI({ baseURL: `${address}/v1`, apiKey: "wrong", maxRetries: 0 });
found.stranger = await fails(stranger, {});

const form = new FormData();
form.append("file", new Blob([readFileSync(path)]), "speech.wav");
form.append("model", "auto");
const answer = await fetch(`${address}/v1/audio/transcriptions`, {
  method: "POST",
  headers: { authorization: "Bearer key-of-anna" },
  body: form,
});
found.fetch = (await answer.json()).text;
console.log(JSON.stringify(found));
