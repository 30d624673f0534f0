"""Elementwise ops: the records of the rows in ``csrc/kernels/cpu/elementwise.def``."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import _engine
from .._arguments import number
from .record import composed, op

SIZES = ((), (0,), (1,), (7,), (17,), (33,), (3, 5), (2, 3, 65))


def _unary_samples(low: float = -3.0, high: float = 3.0, *attributes: Any) -> Any:
    return lambda make: [(make(*shape, low=low, high=high), *attributes) for shape in (*SIZES, (70_001,))]


def _kinked_samples(*attributes: Any) -> Any:
    """Values away from the kink at 0, where finite differences would straddle it."""
    return lambda make: [(make.distinct(*shape), *attributes) for shape in (*SIZES, (70_001,))]


def _binary_samples(low: float = -3.0, high: float = 3.0) -> Any:
    def samples(make: Any) -> list[tuple]:
        pairs = [(s, s) for s in (*SIZES, (70_001,))]
        pairs += [
            ((3, 5), (5,)),
            ((3, 5), (3, 1)),
            ((4, 1, 7), (5, 1)),
            ((2, 3), ()),
            ((), (6,)),
            ((1000, 3), (3,)),
            ((0, 3), (3,)),
        ]
        return [(make(*a, low=low, high=high), make(*b, low=low, high=high)) for a, b in pairs]

    return samples


def _distinct_pairs(make: Any) -> list[tuple]:
    """Pairs that differ by more than a finite difference reaches."""
    pairs = []
    for shape in (*SIZES, (40_003,)):
        values = make.distinct(2, *shape)
        pairs.append((np.asarray(values[0]), np.asarray(values[1])))
    pairs.append((make.distinct(3, 5), make.distinct(5) + 0.05))
    return pairs


def _shape_errors(make: Any) -> list[tuple]:
    return [((make(2, 3), make(4)), ValueError, r"shapes \(2, 3\) and \(4,\) do not broadcast")]


def _half(tie: Any, g: Any, other: Any) -> Any:
    """g where a holds, half of it where both arguments are equal (the subgradient that treats them alike)."""
    return where(tie, g * 0.5, other)


# ---- arithmetic ----

neg = op("neg", "x", reference=np.negative, gradient={"x": lambda g: -g}, formula={"x": "-g"},
         samples=_unary_samples(), dtypes="any", doc="-x, elementwise. For integers and floats.")  # fmt: skip
abs = op("abs", "x", reference=np.abs, gradient={"x": lambda g, x: g * sign(x)}, formula={"x": r"g\,\mathrm{sign}(x)"},
         samples=_kinked_samples(), dtypes="any", doc="|x|, elementwise; the gradient at 0 is 0.")  # fmt: skip
sign = op("sign", "x", reference=np.sign, gradient={"x": lambda g: g * 0.0}, formula={"x": "0"},
          samples=_kinked_samples(), dtypes="any", doc="-1, 0 or 1, elementwise; NaN stays NaN.")  # fmt: skip
square = op("square", "x", reference=np.square, gradient={"x": lambda g, x: g * x * 2.0}, formula={"x": r"2x\,g"},
            samples=_unary_samples(), dtypes="any", doc="x * x, elementwise.")  # fmt: skip
add = op("add", "a b", reference=np.add, gradient={"a": lambda g: g, "b": lambda g: g}, formula={"a": "g", "b": "g"},
         samples=_binary_samples(), errors=_shape_errors, dtypes="any", doc="a + b with broadcasting.")  # fmt: skip
sub = op("sub", "a b", reference=np.subtract, gradient={"a": lambda g: g, "b": lambda g: -g}, formula={"a": "g", "b": "-g"},
         samples=_binary_samples(), errors=_shape_errors, dtypes="any", doc="a - b with broadcasting.")  # fmt: skip
mul = op("mul", "a b", reference=np.multiply, gradient={"a": lambda g, b: g * b, "b": lambda g, a: g * a},
         formula={"a": r"b\,g", "b": r"a\,g"}, samples=_binary_samples(), errors=_shape_errors, dtypes="any",
         doc="a * b with broadcasting.")  # fmt: skip
div = op("div", "a b", reference=np.true_divide, gradient={"a": lambda g, b: g / b, "b": lambda g, y, b: -(g * y) / b},
         formula={"a": r"g / b", "b": r"-g\,y / b"}, samples=_binary_samples(0.5, 3.0), errors=_shape_errors,
         doc="a / b with broadcasting; integers are divided as float32.")  # fmt: skip


def _pow_base(g: Any, a: Any, b: Any) -> Any:
    # 0 ** 0 is the constant 1 near b = 0: its slope there is 0, not 0 * inf.
    return g * where(b == 0.0, 0.0, b * pow(a, where(b == 0.0, 1.0, b - 1.0)))


def _pow_exponent(g: Any, y: Any, a: Any) -> Any:
    # log(0) times 0 ** b, which is 0 for every b that has a slope.
    return g * where(a == 0.0, 0.0, y * log(where(a == 0.0, 1.0, a)))


def _pow_samples(make: Any) -> list[tuple]:
    pairs = [(s, s) for s in (*SIZES, (70_001,))] + [((3, 5), (5,)), ((2, 3), ())]
    return [(make(*a, low=0.3, high=3.0), make(*b, low=-2.5, high=2.5)) for a, b in pairs]


pow = op("pow", "a b", reference=np.power, gradient={"a": _pow_base, "b": _pow_exponent},
         formula={"a": r"b\,a^{b-1}\,g", "b": r"y\,\log(a)\,g"}, samples=_pow_samples, errors=_shape_errors, tolerance=8,
         doc="a to the power b with broadcasting. The gradient with respect to b is taken as 0 where a is 0.")  # fmt: skip
remainder = op("remainder", "a b", reference=np.remainder, gradient={"a": lambda g: g, "b": lambda g, a, b: -g * floor(a / b)},
               formula={"a": "g", "b": r"-\lfloor a/b \rfloor\,g"}, samples=_binary_samples(0.7, 1.3), differences=False,
               dtypes="any", doc="The remainder of a / b with the sign of b (Python's %).")  # fmt: skip
floor_divide = op("floor_divide", "a b", reference=np.floor_divide, samples=_binary_samples(0.5, 9.0), differences=False,
                  dtypes="any", doc="a / b rounded down (Python's //). Integer division by 0 gives 0.")  # fmt: skip
fma = op("fma", "a b c", reference=lambda a, b, c: a * b + c,
         gradient={"a": lambda g, b: g * b, "b": lambda g, a: g * a, "c": lambda g: g},
         formula={"a": r"b\,g", "b": r"a\,g", "c": "g"},
         samples=lambda make: [(make(*s), make(*s), make(*s)) for s in SIZES] + [(make(3, 5), make(5), make(3, 1)), (make(9), make(), make())],
         doc="a * b + c with a single rounding, as the hardware's fused multiply-add gives it.")  # fmt: skip
reciprocal = op("reciprocal", "x", reference=np.reciprocal, gradient={"x": lambda g, y: -(g * y) * y}, formula={"x": "-y^2 g"},
                samples=_unary_samples(0.5, 3.0), doc="1 / x, elementwise.")  # fmt: skip

# ---- powers, exponentials and logarithms ----

sqrt = op("sqrt", "x", reference=np.sqrt, gradient={"x": lambda g, y: g / (y * 2.0)}, formula={"x": r"g / (2y)"},
          samples=_unary_samples(0.2, 4.0), doc="Square root, correctly rounded.")  # fmt: skip
rsqrt = op("rsqrt", "x", reference=lambda x: 1 / np.sqrt(x), gradient={"x": lambda g, y: g * y * y * y * -0.5},
           formula={"x": r"-y^3 g / 2"}, samples=_unary_samples(0.2, 4.0), doc="1 / sqrt(x).")  # fmt: skip
exp = op("exp", "x", reference=np.exp, gradient={"x": lambda g, y: g * y}, formula={"x": r"y\,g"},
         samples=_unary_samples(), doc="e to the power x, within 2 ulp.")  # fmt: skip
expm1 = op("expm1", "x", reference=np.expm1, gradient={"x": lambda g, y: g * (y + 1.0)}, formula={"x": r"(y + 1)\,g"},
           samples=_unary_samples(), doc="exp(x) - 1, accurate near 0.")  # fmt: skip
log = op("log", "x", reference=np.log, gradient={"x": lambda g, x: g / x}, formula={"x": "g / x"},
         samples=_unary_samples(0.1, 9.0), doc="Natural logarithm, within 2 ulp; log(0) is -inf, negative values give NaN.")  # fmt: skip
log2 = op("log2", "x", reference=np.log2, gradient={"x": lambda g, x: g / (x * math.log(2))}, formula={"x": r"g / (x \log 2)"},
          samples=_unary_samples(0.1, 9.0), doc="Logarithm to base 2.")  # fmt: skip
log10 = op("log10", "x", reference=np.log10, gradient={"x": lambda g, x: g / (x * math.log(10))},
           formula={"x": r"g / (x \log 10)"}, samples=_unary_samples(0.1, 9.0), doc="Logarithm to base 10.")  # fmt: skip
log1p = op("log1p", "x", reference=np.log1p, gradient={"x": lambda g, x: g / (x + 1.0)}, formula={"x": "g / (1 + x)"},
           samples=_unary_samples(-0.9, 3.0), doc="log(1 + x), accurate near 0.")  # fmt: skip

# ---- trigonometry ----

sin = op("sin", "x", reference=np.sin, gradient={"x": lambda g, x: g * cos(x)}, formula={"x": r"\cos(x)\,g"},
         samples=_unary_samples(), doc="Sine of x in radians.")  # fmt: skip
cos = op("cos", "x", reference=np.cos, gradient={"x": lambda g, x: -(g * sin(x))}, formula={"x": r"-\sin(x)\,g"},
         samples=_unary_samples(), doc="Cosine of x in radians.")  # fmt: skip
tan = op("tan", "x", reference=np.tan, gradient={"x": lambda g, y: g * (y * y + 1.0)}, formula={"x": r"(1 + y^2)\,g"},
         samples=_unary_samples(-1.2, 1.2), doc="Tangent of x in radians.")  # fmt: skip
asin = op("asin", "x", reference=np.arcsin, gradient={"x": lambda g, x: g * rsqrt(1.0 - x * x)},
          formula={"x": r"g / \sqrt{1 - x^2}"}, samples=_unary_samples(-0.9, 0.9), doc="Arc sine, in radians.")  # fmt: skip
acos = op("acos", "x", reference=np.arccos, gradient={"x": lambda g, x: -(g * rsqrt(1.0 - x * x))},
          formula={"x": r"-g / \sqrt{1 - x^2}"}, samples=_unary_samples(-0.9, 0.9), doc="Arc cosine, in radians.")  # fmt: skip
atan = op("atan", "x", reference=np.arctan, gradient={"x": lambda g, x: g / (x * x + 1.0)}, formula={"x": r"g / (1 + x^2)"},
          samples=_unary_samples(), doc="Arc tangent, in radians.")  # fmt: skip


def _over_square(x: Any, a: Any, b: Any) -> Any:
    """x / (a^2 + b^2), and 0 at the origin, where the angle has no derivative (PyTorch's choice)."""
    square_sum = a * a + b * b
    return where(square_sum == 0, 0.0, x / where(square_sum == 0, 1.0, square_sum))


atan2 = op("atan2", "a b", reference=np.arctan2,
           gradient={"a": lambda g, a, b: g * _over_square(b, a, b), "b": lambda g, a, b: -g * _over_square(a, a, b)},
           formula={"a": r"b\,g / (a^2 + b^2)", "b": r"-a\,g / (a^2 + b^2)"}, samples=_binary_samples(0.4, 3.0),
           errors=_shape_errors, doc="The angle of the point (b, a), in radians, in (-pi, pi].")  # fmt: skip
sinh = op("sinh", "x", reference=np.sinh, gradient={"x": lambda g, x: g * cosh(x)}, formula={"x": r"\cosh(x)\,g"},
          samples=_unary_samples(), doc="Hyperbolic sine.")  # fmt: skip
cosh = op("cosh", "x", reference=np.cosh, gradient={"x": lambda g, x: g * sinh(x)}, formula={"x": r"\sinh(x)\,g"},
          samples=_unary_samples(), doc="Hyperbolic cosine.")  # fmt: skip
asinh = op("asinh", "x", reference=np.arcsinh, gradient={"x": lambda g, x: g * rsqrt(x * x + 1.0)},
           formula={"x": r"g / \sqrt{x^2 + 1}"}, samples=_unary_samples(), doc="Inverse hyperbolic sine.")  # fmt: skip
acosh = op("acosh", "x", reference=np.arccosh, gradient={"x": lambda g, x: g * rsqrt(x * x - 1.0)},
           formula={"x": r"g / \sqrt{x^2 - 1}"}, samples=_unary_samples(1.2, 5.0), doc="Inverse hyperbolic cosine.")  # fmt: skip
atanh = op("atanh", "x", reference=np.arctanh, gradient={"x": lambda g, x: g / (1.0 - x * x)}, formula={"x": "g / (1 - x^2)"},
           samples=_unary_samples(-0.9, 0.9), doc="Inverse hyperbolic tangent.")  # fmt: skip


# ---- activations ----


def _sigmoid_reference(x: Any) -> Any:
    e = np.exp(-np.abs(x))
    return np.where(x >= 0, 1, e) / (1 + e)


def _erf_reference(x: Any) -> Any:
    return np.asarray(np.vectorize(math.erf, otypes=[np.float64])(np.asarray(x, np.float64)), dtype=np.asarray(x).dtype)


def _times(x: Any, share: Any) -> Any:
    """x times a share that vanishes faster than x grows: 0 and not -inf * 0 in the limit."""
    return np.asarray(np.where(x == -np.inf, 0, x * share), dtype=x.dtype)


def _erfc_half(x: Any) -> Any:
    """The normal distribution function, without cancellation in the left tail."""
    return np.vectorize(lambda v: 0.5 * math.erfc(-v / math.sqrt(2)), otypes=[np.float64])(np.asarray(x, np.float64))


tanh = op("tanh", "x", reference=np.tanh, gradient={"x": lambda g, y: tanh_backward(g, y)}, formula={"x": r"(1 - y^2)\,g"},
          samples=_unary_samples(), doc="Hyperbolic tangent, within 2 ulp.")  # fmt: skip
sigmoid = op("sigmoid", "x", reference=_sigmoid_reference, gradient={"x": lambda g, y: sigmoid_backward(g, y)},
             formula={"x": r"y (1 - y)\,g"}, samples=_unary_samples(),
             doc="1 / (1 + exp(-x)), within 2 ulp; never overflows.")  # fmt: skip
logsigmoid = op("logsigmoid", "x", reference=lambda x: np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x))),
                gradient={"x": lambda g, x: g * sigmoid(-x)}, formula={"x": r"\sigma(-x)\,g"}, samples=_unary_samples(),
                doc="log(sigmoid(x)) = min(x, 0) - log1p(exp(-|x|)); -1000 at x = -1000.")  # fmt: skip
