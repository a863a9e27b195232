"""``abawkit`` with torch's own kernels computed on the host: ``python run_abawkit.py train demo --data curated``."""

from tests.gpu_standin.host_kernels import host_kernels_in_all_threads

if __name__ == "__main__":
    from abawkit.cli import main

    with host_kernels_in_all_threads():
        main()
