//! What a native program sees of the file system: the system's own directories, read-only, what the
//! operator granted, the harmless devices, and a /tmp of its own that is gone with it. Nobody's home,
//! no sockets under /run, no other process in /proc.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::unistd::{chdir, pivot_root};

use crate::config::DirGrant;
use crate::sys;

/// The one directory that has to exist wherever this program runs: the new root is built over it.
const NEW: &str = "/proc";

const SYSTEM: &[&str] =
    &["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/nix/store", "/gnu"];
const DEVICES: &[&str] = &["null", "zero", "full", "random", "urandom"];
const LINKS: &[(&str, &str)] = &[
    ("/proc/self/fd", "fd"),
    ("/proc/self/fd/0", "stdin"),
    ("/proc/self/fd/1", "stdout"),
    ("/proc/self/fd/2", "stderr"),
];
/// Of the /tmp.
const SCRATCH: &str = "size=64m,nr_inodes=4096,mode=1777";

const NONE: Option<&str> = None;

/// The directories every program may read, and the program itself.
pub fn readable(program: &Path) -> Vec<PathBuf> {
    let system = SYSTEM.iter().map(PathBuf::from).filter(|path| path.exists());
    system.chain([program.to_owned()]).collect()
}

/// In a mount namespace of its own, with its capabilities.
pub fn build(program: &Path, dirs: &[DirGrant]) -> Result<()> {
    mount(NONE, "/", NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("make mounts private")?;
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV;
    mount(Some("root"), NEW, Some("tmpfs"), flags, Some("size=1m,nr_inodes=1024,mode=755"))
        .context("mount tmpfs")?;
    system_directories()?;
    // Before what is put into it.
    make_dir(Path::new("/proc/tmp"))?;
    mount(Some("tmp"), "/proc/tmp", Some("tmpfs"), flags, Some(SCRATCH)).context("mount /tmp")?;
    if !inside(NEW, program).exists() {
        make_file(&inside(NEW, program))?;
        bind(program, &inside(NEW, program))?;
    }
    for dir in dirs {
        let place = inside(NEW, Path::new(&dir.guest));
        make_dir(&place)?;
        if dir.read_only {
            bind(&dir.host, &place)?;
        }
    }
    for place in ["proc", "dev"] {
        make_dir(&Path::new(NEW).join(place))?;
    }
    for name in DEVICES {
        make_file(&Path::new(NEW).join("dev").join(name))?;
    }
    for (target, name) in LINKS {
        let link = Path::new(NEW).join("dev").join(name);
        std::os::unix::fs::symlink(target, link).context("link device")?;
    }
    sys::mounts::restrict_recursively(c"/proc")?;
    // What follows is not read-only.
    for name in DEVICES {
        bind(&Path::new("/dev").join(name), &Path::new(NEW).join("dev").join(name))?;
    }
    let again = flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND;
    mount(NONE, "/proc/tmp", NONE, again, NONE).context("make /tmp writable")?;
    for dir in dirs.iter().filter(|dir| !dir.read_only) {
        bind(&dir.host, &inside(NEW, Path::new(&dir.guest)))?;
    }
    // In a container whose own /proc is masked the kernel refuses; programs seldom need it.
    let all = flags | MsFlags::MS_NOEXEC | MsFlags::MS_RDONLY;
    let _ = mount(Some("proc"), "/proc/proc", Some("proc"), all, NONE);
    chdir(NEW).context("enter the new root")?;
    pivot_root(".", ".").context("pivot")?;
    umount2(".", MntFlags::MNT_DETACH).context("detach the old root")?;
    chdir("/").context("enter the new root")
}

/// Where /bin is a link to usr/bin, it is one here.
fn system_directories() -> Result<()> {
    for path in SYSTEM.iter().map(Path::new) {
        let place = inside(NEW, path);
        match path.symlink_metadata() {
            Ok(meta) if meta.is_symlink() => {
                let target = std::fs::read_link(path).context("read link")?;
                std::os::unix::fs::symlink(target, place).context("link system directory")?;
            }
            Ok(meta) if meta.is_dir() => {
                make_dir(&place)?;
                bind(path, &place)?;
            }
            _ => {}
        }
    }
    Ok(())
}

fn inside(root: &str, path: &Path) -> PathBuf {
    Path::new(root).join(path.strip_prefix("/").unwrap_or(path))
}

fn make_dir(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.with_context(|| format!("make {}", path.display()))
}

fn make_file(path: &Path) -> Result<()> {
    if let Some(parent) = path.parent() {
        make_dir(parent)?;
    }
    File::create(path).with_context(|| format!("make {}", path.display()))?;
    Ok(())
}

fn bind(from: &Path, to: &Path) -> Result<()> {
    mount(Some(from), to, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .with_context(|| format!("bind {}", from.display()))
}
