// LangChain's loader of audio for JavaScript, unchanged.
import { OpenAIWhisperAudio } from "@langchain/community/document_loaders/fs/openai_whisper_audio";
import { fails, file, key, say, text, url } from "./say.mjs";

const load = async (transcriptionCreateParams = {}, apiKey = key) => {
  const clientOptions = { baseURL: url, apiKey, maxRetries: 0 };
  const [found] = await new OpenAIWhisperAudio(file, { clientOptions, transcriptionCreateParams }).load();
  return found.pageContent;
};

await say("json", async () => (await load()) === text);
await say("prompt, temperature, language", async () =>
  (await load({ prompt: "And this is what was said before.", temperature: 0.2, language: "en" })) === text);
await say("400", async () => (await fails(() => load({ language: "no language" }))).status === 400);
await say("401", async () => (await fails(() => load({}, "wrong"))).status === 401);
