#!/bin/sh
# curl, with options that change what is sent. Arguments: base URL, key, a file, the text in it.
url=$1 file=$3 text=$4 key="Authorization: Bearer $2"
asked="$url/audio/transcriptions"

# say NAME EXPECTED COMMAND...: whether the output of the command has EXPECTED in it
say() {
    name=$1 expected=$2
    shift 2
    found=$("$@" 2>&1)
    case $found in
        *"$expected"*) echo "ok $name" ;;
        *) echo "failed $name: $found" | tr '\n' ' ' && echo ;;
    esac
}
ask() { curl -s -m 60 -H "$key" "$@"; }
from_pipe() { ask "$asked" -F 'file=@-;filename=a.wav' < "$file"; }
packed() { echo '{"id": "m", "audio_filepath": "absent.wav"}' | gzip | ask "$url/manifests" --data-binary @-; }

say "a form" "\"$text\"" ask "$asked" -F "file=@$file" -F model=auto
say "HTTP/1.0" "\"$text\"" ask --http1.0 "$asked" -F "file=@$file"
say "an offer of HTTP/2" "\"$text\"" ask --http2 "$asked" -F "file=@$file"
say "Expect" "\"$text\"" ask -H "Expect: 100-continue" "$asked" -F "file=@$file"
say "chunks" "\"$text\"" ask -H "Transfer-Encoding: chunked" "$asked" -F "file=@$file"
say "from a pipe" "\"$text\"" from_pipe
say "an unknown type" "$text" ask "$asked" -F "file=@$file;type=application/octet-stream" -F response_format=text
say "a name with quotes" "\"$text\"" ask "$asked" -F "file=@$file;filename=\"a\\\";b.wav\""
say "a slash at the end" "\"$text\"" ask "$asked/" -F "file=@$file"
say "compressed answers" "\"$text\"" ask --compressed "$asked" -F "file=@$file"
say "one connection for two" "200 0" ask "$asked" -F "file=@$file" --next -s -H "$key" -w '%{http_code} %{num_connects}' "$url/models"
say "events" "transcript.text.done" ask -N "$asked" -F "file=@$file" -F stream=true
say "a manifest" "absent.wav" ask "$url/manifests" -d '{"id": "m", "audio_filepath": "absent.wav"}'
say "a compressed manifest" "absent.wav" packed
say "base64 is refused" "Content-Transfer-Encoding" ask "$asked" -F "file=@$file;encoder=base64"
say "a body without a form" "415" ask -w '%{http_code}' -H "Content-Type: audio/wav" --data-binary "@$file" "$asked"
say "no /v1" "ends in /v1" ask "${url%/v1}/audio/transcriptions" -F "file=@$file"
say "401" "missing_api_key" curl -s -m 60 -u "user:$2" "$asked" -F "file=@$file"
