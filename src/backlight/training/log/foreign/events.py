"""Event files of TensorBoard, through its own reader."""

import struct
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from backlight.errors import RunDirectoryError, quoted

MARK = b"brain.Event:"
"""What the first record of an event file says."""

_HEAD, _FRAME = 12, 16  # bytes before a record, and around it
_CHECKS = "tensorboard.compat.tensorflow_stub.pywrap_tensorflow"
_ROOM = "tensorboard.backend.event_processing.event_file_loader"


class Events:
    """The scalars of one run, in the order in which they were written.

    Attributes:
        notes: What could not be read.
    """

    def __init__(self, files: Sequence[Path]) -> None:
        self.notes: list[str] = []
        self._files = files
        try:
            self._loader: Any = import_module(_ROOM)
            self._arrays: Any = import_module("tensorboard.util.tensor_util")
            self._checks: Any = import_module(_CHECKS)
            self._decode_error: Any = import_module("google.protobuf.message").DecodeError
        except ImportError as error:
            raise RunDirectoryError(
                f"{quoted(files[0])} is an event file of TensorBoard, and reading it needs the "
                "package tensorboard, which is not installed. Install it with "
                "pip install 'backlight[train]'."
            ) from error

    def rows(self) -> Iterator[tuple[int, Mapping[str, Any]]]:
        """Read scalars.

        Yields:
            The number of each record, and a row of its step and its values.

        Raises:
            RunDirectoryError: If a record is not what the reader expects.
        """
        for path in self._files:
            number, place = 0, 0
            try:
                for record in self._loader.RawEventFileLoader(str(path)).Load():
                    number += 1
                    place += _FRAME + len(record)
                    event = self._loader.event_pb2.Event.FromString(record)
                    values = dict(self._scalars(event.summary.value))
                    if values:
                        yield number, {"step": event.step, **values}
            except (OSError, ValueError, self._decode_error) as error:
                raise RunDirectoryError(
                    f"Record {number} of {quoted(path)} is no event of TensorBoard "
                    f"({str(error)[:100]})."
                ) from error
            self.notes += self._left(path, place, number)

    def _scalars(self, values: Any) -> Iterator[tuple[str, float]]:
        for value in values:
            kind = value.WhichOneof("value")
            if kind == "simple_value":
                yield value.tag, value.simple_value
            elif kind == "tensor" and not value.tensor.tensor_shape.dim:
                array = self._arrays.make_ndarray(value.tensor)
                if array.dtype.kind in "fiu" and array.size == 1:
                    yield value.tag, float(array)

    def _left(self, path: Path, place: int, number: int) -> Iterator[str]:
        """Describe what the reader, which stops at a record that it cannot read, left out."""
        size = path.stat().st_size
        if place >= size:
            return
        with path.open("rb") as file:
            file.seek(place)
            head = file.read(_HEAD)
        if self._is_torn(head, size - place):
            yield "The last record is cut off, as while a log is being written."
        else:
            yield (
                f"Record {number + 1} of {path.name[:100]!r} is damaged, and TensorBoard's reader "
                f"stops there: {size - place:,} bytes are left out."
            )

    def _is_torn(self, head: bytes, left: int) -> bool:
        """Check whether a record with a sound beginning is longer than the rest of the file."""
        if len(head) < _HEAD:
            return True
        length, check = struct.unpack("<QI", head)
        return self._checks.masked_crc32c(head[:8]) == check and length + _FRAME > left
