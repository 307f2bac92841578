//! The allowed system calls, each with its reason.

use libc::*;

use super::rule::Arg::*;
use super::rule::{Rule, any, only};

pub const EXEC: u64 = PROT_EXEC as u64;
pub const MAP_TYPE_BITS: u64 = 0xf;
/// What a clone must say to make a thread of this process and nothing else.
pub const THREAD: u64 = (CLONE_VM | CLONE_SIGHAND | CLONE_THREAD) as u64;
pub const NOT_IN_A_THREAD: u64 = (CLONE_VFORK
    | CLONE_PARENT
    | CLONE_PTRACE
    | CLONE_NEWUSER
    | CLONE_NEWNS
    | CLONE_NEWPID
    | CLONE_NEWNET
    | CLONE_NEWIPC
    | CLONE_NEWUTS
    | CLONE_NEWCGROUP) as u64;
const PIDFD_SELF: u64 = -10000i32 as u32 as u64;
const SET_MDWE: u64 = 65;
/// `_IOWR('f', 16, struct pm_scan_arg)` of linux/fs.h.
const PAGEMAP_SCAN: u64 = 0xc060_6610;
const FOR_WRITING: u64 = (O_ACCMODE | O_CREAT | O_TRUNC) as u64;

/// For good, while requests are served.
pub const SERVE: &[Rule] = &[
    any(SYS_epoll_pwait, "the event loop waits"),
    #[cfg(target_arch = "x86_64")]
    any(SYS_epoll_wait, "the event loop waits"),
    any(SYS_epoll_ctl, "a connection comes under the event loop's eyes"),
    any(SYS_read, "connections, wake-ups"),
    any(SYS_readv, "connections"),
    any(SYS_pread64, "resident memory of this process, from the one file opened for that"),
    any(SYS_recvfrom, "connections"),
    any(SYS_recvmsg, "the channels to the primary, which bring descriptors"),
    any(SYS_write, "connections, log lines, wake-ups, a panic's message"),
    any(SYS_writev, "connections"),
    only(SYS_sendto, &[&[Null(4)]], "connections; never to an address"),
    any(SYS_sendmsg, "the channels to the primary; connections"),
    only(
        SYS_accept4,
        &[&[Bits(3, !((SOCK_NONBLOCK | SOCK_CLOEXEC) as u64), 0)]],
        "a listener, where the balancing policy hands one out",
    ),
    only(
        SYS_shutdown,
        &[&[Is(1, SHUT_WR as u64)]],
        "the end of an answer; on a listener this does nothing, the other ways break it for all",
    ),
    only(
        SYS_setsockopt,
        &[&[Is(1, IPPROTO_TCP as u64), Is(2, TCP_NODELAY as u64)]],
        "small answers at once; a socket filter on a shared listener would be an attack",
    ),
    only(
        SYS_getsockopt,
        &[
            &[Is(1, SOL_SOCKET as u64), Is(2, SO_ERROR as u64)],
            &[Is(1, IPPROTO_TCP as u64), Is(2, TCP_NODELAY as u64)],
        ],
        "why a connection broke",
    ),
    any(SYS_getpeername, "who is at the other end of a connection we hold"),
    any(SYS_getsockname, "and where it arrived"),
    any(SYS_close, "the end of a connection"),
    only(
        SYS_fcntl,
        &[&[Is(1, F_GETFD as u64)], &[Is(1, F_GETFL as u64)], &[Is(1, F_DUPFD_CLOEXEC as u64)]],
        "a second handle to a connection; F_SETFL would change a shared listener for all",
    ),
    only(
        SYS_mmap,
        &[&[Bits(2, EXEC, 0), Bits(3, MAP_TYPE_BITS, MAP_PRIVATE as u64)]],
        "memory of instances; never code, never shared",
    ),
    only(SYS_mprotect, &[&[Bits(2, EXEC, 0)]], "a guest's memory grows; never code"),
    any(SYS_munmap, "the allocator, large instances"),
    any(SYS_mremap, "the allocator; it cannot change protections"),
    any(SYS_brk, "the allocator"),
    only(
        SYS_madvise,
        &[
            &[Is(2, MADV_DONTNEED as u64)],
            &[Is(2, MADV_FREE as u64)],
            &[Is(2, MADV_HUGEPAGE as u64)],
        ],
        "an instance's pages become zero again; the allocator gives memory back or takes much",
    ),
    any(SYS_getcpu, "the allocator asks which memory is near, where there are several"),
    only(
        SYS_process_madvise,
        &[&[Is(0, PIDFD_SELF), Is(3, MADV_DONTNEED as u64)]],
        "the same for many ranges at once, in this process only",
    ),
    only(
        SYS_ioctl,
        &[&[Is(1, PAGEMAP_SCAN)]],
        "which of its own pages an instance wrote; no other process's map is open",
    ),
    any(SYS_futex, "the epoch thread sleeps and is woken"),
    any(SYS_rt_sigaction, "a fault outside plugin code goes to its default action"),
    any(SYS_rt_sigprocmask, "abort, and leaving a signal handler"),
    any(SYS_rt_sigreturn, "the end of a signal handler: every plugin trap is one"),
    any(SYS_sigaltstack, "guard against overflow of a fiber's stack"),
    any(SYS_clock_gettime, "clocks, where the kernel has no faster way"),
    any(SYS_clock_getres, "wasi:clocks"),
    any(SYS_clock_nanosleep, "the epoch thread ticks"),
    any(SYS_nanosleep, "the epoch thread ticks"),
    any(SYS_getrandom, "wasi:random, hash seeds, TLS"),
    any(SYS_getrusage, "CPU time of this process, for its own report"),
    any(SYS_sched_yield, "a spinning lock gives way"),
    any(SYS_gettid, "a panic names its thread"),
    any(SYS_getpid, "abort"),
    only(SYS_tgkill, &[&[OwnPid(0), Is(2, SIGABRT as u64)]], "abort; no signal to others"),
    only(
        SYS_prctl,
        &[&[Is(0, PR_SET_NAME as u64)], &[Is(0, PR_SET_VMA as u64)]],
        "the name that ps shows; the allocator names its memory",
    ),
    any(SYS_restart_syscall, "the kernel goes on with an interrupted sleep"),
    any(SYS_exit, "the end of a thread"),
    any(SYS_exit_group, "the end"),
];