_softplus = op("softplus", "x", attributes="beta threshold",
               reference=lambda x, beta, threshold: np.where(x * beta > threshold, x, np.logaddexp(0, x * beta) / beta).astype(x.dtype),
               gradient={"x": lambda g, x, beta, threshold: where(x * beta > threshold, g, g * sigmoid(x * beta))},
               formula={"x": r"\sigma(\beta x)\,g"},
               samples=lambda make: [(make(*s, low=-3, high=3), 1.0, 20.0) for s in SIZES] + [(make(9), 2.5, 20.0)])  # fmt: skip
erf = op("erf", "x", reference=_erf_reference, gradient={"x": lambda g, x: g * exp(-(x * x)) * (2 / math.sqrt(math.pi))},
         formula={"x": r"\frac{2}{\sqrt{\pi}} e^{-x^2} g"}, samples=_unary_samples(), doc="Error function, within 2 ulp.")  # fmt: skip
relu = op("relu", "x", reference=lambda x: np.where(x < 0, x.dtype.type(0), x), gradient={"x": lambda g, y: relu_backward(g, y)},
          formula={"x": r"[y > 0]\,g"}, samples=_kinked_samples(), dtypes="any",
          doc="max(x, 0); the gradient at 0 is 0.")  # fmt: skip
_leaky_relu = op("leaky_relu", "x", attributes="negative_slope",
                 reference=lambda x, negative_slope: np.where(x < 0, x * x.dtype.type(negative_slope), x),
                 gradient={"x": lambda g, x, negative_slope: where(x > 0.0, g, g * negative_slope)},
                 formula={"x": r"g \text{ for } x > 0, \alpha g \text{ else}"}, samples=_kinked_samples(0.01))  # fmt: skip
