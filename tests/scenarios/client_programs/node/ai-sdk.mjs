// Vercel's AI SDK with its provider for OpenAI, unchanged.
import { readFile } from "node:fs/promises";
import { createOpenAI } from "@ai-sdk/openai";
import { experimental_transcribe as transcribe } from "ai";
import { fails, file, key, say, text, url } from "./say.mjs";

const audio = await readFile(file);
const withKey = (apiKey) => createOpenAI({ baseURL: url, apiKey });
const ask = (model, openai = {}, from = withKey(key)) =>
  transcribe({ model: from.transcription(model), audio, maxRetries: 0, providerOptions: { openai } });

await say("whisper-1", async () => (await ask("whisper-1")).text === text);
await say("gpt-4o-transcribe", async () => (await ask("gpt-4o-transcribe")).text === text);
await say("alias with a slash", async () => (await ask("Systran/faster-whisper-large-v3")).text === text);
await say("words", async () => {
  const found = await ask("whisper-1", { timestampGranularities: ["word"] });
  return found.segments.length === 3 && found.durationInSeconds > 0;
});
await say("segments", async () => {
  const found = await ask("whisper-1", { timestampGranularities: ["segment"] });
  return found.segments.length > 0 && found.segments.map((each) => each.text).join(" ") === text;
});
await say("prompt, temperature, language", async () =>
  (await ask("whisper-1", {
    prompt: "The next words are about Ada Lovelace and her engine, as before.",
    temperature: 0.2,
    language: "en",
  })).text === text);
await say("400", async () => (await fails(() => ask("whisper-1", { language: "no language" }))).statusCode === 400);
await say("404", async () => (await fails(() => ask("nobody"))).statusCode === 404);
await say("401", async () => (await fails(() => ask("whisper-1", {}, withKey("wrong")))).statusCode === 401);
