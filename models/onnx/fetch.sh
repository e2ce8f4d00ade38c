#!/bin/sh
# Fetches the ONNX Runtime library into the directory given, once: the official release first, then the npm package
# onnxruntime-node, whichever answers. An archive is hashed before anything is taken out of it, and the library after.
# Nothing is fetched when SMELT_ONNXRUNTIME names a library, or when the right one is there already.
set -eu

version=1.30.0
npm_sha256=6e3390d6b783e7be946fad629292799da28d0b42f84856e50d2c1b0383291e75

case "$(uname -s)/$(uname -m)" in
Linux/x86_64)
	npm_member=package/bin/napi-v6/linux/x64/libonnxruntime.so.1
	member_sha256=ffb75a925ba05e47b235bb66e3e3911714a80b328a9c9425539feb204aa32a23
	release=onnxruntime-linux-x64-$version
	;;
Linux/aarch64)
	npm_member=package/bin/napi-v6/linux/arm64/libonnxruntime.so.1
	member_sha256=1f549d46250b005580b597f4164984aaf75b3bcb9f3aeb07c7f8a8fe60b23c76
	release=onnxruntime-linux-aarch64-$version
	;;
*)
	echo "onnxruntime: no library is pinned for $(uname -s) on $(uname -m); name one in SMELT_ONNXRUNTIME" >&2
	exit 1
	;;
esac

if [ -n "${SMELT_ONNXRUNTIME:-}" ]; then
	if [ ! -r "$SMELT_ONNXRUNTIME" ]; then
		echo "onnxruntime: SMELT_ONNXRUNTIME names $SMELT_ONNXRUNTIME, which cannot be read" >&2
		exit 1
	fi
	echo "onnxruntime: using $SMELT_ONNXRUNTIME"
	exit 0
fi

dir=${1:?usage: fetch.sh DIRECTORY}
library=$dir/libonnxruntime.so
hash_of() { sha256sum "$1" | cut -d' ' -f1; }
if [ -f "$library" ] && [ "$(hash_of "$library")" = "$member_sha256" ]; then
	exit 0
fi

mkdir -p "$dir"
work=$(mktemp -d "$dir/.fetch.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 1' INT TERM

# The hash of the release's archive is not pinned: its library is taken only if it is the pinned one, byte for byte, so
# the archive can do no harm beyond being thrown away.
from_release() {
	command -v curl >/dev/null || return 1
	url=https://github.com/microsoft/onnxruntime/releases/download/v$version/$release.tgz
	curl --fail --silent --show-error --location --connect-timeout 5 --max-time 300 --output "$work/release.tgz" "$url" 2>"$work/why" || return 1
	tar -xzOf "$work/release.tgz" "$release/lib/libonnxruntime.so.$version" >"$work/library" 2>"$work/why" || return 1
	[ "$(hash_of "$work/library")" = "$member_sha256" ]
}

from_npm() {
	command -v npm >/dev/null || { echo "npm is not installed" >"$work/why"; return 1; }
	(cd "$work" && npm pack --silent "onnxruntime-node@$version" >packed 2>why) || return 1
	archive=$work/onnxruntime-node-$version.tgz
	if [ "$(hash_of "$archive")" != "$npm_sha256" ]; then
		echo "the archive's SHA-256 is $(hash_of "$archive"), not $npm_sha256" >"$work/why"
		return 1
	fi
	tar -xzOf "$archive" "$npm_member" >"$work/library" 2>"$work/why" || return 1
	if [ "$(hash_of "$work/library")" != "$member_sha256" ]; then
		echo "the library's SHA-256 is $(hash_of "$work/library"), not $member_sha256" >"$work/why"
		return 1
	fi
}

if from_release; then
	source="the official release"
elif from_npm; then
	source="npm's onnxruntime-node"
else
	echo "onnxruntime: version $version could not be fetched: $(cat "$work/why")" >&2
	echo "onnxruntime: name a library of version 1.29 or later in SMELT_ONNXRUNTIME; without one all tables are served, and model calls say so" >&2
	exit 1
fi
mv "$work/library" "$library"
echo "onnxruntime: version $version from $source in $library"
