"""A plugin, ``pytest -p without_extras``: refuses what a machine with torch alone need not have."""

import sys

EXTRAS = (
    "PIL accelerate argcomplete fastapi httpx huggingface_hub msgspec nbclient onnxruntime ot "
    "pillow_heif playwright pycocotools rich safetensors scipy skimage starlette tensorboard "
    "timm torchvision transformers uvicorn yaml"
).split()


class Missing:
    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if name.split(".")[0] in EXTRAS:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)


sys.meta_path.insert(0, Missing())
