"""Optimizers that optax lacks, in optax's form: to be passed wherever one of optax's is, and combined with them.

`ftrl` makes sparse models of streams. `newton` takes the whole Hessian of small problems, `newton_cg` products with it,
`gauss_newton` and `levenberg_marquardt` those with its Gauss-Newton part, `kfac` the natural gradient of dense layers.
"""

from purenet.optim.damped import levenberg_marquardt
from purenet.optim.exact_newton import newton
from purenet.optim.generalised import gauss_newton
from purenet.optim.natural import kfac
from purenet.optim.proximal import ftrl
from purenet.optim.truncated_newton import newton_cg

__all__ = ["ftrl", "gauss_newton", "kfac", "levenberg_marquardt", "newton", "newton_cg"]
