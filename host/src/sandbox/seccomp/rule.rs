//! What is said of an allowed system call.

#[derive(Clone, Copy, Debug)]
pub enum Arg {
    /// A 32-bit argument with this value.
    Is(u8, u64),
    /// A pointer or number that is zero.
    Null(u8),
    /// These bits of the argument have this value.
    Bits(u8, u64, u64),
    /// The calling process.
    OwnPid(u8),
}
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    pub call: i64,
    /// Accepted arguments: any one of the alternatives, all conditions of it; none means all.
    pub when: &'static [&'static [Arg]],
    pub why: &'static str,
}

pub const fn any(call: i64, why: &'static str) -> Rule {
    Rule { call, when: &[], why }
}

pub const fn only(call: i64, when: &'static [&'static [Arg]], why: &'static str) -> Rule {
    Rule { call, when, why }
}
