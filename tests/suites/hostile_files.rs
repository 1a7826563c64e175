//! What comes from a container is hostile, what goes into one may be: a copy never touches anything but its
//! destination, takes little memory, and ends well however it ends.

#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::{fs, path::Path, time::Duration};

use appcontainers_tests::{
    Archive, Host, allowed, amount, eventually, in_sandbox, in_sandbox_for, peak_kib, random, tries,
};
use rand::Rng as _;

/// Files of the host's that nothing may change, beside the place that things are fetched to.
fn canaries(host: &Host) {
    host.sh("mkdir -p outside/sub place; echo whole | tee outside/file > outside/sub/file; chmod 700 outside")
        .succeeds();
}

#[track_caller]
fn assert_canaries_alive(host: &Host) {
    let look = "find outside -exec stat -c '%n %a %u' {} + | sort; cat outside/file outside/sub/file; ls";
    let expected =
        "outside 700 0\noutside/file 644 0\noutside/sub 755 0\noutside/sub/file 644 0\nwhole\nwhole\noutside\nplace";
    assert_eq!(host.sh(look).succeeds(), expected);
}

#[test]
fn a_container_that_swaps_files_and_links_while_they_are_fetched_reaches_nothing() {
    in_sandbox(|host| {
        host.start("web");
        canaries(host);
        // Links to where the canaries are, by every way that could lead there.
        let outside = host.file("outside");
        let swap = format!(
            r#"mkdir -p /srv/t/dir/sub; cd /srv/t; echo mine > file; echo mine > dir/file; echo mine > dir/sub/file
            ln -s {0} up; ln -s ../outside near; ln -s {0}/file upfile; echo ready
            while :; do
                mv dir real; ln -s {0} dir; rm dir; ln -s ../../outside dir; rm dir; mv real dir
                mv file realfile; ln -s ../outside/file file; rm file; mv realfile file
                mv dir/sub dir/x; ln -s {0}/sub dir/sub; rm dir/sub; mkfifo dir/sub; rm dir/sub; mv dir/x dir/sub
            done"#,
            outside.display()
        );
        let mut swapping = host.spawn("appc", ["-c", "web", "run", "--", "sh", "-c", &swap]);
        swapping.read_until("ready\n");
        let mut codes = [0; 2];
        for round in 0..tries(60) {
            // New, and over what the last one has left.
            let dest = if round % 3 == 0 { format!("place/{round}") } else { "place".to_owned() };
            let done = host.appc(["-c", "web", "fetch", "/srv/t", &dest]);
            codes[usize::from(done.code != 0)] += 1;
            assert!([0, 1].contains(&done.code), "{}", done.transcript());
            assert_canaries_alive(host);
            assert_eq!(host.sh("grep -rhv mine place --include=file || true").succeeds(), "");
        }
        assert!(codes[0] > 0, "no fetch came through: {codes:?}");
        drop(swapping);
    });
}

#[test]
fn links_are_copied_and_never_followed_on_the_host() {
    in_sandbox(|host| {
        host.start("web");
        canaries(host);
        let outside = host.file("outside");
        host.sh_in(
            "web",
            &format!("mkdir -p /srv/t/sub; ln -s {} /srv/t/link; echo evil > /srv/t/sub/file", outside.display()),
        )
        .succeeds();
        host.appc(["-c", "web", "fetch", "/srv/t", "place"]).succeeds();
        assert_eq!(fs::read_link(host.file("place/t/link")).unwrap(), outside);
        // Now the container has a directory where the host has its link, and a link of the host's leads out.
        host.sh_in("web", "cd /srv/t; rm link; mkdir link; echo evil > link/file").succeeds();
        host.appc(["-c", "web", "fetch", "/srv/t", "place"]).refuses(1, &["host", "t/link", "link", "not followed"]);
        host.sh("rm -r place/t; mkdir place/t; ln -s ../../outside place/t/sub").succeeds();
        host.appc(["-c", "web", "fetch", "/srv/t", "place"]).refuses(1, &["host", "t/sub", "not followed"]);
        host.sh("rm -r place/t; ln -s ../outside place/t").succeeds();
        host.appc(["-c", "web", "fetch", "/srv/t", "place"]).refuses(1, &["host", "not followed"]);
        assert_canaries_alive(host);
    });
}

