"""Drives WebRTC sessions with the real inference_sdk and checks what comes of them.

Arguments: address of the server, name of a scenario, what the scenario needs. Prints a line for each
thing that is as expected; ends with an error at the first that is not.
"""
import json
import os
import sys
import threading
import time

import numpy as np
from inference_sdk import InferenceHTTPClient
from inference_sdk.webrtc import ManualSource, MJPEGSource, RTSPSource, StreamConfig, VideoFileSource

server, scenario, *arguments = sys.argv[1:]
client = InferenceHTTPClient(api_url=server, api_key="K1")
WIDTH, HEIGHT, BLOCK = 640, 360, 10

definition = {
    "version": "1.0",
    "inputs": [
        {"type": "WorkflowImage", "name": "image"},
        {"type": "WorkflowParameter", "name": "tag", "default_value": "v"},
    ],
    "steps": [
        {
            "type": "roboflow_core/relative_statoic_crop@v1",
            "name": "crop",
            "images": "$inputs.image",
            "x_center": 0.5,
            "y_center": 0.5,
            "width": 0.5,
            "height": 0.5,
        }
    ],
    "outputs": [
        {"type": "JsonField", "name": "tag", "selector": "$inputs.tag"},
        {"type": "JsonField", "name": "image", "selector": "$inputs.image"},
        {"type": "JsonField", "name": "crop", "selector": "$steps.crop.crops"},
    ],
}


def fail(message):
    print(message, file=sys.stderr, flush=True)
    # Threads of a session that hangs must not hang the test.
    os._exit(1)


def check(what, condition, got):
    if not condition:
        fail(f"{what}: unexpected {got!r}")
    print("ok", what, flush=True)


def number_of(frame):
    """The number that a picture shows: 24 blocks along its bottom edge, white = 1."""
    row = frame[frame.shape[0] - 5]
    return sum(int(row[BLOCK * bit + 5][1] > 127) << (23 - bit) for bit in range(24))


def picture(number):
    frame = np.full((HEIGHT, WIDTH, 3), 90, dtype=np.uint8)
    for bit in range(24):
        white = number >> (23 - bit) & 1
        frame[HEIGHT - BLOCK :, BLOCK * bit : BLOCK * (bit + 1)] = 255 * white
    return frame


def session_on(source, workflow=definition, **config):
    config.setdefault("workflow_parameters", {"tag": "T"})
    named = isinstance(workflow, str)
    return client.webrtc.stream(
        source=source,
        workflow=workflow,
        workspace="test-workspace" if named else None,
        config=StreamConfig(**config),
    )


class Watch:
    """What a session gave."""

    def __init__(self, session):
        self.session, self.frames, self.data, self.errors = session, [], [], []
        session.on_frame(lambda frame, metadata: self.frames.append((number_of(frame), metadata, frame.shape)))
        session.on_data()(lambda data, metadata: self.data.append((data, metadata)))
        session.on_error(lambda errors, metadata: self.errors.append((errors, metadata)))
        self.thread = threading.Thread(target=session.run, daemon=True)

    def start(self):
        self.thread.start()
        return self

    def wait_for(self, what, condition, seconds=30):
        until = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > until:
                got = (len(self.frames), len(self.data), self.data[-1:], self.errors[-3:])
                fail(f"{what}: not within {seconds} s; {got!r}")
            time.sleep(0.02)
        print("ok", what, flush=True)

    def end(self, seconds=60):
        self.thread.join(seconds)
        if self.thread.is_alive():
            fail(f"the session did not end; {len(self.frames)} frames, errors {self.errors[-3:]}")

    def end_of_file(self, seconds=60):
        """The same for a file: it is awaited as long as something of it comes, however slow the machine is."""
        given = -1
        while self.thread.is_alive() and given != (given := len(self.frames) + len(self.data)):
            self.thread.join(seconds)
        self.end(0)

    def say(self, message):
        """Says something on the channel of results, for which the SDK has no call."""
        channels = self.session._pc.sctp._data_channels.values()
        channel = next(c for c in channels if c.label == "inference")
        self.session._loop.call_soon_threadsafe(channel.send, json.dumps(message))


