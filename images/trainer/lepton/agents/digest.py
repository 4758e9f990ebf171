"""Digest: the SHA-256 of a tree of tensors and plain values, by which damaged files are known."""

import hashlib
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor


def digest(tree: Any) -> str:
    """The SHA-256, as hexadecimal digits, of all that a file gives back of the tree.

    Mappings count with their order; a list and a tuple, or two kinds of mapping, are the same. Of
    what is neither a tensor nor plain its type alone counts.
    """
    sha = hashlib.sha256()

    def add(part: Any) -> None:
        if isinstance(part, Tensor):
            values = part.detach().cpu().contiguous().reshape(-1)
            sha.update(f"{part.dtype} {list(part.shape)};".encode())
            sha.update(values.view(torch.uint8).numpy().data)
        elif isinstance(part, Mapping):
            sha.update(f"mapping {len(part)};".encode())
            for name, value in part.items():
                add(name)
                add(value)
        elif isinstance(part, list | tuple):
            sha.update(f"list {len(part)};".encode())
            for value in part:
                add(value)
        elif part is None or isinstance(part, bool | int | float | str | bytes):
            text = repr(part).encode(errors="surrogatepass")
            sha.update(b"plain %d;" % len(text) + text)
        else:
            sha.update(f"{type(part).__qualname__};".encode())

    add(tree)
    return sha.hexdigest()
