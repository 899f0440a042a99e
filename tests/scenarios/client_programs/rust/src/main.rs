// async-openai, unchanged. Arguments: base URL, key, a file, the text in it.
use async_openai::config::OpenAIConfig;
use async_openai::error::OpenAIError;
use async_openai::types::audio::{
    AudioResponseFormat, CreateTranscriptionRequestArgs,
    CreateTranscriptionResponseStreamEvent, TimestampGranularity, TranscriptionInclude,
};
use async_openai::Client;
use futures::StreamExt;

fn request(file: &str) -> CreateTranscriptionRequestArgs {
    let mut args = CreateTranscriptionRequestArgs::default();
    args.file(file).model("whisper-1");
    args
}

fn say(name: &str, result: Result<bool, OpenAIError>) {
    match result {
        Ok(true) => println!("ok {name}"),
        Ok(false) => println!("failed {name}: not as expected"),
        Err(error) => println!("failed {name}: {}", format!("{error:?}").replace('\n', " ")),
    }
}

fn refused(result: Result<impl Sized, OpenAIError>, code: &str) -> Result<bool, OpenAIError> {
    match result {
        Ok(_) => Ok(false),
        Err(OpenAIError::ApiError(error)) => Ok(format!("{error:?}").contains(code)),
        Err(error) => Err(error),
    }
}

#[tokio::main]
async fn main() {
    let given: Vec<String> = std::env::args().collect();
    let (url, key, file, text) = (&given[1], &given[2], &given[3], given[4].as_str());
    let with_key = |key: &str| {
        Client::with_config(OpenAIConfig::new().with_api_base(url).with_api_key(key))
    };
    let client = with_key(key);
    let audio = client.audio();
    let audio = audio.transcription();
    let build = |args: &mut CreateTranscriptionRequestArgs| args.build().unwrap();

    let found = audio.create(build(&mut request(file))).await;
    say("json", found.map(|found| found.text == text));
    let asked = build(request(file).model("Systran/faster-whisper-large-v3"));
    say("alias with a slash", audio.create(asked).await.map(|found| found.text == text));
    let asked = build(
        request(file)
            .prompt("The next words are about Ada Lovelace and her engine, as before.")
            .temperature(0.2)
            .language("en"),
    );
    say("prompt, temperature, language", audio.create(asked).await.map(|found| found.text == text));
    let asked = build(request(file).include(vec![TranscriptionInclude::Logprobs]));
    let found = audio.create(asked).await;
    say("log probabilities", found.map(|found| found.logprobs.is_some_and(|all| all.len() == 3)));
    let asked = build(
        request(file)
            .response_format(AudioResponseFormat::VerboseJson)
            .timestamp_granularities(vec![TimestampGranularity::Word, TimestampGranularity::Segment]),
    );
    let found = audio.create_verbose_json(asked).await;
    say(
        "verbose_json",
        found.map(|found| {
            found.text == text
                && found.words.is_some_and(|words| words.len() == 3)
                && found.segments.is_some_and(|segments| !segments.is_empty())
        }),
    );
    for (name, format, start) in [
        ("text", AudioResponseFormat::Text, text),
        ("srt", AudioResponseFormat::Srt, "1\n00:00:00,"),
        ("vtt", AudioResponseFormat::Vtt, "WEBVTT"),
    ] {
        let found = audio.create_raw(build(request(file).response_format(format))).await;
        say(name, found.map(|found| found.starts_with(start.as_bytes())));
    }
    let done = match audio.create_stream(build(&mut request(file))).await {
        Err(error) => Err(error),
        Ok(mut stream) => {
            let (mut deltas, mut whole, mut fault) = (String::new(), String::new(), None);
            while let Some(event) = stream.next().await {
                match event {
                    Ok(CreateTranscriptionResponseStreamEvent::TranscriptTextDelta(each)) => {
                        deltas += &each.delta
                    }
                    Ok(CreateTranscriptionResponseStreamEvent::TranscriptTextDone(each)) => {
                        whole = each.text
                    }
                    Ok(_) => {}
                    Err(error) => fault = Some(error),
                }
            }
            fault.map_or(Ok(deltas == text && whole == text), Err)
        }
    };
    say("stream", done);
    let found = client.models().list().await;
    say("models", found.map(|found| found.data.iter().any(|each| each.id == "whisper-1")));
    let found = client.models().retrieve("whisper-1").await;
    say("model", found.map(|found| found.id == "whisper-1"));
    let asked = build(request(file).language("no language"));
    say("400", refused(audio.create(asked).await, "invalid_request"));
    let asked = build(request(file).model("nobody"));
    say("404", refused(audio.create(asked).await, "model_not_found"));
    let stranger = with_key("wrong");
    let found = stranger.audio().transcription().create(build(&mut request(file))).await;
    say("401", refused(found, "invalid_api_key"));
}