_hardtanh = op("hardtanh", "x", attributes="low high",
               reference=lambda x, low, high: np.where(x >= x.dtype.type(high), x.dtype.type(high),
                                                       np.where(x <= x.dtype.type(low), x.dtype.type(low), x)),
               gradient={"x": lambda g, x, low, high: where((x > low) & (x < high), g, 0.0)},
               formula={"x": r"[low < x < high]\,g"}, samples=_kinked_samples(-1.05, 0.95))  # fmt: skip
_elu = op("elu", "x", attributes="alpha",
          reference=lambda x, alpha: np.where(x < 0, x.dtype.type(alpha) * np.expm1(np.minimum(x, 0)), x),
          gradient={"x": lambda g, x, y, alpha: where(x > 0.0, g, g * (y + alpha))},
          formula={"x": r"g \text{ for } x > 0, (y + \alpha) g \text{ else}"}, samples=_kinked_samples(1.5))  # fmt: skip


def _normal_density(x: Any) -> Any:
    return exp(x * x * -0.5) * (1 / math.sqrt(2 * math.pi))


_gelu = op("gelu", "x", reference=lambda x: _times(x, _erfc_half(x)),
           gradient={"x": lambda g, x: g * (erf(x * math.sqrt(0.5)) * 0.5 + 0.5 + x * _normal_density(x))},
           formula={"x": r"(\Phi(x) + x \varphi(x))\,g"}, samples=_unary_samples())  # fmt: skip
