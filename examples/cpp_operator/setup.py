"""Compiles the operator with torch's own builder: C++, and CUDA where torch is built for it and nvcc is found."""

import torch
from setuptools import setup
from torch.utils.cpp_extension import CUDA_HOME, BuildExtension, CppExtension, CUDAExtension

name, cpp, cuda = "abawkit_example_cpp._pool", "src/abawkit_example_cpp/pool.cpp", "src/abawkit_example_cpp/pool.cu"
if CUDA_HOME and torch.version.cuda:
    flags = {"cxx": ["-O3"], "nvcc": ["-O3", "-DUSE_CUDA"]}
    module = CUDAExtension(name, [cpp, cuda], extra_compile_args=flags)  # type: ignore[no-untyped-call]
else:
    module = CppExtension(name, [cpp], extra_compile_args=["-O3"])  # type: ignore[no-untyped-call]
setup(ext_modules=[module], cmdclass={"build_ext": BuildExtension})
