"""Builds and checks the container images: python3 images build | check | prune."""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import check
from base import BASE, provide_base
from builders import Build, Builder, choose
from machine import certificates
from progress import BuildError, say

REPOSITORY = Path(__file__).resolve().parent.parent
IMAGES = ("operator", "trainer")


def reference(name: str, tag: str) -> str:
    return f"localhost/lepton/{name}:{tag}"


def revision() -> str:
    """The commit that is checked out; `-dirty` if what goes into the images differs."""
    git = ["git", "-C", str(REPOSITORY)]
    shipped = ["images", "operator", "requirements", "pyproject.toml"]
    try:
        head = subprocess.run([*git, "rev-parse", "HEAD"], text=True, capture_output=True)
        changes = subprocess.run(
            [*git, "status", "--porcelain", "--", *shipped], text=True, capture_output=True
        )
    except FileNotFoundError:
        return "unknown"
    if head.returncode:
        return "unknown"
    return head.stdout.strip() + ("-dirty" if changes.stdout else "")


def version() -> str:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return str(project["version"])


def build(builder: Builder, names: list[str], tag: str, refresh_base: bool) -> None:
    provide_base(builder, refresh_base)
    arguments = {"BASE": BASE, "VERSION": version(), "REVISION": revision()}
    for name in names:
        image = reference(name, tag)
        start = time.monotonic()
        say(f"{image}: building with {builder.name}")
        before = builder.identity(image)
        builder.build(
            Build(
                containerfile=REPOSITORY / "images" / name / "Containerfile",
                context=REPOSITORY,
                image=image,
                arguments=arguments,
                certificates=certificates(),
                log=REPOSITORY / "build" / "images" / f"{name}.log",
            )
        )
        # The image that lost its tag; what it shares with the new one stays.
        if before and before != builder.identity(image):
            builder.remove(before)
        say(f"{image}: {builder.size(image)}, built in {time.monotonic() - start:.1f} s")


def verify(builder: Builder, names: list[str], tag: str) -> int:
    wrong = 0
    for name in names:
        image = reference(name, tag)
        if not builder.exists(image):
            raise BuildError(f"{image} is not there: run `python3 images build {name}`")
        start = time.monotonic()
        complaints = check.complaints(builder, image, name)
        for complaint in complaints:
            say(f"  {complaint}")
        wrong += len(complaints)
        state = f"{len(complaints)} complaints" if complaints else "as it should be"
        say(f"{image}: {state}, checked in {time.monotonic() - start:.1f} s")
    return 1 if wrong else 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python3 images", description=__doc__)
    verbs = parser.add_subparsers(dest="verb", required=True)
    for verb, summary in (
        ("build", "build images, with the builder and the base image provided where they lack"),
        ("check", "look through every layer for what must not be there, and run the image"),
        ("prune", "remove images that no tag needs, kept as cache for the next build"),
    ):
        command = verbs.add_parser(verb, help=summary, description=summary)
        command.add_argument(
            "--builder", choices=("buildah", "docker"), help="the one that is there, if not given"
        )
        if verb != "prune":
            command.add_argument(
                "names", nargs="*", metavar="NAME", help=f"of {', '.join(IMAGES)}; all if not given"
            )
            command.add_argument("--tag", default="dev", help="dev if not given")
        if verb == "build":
            command.add_argument(
                "--refresh-base", action="store_true", help="get a newer base image first"
            )
    options = parser.parse_args()
    names: list[str] = getattr(options, "names", []) or list(IMAGES)
    for name in names:
        if name not in IMAGES:
            parser.error(f"there is no image {name!r}: it is one of {', '.join(IMAGES)}")
    try:
        builder = choose(options.builder)
        if options.verb == "build":
            build(builder, names, options.tag, options.refresh_base)
        elif options.verb == "check":
            return verify(builder, names, options.tag)
        else:
            builder.prune()
    except BuildError as why:
        print(f"images: {why}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