silu = op("silu", "x", reference=lambda x: _times(x, _sigmoid_reference(x)),
          gradient={"x": lambda g, x, y: g * (sigmoid(x) * (1.0 - y) + y)}, formula={"x": r"(\sigma(x)(1 - y) + y)\,g"},
          samples=_unary_samples(), doc="x * sigmoid(x), also called swish.")  # fmt: skip
relu_backward = op("relu_backward", "a b", reference=lambda a, b: np.where(b <= 0, a.dtype.type(0), a),
                   gradient={"a": lambda g, b: relu_backward(g, b)}, formula={"a": r"[b > 0]\,g"}, samples=_distinct_pairs,
                   dtypes="any", doc="Gradient of relu: a where the output b was positive, else 0.")  # fmt: skip
sigmoid_backward = op("sigmoid_backward", "a b", reference=lambda a, b: a * (b * (1 - b)),
                      gradient={"a": lambda g, b: sigmoid_backward(g, b), "b": lambda g, a, b: g * a * (1.0 - b * 2.0)},
                      formula={"a": r"b (1 - b)\,g", "b": r"a (1 - 2b)\,g"}, samples=_binary_samples(0.1, 0.9),
                      doc="Gradient of sigmoid: a * b * (1 - b) with b the output.")  # fmt: skip
