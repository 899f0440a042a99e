// OpenAI's client for Node, unchanged.
import { createReadStream } from "node:fs";
import OpenAI from "openai";
import { fails, file, key, say, text, url } from "./say.mjs";

const withKey = (apiKey) => new OpenAI({ baseURL: url, apiKey, maxRetries: 0 });
const client = withKey(key);
const ask = (more, from = client) =>
  from.audio.transcriptions.create({ file: createReadStream(file), model: "whisper-1", ...more });

await say("json", async () => (await ask({})).text === text);
await say("alias with a slash", async () =>
  (await ask({ model: "Systran/faster-whisper-large-v3" })).text === text);
await say("prompt, temperature, language", async () =>
  (await ask({
    prompt: "The next words are about Ada Lovelace and her engine, as before.",
    temperature: 0.2,
    language: "en",
  })).text === text);
await say("log probabilities", async () => (await ask({ include: ["logprobs"] })).logprobs.length === 3);
await say("verbose_json", async () => {
  const found = await ask({
    response_format: "verbose_json",
    timestamp_granularities: ["word", "segment"],
  });
  return found.text === text && found.words.length === 3 && found.segments.length > 0;
});
for (const [format, start] of [["text", text], ["srt", "1\n00:00:00,"], ["vtt", "WEBVTT"]]) {
  await say(format, async () => (await ask({ response_format: format })).startsWith(start));
}
await say("stream", async () => {
  let deltas = "", done;
  for await (const event of await ask({ stream: true })) {
    if (event.type === "transcript.text.delta") deltas += event.delta;
    else done = event;
  }
  return deltas === text && done.text === text && done.usage.type === "tokens";
});
await say("models", async () => (await client.models.list()).data.some((each) => each.id === "whisper-1"));
await say("model", async () =>
  (await client.models.retrieve("Systran/faster-whisper-large-v3")).id === "Systran/faster-whisper-large-v3");
await say("400", async () =>
  (await fails(() => ask({ language: "no language" }))) instanceof OpenAI.BadRequestError);
await say("404", async () => (await fails(() => ask({ model: "nobody" }))).code === "model_not_found");
await say("401", async () =>
  (await fails(() => ask({}, withKey("wrong")))) instanceof OpenAI.AuthenticationError);
