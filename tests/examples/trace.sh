#!/usr/bin/env bash
# The example trace, an echo server under load: its recording adds up, and monad-async-trace shows it, on
# the terminal and as a page that a browser draws. Takes the program's path; prints "ok NAME",
# "not ok NAME" or "skip NAME: WHY", a line each.
set -uo pipefail

root=$(cd "$(dirname "$0")/../.." && pwd)
. "$(dirname "$0")/example.sh"

tool=$root/tools/monad-async-trace

command -v python3 >/dev/null || { echo 'skip trace: no python3 here'; exit 0; }

records() {
    cat >checks <<'END'
assert process("echo server") != process("load")
for i in range(8):
    server, client = runs("connection %d" % i), runs("client %d" % i)
    # 200 rounds each; a send that finds room may be over at once. It was written when the clients had
    # ended.
    assert len(server) >= 200 and len(client) > 200, (i, len(server), len(client))
    assert client[-1]["args"]["then"] == "exit" and len(waits("client %d" % i, "RECV")) >= 200, i
    assert ("listener", "connection %d" % i) in arrows("launch")
assert document["otherData"]["overwritten"] == 0
END
    "$program" trace.json && python3 "$root/tests/support/trace_check.py" trace.json checks | tee missing
}
# What was left out of the checks is one that was skipped.
reader() {
    if grep -q "no.* $2" missing; then
        printf 'skip %s: no %s here\n' "$1" "$2"
    else
        printf 'ok %s\n' "$1"
    fi
}

summary() {
    "$tool" trace.json --html page.html >said && cat said &&
        grep -q '2 executors, 17 tasks, 0 events overwritten' said && grep -q 'load / client 7' said &&
        grep -qE '^ +normal +[0-9]{4} ' said && "$tool" trace.json --top 3 | wc -l | grep -qx 28 || return 1
    # What is no trace is said in a line.
    echo '{"traceEvents": [{}]}' >none.json
    ! "$tool" none.json 2>said && [ "$(wc -l <said)" = 1 ] && grep -q 'no trace' said
}

# browse FILE ARGUMENT...   Where there is no network to be had.
browse() {
    local page=$1
    shift
    timeout 120 "$browser" --headless --no-sandbox --disable-gpu --no-first-run \
        --disable-background-networking --disable-component-update --disable-sync \
        --disable-dev-shm-usage --proxy-server=127.0.0.1:9 --user-data-dir="$scratch/profile" \
        --window-size=1200,700 "$@" "file://$scratch/$page" 2>browser.log
}

# What it drew; that it asked for nothing; and what it does when it is pointed at, zoomed and moved.
page_is_drawn() {
    python3 - <<'END'
text = open("page.html").read()
open("tried.html", "w").write(text.replace("</body>", """<script>
{ const say = document.body.dataset, box = canvas.getBoundingClientRect();
const point = (type, x, y, more) => canvas.dispatchEvent(new MouseEvent(type, Object.assign(
  { clientX: box.left + x, clientY: box.top + y, bubbles: true }, more)));
const row = data.tracks.findIndex(track => track.name === "client 2");
const run = data.tracks[row].slices.task[5];
from = run[0] - 1; to = run[0] + run[1] + 1; draw();
point("mousemove", x(run[0] + run[1] / 2, canvas.clientWidth), top_ + row * high + 9 - scrolled());
say.tip = tip.textContent;
const before = to - from;
canvas.dispatchEvent(new WheelEvent("wheel", { clientX: 600, clientY: 100, deltaY: 100, ctrlKey: true,
  cancelable: true }));
say.wider = to - from > before;
const begun = from;
point("mousedown", 600, 100); point("mousemove", 500, 100);
window.dispatchEvent(new MouseEvent("mouseup"));
say.moved = from > begun;
point("dblclick", 600, 100);
say.all = from === 0 && to === data.span;
say.requests = performance.getEntriesByType("resource").length; }
</script></body>"""))
END
    browse tried.html --dump-dom >dom && sed -n 's/.*\(<body[^>]*>\).*/\1/p' dom | tee body &&
        for what in 'drawn="19"' 'tip="client 2.run, ' 'wider="true"' 'moved="true"' 'all="true"' 'requests="0"'; do
            tr '\n' '.' <dom | grep -q "<body[^>]*data-$what" || { echo "no $what"; return 1; }
        done
}

# Each colour of the timeline is there, and most of what is there is none. Where somebody is ready and
# runs for about as long as each other: what is narrower than a dot has no colour of its own.
page_is_seen() {
    python3 - <<'END' || return 1
text = open("page.html").read()
open("zoomed.html", "w").write(text.replace("</body>", """<script>
{ let best = 0;
  for (const { slices } of data.tracks) for (const run of slices.task || []) {
    const before = (slices.ready || []).find(one => Math.abs(one[0] + one[1] - run[0]) < 0.002);
    const even = before ? Math.min(before[1], run[1]) / Math.max(before[1], run[1]) : 0;
    if (even > best) { best = even; from = before[0] - 2 * before[1]; to = run[0] + 4 * run[1]; }
  }
  draw(); }
</script></body>"""))
END
    browse zoomed.html --screenshot="$scratch/page.png" && python3 - <<'END'
import collections, struct, zlib
data = open("page.png", "rb").read()
assert data[:8] == b"\x89PNG\r\n\x1a\n"
at, packed = 8, b""
while at < len(data):
    length, kind = struct.unpack(">I4s", data[at:at + 8])
    chunk = data[at + 8:at + 8 + length]
    if kind == b"IHDR":
        width, height, depth, colour = struct.unpack(">IIBB", chunk[:10])
    elif kind == b"IDAT":
        packed += chunk
    at += length + 12
size = {2: 3, 6: 4}[colour]
assert depth == 8
raw, row, rows = zlib.decompress(packed), bytearray(width * size), []
for y in range(height):
    begin = y * (width * size + 1)
    how, line = raw[begin], bytearray(raw[begin + 1:begin + 1 + width * size])
    for i in range(len(line)):
        a, b = line[i - size] if i >= size else 0, row[i]
        c = row[i - size] if i >= size else 0
        guess = a + b - c
        paeth = min((a, b, c), key=lambda n: abs(guess - n))
        line[i] = (line[i] + (0, a, b, (a + b) // 2, paeth)[how]) & 255
    row = line
    rows.append(line)
count = collections.Counter(bytes(line[i:i + 3]) for line in rows for i in range(0, len(line), size))
print(width, height, count.most_common(8))
assert (width, height) == (1200, 700)
for name in "2a7f3f", "e0a020", "c9d6e4", "5570c0":
    assert count[bytes.fromhex(name)] > 300, name
assert count[b"\xff\xff\xff"] > width * height // 5
END
}

check 'the echo server under load is recorded' records
if [ $status = 0 ]; then
    reader 'the recording is as its schema says' python3-jsonschema
    reader 'the recording is read by jq' jq
fi
check 'a summary of a trace' summary
browser=
for name in chromium chromium-browser google-chrome; do
    command -v $name >/dev/null && browser=$name && break
done
if [ -z "$browser" ]; then
    echo 'skip the page of a trace is drawn: no chromium here'
    echo 'skip the page of a trace is seen: no chromium here'
    exit $status
fi
check 'the page of a trace is drawn' page_is_drawn
check 'the page of a trace is seen' page_is_seen
exit $status
