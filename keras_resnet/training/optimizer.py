"""SGD with the weight decay of the papers."""

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
        learning_rate, momentum, nesterov, use_ema, ema_momentum: as in `keras.optimizers.SGD`.
        coupled_decay: the factor.
        decayed: "all" variables, as in Caffe, or "kernels" alone: no batch norm and no bias.
    """

    def __init__(
        self, learning_rate: float = 0.1, *, coupled_decay: float = 0.0, decayed: str = "all", **arguments: Any
    ) -> None:
        super().__init__(learning_rate, **arguments)
        self.coupled_decay = coupled_decay
        self.decayed = decayed

    def apply(self, grads: list[Any], trainable_variables: list[Any] | None = None) -> None:
        """Updates the variables by their gradients."""
        variables = self._trainable_variables if trainable_variables is None else trainable_variables
        decay = self.coupled_decay / backend.gradient_shares()  # as the gradient is, where devices add theirs up
        grads = [
            grad + decay * keras.ops.convert_to_tensor(variable)
            if grad is not None and (self.decayed == "all" or variable.name == "kernel")
            else grad
            for grad, variable in zip(grads, variables, strict=True)
        ]
        super().apply(grads, trainable_variables)

    def finalize_variable_values(self, var_list: list[Any]) -> None:
        """Leaves the weights as they are at the end of a `fit`, since a run may need another to go on from them.

        `take_averages` does what Keras does here.
        """

    def take_averages(self, variables: list[Any]) -> None:
        """Overwrites the variables with their averages, if this optimizer keeps any."""
        super().finalize_variable_values(variables)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "coupled_decay": self.coupled_decay, "decayed": self.decayed}
