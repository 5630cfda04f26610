"""Drives a server with the real inference_sdk and checks what each call gives.

Arguments: address of the server, address of a host of pictures. The platform behind the server knows
the keys K1 (workspace test-workspace) and publishes `tagged`, `tagged` pinned to `ver-7`, and `det`.
Prints one line for each call; ends with an error at the first that is not as expected.
"""
import io
import sys

import numpy as np
from inference_sdk import InferenceConfiguration, InferenceHTTPClient
from inference_sdk.http.errors import HTTPCallErrorError
from PIL import Image

server, pictures = sys.argv[1:3]
client = InferenceHTTPClient(api_url=server, api_key="K1")
array = np.full((48, 64, 3), 90, dtype=np.uint8)
picture = Image.fromarray(array)
path = sys.argv[3]
picture.save(path)


def tagged(tag):
    return {
        "version": "1.0",
        "inputs": [
            {"type": "WorkflowImage", "name": "image"},
            {"type": "WorkflowParameter", "name": "tag", "default_value": tag},
        ],
        "steps": [],
        "outputs": [{"type": "JsonField", "name": "tag", "selector": "$inputs.tag"}],
    }


def check(what, condition, got):
    if not condition:
        sys.exit(f"{what}: unexpected {got!r}")
    print("ok", what)


def refused(what, status, word, call):
    try:
        got = call()
    except HTTPCallErrorError as error:
        check(what, error.status_code == status and word in str(error.api_message), error)
    else:
        sys.exit(f"{what}: not refused, but {got!r}")


def is_cat_and_dog(predictions):
    boxes = [(p["class"], p["x"], p["y"], p["width"], p["height"]) for p in predictions]
    return boxes == [("cat", 32.0, 24.0, 20.0, 16.0), ("dog", 10.0, 9.0, 8.0, 8.0)]


info = client.get_server_info()
check("get_server_info", "millrace" in info.name and info.version and info.uuid, info)

# Workflows.
named = dict(workspace_name="test-workspace", workflow_id="tagged")
result = client.run_workflow(specification=tagged("inline"), images={"image": path})
check("a specification and a file", result == [{"tag": "inline"}], result)
result = client.run_workflow(**named, images={"image": array})
check("a named workflow and an array", result == [{"tag": "v1"}], result)
result = client.run_workflow(**named, images={"image": picture}, parameters={"tag": 7})
check("a PIL image and a parameter", result == [{"tag": 7}], result)
result = client.run_workflow(**named, images={"image": [path, array, picture]})
check("a batch that no output depends on", result == [{"tag": "v1"}], result)
result = client.run_workflow(**named, images={"image": f"{pictures}/picture.png"})
check("a URL that the client fetches", result == [{"tag": "v1"}], result)
result = client.run_workflow(
    **named, parameters={"image": {"type": "url", "value": f"{pictures}/picture.png"}}
)
check("a URL that the server fetches", result == [{"tag": "v1"}], result)
result = client.run_workflow(**named, images={"image": path}, workflow_version_id="ver-7")
check("a pinned version", result == [{"tag": "pinned-7"}], result)
result = client.run_workflow(**named, images={"image": path}, use_cache=False)
check("use_cache=False", result == [{"tag": "v1"}], result)
result = client.run_workflow(
    **named, images={"image": path}, excluded_fields=["tag"], disable_sinks=True
)
check("excluded fields", result == [{}], result)
result = client.run_workflow(**named, images={"image": path}, enable_profiling=True)
check("profiling", result == [{"tag": "v1"}], result)

detected = client.run_workflow(
    workspace_name="test-workspace", workflow_id="det", images={"image": [path, array]}
)
check("a workflow with a model", len(detected) == 2, detected)
for one in detected:
    check("its boxes", is_cat_and_dog(one["predictions"]["predictions"]), one["predictions"])
    # The client takes the picture out of its wrapping.
    check("its picture", isinstance(one["image"], str) and one["image"].startswith("/9j/"), one)
old = client.infer_from_workflow(workspace_name="test-workspace", workflow_name="tagged", images={"image": path})
check("infer_from_workflow", old == [{"tag": "v1"}], old)

# Models.
loaded = client.unload_all_models()
check("unload_all_models", loaded.models == [], loaded)
loaded = client.load_model("tiny/1", set_as_default=True)
check("load_model", [m.model_id for m in loaded.models] == ["tiny/1"], loaded)
check("its task and size", loaded.models[0].task_type == "object-detection", loaded)
check("selected model", client.selected_model == "tiny/1", client.selected_model)
listed = client.list_loaded_models()
check("list_loaded_models", listed == client.list_loaded_models() and len(listed.models) == 1, listed)
found = client.infer(array)
check("infer an array", is_cat_and_dog(found["predictions"]), found)
found = client.infer([path, picture, f"{pictures}/picture.png"], model_id="tiny/1")
check("infer a batch", len(found) == 3 and all(is_cat_and_dog(f["predictions"]) for f in found), found)
with client.use_configuration(
    InferenceConfiguration(confidence_threshold=0.85, visualize_predictions=True)
):
    found = client.infer(path, model_id="tiny/1")
check("infer with a configuration", [p["class"] for p in found["predictions"]] == ["cat"], found)
drawn = found["visualization"]
drawn = drawn if isinstance(drawn, bytes) else __import__("base64").b64decode(drawn)
check("the drawing", Image.open(io.BytesIO(drawn)).size == (64, 48), len(drawn))
with client.use_api_v0():
    found = client.infer(path, model_id="tiny/1")
check("infer by project and version", is_cat_and_dog(found["predictions"]), found)
left = client.unload_model("tiny/1")
check("unload_model", left.models == [], left)

# Errors.
stranger = InferenceHTTPClient(api_url=server, api_key="wrong")
refused(
    "a wrong key",
    401,
    "Unauthorized access",
    lambda: stranger.run_workflow(**named, images={"image": path}, use_cache=False),
)
refused(
    "an unknown workflow",
    404,
    "not found",
    lambda: client.run_workflow(
        workspace_name="test-workspace", workflow_id="none", images={"image": path}
    ),
)
broken = tagged("x")
broken["steps"] = [{"type": "roboflow_core/nope@v1", "name": "x"}]
refused(
    "a broken definition",
    400,
    "nope",
    lambda: client.run_workflow(specification=broken, images={"image": path}),
)
refused("a missing input", 400, "image", lambda: client.run_workflow(**named, images={}))
refused("an unknown model", 404, "not found", lambda: client.load_model("nope/9"))
refused(
    "a model that is not there in a step",
    404,
    "det",
    lambda: client.run_workflow(
        specification={
            "version": "1.0",
            "inputs": [{"type": "WorkflowImage", "name": "image"}],
            "steps": [
                {
                    "type": "roboflow_core/roboflow_object_detection_model@v2",
                    "name": "det",
                    "images": "$inputs.image",
                    "model_id": "nope/9",
                }
            ],
            "outputs": [
                {"type": "JsonField", "name": "p", "selector": "$steps.det.predictions"}
            ],
        },
        images={"image": path},
    ),
)

print("done", flush=True)
