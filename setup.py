"""Entry point of the build; what the package is made of stands in pyproject.toml."""

from setuptools import setup

setup()
