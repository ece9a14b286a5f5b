"""Words and labels without writing them out: what one step asks of them, as a mean part and a noise part (section 1).

The model meets demonstrations x_l, y_l in four sums alone: logits x_l . u, the pooled label sum_l p_l y_l, scores y_l . dv,
and the pull sum_l ds_l x_l. Words that are sums of few features, and Gaussian noise, answer them without a tensor of
L vectors for each prompt.
"""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from polyseme.sim.multi_concept.prompts.tensors import Dictionaries


@runtime_checkable
class Means(Protocol):
    """The noise-free part of T kinds of demonstrations, and of the query."""

    @property
    def query(self) -> Float[Tensor, "E B d_x"]:
        """The query's word."""
        ...

    def logits(self, u: Float[Tensor, "E B d_x"]) -> Float[Tensor, "E B T"]:
        """x_l . u"""
        ...

    def pooled(self, p: Float[Tensor, "E B T"]) -> Float[Tensor, "E B d_y"]:
        """sum_l p_l y_l"""
        ...

    def scores(self, dv: Float[Tensor, "E B d_y"]) -> Float[Tensor, "E B T"]:
        """y_l . dv"""
        ...

    def pull(self, ds: Float[Tensor, "E B T"]) -> Float[Tensor, "E B d_x"]:
        """sum_l ds_l x_l"""
        ...


class OneConcept:
    """Pure words: every demonstration is mu_k^+ or mu_k^-, with label q_k^+ or q_k^-."""

    def __init__(
        self,
        dictionaries: Dictionaries,
        concept: Int[Tensor, "E B"],
        e: Float[Tensor, "E B"],
        positive: Bool[Tensor, "E B T"],
    ) -> None:
        """`positive`: which demonstrations have the sign +."""
        self._positive = positive
        words, labels, column = dictionaries.words, dictionaries.labels, 2 * concept
        self._words, self._labels = (words[column], words[column + 1]), (labels[column], labels[column + 1])
        self.query = torch.where((e > 0).unsqueeze(-1), *self._words)

    def logits(self, u: Tensor) -> Tensor:
        """As in `Means`."""
        return self._of_sign(*(_dot(word, u) for word in self._words))

    def pooled(self, p: Tensor) -> Tensor:
        """As in `Means`."""
        return self._sum(p, self._labels)

    def scores(self, dv: Tensor) -> Tensor:
        """As in `Means`."""
        return self._of_sign(*(_dot(label, dv) for label in self._labels))

    def pull(self, ds: Tensor) -> Tensor:
        """As in `Means`."""
        return self._sum(ds, self._words)

    def _of_sign(self, plus: Tensor, minus: Tensor) -> Tensor:
        return torch.where(self._positive, plus, minus)

    def _sum(self, weight: Tensor, vectors: tuple[Tensor, Tensor]) -> Tensor:
        shares = (torch.where(signs, weight, 0).sum(-1, keepdim=True) for signs in (self._positive, ~self._positive))
        plus, minus = (share * vector for share, vector in zip(shares, vectors, strict=True))
        return plus + minus


class ManyFeatures:
    """Words with extra features: x = M z and y = Q z for a code z of zeros and ones."""

    def __init__(self, dictionaries: Dictionaries, code: Float[Tensor, "E B words features"]) -> None:
        """The query's code is the last."""
        self._words, self._labels = dictionaries.words, dictionaries.labels
        self._code = code[:, :, :-1]
        self._label_code = self._code[..., : len(self._labels)]
        self.query = code[:, :, -1] @ self._words

    def logits(self, u: Tensor) -> Tensor:
        """As in `Means`."""
        return _dots(self._code, u @ self._words.T)

    def pooled(self, p: Tensor) -> Tensor:
        """As in `Means`."""
        return _mix(p, self._label_code) @ self._labels

    def scores(self, dv: Tensor) -> Tensor:
        """As in `Means`."""
        return _dots(self._label_code, dv @ self._labels.T)

    def pull(self, ds: Tensor) -> Tensor:
        """As in `Means`."""
        return _mix(ds, self._code) @ self._words


@runtime_checkable
class WordNoise(Protocol):
    """Gaussian noise on words, with its standard deviation."""

    @property
    def query(self) -> Float[Tensor, "E B d_x"]:
        """On the query."""
        ...

    def logits(self, u: Float[Tensor, "E B d_x"]) -> Float[Tensor, "E B L"]:
        """What it adds to x_l . u."""
        ...

    def pull(self, ds: Float[Tensor, "E B L"], u: Float[Tensor, "E B d_x"]) -> Float[Tensor, "E B d_x"]:
        """What it adds to sum_l ds_l x_l, given the logits at this u."""
        ...


