"""A sweep on a Slurm cluster: python docs/examples/slurm_sweep.py GRID.toml DIR [JOBS].

Needs `pip install 'polyseme[cluster]' dask-jobqueue` in an environment that the nodes see. Run it where a process may live as long as the
sweep: in tmux on a login node, or as a small job of its own. Killed, it is started again with the same arguments.
"""

import subprocess
import sys

from dask_jobqueue import SLURMCluster

if __name__ == "__main__":
    grid, out, jobs = sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 64
    cluster = SLURMCluster(
        cores=1,  # one thread for each worker: two in one process wait for each other
        processes=1,
        memory="3GB",
        walltime="04:00:00",
        job_script_prologue=[
            "export SYMPY_GROUND_TYPES=python",
            "export DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED=False",  # sampling of stacks, which costs sixteen percent
        ],
        worker_extra_args=["--lifetime", "230m", "--lifetime-stagger", "5m"],  # end before Slurm kills them
    )
    cluster.adapt(minimum_jobs=1, maximum_jobs=jobs)
    with cluster:
        sys.exit(subprocess.call(["polyseme", "sweep", grid, "--out", out, "--scheduler", cluster.scheduler_address]))
