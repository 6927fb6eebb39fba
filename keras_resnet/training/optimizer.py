"""SGD with the weight decay of the papers, and Muon for the kernels of convolutions."""

from __future__ import annotations

from typing import Any

import keras

from .. import backend

# The class of the object that `keras.optimizers.SGD(...)` returns: on torch, one that updates all variables at once.
# Found without `__init__`, which would create variables and so initialise JAX, too early to join other processes.
_BackendSGD: Any = type(keras.optimizers.SGD.__new__(keras.optimizers.SGD))


@keras.saving.register_keras_serializable("keras_resnet")
class SGD(_BackendSGD):
    """Stochastic gradient descent with momentum and coupled weight decay.

    As in Caffe, in which the papers' networks were trained, the decay is added to the gradient and thus accumulates in
    the momentum: v = momentum * v - rate * (gradient + decay * w); w = w + v. The `weight_decay` of
    `keras.optimizers.SGD` is decoupled and, at the same value, decays about ten times less.

    Args:
        learning_rate, momentum, nesterov, use_ema, ema_momentum: as in `keras.optimizers.SGD`, except that the momentum
            of the average is lower at first, see `ema_momentum`.
        coupled_decay: the decay factor.
        decayed: the variables that decay: "all", as in Caffe, or "kernels", without batch norm and biases.
    """

    def __init__(
        self, learning_rate: Any = 0.1, *, coupled_decay: float = 0.0, decayed: str = "all", **arguments: Any
    ) -> None:
        super().__init__(learning_rate, **arguments)
        self.coupled_decay = coupled_decay
        self.decayed = decayed

    @property
    def ema_momentum(self) -> Any:
        """The momentum of the moving average at the current step: the chosen value, but lower at first.

        It is at most (1 + step) / (10 + step), as in TensorFlow's ExponentialMovingAverage; otherwise the average over
        a short run would consist mostly of the random initial weights.
        """
        step = keras.ops.cast(self.iterations, "float32")
        parts = self.gradient_accumulation_steps or 1  # Keras averages after each of them
        limit = ((1 + step) / (10 + step)) ** (1 / parts)
        return keras.ops.minimum(self._ema_momentum, limit)

    @ema_momentum.setter
    def ema_momentum(self, value: float) -> None:
        self._ema_momentum = value

    def build(self, variables: list[Any]) -> None:
        """Creates the optimizer's variables: for each variable one of every kind, of the same memory layout."""
        first_call = not self.built
        super().build(variables)
        kinds = "momentums", "_accumulated_gradients", "_model_variables_moving_average"
        for slots in (getattr(self, kind, ()) for kind in kinds if first_call):
            for slot, variable in zip(slots, variables, strict=False):  # `slots` may be empty
                if slot is not None:
                    backend.match_layout(slot, variable)

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Adds the decay to the gradients and updates the variables."""
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        decay = self.coupled_decay / backend.gradient_shares()  # divided like the gradient, which devices sum up
        decayed = [
            index
            for index, (grad, variable) in enumerate(zip(grads, variables, strict=True))
            if grad is not None and self._decays(variable)
        ]
        if decay:
            sums = backend.add_decay([grads[i] for i in decayed], [variables[i] for i in decayed], decay)
            with_decay = dict(zip(decayed, sums, strict=True))
            grads = [with_decay.get(index, grad) for index, grad in enumerate(grads)]
        super().apply(grads, trainable_variables)

    def _decays(self, variable: Any) -> bool:
        return self.decayed == "all" or variable.name == "kernel"

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Updates a single variable, on backends that update them one by one."""
        velocity = self.momentums[self._get_variable_index(variable)] if self.momentum else None
        if velocity is None or not backend.momentum_step(
            variable, velocity, gradient, learning_rate, self.momentum, self.nesterov
        ):
            super().update_step(gradient, variable, learning_rate)

    def _parallel_update_step(self, grads: list[Any], variables: list[Any], learning_rate: Any) -> None:
        """Updates all variables, on backends that update them at once."""
        super()._parallel_update_step(*backend.update_arguments(grads, variables, learning_rate))

    def _update_model_variables_moving_average(self, trainable_variables: list[Any]) -> None:
        """Updates the moving averages of the variables, all at once on backends that can."""
        averages = zip(self._model_variables_moving_average, trainable_variables, strict=True) if self.use_ema else ()
        pairs = [(average, variable) for average, variable in averages if average is not None]
        if not pairs:
            return
        # As in Keras, the first step replaces the averages by the variables.
        not_first = keras.ops.cast(keras.ops.not_equal(self.iterations, 0), "float32")
        moving, variables = zip(*pairs, strict=True)
        if not backend.move_averages(moving, variables, not_first * self.ema_momentum):
            super()._update_model_variables_moving_average(trainable_variables)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Does nothing: a run may consist of several calls of `fit`, each continuing from the weights of the last.

        Keras replaces the weights by their averages at the end of `fit`; here, `take_averages` does so.
        """

    def take_averages(self, variables: list[Any]) -> None:
        """Replaces the variables by their moving averages, if `use_ema`."""
        super().finalize_variable_values(variables)

    def get_config(self) -> dict[str, Any]:
        config = {"ema_momentum": self._ema_momentum, "coupled_decay": self.coupled_decay, "decayed": self.decayed}
        return {**super().get_config(), **config}


@keras.saving.register_keras_serializable("keras_resnet")
class Muon(SGD):
    """Muon (Jordan et al. 2024) for the kernels of convolutions, and SGD for all other variables.

    A kernel is treated as a matrix with a column for each filter. Its update is the momentum made orthogonal by the
    Newton-Schulz iteration of `keras.optimizers.Muon` (which leaves such kernels to Adam), so that all directions are
    learned equally, even those that are weak in the gradient. With a rate of 1, an update would have the norm of the
    kernel. The norm of a kernel is kept at its initial value, so kernels need no decay. If batch norm follows, only the
    direction of a kernel matters; elsewhere, as in a gate or in a convolution at the end of a residual, its norm is not
    learned. A kernel of zeros gets the norm of He initialisation with its first update.

    Args:
        learning_rate: learning rate of all other variables, or its schedule, whose highest value is `highest_rate`.
        kernel_rate: learning rate of kernels while `learning_rate` is at `highest_rate`; both rise and fall together.
        kernel_momentum: momentum of kernels, in Nesterov's form.
        highest_rate: see `kernel_rate`.
        precision: dtype of the matrix products, "float32" or "bfloat16".
        **arguments: further arguments of `SGD`.
    """

    STEPS, FACTORS = 5, (3.4445, -4.7750, 2.0315)  # of the Newton-Schulz iteration, as in the original

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
        return super()._decays(variable) and not _is_convolution_kernel(variable)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if _is_convolution_kernel(variable):
            self._update_kernel(gradient, variable, learning_rate)
        else:
            super().update_step(gradient, variable, learning_rate)

    def _parallel_update_step(self, grads: list[Any], variables: list[Any], learning_rate: Any) -> None:
        """Updates all variables, on Torch."""
        others: tuple[list[Any], list[Any]] = [], []
        for gradient, variable in zip(grads, variables, strict=True):
            if _is_convolution_kernel(variable):
                self._update_kernel(gradient, variable, learning_rate)
            else:
                others[0].append(gradient)
                others[1].append(variable)
        if others[0]:
            super()._parallel_update_step(*others, learning_rate)

    def _update_kernel(self, gradient: Any, kernel: Any, learning_rate: Any) -> None:
        """Updates the direction of a kernel and keeps its norm, unless that is zero."""
        velocity = self.momentums[self._get_variable_index(kernel)]
        self.assign(velocity, self.kernel_momentum * velocity + gradient)
        nesterov = gradient + self.kernel_momentum * velocity
        matrix = keras.ops.reshape(nesterov, (-1, kernel.shape[-1]))
        norm = keras.ops.norm(keras.ops.reshape(kernel, (-1,)))
        norm = keras.ops.where(norm == 0, (2 * kernel.shape[-2]) ** 0.5, norm)  # of He initialisation, by fan-out
        rate = self.kernel_rate * learning_rate / self.highest_rate
        step = keras.ops.reshape(self._orthogonalize(matrix), kernel.shape)
        updated = kernel - rate * norm / min(matrix.shape) ** 0.5 * step
        new_norm = keras.ops.norm(keras.ops.reshape(updated, (-1,)))
        self.assign(kernel, updated * (norm / keras.ops.where(new_norm == 0, 1.0, new_norm)))

    def _orthogonalize(self, matrix: Any) -> Any:
        """Returns approximately the nearest orthogonal matrix: singular values become 0.7 to 1.2."""
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
        names = ("kernel_rate", "kernel_momentum", "highest_rate", "precision")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _is_convolution_kernel(variable: Any) -> bool:
    return len(variable.shape) == 4
