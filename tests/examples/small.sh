#!/usr/bin/env bash
# The examples that end by themselves, which say by their status whether what they did was right.
#   small.sh DIRECTORY
. "$(dirname "$0")/../tools.sh"

where=$(realpath -e "${1:?where they were built}") || exit 1
status=0
for example in "${small_examples[@]}"; do
    case $example in
    asio_loop | uv_loop)
        [ -x "$where/$example" ] || { echo "skip $example: its loop is not installed"; continue; }
        ;;
    esac
    if output=$("$where/$example" 2>&1 </dev/null); then
        echo "ok $example"
    else
        echo "not ok $example"
        echo "$output"
        status=1
    fi
done
exit $status
