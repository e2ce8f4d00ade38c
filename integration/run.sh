#!/bin/sh
# Starts the server with the three sample pipelines and drops the sample rows into its landing directory as a live
# stream. Ctrl-C stops both.
set -eu
build=$1
here=$(dirname "$0")/..
landing=$build/landing
listen=${SMELT_LISTEN:-127.0.0.1:3307}
http=${SMELT_HTTP:-127.0.0.1:8080}
mkdir -p "$landing"

"$build/smelt" serve --data "$build/data" --watch "$landing" --listen "$listen" --http "$http" \
	--pipeline "$here/queries/sentiment" --pipeline "$here/queries/battle" --pipeline "$here/queries/languages" &
server=$!
replay=
# The replay is a child of its own: it is stopped first, so that no file is half way when the server closes.
stop() {
	trap - INT TERM
	[ -z "$replay" ] || kill "$replay" 2>/dev/null || true
	kill "$server" 2>/dev/null || true
	wait "$server" 2>/dev/null || true
	exit 0
}
trap stop INT TERM

# Once only: a second run would drop the same rows under new names, and every file is loaded.
if [ ! -e "$landing/.replayed" ]; then
	touch "$landing/.replayed"
	(
		for sample in sentiment/tweets:tweets battle/labels:labels battle/databricks:databricks battle/snowflake:snowflake languages/statuses:statuses; do
			"$build/smelt" replay "$here/queries/${sample%%:*}" --into "$landing/${sample##*:}" --rows 10 --rate "${SMELT_RATE:-50}"
		done
	) &
	replay=$!
fi
wait "$server"
