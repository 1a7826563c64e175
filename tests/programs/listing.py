"""Lists all of a directory's files with all that a copy has to keep: listing.py DIRECTORY FIRST_ID"""

import hashlib
import os
import stat
import struct
import sys

root, first = sys.argv[1], int(sys.argv[2])
# What overlayfs writes to know inodes of this host by.
MARKS = {"trusted.overlay." + mark for mark in ("origin", "impure", "uuid", "nlink")}
links = {}


def inside(number):
    return number - first if number >= first else -1 - number


def attribute(name, value):
    if name.startswith("system.posix_acl_"):
        entries = struct.iter_unpack("<HHI", value[4:])
        return [(tag, bits, inside(who) if tag in (2, 8) else None) for tag, bits, who in entries]
    if name == "security.capability" and len(value) == 24:
        return value[:20].hex(), inside(struct.unpack("<I", value[20:])[0])
    return value.hex()


def show(path):
    status = os.lstat(path)
    kind = stat.S_IFMT(status.st_mode)
    line = [os.path.relpath(path, root), oct(status.st_mode), inside(status.st_uid), inside(status.st_gid), status.st_rdev]
    if kind != stat.S_IFDIR:
        line.append("link of " + links.setdefault(status.st_ino, line[0]))
    line.append(status.st_mtime_ns)
    if kind == stat.S_IFLNK:
        line.append(os.readlink(path))
    if kind == stat.S_IFREG:
        with open(path, "rb") as file:
            line += [status.st_size, "sparse" if status.st_blocks * 512 < status.st_size else "full"]
            line.append(hashlib.sha256(file.read()).hexdigest())
    names = sorted(set(os.listxattr(path, follow_symlinks=False)) - MARKS)
    line.append({name: attribute(name, os.getxattr(path, name, follow_symlinks=False)) for name in names})
    print(*line)


show(root)
for directory, directories, files in os.walk(root):
    directories.sort()
    for name in sorted(directories + files):
        show(os.path.join(directory, name))
