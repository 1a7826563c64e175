//! `--to`: where things go is what `cp -a` and `docker cp` do.

use std::{fs, os::unix::fs::symlink, path::Path};

use tar::EntryType;

use crate::{archive, untar_with};

/// What a member is, and its name.
type Made<'a> = (EntryType, &'a str);

const FILE: Made<'_> = (EntryType::Regular, "src");
const TREE: [Made<'_>; 2] = [(EntryType::Directory, "src/"), (EntryType::Regular, "src/a")];
const CONTENTS: [Made<'_>; 2] = [(EntryType::Directory, "./"), (EntryType::Regular, "./a")];

/// Copies to `dest` in a directory with a directory `dir`, a file `file` and links to both; what is new there, or why
/// nothing is.
fn copy(members: &[Made<'_>], dest: &str, options: &[&str]) -> Result<Vec<String>, String> {
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::create_dir(path("dir")).unwrap();
    fs::write(path("file"), "old").unwrap();
    symlink("dir", path("dir-link")).unwrap();
    symlink("nowhere", path("dangling")).unwrap();
    let members: Vec<_> = members.iter().map(|(kind, name)| (*kind, name.as_bytes(), &b""[..], &b""[..])).collect();
    let to = format!("{}/{dest}", root.path().display());
    let output = untar_with(&archive(&members), &[&["--to", &to], options].concat());
    if !output.status.success() {
        let said = String::from_utf8(output.stderr).unwrap();
        return Err(said.trim_end().replace(&format!("{}/", root.path().display()), ""));
    }
    assert_eq!(output.stderr, b"");
    let mut found = Vec::new();
    list(root.path(), "", &mut found);
    found.retain(|name| {
        let is_old = matches!(name.as_str(), "dir/" | "dir-link" | "dangling") || (name == "file" && dest != "file");
        !is_old
    });
    found.sort();
    Ok(found)
}

fn list(root: &Path, below: &str, found: &mut Vec<String>) {
    for entry in fs::read_dir(root.join(below)).unwrap() {
        let entry = entry.unwrap();
        let name = format!("{below}{}", entry.file_name().display());
        if entry.file_type().unwrap().is_dir() {
            list(root, &format!("{name}/"), found);
            found.push(format!("{name}/"));
        } else {
            found.push(name);
        }
    }
}

#[track_caller]
fn copies(members: &[Made<'_>], dest: &str, expected: &[&str]) {
    assert_eq!(copy(members, dest, &[]).unwrap(), expected, "to {dest}");
}

#[track_caller]
fn refuses(members: &[Made<'_>], dest: &str, why: &str) {
    assert_eq!(copy(members, dest, &[]), Err(format!("appc-agent: {why}")), "to {dest}");
}

#[test]
fn a_file_goes_into_a_directory_or_takes_the_name() {
    copies(&[FILE], "dir", &["dir/src"]);
    copies(&[FILE], "dir/", &["dir/src"]);
    copies(&[FILE], "dir-link", &["dir/src"]);
    copies(&[FILE], "dir/new", &["dir/new"]);
    copies(&[FILE], "new", &["new"]);
    copies(&[FILE], "file", &["file"]);
    copies(&[FILE], ".", &["src"]);
    refuses(&[FILE], "new/", "cannot copy to new/: there is no such directory, and a file is to be copied");
    refuses(&[FILE], "file/", "cannot copy to file/: there is no such directory, and a file is to be copied");
    refuses(&[FILE], "none/new", "cannot copy to none/new: No such file or directory (os error 2)");
    refuses(&[FILE], "new/.", "cannot copy to new/.: No such file or directory (os error 2)");
}

#[test]
fn a_tree_goes_into_a_directory_or_takes_the_name() {
    copies(&TREE, "dir", &["dir/src/", "dir/src/a"]);
    copies(&TREE, "dir/.", &["dir/src/", "dir/src/a"]);
    copies(&TREE, "new", &["new/", "new/a"]);
    copies(&TREE, "new/", &["new/", "new/a"]);
    refuses(&TREE, "none/new", "cannot copy to none/new: No such file or directory (os error 2)");
    refuses(&TREE, "file", "file: cannot enter its directory: Not a directory (os error 20)");
    refuses(&TREE, "dangling", "dangling: cannot enter its directory: No such file or directory (os error 2)");
}

#[test]
fn contents_go_into_a_directory_or_become_a_new_one() {
    copies(&CONTENTS, "dir", &["dir/a"]);
    copies(&CONTENTS, "new", &["new/", "new/a"]);
    copies(&CONTENTS, "new/", &["new/", "new/a"]);
    refuses(&CONTENTS, "none/new", "cannot copy to none/new: No such file or directory (os error 2)");
}

#[test]
fn only_the_one_tree_is_copied_and_only_to_its_name() {
    for other in ["evil", "evil/a", "dir/evil", "srcx/evil", "./evil"] {
        let members = [TREE[0], TREE[1], (EntryType::Regular, other)];
        let why = copy(&members, "dir", &[]).unwrap_err();
        let said = other.trim_start_matches("./");
        assert!(why.ends_with(&format!("{said}: it is not of the tree that is copied")), "{why}");
    }
    // Whatever the archive calls it.
    assert_eq!(copy(&[(EntryType::Regular, "evil")], "dir", &["--top", "name"]).unwrap(), ["dir/name"]);
    assert_eq!(copy(&CONTENTS, "dir", &["--top", "name"]).unwrap(), ["dir/name/", "dir/name/a"]);
    assert_eq!(copy(&[(EntryType::Regular, "evil")], "new", &["--top", "name"]).unwrap(), ["new"]);
}

#[test]
fn hard_links_lead_to_what_their_files_are_called_now_and_to_nothing_else() {
    let root = tempfile::tempdir().unwrap();
    let to = root.path().join("new");
    fs::write(root.path().join("victim"), "x").unwrap();
    let link = |to: &'static [u8]| {
        archive(&[
            (EntryType::Directory, b"src/", b"", b""),
            (EntryType::Regular, b"src/a", b"", b"data"),
            (EntryType::Link, b"src/b", to, b""),
        ])
    };
    assert!(untar_with(&link(b"src/a"), &["--to", to.to_str().unwrap()]).status.success());
    assert_eq!(fs::read(to.join("b")).unwrap(), b"data");
    for outside in [&b"victim"[..], b"/victim", b"new/../victim"] {
        let output = untar_with(&link(outside), &["--to", to.to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(1), "{}", outside.escape_ascii());
    }
}

#[test]
fn everything_gets_the_owner_that_is_asked_for() {
    use std::os::unix::fs::MetadataExt;
    let root = tempfile::tempdir().unwrap();
    let members = TREE.map(|(kind, name)| (kind, name.as_bytes(), &b""[..], &b""[..]));
    let output = untar_with(&archive(&members), &["--to", root.path().to_str().unwrap(), "--owner", "1234:4321"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    for name in ["src", "src/a"] {
        let metadata = fs::metadata(root.path().join(name)).unwrap();
        assert_eq!((metadata.uid(), metadata.gid()), (1234, 4321), "{name}");
    }
}

#[test]
fn a_directory_that_must_be_there_is_not_made() {
    let root = tempfile::tempdir().unwrap();
    let into = root.path().join("none");
    let members = archive(&[(EntryType::Regular, b"a", b"", b"")]);
    let output = untar_with(&members, &["--into", into.to_str().unwrap(), "--existing"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(
        said,
        format!("appc-agent: cannot copy to {}: No such file or directory (os error 2)\n", into.display())
    );
    assert!(!into.exists());
    let output = untar_with(&members, &["--into", root.path().to_str().unwrap(), "--existing"]);
    assert!(output.status.success() && root.path().join("a").exists());
}