/// Besides those, while the artifact is loaded.
pub const LOAD: &[Rule] = &[
    only(
        SYS_openat,
        &[&[Bits(2, FOR_WRITING, 0)]],
        "the artifact by its own descriptor; Landlock refuses every real file",
    ),
    any(SYS_fstat, "the artifact's size"),
    any(SYS_newfstatat, "the artifact's size"),
    any(SYS_statx, "the artifact's size"),
    any(SYS_lseek, "the standard library asks where a file stands"),
    any(SYS_memfd_create, "the first image of a plugin's memory"),
    any(SYS_ftruncate, "the same"),
    only(
        SYS_fcntl,
        &[
            &[Is(1, F_ADD_SEALS as u64)],
            &[Is(1, F_GET_SEALS as u64)],
            &[Is(1, F_SETFD as u64)],
            &[Is(1, F_SETFL as u64)],
        ],
        "that image is sealed; log pipes become non-blocking",
    ),
    only(SYS_ioctl, &[&[Is(1, FIONBIO)]], "sockets become non-blocking"),
    any(SYS_mprotect, "the artifact's code becomes executable"),
    only(SYS_mmap, &[&[Bits(2, EXEC, 0)]], "the shared scoreboard page"),
    any(SYS_madvise, "the allocator says how it will use its memory"),
    only(SYS_clone, &[&[Bits(0, THREAD | NOT_IN_A_THREAD, THREAD)]], "the epoch thread"),
    any(SYS_set_robust_list, "a thread starts"),
    any(SYS_rseq, "a thread starts"),
    any(SYS_sched_getaffinity, "a thread starts; how many CPUs there are"),
    any(SYS_prlimit64, "the size of a stack; limits come down before sealing"),
    only(
        SYS_prctl,
        &[
            &[Is(0, SET_MDWE)],
            &[Is(0, PR_GET_SECCOMP as u64)],
            &[Is(0, PR_GET_NO_NEW_PRIVS as u64)],
            &[Is(0, PR_GET_DUMPABLE as u64)],
            &[Is(0, PR_SET_NO_NEW_PRIVS as u64)],
        ],
        "no new code; the self-check; asked again by the second stage",
    ),
    any(SYS_capget, "the self-check"),
    any(SYS_getresuid, "the self-check"),
    any(SYS_epoll_create1, "a runtime starts"),
    any(SYS_eventfd2, "a runtime starts"),
    any(SYS_ppoll, "the standard library looks at a descriptor"),
    #[cfg(target_arch = "x86_64")]
    any(SYS_poll, "the standard library looks at a descriptor"),
    any(SYS_chdir, "out of the list of own descriptors"),
    any(SYS_getcwd, "the same"),
    any(SYS_seccomp, "the second stage"),
];

/// Besides those, in a process that forks once for each run of a program; the forks lose it.
pub const FORK: &[Rule] = &[
    only(
        SYS_clone,
        &[&[Is(0, (CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID | SIGCHLD) as u64)]],
        "a fork, and nothing else that clone can do",
    ),
    any(SYS_pidfd_open, "a child to wait for and to hand to the primary"),
    any(SYS_waitid, "how it ended"),
    only(SYS_tgkill, &[&[Is(2, SIGABRT as u64)]], "a fork's own number is not known yet"),
    only(SYS_prctl, &[&[Is(0, PR_SET_PDEATHSIG as u64)]], "the child dies with it"),
];

