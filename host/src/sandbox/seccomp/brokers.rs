//! The allowed system calls of the process that opens granted files, each with its reason.

use libc::*;

use super::rule::Arg::*;
use super::rule::{Rule, any, only};
use super::rules::{EXEC, MAP_TYPE_BITS, NOT_IN_A_THREAD, THREAD};

/// One stage: it loads nothing. Landlock confines every path.
pub const FILES: &[Rule] = &[
    any(SYS_recvmsg, "questions, and directories they start from"),
    any(SYS_sendmsg, "answers, and descriptors"),
    any(SYS_ppoll, "waits for the primary"),
    #[cfg(target_arch = "x86_64")]
    any(SYS_poll, "waits for the primary"),
    any(SYS_openat2, "open beneath a granted directory, on the kernel's word"),
    only(
        SYS_openat,
        &[&[Bits(2, (O_PATH | O_DIRECTORY) as u64, (O_PATH | O_DIRECTORY) as u64)]],
        "the directory above, to find which was granted",
    ),
    any(SYS_fstat, "which directory it is"),
    any(SYS_newfstatat, "what a file is"),
    any(SYS_statx, "what a file is"),
    any(SYS_mkdirat, "make a directory"),
    any(SYS_unlinkat, "remove"),
    #[cfg(target_arch = "x86_64")]
    any(SYS_renameat, "rename"),
    any(SYS_renameat2, "rename"),
    any(SYS_linkat, "link"),
    any(SYS_symlinkat, "link"),
    any(SYS_readlinkat, "read a link"),
    any(SYS_utimensat, "set times"),
    only(
        SYS_fcntl,
        &[&[Is(1, F_GETFL as u64)], &[Is(1, F_GETFD as u64)], &[Is(1, F_DUPFD_CLOEXEC as u64)]],
        "whether it is open for writing",
    ),
    any(SYS_close, "descriptors that were handed on"),
    any(SYS_write, "a panic's message"),
    only(
        SYS_clone,
        &[&[Bits(0, THREAD | NOT_IN_A_THREAD, THREAD)]],
        "a thread for each process that asks",
    ),
    any(SYS_set_robust_list, "a thread starts"),
    any(SYS_rseq, "a thread starts"),
    any(SYS_sched_getaffinity, "a thread starts"),
    any(SYS_prlimit64, "the size of a stack"),
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
    any(SYS_getcpu, "the allocator asks which memory is near"),
    any(SYS_futex, "locks"),
    any(SYS_rt_sigaction, "a fault goes to its default action"),
    any(SYS_rt_sigprocmask, "a thread starts; abort"),
    any(SYS_rt_sigreturn, "the end of a signal handler"),
    any(SYS_sigaltstack, "a thread starts"),
    any(SYS_clock_gettime, "clocks"),
    any(SYS_getrandom, "hash seeds"),
    any(SYS_sched_yield, "locks"),
    any(SYS_gettid, "a panic names its thread"),
    any(SYS_getpid, "abort"),
    any(SYS_getresuid, "the self-check"),
    any(SYS_capget, "the self-check"),
    only(
        SYS_prctl,
        &[
            &[Is(0, PR_SET_NAME as u64)],
            &[Is(0, PR_SET_VMA as u64)],
            &[Is(0, PR_GET_SECCOMP as u64)],
            &[Is(0, PR_GET_NO_NEW_PRIVS as u64)],
            &[Is(0, PR_GET_DUMPABLE as u64)],
        ],
        "names that ps shows, names of memory; the self-check",
    ),
    only(SYS_tgkill, &[&[OwnPid(0), Is(2, SIGABRT as u64)]], "abort; no signal to others"),
    any(SYS_restart_syscall, "the kernel goes on with an interrupted wait"),
    any(SYS_exit, "the end of a thread"),
    any(SYS_exit_group, "the end"),
];
