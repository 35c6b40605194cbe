"""Only what pyproject.toml can't say: the native kernels, optional and built where a C++ compiler is."""

from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel

SOURCES = sorted(str(path) for path in Path("src/handful/model/ops/native").glob("*.cpp"))


class Wheel(bdist_wheel):
    """A wheel for every Python: the kernels know none. Without kernels it is one for every machine, too."""

    def get_tag(self) -> tuple[str, str, str]:
        """The tags of the wheel: Python, its binary interface, platform."""
        has_kernels = any(Path(self.bdist_dir).rglob("_kernels*.so"))
        return "py3", "none", super().get_tag()[2] if has_kernels else "any"


setup(
    cmdclass={"bdist_wheel": Wheel},
    ext_modules=[
        # A plain shared library with a C interface, loaded with ctypes: it links neither Python nor torch, so it
        # survives upgrades of both. Instruction sets are chosen at run time, function by function.
        Extension(
            "handful.model.ops.native._kernels",
            sources=SOURCES,
            depends=[str(path) for path in Path("src/handful/model/ops/native").glob("*.h")],
            language="c++",
            extra_compile_args=[
                *("-O3", "-g0", "-std=c++20", "-pthread", "-fno-math-errno", "-fvisibility=hidden", "-Wall"),
                *("-Wno-uninitialized", "-Wno-maybe-uninitialized"),  # GCC 12 warns of its own <immintrin.h>
            ],
            optional=True,
        )
    ],
)
