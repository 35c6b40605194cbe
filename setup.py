"""Only what pyproject.toml can't say: the native kernels, optional and built where a C++ compiler is."""

from pathlib import Path

from setuptools import Extension, setup

SOURCES = sorted(str(path) for path in Path("src/handful/model/ops/native").glob("*.cpp"))

setup(
    ext_modules=[
        # A plain shared library with a C interface, loaded with ctypes: it links neither Python nor torch, so it
        # survives upgrades of both. Instruction sets are chosen at run time, function by function. OpenMP's symbols
        # stay open on purpose: they are resolved to the runtime that torch has brought, so both share one thread pool.
        Extension(
            "handful.model.ops.native._kernels",
            sources=SOURCES,
            depends=[str(path) for path in Path("src/handful/model/ops/native").glob("*.h")],
            language="c++",
            extra_compile_args=[
                *("-O3", "-std=c++17", "-fopenmp", "-fno-math-errno", "-fvisibility=hidden", "-Wall"),
                *("-Wno-uninitialized", "-Wno-maybe-uninitialized"),  # GCC 12 warns of its own <immintrin.h>
            ],
            optional=True,
        )
    ]
)
