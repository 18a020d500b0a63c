#!/bin/sh
# Registers a device, follows topics with the secret it is given, posts an event, asks what became of
# it, and removes the device. Needs curl, and nothing else.
#
#   API=http://127.0.0.1:8480 APP_KEY=… BACKEND_KEY=… sh follow.sh
#
# APP_KEY has the scope devices:write:self, BACKEND_KEY events:publish:news.> and read. Neither is
# needed where none is asked for.
set -eu

api=${API:-http://127.0.0.1:8480}
device=example-$$
json='content-type: application/json'

# ask KEY METHOD PATH [BODY]: prints the answer, or says what was refused and ends; tries again where
# the API says "later". The key goes through a pipe: arguments can be seen by everybody on the machine.
ask() {
    key=$1 method=$2 path=$3
    if [ $# -gt 3 ]; then set -- -H "$json" -d "$4"; else set --; fi
    answer=$(if [ -n "$key" ]; then
        printf 'header = "Authorization: Bearer %s"\n' "$key"
    fi | curl -sS --config - --retry 5 --fail-with-body -X "$method" "$@" "$api$path") || {
        printf '%s %s: %s\n' "$method" "$path" "$answer" >&2
        exit 1
    }
    printf '%s\n' "$answer"
}

# field NAME: its text in the JSON of standard input.
field() { sed -n 's/.*"'"$1"'" *: *"\([^"]*\)".*/\1/p' | head -n 1; }

echo "register $device"
registered=$(ask "${APP_KEY:-}" PUT "/v1/devices/$device" '{"app": "try", "token": "example-token-'$$'"}')
secret=$(printf %s "$registered" | field secret)

echo "follow news.> and quakes of magnitude 4.5 and more, by its own secret"
ask "$secret" PUT "/v1/devices/$device/topics/news.%3E" > /dev/null
ask "$secret" PUT "/v1/devices/$device/topics/quakes.%3E" '{"filters": [{"field": "mag", "min": 4.5}]}'

echo "post an event"
posted=$(ask "${BACKEND_KEY:-}" POST /v1/events \
    '{"id": "example-'$$'", "topics": ["news.local"], "title": "Market day", "body": "Open from eight"}')
event=$(printf %s "$posted" | field event)

echo "what became of $event for $device"
while :; do
    story=$(ask "${BACKEND_KEY:-}" GET "/v1/events/$event/deliveries/$device")
    ending=$(printf %s "$story" | field ending)
    case $ending in
    not_planned_yet | to_come | waiting) sleep 1 ;;
    *) break ;;
    esac
done
printf '%s\n' "$story" | field sentence

echo "remove $device"
ask "$secret" DELETE "/v1/devices/$device"