def upload():
    path, expected = arguments[0], int(arguments[1])
    progress = []
    source = VideoFileSource(path, on_upload_progress=lambda done, all: progress.append((done, all)))
    session = session_on(source, stream_output=["image"], data_output=["tag"], realtime_processing=False)
    watch = Watch(session).start()
    watch.end_of_file()
    check("all chunks", progress and progress[-1][0] == progress[-1][1], progress[-1:])
    ids = [metadata.frame_id for _, metadata in watch.data]
    check("every frame, in order", ids == list(range(1, expected + 1)), ids)
    check("outputs", all(data == {"tag": "T"} for data, _ in watch.data), watch.data[:1])
    check("no errors", not watch.errors, watch.errors[:2])
    numbers = [number for number, _, _ in watch.frames]
    # The client's own queue keeps the newest pictures.
    check("the pictures of those frames", numbers == list(range(expected))[-len(numbers) :], numbers)
    check("their size", watch.frames[-1][2] == (HEIGHT, WIDTH, 3), watch.frames[-1][2])
    first, last = watch.data[0][1], watch.data[-1][1]
    check("times from 0 in ticks", (first.pts, round(1 / first.time_base)) == (0, 90000), first)
    check("the time of the file", last.pts == (expected - 1) * 3600, last)
    check("the rate of the file", last.declared_fps == 25.0, last)


