"""SGD with the weight decay of the papers, and Muon for the kernels of convolutions."""

from __future__ import annotations

from typing import Any

import keras

from .. import backend

# The class that `keras.optimizers.SGD(...)` makes: torch has one of its own that updates all variables at once.
# None is made in full: its variables would start JAX, which cannot join other processes any more then.
_BackendSGD = type(keras.optimizers.SGD.__new__(keras.optimizers.SGD))


@keras.saving.register_keras_serializable("keras_resnet")
class SGD(_BackendSGD):
    """Stochastic gradient descent with momentum and coupled weight decay.

    As in Caffe, in which the papers' networks were trained, the decay is added to the gradient, so it goes through the
    momentum: v = momentum * v - rate * (gradient + decay * w); w = w + v. The `weight_decay` of
    `keras.optimizers.SGD` is decoupled and decays about ten times less.

    Args:
        learning_rate, momentum, nesterov, use_ema, ema_momentum: as in `keras.optimizers.SGD`; the average forgets its
            beginning sooner.
        coupled_decay: the factor.
        decayed: "all" variables, as in Caffe, or "kernels" alone: no batch norm and no bias.
    """

    def __init__(
        self, learning_rate: Any = 0.1, *, coupled_decay: float = 0.0, decayed: str = "all", **arguments: Any
    ) -> None:
        super().__init__(learning_rate, **arguments)
        self.coupled_decay = coupled_decay
        self.decayed = decayed

    @property
    def ema_momentum(self) -> Any:
        """How much of an average a step leaves: as asked for, and less at first.

        It is at most (1 + step) / (10 + step), as in TensorFlow's ExponentialMovingAverage, or the average over a short
        run would be for the most part the random weights that it began with.
        """
        step = keras.ops.cast(self.iterations, "float32")
        at_most = ((1 + step) / (10 + step)) ** (1 / (self.gradient_accumulation_steps or 1))  # behind every part
        return keras.ops.minimum(self._ema_momentum, at_most)

    @ema_momentum.setter
    def ema_momentum(self, value: float) -> None:
        self._ema_momentum = value

    def build(self, variables: list[Any]) -> None:
        """Makes the optimizer's variables, one of each kind a variable."""
        fresh = not self.built
        super().build(variables)
        kinds = "momentums", "_accumulated_gradients", "_model_variables_moving_average"
        for mine in (getattr(self, kind, ()) for kind in kinds if fresh):
            for variable, other in zip(mine, variables, strict=False):  # none of a kind that is not kept
                if variable is not None:
                    backend.match_layout(variable, other)

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Updates the variables by their gradients."""
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        decay = self.coupled_decay / backend.gradient_shares()  # as the gradient is, where devices add theirs up
        chosen = [
            number
            for number, (grad, variable) in enumerate(zip(grads, variables, strict=True))
            if grad is not None and self._decays(variable)
        ]
        if decay:
            decaying = backend.add_decay([grads[n] for n in chosen], [variables[n] for n in chosen], decay)
            add_decay = dict(zip(chosen, decaying, strict=True))
            grads = [add_decay.get(number, grad) for number, grad in enumerate(grads)]
        super().apply(grads, trainable_variables)

    def _decays(self, variable: Any) -> bool:
        return self.decayed == "all" or variable.name == "kernel"

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates a variable, on backends that do so one by one."""
        velocity = self.momentums[self._get_variable_index(variable)] if self.momentum else None
        if velocity is None or not backend.momentum_step(
            variable, velocity, gradient, learning_rate, self.momentum, self.nesterov
        ):
            super().update_step(gradient, variable, learning_rate)

    def _parallel_update_step(self, grads: list[Any], variables: list[Any], learning_rate: Any) -> None:
        """Updates all variables, on backends that do so at once."""
        super()._parallel_update_step(*backend.update_arguments(grads, variables, learning_rate))

    def _update_model_variables_moving_average(self, trainable_variables: list[Any]) -> None:
        """Moves the averages of the variables, all at once on backends that can."""
        kept = zip(self._model_variables_moving_average, trainable_variables, strict=True) if self.use_ema else ()
        pairs = [(average, variable) for average, variable in kept if average is not None]
        if not pairs:
            return
        begun = keras.ops.cast(keras.ops.not_equal(self.iterations, 0), "float32")
        if not backend.move_averages(*zip(*pairs, strict=True), begun * self.ema_momentum):
            super()._update_model_variables_moving_average(trainable_variables)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Leaves the weights as they are at the end of a `fit`, since a run may need another to go on from them.

        `take_averages` does what Keras does here.
        """

    def take_averages(self, variables: list[Any]) -> None:
        """Overwrites the variables with their averages, if this optimizer keeps any."""
        super().finalize_variable_values(variables)

    def get_config(self) -> dict[str, Any]:
        own = {"ema_momentum": self._ema_momentum, "coupled_decay": self.coupled_decay, "decayed": self.decayed}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("keras_resnet")
class Muon(SGD):
    """Muon (Jordan et al. 2024) for the kernels of convolutions, and SGD for all else.

    A kernel is a matrix, of as many columns as filters. What it moves by is its momentum made orthogonal, by the
    Newton-Schulz iteration of `keras.optimizers.Muon`, which takes such kernels for Adam's: so all directions are
    learned alike, those too of which the gradient has little. A step of rate 1 would be as long as the kernel. It keeps
    the length that it had at the beginning, and so needs no decay. Where batch norm follows, direction alone counts;
    elsewhere, as in a gate or where a residual ends in a convolution, the length is not learned. A kernel of zeros
    takes with its first step the length that He's initialisation would have given it.

    Args:
        learning_rate: of all else, the highest one of its schedule being `highest_rate`.
        kernel_rate: that of kernels, while the rate of all else is `highest_rate`; both rise and fall together.
        kernel_momentum: of the kernels' momentum, which is Nesterov's.
        highest_rate: see `kernel_rate`.
        precision: what the products of matrices are computed in, "float32" or "bfloat16".
        **arguments: those of `SGD`.
    """

    STEPS, FACTORS = 5, (3.4445, -4.7750, 2.0315)  # of the iteration, as in the original

    def __init__(
        self,
        learning_rate: Any = 0.1,
        *,
        kernel_rate: float = 0.1,
        kernel_momentum: float = 0.6,
        highest_rate: float = 0.1,
        precision: str = "float32",
        **arguments: Any,
    ) -> None:
        super().__init__(learning_rate, **arguments)
        self.kernel_rate, self.kernel_momentum = kernel_rate, kernel_momentum
        self.highest_rate, self.precision = highest_rate, precision

    def _decays(self, variable: Any) -> bool:
        return super()._decays(variable) and not _turns(variable)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if _turns(variable):
            self._turn(gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)

    def _parallel_update_step(self, grads: list[Any], variables: list[Any], learning_rate: Any) -> None:
        """Updates all variables, on Torch."""
        rest = []
        for gradient, variable in zip(grads, variables, strict=True):
            if _turns(variable):
                self._turn(gradient, variable, learning_rate)
            else:
                rest.append((gradient, variable))
        if rest:
            super()._parallel_update_step(*map(list, zip(*rest, strict=True)), learning_rate)

    def _turn(self, gradient: Any, kernel: Any, learning_rate: Any) -> None:
        """Turns a kernel, which stays as long as it is, unless that is nothing."""
        velocity = self.momentums[self._get_variable_index(kernel)]
        self.assign(velocity, self.kernel_momentum * velocity + gradient)
        ahead = gradient + self.kernel_momentum * velocity
        matrix = keras.ops.reshape(ahead, (-1, kernel.shape[-1]))
        length = keras.ops.norm(keras.ops.reshape(kernel, (-1,)))
        length = keras.ops.where(length == 0, (2 * kernel.shape[-2]) ** 0.5, length)  # He's, by fan-out
        rate = self.kernel_rate * learning_rate / self.highest_rate
        step = keras.ops.reshape(self._orthogonal(matrix), kernel.shape)
        moved = kernel - rate * length / min(matrix.shape) ** 0.5 * step
        reached = keras.ops.norm(keras.ops.reshape(moved, (-1,)))
        self.assign(kernel, moved * (length / keras.ops.where(reached == 0, 1.0, reached)))

    def _orthogonal(self, matrix: Any) -> Any:
        """The orthogonal matrix next to one, nearly: its singular values become 0.7 to 1.2."""
        tall = matrix.shape[0] > matrix.shape[1]
        x = keras.ops.cast(matrix, self.precision)
        x = keras.ops.transpose(x) if tall else x
        x = x / (keras.ops.norm(x) + 1e-7)
        a, b, c = self.FACTORS
        for _ in range(self.STEPS):
            square = keras.ops.matmul(x, keras.ops.transpose(x))
            x = a * x + keras.ops.matmul(b * square + c * keras.ops.matmul(square, square), x)
        return keras.ops.cast(keras.ops.transpose(x) if tall else x, matrix.dtype)

    def get_config(self) -> dict[str, Any]:
        own = ("kernel_rate", "kernel_momentum", "highest_rate", "precision")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def _turns(variable: Any) -> bool:
    """Whether a variable is the kernel of a convolution."""
    return len(variable.shape) == 4
