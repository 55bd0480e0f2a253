#!/usr/bin/env python3
"""Puts the ONNX Runtime library where the engine finds it: target/onnxruntime/.

Takes the one library out of the project's Python wheel, checked by SHA-256, with its licence
texts. Needs Python 3.8 or newer with pip, and nothing else. Does nothing if the library is there.
"""

import argparse
import hashlib
import os
import platform
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

VERSION = "1.31.1"
ROOT = Path(__file__).resolve().parents[2]

# Per machine: the wheel's platform tag and SHA-256, then the library in it, its SHA-256, and the
# name that the engine looks for.
LINUX_LIBRARY = f"onnxruntime/capi/libonnxruntime.so.{VERSION}"
MAC_LIBRARY = f"onnxruntime/capi/libonnxruntime.{VERSION}.dylib"
BUILDS = {
    ("Linux", "x86_64"): {
        "platform": "manylinux_2_28_x86_64",
        "wheel_sha256": "5752bd508126ae7c49894d3b9d2e83f0c3d487319246d04c444b393308d7ad7f",
        "member": LINUX_LIBRARY,
        "library_sha256": "fc44112fbe06d7d689c57e11d3862031f64711007e4ee020f8eed5185fd2c1d3",
        "name": "libonnxruntime.so",
    },
    ("Linux", "aarch64"): {
        "platform": "manylinux_2_28_aarch64",
        "wheel_sha256": "da05378364c44d4407e463982d2bf8d5e4cfea873283757e48beeb41df97b7f3",
        "member": LINUX_LIBRARY,
        "library_sha256": "8aa3b76b28c778a2b1dd660d34161adb1d508c9ccd04ff9dc80e26eca5df8467",
        "name": "libonnxruntime.so",
    },
    ("Darwin", "arm64"): {
        "platform": "macosx_14_0_arm64",
        "wheel_sha256": "60b6b69bfe580eab576cacc5d132a0e9cf2a37fcfd18d46dd191042b1d1ed0d7",
        "member": MAC_LIBRARY,
        "library_sha256": "f8b06155feece624e55e49124340eea279da812529ae6fbc46a9f2be9c9cad2e",
        "name": "libonnxruntime.dylib",
    },
}
LICENCES = {
    "onnxruntime/LICENSE": "LICENSE",
    "onnxruntime/ThirdPartyNotices.txt": "ThirdPartyNotices.txt",
}


class Failed(Exception):
    """What went wrong, and what to do about it."""


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--into",
        type=Path,
        default=ROOT / "target" / "onnxruntime",
        metavar="DIR",
        help="where to put the library (default: target/onnxruntime)",
    )
    parser.add_argument(
        "--wheel",
        type=Path,
        metavar="FILE",
        help="take this wheel, fetched elsewhere, and do not use the network",
    )
    parser.add_argument(
        "--machine",
        metavar="SYSTEM-CPU",
        help="fetch for another machine than this one: "
        + ", ".join("-".join(machine) for machine in BUILDS),
    )
    options = parser.parse_args()
    try:
        fetch(options)
    except Failed as failure:
        sys.exit(f"onnxruntime: {failure}")
    except OSError as failure:
        sys.exit(
            f"onnxruntime: {failure}\n"
            f"  check that the disk has 100 MB free and that you may write to {options.into}"
        )
    except KeyboardInterrupt:
        sys.exit("onnxruntime: stopped; nothing was changed, run it again to go on")


def fetch(options):
    build = build_for(options.machine)
    library = options.into / build["name"]
    good = library.is_file() and sha256(library) == build["library_sha256"]
    if good and all((options.into / name).is_file() for name in LICENCES.values()):
        say(f"{library} is there (ONNX Runtime {VERSION}), nothing to do")
        return
    if library.exists() and not good:
        say(f"{library} is not ONNX Runtime {VERSION}: it will be replaced")
    options.into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="onnxruntime-") as scratch:
        if options.wheel:
            if not options.wheel.is_file():
                raise Failed(f"there is no file {options.wheel}")
            wheel = options.wheel
        else:
            wheel = download(build, Path(scratch))
        check_wheel(wheel, build, fetched_by_hand=bool(options.wheel))
        say("unpacking the library")
        with zipfile.ZipFile(wheel) as archive:
            for member, name in LICENCES.items():
                extract(archive, member, options.into / name, mode=0o644)
            extract(archive, build["member"], library, 0o755, build["library_sha256"])
    say(f"done: {library} ({library.stat().st_size / 1e6:.0f} MB)")


