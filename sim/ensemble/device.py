"""Where a run happens and in which precision."""

import platform

import torch

from polyseme.errors import PolysemeError


def resolve(device: str, dtype: str) -> tuple[torch.device, torch.dtype]:
    """The device and dtype that a regime's [ensemble] asks for by name; PolysemeError if cuda is asked for and is not there.

    `device` is cpu, cuda or auto (cuda where there is one), `dtype` float32 or float64.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise PolysemeError(
            "got device = 'cuda' and torch finds no CUDA device; type device = 'cpu' or 'auto' in [ensemble]"
        )
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(device), torch.float64 if dtype == "float64" else torch.float32


def is_on_gpu(device: str) -> bool:
    """Whether a run on this device, cpu, cuda or auto, happens on a GPU; PolysemeError as `resolve`."""
    return resolve(device, "float64")[0].type == "cuda"


def one_thread() -> None:
    """Compute with one thread in this process: the cores have processes of their own."""
    torch.set_num_threads(1)


def versions() -> dict[str, str | int]:
    """The version of torch, the name of the device that 'auto' chooses and the number of threads."""
    name = torch.cuda.get_device_name() if torch.cuda.is_available() else f"cpu ({platform.machine()})"
    return {"torch": str(torch.__version__), "device": name, "threads": torch.get_num_threads()}
