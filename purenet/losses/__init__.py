"""Losses of one example, each with its gradient derived by hand."""

from purenet.losses.base import Loss as Loss
from purenet.losses.base import loss as loss
from purenet.losses.classification import hinge as hinge
from purenet.losses.classification import sigmoid_cross_entropy as sigmoid_cross_entropy
from purenet.losses.classification import smoothed_softmax_cross_entropy as smoothed_softmax_cross_entropy
from purenet.losses.classification import softmax_cross_entropy as softmax_cross_entropy
from purenet.losses.likelihoods import gaussian_nll as gaussian_nll
from purenet.losses.likelihoods import poisson_nll as poisson_nll
from purenet.losses.mapped import each as each
from purenet.losses.probabilities import binary_cross_entropy as binary_cross_entropy
from purenet.losses.probabilities import categorical_cross_entropy as categorical_cross_entropy
from purenet.losses.probabilities import hellinger as hellinger
from purenet.losses.probabilities import kl_divergence as kl_divergence
from purenet.losses.regression import exponential_cost as exponential_cost
from purenet.losses.regression import half_squared_error as half_squared_error
from purenet.losses.regression import huber as huber
from purenet.losses.regression import log_cosh as log_cosh
from purenet.losses.regression import mean_absolute_error as mean_absolute_error
from purenet.losses.regression import mean_squared_error as mean_squared_error
