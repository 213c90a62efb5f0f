"""Functions with their gradients as people write them, right, and the wrong variants of them that people write."""

from types import SimpleNamespace
from typing import NamedTuple
import math

import numpy as np

rng = np.random.default_rng(5)


class Written(NamedTuple):
    f: object
    gradient: object
    arguments: tuple
    method: str = "complex step"
    wrong: tuple = ()                   # (gradient, what the message must say)


# -- backward(dvalue, ...) -----------------------------------------------------------------------------------------------

def rms_norm(x, scale):
    return x / np.sqrt((x ** 2).mean(-1, keepdims=True) + 1e-5) * scale


def rms_norm_backward(dout, x, scale):
    r = 1 / np.sqrt((x ** 2).mean(-1, keepdims=True) + 1e-5)
    n, dn = x * r, dout * scale
    return r * (dn - n * (dn * n).mean(-1, keepdims=True)), (dout * n).sum(0)


def rms_norm_not_summed(dout, x, scale):
    dx, _ = rms_norm_backward(dout, x, scale)
    return dx, dout * rms_norm(x, 1.0)


def rms_norm_mean(dout, x, scale):
    dx, dscale = rms_norm_backward(dout, x, scale)
    return dx, dscale / len(x)


def rms_norm_without_scale(dout, x, scale):
    return rms_norm_backward(dout, x, 1.0)[0], rms_norm_backward(dout, x, scale)[1]


def matmul(a, b):
    return a @ b


def matmul_backward(grad, a, b):
    return grad @ b.T, a.T @ grad


def matmul_transposed(grad, a, b):
    return (grad @ b.T).T, a.T @ grad


# -- f_vjp(...) → value, pullback ---------------------------------------------------------------------------------------

def attention(q, k, v, *, causal):
    return attention_vjp(q, k, v, causal=causal)[0]


def attention_vjp(q, k, v, *, causal, keeps_all=True):
    s = q @ k.T / np.sqrt(q.shape[1])
    if causal:
        s = np.where(np.tril(np.ones(s.shape)) > 0, s, -np.inf)
    e = np.exp(s - s.real.max(-1, keepdims=True))
    p = e / e.sum(-1, keepdims=True)

    def pullback(dout):
        dp = dout @ v.T
        ds = p * (dp - keeps_all * (p * dp).sum(-1, keepdims=True)) / np.sqrt(q.shape[1])
        return ds @ k, ds.T @ q, p.T @ dout

    return p @ v, pullback


# -- forward → out, cache; backward(dout, cache) ------------------------------------------------------------------------

def conv_forward(x, w, b):
    (n, _, h, width), (f, _, kh, kw) = x.shape, w.shape
    out = np.zeros((n, f, h - kh + 1, width - kw + 1), dtype=np.result_type(x, w, b))
    for i in range(out.shape[2]):
        for j in range(out.shape[3]):
            out[:, :, i, j] = np.einsum("nchw,fchw->nf", x[:, :, i:i + kh, j:j + kw], w) + b
    return out, (x, w, b)


def conv_backward(dout, cache, flipped=False):
    x, w, b = cache
    dx, dw = np.zeros_like(x), np.zeros_like(w)
    for i in range(dout.shape[2]):
        for j in range(dout.shape[3]):
            window = (slice(None), slice(None), slice(i, i + w.shape[2]), slice(j, j + w.shape[3]))
            dx[window] += np.einsum("nf,fchw->nchw", dout[:, :, i, j], w)
            dw += np.einsum("nf,nchw->fchw", dout[:, :, i, j], x[window])
    return dx, dw[..., ::-1] if flipped else dw, dout.sum((0, 2, 3))


# -- value and gradient of a loss with a mean ----------------------------------------------------------------------------

def cross_entropy(logits, labels):
    return cross_entropy_and_gradient(logits, labels)[0]


