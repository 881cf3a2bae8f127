"""What counts as a cloud: n >= 1 finite points of R^D, as a float64 tensor of shape (n, D).

Integers become float64 without a word (every integer up to 2^53 is exact); half precision is refused, because homology and
projection to 1e-9 mean nothing at three digits; a NaN is refused by count and first row, because the C++ libraries behind
persistent homology answer it with a plausible result or by ending the interpreter.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from topogen.errors import InvalidInputError

__all__ = ["as_points"]

_LARGEST_EXACT_INTEGER = 2**53
_FLOATS = (torch.float32, torch.float64)
_INTEGERS = (torch.uint8, torch.uint16, torch.uint32, torch.uint64, torch.int8, torch.int16, torch.int32, torch.int64)


def as_points(points: Any, *, name: str = "points", minimum: int = 1) -> Tensor:
    """A checked cloud: a detached float64 tensor of shape (n, D) with n >= minimum, D >= 1 and finite entries.

    Takes tensors of any device (kept), layout or gradient, arrays of any byte order or stride, and nested sequences of numbers;
    float32, float64 and integers of at most 2^53. The result may share memory with `points` and is never written to by the library.
    `name` is what messages call the argument. Raises InvalidInputError for any other type, dtype or shape, for rows with NaN or
    infinity, and for fewer than `minimum` points.

    >>> as_points([[1, 2], [3, 4]])
    tensor([[1., 2.],
            [3., 4.]], dtype=torch.float64)
    """
    tensor = _from_tensor(points, name) if isinstance(points, Tensor) else _from_array(points, name)
    _check_shape(tensor, name, minimum)
    if tensor.dtype not in _FLOATS:
        _check_integers(tensor, name)
    tensor = tensor.to(torch.float64)
    _check_finite(tensor, name)
    return tensor


def _from_tensor(points: Tensor, name: str) -> Tensor:
    if points.layout != torch.strided or points.is_meta or points.is_quantized:
        raise InvalidInputError(f"{name}: expected a dense tensor with data, found layout {points.layout} on {points.device}; call .to_dense() first")
    if points.dtype not in _FLOATS + _INTEGERS:
        raise InvalidInputError(f"{name}: {_dtype_complaint(str(points.dtype).removeprefix('torch.'))}")
    # Apple's mps devices hold no float64.
    return points.detach().as_subclass(Tensor).to(device="cpu" if points.device.type == "mps" else points.device)


def _from_array(points: Any, name: str) -> Tensor:
    if isinstance(points, np.ma.MaskedArray) and np.ma.is_masked(points):
        raise InvalidInputError(f"{name}: a masked array with {int(np.ma.getmaskarray(points).sum())} masked entries; fill or remove them")
    array = _to_numpy(points, name)
    if array.dtype.kind not in "fiu" or array.dtype.itemsize * (array.dtype.kind == "f") == 2:
        raise InvalidInputError(f"{name}: {_dtype_complaint(str(array.dtype))}")
    if array.dtype.kind == "f":
        array = array.astype(np.float64, order="C", copy=False)
    array = np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))
    # torch warns about arrays that are not writable: they get a copy.
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def _to_numpy(points: Any, name: str) -> np.ndarray[Any, Any]:
    if points is None or isinstance(points, (str, bytes, dict, set)):
        raise InvalidInputError(
            f"{name}: expected a tensor or array of shape (n, D), found {type(points).__name__}; files are read by topogen.points.read(path)"
        )
    try:
        return np.asarray(points)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InvalidInputError(f"{name}: rows of unequal length or not numbers ({' '.join(str(error).split())}); expected shape (n, D)") from error


def _dtype_complaint(dtype: str) -> str:
    if "float16" in dtype or "float8" in dtype:
        return f"dtype {dtype} carries too few digits for geometry and homology; convert it to float32 or float64 if its values are trusted"
    if "complex" in dtype:
        return f"dtype {dtype} is not real; stack the real and imaginary parts as columns"
    if "bool" in dtype:
        return f"dtype {dtype} holds no coordinates; convert it to float64 if zeros and ones are meant"
    return f"dtype {dtype} is not numeric; expected float32, float64 or integers (select numeric columns, then convert to float64)"


def _check_shape(tensor: Tensor, name: str, minimum: int) -> None:
    shape = tuple(tensor.shape)
    if tensor.ndim == 1:
        raise InvalidInputError(f"{name}: expected shape (n, D), found the 1-D shape {shape}; reshape(-1, 1) for one coordinate, reshape(1, -1) for one point")
    if tensor.ndim != 2:
        raise InvalidInputError(f"{name}: expected shape (n, D), found {shape}; flatten each sample to one row with reshape(n, -1)")
    if shape[0] < minimum:
        raise InvalidInputError(f"{name}: found {shape[0]} points, need at least {minimum}")
    if shape[1] == 0:
        raise InvalidInputError(f"{name}: expected at least one coordinate, found shape {shape}")


def _check_integers(tensor: Tensor, name: str) -> None:
    values = tensor.to(torch.int64) if tensor.dtype != torch.uint64 else tensor.to(torch.float64)
    if tensor.numel() and (values.max() > _LARGEST_EXACT_INTEGER or values.min() < -_LARGEST_EXACT_INTEGER):
        raise InvalidInputError(f"{name}: integers beyond 2^53 are not exact in float64; subtract an offset first")


def _check_finite(tensor: Tensor, name: str) -> None:
    # Extremes propagate NaN and need no memory; isfinite would take as much again as the cloud.
    if all(bool(torch.isfinite(extreme)) for extreme in torch.aminmax(tensor)):
        return
    bad = torch.nonzero(~torch.isfinite(tensor).all(dim=1)).flatten()
    raise InvalidInputError(
        f"{name}: {len(bad)} of {len(tensor)} rows hold NaN or infinity, the first is row {int(bad[0])} (counted from 0); remove or repair them"
    )