def build_for(machine):
    if machine:
        build = BUILDS.get(tuple(machine.split("-", 1)))
        if build is None:
            known = ", ".join("-".join(known) for known in BUILDS)
            raise Failed(f"`--machine {machine}` is unknown: use one of {known}")
        return build
    system = platform.system()
    cpu = platform.machine()
    build = BUILDS.get((system, cpu))
    if build is None:
        raise Failed(
            f"there is no ready library of ONNX Runtime {VERSION} for {system} on {cpu}\n"
            "  there is one for Linux on x86_64 and aarch64, and for macOS 14 or newer on Apple silicon;\n"
            "  elsewhere, build ONNX Runtime yourself and set ORT_DYLIB_PATH to its library"
        )
    if system == "Darwin" and int(platform.mac_ver()[0].split(".")[0] or 0) < 14:
        raise Failed(
            f"the ready library of ONNX Runtime {VERSION} needs macOS 14 or newer: update, or build "
            "ONNX Runtime yourself and set ORT_DYLIB_PATH to its library"
        )
    if system == "Linux" and not glibc_is_new_enough():
        raise Failed(
            f"the ready library of ONNX Runtime {VERSION} needs glibc 2.28 or newer, and this system has another C library\n"
            "  use a system such as Debian 10, Ubuntu 20.04, RHEL 8 or newer,\n"
            "  or build ONNX Runtime yourself and set ORT_DYLIB_PATH to its library"
        )
    return build


def glibc_is_new_enough():
    name, version = platform.libc_ver()
    if name != "glibc":
        return False
    major, minor = (version.split(".") + ["0"])[:2]
    return (int(major), int(minor)) >= (2, 28)


def pip_command(build, into):
    return [
        sys.executable, "-m", "pip", "download",
        "--no-deps", "--only-binary", ":all:", "--disable-pip-version-check",
        "--implementation", "cp", "--python-version", "3.11",
        "--platform", build["platform"],
        "--dest", str(into),
        f"onnxruntime=={VERSION}",
    ]  # fmt: skip


def download(build, scratch):
    say(f"fetching ONNX Runtime {VERSION} for {build['platform']} with pip (about 20 MB)")
    result = subprocess.run(pip_command(build, scratch))
    if result.returncode != 0:
        by_hand = " ".join(["python3", *pip_command(build, "DIR")[1:]])
        raise Failed(
            f"pip could not fetch it (exit code {result.returncode}); pip's own words are above\n"
            "  - `No module named pip`: install pip (Debian: apt-get install python3-pip)\n"
            "  - no network: check it, and the proxy or index that pip is set up for (`python3 -m pip config list`)\n"
            "  - a closed network: fetch the wheel on another machine with\n"
            f"      {by_hand}\n"
            f"    then run `python3 {relative(Path(__file__))} --wheel DIR/<the file>`"
        )
    wheels = list(scratch.glob("*.whl"))
    if len(wheels) != 1:
        raise Failed(f"pip was to bring one wheel and brought {len(wheels)}: run it again")
    return wheels[0]


def check_wheel(wheel, build, fetched_by_hand):
    say("checking its SHA-256")
    found = sha256(wheel)
    if found == build["wheel_sha256"]:
        return
    advice = (
        f"give the wheel of onnxruntime {VERSION} for CPython 3.11 and {build['platform']}"
        if fetched_by_hand
        else "the download may be damaged or the index may hold another file: empty pip's cache "
        "(`python3 -m pip cache purge`) and run it again; if it stays, do not use this index"
    )
    raise Failed(
        f"the wheel {wheel.name} is not the one expected, and was not used\n"
        f"  expected SHA-256 {build['wheel_sha256']}\n"
        f"  found            {found}\n"
        f"  {advice}"
    )


def extract(archive, member, target, mode, expected_sha256=None):
    """Writes beside the target and renames, so that no half-written file is ever seen."""
    with tempfile.NamedTemporaryFile(dir=target.parent, prefix=".fetch-", delete=False) as part:
        partial = Path(part.name)
        try:
            with archive.open(member) as source:
                shutil.copyfileobj(source, part, 1 << 20)
            part.flush()
            os.fsync(part.fileno())
            if expected_sha256 and sha256(partial) != expected_sha256:
                raise Failed(f"`{member}` came out damaged: run it again")
            partial.chmod(mode)
            os.replace(partial, target)
        except BaseException:
            partial.unlink()
            raise


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        for block in iter(lambda: file.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()


def relative(path):
    try:
        return path.resolve().relative_to(Path.cwd())
    except ValueError:
        return path


def say(text):
    print(f"onnxruntime: {text}", flush=True)


if __name__ == "__main__":
    main()
