"""Files of models: weights as safetensors with the card in the header; nothing is unpickled.

A file is checked twice: the card carries a checksum of the tensors, and the header one of the
card.  So no byte can change unnoticed, and a card is read without its weights.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from napari_diffmap.errors import ModelError, ResourceError
from napari_diffmap.models.card import FORMAT, ModelCard

if TYPE_CHECKING:
    from torch import Tensor

SUFFIX = ".safetensors"
#: Keys in the metadata: the card as JSON, and the SHA-256 (hex) of that text.
CARD_KEY, SEAL_KEY = "napari_diffmap", "napari_diffmap_sha256"
#: A card with CIFs and a recipe has some ten thousand bytes; more than this is no card.
_MOST_HEADER = 8 << 20
#: Files that hold pickles, whatever their makers call them.
_PICKLES = (".pt", ".pth", ".ckpt", ".bin", ".pkl", ".pickle")
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def looks_like_file(name: str) -> bool:
    """Whether a user means a file by it, not the name of a model."""
    return Path(name).name != name or Path(name).suffix.lower() in (SUFFIX, *_PICKLES)


def write_model(path: str | Path, state: Mapping[str, Tensor], card: ModelCard) -> ModelCard:
    """Write weights and card as one file, whole or not at all.

    Parameters
    ----------
    path
        ``.safetensors``; an older file of that name stays until the new one is complete.
    state
        Weights by name, as ``state_dict`` gives them.
    card
        Its checksum is filled in.

    Returns
    -------
    ModelCard
        With the checksum.

    Raises
    ------
    ModelError
        If the name or the folder does not do, or the card is too long.
    ResourceError
        If the disk is full.
    """
    from safetensors.torch import save

    target = Path(path).expanduser()
    if target.suffix != SUFFIX:
        raise ModelError(f"cannot write {target.name}: give a name that ends in {SUFFIX}")
    # Clones, since weights that share memory are refused.
    bare = save({name: value.detach().cpu().contiguous().clone() for name, value in state.items()})
    card = card.model_copy(update={"checksum": checksum_of(bare)})
    text = card.model_dump_json()
    begin, header = _split(bare)
    # In a fixed order, so that the same weights and card make the same file; unescaped, so that
    # there is one way only to write it.
    header = {"__metadata__": {CARD_KEY: text, SEAL_KEY: _sha256(text.encode())}, **header}
    raw = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    raw += b" " * (-len(raw) % 8)
    if len(raw) > _MOST_HEADER:
        raise ModelError(
            f"cannot write {target.name}: its card has {len(raw):,} bytes, at most"
            f" {_MOST_HEADER:,} can be read; shorten the recipe or the CIFs"
        )
    place(target, len(raw).to_bytes(8, "little") + raw + bare[begin:])
    return card


def read_card(path: str | Path) -> ModelCard:
    """The card of a model, quickly: of the file only the header is read.

    Raises
    ------
    ModelError
        If it is no model, cut off, of a later format, or its header is damaged.
    """
    return _read(path, whole=False)[0]


def verified(path: str | Path) -> tuple[ModelCard, bytes]:
    """The card of a model and all bytes of its file, each of which was checked.

    Raises
    ------
    ModelError
        If it is no model, of a later format, or damaged anywhere.
    """
    card, content = _read(path, whole=True)
    try:
        found = checksum_of(content)
    except (ValueError, MemoryError) as error:
        raise _damaged(Path(path)) from error
    if found != card.checksum:
        raise _damaged(Path(path))
    return card, content


def read_model(path: str | Path) -> tuple[ModelCard, dict[str, Tensor]]:
    """Card and weights of a model, on the processor.

    Raises
    ------
    ModelError
        If it is no model, of a later format, or damaged anywhere.
    """
    from safetensors.torch import load

    card, content = verified(path)
    try:
        return card, load(content)
    except (KeyError, AttributeError) as error:
        raise ModelError(
            f"{Path(path).name} holds a kind of numbers that this torch lacks ({error}):"
            " update torch"
        ) from error


def checksum_of(content: bytes) -> str:
    """SHA-256 (hex) over the tensors of a safetensors file, in the order of their names.

    Of each goes in ``[name, dtype, shape]`` as JSON with dtypes as the file names them (``F32``),
    a line feed, and its raw bytes.

    Raises
    ------
    ValueError
        If it is no safetensors file.
    """
    from safetensors import SafetensorError, deserialize

    try:
        tensors = dict(deserialize(content))
    except SafetensorError as error:
        raise ValueError(str(error)) from error
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(json.dumps([name, tensor["dtype"], list(tensor["shape"])]).encode() + b"\n")
        digest.update(tensor["data"])
    return digest.hexdigest()


def place(path: Path, content: bytes) -> None:
    """Put a file where it is either complete or not there.

    Raises
    ------
    ModelError
        If the folder does not exist or must not be written to.
    ResourceError
        If the disk is full.
    """
    # Not only the process in the name: two threads may add the same model.
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.{uuid.uuid4().hex[:8]}.part")
    try:
        temporary.write_bytes(content)
        os.replace(temporary, path)
    except OSError as error:
        if error.errno in _FULL:
            raise ResourceError(
                f"the disk is full: free some space in {path.parent} and save {path.name} again"
            ) from error
        raise ModelError(
            f"cannot write {path.name} in {path.parent}: {_reason(error)}; choose another folder"
        ) from error
    finally:
        temporary.unlink(missing_ok=True)


def _read(path: str | Path, *, whole: bool) -> tuple[ModelCard, bytes]:
    """The card, and all bytes of the file where the whole is asked for."""
    path = Path(path).expanduser()
    if path.suffix.lower() in _PICKLES:
        raise ModelError(
            f"{path.name} is a pickle, which can run any program when it is read, so it is never"
            f" opened: ask for the model as {SUFFIX}"
        )
    try:
        if not path.is_file():
            raise ModelError(f"there is no file {path}: give the path of a {SUFFIX} file")
        with path.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            begin = file.read(8)
            length = int.from_bytes(begin, "little")
            if len(begin) < 8 or length > min(_MOST_HEADER, size - 8):
                raise _no_file(path)
            raw = file.read(length)
            card = _card(path, raw, size)
            # Only now: what is no model may be of any size.
            content = begin + raw + file.read() if whole else b""
    except OSError as error:
        raise ModelError(
            f"cannot read {path}: {_reason(error)}; see that you may read it"
        ) from error
    return card, content


def _card(path: Path, raw: bytes, size: int) -> ModelCard:
    """The card in a header; `size` is that of the whole file in bytes."""
    # Padding is of spaces, as safetensors writes it: other blanks are a change, too.
    if not (raw.startswith(b"{") and raw.rstrip(b" ").endswith(b"}")):
        raise _no_file(path)
    try:
        header = json.loads(raw)
        metadata = header.pop("__metadata__", None) or {}
        ends = [entry["data_offsets"][1] for entry in header.values()]
        missing = 8 + len(raw) + max(ends, default=0) != size
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise _no_file(path) from error
    if missing:
        raise _damaged(path)
    text = metadata.get(CARD_KEY) if isinstance(metadata, dict) else None
    if not isinstance(text, str):
        raise ModelError(
            f"{path.name} has no model card: only files that napari-diffmap wrote are models;"
            " ask for the model in that form"
        )
    try:
        record = json.loads(text)
        layout = record.get("format")
        sealed = _sha256(text.encode()) == metadata.get(SEAL_KEY)
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged(path) from error
    if isinstance(layout, int) and layout > FORMAT:
        raise ModelError(
            f"{path.name} has format {layout}, this version reads up to {FORMAT}: update"
            " napari-diffmap"
        )
    if not sealed:
        raise _damaged(path)
    try:
        card = ModelCard.model_validate_json(text)
    except ValidationError as error:
        raise ModelError(
            f"{path.name} has an invalid card ({_first(error)}): ask for the model again"
        ) from error
    if not card.checksum:
        raise ModelError(f"{path.name} has no checksum in its card: ask for the model again")
    return card


def _split(content: bytes) -> tuple[int, dict[str, Any]]:
    """Where the tensors begin in a safetensors file, and its header."""
    begin = 8 + int.from_bytes(content[:8], "little")
    return begin, json.loads(content[8:begin])


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _no_file(path: Path) -> ModelError:
    return ModelError(
        f"{path.name} is no {SUFFIX} file, or one that was cut off: copy or download it again"
    )


def _damaged(path: Path) -> ModelError:
    return ModelError(f"{path.name} is damaged: copy or download it again")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error)).lower()


def _first(error: ValidationError) -> str:
    """The first thing wrong, in one line, e.g. ``voltage_kv: Field required``."""
    details = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, details["loc"])) or "card"
    return f"{where}: {' '.join(details['msg'].split())}"
