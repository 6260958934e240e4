"""A network that predicts: prepared once, then called with rows. Needs no extra."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np

from bpfunc.arrays.arguments import expected
from bpfunc.arrays.calls import one_line
from bpfunc.arrays.types import FloatArray
from bpfunc.compiled.choice import ENGINES, Engine, EngineChoice, missing_extra
from bpfunc.layers import INFERENCE, Layer, ShapeError, inputs_for
from bpfunc.training.prepared import RowsFn, any_layer, chain_by_numpy, own_arrays, prepared
from bpfunc.tree import Tree, float_dtype


@attrs.frozen(eq=False)
class Predictor:
    """A network with prepared parameters, as `predictor` makes it: a pure function of rows.

    Args:
        model: The network.
        params: Its parameters, copied, contiguous and read-only.
        layer_state: Its state, the same.
        engine: What computes: ``numpy`` or ``compiled``.
    """

    model: Layer
    params: Tree
    layer_state: Tree
    engine: Engine
    _asked: EngineChoice = attrs.field(repr=False)
    _rows: RowsFn | None = attrs.field(repr=False)
    _dtype: np.dtype[np.floating] | None = attrs.field(repr=False)

    __repr__ = one_line

    def __reduce__(self) -> tuple[Callable[..., Predictor], tuple[object, ...]]:
        """Pickle what it is made of; ``auto`` is decided anew where it is loaded."""
        return _made, (self.model, self.params, self.layer_state, self._asked)

    def __call__(self, inputs: FloatArray) -> FloatArray:
        """Predict.

        Args:
            inputs: (B, ...) rows, B at least 0; brought to the parameters' dtype.

        Returns:
            The outputs, such as (B, K) logits; those of the model's `forward` at inference up to rounding.

        Raises:
            ShapeError: The inputs do not fit the model.
            TypeError: They are not a plain array of numbers.
        """
        if type(inputs) is not np.ndarray or inputs.dtype != self._dtype:
            inputs = inputs_for(self.model, self.params, expected("predictor", "inputs", inputs, np.ndarray))
        if self._rows is not None:
            try:
                return self._rows(inputs)
            except ShapeError:
                pass  # `forward` says where
        outputs: FloatArray = self.model.forward(self.params, self.layer_state, inputs, INFERENCE)[0]
        return outputs


def predictor(model: Layer, params: Tree, layer_state: Tree, *, engine: EngineChoice = "auto") -> Predictor:
    """Prepare a network for many predictions of one row or a few.

    What `predict` looks up in each call is done once: parameters are copied to where products read them fastest, and
    dense layers, elementwise activations and dropout that follow one another become one function without residuals.
    Other layers run as their own `forward`. With machine code such a function is a single call.

    Args:
        model: Any layer.
        params: Its parameters; a copy is kept.
        layer_state: Its state; a copy is kept.
        engine: ``numpy``; ``compiled``, which takes dense layers, elementwise activations and dropout, in combinators;
            or ``auto``: ``compiled`` where the extra ``fast`` is installed and knows the whole network, else ``numpy``.
            The first time on a computer, machine code takes some seconds to make.

    Returns:
        A function ``inputs -> outputs``. It can be pickled, and called by several threads at once; the same inputs give
        the same bits.

    Raises:
        ModuleNotFoundError: ``compiled`` is asked for, and the extra ``fast`` is not installed.
        TypeError: An argument is of another kind; or ``compiled`` is asked for, and the parameters are neither float32
            nor float64.
        ValueError: The engine has another name; or ``compiled`` is asked for, and a layer is not known to it.

    Example:
        >>> from bpfunc.keys import Key
        >>> from bpfunc.layers import dense, relu
        >>> from bpfunc.layers.combinators import serial
        >>> model = serial(dense(4), relu(), dense(2))
        >>> params, state, _ = model.init(Key(0), (3,))
        >>> network = predictor(model, params, state, engine="numpy")
        >>> network(np.ones((1, 3), np.float32)).shape, network(np.ones((32, 3), np.float32)).shape
        ((1, 2), (32, 2))

    Reference: Goto and van de Geijn, "Anatomy of high-performance matrix multiplication" (2008), on prepared operands.
    """
    expected("predictor", "model", model, Layer)
    if engine not in ENGINES:
        raise ValueError(f"engine is one of {', '.join(ENGINES)}; got {engine!r}")
    return _made(model, own_arrays(params), own_arrays(layer_state), engine)


def _made(model: Layer, params: Tree, layer_state: Tree, engine: EngineChoice) -> Predictor:
    dtype = float_dtype(params)
    if engine != "numpy":
        try:
            code = _compiled(model, params, layer_state)
            return Predictor(model, params, layer_state, "compiled", engine, code, dtype)
        except (ImportError, TypeError, ValueError):
            if engine == "compiled":
                raise
    rows = prepared(model, params, layer_state, chain_by_numpy, any_layer)
    return Predictor(model, params, layer_state, "numpy", engine, rows, dtype)


def _compiled(model: Layer, params: Tree, layer_state: Tree) -> RowsFn:
    try:  # imported here, because it needs the extra and takes a while
        from bpfunc.compiled.forward import compiled_chain, known_layer
    except ModuleNotFoundError as missing:
        raise missing_extra(missing) from None
    rows = prepared(model, params, layer_state, compiled_chain, known_layer)
    if rows is None:
        raise ValueError("a compiled prediction takes a network with at least one dense layer")
    return rows