#[test]
fn device_nodes_do_not_come_out_and_what_grants_rights_only_where_that_is_asked_for() {
    in_sandbox(|host| {
        host.start("web");
        host.appc(["-c", "web", "fetch", "/dev/null", "."])
            .refuses(1, &["host", "null", "device nodes are not extracted"]);
        assert!(!host.file("null").exists());
        // Below a directory they are mounts, and those are left out; files that are mounted are not.
        let said = host.appc(["-c", "web", "fetch", "/", "all"]).fails(0);
        for mounted in ["dev", "proc", "sys"] {
            assert!(said.contains(&format!("./{mounted}: what is mounted there is left out")), "{said}");
        }
        assert_eq!(host.sh("find all -type b -o -type c; ls -d all/dev all/proc").fails(2).lines().count(), 2);
        assert!(host.sh("cat all/etc/hosts").succeeds().contains("web"));
        // One that came with the container's base.
        host.sh("rm -r all/dev all/proc all/sys 2>/dev/null; mkdir all/dev all/proc all/sys all/srv/d; mknod all/srv/d/node b 7 0")
            .succeeds();
        host.appc(["base", "import", "all", "--name", "noded"]).succeeds();
        host.appc(["provision", "--base", "noded", "--name", "noded"]).succeeds();
        assert_eq!(host.sh_in("noded", "stat -c %F /srv/d/node").succeeds(), "block special file");
        host.appc(["-c", "noded", "fetch", "/srv/d", "."])
            .refuses(1, &["host", "d/node", "device nodes are not extracted"]);
        assert_eq!(host.sh("find d").succeeds(), "d");
        // And on its way in.
        host.appc(["-c", "web", "put", "all/srv/d", "/srv"])
            .refuses(1, &["web", "d/node", "device nodes are not extracted"]);
        host.in_container("web", ["rm", "-r", "/srv/d"]).succeeds();

        assert!(host.sh("appc -c web fetch /dev/null - | tar tv").succeeds().contains("crw-rw-rw- "));

        host.sh_in(
            "web",
            "cd /srv; cp /bin/busybox suid; chmod 6755 suid; echo x > plain; mkdir shared; chmod 2775 shared",
        )
        .succeeds();
        let said = host.appc(["-c", "web", "fetch", "/srv", "dropped"]).fails(0);
        assert!(said.contains("warning: srv/suid: set-user-ID and set-group-ID bits"), "{said}");
        assert_eq!(host.appc(["-c", "web", "fetch", "--keep-privileges", "/srv", "kept"]).fails(0), "");
        let modes = |directory: &str| host.sh(&format!("cd {directory}; stat -c '%a %u' suid plain shared")).succeeds();
        assert_eq!(modes("dropped"), "755 0\n644 0\n2775 0");
        assert_eq!(modes("kept"), "6755 0\n644 0\n2775 0");
    });
}

#[test]
fn a_hostile_tar_that_is_put_stays_below_its_directory() {
    in_sandbox(|host| {
        host.start("web");
        canaries(host);
        let outside = host.file("outside/file");
        for (archive, why) in [
            (Archive::new().file("../evil", b"x"), ".."),
            (Archive::new().file("a/../../evil", b"x"), ".."),
            (Archive::new().hard_link("h", "../etc/passwd"), ".."),
            (Archive::new().symlink("l", "/etc").file("l/evil", b"x"), "l"),
            (Archive::new().symlink("l", "/proc/1/root/etc").file("l/evil", b"x"), "l"),
            (Archive::new().device("null", false, 1, 3), "device"),
        ] {
            let path = archive.write(host.file("place/a.tar"));
            host.sh(&format!("appc -c web put - /srv < {}", path.display())).refuses(1, &["web", why]);
            host.sh_in("web", "ls /etc/evil /evil /srv/null").fails(1);
        }
        // Absolute names are taken below it.
        let path = Archive::new()
            .file(outside.to_str().unwrap(), b"x")
            .file("/etc/evil", b"y")
            .write(host.file("place/a.tar"));
        host.sh(&format!("appc -c web put - /srv < {}", path.display())).succeeds();
        assert_eq!(host.sh_in("web", "cat /srv/etc/evil; test ! -e /etc/evil").succeeds(), "y");
        fs::remove_file(path).unwrap();
        assert_canaries_alive(host);
    });
}

/// Runs `appc` and gives the most memory that it, or a child that it has waited for, has had, in kilobytes.
fn peak_of(host: &Host, arguments: &str) -> u64 {
    let program = "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True); \
                   print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)";
    host.sh(&format!("python3 -c '{program}' appc -c web {arguments}")).succeeds().parse().unwrap()
}

