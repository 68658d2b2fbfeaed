"""What is transferred: a file or a folder of random bytes, made once, and compared with every result."""

import os

MIB = 1 << 20
PER_FOLDER = 200  # files


def make(path, size, files):
    """A file of `size` bytes; with `files`, a folder of so many files of that size in all, in folders of some hundreds."""
    if files == 0:
        fill(path, size)
    for number in range(files):
        inner = os.path.join(path, f"{number // PER_FOLDER:04}")
        os.makedirs(inner, exist_ok=True)
        fill(os.path.join(inner, f"{number:06}"), size // files)
    os.sync()


def fill(path, size):
    """One file of `size` random bytes."""
    with open(path, "wb", buffering=0) as file:
        for at in range(0, size, MIB):
            file.write(os.urandom(min(MIB, size - at)))


def contents(path):
    """The files below `path`, by their names below it; a file is itself."""
    if os.path.isfile(path):
        return [""]
    return sorted(
        os.path.relpath(os.path.join(folder, name), path) for folder, _, names in os.walk(path) for name in names
    )


def blocks(path):
    """The file's bytes, by the MiB."""
    with open(path, "rb", buffering=0) as file:
        while block := file.read(MIB):
            yield block


def warm(path):
    """Reads all, so that it is in the page cache."""
    for name in contents(path):
        for _ in blocks(os.path.join(path, name) if name else path):
            pass


def same(one, other):
    """Whether two files, or two folders, have the same bytes under the same names."""
    if not os.path.exists(other) or os.path.isdir(one) != os.path.isdir(other):
        return False
    names = contents(one)
    if names != contents(other):
        return False
    return all(same_file(os.path.join(one, name), os.path.join(other, name)) if name else same_file(one, other) for name in names)


def same_file(one, other):
    """Whether two files have the same bytes."""
    if os.path.getsize(one) != os.path.getsize(other):
        return False
    return all(left == right for left, right in zip(blocks(one), blocks(other), strict=True))
