"""A client of tracks alone: it has no data channel, so nobody can ask it anything.

Arguments: address of the server, name of a scenario, what the scenario needs. Says `running` once it
has been connected for a while, and then stays until it is killed.
"""
import asyncio
import sys

import requests
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import VideoStreamTrack

server, scenario, *arguments = sys.argv[1:]
# Longer than five reports take, which come 0.5 to 1.5 s apart.
A_WHILE = 9

definition = {
    "version": "1.0",
    "inputs": [{"type": "WorkflowImage", "name": "image"}],
    "steps": [],
    "outputs": [{"type": "JsonField", "name": "image", "selector": "$inputs.image"}],
}


class Pausing(VideoStreamTrack):
    """Gives pictures until it is told to pause."""

    paused = False

    async def recv(self):
        while self.paused:
            await asyncio.sleep(1)
        return await super().recv()


async def connect(pc, **fields):
    connected = asyncio.Event()

    @pc.on("connectionstatechange")
    def changed():
        if pc.connectionState == "connected":
            connected.set()

    await pc.setLocalDescription(await pc.createOffer())
    body = {
        "workflow_configuration": {"type": "WorkflowConfiguration", "workflow_specification": definition},
        "webrtc_offer": {"type": "offer", "sdp": pc.localDescription.sdp},
        "stream_output": ["image"],
        **fields,
    }
    url = f"{server.rstrip('/')}/initialise_webrtc_worker"
    answer = await asyncio.to_thread(requests.post, url, json=body, timeout=30)
    answer.raise_for_status()
    answer = answer.json()
    await pc.setRemoteDescription(RTCSessionDescription(answer["sdp"], answer["type"]))
    await asyncio.wait_for(connected.wait(), 60)


async def pausing(pc):
    """Sends a track, and pauses it."""
    track = Pausing()
    pc.addTransceiver(track, direction="sendonly")
    await connect(pc)
    await asyncio.sleep(A_WHILE)
    track.paused = True


async def viewing(pc):
    """Looks at a camera."""
    pc.addTransceiver("video", direction="recvonly")
    shown = asyncio.get_running_loop().create_future()
    pc.on("track", lambda track: shown.set_result(track))
    await connect(pc, mjpeg_url=arguments[0])
    track = await shown
    await asyncio.wait_for(track.recv(), 60)

    async def look():
        while True:
            await track.recv()

    pc.looking = asyncio.create_task(look())
    await asyncio.sleep(A_WHILE)


async def main():
    pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
    await globals()[scenario](pc)
    print("running", flush=True)
    await asyncio.sleep(120)


asyncio.run(main())
