// openai-java, and Java's own HttpClient, which offers HTTP/2; unchanged.
// Arguments: base URL, key, a file, the text in it.
import com.openai.client.OpenAIClient;
import com.openai.client.okhttp.OpenAIOkHttpClient;
import com.openai.errors.OpenAIServiceException;
import com.openai.models.audio.AudioResponseFormat;
import com.openai.models.audio.transcriptions.TranscriptionCreateParams;
import com.openai.models.audio.transcriptions.TranscriptionCreateParams.TimestampGranularity;
import com.openai.models.audio.transcriptions.TranscriptionInclude;
import java.io.ByteArrayOutputStream;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import java.util.function.UnaryOperator;

public class Client {
    static void say(String name, Callable<Boolean> check) {
        try {
            System.out.println(check.call() ? "ok " + name : "failed " + name + ": not as expected");
        } catch (Exception error) {
            System.out.println("failed " + name + ": " + error.toString().replace('\n', ' '));
        }
    }

    public static void main(String[] given) {
        String url = given[0], key = given[1], text = given[3];
        Path file = Path.of(given[2]);
        OpenAIClient client = client(url, key);
        UnaryOperator<TranscriptionCreateParams.Builder> plain = each -> each;
        say("json", () -> text.equals(ask(client, file, plain).asTranscription().validate().text()));
        say("alias with a slash", () -> text.equals(
            ask(client, file, each -> each.model("Systran/faster-whisper-large-v3")).asTranscription().text()));
        say("prompt, temperature, language", () -> text.equals(ask(client, file, each -> each
            .prompt("The next words are about Ada Lovelace and her engine, as before.")
            .temperature(0.2).language("en")).asTranscription().text()));
        say("log probabilities", () -> ask(client, file, each -> each.addInclude(TranscriptionInclude.LOGPROBS))
            .asTranscription().validate().logprobs().get().size() == 3);
        say("verbose_json", () -> {
            var found = ask(client, file, each -> each.responseFormat(AudioResponseFormat.VERBOSE_JSON)
                .addTimestampGranularity(TimestampGranularity.WORD)
                .addTimestampGranularity(TimestampGranularity.SEGMENT)).asVerbose().validate();
            return found.text().equals(text) && found.words().get().size() == 3 && !found.segments().get().isEmpty();
        });
        say("stream", () -> {
            var deltas = new StringBuilder();
            var whole = new StringBuilder();
            try (var stream = client.audio().transcriptions().createStreaming(params(file, plain))) {
                stream.stream().forEach(event -> {
                    event.validate();
                    event.transcriptTextDelta().ifPresent(each -> deltas.append(each.delta()));
                    event.transcriptTextDone().ifPresent(each -> whole.append(each.text()));
                });
            }
            return text.contentEquals(deltas) && text.contentEquals(whole);
        });
        say("models", () -> client.models().list().data().stream().anyMatch(each -> each.id().equals("whisper-1")));
        say("model", () -> client.models().retrieve("whisper-1").validate().id().equals("whisper-1"));
        say("400", () -> refused(client, file, each -> each.language("no language"), 400, "invalid_request"));
        say("404", () -> refused(client, file, each -> each.model("nobody"), 404, "model_not_found"));
        say("401", () -> refused(client(url, "wrong"), file, plain, 401, "invalid_api_key"));
        say("java.net.http", () -> {
            var body = new ByteArrayOutputStream();
            body.write("--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n"
                .getBytes(StandardCharsets.UTF_8));
            body.write(Files.readAllBytes(file));
            body.write("\r\n--x--\r\n".getBytes(StandardCharsets.UTF_8));
            var request = HttpRequest.newBuilder(URI.create(url + "/audio/transcriptions"))
                .header("Content-Type", "multipart/form-data; boundary=x")
                .header("Authorization", "Bearer " + key)
                .POST(HttpRequest.BodyPublishers.ofByteArray(body.toByteArray())).build();
            var answer = HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString());
            return answer.statusCode() == 200 && answer.body().contains(text);
        });
        System.exit(0); // the client's threads would keep the process for a minute
    }

    static OpenAIClient client(String url, String key) {
        return OpenAIOkHttpClient.builder().baseUrl(url).apiKey(key).maxRetries(0).build();
    }

    static TranscriptionCreateParams params(Path file, UnaryOperator<TranscriptionCreateParams.Builder> more) {
        return more.apply(TranscriptionCreateParams.builder().file(file).model("whisper-1")).build();
    }

    static com.openai.models.audio.transcriptions.TranscriptionCreateResponse ask(
            OpenAIClient client, Path file, UnaryOperator<TranscriptionCreateParams.Builder> more) {
        return client.audio().transcriptions().create(params(file, more));
    }

    static boolean refused(OpenAIClient client, Path file,
            UnaryOperator<TranscriptionCreateParams.Builder> more, int status, String code) {
        try {
            ask(client, file, more);
            return false;
        } catch (OpenAIServiceException error) {
            return error.statusCode() == status && error.code().orElse("").equals(code);
        }
    }
}