/// Besides those, where directories are granted: wasi:filesystem, on descriptors.
pub const FILES: &[Rule] = &[
    any(SYS_fstat, "what a file is"),
    any(SYS_lseek, "where a file stands"),
    any(SYS_pread64, "read at an offset"),
    any(SYS_preadv, "read at an offset"),
    any(SYS_preadv2, "read at an offset"),
    any(SYS_pwrite64, "write at an offset"),
    any(SYS_pwritev, "write at an offset"),
    any(SYS_pwritev2, "append"),
    any(SYS_getdents64, "list a directory"),
    any(SYS_ftruncate, "set a size"),
    any(SYS_fallocate, "set a size"),
    any(SYS_fsync, "sync"),
    any(SYS_fdatasync, "sync"),
    any(SYS_fadvise64, "advise"),
    only(SYS_fcntl, &[&[Is(1, F_SETFL as u64)]], "append mode"),
];

/// Those of wasi:filesystem that take a path. None is ever made by a process that runs a plugin: each
/// is turned into a signal, and asked of the process that opens files.
pub const PATHS: &[(i64, &str)] = &[
    (SYS_openat, "open beneath a granted directory"),
    (SYS_openat2, "the same"),
    (SYS_newfstatat, "what a file is"),
    (SYS_statx, "what a file is"),
    (SYS_mkdirat, "make a directory"),
    (SYS_unlinkat, "remove"),
    #[cfg(target_arch = "x86_64")]
    (SYS_renameat, "rename"),
    (SYS_renameat2, "rename"),
    (SYS_linkat, "link"),
    (SYS_symlinkat, "link"),
    (SYS_readlinkat, "read a link"),
    (SYS_utimensat, "set times"),
    (SYS_faccessat2, "may this be opened"),
];

/// The compiler: reads a plugin, writes an artifact, runs neither. One stage, no threads, no new
/// code, no socket but its channel.
pub const COMPILE: &[Rule] = &[
    any(SYS_epoll_pwait, "waits for its order"),
    #[cfg(target_arch = "x86_64")]
    any(SYS_epoll_wait, "waits for its order"),
    any(SYS_epoll_ctl, "the channel"),
    any(SYS_recvmsg, "the channel"),
    any(SYS_sendmsg, "the channel"),
    any(SYS_read, "wake-ups"),
    any(SYS_write, "the artifact, messages"),
    any(SYS_close, "descriptors"),
    any(SYS_fstat, "the plugin's size"),
    any(SYS_newfstatat, "the plugin's size"),
    any(SYS_statx, "the plugin's size"),
    any(SYS_memfd_create, "where the artifact goes"),
    only(
        SYS_fcntl,
        &[&[Is(1, F_GETFD as u64)], &[Is(1, F_GETFL as u64)], &[Is(1, F_GET_SEALS as u64)]],
        "whether the plugin is sealed",
    ),
    only(
        SYS_mmap,
        &[&[Bits(2, EXEC, 0), Bits(3, MAP_TYPE_BITS, MAP_PRIVATE as u64)]],
        "memory; never code, never shared",
    ),
    only(SYS_mprotect, &[&[Bits(2, EXEC, 0)]], "memory; never code"),
    any(SYS_munmap, "the allocator"),
    any(SYS_mremap, "the allocator"),
    any(SYS_brk, "the allocator"),
    any(SYS_madvise, "the allocator"),
    any(SYS_futex, "locks"),
    any(SYS_rt_sigaction, "a fault goes to its default action"),
    any(SYS_rt_sigprocmask, "abort"),
    any(SYS_rt_sigreturn, "the end of a signal handler"),
    any(SYS_sigaltstack, "the handler's stack"),
    any(SYS_clock_gettime, "clocks"),
    any(SYS_getrandom, "hash seeds"),
    any(SYS_sched_yield, "locks"),
    any(SYS_getcpu, "the allocator asks which memory is near"),
    any(SYS_sched_getaffinity, "how many CPUs there are"),
    any(SYS_prlimit64, "the size of the stack"),
    any(SYS_gettid, "a panic names its thread"),
    any(SYS_getpid, "abort"),
    any(SYS_getresuid, "the self-check"),
    any(SYS_capget, "the self-check"),
    only(
        SYS_prctl,
        &[
            &[Is(0, PR_SET_VMA as u64)],
            &[Is(0, PR_GET_SECCOMP as u64)],
            &[Is(0, PR_GET_NO_NEW_PRIVS as u64)],
            &[Is(0, PR_GET_DUMPABLE as u64)],
        ],
        "memory gets names; the self-check",
    ),
    only(SYS_tgkill, &[&[OwnPid(0), Is(2, SIGABRT as u64)]], "abort; no signal to others"),
    any(SYS_restart_syscall, "the kernel goes on with an interrupted wait"),
    any(SYS_exit, "the end"),
    any(SYS_exit_group, "the end"),
];

/// Asked for by libraries that can do without: an error instead of death.
pub const REFUSED: &[(i32, &[(i64, &str)])] = &[
    (
        ENOSYS,
        &[(SYS_clone3, "its flags are in memory, out of a filter's sight: clone is asked next")],
    ),
    (EACCES, &[(SYS_socket, "wasi:sockets, which plugins may import and call")]),
];