tanh_backward = op("tanh_backward", "a b", reference=lambda a, b: a * ((1 - b) * (1 + b)),
                   gradient={"a": lambda g, b: tanh_backward(g, b), "b": lambda g, a, b: g * a * b * -2.0},
                   formula={"a": r"(1 - b^2)\,g", "b": r"-2 a b\,g"}, samples=_binary_samples(-0.9, 0.9),
                   doc="Gradient of tanh: a * (1 - b^2) with b the output.")  # fmt: skip


def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta x)) / beta, elementwise; x itself where beta x > threshold (as in PyTorch)."""
    return _softplus(x, number("softplus", "beta", beta), number("softplus", "threshold", threshold))


def leaky_relu(x: Any, negative_slope: float = 0.01) -> Any:
    """x where positive, negative_slope * x elsewhere; the gradient at 0 is negative_slope times the incoming one."""
    return _leaky_relu(x, number("leaky_relu", "negative_slope", negative_slope))


def hardtanh(x: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x cut to [min_val, max_val]; the derivative is 0 at both ends (:func:`clamp` has 1 there).

    Raises:
        ValueError: min_val is above max_val.
    """
    low, high = number("hardtanh", "min_val", min_val), number("hardtanh", "max_val", max_val)
    if low > high:
        raise ValueError(f"hardtanh: min_val {min_val} is above max_val {max_val}")
    return _hardtanh(x, low, high)