@runtime_checkable
class LabelNoise(Protocol):
    """Gaussian noise on labels, with its standard deviation."""

    def pooled(self, p: Float[Tensor, "E B L"]) -> Float[Tensor, "E B d_y"]:
        """What it adds to sum_l p_l y_l."""
        ...

    def scores(self, dv: Float[Tensor, "E B d_y"], p: Float[Tensor, "E B L"]) -> Float[Tensor, "E B L"]:
        """What it adds to y_l . dv, given the pooled label at this p."""
        ...


class LiteralWordNoise:
    """A vector for every word."""

    def __init__(self, sigma: float, noise: Float[Tensor, "E B words d_x"]) -> None:
        """Standard normals; the query's is the last."""
        self._sigma, self._noise, self.query = sigma, noise[:, :, :-1], sigma * noise[:, :, -1]

    def logits(self, u: Tensor) -> Tensor:
        """As in `WordNoise`."""
        return self._sigma * _dots(self._noise, u)

    def pull(self, ds: Tensor, u: Tensor) -> Tensor:
        """As in `WordNoise`."""
        del u
        return self._sigma * _mix(ds, self._noise)


class LiteralLabelNoise:
    """A vector for every label."""

    def __init__(self, sigma: float, noise: Float[Tensor, "E B L d_y"]) -> None:
        """Standard normals, one vector for each demonstration."""
        self._sigma, self._noise = sigma, noise

    def pooled(self, p: Tensor) -> Tensor:
        """As in `LabelNoise`."""
        return self._sigma * _mix(p, self._noise)

    def scores(self, dv: Tensor, p: Tensor) -> Tensor:
        """As in `LabelNoise`."""
        del p
        return self._sigma * _dots(self._noise, dv)


@dataclass(frozen=True, kw_only=True)
class ReducedWordNoise:
    """What a step sees of isotropic noise xi_1..xi_L: L logits and one vector.

    The xi_l . u are independent N(0, |u|^2). Given them, the xi_l are free across u alone, and ds depends on nothing else of
    them: sum_l ds_l xi_l is its part along u, which is known, and |ds| times a standard normal across u.
    """

    sigma: float
    query: Float[Tensor, "E B d_x"]
    along: Float[Tensor, "E B L"]
    across: Float[Tensor, "E B d_x"]
    projected: bool = True

    def logits(self, u: Tensor) -> Tensor:
        """As in `WordNoise`."""
        return self.sigma * _norm(u) * self.along

    def pull(self, ds: Tensor, u: Tensor) -> Tensor:
        """As in `WordNoise`."""
        unit = u * _inverse(_norm(u))
        across = self.across - unit * _dot(unit, self.across) if self.projected else self.across
        return self.sigma * (unit * _dot(ds, self.along) + _norm(ds) * across)


@dataclass(frozen=True, kw_only=True)
class ReducedLabelNoise:
    """What a step sees of isotropic noise zeta_1..zeta_L: one vector and L scores.

    sum_l p_l zeta_l is N(0, |p|^2 I). Given it, the zeta_l are free across p alone, and dv depends on nothing else of them:
    the zeta_l . dv are p_l / |p|^2 times that of the sum, and |dv| times a standard normal across p. `projected` as for words.
    """

    sigma: float
    together: Float[Tensor, "E B d_y"]
    apart: Float[Tensor, "E B L"]
    projected: bool = True

    def pooled(self, p: Tensor) -> Tensor:
        """As in `LabelNoise`."""
        return self.sigma * _norm(p) * self.together

    def scores(self, dv: Tensor, p: Tensor) -> Tensor:
        """As in `LabelNoise`."""
        unit = p / _norm(p)  # a softmax is never zero
        apart = self.apart - unit * _dot(unit, self.apart) if self.projected else self.apart
        return self.sigma * (unit * _dot(self.together, dv) + _norm(dv) * apart)


def _dot(a: Tensor, b: Tensor) -> Tensor:
    """a . b over the last axis, which stays with length 1."""
    return (a * b).sum(-1, keepdim=True)


def _dots(vectors: Tensor, one: Tensor) -> Tensor:
    """The products of T vectors (E, B, T, n) with one (E, B, n)."""
    return (vectors * one.unsqueeze(-2)).sum(-1)


def _mix(weight: Tensor, vectors: Tensor) -> Tensor:
    """sum over T of weight (E, B, T) times vectors (E, B, T, n)."""
    return (weight.unsqueeze(-1) * vectors).sum(-2)


def _norm(a: Tensor) -> Tensor:
    return _dot(a, a).sqrt()


def _inverse(size: Tensor) -> Tensor:
    """1 / size, and 0 for 0: where there is no direction there is nothing along it."""
    return torch.where(size > 0, 1 / torch.where(size > 0, size, 1), 0)
