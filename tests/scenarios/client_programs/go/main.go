// openai-go, unchanged. Arguments: base URL, key, a file, the text in it.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/openai/openai-go/v3"
	"github.com/openai/openai-go/v3/option"
)

func main() {
	url, key, file, text := os.Args[1], os.Args[2], os.Args[3], os.Args[4]
	ctx := context.Background()
	withKey := func(key string) openai.Client {
		return openai.NewClient(option.WithBaseURL(url), option.WithAPIKey(key), option.WithMaxRetries(0))
	}
	client := withKey(key)
	open := func() *os.File {
		found, err := os.Open(file)
		if err != nil {
			panic(err)
		}
		return found
	}
	say := func(name string, good bool, err error) {
		if err != nil {
			fmt.Printf("failed %s: %s\n", name, strings.ReplaceAll(err.Error(), "\n", " "))
		} else if !good {
			fmt.Printf("failed %s: not as expected\n", name)
		} else {
			fmt.Printf("ok %s\n", name)
		}
	}
	ask := func(client openai.Client, params openai.AudioTranscriptionNewParams) (*openai.AudioTranscriptionNewResponseUnion, error) {
		params.File = open()
		if params.Model == "" {
			params.Model = "whisper-1"
		}
		return client.Audio.Transcriptions.New(ctx, params)
	}
	check := func(name string, params openai.AudioTranscriptionNewParams, good func(*openai.AudioTranscriptionNewResponseUnion) bool) {
		found, err := ask(client, params)
		say(name, err == nil && good(found), err)
	}
	same := func(found *openai.AudioTranscriptionNewResponseUnion) bool { return found.Text == text }
	check("json", openai.AudioTranscriptionNewParams{}, same)
	check("alias with a slash", openai.AudioTranscriptionNewParams{Model: "Systran/faster-whisper-large-v3"}, same)
	check("prompt, temperature, language", openai.AudioTranscriptionNewParams{
		Prompt:      openai.String("The next words are about Ada Lovelace and her engine, as before."),
		Temperature: openai.Float(0.2),
		Language:    openai.String("en"),
	}, same)
	check("log probabilities", openai.AudioTranscriptionNewParams{
		Include: []openai.TranscriptionInclude{openai.TranscriptionIncludeLogprobs},
	}, func(found *openai.AudioTranscriptionNewResponseUnion) bool { return len(found.Logprobs) == 3 })
	check("verbose_json", openai.AudioTranscriptionNewParams{
		ResponseFormat:         openai.AudioResponseFormatVerboseJSON,
		TimestampGranularities: []string{"word", "segment"},
	}, func(found *openai.AudioTranscriptionNewResponseUnion) bool {
		return found.Text == text && len(found.Words) == 3 && len(found.Segments) > 0
	})
	stream := client.Audio.Transcriptions.NewStreaming(ctx, openai.AudioTranscriptionNewParams{File: open(), Model: "whisper-1"})
	deltas, whole, tokens := "", "", int64(0)
	for stream.Next() {
		event := stream.Current()
		deltas += event.Delta
		if event.Type == "transcript.text.done" {
			whole, tokens = event.Text, event.Usage.TotalTokens
		}
	}
	say("stream", deltas == text && whole == text && tokens > 0, stream.Err())
	models, err := client.Models.List(ctx)
	named := false
	if err == nil {
		for _, each := range models.Data {
			named = named || each.ID == "whisper-1"
		}
	}
	say("models", named, err)
	model, err := client.Models.Get(ctx, "Systran/faster-whisper-large-v3")
	say("model", err == nil && model.ID == "Systran/faster-whisper-large-v3", err)
	refused := func(name string, client openai.Client, params openai.AudioTranscriptionNewParams, status int, code string) {
		_, err := ask(client, params)
		var fault *openai.Error
		if errors.As(err, &fault) {
			say(name, fault.StatusCode == status && fault.Code == code, nil)
		} else {
			say(name, false, err)
		}
	}
	refused("400", client, openai.AudioTranscriptionNewParams{Language: openai.String("no language")}, 400, "invalid_request")
	refused("404", client, openai.AudioTranscriptionNewParams{Model: "nobody"}, 404, "model_not_found")
	refused("401", withKey("wrong"), openai.AudioTranscriptionNewParams{}, 401, "invalid_api_key")
}