def elu(x: Any, alpha: float = 1.0) -> Any:
    """x where positive, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2015)."""
    return _elu(x, number("elu", "alpha", alpha))


def gelu(x: Any, approximate: str = "none") -> Any:
    """x * Phi(x) with the normal distribution function Phi (Hendrycks and Gimpel 2016).

    ``approximate="tanh"`` uses the tanh formula of the paper instead.

    Raises:
        ValueError: approximate is neither "none" nor "tanh".
    """
    if approximate == "none":
        return _gelu(x)
    if approximate != "tanh":
        raise ValueError(f"gelu: approximate must be 'none' or 'tanh', not {approximate!r}")
    x = _engine.as_tensor(x)
    return x * 0.5 * (tanh((x * x * x * 0.044715 + x) * math.sqrt(2 / math.pi)) + 1.0)


# ---- rounding and limits ----

floor = op("floor", "x", reference=np.floor, gradient={"x": lambda g: g * 0.0}, formula={"x": "0"}, samples=_unary_samples(),
           differences=False, doc="Largest integer not above x.")  # fmt: skip
ceil = op("ceil", "x", reference=np.ceil, gradient={"x": lambda g: g * 0.0}, formula={"x": "0"}, samples=_unary_samples(),
          differences=False, doc="Smallest integer not below x.")  # fmt: skip
round = op("round", "x", reference=np.rint, gradient={"x": lambda g: g * 0.0}, formula={"x": "0"}, samples=_unary_samples(),
           differences=False, doc="Nearest integer, halves to the even one.")  # fmt: skip
trunc = op("trunc", "x", reference=np.trunc, gradient={"x": lambda g: g * 0.0}, formula={"x": "0"}, samples=_unary_samples(),
           differences=False, doc="x without its fraction.")  # fmt: skip