#[test]
fn a_gibibyte_takes_as_little_memory_as_a_byte() {
    in_sandbox_for(Duration::from_secs(300), |host| {
        host.start("web");
        host.sh(&format!("echo x > small; head -c {} /dev/zero | tr '\\0' x > large", amount(1 << 30))).succeeds();
        let [monitor, agent] = ["monitor", "init"].map(|which| host.recorded_pid("web", which).unwrap());
        let copy = |name: &str| {
            let clients =
                ["put NAME /srv", "fetch /srv/NAME NAME.back"].map(|line| peak_of(host, &line.replace("NAME", name)));
            host.sh(&format!("cmp {name} {name}.back")).succeeds();
            [clients[0], clients[1], peak_kib(monitor).unwrap(), peak_kib(agent).unwrap()]
        };
        let (small, large) = (copy("small"), copy("large"));
        println!("peaks in kB of put, fetch, monitor, agent: {small:?} for a byte, {large:?} for a gibibyte");
        for (small, large) in small.into_iter().zip(large) {
            assert!(large < small + 8192 && large < 32 * 1024, "{small} kB became {large} kB");
        }
    });
}

/// So many times up to `most`, by chance.
fn moments(count: u32, most: Duration) -> impl Iterator<Item = Duration> {
    let mut random = random();
    std::iter::repeat_with(move || most.mul_f64(random.random_range(0.0..1.0))).take(tries(count) as usize)
}

/// Waits until nothing of a copy that was killed runs any more.
fn settled(host: &Host, status: &str) {
    eventually("the killed copy's end", || {
        let left = host.sh("ps -eo args | grep -E '^[^ ]*appc-agent (un)?tar' || true").succeeds();
        (host.inspect("web")["status"] == status && left.is_empty()).then_some(())
    });
}

/// That what there is of a tree of numbered files is whole.
#[track_caller]
fn assert_whole_files(root: &Path) {
    let Ok(entries) = fs::read_dir(root) else { return };
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert!(name.starts_with('f'), "a temporary file is left: {name}");
        let content = fs::read(&path).unwrap();
        assert!(content.len() == 200_000 && content.iter().all(|byte| *byte == b'x'), "{name} is not whole");
    }
}

#[test]
fn a_copy_that_is_killed_leaves_whole_files_below_its_destination_and_the_container_as_it_was() {
    in_sandbox_for(Duration::from_secs(400), |host| {
        host.provision("web");
        host.sh("mkdir tree place; head -c 200000 /dev/zero | tr '\\0' x > tree/f0; for n in $(seq 200); do cp tree/f0 tree/f$n; done")
            .succeeds();
        host.appc(["-c", "web", "put", "tree", "/srv"]).succeeds();
        // Each copy may be killed before it has made it.
        host.sh_in("web", "mkdir /opt/tree").succeeds();
        for status in ["stopped", "running"] {
            if status == "running" {
                host.appc(["start", "web"]).succeeds();
            }
            let mut killed = 0;
            for moment in moments(20, allowed(Duration::from_millis(300))) {
                killed +=
                    u32::from(host.spawn("appc", ["-c", "web", "fetch", "/srv/tree", "place"]).kill_after(moment));
                settled(host, status);
                assert_whole_files(&host.file("place/tree"));
                assert_eq!(host.sh("ls; ls place | grep -v '^tree$' || true").succeeds(), "place\ntree");
                killed += u32::from(host.spawn("appc", ["-c", "web", "put", "tree", "/opt"]).kill_after(moment));
                settled(host, status);
            }
            let copies = 2 * tries(20);
            println!("{killed} of {copies} copies were killed before their end");
            assert!(killed * 8 > copies, "only {killed} of {copies} copies were killed before their end");
            // What is in the container is whole, too, and it works on.
            host.appc(["-c", "web", "fetch", "/opt/tree", &format!("back-{status}")]).succeeds();
            assert_whole_files(&host.file(format!("back-{status}")));
            host.sh(&format!("rm -r back-{status} place/*")).succeeds();
            host.in_container("web", ["true"]).succeeds();
        }
    });
}

#[test]
fn one_file_that_is_fetched_is_whole_or_absent() {
    in_sandbox_for(Duration::from_secs(200), |host| {
        host.start("web");
        let size = amount(100_000_000).to_string();
        host.sh_in("web", &format!("head -c {size} /dev/zero | tr '\\0' x > /srv/big")).succeeds();
        for moment in moments(20, allowed(Duration::from_millis(300))) {
            let _ = host.spawn("appc", ["-c", "web", "fetch", "/srv/big", "big"]).kill_after(moment);
            settled(host, "running");
            let names = host.sh("ls -A").succeeds();
            assert!(["", "big"].contains(&names.as_str()), "{names}");
            if names == "big" {
                assert_eq!(host.sh("stat -c %s big; rm big").succeeds(), size);
            }
        }
    });
}
