"""Layer stacks as data: each layer checked, and what the network would weigh, without building it.

An order over the network may bring its own layers; a mistake in them, or a network that no machine
could hold, is to be said at once and at no cost. The rules are those of ``networks.layer_stack``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Shape = tuple[int, ...]
"""Of one picture: (rows, cols, channels) of a map, or (channels,) of a vector."""

ACTIVATIONS = (
    "linear", "relu", "relu6", "leaky_relu", "elu", "selu", "gelu", "silu", "tanh", "sigmoid",
    "softplus",
)  # fmt: skip
MAX_LAYERS = 200


@dataclass(frozen=True, slots=True)
class Rule:
    """What a field of a layer may be: a whole number, a rate below 1, a truth value or a choice."""

    least: int = 0
    most: int = 0
    choices: tuple[str | None, ...] = ()
    rate: bool = False
    flag: bool = False
    required: bool = False

    def check(self, value: Any, at: str) -> None:
        """Refuse what it may not be.

        Raises:
            ValueError: says what it may be.
        """
        if self.choices:
            known = ", ".join("null" if c is None else str(c) for c in self.choices)
            _demand(value is None or isinstance(value, str), f"{at} must be one of {known}")
            _demand(value in self.choices, f"{at} must be one of {known}")
        elif self.flag:
            _demand(type(value) is bool, f"{at} must be true or false")
        elif self.rate:
            number = type(value) in (int, float) and 0 <= value < 1
            _demand(number, f"{at} must be a number from 0 to less than 1")
        else:
            whole = type(value) is int and self.least <= value <= self.most
            _demand(whole, f"{at} must be a whole number, {self.least} to {self.most}")


_WIDTH = Rule(1, 65_536, required=True)
_KERNEL = Rule(1, 64, required=True)
_STRIDE = Rule(1, 16)
_PADDING = Rule(choices=("valid", "same"))
_ACTIVATION = Rule(choices=(None, *ACTIVATIONS))
_FLAG = Rule(flag=True)

RULES: Mapping[str, Mapping[str, Rule]] = {
    "conv": {
        "filters": _WIDTH,
        "kernel": _KERNEL,
        "stride": _STRIDE,
        "padding": _PADDING,
        "activation": _ACTIVATION,
        "norm": _FLAG,
        "separable": _FLAG,
    },
    "residual": {
        "filters": _WIDTH,
        "kernel": Rule(1, 64),
        "stride": _STRIDE,
        "activation": Rule(choices=ACTIVATIONS),
        "separable": _FLAG,
    },
    "pool": {"size": Rule(1, 64), "kind": Rule(choices=("max", "average")), "padding": _PADDING},
    "dropout": {"rate": Rule(rate=True, required=True), "spatial": _FLAG},
    "flatten": {},
    "global_average": {},
    "dense": {"units": _WIDTH, "activation": _ACTIVATION, "norm": _FLAG, "bias": _FLAG},
    "unit": {},
}


@dataclass(frozen=True, slots=True)
class StackCost:
    """What a network would weigh.

    Attributes:
        shape: of what it gives for a picture.
        parameters: weights, trained or not.
        values: of all its maps for one picture: memory of a training step goes by them.
    """

    shape: Shape
    parameters: int = 0
    values: int = 0

    def then(self, shape: Shape, parameters: int = 0, *, maps: int = 1) -> StackCost:
        """With another stage behind it."""
        values = self.values + maps * math.prod(shape)
        return StackCost(shape, self.parameters + parameters, values)


def stack_cost(height_px: int, width_px: int, stack: Any) -> StackCost:
    """Check a list of layers and count.

    Raises:
        ValueError: a layer is unknown, has a field that it does not know or that is out of range,
            or does not fit what is before it.
    """
    several = isinstance(stack, Sequence) and not isinstance(stack, str)
    _demand(several, "stack must be a list of layers")
    _demand(1 <= len(stack) <= MAX_LAYERS, f"stack must have 1 to {MAX_LAYERS} layers")
    cost = StackCost((height_px, width_px, 1))
    for number, layer in enumerate(stack):
        at = f"stack[{number}]"
        options = _options(layer, at)
        kind = layer["layer"]
        if kind in ("conv", "residual", "pool", "global_average") or options.get("spatial"):
            _demand(len(cost.shape) == 3, f"{at}: {kind} needs a map, and there is a vector")
        cost = _STAGES[kind](cost, options)
        _demand(min(cost.shape) >= 1, f"{at}: nothing is left of the map; it is too small for it")
    return cost


def _options(layer: Any, at: str) -> dict[str, Any]:
    _demand(isinstance(layer, Mapping), f"{at} must be an object")
    kind = layer.get("layer")
    known = isinstance(kind, str) and kind in RULES
    _demand(known, f"{at}.layer must be one of {', '.join(RULES)}")
    rules = RULES[kind]
    options = {name: value for name, value in layer.items() if name != "layer"}
    unknown = sorted(str(name)[:40] for name in set(options) - set(rules))[:10]
    _demand(not unknown, f"{at}: {kind} does not know {', '.join(unknown)}")
    missing = [name for name, rule in rules.items() if rule.required and name not in options]
    _demand(not missing, f"{at}: {kind} needs {', '.join(missing)}")
    for name, value in options.items():
        rules[name].check(value, f"{at}.{name}")
    return options


def _demand(holds: bool, message: str) -> None:
    if not holds:
        raise ValueError(message)


def _slid(sides: Shape, kernel: int, stride: int, padding: str) -> Shape:
    if padding == "same":
        return tuple(-(-side // stride) for side in sides)
    return tuple((side - kernel) // stride + 1 for side in sides)


def _conv(cost: StackCost, options: Mapping[str, Any]) -> StackCost:
    *sides, channels = cost.shape
    filters, kernel, norm = options["filters"], options["kernel"], options.get("norm", False)
    stride, padding = options.get("stride", 1), options.get("padding", "valid")
    weights = kernel**2 * channels * filters
    if options.get("separable", False):
        weights = kernel**2 * channels + channels * filters
    shape = (*_slid(tuple(sides), kernel, stride, padding), filters)
    return cost.then(shape, weights + filters * (4 if norm else 1), maps=3 if norm else 2)


def _residual(cost: StackCost, options: Mapping[str, Any]) -> StackCost:
    *sides, channels = cost.shape
    filters, stride = options["filters"], options.get("stride", 1)
    separable = options.get("separable", False)
    same = {"kernel": options.get("kernel", 3), "padding": "same", "norm": True}
    first = {"filters": filters, "separable": separable, **same}
    found = _conv(_conv(cost, {**first, "stride": stride}), first)
    if stride > 1 or channels != filters:
        shape = (*_slid(tuple(sides), 1, stride, "same"), channels)
        short = {"filters": filters, "kernel": 1, "norm": True}
        added = _conv(StackCost(shape), short)
        found = found.then(found.shape, added.parameters, maps=3)
    return found.then(found.shape)


def _pool(cost: StackCost, options: Mapping[str, Any]) -> StackCost:
    *sides, channels = cost.shape
    size = options.get("size", 2)
    return cost.then((*_slid(tuple(sides), size, size, options.get("padding", "valid")), channels))


def _dense(cost: StackCost, options: Mapping[str, Any]) -> StackCost:
    units, norm = options["units"], options.get("norm", False)
    added = 4 * units if norm else units * options.get("bias", True)
    shape = (*cost.shape[:-1], units)
    return cost.then(shape, cost.shape[-1] * units + added, maps=3 if norm else 2)


_STAGES: Mapping[str, Callable[[StackCost, Mapping[str, Any]], StackCost]] = {
    "conv": _conv,
    "residual": _residual,
    "pool": _pool,
    "dropout": lambda cost, _: cost.then(cost.shape),
    "flatten": lambda cost, _: cost.then((math.prod(cost.shape),)),
    "global_average": lambda cost, _: cost.then(cost.shape[-1:]),
    "dense": _dense,
    "unit": lambda cost, _: cost.then(cost.shape),
}