_clip = op("clip", "x", attributes="low high",
           reference=lambda x, low, high: np.clip(x, x.dtype.type(low), x.dtype.type(high)),
           gradient={"x": lambda g, x, low, high: where((x >= low) & (x <= high), g, 0.0)},
           formula={"x": r"[low \leq x \leq high]\,g"}, samples=_kinked_samples(-1.05, 0.95))  # fmt: skip


def clip(x: Any, min: float | None = None, max: float | None = None) -> Any:
    """x held between min and max (either may be None); the gradient passes where x is within them, limits included.

    Raises:
        ValueError: Both limits are None.
    """
    if min is None and max is None:
        raise ValueError("clip: give min, max or both")
    x = _engine.as_tensor(x)
    if _is_tensor(min) or _is_tensor(max):
        x = x if min is None else maximum(x, min)
        return x if max is None else minimum(x, max)
    if x.dtype.kind in "iu" and any(isinstance(v, float) and not v.is_integer() for v in (min, max)):
        x = x.to(np.float32)
    low = -math.inf if min is None else number("clip", "min", min)
    return _clip(x, low, math.inf if max is None else number("clip", "max", max))


def _is_tensor(value: Any) -> bool:
    return isinstance(value, _engine.Tensor) or (isinstance(value, np.ndarray) and value.ndim > 0)


clamp = clip

maximum = op("maximum", "a b", reference=np.maximum,
             gradient={"a": lambda g, a, b: _half(a == b, g, where(a > b, g, 0.0)),
                       "b": lambda g, a, b: _half(a == b, g, where(b > a, g, 0.0))},
             formula={"a": r"[a > b]\,g", "b": r"[b > a]\,g"}, samples=_distinct_pairs, errors=_shape_errors, dtypes="any",
             doc="The larger of a and b; NaN if either is. Equal arguments share the gradient.")  # fmt: skip
minimum = op("minimum", "a b", reference=np.minimum,
             gradient={"a": lambda g, a, b: _half(a == b, g, where(a < b, g, 0.0)),
                       "b": lambda g, a, b: _half(a == b, g, where(b < a, g, 0.0))},
             formula={"a": r"[a < b]\,g", "b": r"[b < a]\,g"}, samples=_distinct_pairs, errors=_shape_errors, dtypes="any",
             doc="The smaller of a and b; NaN if either is. Equal arguments share the gradient.")  # fmt: skip
where = op("where", "condition a b", reference=np.where,
           gradient={"a": lambda g, condition: where(condition, g, 0.0), "b": lambda g, condition: where(condition, 0.0, g)},
           formula={"a": r"[c]\,g", "b": r"[\neg c]\,g"},
           samples=lambda make: [(make.bools(*s), make(*s), make(*s)) for s in (*SIZES, (70_001,))]
           + [(make.bools(3, 1), make(3, 5), make(5)), (make.bools(5), make(), make(3, 1))],
           errors=lambda make: [((make.bools(2, 3), make(4), make()), ValueError, "where: shapes .* do not broadcast")],
           dtypes="any", doc="a where condition is true, else b, with broadcasting.")  # fmt: skip

# ---- comparisons and tests: bool results ----


def _comparison(name: str, reference: Any, doc: str) -> Any:
    def samples(make: Any) -> list[tuple]:
        pairs = [(s, s) for s in (*SIZES, (70_001,))] + [((3, 5), (5,)), ((2, 3), ())]
        return [(np.rint(make(*a)), np.rint(make(*b))) for a, b in pairs]

    return op(name, "a b", reference=reference, samples=samples, errors=_shape_errors, dtypes="any", doc=doc)