def upload_with_track():
    path, expected = arguments[0], int(arguments[1])
    source = VideoFileSource(path, use_datachannel_frames=False)
    session = session_on(source, stream_output=["image"], data_output=["*"], realtime_processing=False)
    watch = Watch(session).start()
    watch.end_of_file()
    ids = [metadata.frame_id for _, metadata in watch.data]
    check("a message on every frame", ids == list(range(1, expected + 1)), ids)
    check("outputs without pictures", watch.data[0][0] == {"tag": "T"}, watch.data[0])
    check("pictures over the track", len(watch.frames) >= expected // 2, len(watch.frames))
    numbers = [number for number, _, _ in watch.frames]
    check("in order", numbers == sorted(numbers), numbers)


def deaf():
    """A client in real time acknowledges nothing, though the file is not played in real time."""
    path, expected = arguments[0], int(arguments[1])
    watch = Watch(session_on(VideoFileSource(path), data_output=["tag"])).start()
    watch.end_of_file()
    ids = [metadata.frame_id for _, metadata in watch.data]
    check("every frame without acknowledgements", ids == list(range(1, expected + 1)), ids)


def broken_upload():
    source = VideoFileSource(arguments[0])
    watch = Watch(session_on(source, data_output=["*"], realtime_processing=False)).start()
    watch.end(60)
    check("what is wrong is told", any("video" in e for errors, _ in watch.errors for e in errors), watch.errors)


def camera():
    source = RTSPSource(arguments[0])
    watch = Watch(session_on(source, stream_output=["image"], data_output=["*"])).start()
    watch.wait_for("pictures and messages", lambda: len(watch.frames) >= 20 and len(watch.data) >= 20)
    check("outputs", all(data == {"tag": "T"} for data, _ in watch.data), watch.data[:1])
    check("size", watch.frames[-1][2] == (HEIGHT, WIDTH, 3), watch.frames[-1][2])
    check("no errors", not watch.errors, watch.errors[:2])
    told = {metadata.pts: metadata for _, metadata in watch.data}
    near = [any(abs(pts - m.pts) <= 90 for pts in told) for _, m, _ in watch.frames[2:-5]]
    check("pictures and messages are found by time", all(near), (sorted(told)[:5], watch.frames[:5]))
    watch.session.close()
    watch.end()


def mjpeg():
    watch = Watch(session_on(MJPEGSource(arguments[0]), data_output=["tag"])).start()
    watch.wait_for("messages", lambda: len(watch.data) >= 10)
    watch.session.close()
    watch.end()


def manual(workflow=definition, source=None):
    source = source or ManualSource()
    session = session_on(
        source,
        workflow=workflow,
        stream_output=["image"],
        data_output=["tag"],
        declared_fps=30,
    )
    watch = Watch(session).start()
    stop = threading.Event()

    def send():
        number = 0
        while not stop.is_set():
            if source._track is not None:
                source.send(picture(number))
                number += 1
            time.sleep(0.03)

    threading.Thread(target=send, daemon=True).start()
    watch.wait_for("pictures come back", lambda: len(watch.frames) >= 15)
    numbers = [number for number, _, _ in watch.frames]
    check("in order", numbers == sorted(numbers) and len(set(numbers)) > 10, numbers)
    check("outputs", all(data == {"tag": "T"} for data, _ in watch.data), watch.data[:1])
    check("the declared rate", watch.data[0][1].declared_fps == 30, watch.data[0][1])
    check("no errors", not watch.errors, watch.errors[:2])
    return watch, stop


def track():
    watch, stop = manual()
    watch.say({"stream_output": ["crop"], "data_output": ["tag", "crop", "nothing"]})
    half = (HEIGHT // 2, WIDTH // 2, 3)
    watch.wait_for("another output is shown", lambda: watch.frames[-1][2] == half)
    watch.wait_for("an output that is not there is told", lambda: watch.errors)
    check("by its name", watch.errors[-1][0] == ["Output 'nothing' not found"], watch.errors[-1])
    data = watch.data[-1][0]
    check("pictures among the data", data["crop"]["type"] == "base64", sorted(data))
    watch.say({"data_output": []})
    watch.wait_for("no data", lambda: watch.data[-1][0] is None)
    watch.say({"data_output": ["*"]})
    watch.wait_for("data without pictures", lambda: watch.data[-1][0] == {"tag": "T"})
    watch.say("garbage")
    watch.say({"ack": -5, "stream_output": []})
    full = (HEIGHT, WIDTH, 3)
    watch.wait_for("the camera's picture", lambda: watch.frames[-1][2] == full)
    stop.set()
    watch.session.close()
    watch.end()


def named():
    """The platform's definition, by its name."""
    watch, stop = manual("tagged")
    stop.set()
    watch.session.close()
    watch.end()


class OneCodec(ManualSource):
    """Offers one codec, and a track of sound that nobody asked for."""

    def __init__(self, codec):
        super().__init__()
        self.codec = codec

    async def configure_peer_connection(self, pc):
        from aiortc import RTCRtpSender
        from aiortc.mediastreams import AudioStreamTrack

        await super().configure_peer_connection(pc)
        codecs = RTCRtpSender.getCapabilities("video").codecs
        wanted = [codec for codec in codecs if codec.mimeType.lower() == self.codec]
        pc.getTransceivers()[0].setCodecPreferences(wanted)
        pc.addTrack(AudioStreamTrack())


def codecs():
    for codec in ["video/h264", "video/vp8"]:
        watch, stop = manual(source=OneCodec(codec))
        stop.set()
        answer = watch.session._pc.remoteDescription.sdp.lower()
        check(f"{codec} is agreed on", codec.split("/")[1] in answer, answer)
        watch.session.close()
        watch.end()


def quiet():
    """Gets a few results of a camera, and then nothing comes any more."""
    watch = Watch(session_on(MJPEGSource(arguments[0]), data_output=["tag"])).start()
    watch.wait_for("messages", lambda: len(watch.data) >= 10)
    print("running", flush=True)
    watch.end(60)


def waiting():
    """Runs until somebody ends the session."""
    watch, _ = manual()
    print("running", flush=True)
    watch.end(60)
    print("ok ended by the server", flush=True)


def timed():
    watch, _ = None, None
    source = ManualSource()
    session = session_on(source, data_output=["tag"], processing_timeout=3)
    watch = Watch(session).start()
    begun = time.monotonic()
    while source._track is None:
        time.sleep(0.01)
    sending = threading.Thread(
        target=lambda: [(source.send(picture(n)), time.sleep(0.03)) for n in range(2000)], daemon=True
    )
    sending.start()
    while not watch.data and watch.thread.is_alive():
        time.sleep(0.01)
    first = time.monotonic()
    watch.end(20)
    now = time.monotonic()
    times = (now - begun, now - first, len(watch.data))
    check("ends when its time is up", times[0] > 1.5 and times[1] < 10 and watch.data, times)


def refused():
    dead, unknown = arguments
    for what, words, source, workflow in [
        ("a camera that is not there", ["HTTP 500", "Internal error."], RTSPSource(dead), definition),
        ("an unknown workflow", ["not found"], RTSPSource(dead), "none"),
        ("an MJPEG camera in a private network", ["HTTP 400", "not public"], MJPEGSource(unknown), definition),
        ("a broken definition", ["HTTP 400"], ManualSource(), {"version": "1.0"}),
    ]:
        session = session_on(source, workflow=workflow, data_output=["tag"])
        begun = time.monotonic()
        try:
            session.run()
        except RuntimeError as error:
            check(what, all(word in str(error) for word in words), str(error))
            check("in time", time.monotonic() - begun < 15, time.monotonic() - begun)
        else:
            fail(f"{what}: not refused")


globals()[scenario]()
print("done", flush=True)
os._exit(0)
