"""Which machine, and which software, the numbers belong to."""

import importlib.metadata
import os
import pathlib
import platform
from typing import NamedTuple

import jax


class Machine(NamedTuple):
    """Where the numbers come from.

    Attributes:
      device: what JAX computes on: a CPU's model, or an accelerator's kind.
      platform: JAX's word for it: "cpu", "gpu" or "tpu".
      devices: how many of them JAX sees.
      cores: CPU cores that this process may use.
      load: how many processes wanted a core, averaged over the minute before; None where unknown.
      system: operating system and processor family.
      python: version.
      jax: version.
      jaxlib: version.
      xla_flags: the environment's XLA_FLAGS.
    """

    device: str
    platform: str
    devices: int
    cores: int
    load: float | None
    system: str
    python: str
    jax: str
    jaxlib: str
    xla_flags: str


def find_machine() -> Machine:
    """Looks at this machine.

    Returns:
      What it is.
    """
    device = jax.devices()[0]
    return Machine(
        device=_cpu_model() if device.platform == "cpu" else device.device_kind,
        platform=device.platform,
        devices=jax.device_count(),
        cores=_cores(),
        load=round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        jax=importlib.metadata.version("jax"),
        jaxlib=importlib.metadata.version("jaxlib"),
        xla_flags=os.environ.get("XLA_FLAGS", ""),
    )


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_model() -> str:
    """Gives the name that Linux has for the processor, or Python's."""
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return next(iter(names), platform.processor() or platform.machine())
