//! One call with a path, made so that it stays beneath the directory it starts from: the way there is
//! resolved by the kernel with that condition, and what it leads to is one name without a way.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{
    AtFlags, FcntlArg, OFlag, OpenHow, RenameFlags, ResolveFlag, fcntl, openat, openat2,
};
use nix::sys::stat::{Mode, UtimensatFlags, fstat, futimens, mkdirat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{UnlinkatFlags, linkat, symlinkat, unlinkat};

use crate::sandbox::Grant;
use crate::sys::stat;
use crate::sys::trap::{Answer, Call, Time};

/// What a file may be opened with. Not: files without a name, which no right is asked for.
const OPEN: i32 = libc::O_ACCMODE
    | libc::O_APPEND
    | libc::O_CREAT
    | libc::O_DIRECTORY
    | libc::O_DSYNC
    | libc::O_EXCL
    | libc::O_NOATIME
    | libc::O_NOCTTY
    | libc::O_NOFOLLOW
    | libc::O_NONBLOCK
    | libc::O_PATH
    | libc::O_SYNC
    | libc::O_TRUNC;
/// With `O_PATH` the kernel takes no others.
const OPEN_PATH: i32 = libc::O_PATH | libc::O_DIRECTORY | libc::O_NOFOLLOW;
/// Never another's identity for who runs the file.
const MODE: u32 = 0o777;
const STAT: i32 = libc::AT_SYMLINK_NOFOLLOW | libc::AT_EMPTY_PATH | libc::AT_NO_AUTOMOUNT;
/// A directory may be so deep beneath a granted one.
const DEPTH: usize = 1024;
/// Whenever something is renamed meanwhile, the kernel asks to try again.
const TRIES: usize = 8;

/// Device and inode.
type Identity = (u64, u64);

/// The granted directories.
pub struct Granted {
    writable: Vec<Identity>,
    all_writable: bool,
}

type Dir<'a> = BorrowedFd<'a>;

impl Granted {
    pub fn new(grants: &[Grant<'_>]) -> anyhow::Result<Granted> {
        let writable = grants.iter().filter(|grant| !grant.read_only);
        let writable = writable.map(|grant| identity(grant.fd)).collect::<Result<_, _>>()?;
        Ok(Granted { writable, all_writable: grants.iter().all(|grant| !grant.read_only) })
    }

    pub fn make(&self, call: &Call, dirs: &[Dir<'_>]) -> Answer {
        let nothing = |()| (Vec::new(), None);
        let dir = *dirs.first().ok_or(Errno::EBADF)?;
        let second = || dirs.get(1).copied().ok_or(Errno::EBADF);
        match call {
            Call::Open { path, flags, mode, resolve } => {
                open(dir, path, *flags, *mode, *resolve).map(|fd| (Vec::new(), Some(fd)))
            }
            Call::Stat { path, flags } => {
                let looked = look(dir, path, *flags, stat::stat);
                looked.map(|bytes| (bytes, None))
            }
            Call::Statx { path, flags, mask } => {
                let looked = look(dir, path, *flags, |dir, name, flags| {
                    stat::statx(dir, name, flags, *mask)
                });
                looked.map(|bytes| (bytes, None))
            }
            Call::MakeDir { path, mode } => {
                let at = Place::of(dir, path)?;
                mkdirat(at.dir(), &*at.name, Mode::from_bits_truncate(mode & MODE)).map(nothing)
            }
            Call::Remove { path, flags } => {
                let at = Place::of(dir, path)?;
                let kind = match *flags {
                    0 => UnlinkatFlags::NoRemoveDir,
                    libc::AT_REMOVEDIR => UnlinkatFlags::RemoveDir,
                    _ => return Err(Errno::EINVAL),
                };
                unlinkat(at.dir(), &*at.name, kind).map(nothing)
            }
            Call::Rename { from, to, flags } => {
                // A slash at the end says that it is a directory.
                let from_dir = from.to_bytes().ends_with(b"/") || to.to_bytes().ends_with(b"/");
                let (from, to) = (Place::of(dir, from)?, Place::of(second()?, to)?);
                let flags = RenameFlags::from_bits(*flags).ok_or(Errno::EINVAL)?;
                let name = if from_dir { with_slash(&from.name)? } else { from.name.clone() };
                nix::fcntl::renameat2(from.dir(), &*name, to.dir(), &*to.name, flags).map(nothing)
            }
            Call::Link { from, to, flags: 0 } => {
                let (from, to) = (Place::of(dir, from)?, Place::of(second()?, to)?);
                linkat(from.dir(), &*from.name, to.dir(), &*to.name, AtFlags::empty()).map(nothing)
            }
            Call::Link { .. } => Err(Errno::EINVAL),
            Call::SymLink { target, path } => {
                // It would lead out for whoever else follows it.
                if target.to_bytes().starts_with(b"/") {
                    return Err(Errno::EPERM);
                }
                let at = Place::of(dir, path)?;
                symlinkat(&**target, at.dir(), &*at.name).map(nothing)
            }
            Call::ReadLink { path } => {
                let at = Place::of(dir, path)?;
                let says = nix::fcntl::readlinkat(at.dir(), &*at.name)?;
                Ok((says.into_encoded_bytes(), None))
            }
            Call::SetTimes { path, times, flags } => {
                self.set_times(dir, path.as_deref(), *times, *flags).map(nothing)
            }
        }
    }

    /// Landlock knows no right to this.
    fn set_times(
        &self,
        dir: Dir<'_>,
        path: Option<&CStr>,
        times: [Time; 2],
        flags: i32,
    ) -> Result<(), Errno> {
        let [accessed, modified] = times.map(|(seconds, nanos)| TimeSpec::new(seconds, nanos));
        let Some(path) = path else {
            self.may_write(dir)?;
            return futimens(dir, &accessed, &modified);
        };
        if flags != libc::AT_SYMLINK_NOFOLLOW {
            return Err(Errno::EACCES);
        }
        let at = Place::of(dir, path)?;
        self.may_write(at.dir())?;
        utimensat(at.dir(), &*at.name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
    }

    /// A file is open for writing, or a directory is beneath one that was granted for it.
    fn may_write(&self, fd: Dir<'_>) -> Result<(), Errno> {
        let directory = fstat(fd)?.st_mode & libc::S_IFMT == libc::S_IFDIR;
        if !directory {
            let mode = fcntl(fd, FcntlArg::F_GETFL)? & libc::O_ACCMODE;
            let may = self.all_writable || mode != libc::O_RDONLY;
            return if may { Ok(()) } else { Err(Errno::EPERM) };
        }
        if self.all_writable {
            return Ok(());
        }
        let mut at = fd.try_clone_to_owned().map_err(|_| Errno::EMFILE)?;
        let mut here = identity(fd)?;
        for _ in 0..DEPTH {
            if self.writable.contains(&here) {
                return Ok(());
            }
            at = openat(&at, "..", OFlag::O_PATH | OFlag::O_DIRECTORY, Mode::empty())?;
            let above = identity(AsFd::as_fd(&at))?;
            if above == here {
                break;
            }
            here = above;
        }
        Err(Errno::EPERM)
    }
}

fn identity(fd: Dir<'_>) -> Result<Identity, Errno> {
    fstat(fd).map(|found| (found.st_dev, found.st_ino))
}

fn open(dir: Dir<'_>, path: &CStr, flags: i32, mode: u32, resolve: u64) -> Result<OwnedFd, Errno> {
    // One bit of it is that of a directory.
    if flags & libc::O_TMPFILE == libc::O_TMPFILE {
        return Err(Errno::EOPNOTSUPP);
    }
    let kept = if flags & libc::O_PATH != 0 { OPEN_PATH } else { OPEN };
    let mode = if flags & libc::O_CREAT != 0 { mode & MODE } else { 0 };
    let resolve = ResolveFlag::from_bits(resolve).ok_or(Errno::EINVAL)?;
    let how = OpenHow::new()
        .flags(OFlag::from_bits_truncate(flags & kept) | OFlag::O_CLOEXEC)
        .mode(Mode::from_bits_truncate(mode))
        .resolve(resolve | ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS);
    for _ in 0..TRIES {
        match openat2(dir, path, how) {
            Err(Errno::EAGAIN) => {}
            done => return done,
        }
    }
    Err(Errno::EAGAIN)
}

fn open_place(dir: Dir<'_>, path: &CStr, flags: i32) -> Result<OwnedFd, Errno> {
    open(dir, path, libc::O_PATH | flags, 0, 0)
}

/// What a path leads to, or a symbolic link itself.
fn look(
    dir: Dir<'_>,
    path: &CStr,
    flags: i32,
    stat: impl Fn(Dir<'_>, &CStr, i32) -> Result<Vec<u8>, Errno>,
) -> Result<Vec<u8>, Errno> {
    // How fresh it has to be is the other half of a statx's flags.
    let fresh = flags & (libc::AT_STATX_FORCE_SYNC | libc::AT_STATX_DONT_SYNC);
    if flags & !fresh & !STAT != 0 {
        return Err(Errno::EINVAL);
    }
    let itself = |fd: Dir<'_>| stat(fd, c"", libc::AT_EMPTY_PATH | fresh);
    if path.is_empty() {
        return if flags & libc::AT_EMPTY_PATH != 0 { itself(dir) } else { Err(Errno::ENOENT) };
    }
    let nofollow = match flags & libc::AT_SYMLINK_NOFOLLOW {
        0 => 0,
        _ => libc::O_NOFOLLOW,
    };
    let found = open_place(dir, path, nofollow)?;
    itself(AsFd::as_fd(&found))
}

/// The directory a path ends in, and the name there.
struct Place<'a> {
    start: Dir<'a>,
    below: Option<OwnedFd>,
    name: CString,
}

impl Place<'_> {
    fn of<'a>(start: Dir<'a>, path: &CStr) -> Result<Place<'a>, Errno> {
        let bytes = path.to_bytes();
        let length = bytes.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        let (way, name) = match bytes[..length].iter().rposition(|byte| *byte == b'/') {
            Some(slash) => bytes[..length].split_at(slash + 1),
            None => (&[][..], &bytes[..length]),
        };
        match name {
            b"" if bytes.is_empty() => return Err(Errno::ENOENT),
            b"" | b".." => return Err(Errno::EXDEV),
            _ => {}
        }
        let text = |bytes: &[u8]| CString::new(bytes).map_err(|_| Errno::EINVAL);
        let below = match way {
            b"" => None,
            way => Some(open_place(start, &text(way)?, libc::O_DIRECTORY)?),
        };
        Ok(Place { start, below, name: text(name)? })
    }

    fn dir(&self) -> Dir<'_> {
        self.below.as_ref().map_or(self.start, AsFd::as_fd)
    }
}

fn with_slash(name: &CStr) -> Result<CString, Errno> {
    CString::new([name.to_bytes(), b"/"].concat()).map_err(|_| Errno::EINVAL)
}
