//! The program `host`; all of it is in the library beside this.

use std::process::ExitCode;

use host_program::alloc::MiMalloc;

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    host_program::main()
}