eq = _comparison("eq", np.equal, "a == b, elementwise.")
ne = _comparison("ne", np.not_equal, "a != b, elementwise.")
lt = _comparison("lt", np.less, "a < b, elementwise.")
le = _comparison("le", np.less_equal, "a <= b, elementwise.")
gt = _comparison("gt", np.greater, "a > b, elementwise.")
ge = _comparison("ge", np.greater_equal, "a >= b, elementwise.")
logical_and = _comparison("logical_and", np.logical_and, "Both a and b are not zero, elementwise.")
logical_or = _comparison("logical_or", np.logical_or, "a or b is not zero, elementwise.")
logical_xor = _comparison("logical_xor", np.logical_xor, "Exactly one of a and b is not zero, elementwise.")
logical_not = op("logical_not", "x", reference=np.logical_not, samples=lambda make: [(np.rint(make(*s)),) for s in SIZES],
                 dtypes="any", doc="x is zero, elementwise.")  # fmt: skip
isnan = op("isnan", "x", reference=np.isnan, samples=_unary_samples(), doc="x is NaN, elementwise.")
isinf = op("isinf", "x", reference=np.isinf, samples=_unary_samples(), doc="x is infinite, elementwise.")
isfinite = op("isfinite", "x", reference=np.isfinite, samples=_unary_samples(), doc="x is neither NaN nor infinite.")

# ---- types ----

_cast = op("cast", "x", attributes="code", reference=lambda x, code: x.astype(_engine.NUMPY_TYPES[code]),
           gradient={"x": lambda g, x_dtype: _cast(g, x_dtype)}, formula={"x": "g"},
           samples=lambda make: [(make(*s), 7) for s in SIZES], dtypes="any")  # fmt: skip


def to(x: Any, dtype: Any) -> Any:
    """x with another dtype (or that of another tensor); x itself if it has it already, and for the device "cpu".

    Float to integer drops the fraction, holds values to the integer's range and makes NaN 0.

    Raises:
        TypeError: Tensors cannot have this dtype.
        ValueError: Another device than "cpu" is asked for.
    """
    x = _engine.as_tensor(x)
    if isinstance(dtype, _engine.Tensor):
        dtype = dtype.dtype
    elif dtype is None:
        raise TypeError("to: dtype is None; give one of NumPy's dtypes, such as np.float32")
    elif isinstance(dtype, str) and dtype.partition(":")[0] in ("cpu", "cuda"):
        if dtype != "cpu":
            raise ValueError(f"to: there is no device {dtype!r}; all tensors live in main memory ('cpu')")
        return x
    code = _engine.dtype_code(dtype)
    return x if x._dtype_code == code else _cast(x, code)


@composed(reference=lambda a, b: np.logaddexp(a, b), samples=_binary_samples())
def logaddexp(a: Any, b: Any) -> Any:
    """log(exp(a) + exp(b)) without overflow, with broadcasting."""
    a, b = _engine.as_tensor(a), _engine.as_tensor(b)
    top = maximum(a, b).detach()
    # Equal infinities would give inf - inf; the distance to an infinite maximum is 0 or infinite either way.
    top = where(isfinite(top), top, 0.0)
    return log(exp(a - top) + exp(b - top)) + top


__all__ = [
    "abs", "acos", "acosh", "add", "asin", "asinh", "atan", "atan2", "atanh", "ceil", "clamp", "clip", "cos", "cosh",
    "div", "elu", "eq", "erf", "exp", "expm1", "floor", "floor_divide", "fma", "ge", "gelu", "gt", "isfinite", "isinf",
    "isnan", "le", "leaky_relu", "log", "log10", "log1p", "log2", "logaddexp", "logical_and", "logical_not",
    "logical_or", "logical_xor", "logsigmoid", "lt", "maximum", "minimum", "mul", "ne", "neg", "pow", "reciprocal",
    "relu", "relu_backward", "remainder", "round", "rsqrt", "sigmoid", "sigmoid_backward", "sign", "silu", "sin",
    "sinh", "softplus", "sqrt", "square", "sub", "tan", "tanh", "tanh_backward", "to", "trunc", "where",
]  # fmt: skip
METHODS = tuple(n for n in __all__ if n not in ("fma", "where", "relu_backward", "sigmoid_backward", "tanh_backward"))
