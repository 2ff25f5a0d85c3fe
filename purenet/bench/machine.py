"""Which machine, and which software, the numbers belong to."""

import contextlib
import importlib.metadata
import os
import pathlib
import platform
from collections.abc import Iterator
from typing import NamedTuple

import jax

import purenet


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
      optax: version.
      purenet: version.
      settings: the environment's variables that begin with JAX_.
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
    optax: str
    purenet: str
    settings: dict[str, str]


@contextlib.contextmanager
def choose_device(number: int, dtype: str | None) -> Iterator[None]:
    """Computes on this device, and in 64 bits if the dtype has them.

    Args:
      number: of JAX's devices.
      dtype: such as "float64"; None leaves 64 bits as they are.

    Yields:
      Nothing; what comes within runs there.
    """
    with contextlib.ExitStack() as stack:
        stack.enter_context(jax.default_device(jax.devices()[number]))
        # Compile times are those of compiling, not of a cache that an earlier run has left on the disk.
        stack.callback(jax.config.update, "jax_enable_compilation_cache", jax.config.jax_enable_compilation_cache)
        jax.config.update("jax_enable_compilation_cache", False)
        if dtype == "float64":
            stack.enter_context(jax.enable_x64(True))
        yield


def chosen_device() -> jax.Device:
    """Gives the device that is computed on.

    Returns:
      The chosen one, or JAX's first.
    """
    chosen = jax.config.jax_default_device
    return chosen if isinstance(chosen, jax.Device) else jax.devices()[0]


def find_machine() -> Machine:
    """Looks at this machine.

    Returns:
      What it is.
    """
    device = chosen_device()
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
        optax=importlib.metadata.version("optax"),
        purenet=purenet.__version__,
        settings={name: value for name, value in sorted(os.environ.items()) if name.startswith("JAX_")},
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
