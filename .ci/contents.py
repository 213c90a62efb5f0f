"""What the distributions must hold:   python .ci/contents.py FOLDER"""

from pathlib import Path
import sys
import tarfile
import zipfile

ROOT = Path(__file__).parents[1]


def files(*patterns: str) -> set[str]:
    """Files of the checkout."""
    paths = (path for pattern in patterns for path in ROOT.glob(pattern))
    return {str(path.relative_to(ROOT)) for path in paths if "__pycache__" not in path.parts}


def main(folder: Path) -> int:
    sdist, wheel = next(folder.glob("*.tar.gz")), next(folder.glob("*.whl"))
    with tarfile.open(sdist) as archive:
        inside = {name.partition("/")[2] for name in archive.getnames()}
    package = files("refdpm/**/*.py", "refdpm/py.typed")
    missing = (package | files("tests/**/*.py", "validation/**/*.py", "validation/vectors/**/*.*")) - inside
    with zipfile.ZipFile(wheel) as archive:
        inside = {name.replace(".data/data/share/refdpm/", "!").rpartition("!")[2] for name in archive.namelist()}
        scripts = next(archive.read(name).decode() for name in archive.namelist() if name.endswith("entry_points.txt"))
    vectors = {name.removeprefix("validation/") for name in files("validation/vectors/**/*.*")}
    missing |= (package | vectors) - inside
    missing |= set() if "refdpm = refdpm.__main__:run" in scripts else {"the command refdpm"}
    missing |= set() if "refdpm.pytest_plugin = refdpm.pytest_plugin" in scripts else {"the plug-in for pytest"}
    print("\n".join(f"missing: {name}" for name in sorted(missing)) or f"{sdist.name}, {wheel.name}: all there")
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
