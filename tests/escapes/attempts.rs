//! The table of escape attempts: what is tried, and which layers must each stop it alone. All walls
//! of a worker together must stop every one.

use std::os::fd::AsRawFd;

use anyhow::Result;
use libc::*;
use nix::unistd::geteuid;

use crate::call::{self, Attempted, CURRENT_DIR, call, is_heard, number, text, works};
use crate::sandbox::probe::Found;
use crate::world::{Layer, Outcome, Outside, World};

pub struct Attempt {
    pub name: &'static str,
    /// Who can do it unsandboxed.
    control: Control,
    alone: &'static [Layer],
    together: &'static [Layer],
    pub make: fn(&World) -> Attempted,
}

impl Attempt {
    /// Instead of behind every complete set of walls, it has to fail behind these.
    const fn behind(self, together: &'static [Layer]) -> Attempt {
        Attempt { together, ..self }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Control {
    Anyone,
    Root,
    /// Kernels may be built without it.
    Unsure,
}
use Control::*;
use Layer::*;

const fn attempt(
    name: &'static str,
    control: Control,
    alone: &'static [Layer],
    make: fn(&World) -> Attempted,
) -> Attempt {
    Attempt { name, control, alone, together: &[Worker, Loading, Compiler], make }
}

const BOTH: &[Layer] = &[Seccomp, SeccompLoading];

pub const ATTEMPTS: &[Attempt] = &[
    // The network.
    attempt("make a TCP socket", Anyone, BOTH, |_| works(SYS_socket, &[2, 1, 0])),
    attempt("make a raw socket", Root, BOTH, |_| works(SYS_socket, &[2, 3, 1])),
    attempt("make a netlink socket", Anyone, BOTH, |_| works(SYS_socket, &[16, 3, 0])),
    attempt("make a Unix socket pair", Anyone, BOTH, |_| {
        let mut pair = [0i32; 2];
        works(SYS_socketpair, &[1, 1, 0, pair.as_mut_ptr() as u64])
    }),
    attempt("connect to 127.0.0.1", Anyone, &[Seccomp, SeccompLoading, Landlock], |w| {
        connect_tcp(&w.tcp, w.port)
    }),
    attempt("make a socket and connect to 127.0.0.1", Anyone, &[Namespaces, Landlock], |w| {
        let fd = call(SYS_socket, &[2, 1, 0])?;
        let address = inet(w.port);
        works(SYS_connect, &[fd as u64, address.as_ptr() as u64, 16])
    }),
    attempt("send a datagram", Anyone, BOTH, |w| {
        let address = inet(9);
        works(SYS_sendto, &[number(&w.udp), text(c"x"), 1, 0, address.as_ptr() as u64, 16])
    }),
    attempt("bind a TCP port", Anyone, &[Seccomp, SeccompLoading, Landlock], |w| {
        works(SYS_bind, &[number(&w.tcp), inet(0).as_ptr() as u64, 16])
    }),
    attempt("listen without bind", Anyone, BOTH, |w| works(SYS_listen, &[number(&w.tcp), 1])),
    attempt(
        "connect to an abstract socket",
        Anyone,
        &[Seccomp, SeccompLoading, Landlock, Namespaces],
        |w| {
            let fd = call(SYS_socket, &[1, 1, 0])?;
            let mut address = vec![1u8, 0, 0];
            address.extend(w.abstract_name.as_bytes());
            let length = address.len() as u64;
            works(SYS_connect, &[fd as u64, address.as_ptr() as u64, length])
        },
    ),
    // A listener that others share.
    attempt("shut a shared listener down", Anyone, BOTH, |w| {
        works(SYS_shutdown, &[number(&w.listener), SHUT_RDWR as u64])
    }),
    attempt("shut a shared listener's reading side", Anyone, BOTH, |w| {
        works(SYS_shutdown, &[number(&w.listener), SHUT_RD as u64])
    }),
    attempt("put a filter on a shared listener", Root, BOTH, |w| {
        let drop_all = [6u64, 0];
        let program = [1u64, drop_all.as_ptr() as u64];
        works(SYS_setsockopt, &[number(&w.listener), 1, 26, program.as_ptr() as u64, 16])
    }),
    attempt("make a shared listener blocking", Anyone, &[Seccomp], |w| {
        works(SYS_fcntl, &[number(&w.listener), F_SETFL as u64, 0])
    })
    .behind(&[Worker]),
    attempt("have a shared listener signal us", Anyone, BOTH, |w| {
        works(SYS_fcntl, &[number(&w.listener), F_SETOWN as u64, w.parent as u64])
    }),
    // Files.
    attempt("read /etc/passwd", Anyone, &[Seccomp, Landlock, Namespaces], |_| {
        works(SYS_openat, &[CURRENT_DIR, text(c"/etc/passwd"), 0])
    }),
    attempt("read ../../../../../etc/passwd", Anyone, &[Seccomp, Landlock, Namespaces], |_| {
        works(SYS_openat, &[CURRENT_DIR, text(c"../../../../../../../etc/passwd"), 0])
    }),
    attempt("list the root", Anyone, &[Seccomp, Landlock], |_| {
        works(SYS_openat, &[CURRENT_DIR, text(c"/"), O_DIRECTORY as u64])
    }),
    attempt("create a file", Anyone, &[Seccomp, SeccompLoading, Landlock, Namespaces], |w| {
        let name = format!("/tmp/host-test-{}\0", w.parent);
        let flags = (O_CREAT | O_WRONLY) as u64;
        works(SYS_openat, &[CURRENT_DIR, name.as_ptr() as u64, flags, 0o600])?;
        works(SYS_unlinkat, &[CURRENT_DIR, name.as_ptr() as u64, 0])
    }),
    attempt("open by openat2", Anyone, &[Seccomp, Landlock, Namespaces], |_| {
        let how = [0u64; 3];
        let size = size_of_val(&how) as u64;
        works(SYS_openat2, &[CURRENT_DIR, text(c"/etc/passwd"), how.as_ptr() as u64, size])
    }),
    attempt("see whether a file exists", Anyone, &[Seccomp, Namespaces], |_| {
        works(SYS_faccessat, &[CURRENT_DIR, text(c"/etc/passwd"), 0])
    }),
    attempt("read the parent's memory by /proc", Anyone, &[Seccomp, Landlock, Namespaces], |w| {
        let name = format!("/proc/{}/mem\0", w.parent);
        works(SYS_openat, &[CURRENT_DIR, name.as_ptr() as u64, 0])
    }),
    attempt("read root's memory by /proc", Root, &[Identity], |w| {
        let name = format!("/proc/{}/mem\0", w.parent);
        works(SYS_openat, &[CURRENT_DIR, name.as_ptr() as u64, 0])
    }),
    attempt("change a file's owner", Root, &[Identity, Seccomp, SeccompLoading], |w| {
        works(SYS_fchown, &[number(&w.file), 1, 1])
    }),
    attempt("make a device", Root, &[Identity, Landlock, Seccomp, SeccompLoading], |w| {
        let name = format!("/tmp/host-test-device-{}\0", w.parent);
        let name = name.as_ptr() as u64;
        works(SYS_mknodat, &[CURRENT_DIR, name, (S_IFCHR | 0o600) as u64, 0x103])?;
        works(SYS_unlinkat, &[CURRENT_DIR, name, 0])
    }),
    attempt("mount", Root, &[Identity, Seccomp, SeccompLoading], |_| {
        works(SYS_mount, &[text(c"x"), text(c"/proc"), text(c"tmpfs"), 0, 0])?;
        works(SYS_umount2, &[text(c"/proc"), 0])
    }),
    attempt("change the root", Root, &[Identity, Seccomp, SeccompLoading], |_| {
        works(SYS_chroot, &[text(c"/")])
    }),
    // Other processes.
    attempt("signal the parent", Anyone, &[Seccomp, SeccompLoading, Landlock, Namespaces], |w| {
        works(SYS_kill, &[w.parent as u64, 0])
    }),
    attempt(
        "signal the parent's thread",
        Anyone,
        &[Seccomp, SeccompLoading, Landlock, Namespaces],
        |w| works(SYS_tgkill, &[w.parent as u64, w.parent as u64, 0]),
    ),
    attempt("see another process", Anyone, &[Seccomp, SeccompLoading, Namespaces], |w| {
        works(SYS_pidfd_open, &[w.parent as u64, 0])
    }),
    attempt("trace the parent", Anyone, &[Seccomp, SeccompLoading, Landlock, Namespaces], |w| {
        works(SYS_ptrace, &[PTRACE_SEIZE as u64, w.parent as u64, 0, 0])
    }),
    attempt(
        "read the parent's memory",
        Anyone,
        &[Seccomp, SeccompLoading, Landlock, Namespaces],
        |w| {
            let mut byte = 0u8;
            let ours = [&raw mut byte as u64, 1];
            let theirs = [b"x".as_ptr() as u64, 1];
            let (ours, theirs) = (ours.as_ptr() as u64, theirs.as_ptr() as u64);
            // An unmapped address in the parent would still be a look into it.
            match call(SYS_process_vm_readv, &[w.parent as u64, ours, 1, theirs, 1, 0]) {
                Err(error) if error != "EFAULT" => Err(error),
                _ => Ok(()),
            }
        },
    ),
    attempt("fork", Anyone, &[Seccomp, SeccompLoading, Limits], |_| fork_and_exit()),
    attempt("vfork by clone", Anyone, BOTH, |_| {
        // An invalid combination: only whether the kernel looks at it counts.
        is_heard(SYS_clone, &[(CLONE_SIGHAND | CLONE_VFORK) as u64, 0, 0, 0, 0])
    }),
    attempt("clone3", Anyone, BOTH, |_| is_heard(SYS_clone3, &[0, 0])),
    attempt("fork 100 times", Anyone, &[Seccomp, SeccompLoading, Limits], |_| {
        (0..100).try_for_each(|_| fork_and_exit())
    }),
    attempt("execute a program", Anyone, BOTH, |_| is_heard(SYS_execve, &[0, 0, 0])),
    attempt("execute a descriptor", Anyone, BOTH, |w| {
        let flags = AT_EMPTY_PATH as u64;
        is_heard(SYS_execveat, &[number(&w.file), text(c""), 0, 0, flags | (1 << 30)])
    }),
    // Identity.
    attempt("become root", Root, &[Identity, Seccomp, SeccompLoading], |_| {
        works(SYS_setresuid, &[0, 0, 0])
    }),
    attempt("use a capability", Root, &[Identity, Seccomp, SeccompLoading], |_| {
        works(SYS_setpriority, &[0, 0, -1i64 as u64])
    }),
    attempt("make a user namespace", Anyone, BOTH, |_| works(SYS_unshare, &[CLONE_NEWUSER as u64])),
    attempt("enter a namespace", Anyone, BOTH, |w| is_heard(SYS_setns, &[number(&w.file), 0])),
    attempt("become open to debuggers", Anyone, BOTH, |_| {
        works(SYS_prctl, &[PR_SET_DUMPABLE as u64, 1])
    }),
    attempt("outlive the parent", Anyone, BOTH, |_| {
        works(SYS_prctl, &[PR_SET_PDEATHSIG as u64, 0])
    }),
    // Parts of the kernel with a history.
    attempt("io_uring", Unsure, BOTH, |_| is_heard(SYS_io_uring_setup, &[1, 0])),
    attempt("bpf", Root, BOTH, |_| is_heard(SYS_bpf, &[0, 0, 0])),
    attempt("keyctl", Unsure, BOTH, |_| is_heard(SYS_keyctl, &[0, -1i64 as u64, 0])),
    attempt("userfaultfd", Unsure, BOTH, |_| works(SYS_userfaultfd, &[1])),
    attempt("perf", Unsure, BOTH, |_| is_heard(SYS_perf_event_open, &[0, 0, 0, 0, 0])),
    attempt("change the filter", Anyone, &[Seccomp], |_| {
        let action = SECCOMP_RET_ALLOW;
        works(SYS_seccomp, &[2, 0, &raw const action as u64])
    })
    .behind(&[Worker, Compiler]),
    #[cfg(target_arch = "x86_64")]
    attempt("a 32-bit call", Unsure, BOTH, |_| call::int_80()),
    #[cfg(target_arch = "x86_64")]
    attempt("an x32 call", Unsure, BOTH, |_| works(SYS_getpid | 0x4000_0000, &[])),
    // New code.
    attempt("make written memory executable", Anyone, &[Seccomp, NoNewCode], |_| {
        call::write_then_make_executable()
    })
    .behind(&[Worker, Compiler]),
    attempt("map writable and executable", Anyone, &[Seccomp, SeccompLoading, NoNewCode], |_| {
        call::writable_and_executable()
    }),
    attempt("map executable", Anyone, BOTH, |_| call::anonymous_executable()),
    attempt("execute a file's content", Anyone, &[Seccomp, SeccompLoading], |w| {
        call::executable_file(&w.file, b"artifact".len() as u64)
    }),
    attempt("set personality to executable reads", Anyone, BOTH, |_| {
        works(SYS_personality, &[0x0040_0000])
    }),
    // The artifact, which all workers share.
    attempt("write to the artifact", Anyone, &[Seals], |w| {
        works(SYS_write, &[number(&w.file), text(c"x"), 1])
    }),
    attempt("truncate the artifact", Anyone, &[Seals, Seccomp], |w| {
        works(SYS_ftruncate, &[number(&w.file), 0])
    }),
    attempt("map the artifact shared and writable", Anyone, &[Seals, Seccomp], |w| {
        call::shared_and_writable(&w.file)
    }),
    // Bombs.
    attempt("hold 1000 descriptors", Anyone, &[Limits], |w| {
        let fd = w.file.as_raw_fd() as u64;
        (0..1000).try_for_each(|_| works(SYS_dup, &[fd]))
    }),
    attempt("take 5 GiB", Anyone, &[Limits], |_| {
        let flags = (MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE) as u64;
        works(SYS_mmap, &[0, 5 << 30, (PROT_READ | PROT_WRITE) as u64, flags, u64::MAX, 0])
    })
    .behind(&[Compiler]),
    attempt("grow a file", Anyone, &[Limits], |w| {
        let end = call(SYS_lseek, &[number(&w.file), 0, SEEK_END as u64]).unwrap_or(0);
        works(SYS_pwrite64, &[number(&w.file), text(c"x"), 1, end as u64])
    }),
    attempt("lock memory", Anyone, &[Limits, Seccomp, SeccompLoading], |_| {
        let page =
            call(SYS_mmap, &[0, 4096, 1, (MAP_PRIVATE | MAP_ANONYMOUS) as u64, u64::MAX, 0])?;
        works(SYS_mlock, &[page as u64, 4096])
    }),
];

fn inet(port: u16) -> [u8; 16] {
    let mut address = [0; 16];
    address[0] = AF_INET as u8;
    address[2..4].copy_from_slice(&port.to_be_bytes());
    address[4..8].copy_from_slice(&[127, 0, 0, 1]);
    address
}

fn fork_and_exit() -> Attempted {
    match call(SYS_clone, &[SIGCHLD as u64, 0, 0, 0, 0])? {
        0 => std::process::exit(0),
        _ => Ok(()),
    }
}

/// Makes every attempt; returns how many came out wrong.
pub fn run(found: &Found) -> Result<usize> {
    let outside = Outside::new()?;
    let (mut wrong, mut made) = (0, 0);
    for (index, attempt) in ATTEMPTS.iter().enumerate() {
        let control = outside.attempt(found, index, Nothing)?;
        let possible = control == Outcome::Worked;
        let must_work = match attempt.control {
            Anyone => true,
            Root => geteuid().is_root(),
            Unsure => false,
        };
        let mut line = Vec::new();
        if must_work && !possible {
            wrong += 1;
            line.push(format!("WRONG: without walls {control:?}"));
        }
        // What nobody can do to nobody is no test of what root's powers can.
        let tells = possible && (must_work || attempt.control == Unsure);
        let alone = attempt.alone.iter().filter(|layer| tells && available(found, **layer));
        for layer in alone.chain(attempt.together) {
            made += 1;
            match outside.attempt(found, index, *layer)? {
                Outcome::Worked => {
                    wrong += 1;
                    line.push(format!("WRONG: works behind {layer:?}"));
                }
                Outcome::Failed(error) => line.push(format!("{layer:?} {error}")),
                Outcome::Killed(signal) => line.push(format!("{layer:?} {signal}")),
            }
        }
        let control = if possible { "possible" } else { "not possible here anyway" };
        println!("  {:<40} {control}; {}", attempt.name, line.join(", "));
    }
    println!("{} attempts behind {made} walls, {wrong} wrong", ATTEMPTS.len());
    Ok(wrong)
}

/// Older kernels lack some layers; the summary line says so.
fn available(found: &Found, layer: Layer) -> bool {
    match layer {
        Namespaces => found.walls.mount && found.walls.others,
        Landlock => found.in_force.landlock >= 6,
        NoNewCode => found.in_force.no_new_code,
        _ => true,
    }
}

fn connect_tcp(socket: &std::os::fd::OwnedFd, port: u16) -> Attempted {
    works(SYS_connect, &[number(socket), inet(port).as_ptr() as u64, 16])
}
