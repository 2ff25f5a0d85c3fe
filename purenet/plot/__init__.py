"""Pictures with Matplotlib, which is imported when the first one is made: `pip install "purenet[plot]"`.

Each function takes an Axes or a Figure to draw on, or makes one, and returns it; nothing touches pyplot.

Training: `history`, `loss_surface`, `gradient_noise`. Descent: `descent`, `regression_lines`, `regression_surface`.
Networks: `network` draws the layers and what goes from one to the other, `units` every unit of a small one, `weights`
the first layer's as images, `activation`, `relu_sum`. Classifiers: `decision`, `confusion`.
Watch it learn: `report` writes a page with a slider over the epochs, `film` a GIF or MP4.
"""

from purenet.plot.curves import activation
from purenet.plot.decisions import decision
from purenet.plot.descents import descent
from purenet.plot.diagrams import units
from purenet.plot.filming import film
from purenet.plot.histories import history
from purenet.plot.images import weights
from purenet.plot.kinks import relu_sum
from purenet.plot.landscapes import loss_surface
from purenet.plot.matrices import confusion
from purenet.plot.networks import network
from purenet.plot.noises import gradient_noise
from purenet.plot.regressing import regression_lines, regression_surface
from purenet.plot.reporting import report

__all__ = [
    "activation",
    "confusion",
    "decision",
    "descent",
    "film",
    "gradient_noise",
    "history",
    "loss_surface",
    "network",
    "regression_lines",
    "regression_surface",
    "relu_sum",
    "report",
    "units",
    "weights",
]
