"""The TypeScript declarations that ship with the browser's modules."""

import subprocess
import sys
from pathlib import Path

from tests.js.test_modules import find_node
from tests.sites import ROOT

TYPES = ROOT / "static" / "notifications" / "types"


def test_the_declarations_are_those_of_the_modules() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "types"), "--check"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_typescript_checks_a_page_that_imports_them() -> None:
    compiler = ROOT / "node_modules" / "typescript" / "bin" / "tsc"
    consumer = Path(__file__).with_name("consumer.ts")
    options = ["--noEmit", "--strict", "--target", "ES2022", "--module", "ES2022"]
    options += ["--moduleResolution", "bundler", "--lib", "ES2022,DOM", "--types", ""]
    command = [find_node(), str(compiler), "--ignoreConfig", *options, str(consumer)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
