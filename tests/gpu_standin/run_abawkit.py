"""``abawkit`` with torch's own kernels computed on the host: ``python run_abawkit.py train demo --data curated``."""

from tests.gpu_standin.host_kernels import HostKernels

if __name__ == "__main__":
    from abawkit.cli import main

    with HostKernels():
        main()
