"""The suites by name; a new one is one more entry."""

from purenet.bench.attention_suite import ATTENTION
from purenet.bench.compile_suite import COMPILE
from purenet.bench.contests import Suite
from purenet.bench.conv_suite import CONV
from purenet.bench.gradient_suite import GRADIENT
from purenet.bench.recurrent_suite import RECURRENT
from purenet.bench.shuffle_suite import SHUFFLE
from purenet.bench.startup_suite import STARTUP
from purenet.bench.train_suites import TRAIN_DIGITS, TRAIN_MLP, TRAIN_TINY
from purenet.bench.trust_suite import TRUST
from purenet.bench.wide_suite import TRAIN_WIDE

SUITES: dict[str, Suite] = {
    "train-tiny": TRAIN_TINY,
    "train-digits": TRAIN_DIGITS,
    "train-mlp": TRAIN_MLP,
    "train-wide": TRAIN_WIDE,
    "gradient": GRADIENT,
    "conv": CONV,
    "recurrent": RECURRENT,
    "attention": ATTENTION,
    "trust": TRUST,
    "shuffle": SHUFFLE,
    "compile": COMPILE,
    "startup": STARTUP,
}
