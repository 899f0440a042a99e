// Spring AI, unchanged, with Java's own HttpClient, which offers HTTP/2.
// Arguments: base URL, key, a file, the text in it.
import java.util.concurrent.Callable;
import org.springframework.ai.audio.transcription.AudioTranscriptionPrompt;
import org.springframework.ai.openai.OpenAiAudioTranscriptionModel;
import org.springframework.ai.openai.OpenAiAudioTranscriptionOptions;
import org.springframework.ai.openai.api.OpenAiAudioApi;
import org.springframework.ai.openai.api.OpenAiAudioApi.TranscriptResponseFormat;
import org.springframework.ai.retry.NonTransientAiException;
import org.springframework.core.io.FileSystemResource;

public class Client {
    static String url, file;

    static void say(String name, Callable<Boolean> check) {
        try {
            System.out.println(check.call() ? "ok " + name : "failed " + name + ": not as expected");
        } catch (Exception error) {
            System.out.println("failed " + name + ": " + error.toString().replace('\n', ' '));
        }
    }

    static OpenAiAudioTranscriptionOptions.Builder options() {
        return OpenAiAudioTranscriptionOptions.builder().model("whisper-1")
            .responseFormat(TranscriptResponseFormat.JSON);
    }

    static String ask(String key, OpenAiAudioTranscriptionOptions.Builder options) {
        var api = OpenAiAudioApi.builder().baseUrl(url).apiKey(key).build();
        var prompt = new AudioTranscriptionPrompt(new FileSystemResource(file), options.build());
        return new OpenAiAudioTranscriptionModel(api, options().build()).call(prompt).getResult().getOutput();
    }

    static boolean refused(String key, OpenAiAudioTranscriptionOptions.Builder options, String code) {
        try {
            ask(key, options);
            return false;
        } catch (NonTransientAiException error) {
            return error.getMessage().contains(code);
        }
    }

    public static void main(String[] given) {
        url = given[0].replaceAll("/v1$", "");
        file = given[2];
        String key = given[1], text = given[3];
        say("json", () -> ask(key, options()).equals(text));
        say("alias with a slash", () -> ask(key, options().model("Systran/faster-whisper-large-v3")).equals(text));
        say("prompt, temperature, language", () -> ask(key, options()
            .prompt("The next words are about Ada Lovelace and her engine, as before.")
            .temperature(0.2f).language("en")).equals(text));
        say("text", () -> ask(key, options().responseFormat(TranscriptResponseFormat.TEXT)).strip().equals(text));
        say("srt", () -> ask(key, options().responseFormat(TranscriptResponseFormat.SRT)).startsWith("1\n00:00:00,"));
        say("vtt", () -> ask(key, options().responseFormat(TranscriptResponseFormat.VTT)).startsWith("WEBVTT"));
        say("verbose_json", () -> ask(key, options()
            .responseFormat(TranscriptResponseFormat.VERBOSE_JSON)).equals(text));
        say("400", () -> refused(key, options().language("no language"), "invalid_request"));
        say("404", () -> refused(key, options().model("nobody"), "model_not_found"));
        say("401", () -> refused("wrong", options(), "invalid_api_key"));
        System.exit(0);
    }
}
