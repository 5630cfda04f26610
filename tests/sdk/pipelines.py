"""Starts, watches, pauses and ends a pipeline on a camera with the real inference_sdk.

Arguments: address of the server, address of the camera. Prints a line for each step; ends with an error
at the first that is not as expected.
"""
import sys
import time

from inference_sdk import InferenceHTTPClient
from inference_sdk.http.errors import HTTPCallErrorError

server, camera = sys.argv[1:3]
client = InferenceHTTPClient(api_url=server, api_key="K1")


def check(what, condition, got):
    if not condition:
        sys.exit(f"{what}: unexpected {got!r}")
    print("ok", what)


def consumed(pipeline, wanted, seconds=20, excluded=None):
    """Frame numbers of so many results."""
    numbers, until = [], time.monotonic() + seconds
    while len(numbers) < wanted and time.monotonic() < until:
        got = client.consume_inference_pipeline_result(pipeline, excluded_fields=excluded)
        for metadata, output in zip(got["frames_metadata"], got["outputs"]):
            if metadata is not None:
                check("tag", output == ({} if excluded else {"tag": "live"}), output)
                numbers.append(metadata["frame_id"])
        if not any(got["outputs"]):
            time.sleep(0.05)
    return numbers


definition = {
    "version": "1.0",
    "inputs": [
        {"type": "WorkflowImage", "name": "image"},
        {"type": "WorkflowParameter", "name": "tag"},
    ],
    "steps": [],
    "outputs": [{"type": "JsonField", "name": "tag", "selector": "$inputs.tag"}],
}
started = client.start_inference_pipeline_with_workflow(
    video_reference=camera,
    workflow_specification=definition,
    workflows_parameters={"tag": "live"},
    results_buffer_size=64,
)
pipeline = started["context"]["pipeline_id"]
check("start", started["status"] == "success" and pipeline, started)
listed = client.list_inference_pipelines()
check("list", listed["pipelines"] == [pipeline], listed)

numbers = consumed(pipeline, 20)
check("consume", len(numbers) >= 20 and numbers == sorted(set(numbers)), numbers)
status = client.get_inference_pipeline_status(pipeline)
sources = status["report"]["sources_metadata"]
check("status", len(sources) == 1 and sources[0]["source_reference"], status)
check("no login in the status", "password" not in str(status), status)

paused = client.pause_inference_pipeline(pipeline)
check("pause", paused["status"] == "success", paused)
time.sleep(0.5)
while client.consume_inference_pipeline_result(pipeline)["outputs"]:
    pass
time.sleep(0.5)
silent = client.consume_inference_pipeline_result(pipeline)
check("nothing comes in a pause", silent["outputs"] == [], silent)
resumed = client.resume_inference_pipeline(pipeline)
check("resume", resumed["status"] == "success", resumed)
after = consumed(pipeline, 5, excluded=["tag"])
check("frames after the pause", len(after) >= 5 and after[0] > numbers[-1], after)

ended = client.terminate_inference_pipeline(pipeline)
check("terminate", ended["status"] == "success", ended)
listed = client.list_inference_pipelines()
check("gone", listed["pipelines"] == [], listed)
try:
    client.get_inference_pipeline_status(pipeline)
except HTTPCallErrorError as error:
    check("unknown afterwards", error.status_code == 404, error)
else:
    sys.exit("the status of a pipeline that is gone was told")

print("done", flush=True)