def cross_entropy_and_gradient(logits, labels, factor=1.0):
    rows = np.arange(len(labels))
    p = np.exp(logits - logits.real.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    d = p.copy()
    d[rows, labels] -= 1
    return -np.log(p[rows, labels]).mean(), factor * d / len(labels)


# -- the gradient with respect to a dict of parameters ----------------------------------------------------------------------

def mlp_loss(params, x, y):
    hidden = np.tanh(x @ params["in"]["W"] + params["in"]["b"])
    return ((hidden @ params["out"]["W"] + params["out"]["b"] - y) ** 2).mean()


def mlp_gradient(params, x, y, sign=1, with_bias=True):
    hidden = np.tanh(x @ params["in"]["W"] + params["in"]["b"])
    d = 2 * (hidden @ params["out"]["W"] + params["out"]["b"] - y) / y.size
    dz = sign * (d @ params["out"]["W"].T) * (1 - hidden ** 2)
    inner = {"W": x.T @ dz, "b": dz.sum(0)} if with_bias else {"W": x.T @ dz}
    return {"in": inner, "out": {"W": hidden.T @ d, "b": d.sum(0)}}


# -- an object that remembers ----------------------------------------------------------------------------------------------

class LayerNorm:
    """In single precision, whatever comes."""

    def forward(self, x):
        x = np.asarray(x, dtype=np.float32)
        self.r = 1 / np.sqrt(x.var(-1, keepdims=True) + np.float32(1e-5))
        self.n = (x - x.mean(-1, keepdims=True)) * self.r
        return self.n

    def backward(self, dy):
        return self.r * (dy - dy.mean(-1, keepdims=True) - self.n * (dy * self.n).mean(-1, keepdims=True))

    def backward_without_mean(self, dy):
        return self.r * (dy - self.n * (dy * self.n).mean(-1, keepdims=True))


# -- not analytic -------------------------------------------------------------------------------------------------------

def batch_norm(x):
    return (x - x.mean(0)) / np.sqrt(np.var(x, axis=0) + 1e-5)


def batch_norm_backward(dy, x):
    r = 1 / np.sqrt(np.var(x, axis=0) + 1e-5)
    n = (x - x.mean(0)) * r
    return r * (dy - dy.mean(0) - n * (dy * n).mean(0))


def leaky(x):
    out = np.zeros(x.shape)
    out[...] = np.where(x > 0, x, 0.1 * x)
    return out


def logistic_loss(z, y):
    return np.sum(np.logaddexp(0, z) - y * z)


def logistic_loss_gradient(z, y):
    return 1 / (1 + np.exp(-z)) - y, -z


def decay(a, b):
    return a * math.exp(-b)


def normal_log_density(mean, factor, x):
    covariance = factor @ factor.T
    r = x - mean
    return -0.5 * np.linalg.slogdet(covariance)[1] - 0.5 * np.einsum("ni,ij,nj->", r, np.linalg.inv(covariance), r) / len(x)


def normal_log_density_gradient(mean, factor, x):
    inverse = np.linalg.inv(factor @ factor.T)
    r = (x - mean) @ inverse
    return r.mean(0), (-inverse + r.T @ r / len(x)) @ factor, -r / len(x)


# -- tuples, labels --------------------------------------------------------------------------------------------------------

def cell(x, state):
    h, c = state
    gate = 1 / (1 + np.exp(-(x + h)))
    new = gate * c + (1 - gate) * np.tanh(x)
    return np.tanh(new) * gate, new


def cell_backward(x, state, dvalue, exchanged=False):
    (h, c), (dh, dc) = state, dvalue
    gate = 1 / (1 + np.exp(-(x + h)))
    new = gate * c + (1 - gate) * np.tanh(x)
    dnew = dc + dh * gate * (1 - np.tanh(new) ** 2)
    ds = (dh * np.tanh(new) + dnew * (c - np.tanh(x))) * gate * (1 - gate)
    dx = ds + dnew * (1 - gate) * (1 - np.tanh(x) ** 2)
    return dx, (gate * dnew, ds) if exchanged else (ds, gate * dnew)


def embedding_vjp(table, index):
    def pullback(dout):
        dtable = np.zeros_like(table)
        np.add.at(dtable, index, dout)
        return dtable, None

    return table[index], pullback


def embedding_without_repeats(table, index):
    def pullback(dout):
        dtable = np.zeros_like(table)
        dtable[index] += dout
        return dtable, None

    return table[index], pullback


X, S, Q, K, V = (rng.standard_normal(shape) for shape in ((4, 3), 3, (5, 2), (4, 2), (4, 3)))
IMAGE, KERNEL, BIAS = (rng.standard_normal(shape) for shape in ((2, 3, 5, 4), (4, 3, 2, 3), 4))
PARAMS = {"in": {"W": rng.standard_normal((3, 5)), "b": np.zeros(5)}, "out": {"W": rng.standard_normal((5, 2)), "b": np.zeros(2)}}
INPUT, TARGET = rng.standard_normal((7, 3)), rng.standard_normal((7, 2))
LABELS, LAYER = np.array([0, 2, 2, 1]), LayerNorm()
FACTOR = np.tril(rng.standard_normal((3, 3))) + 2 * np.eye(3)

CAUSAL = SimpleNamespace(f=lambda q, k, v: attention(q, k, v, causal=True), vjp=lambda q, k, v: attention_vjp(q, k, v, causal=True))

WRITTEN = {
    "rms norm": Written(rms_norm, rms_norm_backward, (X, S), wrong=(
        (rms_norm_not_summed, "scale: WRONG.*shape \\(4, 3\\) came, expected \\(3,\\).*not summed over the axes"),
        (rms_norm_mean, "scale: WRONG.*ratio 0.25.*4 is the length of axis 0.*a mean where f sums"),
        (rms_norm_without_scale, "x: WRONG.*right if dvalue is first multiplied by scale"))),
    "matmul": Written(matmul, matmul_backward, (Q, K.T), wrong=(
        (matmul_transposed, "a: WRONG.*it is transposed"),
        (lambda grad, a, b: (0 * a, a.T @ grad), "a: WRONG.*it is zero"),
        (lambda grad, a, b: (np.ones((5, 4)) @ b.T, a.T @ grad), "a: WRONG.*does not depend on the cotangent"),
        (lambda grad, a, b: (-grad @ b.T, a.T @ grad), "a: WRONG.*ratio -1;.*the sign is wrong"),
        (lambda grad, a, b: (grad @ b.T, a.T @ grad * np.nan), "b: WRONG.*b\\[0, 0\\] is nan"),
        (lambda grad, a, b: {"a": grad @ b.T}, "b: WRONG.*no gradient came"))),
    "attention": Written(CAUSAL.f, CAUSAL.vjp, (Q[:4], K, V), wrong=(
        (lambda q, k, v: attention_vjp(q, k, v, causal=True, keeps_all=False),
         "q: WRONG.*adding one number to all entries of k along axis 0 changes neither f nor .*k: WRONG.*v: right"),)),
    "convolution": Written(conv_forward, conv_backward, (IMAGE, KERNEL, BIAS), wrong=(
        (lambda dout, cache: conv_backward(dout, cache, flipped=True), "w: WRONG.*reversed along axis 3"),)),
    "loss with a mean": Written(cross_entropy, cross_entropy_and_gradient, (X, LABELS), wrong=(
        (lambda logits, labels: cross_entropy_and_gradient(logits, labels, 4),
         "logits: WRONG.*ratio 4;.*a sum where f takes the mean"),
        (lambda logits, labels: (0.0, cross_entropy_and_gradient(logits, labels)[1]), "the value that came with the gradient"))),
    "dict of parameters": Written(mlp_loss, mlp_gradient, (PARAMS, INPUT, TARGET), wrong=(
        (lambda params, x, y: mlp_gradient(params, x, y, sign=-1), "params\\['in'\\]\\['W'\\]: WRONG.*the sign is wrong"),
        (lambda params, x, y: mlp_gradient(params, x, y, with_bias=False), "params\\['in'\\]\\['b'\\]: WRONG.*no gradient came"))),
    "object, float32": Written(LAYER.forward, LAYER.backward, (X.astype(np.float32),), "differences", (
        (LAYER.backward_without_mean, "x: WRONG"),
        (lambda dy: LAYER.backward(dy) * np.float32(1.1), "every entry is 1.1"))),
    "float32": Written(rms_norm, rms_norm_backward, (X.astype(np.float32), S.astype(np.float32)), wrong=(
        (lambda d, x, s: (rms_norm_backward(d, x, s)[0], rms_norm_backward(d, x, s)[1] * np.float32(1.0001)), "scale: WRONG"),)),
    "norm": Written(np.linalg.norm, lambda x: x / np.linalg.norm(x), (S,), "differences", (
        (lambda x: x, "x: WRONG.*factor"),)),
    "batch norm": Written(batch_norm, batch_norm_backward, (X,), "differences", (
        (lambda dy, x: dy / np.sqrt(np.var(x, axis=0) + 1e-5), "x: WRONG"),)),
    "leaky rectifier": Written(leaky, lambda x, dy: np.where(x > 0, dy, 0.1 * dy), (X,), "differences", (
        (lambda x, dy: np.where(x > 0, dy, 0.0), "entries are wrong"),)),
    "logistic loss": Written(logistic_loss, logistic_loss_gradient, (S, np.array([0.0, 1.0, 1.0])), "differences", (
        (lambda z, y: logistic_loss_gradient(z, y)[::-1], "in another order than the arguments"),)),
    "plain numbers": Written(decay, lambda a, b: (math.exp(-b), -a * math.exp(-b)), (1.3, 0.7), "differences", (
        (lambda a, b: (math.exp(-b), a * math.exp(-b)), "b: WRONG.*the sign is wrong"),)),
    "log density": Written(normal_log_density, normal_log_density_gradient, (S, FACTOR, INPUT), "differences"),
    "tuples": Written(cell, cell_backward, (S, (X[0], X[1])), wrong=(
        (lambda x, state, dvalue: cell_backward(x, state, dvalue, exchanged=True),
         "state\\[0\\]: WRONG.*in another order than the arguments"),)),
    "labels": Written(lambda table, index: table[index], embedding_vjp, (X, LABELS), wrong=(
        (embedding_without_repeats, "table: WRONG.*it is wrong at ind.* of axis 0, and right elsewhere"),)),
}
