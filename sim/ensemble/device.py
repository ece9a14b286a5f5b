"""Where a run happens and in which precision."""

import platform

import torch

from polyseme.errors import PolysemeError
from polyseme.theory.multi_concept.regime import Regime


def resolve(regime: Regime) -> tuple[torch.device, torch.dtype]:
    """The device and dtype that [ensemble] asks for; PolysemeError if cuda is asked for and is not there."""
    wanted = regime.ensemble.device
    if wanted == "cuda" and not torch.cuda.is_available():
        raise PolysemeError(
            "got device = 'cuda' and torch finds no CUDA device; type device = 'cpu' or 'auto' in [ensemble]"
        )
    if wanted == "auto":
        wanted = "cuda" if torch.cuda.is_available() else "cpu"
    dtype = torch.float64 if regime.ensemble.dtype == "float64" else torch.float32
    return torch.device(wanted), dtype


def is_on_gpu(regime: Regime) -> bool:
    """Whether a run of this regime happens on a GPU; PolysemeError as `resolve`."""
    return resolve(regime)[0].type == "cuda"


def one_thread() -> None:
    """Compute with one thread in this process: the cores have processes of their own."""
    torch.set_num_threads(1)


def versions() -> dict[str, str | int]:
    """The version of torch, the name of the device that 'auto' chooses and the number of threads."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})"
    return {"torch": str(torch.__version__), "device": name, "threads": torch.get_num_threads()}
