//! Files that change while they are read. A pipe that nobody reads makes the program wait in the middle of one.

use std::{fs, io::Read, time::Duration};

use crate::{begin, directory, feed, finish, list};

/// More than a pipe and the program's own buffers hold.
const BYTES: usize = 2_000_000;

/// Begins to pack `a`, which has [`BYTES`] bytes, and `b`; waits until the program waits for a reader.
fn interrupted(change: impl FnOnce(&std::path::Path)) -> (Vec<u8>, i32, String) {
    let from = directory();
    let tree = from.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("a"), vec![b'a'; BYTES]).unwrap();
    let (child, mut stdout) = begin(&tree);
    let mut archive = vec![0; 2048];
    stdout.read_exact(&mut archive).unwrap();
    change(&tree.join("a"));
    let (code, said) = finish(child, stdout, &mut archive);
    (archive, code, said)
}

#[test]
fn a_file_that_shrinks_is_filled_with_zeros_and_said() {
    let (archive, code, said) =
        interrupted(|file| fs::File::options().write(true).open(file).unwrap().set_len(1_000_000).unwrap());
    assert_eq!(code, 1);
    assert_eq!(said, "appc-agent: tree/a: it shrank while it was read; zeros are in place of the rest\n");
    assert_eq!(list(&archive), ["tree/", "tree/a"]);
    let to = directory();
    feed(crate::agent().args(["untar", "--to"]).arg(to.path()), &archive);
    let copy = fs::read(to.path().join("tree/a")).unwrap();
    assert_eq!(copy.len(), BYTES);
    assert!(copy[..1_000_000].iter().all(|byte| *byte == b'a') && copy[1_000_000..].iter().all(|byte| *byte == 0));
}

#[test]
fn a_file_that_grows_has_the_size_that_it_began_with_and_is_said() {
    use std::io::Write;
    let (archive, code, said) = interrupted(|file| {
        fs::File::options().append(true).open(file).unwrap().write_all(b"more").unwrap();
    });
    assert_eq!(code, 1);
    assert_eq!(said, "appc-agent: tree/a: it grew while it was read; what is new is left out\n");
    assert_eq!(list(&archive), ["tree/", "tree/a"]);
    let to = directory();
    feed(crate::agent().args(["untar", "--to"]).arg(to.path()), &archive);
    assert_eq!(fs::read(to.path().join("tree/a")).unwrap(), vec![b'a'; BYTES]);
}

#[test]
fn it_ends_when_nobody_reads_any_more() {
    let from = directory();
    fs::write(from.path().join("a"), vec![b'a'; BYTES]).unwrap();
    let (mut child, stdout) = begin(from.path());
    drop(stdout);
    let ended = std::thread::spawn(move || (child.wait().unwrap().code(), child.stderr.take()));
    while !ended.is_finished() {
        std::thread::park_timeout(Duration::from_millis(1));
    }
    let (code, mut stderr) = ended.join().unwrap();
    let mut said = String::new();
    stderr.as_mut().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(code, Some(2));
    assert_eq!(said, "appc-agent: cannot write the archive: Broken pipe (os error 32)\n");
}
