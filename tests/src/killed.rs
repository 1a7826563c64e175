//! Commands that are killed in the middle.
//!
//! `strace` kills `appc` just before each system call by which it changes anything, one after the other, until a run
//! gets through. What it has started (monitors, containers) is not killed with it.

use std::{collections::BTreeMap, fs, process::Stdio};

use crate::{Finished, Host, LIMIT, eventually, wait::sampled};

/// Everything by which a process changes what others can see. With a `?` stands what not every architecture has.
const CHANGES: &str = "?rename,renameat,renameat2,?mkdir,mkdirat,?unlink,unlinkat,?rmdir,?link,linkat,?symlink,symlinkat,\
    write,pwrite64,writev,ftruncate,fallocate,copy_file_range,sendfile,splice,ioctl,fsync,fdatasync,syncfs,flock,\
    mount,umount2,move_mount,open_tree,mount_setattr,clone,clone3,?fork,?vfork,sendto,sendmsg,connect,\
    ?chown,fchown,?lchown,fchownat,?chmod,fchmod,fchmodat,setxattr,fsetxattr,lsetxattr,utimensat,kill,pidfd_send_signal";

/// Runs `appc` with `words` as often as it has steps, killed before another one each time (of many steps, before every
/// `stride`th; see also `sampled`). `before` and `after` surround each try; the first and the last are not killed.
#[track_caller]
pub fn kill_at_each_step(
    host: &Host,
    stride: usize,
    words: &[&str],
    before: impl FnMut(usize),
    after: impl FnMut(usize, &Finished),
) {
    kill_program_at_each_step(host, stride, "appc", words, before, after);
}

/// As [`kill_at_each_step`], with another of our programs.
#[track_caller]
pub fn kill_program_at_each_step(
    host: &Host,
    stride: usize,
    program: &str,
    words: &[&str],
    mut before: impl FnMut(usize),
    mut after: impl FnMut(usize, &Finished),
) {
    let mut run = |step: usize, inject: Option<&str>| {
        before(step);
        let mut command = host.command("strace");
        command.args(["-o", "trace", "-e", &format!("trace={CHANGES}")]);
        if let Some(inject) = inject {
            command.args(["-e", inject]);
        }
        command.arg(program).args(words).stdin(Stdio::null());
        let done = host.start_command(command, LIMIT).wait();
        assert!([0, 137].contains(&done.code), "not killed, and yet: {}", done.transcript());
        after(step, &done);
        done
    };
    run(0, None).succeeds();
    // strace counts each system call by itself.
    let trace = fs::read_to_string(host.file("trace")).expect("read the trace of strace");
    let mut counts = BTreeMap::new();
    let mut steps = Vec::new();
    // A write to /proc/sys/net begins anew, thousands of times, while another process holds the kernel's RTNL lock.
    let calls = trace.lines().filter(|line| !line.contains("(To be restarted)"));
    for name in calls.filter_map(|line| line.split_once('(')).map(|(name, _)| name) {
        let count: &mut u32 = counts.entry(name).or_default();
        *count += 1;
        steps.push((name, *count));
    }
    let mut killed = 0;
    let all: Vec<_> = steps.iter().enumerate().step_by(stride).collect();
    let of_all = all.len();
    let chosen = sampled(all);
    for &(step, (name, count)) in &chosen {
        let done = run(step + 1, Some(&format!("inject={name}:signal=KILL:when={count}")));
        killed += usize::from(done.code == 137);
    }
    eprintln!("{words:?} has {} steps, was killed {killed} times, before one of {}", steps.len(), chosen.len());
    // How often it waits for others, and what these do before it can, differ from run to run, and with that the number of steps.
    let needed = if chosen.len() == of_all { (of_all * 2 / 3).saturating_sub(2) } else { chosen.len() / 6 };
    assert!(killed >= needed, "{killed} of {} steps: {counts:?}", chosen.len());
    run(0, None).succeeds();
}

/// Removes what the killed command left and asserts that this is all.
#[track_caller]
pub fn clear_up(host: &Host) {
    eventually("gc finds nothing any more", || {
        host.appc(["gc"]).succeeds();
        let left = host.appc(["gc", "--dry-run"]).succeeds();
        left.lines().all(|line| line.starts_with("mount ")).then_some(())
    });
    host.appc(["doctor"]).succeeds();
}
