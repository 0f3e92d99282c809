"""Packaging of ``track``: two dependencies, and an extra for everything that not every user needs."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent


def version() -> str:
    """Return the version written in the package, without importing it."""
    text = (ROOT / "track" / "__init__.py").read_text(encoding="utf-8")
    found = re.search(r"""^__version__(?:: *\w+)? *= *["']([^"']+)["']""", text, re.MULTILINE)
    if found is None:
        raise RuntimeError("track/__init__.py has no line __version__ = '...'")
    return found[1]


FEATURES = {
    "rich": ["rich"],
    "pandas": ["pandas"],
    "cockroach": ["psycopg2-binary"],
    "mongodb": ["pymongo"],
    "fsspec": ["fsspec"],
    "em": ["pyyaml"],
    "progress": ["tqdm"],
    "s3": ["s3fs"],
    "encrypted": ["cryptography"],
    "tensorboard": ["tensorboardX"],
    "cometml": ["comet_ml"],
}

DEVELOPMENT = {
    "examples": ["scikit-learn", "rich"],
    "testing": ["pytest", "hypothesis"],
    "benchmarks": ["tensorboardX", "wandb", "trackio", "mlflow", "aim"],
    "docs": ["sphinx", "furo", "myst-parser"],
}

setup(
    name="track",
    version=version(),
    description="Experiment tracking that keeps every number, whatever happens to the process.",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["track", "track.*"]),
    package_data={"track": ["py.typed"]},
    zip_safe=False,
    install_requires=["msgspec>=0.19", "filelock>=3.30"],
    entry_points={"console_scripts": ["track = track.cli:main"]},
    extras_require={
        **FEATURES,
        **DEVELOPMENT,
        "all": sorted({package for packages in FEATURES.values() for package in packages}),
    },
    classifiers=[
        "Intended Audience :: Science/Research",
        "Operating System :: MacOS",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 3",
        "Topic :: Scientific/Engineering :: Artificial Intelligence",
        "Typing :: Typed",
    ],
)
